"""What the service's early stopping would have saved, replayed on a job's own curves. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from sm_tuning._statuses import FINISHED
from sm_tuning.results._columns import NO_TIME
from sm_tuning.results._schema import microseconds_of, rows_by
from sm_tuning.results.analysis._space import Facts, Floats

#: The guide does not say how many jobs must have completed and how many epochs are free. These are the values of the
#: rule as published by the service's authors (Syne Tune's MedianStoppingRule: grace_time 1, grace_population 5).
GRACE_EPOCHS = 1
GRACE_TRIALS = 5
MAX_RUNS = 1000


class Replay(NamedTuple):
    """The outcome of the rule.

    Attributes:
        epochs: number of values of the objective that the trials emitted.
        stopped_at: trial -> number of epochs after which it would have been stopped.
        saved: number of epochs that would not have been run.
        seconds: of training that these epochs took, estimated from the trials' times.
        lost_best: whether the trial that ended best would have been stopped.
    """

    epochs: int
    stopped_at: Mapping[str, int]
    saved: int
    seconds: float
    lost_best: bool


class _Run(NamedTuple):
    """A trial's objective (smaller is better), when each value and the end came, and the seconds that it took."""

    name: str
    loss: Floats
    times: Floats
    ended: float
    seconds: float


def replay(trials: pd.DataFrame, curves: pd.DataFrame, facts: Facts) -> Replay:
    """Apply the median rule to trials that ran to their end, the first 1,000 of them.

    A trial stops at an epoch at which its objective is worse than the median, over the trials that had completed by
    then, of the average of their objective up to the same epoch [Developer Guide, automatic-model-tuning-early-
    stopping]. A trial that the rule has stopped is not a completed one. The replay ignores that later trials would
    have started sooner.

    Args:
        trials: the trials frame.
        curves: the curves frame.
        facts: of a job with a single algorithm, which early stopping requires.
    """
    runs = sorted(_runs(trials, curves, facts), key=lambda run: run.ended)[:MAX_RUNS]
    means = np.full((len(runs), max((len(run.loss) for run in runs), default=0)), np.nan)
    ended = np.empty(len(runs))
    completed = 0
    stopped_at: dict[str, int] = {}
    for run in runs:
        epoch = _stop_epoch(run, means[:completed], ended[:completed])
        if epoch is not None:
            stopped_at[run.name] = epoch
            continue
        with np.errstate(all="ignore"):
            means[completed, : len(run.loss)] = np.cumsum(run.loss) / np.arange(1, len(run.loss) + 1)
        ended[completed] = run.ended
        completed += 1
    saved = {run.name: len(run.loss) - stopped_at[run.name] for run in runs if run.name in stopped_at}
    seconds = sum(run.seconds * saved[run.name] / len(run.loss) for run in runs if run.name in saved)
    finals = {run.name: float(run.loss[-1]) for run in runs if math.isfinite(run.loss[-1])}
    best = min(finals, key=finals.__getitem__, default="")
    return Replay(sum(len(run.loss) for run in runs), stopped_at, sum(saved.values()), seconds, best in stopped_at)


def _runs(trials: pd.DataFrame, curves: pd.DataFrame, facts: Facts) -> list[_Run]:
    algorithm = facts.algorithms[0]
    own = curves[(curves["MetricName"] == algorithm.objective).fillna(value=False).to_numpy(bool)]
    own = own.sort_values("Step", kind="stable")
    groups = {name: places for (name,), places in rows_by(own, "TrainingJobName")}
    losses = algorithm.sign * own["Value"].to_numpy(dtype="float64", na_value=np.nan)
    moments = microseconds_of(own["Timestamp"])
    times = np.where(moments == NO_TIME, np.inf, moments / 1e6)
    ended = trials[trials["TrainingJobStatus"].isin(FINISHED).to_numpy(bool)]
    columns = (ended["TrainingJobName"], ended["TrainingEndTime"], ended["TrainingElapsedTimeSeconds"])
    runs = []
    for place, (name, end, seconds) in enumerate(zip(*columns, strict=True)):
        if name not in groups:
            continue
        # Without times, the order of the frame, which is that of the ends, stands in.
        known = float(place) if pd.isna(end) else end.timestamp()
        places, took = groups[name], 0.0 if pd.isna(seconds) else float(seconds)
        runs.append(_Run(name, losses[places], times[places], known, took))
    return runs


def _stop_epoch(run: _Run, means: Floats, ended: Floats) -> int | None:
    """Return the number of epochs after which the rule stops a run; None if it never does.

    Args:
        run: the trial.
        means: a row a completed trial, the running averages of its objective.
        ended: when each of them ended.
    """
    # The last epoch is not tested: stopping there would save nothing.
    count = min(len(run.loss) - 1, means.shape[1])
    peers = np.where(ended[:, None] <= run.times[None, :count], means[:, :count], np.nan)
    enough = (~np.isnan(peers)).sum(axis=0) >= GRACE_TRIALS
    for epoch in np.flatnonzero(enough) + 1:
        value = run.loss[epoch - 1]
        if epoch > GRACE_EPOCHS and (math.isnan(value) or value > np.nanmedian(peers[:, epoch - 1])):
            return int(epoch)
    return None
