"""What a tuning job was asked to do, as far as an analysis must know it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sm_tuning.description import Job, job_of
from sm_tuning.spec import ParameterRange, Tuning


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
        max_jobs: the budget; None without such a limit.
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
        """Return the algorithm of a trial, by the name of its definition."""
        named = (algorithm for algorithm in self.algorithms if algorithm.name == definition)
        return next(named, self.algorithms[0])


def facts_of(source: Tuning | Job | Mapping[str, Any]) -> Facts:
    """Return the settings of a spec, or of a tuning job (its value or its description), whoever made the job.

    A range that a spec cannot hold, for example one with equal bounds, is left out: nothing was searched there.
    """
    if isinstance(source, Tuning):
        return Facts(
            algorithms=tuple(
                Algorithm(
                    name,
                    definition.objective_metric_name or "",
                    definition.objective_type == "Maximize",
                    dict(definition.hyperparameter_ranges),
                )
                for name, definition in source.definitions
            ),
            strategy=source.strategy,
            max_jobs=source.max_jobs,
            max_parallel_jobs=source.max_parallel_jobs,
            early_stopping=source.early_stopping_type == "Auto",
        )
    job = source if isinstance(source, Job) else job_of(source)
    return Facts(
        algorithms=tuple(
            Algorithm(
                definition.name if job.several else None,
                definition.objective,
                definition.maximize,
                {entry.name: found for entry in definition.ranges if (found := entry.parameter) is not None},
            )
            for definition in job.definitions
        ),
        strategy=job.strategy or "Bayesian",
        max_jobs=job.limits.max_jobs,
        max_parallel_jobs=job.limits.max_parallel_jobs,
        early_stopping=job.early_stopping,
    )
