"""Search strategies and the decisions of a tuning job: pure functions of the trials so far."""

from __future__ import annotations

from sm_tuning.strategies._choose import Record, record_of, turn_order
from sm_tuning.strategies._decide import (
    Decision,
    Outcome,
    Rules,
    TrialState,
    converged,
    decide,
    early_stops,
    not_improving,
)
from sm_tuning.strategies._definitions import Algorithm, algorithms_of, objective_type, rules_of
from sm_tuning.strategies._hyperband_config import hyperband_config
from sm_tuning.strategies._make import STRATEGIES, make
from sm_tuning.strategies._median import median_stop
from sm_tuning.strategies._parents import ParentTrials
from sm_tuning.strategies._space import Categorical, Continuous, Integer, Point, Space, space_of
from sm_tuning.strategies._strategy import Strategy, Trial

__all__ = [
    "STRATEGIES",
    "Algorithm",
    "Categorical",
    "Continuous",
    "Decision",
    "Integer",
    "Outcome",
    "ParentTrials",
    "Point",
    "Record",
    "Rules",
    "Space",
    "Strategy",
    "Trial",
    "TrialState",
    "algorithms_of",
    "converged",
    "decide",
    "early_stops",
    "hyperband_config",
    "make",
    "median_stop",
    "not_improving",
    "objective_type",
    "record_of",
    "rules_of",
    "space_of",
    "turn_order",
]
