"""Advice about what the job spent: how many trials, how many at once, how long each. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from sm_tuning._statuses import UNSUCCESSFUL
from sm_tuning.results.analysis._facts import Facts
from sm_tuning.results.analysis._notes import Note
from sm_tuning.results.analysis._replay import replay
from sm_tuning.results.analysis._sample import numbers
from sm_tuning.results.analysis._scale import Floats

MIN_ROUNDS = 5
MIN_TRIALS = 20
SAVED = 0.2  # of the epochs
FLAT = 0.01  # of how far the best is from the median
NEAR = 0.05  # of the same
NEAR_TRIALS = 5
LATE = 0.75  # of the trials
LATE_GAIN = 0.1  # of how far the best is from the median


def budget_notes(trials: pd.DataFrame, curves: pd.DataFrame, facts: Facts) -> Iterator[Note]:
    """Advice about the budget of the job as a whole."""
    yield from _parallelism(trials, facts)
    yield from _early_stopping(trials, curves, facts)
    if facts.strategy in ("Bayesian", "Random") and len({(one.objective, one.sign) for one in facts.algorithms}) == 1:
        yield from _budget(_losses(trials, facts), facts)


def _losses(trials: pd.DataFrame, facts: Facts) -> Floats:
    """The objectives that count, in the order in which trials ended; smaller is better."""
    loss = facts.algorithms[0].sign * numbers(trials["FinalObjectiveValue"])
    counts = np.isfinite(loss) & ~trials["ObjectiveStatus"].isin(UNSUCCESSFUL).to_numpy(bool)
    return np.asarray(np.clip(loss[counts], -1e100, 1e100))


def _parallelism(trials: pd.DataFrame, facts: Facts) -> Iterator[Note]:
    """Bayesian search in fewer than five rounds: what runs at once cannot learn from each other."""
    jobs, at_once = facts.max_jobs or len(trials), facts.max_parallel_jobs
    if facts.strategy != "Bayesian" or at_once < 2 or jobs < 2 or jobs / at_once >= MIN_ROUNDS:
        return
    fewer = max(1, jobs // (2 * MIN_ROUNDS))
    evidence = f"{jobs} trials, {at_once} at once, make {jobs / at_once:.2g} rounds of learning"
    known = _known_at_start(trials)
    if len(known):
        evidence += f"; half of the trials started with {int(np.median(known))} or fewer results known"
    yield Note(
        "parallelism",
        "warning",
        None,
        None,
        f"run {fewer} at once instead of {at_once}, so that each trial learns from more others, or use Random",
        evidence,
        {"max_parallel_jobs": fewer},
    )


def _known_at_start(trials: pd.DataFrame) -> list[int]:
    """For each trial, how many others had ended when it started."""
    starts, ends = trials["TrainingStartTime"].dropna(), np.sort(trials["TrainingEndTime"].dropna().to_numpy())
    return [int(count) for count in np.searchsorted(ends, np.sort(starts.to_numpy()), side="right")]


def _early_stopping(trials: pd.DataFrame, curves: pd.DataFrame, facts: Facts) -> Iterator[Note]:
    """The median rule would have saved a fifth of the epochs or more, and not have stopped the best trial."""
    if facts.early_stopping or facts.strategy == "Hyperband" or facts.several:
        return
    found = replay(trials, curves, facts)
    if found.lost_best or not found.epochs or found.saved < SAVED * found.epochs:
        return
    time = f", {found.seconds:,.0f} s of training" if found.seconds >= 1 else ""
    yield Note(
        "early_stopping",
        "hint",
        None,
        None,
        "let trials that fall behind be stopped early",
        f"the median rule on this job's curves stops {len(found.stopped_at)} trials and saves {found.saved} of "
        f"{found.epochs} epochs ({found.saved / found.epochs:.0%}{time}); it keeps the best trial",
        {"early_stopping_type": "Auto"},
    )


def _budget(losses: Floats, facts: Facts) -> Iterator[Note]:
    """Whether the last trials still brought something."""
    count = len(losses)
    if count < MIN_TRIALS:
        return
    so_far = np.minimum.accumulate(losses)
    scale = float(np.median(losses) - so_far[-1])
    if not scale > 0:
        return
    last = int(np.argmax(so_far <= so_far[-1] + FLAT * scale)) + 1
    near = int((losses[last:] <= so_far[-1] + NEAR * scale).sum())
    if last <= count / 2 and near >= NEAR_TRIALS:
        enough = max(last + NEAR_TRIALS, math.ceil(count / 2))
        yield Note(
            "fewer_jobs",
            "hint",
            None,
            None,
            f"{enough} trials are enough",
            f"after trial {last} of {count} the best improved by less than 1 % of its distance to the median, though "
            f"{near} later trials came close to it",
            {"max_jobs": enough},
        )
        return
    late = math.ceil(LATE * count)
    gain = float(so_far[late - 1] - so_far[-1])
    steps = int((np.diff(so_far[late - 1 :]) < -FLAT * scale).sum())
    if gain >= LATE_GAIN * scale and steps >= 2:
        budget = facts.max_jobs or count
        yield Note(
            "more_jobs",
            "hint",
            None,
            None,
            f"the search is not done: run {budget} more trials, warm-started from these",
            f"the last {count - late} of {count} trials improved the best {steps} times, by {gain / scale:.0%} of its "
            "distance to the median",
            {"max_jobs": budget},
        )
