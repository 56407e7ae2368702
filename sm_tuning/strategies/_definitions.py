"""The training job definitions of a tuning job: the search of each, the rules of all, and whose turn it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Self

from sm_tuning._wire import HYPERBANDS, PROGRAM_KEY, STUDY_STRATEGY_CONFIG
from sm_tuning.spec import Conditions, encode_json, encode_plain
from sm_tuning.strategies._decide import Rules
from sm_tuning.strategies._simple import hyperband_config, make
from sm_tuning.strategies._space import Space, space_of
from sm_tuning.strategies._strategy import ParentTrials, Strategy

#: Training jobs of a tuning job that sets no limit [Developer Guide, automatic-model-tuning-limits].
_DEFAULT_MAX_JOBS = 750
_TRIALS_IN_TURN = 3
_SHARE_OF_THE_BEST = 0.75


@dataclass(frozen=True)
class DefinitionSearch:
    """A training job definition of a tuning job, with its search.

    Attributes:
        definition: the HyperParameterTrainingJobDefinition.
        name: its DefinitionName; None in a tuning job with a single definition.
        metric: name of its objective.
        space: its search space.
        strategy: its strategy.
    """

    definition: Mapping[str, Any]
    name: str | None
    metric: str
    space: Space
    strategy: Strategy


def searches_of(
    tuning: Mapping[str, Any],
    *,
    seed: int,
    parents: Sequence[ParentTrials] = (),
    conditions: Conditions | None = None,
    further: Sequence[bool] = (),
) -> list[DefinitionSearch]:
    """Return the definitions of a tuning job; each has a strategy with a seed of its own.

    Args:
        tuning: the tuning job as CreateHyperParameterTuningJob or DescribeHyperParameterTuningJob has it.
        seed: seed of the tuning job.
        parents: the parents of a warm start.
        conditions: of hyperparameters, with values as a spec has them.
        further: for each objective after the first, whether a higher value is better.

    Raises:
        ValueError: the ranges or the strategy are invalid.
    """
    config = tuning["HyperParameterTuningJobConfig"]
    single = tuning.get("TrainingJobDefinition")
    searches = []
    for position, definition in enumerate([single] if single else tuning["TrainingJobDefinitions"]):
        objective = definition.get("TuningObjective") or config["HyperParameterTuningJobObjective"]
        ranges = definition.get("HyperParameterRanges") or config.get("ParameterRanges") or {}
        space = space_of(ranges, _in_wire_strings(conditions or {}, definition, ranges))
        strategy = make(
            config["Strategy"],
            space,
            seed=seed + position,
            maximize=objective["Type"] == "Maximize",
            config=_settings(config, definition.get("StaticHyperParameters") or {}),
            parents=parents,
            further=further,
        )
        name = None if single else definition["DefinitionName"]
        searches.append(DefinitionSearch(definition, name, objective["MetricName"], space, strategy))
    return searches


def _settings(config: Mapping[str, Any], static: Mapping[str, str]) -> dict[str, Any]:
    if config["Strategy"] in HYPERBANDS:
        return dict(hyperband_config(config, static))
    given = (config.get("StrategyConfig") or {}).get(STUDY_STRATEGY_CONFIG) or {}
    limit = {"max_jobs": config["ResourceLimits"].get("MaxNumberOfTrainingJobs", _DEFAULT_MAX_JOBS)}
    return {**given, **(limit if config["Strategy"] == "Promotion" else {})}


def _in_wire_strings(
    conditions: Conditions, definition: Mapping[str, Any], ranges: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Conditions:
    """Return the conditions of a definition's hyperparameters, with values as its training jobs get them."""
    encode = encode_json if PROGRAM_KEY in (definition.get("StaticHyperParameters") or {}) else encode_plain
    names = {entry["Name"] for entries in ranges.values() for entry in entries}
    return {
        name: {other: tuple(map(encode, allowed)) for other, allowed in needed.items()}
        for name, needed in conditions.items()
        if name in names
    }


def rules_of(tuning: Mapping[str, Any], searches: Sequence[DefinitionSearch]) -> Rules:
    """Return the limits and completion criteria of a tuning job."""
    config = tuning["HyperParameterTuningJobConfig"]
    limits = config["ResourceLimits"]
    criteria = config.get("TuningJobCompletionCriteria") or {}
    seconds = limits.get("MaxRuntimeInSeconds")
    # A grid without a limit runs all combinations.
    sizes = [search.space.size() for search in searches]
    combinations = sum(size for size in sizes if size is not None) if None not in sizes else None
    default = combinations if config["Strategy"] == "Grid" and combinations else _DEFAULT_MAX_JOBS
    default = searches[0].strategy.most_trials or default
    convergence = (criteria.get("ConvergenceDetected") or {}).get("CompleteOnConvergence")
    # Several definitions have an objective each, of one type for all.
    objective = config.get("HyperParameterTuningJobObjective") or searches[0].definition["TuningObjective"]
    return Rules(
        metric=searches[0].metric,
        maximize=objective["Type"] == "Maximize",
        max_jobs=limits.get("MaxNumberOfTrainingJobs") or default,
        max_parallel=limits["MaxParallelTrainingJobs"],
        dimensions=max(len(search.space.names) for search in searches),
        deadline=tuning["CreationTime"] + seconds if seconds else None,
        target=criteria.get("TargetObjectiveMetricValue"),
        max_not_improving=(criteria.get("BestObjectiveNotImproving") or {}).get("MaxNumberOfTrainingJobsNotImproving"),
        complete_on_convergence=convergence == "Enabled",
    )


@dataclass(frozen=True)
class DefinitionRecord:
    """The results of one definition so far: its number of trials, and their best objective, if any."""

    trials: int
    best: float | None

    @classmethod
    def of(cls, values: Sequence[float | None], *, maximize: bool) -> Self:
        """Return the record of trials with these objectives; None stands for a trial without one."""
        known = [value for value in values if value is not None and not math.isnan(value)]
        return cls(len(values), (max if maximize else min)(known, default=None))


def turn_order(records: Mapping[str, DefinitionRecord], *, seed: int, maximize: bool, learns: bool) -> list[str]:
    """Return the definitions in the order in which they are asked for the next trial.

    Definitions share the budget; the guide does not say how [Developer Guide, multiple-algorithm-hpo]. Choice: Random,
    Grid and Hyperband take turns, so that the trials depend on the seed alone. Bayesian takes turns until each
    definition has had three trials; then three trials of four go to the definition with the best objective so far, and
    the fourth to the one with the fewest trials.

    Args:
        records: record of each definition by its name, in the order of the request.
        seed: seed of the tuning job.
        maximize: whether a higher objective is better.
        learns: whether the strategy uses results.
    """
    rarest = sorted(records, key=lambda name: records[name].trials)
    trials = sum(record.trials for record in records.values())
    if not learns or records[rarest[0]].trials < _TRIALS_IN_TURN:
        return rarest
    if Random(f"{seed}/{trials}/definition").random() >= _SHARE_OF_THE_BEST:  # noqa: S311 - a search, no secret
        return rarest

    def best_first(name: str) -> float:
        best = records[name].best
        return math.inf if best is None else (-best if maximize else best)

    return sorted(rarest, key=best_first)
