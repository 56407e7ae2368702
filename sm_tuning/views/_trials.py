"""The frame of trials as plots need it: labels, states and values, and the objective and ranges of the job."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sm_tuning._errors import SpecError
from sm_tuning._statuses import TrainingStatus
from sm_tuning.description import Job, Range, job_of
from sm_tuning.views._axis import Array, Axis, axis_of

#: The counter in the name of a training job, which the service gives: JOB-007-0123abcd.
_NUMBER = re.compile(r"-(\d{3,})-[0-9a-f]{8}$")

#: States in the order of legends: with an objective, stopped early or by the user, failed, ended without an objective,
#: not yet ended.
STATES = ("completed", "stopped", "failed", "no objective", "running")


class About(NamedTuple):
    """The facts of one or several tuning jobs that titles and axes need.

    Attributes:
        objective: the objective's metric name.
        maximize: its direction; None if a frame without a description does not show it.
        ranges: tuned hyperparameters by name.
        further: the objectives of a study after the first: metric -> ``Maximize`` or ``Minimize``.
        resource: the hyperparameter that says up to where a trial trains, in a study whose trials continue others.
    """

    objective: str = "objective"
    maximize: bool | None = None
    ranges: Mapping[str, Range] = {}
    further: Mapping[str, str] = {}
    resource: str = ""

    @property
    def directions(self) -> dict[str, str]:
        """All objectives, the first one leading: metric -> ``Maximize`` or ``Minimize``."""
        return {self.objective: "Maximize" if self.maximize else "Minimize", **self.further}

    @property
    def direction(self) -> str:
        """The direction in words, for a title; empty if unknown."""
        return "" if self.maximize is None else "higher is better" if self.maximize else "lower is better"

    @property
    def goal(self) -> str:
        """The objective with its direction, for a title."""
        return f"{self.objective} ({self.direction})" if self.direction else self.objective

    @property
    def objectives(self) -> list[str]:
        """The objective metrics: several if training job definitions have different ones."""
        return self.objective.split(" / ")

    @property
    def sign(self) -> float:
        """Factor that makes smaller values better; an unknown direction counts as Minimize."""
        return -1.0 if self.maximize else 1.0


def about(*sources: Mapping[str, Any] | Job) -> About:
    """Return the facts of one or several jobs; a hyperparameter that several jobs tune gets the widest range.

    Args:
        *sources: answers of DescribeHyperParameterTuningJob, such as ``job.describe()``.

    Raises:
        SpecError: the jobs have opposite directions, so they cannot share a plot.
    """
    jobs = [source if isinstance(source, Job) else job_of(source) for source in sources]
    definitions = [definition for job in jobs for definition in job.definitions]
    # Definitions of one job may rank by metrics of different names, such as f1 and score.
    names = dict.fromkeys(definition.objective or "objective" for definition in definitions)
    directions = {definition.direction for definition in definitions} - {""}
    if len(directions) > 1:
        raise SpecError(
            f"{', '.join(job.name for job in jobs)}: some maximize and some minimize their objective, so they have no "
            "plot in common: draw each one separately"
        )
    ranges: dict[str, Range] = {}
    for entry in (entry for definition in definitions for entry in definition.ranges):
        ranges[entry.name] = _widest(ranges[entry.name], entry) if entry.name in ranges else entry
    maximize = None if not directions else directions == {"Maximize"}
    further = {metric: direction for job in jobs for metric, direction in job.further.items()}
    resources = {job.resource for job in jobs} - {""}
    resource = resources.pop() if len(resources) == 1 else ""
    return About(" / ".join(names) or "objective", maximize, ranges, further, resource)


def _widest(first: Range, second: Range) -> Range:
    """Return a range that holds both; it is categorical if one of them is."""
    if "Categorical" in (first.kind, second.kind):
        return replace(first, kind="Categorical", values=(*first.values, *second.values), low=None, high=None)
    return replace(
        first,
        low=min((end for end in (first.low, second.low) if end is not None), default=None),
        high=max((end for end in (first.high, second.high) if end is not None), default=None),
        # With different scales, the values decide, as for a range without a scale.
        scaling=first.scaling if first.scaling == second.scaling else "Auto",
    )


class Rows(NamedTuple):
    """The columns of a frame of trials; all tuples and arrays have one entry for each row.

    Attributes:
        names: training jobs.
        labels: short names, for example #7; with the tuning job in front if there are several.
        jobs: tuning jobs.
        states: one of ``STATES``.
        values: objective values; NaN where the value is missing or not finite.
        is_best: whether the trial is the best of its job.
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
    def titles(self) -> tuple[str, ...]:
        """Short and full name of each trial, for the pointer: a short one cannot be looked up on AWS."""
        pairs = zip(self.labels, self.names, strict=True)
        return tuple(name if short == name else f"{short} {name}" for short, name in pairs)

    @property
    def evaluated(self) -> int:
        """The number of trials with an objective."""
        return int(np.isfinite(self.values).sum())

    @property
    def note(self) -> str:
        """Why a plot of objective values is empty; an empty text if it is not."""
        if not self.names:
            return "There are no trials yet."
        # A job that has just begun, or of which all trials failed, has nothing to compare.
        return "" if self.evaluated else f"None of the {len(self.names)} trials has an objective value."


def rows_of(trials: pd.DataFrame) -> Rows:
    """Read a frame of trials.

    Raises:
        SpecError: the frame is not one of trials.
    """
    required = ("TrainingJobName", "TrainingJobStatus", "FinalObjectiveValue")
    lacking = [name for name in required if name not in trials]
    if lacking:
        raise SpecError(
            f"this is not a frame of trials: it has no column {', '.join(lacking)}; take the frame of job.trials()"
        )
    values = trials["FinalObjectiveValue"].to_numpy(np.float64)
    values = np.where(np.isfinite(values), values, np.nan)
    # Without pandas' own iteration over text, which takes most of the time.
    jobs, names, statuses = (
        tuple(map(str, trials[name].to_numpy(object)))
        for name in ("TuningJobName", "TrainingJobName", "TrainingJobStatus")
    )
    finite = np.isfinite(values).tolist()
    several = len(set(jobs)) > 1

    def label(name: str, job: str) -> str:
        number = _NUMBER.search(name)
        short = f"#{int(number.group(1))}" if number else name
        return f"{job} {short}" if several and number else short

    return Rows(
        names=names,
        labels=tuple(label(name, job) for name, job in zip(names, jobs, strict=True)),
        jobs=jobs,
        states=tuple(map(_state, statuses, finite)),
        values=values,
        is_best=tuple(map(bool, trials["IsBest"].tolist())),
        # The tuned hyperparameters are the columns before the fixed ones, of which the name is the first.
        hyperparameters=tuple(str(name) for name in trials.columns[: list(trials.columns).index(required[0])]),
    )


class Shared(About):
    """Facts about the jobs of a frame that many plots show, with its rows, which are read once.

    Attributes:
        frame: the frame of trials.
        rows: of the frame.
    """

    frame: pd.DataFrame
    rows: Rows


def shared(trials: pd.DataFrame, known: About) -> Shared:
    """Return the facts of plots with the rows of the frame that these show."""
    found = Shared(*known)
    found.frame, found.rows = trials, rows_of(trials)
    return found


def _state(status: str, has_value: bool) -> str:
    # A trial that is being stopped may still emit a value.
    if status in (TrainingStatus.IN_PROGRESS, TrainingStatus.STOPPING):
        return "running"
    if status in (TrainingStatus.FAILED, TrainingStatus.STOPPED):
        return status.lower()
    return "completed" if has_value else "no objective"


def read(trials: pd.DataFrame, known: About | None) -> tuple[Rows, About]:
    """Return the rows of a frame, and the facts of its job.

    Without the job's description, the direction is taken from the values: the best trial has the smallest or the
    greatest of them.

    Raises:
        SpecError: the frame is not one of trials.
    """
    if isinstance(known, Shared) and known.frame is trials:
        return known.rows, known
    rows = rows_of(trials)
    if known is not None:
        return rows, known
    best = rows.values[np.array(rows.is_best, dtype=bool)]
    best = best[np.isfinite(best)]
    if not len(best) or np.nanmin(rows.values) == np.nanmax(rows.values):
        return rows, About()
    distances = abs(best[0] - np.nanmax(rows.values)), abs(best[0] - np.nanmin(rows.values))
    return rows, About(maximize=bool(distances[0] < distances[1]))


def axes_of(trials: pd.DataFrame, rows: Rows, known: About) -> list[Axis]:
    """Return one axis for each tuned hyperparameter, in the order of the columns."""
    # A hyperparameter that shares its name with a fixed column has a prefix in the frame.
    return [
        axis_of(name, trials[name], known.ranges.get(name.removeprefix("hyperparameter:")))
        for name in rows.hyperparameters
    ]


def plural(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
