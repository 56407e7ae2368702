"""Search strategies and the decisions of a tuning job: pure functions of the trials so far."""

from __future__ import annotations

from sm_tuning.strategies._decide import (
    Decision,
    EarlyStops,
    Outcome,
    Rules,
    Tally,
    TrialState,
    converged,
    decide,
    not_improving,
)
from sm_tuning.strategies._definitions import DefinitionRecord, DefinitionSearch, rules_of, searches_of, turn_order
from sm_tuning.strategies._drive import Backend, drive
from sm_tuning.strategies._plan import Plan, PlannedTrial, Search, Suggestion, Trials, plan
from sm_tuning.strategies._population import Population
from sm_tuning.strategies._predictor import Prediction, Predictor
from sm_tuning.strategies._promotion import Promotion
from sm_tuning.strategies._simple import STRATEGIES, HyperbandSearch, hyperband_config, make, median_stop
from sm_tuning.strategies._space import Categorical, Continuous, Integer, Point, Space, space_of
from sm_tuning.strategies._strategy import CONFIGURATION, MEMBER, NeverStops, ParentTrials, Proposal, Strategy, Trial

__all__ = [
    "CONFIGURATION",
    "MEMBER",
    "STRATEGIES",
    "Backend",
    "Categorical",
    "Continuous",
    "Decision",
    "DefinitionRecord",
    "DefinitionSearch",
    "EarlyStops",
    "HyperbandSearch",
    "Integer",
    "NeverStops",
    "Outcome",
    "ParentTrials",
    "Plan",
    "PlannedTrial",
    "Point",
    "Population",
    "Prediction",
    "Predictor",
    "Promotion",
    "Proposal",
    "Rules",
    "Search",
    "Space",
    "Strategy",
    "Suggestion",
    "Tally",
    "Trial",
    "TrialState",
    "Trials",
    "converged",
    "decide",
    "drive",
    "hyperband_config",
    "make",
    "median_stop",
    "not_improving",
    "plan",
    "rules_of",
    "searches_of",
    "space_of",
    "turn_order",
]
