"""Advice about trials that brought nothing, and about what the curves show in common. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sm_tuning._statuses import ENDED, TrainingStatus
from sm_tuning.results.analysis._facts import Algorithm, Facts
from sm_tuning.results.analysis._notes import Note, range_change, span
from sm_tuning.results.analysis._ranges import between
from sm_tuning.results.analysis._sample import numbers, places_of, rows_of, sample_of
from sm_tuning.results.analysis._scale import Floats, Numeric
from sm_tuning.spec import CategoricalParameter, ParameterRange

MANY = 0.2  # of the trials
MIN_FAILED = 2
MIN_APART = 4
MIN_JUDGED = 5
_REASON = 120  # characters


def health_notes(trials: pd.DataFrame, diagnoses: pd.DataFrame, facts: Facts) -> Iterator[Note]:
    """Advice about failures, silent trials, and what many curves have in common."""
    for algorithm in facts.algorithms:
        rows = rows_of(trials, facts, algorithm)
        yield from _failures(rows, algorithm)
        yield from _silent(rows, algorithm)
    yield from _curves(trials, diagnoses, facts)


def _failures(rows: pd.DataFrame, algorithm: Algorithm) -> Iterator[Note]:
    ended = rows[rows["TrainingJobStatus"].isin(ENDED).to_numpy(bool)]
    failed = (ended["TrainingJobStatus"] == TrainingStatus.FAILED).to_numpy(bool)
    if failed.sum() < MIN_FAILED or failed.mean() < MANY:
        return
    reasons = ended["FailureReason"][failed].fillna("no reason given").value_counts()
    reason, times = str(reasons.index[0]), int(reasons.iloc[0])
    short = " ".join(reason.split())
    short = short if len(short) <= _REASON else f"{short[:_REASON]}…"
    evidence = f"{failed.sum()} of {len(ended)} trials failed, {times} with: {short}"
    regions = list(_failing_regions(ended, failed, algorithm, evidence))
    yield from regions or [
        Note("failures", "warning", algorithm.name, None, "find out why trials fail, see their logs", evidence)
    ]


def _failing_regions(
    rows: pd.DataFrame, failed: NDArray[np.bool_], algorithm: Algorithm, evidence: str
) -> Iterator[Note]:
    """Hyperparameters that alone tell failed trials from others: the range without the part in which all failed."""
    if failed.sum() < MIN_APART or (~failed).sum() < MIN_APART:
        return
    for name, range_ in algorithm.ranges.items():
        places = places_of(rows, algorithm, name)
        if not np.isfinite(places).all():
            continue
        bad, good = places[failed], places[~failed]
        found = (
            _kept_values(range_, bad, good)
            if isinstance(range_, CategoricalParameter)
            else _kept_interval(range_, bad, good)
        )
        if found is not None:
            message = f"keep {name} to {_told(found)}: every trial beyond that failed"
            change = range_change(algorithm, name, found)
            yield Note("failures", "warning", algorithm.name, name, message, evidence, change)


def _kept_values(range_: CategoricalParameter, bad: Floats, good: Floats) -> CategoricalParameter | None:
    kept = [value for index, value in enumerate(range_.values) if index not in set(bad)]
    return CategoricalParameter(kept) if len(kept) >= 2 and not set(bad) & set(good) else None


def _kept_interval(range_: Numeric, bad: Floats, good: Floats) -> Numeric | None:
    if bad.min() > good.max():
        return between(range_, 0.0, float(good.max()))
    if bad.max() < good.min():
        return between(range_, float(good.min()), 1.0)
    return None


def _told(range_: ParameterRange) -> str:
    return ", ".join(map(str, range_.values)) if isinstance(range_, CategoricalParameter) else span(range_)


def _silent(rows: pd.DataFrame, algorithm: Algorithm) -> Iterator[Note]:
    """Trials that completed without the objective."""
    completed = rows[(rows["TrainingJobStatus"] == TrainingStatus.COMPLETED).to_numpy(bool)]
    missing = int((~np.isfinite(numbers(completed["FinalObjectiveValue"]))).sum())
    if not missing or missing < MANY * len(completed):
        return
    never = missing == len(completed)
    message = (
        f"make the script print {algorithm.objective!r} in the form that the metric's regex looks for"
        if never
        else f"find out why some trials end without {algorithm.objective!r}"
    )
    evidence = f"{missing} of {len(completed)} completed trials have no finite value of the objective"
    yield Note("no_metric", "warning", algorithm.name, None, message, evidence)


def _curves(trials: pd.DataFrame, diagnoses: pd.DataFrame, facts: Facts) -> Iterator[Note]:
    """What half of the judged trials have in common; of the best third, whether they could go on."""
    judged = diagnoses[(diagnoses["Diagnosis"] != "unknown").to_numpy(bool)]
    if len(judged) < MIN_JUDGED:
        return
    labels = dict(zip(judged["TrainingJobName"], judged["Diagnosis"], strict=True))
    best = [labels[name] for name in _best_third(trials, facts) if name in labels]
    going = best.count("still_improving")
    if len(best) >= 3 and going >= len(best) / 2:
        evidence = f"{going} of the best {len(best)} trials still improved when they ended"
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


def _best_third(trials: pd.DataFrame, facts: Facts) -> list[str]:
    """The names of the best third of each algorithm's trials that count."""
    names: list[str] = []
    for algorithm in facts.algorithms:
        sample = sample_of(trials, facts, algorithm)
        best = sample.order[: -(-len(sample) // 3)]
        names += sample.rows["TrainingJobName"].iloc[best].tolist()
    return names
