"""The trials as plots need them: a short label, a state, a value, and where each stands in its frame."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pandas as pd

from sm_tuning._errors import SpecError
from sm_tuning._statuses import TrainingStatus
from sm_tuning.views._about import About, about_frame
from sm_tuning.views._axis import Array, Axis, axis_of

_NUMBER = re.compile(r"-(\d{3,})-[0-9a-f]{8}$")

#: States in the order of legends: evaluated, stopped early or by hand, failed, ended without an objective, not ended.
STATES = ("completed", "stopped", "failed", "no objective", "running")

#: A column that is not a hyperparameter begins where this one stands.
_FIRST_FIXED = "TrainingJobName"


class Rows(NamedTuple):
    """A frame of trials, column by column; all tuples and arrays are as long as the frame.

    Attributes:
        names: training jobs.
        labels: short names, such as #7; with the tuning job in front when there are several.
        jobs: their tuning jobs.
        states: one of ``STATES``.
        values: objective values; nan where there is none or it is not finite.
        is_best: the best trial of each job.
        hyperparameters: names of the tuned columns.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    jobs: tuple[str, ...]
    states: tuple[str, ...]
    values: Array
    is_best: tuple[bool, ...]
    hyperparameters: tuple[str, ...]

    @property
    def evaluated(self) -> Array:
        """Positions of the trials that have a value."""
        return np.flatnonzero(np.isfinite(self.values)).astype(np.float64)


def rows_of(trials: pd.DataFrame) -> Rows:
    """Read a frame of trials.

    Raises:
        SpecError: it is not one.
    """
    lacking = [name for name in (_FIRST_FIXED, "TrainingJobStatus", "FinalObjectiveValue") if name not in trials]
    if lacking:
        raise SpecError(f"this is no frame of trials: it has no column {', '.join(lacking)}; take it from job.trials()")
    values = trials["FinalObjectiveValue"].to_numpy(np.float64)
    values = np.where(np.isfinite(values), values, np.nan)
    jobs = tuple(str(job) for job in trials["TuningJobName"])
    names = tuple(str(name) for name in trials["TrainingJobName"])
    several = len(set(jobs)) > 1
    return Rows(
        names=names,
        labels=tuple(_label(name, job if several else "") for name, job in zip(names, jobs, strict=True)),
        jobs=jobs,
        states=tuple(_state(status, value) for status, value in zip(trials["TrainingJobStatus"], values, strict=True)),
        values=values,
        is_best=tuple(bool(best) for best in trials["IsBest"]),
        hyperparameters=tuple(str(name) for name in trials.columns[: list(trials.columns).index(_FIRST_FIXED)]),
    )


def _label(name: str, job: str) -> str:
    found = _NUMBER.search(name)
    short = f"#{int(found.group(1))}" if found else name
    return f"{job} {short}" if job and found else short


def _state(status: str, value: float) -> str:
    if status in (TrainingStatus.IN_PROGRESS, TrainingStatus.STOPPING):
        return "running"
    if status == TrainingStatus.FAILED:
        return "failed"
    if status == TrainingStatus.STOPPED:
        return "stopped"
    return "completed" if np.isfinite(value) else "no objective"


def read(trials: pd.DataFrame, known: About | None) -> tuple[Rows, About]:
    """The rows of a frame, and what is known of its job."""
    rows = rows_of(trials)
    return rows, about_frame(trials, known)


def axes_of(trials: pd.DataFrame, rows: Rows, known: About) -> list[Axis]:
    """One axis for each tuned hyperparameter, in the order of the columns."""
    return [
        axis_of(name, trials[name], known.ranges.get(name.removeprefix("hyperparameter:")))
        for name in rows.hyperparameters
    ]


def why_none(rows: Rows) -> str:
    """Why there is nothing to show that needs objective values; empty when there is something."""
    if not rows.names:
        return "There are no trials yet."
    if not len(rows.evaluated):
        return f"None of the {len(rows.names)} trials has an objective value."
    return ""


def plural(count: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
