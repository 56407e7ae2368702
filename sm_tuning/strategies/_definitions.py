"""From a tuning job's document to its definitions, each with its search, and to its rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sm_tuning.strategies._decide import Rules
from sm_tuning.strategies._hyperband_config import hyperband_config
from sm_tuning.strategies._make import make
from sm_tuning.strategies._parents import ParentTrials
from sm_tuning.strategies._space import Space, space_of
from sm_tuning.strategies._strategy import Strategy

DEFAULT_MAX_JOBS = 750
"""Training jobs of a tuning job that names no number (Developer Guide, automatic-model-tuning-limits)."""


@dataclass(frozen=True)
class Algorithm:
    """One training job definition of a tuning job, with its search.

    Attributes:
        definition: the HyperParameterTrainingJobDefinition.
        name: its DefinitionName; None in a tuning job of a single definition.
        metric: its objective.
        space: what is tuned.
        strategy: how.
    """

    definition: Mapping[str, Any]
    name: str | None
    metric: str
    space: Space
    strategy: Strategy


def algorithms_of(tuning: Mapping[str, Any], parents: Sequence[ParentTrials] = ()) -> list[Algorithm]:
    """Return the definitions of a tuning job, each with a strategy of its own seed.

    Args:
        tuning: the tuning job's document.
        parents: what a warm start learns from.

    Raises:
        ValueError: ranges or a strategy that cannot be.
    """
    config = tuning["HyperParameterTuningJobConfig"]
    single = tuning.get("TrainingJobDefinition")
    definitions = [single] if single else tuning["TrainingJobDefinitions"]
    algorithms = []
    for position, definition in enumerate(definitions):
        objective = definition.get("TuningObjective") or config["HyperParameterTuningJobObjective"]
        space = space_of(definition.get("HyperParameterRanges") or config.get("ParameterRanges") or {})
        hyperband = config["Strategy"] == "Hyperband"
        strategy = make(
            config["Strategy"],
            space,
            seed=tuning["_Seed"] + position,
            maximize=objective["Type"] == "Maximize",
            config=hyperband_config(config, definition.get("StaticHyperParameters") or {}) if hyperband else {},
            parents=parents,
        )
        name = None if single else definition["DefinitionName"]
        algorithms.append(Algorithm(definition, name, objective["MetricName"], space, strategy))
    return algorithms


def rules_of(tuning: Mapping[str, Any], algorithms: list[Algorithm]) -> Rules:
    """Read limits and completion criteria."""
    config = tuning["HyperParameterTuningJobConfig"]
    limits = config["ResourceLimits"]
    criteria = config.get("TuningJobCompletionCriteria") or {}
    seconds = limits.get("MaxRuntimeInSeconds")
    sizes = [algorithm.space.size() for algorithm in algorithms]
    combinations = sum(size for size in sizes if size is not None) if None not in sizes else None
    default = combinations if config["Strategy"] == "Grid" and combinations else DEFAULT_MAX_JOBS
    convergence = (criteria.get("ConvergenceDetected") or {}).get("CompleteOnConvergence")
    return Rules(
        metric=algorithms[0].metric,
        maximize=objective_type(tuning) == "Maximize",
        max_jobs=limits.get("MaxNumberOfTrainingJobs") or default,
        max_parallel=limits["MaxParallelTrainingJobs"],
        dimensions=max(len(algorithm.space.names) for algorithm in algorithms),
        deadline=tuning["CreationTime"] + seconds if seconds else None,
        target=criteria.get("TargetObjectiveMetricValue"),
        max_not_improving=(criteria.get("BestObjectiveNotImproving") or {}).get("MaxNumberOfTrainingJobsNotImproving"),
        complete_on_convergence=convergence == "Enabled",
    )


def objective_type(tuning: Mapping[str, Any]) -> str:
    """Return Maximize or Minimize; with several definitions it is the same for all."""
    config = tuning["HyperParameterTuningJobConfig"]
    objective = config.get("HyperParameterTuningJobObjective")
    return str((objective or tuning["TrainingJobDefinitions"][0]["TuningObjective"])["Type"])
