"""What is wrong with each trial, told from its curves.

After Goodfellow, Bengio, Courville, "Deep Learning" (MIT Press, 2016), chapter 11 ("Practical Methodology"; 11.3 and
11.4: decide from the training and the test error) and section 7.8 (early stopping: the held-out error has a minimum
and rises again). The book gives the ideas; the thresholds are ours and are stated in ``diagnosis``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median
from typing import Any, NamedTuple, cast

import pandas as pd

from sm_tuning.results._schema import DIAGNOSIS, table
from sm_tuning.results.analysis._curve import SURE, Curve, curve_of, slope_of
from sm_tuning.results.analysis._facts import Facts
from sm_tuning.results.analysis._pairs import Pair, pair_of
from sm_tuning.results.analysis._scale import Floats

MIN_STEPS = 5
RISE = 0.05  # of the fall
GAP = 0.5  # of what was learned
SHORT_OF = 0.5  # of what the best trial's training learned
TAIL = 0.25  # of the steps
TAIL_GAIN = 0.05  # of the fall
SETTLED = 0.01  # of the fall
_SURE_SLOPE = 3.0  # standard errors


class Judged(NamedTuple):
    """A trial's curves; ``main`` is the held-out one, or the training one when there is no other."""

    name: str
    pair: Pair
    main: Curve | None
    train: Curve | None


class Reference(NamedTuple):
    """What the training error of a job's trials was at their start (median), and at the end of the best of them."""

    start: float
    best: float


class Verdict(NamedTuple):
    """A diagnosis and its reason."""

    diagnosis: str
    evidence: str


def diagnosis(trials: pd.DataFrame, curves: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """What the curves of each trial say about it.

    Curves are turned so that smaller is better and smoothed by a running median. A difference counts only when it
    exceeds the noise: four standard deviations of a smoothed value (of a single one where the start is compared),
    estimated from the curve itself. The *fall* is how far a curve came down from its first value to its best. The
    rules, of which the first that holds decides:

    - ``unknown``: fewer than 5 finite values, unless the last one is not finite.
    - ``diverged``: the last value is nan or infinite; or the training error ends above its start by more than a tenth
      of its fall and 1 % of the start, as with a learning rate that is too large (11.4.1). With a held-out curve
      alone: it ends above its start by more than it had fallen and 1 % of the start.
    - ``overfitting``: the held-out error ends above its best by more than 5 % of its fall, and the training error,
      where it is known, does not rise as well (7.8).
    - ``still_improving``: a line through the last quarter (at least 4 values) falls, by three of its standard errors,
      and by more than 5 % of the fall over that quarter: training stopped too early.
    - ``overfitting`` also: the gap between held-out and training error at the end exceeds half of the held-out fall.
    - ``underfitting``: the training error ends high: less than half as far down, from the start that trials of
      this job have in the median, as that of the job's best; or it never fell. It needs a training curve (11.3).
    - ``plateaued``: it came within 1 % of the fall (or the noise) of its best in its first half and then brought
      nothing; at least 8 values.
    - ``fine``: none of these.

    Args:
        trials: the trials frame.
        curves: the curves frame, in which ``pair_of`` finds the training counterpart of the objective.
        facts: what was searched.

    Returns:
        One row a trial, in the order of ``trials``: the diagnosis, the metrics it rests on, ``Steps`` of the judged
        metric, ``BestStep`` (from 0), and its ``Start``, ``Best``, ``End`` (smoothed), ``TrainEnd`` and ``Noise`` (of
        one value) in the metric's own units and direction; ``Evidence`` says why.
    """
    judged = _judged(trials, curves, facts)
    references = _references(judged)
    return table(DIAGNOSIS, [_row(one, verdict_of(one, references.get(one.pair))) for one in judged])


def _judged(trials: pd.DataFrame, curves: pd.DataFrame, facts: Facts) -> list[Judged]:
    values: dict[tuple[str, str], Floats] = {}
    ordered = curves.sort_values("Step", kind="stable")
    for key, group in ordered.groupby(["TrainingJobName", "MetricName"], sort=False)["Value"]:
        values[cast("tuple[str, str]", key)] = group.to_numpy(dtype="float64", na_value=math.nan)
    metrics = list(dict.fromkeys(metric for _, metric in values))
    pairs = {algorithm.name: pair_of(algorithm, metrics) for algorithm in facts.algorithms}
    found = []
    for name, definition in zip(trials["TrainingJobName"], trials["TrainingJobDefinitionName"], strict=True):
        algorithm = facts.algorithm_of(None if pd.isna(definition) else definition)
        pair = pairs[algorithm.name]
        train = _turned(values.get((name, pair.train or "")), pair)
        held_out = _turned(values.get((name, pair.held_out or "")), pair)
        found.append(Judged(name, pair, held_out or train, train))
    return found


def _turned(values: Floats | None, pair: Pair) -> Curve | None:
    """The curve of these values in the direction in which smaller is better."""
    if values is None:
        return None
    return curve_of(-values if pair.maximize else values)


def _references(judged: list[Judged]) -> Mapping[Pair, Reference]:
    """By the metrics that were judged: how low training error can get in this job."""
    known: dict[Pair, list[Curve]] = {}
    for one in judged:
        if one.train is not None and len(one.train.values) >= MIN_STEPS:
            known.setdefault(one.pair, []).append(one.train)
    return {
        pair: Reference(median(curve.start for curve in curves), min(curve.end for curve in curves))
        for pair, curves in known.items()
    }


def verdict_of(one: Judged, reference: Reference | None) -> Verdict:
    """The first rule that holds."""
    main = one.main
    if main is None:
        return Verdict("unknown", "no value of the metric is known")
    for name, curve in (("held-out", main), ("training", one.train)):
        if curve is not None and not math.isfinite(curve.raw[-1]):
            which = name if one.train is not None and one.main is not one.train else "last"
            return Verdict("diverged", f"the {which} value at the end is not finite")
    if len(main.values) < MIN_STEPS:
        return Verdict("unknown", f"{len(main.values)} values are too few to tell; it needs {MIN_STEPS}")
    rules = (_diverged, _rising, _still_improving, _gap, lambda it: _underfitting(it, reference), _plateaued)
    found = (verdict for rule in rules if (verdict := rule(one)) is not None)
    return next(found, Verdict("fine", "it learned, and settled towards its end"))


def _diverged(one: Judged) -> Verdict | None:
    curve = one.train or one.main
    assert curve is not None
    tolerated = 0.1 if one.train is not None else 1.0
    rise = curve.end - curve.start
    if rise > max(SURE * curve.sigma, tolerated * curve.fall, 0.01 * abs(curve.start)):
        what = "training" if one.train is not None else "held-out"
        return Verdict("diverged", f"the {what} error ends {_size(rise)} worse than it began")
    return None


def _rising(one: Judged) -> Verdict | None:
    main, train = one.main, one.train
    if main is None or main is train:
        return None
    rise = main.end - main.best
    if rise <= max(main.noise, RISE * main.fall):
        return None
    if train is not None and len(train.values) >= MIN_STEPS and train.end - train.best > max(train.noise, rise / 2):
        return None
    slope, error = slope_of(main.values[main.best_step :])
    if len(main.values) - main.best_step >= 4 and slope < 2 * error:
        return None
    return Verdict("overfitting", f"the held-out error was best at step {main.best_step}, then rose by {_size(rise)}")


def _still_improving(one: Judged) -> Verdict | None:
    main = one.main
    assert main is not None
    count = max(4, math.ceil(TAIL * len(main.values)))
    slope, error = slope_of(main.values[-count:])
    gain = -slope * (count - 1)
    if gain > TAIL_GAIN * main.fall and gain > 0 and -slope > _SURE_SLOPE * error:
        return Verdict("still_improving", f"the last {count} of {len(main.values)} values still gained {_size(gain)}")
    return None


def _gap(one: Judged) -> Verdict | None:
    main, train = one.main, one.train
    if main is None or train is None or main is train or len(train.values) < MIN_STEPS:
        return None
    gap = main.end - train.end
    if gap > max(main.noise + train.noise, GAP * main.fall) and train.fall > train.noise:
        return Verdict("overfitting", f"the held-out error ends {_size(gap)} above the training error")
    return None


def _underfitting(one: Judged, reference: Reference | None) -> Verdict | None:
    train = one.train
    if train is None or len(train.values) < MIN_STEPS:
        return None
    if train.fall <= max(train.noise, SETTLED * abs(train.start)) and reference is not None:
        reached = reference.start - reference.best
        if train.fall <= SHORT_OF * reached or reached <= 0:
            return Verdict("underfitting", "the training error did not fall")
    if reference is None or train.end - reference.best <= SHORT_OF * (reference.start - reference.best):
        return None
    if train.end - reference.best <= train.noise:
        return None
    above = _size(train.end - reference.best)
    return Verdict("underfitting", f"the training error ends {above} above that of the job's best")


def _plateaued(one: Judged) -> Verdict | None:
    main = one.main
    assert main is not None
    count = len(main.values)
    near = main.smooth <= main.best + max(main.spread * 2, SETTLED * main.fall)
    first = int(near.argmax())
    if count >= 8 and first < count / 2:
        return Verdict("plateaued", f"nothing was gained after step {first} of {count}")
    return None


def _size(difference: float) -> str:
    return f"{difference:.3g}"


def _row(one: Judged, verdict: Verdict) -> tuple[Any, ...]:
    sign = -1.0 if one.pair.maximize else 1.0
    main, train = one.main, one.train
    judged = one.pair.train if main is train and train is not None else one.pair.held_out or one.pair.train
    if main is None:
        return (one.name, verdict.diagnosis, judged, one.pair.train, 0, None, *[None] * 5, verdict.evidence)
    numbers = (sign * main.start, sign * main.best, sign * main.end)
    train_end = None if train is None else sign * train.end
    steps = (len(main.raw), main.best_step)
    return (
        one.name,
        verdict.diagnosis,
        judged,
        one.pair.train,
        *steps,
        *numbers,
        train_end,
        main.sigma,
        verdict.evidence,
    )
