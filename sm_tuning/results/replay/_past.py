"""What happened in a tuning job: the course of each trial in seconds, to be run again on a virtual clock. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sm_tuning._statuses import ENDED, TrainingStatus
from sm_tuning.results._columns import NO_TIME
from sm_tuning.results._schema import microseconds_of, rows_by
from sm_tuning.results.analysis._space import Facts


@dataclass(frozen=True)
class Course:
    """What a trial does if nothing stops it. Times are seconds since its creation.

    Attributes:
        status: its TrainingJobStatus at the end.
        value: the final objective; None without one.
        curve: the values of the objective.
        times: when each value came.
        started: when training started.
        ended: when the trial ended.
        billable: billed seconds of each instance.
        dollars: what an hour of all its instances costs; nan if unknown.
    """

    status: TrainingStatus
    value: float | None
    curve: tuple[float, ...] = ()
    times: tuple[float, ...] = ()
    started: float = 0.0
    ended: float = 0.0
    billable: float = 0.0
    dollars: float = math.nan

    @property
    def tail(self) -> float:
        """Seconds from the last value to the end, such as those that save the model."""
        return self.ended - (self.times[-1] if self.times else self.started)

    def billed(self, until: float) -> float:
        """Return the billed seconds of a trial that ends earlier. A discount of spot instances stays the same."""
        whole = self.ended - self.started
        if whole <= 0:
            return self.billable
        return self.billable * min(max((until - self.started) / whole, 0.0), 1.0)

    def at_speed(self, speed: float) -> Course:
        """Return the course on instances that train that many times as fast; they take as long to start."""

        def moved(moment: float) -> float:
            return self.started + (moment - self.started) / speed

        times = tuple(map(moved, self.times))
        return replace(self, times=times, ended=moved(self.ended), billable=self.billable / speed)


@dataclass(frozen=True)
class PastTrial:
    """A trial of the job.

    Attributes:
        name: of the training job.
        hyperparameters: the tuned ones, as wire strings.
        created: when it was created, in epoch seconds.
        course: what it did.
        stopped: when its stop began, in seconds since its creation; None if it was not stopped.
        is_cut: whether it was stopped before it had trained as long as others, so that its rest is not known.
    """

    name: str
    hyperparameters: Mapping[str, str]
    created: float
    course: Course
    stopped: float | None = None
    is_cut: bool = False


class Extra(NamedTuple):
    """What the frames of a job lack.

    Attributes:
        created: when the trial was created.
        hyperparameters: as wire strings.
        dollars: what an hour of all its instances costs; nan if unknown.
        max_run: seconds after which the job stops the trial; None without such a limit.
        stopping: when its stop began, in epoch seconds; None if unknown.
    """

    created: datetime
    hyperparameters: Mapping[str, str]
    dollars: float = math.nan
    max_run: int | None = None
    stopping: float | None = None


@dataclass(frozen=True)
class Past:
    """A job that has ended.

    Attributes:
        trials: those that have ended, in the order of their creation.
        maximize: whether a higher objective is better.
        max_parallel: the most trials at once.
        averaged: number of trials whose curves are CloudWatch's averages.
    """

    trials: tuple[PastTrial, ...]
    maximize: bool
    max_parallel: int
    averaged: int = field(default=0, compare=False)

    @property
    def seconds(self) -> float:
        """From the creation of the first trial to the end of the last."""
        if not self.trials:
            return 0.0
        begin = min(trial.created for trial in self.trials)
        return max(trial.created + trial.course.ended for trial in self.trials) - begin

    @property
    def longest(self) -> int:
        """The most values of the objective that a trial emitted."""
        return max((len(trial.course.curve) for trial in self.trials), default=0)

    @cached_property
    def gap(self) -> float:
        """Seconds from the end of a trial to the creation of the one in its place, as a median; -1 at least.

        Lists of training jobs have whole seconds, so that a trial may seem to begin before the last value of the one
        before. Without the difference, a replay of many short trials would take longer than they did.
        """
        created = sorted(trial.created for trial in self.trials)
        ended = sorted(trial.created + trial.course.ended for trial in self.trials)
        later = created[self.max_parallel :]
        gaps = [max(-1.0, start - end) for start, end in zip(later, ended, strict=False)]
        return median(gaps) if gaps else 0.0


def past_of(trials: pd.DataFrame, curves: pd.DataFrame, facts: Facts, extras: Mapping[str, Extra]) -> Past:
    """Return what happened in a job.

    Args:
        trials: the trials frame; trials that have not ended are left out.
        curves: the curves frame.
        facts: the job's settings.
        extras: by trial name; a trial without them counts as created when its training started.
    """
    values = _values(curves, facts)
    ended = trials[trials["TrainingJobStatus"].isin(ENDED).to_numpy(bool)]
    names = ["TrainingJobName", "TrainingJobStatus", "FinalObjectiveValue", "TrainingStartTime", "TrainingEndTime"]
    columns = [ended[name] for name in (*names, "BillableTimeInSeconds", "TrainingJobDefinitionName")]
    found = [
        _trial(row, values.get((row[0], facts.algorithm_of(_text(row[-1])).objective)), extras.get(row[0]))
        for row in zip(*columns, strict=True)
    ]
    ordered = sorted(found, key=lambda trial: (trial.created, trial.name))
    longest = max((len(trial.course.curve) for trial in ordered), default=0)
    # A trial that Hyperband ended at its MaxResource was stopped too, and has nothing left.
    marked = [replace(t, is_cut=t.is_cut and len(t.course.curve) < longest) for t in ordered]
    averaged = int(curves.loc[(curves["Source"] == "cloudwatch").to_numpy(bool), "TrainingJobName"].nunique())
    return Past(tuple(marked), facts.algorithms[0].maximize, facts.max_parallel_jobs, averaged)


def _text(value: Any) -> str | None:
    return None if pd.isna(value) else str(value)


def _values(curves: pd.DataFrame, facts: Facts) -> dict[tuple[str, str], tuple[list[float], list[float]]]:
    """Return the values of each trial's objectives, and their times in epoch seconds, nan where one is missing."""
    own = curves[curves["MetricName"].isin([algorithm.objective for algorithm in facts.algorithms]).to_numpy(bool)]
    own = own.sort_values("Step", kind="stable")
    numbers = own["Value"].to_numpy(dtype="float64", na_value=np.nan)
    moments = microseconds_of(own["Timestamp"])
    times = np.where(moments == NO_TIME, np.nan, moments / 1e6)
    return {
        key: (numbers[places].tolist(), times[places].tolist())
        for key, places in rows_by(own, "TrainingJobName", "MetricName")
    }


def _trial(row: Sequence[Any], values: tuple[list[float], list[float]] | None, extra: Extra | None) -> PastTrial:
    name, status, value, start, end, billable, _ = row
    curve, moments = values or ([], [])
    known = [moment for moment in moments if not math.isnan(moment)]
    begins = [] if pd.isna(start) else [start.timestamp()]
    created = extra.created.timestamp() if extra is not None else min([*begins, *known], default=0.0)
    started = max(begins[0] - created, 0.0) if begins else 0.0
    times = tuple(_ascending([moment - created for moment in moments], started))
    last = max([started, *times])
    ended = max(last, end.timestamp() - created) if not pd.isna(end) else last
    if times and len(known) < len(moments):  # without times, the values divide the training evenly
        step = (ended - started) / len(moments)
        times = tuple(started + step * (place + 1) for place in range(len(moments)))
    course = Course(
        status=TrainingStatus(status),
        value=None if pd.isna(value) else float(value),
        curve=tuple(curve),
        times=times,
        started=started,
        ended=ended,
        billable=ended - started if pd.isna(billable) else float(billable),
        dollars=math.nan if extra is None else extra.dollars,
    )
    ran_out = extra is not None and extra.max_run is not None and ended - started >= extra.max_run
    if course.status is not TrainingStatus.STOPPED or ran_out:
        return PastTrial(name, {} if extra is None else extra.hyperparameters, created, course)
    # A trial may print values until its end; without the time of the stop, it stands for the last of them.
    begun = [] if extra is None or extra.stopping is None else [extra.stopping - created]
    stopped = max([started, *times, *begun])
    return PastTrial(name, {} if extra is None else extra.hyperparameters, created, course, stopped, is_cut=True)


def _ascending(times: Sequence[float], first: float) -> Iterator[float]:
    """Yield times that never run backwards, as those of several hosts may."""
    latest = first
    for time in times:
        latest = latest if math.isnan(time) else max(latest, time)
        yield latest
