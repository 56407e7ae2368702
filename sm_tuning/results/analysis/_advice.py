"""What a tuning job's results advise for the next job: about ranges, failures, curves and the budget."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sm_tuning._statuses import ENDED, TrainingStatus
from sm_tuning._wire import HYPERBANDS
from sm_tuning.results._columns import ADVICE
from sm_tuning.results._schema import table
from sm_tuning.results.analysis._diagnosis import diagnosis
from sm_tuning.results.analysis._importance import shares_of, too_few
from sm_tuning.results.analysis._ranges import Importance, Note, between, may_be_idle, range_change, range_notes, span
from sm_tuning.results.analysis._sample import Sample, counted, numbers, places_of, rows_of, sample_of
from sm_tuning.results.analysis._space import Algorithm, Facts, Floats
from sm_tuning.results.replay import Change, Setting, past_of, replay_kept, search_of
from sm_tuning.spec import CategoricalParameter, ParameterRange
from sm_tuning.strategies import EarlyStops, Rules

_RESAMPLES = 20

MANY = 0.2  # of the trials
MIN_FAILED = 2
MIN_APART = 4
MIN_JUDGED = 5
_REASON = 120  # characters

MIN_ROUNDS = 5
MIN_TRIALS = 20
SAVED = 0.2  # of the epochs
MAX_REPLAYED = 500  # trials
FLAT = 0.01  # of the distance between the best and the median
NEAR = 0.05  # of the same
NEAR_TRIALS = 5
LATE = 0.75  # of the trials
LATE_GAIN = 0.1  # of the distance between the best and the median


def advice(
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    facts: Facts,
    *,
    seed: int = 0,
    importance: pd.DataFrame | None = None,
    lag: float = 0.0,
) -> pd.DataFrame:
    """Return what to change in the next tuning job, with the evidence in this one; no rows if there is nothing.

    The thresholds are ours unless a source is named. *Places* are on the scale of a range, 0 … 1.

    - ``widen``: the best trial, and more of the best tenth (5 at least) than chance puts there with 1%, lie within a
      tenth of the range from a bound, and trials there beat others. Natural bounds are left alone: 0, a 1 above
      fractions, a 1 below whole numbers. From 12 trials on.
    - ``narrow``: the best fifth (5 at least) lie closer together than chance has it with 1%, within half of the
      range including a margin of 10% on both sides, and trials there beat others. From 20 trials on.
    - ``fix``: a hyperparameter by itself explains less than 5% of the objective's variance, and together with others
      less than 8% (``Importance`` and ``ForestImportance``), with 95% certainty; no line or parabola through the
      objective's ranks (``shapes``) says otherwise by 2.5 standard errors; and another one explains 20% or more. At
      most five, which is what a warm start allows. From 20 trials on.
    - ``drop_value``: a categorical value was tried eight times or more and always ended in the worse half.
    - ``log_scale``: a positive range over a factor of 100 or more is searched linearly, and the best trials do not all
      lie in its top decade.
    - ``parallelism``: a Bayesian search in fewer than five rounds (jobs over jobs at once).
    - ``early_stopping``: a replay of the first 500 trials with the median rule saves 20% of the epochs or more, with
      the same best; a trial trains on for ``lag`` seconds until its stop.
    - ``fewer_jobs``: in the second half the best improved by less than 1% of its distance to the median, though five
      trials or more came within 5% of it. ``more_jobs``: the last quarter improved it twice or more, by 10% of that
      distance. From 20 trials on.
    - ``failures``: 20% of the trials failed, two at least; with the part of a range in which all failures lie, if
      there is one. ``no_metric``: 20% of the completed trials have no objective.
    - ``train_longer``: half of the best third still improved at their end (see ``diagnosis``); ``overfitting``,
      ``underfitting``, ``diverged``: half of all trials.

    Args:
        trials: the trials frame.
        curves: the curves frame; without rows, advice that needs curves is not given.
        facts: the job's settings, see ``facts_of``.
        seed: of the resampling behind ``fix``.
        importance: the frame of that name, if it exists already: it takes most of the time.
        lag: seconds for which a trial trains on after the value that stops it, see ``assumed_lag``.

    Returns:
        One row a piece of advice, warnings (they cost results or money) before hints. ``Change`` is the change of the
        spec as a JSON merge patch (RFC 7396), for example ``{"hyperparameter_ranges": {"eta": {…}}}``, missing if
        there is nothing to apply; ``next_tuning`` applies them.
    """
    notes = [*_health_notes(trials, diagnosis(trials, curves, facts), facts)]
    if facts.strategy != "Grid":  # Grid has run every combination, so there is no search to direct
        for algorithm in facts.algorithms:
            sample = sample_of(trials, facts, algorithm)
            known = _importance(sample, seed) if importance is None else _importance_in(sample, importance)
            notes += range_notes(sample, known)
    notes += _budget_notes(trials, curves, facts, lag)
    # No two changes of one range that contradict: where all trials fail comes before where the good trials lie.
    failing = {(note.definition, note.hyperparameter) for note in notes if note.code == "failures"}
    moves = ("widen", "narrow", "fix", "drop_value", "log_scale")
    kept = [note for note in notes if note.code not in moves or (note.definition, note.hyperparameter) not in failing]
    return table(ADVICE, [note.row() for note in sorted(kept, key=lambda note: note.severity != "warning")])


def _importance(sample: Sample, seed: int) -> dict[str, Importance]:
    """Return an upper estimate of how much each hyperparameter matters; empty if it cannot be computed."""
    if too_few(sample) is not None or not may_be_idle(sample):  # it takes most of the time
        return {}
    names, anova, impurity = shares_of(sample, seed, _RESAMPLES)
    return _finite(zip(names, anova.mean, anova.low, anova.high, impurity.high, strict=True))


def _importance_in(sample: Sample, frame: pd.DataFrame) -> dict[str, Importance]:
    """Return the same from the frame of ``importance``."""
    own = frame[frame["TrainingJobDefinitionName"].fillna("") == (sample.algorithm.name or "")]
    columns = ["Hyperparameter", "Importance", "ImportanceLow", "ImportanceHigh", "ForestImportanceHigh"]
    return _finite(own[columns].itertuples(index=False))


def _finite(found: Iterable[tuple[Any, ...]]) -> dict[str, Importance]:
    return {name: Importance(*map(float, shares)) for name, *shares in found if np.isfinite(shares).all()}


# Failures and curves ------------------------------------------------------------------------------------------------


def _health_notes(trials: pd.DataFrame, diagnoses: pd.DataFrame, facts: Facts) -> Iterator[Note]:
    """Give advice about failures, trials without an objective, and what many curves have in common."""
    for algorithm in facts.algorithms:
        rows = rows_of(trials, facts, algorithm)
        yield from _failures(rows, algorithm)
        yield from _silent(rows, algorithm)
    judged = diagnoses[(diagnoses["Diagnosis"] != "unknown").to_numpy(bool)]
    if len(judged) < MIN_JUDGED:
        return
    labels = dict(zip(judged["TrainingJobName"], judged["Diagnosis"], strict=True))
    # Whether longer training pays is judged by the best third of each algorithm: bad trials will not be trained again.
    best: list[str] = []
    for algorithm in facts.algorithms:
        sample = sample_of(trials, facts, algorithm)
        names = sample.rows["TrainingJobName"].iloc[sample.order[: -(-len(sample) // 3)]]
        best += [labels[name] for name in names if name in labels]
    improving = best.count("still_improving")
    if len(best) >= 3 and improving >= len(best) / 2:
        evidence = f"{improving} of the best {len(best)} trials still improved when they ended"
        message = "train longer: more epochs or rounds, or a larger max_run"
        yield Note("train_longer", "hint", None, None, message, evidence)
    for name, message in (
        ("overfitting", "regularise more, stop training earlier, or add data"),
        ("underfitting", "allow more capacity: a larger model, less regularisation, a better learning rate"),
        ("diverged", "lower the learning rates that are tried"),
    ):
        count = list(labels.values()).count(name)
        if count >= len(labels) / 2:
            yield Note(name, "hint", None, None, message, f"{count} of {len(labels)} trials: {name}")


def _failures(rows: pd.DataFrame, algorithm: Algorithm) -> Iterator[Note]:
    ended = rows[rows["TrainingJobStatus"].isin(ENDED).to_numpy(bool)]
    failed = (ended["TrainingJobStatus"] == TrainingStatus.FAILED).to_numpy(bool)
    if not failed.any() or (not failed.all() and (failed.sum() < MIN_FAILED or failed.mean() < MANY)):
        return
    reasons = ended["FailureReason"][failed].fillna("no reason given").value_counts()
    reason, times = " ".join(str(reasons.index[0]).split()), int(reasons.iloc[0])
    short = reason if len(reason) <= _REASON else f"{reason[:_REASON]}…"
    evidence = f"{failed.sum()} of {len(ended)} trials failed, {times} with: {short}"
    regions = list(_failing_regions(ended, failed, algorithm, evidence))
    yield from regions or [
        Note("failures", "warning", algorithm.name, None, "find out why trials fail, see their logs", evidence)
    ]


def _failing_regions(
    rows: pd.DataFrame, failed: NDArray[np.bool_], algorithm: Algorithm, evidence: str
) -> Iterator[Note]:
    """Give hyperparameters that alone separate failed trials from others, without the part in which all failed."""
    if failed.sum() < MIN_APART or (~failed).sum() < MIN_APART:
        return
    for name, range_ in algorithm.ranges.items():
        places = places_of(rows, algorithm, name)
        if not np.isfinite(places).all():
            continue
        bad, good = places[failed], places[~failed]
        found: ParameterRange | None = None
        if isinstance(range_, CategoricalParameter):
            values = [value for index, value in enumerate(range_.values) if index not in set(bad)]
            if len(values) >= 2 and not set(bad) & set(good):
                found = CategoricalParameter(values)
                shown = ", ".join(map(str, found.values))
        elif bad.min() > good.max() or bad.max() < good.min():
            low, high = (0.0, float(good.max())) if bad.min() > good.max() else (float(good.min()), 1.0)
            numeric = between(range_, low, high)
            found, shown = numeric, "" if numeric is None else span(numeric)
        if found is not None:
            message = f"keep {name} to {shown}: every trial beyond that failed"
            change = range_change(algorithm, name, found)
            yield Note("failures", "warning", algorithm.name, name, message, evidence, change)


def _silent(rows: pd.DataFrame, algorithm: Algorithm) -> Iterator[Note]:
    """Give advice about trials that completed without the objective."""
    completed = rows[(rows["TrainingJobStatus"] == TrainingStatus.COMPLETED).to_numpy(bool)]
    missing = int((~np.isfinite(numbers(completed["FinalObjectiveValue"]))).sum())
    if not missing or missing < MANY * len(completed):
        return
    message = (
        f"make the script print {algorithm.objective!r} in the form that the metric's regex looks for"
        if missing == len(completed)
        else f"find out why some trials end without {algorithm.objective!r}"
    )
    evidence = f"{missing} of {len(completed)} completed trials have no finite value of the objective"
    yield Note("no_metric", "warning", algorithm.name, None, message, evidence)


# Budget -------------------------------------------------------------------------------------------------------------


def _budget_notes(trials: pd.DataFrame, curves: pd.DataFrame, facts: Facts, lag: float) -> Iterator[Note]:
    """Give advice about the budget of the job as a whole."""
    yield from _parallelism(trials, facts)
    yield from _early_stopping(trials, curves, facts, lag)
    objectives = {(algorithm.objective, algorithm.sign) for algorithm in facts.algorithms}
    if facts.strategy in ("Bayesian", "Random") and len(objectives) == 1:
        loss = facts.algorithms[0].sign * numbers(trials["FinalObjectiveValue"])
        losses = np.clip(loss[counted(trials, loss)], -1e100, 1e100)
        if len(losses) >= MIN_TRIALS:
            yield from _max_jobs(losses, facts)


def _parallelism(trials: pd.DataFrame, facts: Facts) -> Iterator[Note]:
    """Advise fewer trials at once for a Bayesian search in fewer than five rounds: trials cannot learn from peers."""
    jobs, at_once = facts.max_jobs or len(trials), facts.max_parallel_jobs
    if facts.strategy != "Bayesian" or at_once < 2 or jobs < 2 or jobs / at_once >= MIN_ROUNDS:
        return
    fewer = max(1, jobs // (2 * MIN_ROUNDS))
    rounds = f"{jobs / at_once:.2g} {'round' if jobs <= at_once else 'rounds'}"
    evidence = f"{jobs} trials, {at_once} at once, make {rounds} of learning"
    # For each trial, the number of others that had ended when it started.
    starts, ends = (np.sort(trials[f"Training{edge}Time"].dropna().to_numpy()) for edge in ("Start", "End"))
    known = np.searchsorted(ends, starts, side="right")
    if len(known):
        results = int(np.median(known))
        amount = "no result" if not results else "at most one result" if results == 1 else f"at most {results} results"
        evidence += f"; half of the trials started with {amount} known"
    yield Note(
        "parallelism",
        "warning",
        None,
        None,
        f"run {fewer} at once instead of {at_once}, so that each trial learns from more others, or use Random",
        evidence,
        {"max_parallel_jobs": fewer},
    )


def _early_stopping(trials: pd.DataFrame, curves: pd.DataFrame, facts: Facts, lag: float) -> Iterator[Note]:
    """Advise early stopping if a replay with the median rule takes a fifth fewer epochs, with the same best."""
    if facts.early_stopping or facts.strategy in HYPERBANDS or facts.several:
        return
    past = past_of(trials, curves, facts, {})
    first = f"the first {MAX_REPLAYED} trials take" if len(past.trials) > MAX_REPLAYED else "this job takes"
    # The time of a replay grows with the square of the trials.
    past = replace(past, trials=past.trials[:MAX_REPLAYED])
    algorithm, count = facts.algorithms[0], len(past.trials)
    rules = Rules(algorithm.objective, algorithm.maximize, max_jobs=count, max_parallel=facts.max_parallel_jobs)
    search = replace(search_of(rules), early=EarlyStops(maximize=algorithm.maximize))
    found = replay_kept(past, Setting("", search, Change(early_stopping="Auto"), lag=lag))
    saving, before, after = found.saving(), found.happened, found.replayed
    if saving is None or saving < SAVED or found.loses_best or before.best_value != after.best_value:
        return
    seconds = before.billable_seconds - after.billable_seconds
    time = f" and {seconds:,.0f} s less of training" if seconds >= 1 else ""
    yield Note(
        "early_stopping",
        "hint",
        None,
        None,
        "let trials that fall behind be stopped early",
        f"replayed with early stopping, {first} {saving:.0%} fewer epochs ({after.epochs} instead of "
        f"{before.epochs}){time}, with the same best: {after.stopped} of {after.trials} trials are stopped",
        {"early_stopping_type": "Auto"},
    )


def _max_jobs(losses: Floats, facts: Facts) -> Iterator[Note]:
    """Advise more or fewer trials, from whether the last trials improved the best."""
    count = len(losses)
    so_far = np.minimum.accumulate(losses)
    # Improvements are measured by the distance between the best and the median, which has the objective's scale.
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
            f"after trial {last} of {count} the best improved by less than 1% of its distance to the median, though "
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
