"""What a tuning job was asked to do, as far as an analysis must know it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sm_tuning._errors import SpecError
from sm_tuning.results._facts import job_of
from sm_tuning.spec import (
    CategoricalParameter,
    ContinuousParameter,
    IntegerParameter,
    ParameterRange,
    Tuning,
    decode_json,
)


@dataclass(frozen=True)
class Algorithm:
    """What the trials of one training job definition have in common.

    Attributes:
        name: of the definition; None in a job with a single one.
        objective: the objective's metric name.
        maximize: its direction.
        ranges: hyperparameter name -> range, with its scale.
    """

    name: str | None
    objective: str
    maximize: bool
    ranges: Mapping[str, ParameterRange]

    @property
    def sign(self) -> float:
        """The factor that makes a smaller objective a better one."""
        return -1.0 if self.maximize else 1.0


@dataclass(frozen=True)
class Facts:
    """A tuning job's settings.

    Attributes:
        algorithms: one, or several that share the budget.
        strategy: Bayesian, Random, Grid or Hyperband.
        max_jobs: the budget; None when there is no such limit.
        max_parallel_jobs: how many trials ran at once.
        early_stopping: whether the service stopped trials that fell behind.
    """

    algorithms: tuple[Algorithm, ...]
    strategy: str = "Bayesian"
    max_jobs: int | None = None
    max_parallel_jobs: int = 1
    early_stopping: bool = False

    @property
    def several(self) -> bool:
        """Whether trials of several algorithms are mixed."""
        return len(self.algorithms) > 1 or self.algorithms[0].name is not None

    def algorithm_of(self, definition: str | None) -> Algorithm:
        """The algorithm of a trial, by the name of its definition."""
        named = (algorithm for algorithm in self.algorithms if algorithm.name == definition)
        return next(named, self.algorithms[0])


def facts_of(source: Tuning | Mapping[str, Any]) -> Facts:
    """The facts of a spec, or of a DescribeHyperParameterTuningJob response, whoever made the job.

    A range that a spec cannot hold, such as one with equal bounds, is left out: nothing was searched there.
    """
    return _of_tuning(source) if isinstance(source, Tuning) else _of_description(source)


def _of_tuning(tuning: Tuning) -> Facts:
    algorithms = [
        Algorithm(
            name=name,
            objective=definition.objective_metric_name or "",
            maximize=definition.objective_type == "Maximize",
            ranges=dict(definition.hyperparameter_ranges),
        )
        for name, definition in tuning.definitions
    ]
    return Facts(
        algorithms=tuple(algorithms),
        strategy=tuning.strategy,
        max_jobs=tuning.max_jobs,
        max_parallel_jobs=tuning.max_parallel_jobs,
        early_stopping=tuning.early_stopping_type == "Auto",
    )


def _of_description(description: Mapping[str, Any]) -> Facts:
    config = description.get("HyperParameterTuningJobConfig", {})
    limits = config.get("ResourceLimits", {})
    definitions = description.get("TrainingJobDefinitions") or [description.get("TrainingJobDefinition", {})]
    algorithms = []
    for definition, read in zip(definitions, job_of(description).definitions, strict=True):
        ranges = definition.get("HyperParameterRanges") or config.get("ParameterRanges") or {}
        algorithms.append(
            Algorithm(_name(description, read.name), read.objective, read.maximize, dict(_ranges(ranges)))
        )
    return Facts(
        algorithms=tuple(algorithms),
        strategy=config.get("Strategy", "Bayesian"),
        max_jobs=limits.get("MaxNumberOfTrainingJobs"),
        max_parallel_jobs=limits.get("MaxParallelTrainingJobs", 1),
        early_stopping=config.get("TrainingJobEarlyStoppingType") == "Auto",
    )


def _name(description: Mapping[str, Any], name: str | None) -> str | None:
    """A definition's name where there are several; that of a single one is a label without meaning."""
    return name if description.get("TrainingJobDefinitions") else None


def _ranges(ranges: Mapping[str, Any]) -> Iterator[tuple[str, ParameterRange]]:
    for entry in ranges.get("IntegerParameterRanges") or ():
        yield from _numeric(entry, IntegerParameter)
    for entry in ranges.get("ContinuousParameterRanges") or ():
        yield from _numeric(entry, ContinuousParameter)
    for entry in ranges.get("CategoricalParameterRanges") or ():
        values = [decode_json(text) for text in entry.get("Values", ())]
        try:
            yield entry["Name"], CategoricalParameter(values)
        except SpecError:
            continue


def _numeric(
    entry: Mapping[str, str], kind: type[IntegerParameter | ContinuousParameter]
) -> Iterator[tuple[str, ParameterRange]]:
    try:
        low, high = float(entry["MinValue"]), float(entry["MaxValue"])
        scaling = entry.get("ScalingType", "Auto")
        if kind is IntegerParameter:
            yield entry["Name"], IntegerParameter(int(low), int(high), scaling)
        else:
            yield entry["Name"], ContinuousParameter(low, high, scaling)
    except (SpecError, ValueError, OverflowError):
        return
