"""What is wrong with each trial, according to its curves.

After Goodfellow, Bengio, Courville, "Deep Learning" (MIT Press, 2016), chapter 11 ("Practical Methodology"; 11.3 and
11.4: decide from the training and the test error) and section 7.8 (early stopping: the held-out error has a minimum
and rises again). The book gives the ideas; the thresholds are ours and are stated in ``diagnosis``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd

from sm_tuning.description import MetricName
from sm_tuning.results._columns import DIAGNOSIS
from sm_tuning.results._schema import rows_by, table
from sm_tuning.results.analysis._space import Algorithm, Facts, Floats

MIN_STEPS = 5
RISE = 0.05  # of the fall
GAP = 0.5  # of the held-out fall
SHORT_OF = 0.5  # of what the best trial's training learned
TAIL = 0.25  # of the steps
TAIL_GAIN = 0.05  # of the fall
SETTLED = 0.01  # of the fall
_SURE_SLOPE = 3.0  # standard errors
_SURE = 4.0  # standard deviations of a smoothed value, within which a difference is noise


@dataclass(frozen=True)
class Curve:
    """One metric of one trial over time, in the direction in which smaller is better.

    Attributes:
        raw: every value, those that are not finite included.
        values: the finite values.
        smooth: their running median.
        sigma: the standard deviation of the noise of one value.
        spread: the standard deviation of the noise of a smoothed value.
    """

    raw: Floats
    values: Floats
    smooth: Floats
    sigma: float
    spread: float

    @property
    def start(self) -> float:
        """The first value."""
        return float(self.smooth[0])

    @property
    def end(self) -> float:
        """The last value, smoothed."""
        return float(self.smooth[-1])

    @property
    def best_step(self) -> int:
        """Where the smoothed curve is lowest, for the first time."""
        return int(np.argmin(self.smooth))

    @property
    def best(self) -> float:
        """The lowest smoothed value."""
        return float(self.smooth[self.best_step])

    @property
    def fall(self) -> float:
        """The difference between its start and its best."""
        return self.start - self.best

    @property
    def noise(self) -> float:
        """What a difference of smoothed values must exceed to count."""
        return _SURE * self.spread


def curve_of(values: Floats) -> Curve | None:
    """Return a curve of these values; None if no value is finite.

    The noise is estimated from second differences, which a smooth curve nearly lacks: 1.48 times their median absolute
    value (which bends and outliers do not move) over the square root of 6. The running median is over 3 to 15 values,
    a tenth of the curve; its noise is 1.25 times that of a mean of as many values.
    """
    raw = np.clip(values, -1e100, 1e100, where=np.isfinite(values), out=values.copy())
    finite = raw[np.isfinite(raw)]
    if not len(finite):
        return None
    width = 1 if len(finite) < 8 else min(15, max(3, len(finite) // 10 | 1))  # odd, so that the median has a middle
    half = width // 2
    smooth = finite.copy()
    if half:
        shifted = [finite[first : len(finite) - width + 1 + first] for first in range(width)]
        smooth[half:-half] = np.sort(shifted, axis=0)[half]
        for place in range(1, half):  # windows that the ends cut off
            smooth[place] = _median(finite[: place + half + 1])
            smooth[-place - 1] = _median(finite[-place - half - 1 :])
    smooth[-1] = _median(finite[-width:])
    second = np.abs(np.diff(finite, 2))
    sigma = 1.4826 * _median(second) / math.sqrt(6) if len(second) >= 3 else 0.0
    return Curve(raw, finite, smooth, sigma, 1.2533 * sigma / math.sqrt(width))


def _median(values: Floats) -> float:
    """Return what ``np.median`` does of a few finite values, in a fifth of the time."""
    ordered, half = np.sort(values), len(values) // 2
    return float(ordered[half]) if len(values) % 2 else float((ordered[half - 1] + ordered[half]) / 2)


def slope_of(values: Floats) -> tuple[float, float]:
    """Return the slope of a line through equally spaced values, and its standard error (least squares)."""
    count = len(values)
    if count < 3:
        return 0.0, math.inf
    steps = np.arange(count) - (count - 1) / 2
    centred = values - values.mean()
    size = float(steps @ steps)
    slope = float(steps @ centred) / size
    rest = float(((centred - slope * steps) ** 2).sum()) / (count - 2)
    return slope, math.sqrt(rest / size)


class Pair(NamedTuple):
    """The metrics by which trials are judged.

    Attributes:
        held_out: the metric on data that the model did not see; None if only the training one is known.
        train: the same on the training data; None without one.
        maximize: the direction of both.
    """

    held_out: str | None
    train: str | None
    maximize: bool


def pair_of(algorithm: Algorithm, metrics: Iterable[str]) -> Pair:
    """Return the metrics by which an algorithm's trials are judged, chosen by their names.

    First the objective and its counterpart: the metric with the same name but for the word for the data
    (``train:rmse`` and ``validation:rmse``, ``training-loss`` and ``val_loss``, Keras' ``loss`` and ``val_loss``). An
    objective without such a word counts as held out, as an objective should be. If it has no counterpart, another
    complete pair is taken whose direction follows from its name (``loss``, ``accuracy``, …).
    """
    known = {name: MetricName.of(name) for name in dict.fromkeys([algorithm.objective, *metrics])}
    own = known[algorithm.objective]
    found = _counterpart(algorithm.objective, known)
    if found is not None:
        # Keras' plain `loss` beside `val_loss` is the training loss, since the other name says held out.
        is_train = own.role == "train" or (not own.role and known[found].role == "held_out")
        held_out, train = (found, algorithm.objective) if is_train else (algorithm.objective, found)
        return Pair(held_out, train, algorithm.maximize)
    for name, parsed in known.items():
        partner = _counterpart(name, known)
        if parsed.role == "held_out" and partner is not None and parsed.direction:
            return Pair(name, partner, maximize=parsed.direction == "Maximize")
    if own.role == "train":
        return Pair(None, algorithm.objective, algorithm.maximize)
    return Pair(algorithm.objective, None, algorithm.maximize)


def _counterpart(name: str, known: Mapping[str, MetricName]) -> str | None:
    """Return the metric that measures the same on the other data; a metric that names its data comes first."""
    own = known[name]
    for role in {"train": ("held_out", ""), "held_out": ("train", ""), "": ("held_out", "train")}[own.role]:
        for other, parsed in known.items():
            if other != name and parsed == MetricName(role, own.rest):
                return other
    return None


class Reference(NamedTuple):
    """The training error of a job's trials at their start (median), and at the end of the best of them."""

    start: float
    best: float


class Verdict(NamedTuple):
    """A diagnosis and its reason."""

    diagnosis: str
    evidence: str


class Judged(NamedTuple):
    """A trial's curves, and the rules that judge them.

    Attributes:
        name: of the training job.
        pair: the metrics of the curves.
        main: the held-out curve, or the training curve if there is no other.
        train: the training curve.
    """

    name: str
    pair: Pair
    main: Curve | None
    train: Curve | None

    def verdict(self, reference: Reference | None) -> Verdict:
        """Return the verdict of the first rule that holds."""
        main = self.main
        if main is None:
            return Verdict("unknown", "no value of the metric is known")
        for name, curve in (("held-out", main), ("training", self.train)):
            if curve is not None and not math.isfinite(curve.raw[-1]):
                which = name if self.train is not None and main is not self.train else "last"
                return Verdict("diverged", f"the {which} value at the end is not finite")
        if len(main.values) < MIN_STEPS:
            return Verdict("unknown", f"{len(main.values)} values are too few to tell; it needs {MIN_STEPS}")
        return (
            self._diverged(main)
            or self._rising(main)
            or self._still_improving(main)
            or self._gap(main)
            or self._underfitting(reference)
            or self._plateaued(main)
            or Verdict("fine", "it learned, and settled towards its end")
        )

    def row(self, reference: Reference | None) -> Sequence[Any]:
        """Return the trial's row of the frame."""
        verdict, pair, main, train = self.verdict(reference), self.pair, self.main, self.train
        judged = pair.train if main is train and train is not None else pair.held_out or pair.train
        names = (self.name, verdict.diagnosis, judged, pair.train)
        if main is None:
            return (*names, 0, None, *[None] * 5, verdict.evidence)
        sign = -1.0 if pair.maximize else 1.0  # back into the metric's own direction
        numbers = (sign * main.start, sign * main.best, sign * main.end, None if train is None else sign * train.end)
        return (*names, len(main.raw), main.best_step, *numbers, main.sigma, verdict.evidence)

    @property
    def _has_both(self) -> bool:
        """Whether there is a held-out curve beside a training curve that is long enough."""
        return self.train is not None and self.main is not self.train and len(self.train.values) >= MIN_STEPS

    def _diverged(self, main: Curve) -> Verdict | None:
        curve, which = (main, "held-out") if self.train is None else (self.train, "training")
        # A held-out error may rise a lot by overfitting, so alone it must rise above everything that it had gained.
        tolerated = 1.0 if self.train is None else 0.1
        rise = curve.end - curve.start
        if rise > max(_SURE * curve.sigma, tolerated * curve.fall, 0.01 * abs(curve.start)):
            return Verdict("diverged", f"the {which} error ends {rise:.3g} worse than it began")
        return None

    def _rising(self, main: Curve) -> Verdict | None:
        train = self.train
        rise = main.end - main.best
        if main is train or rise <= max(main.noise, RISE * main.fall):
            return None
        # If training gets worse as well, the learning rate is the reason and not the number of steps.
        if train is not None and self._has_both and train.end - train.best > max(train.noise, rise / 2):
            return None
        slope, error = slope_of(main.values[main.best_step :])
        if len(main.values) - main.best_step >= 4 and slope < 2 * error:
            return None
        return Verdict("overfitting", f"the held-out error was best at step {main.best_step}, then rose by {rise:.3g}")

    @staticmethod
    def _still_improving(main: Curve) -> Verdict | None:
        count = max(4, math.ceil(TAIL * len(main.values)))
        slope, error = slope_of(main.values[-count:])
        gain = -slope * (count - 1)
        if gain > TAIL_GAIN * main.fall and gain > 0 and -slope > _SURE_SLOPE * error:
            return Verdict("still_improving", f"the last {count} of {len(main.values)} values still gained {gain:.3g}")
        return None

    def _gap(self, main: Curve) -> Verdict | None:
        train = self.train
        if train is None or not self._has_both:
            return None
        gap = main.end - train.end
        if gap > max(main.noise + train.noise, GAP * main.fall) and train.fall > train.noise:
            return Verdict("overfitting", f"the held-out error ends {gap:.3g} above the training error")
        return None

    def _underfitting(self, reference: Reference | None) -> Verdict | None:
        train = self.train
        if train is None or len(train.values) < MIN_STEPS or reference is None:
            return None
        reached = reference.start - reference.best
        has_learned = train.fall > max(train.noise, SETTLED * abs(train.start))
        if not has_learned and (train.fall <= SHORT_OF * reached or reached <= 0):
            return Verdict("underfitting", "the training error did not fall")
        above = train.end - reference.best
        if above <= SHORT_OF * reached or above <= train.noise:
            return None
        return Verdict("underfitting", f"the training error ends {above:.3g} above that of the job's best")

    @staticmethod
    def _plateaued(main: Curve) -> Verdict | None:
        count = len(main.values)
        near = main.smooth <= main.best + max(main.spread * 2, SETTLED * main.fall)
        first = int(near.argmax())
        if count >= 8 and first < count / 2:
            return Verdict("plateaued", f"nothing was gained after step {first} of {count}")
        return None


def diagnosis(trials: pd.DataFrame, curves: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """Return a diagnosis of each trial from its curves.

    Curves are turned so that smaller is better and smoothed by a running median. A difference counts only if it
    exceeds the noise: four standard deviations of a smoothed value (of a single one where the start is compared),
    estimated from the curve itself. The *fall* is the difference between a curve's first value and its best. The first
    rule that holds decides:

    - ``unknown``: fewer than 5 finite values, unless the last value is not finite.
    - ``diverged``: the last value is nan or infinite; or the training error ends above its start by more than a tenth
      of its fall and 1% of the start, as with a learning rate that is too large (11.4.1). With a held-out curve
      alone: it ends above its start by more than it had fallen and 1% of the start.
    - ``overfitting``: the held-out error ends above its best by more than 5% of its fall, and the training error,
      if known, does not rise as well (7.8).
    - ``still_improving``: a line through the last quarter (at least 4 values) falls, by three of its standard errors,
      and by more than 5% of the fall over that quarter: training stopped too early.
    - ``overfitting`` also: the gap between held-out and training error at the end exceeds half of the held-out fall.
    - ``underfitting``: the training error ends high: less than half as far down, from the median start of this job's
      trials, as that of the job's best trial; or it never fell. It needs a training curve (11.3).
    - ``plateaued``: it came within 1% of the fall (or the noise) of its best in its first half and then gained
      nothing; at least 8 values.
    - ``fine``: none of these.

    Args:
        trials: the trials frame.
        curves: the curves frame, in which ``pair_of`` finds the training counterpart of the objective.
        facts: what was searched.

    Returns:
        One row a trial, in the order of ``trials``: the diagnosis, the metrics it rests on, ``Steps`` of the judged
        metric, ``BestStep`` (from 0), and its ``Start``, ``Best``, ``End`` (smoothed), ``TrainEnd`` and ``Noise`` (of
        one value) in the metric's own units and direction; ``Evidence`` is the reason.
    """
    judged = _judged(trials, curves, facts)
    # How low training error can get in this job, for each pair of metrics.
    known: dict[Pair, list[Curve]] = {}
    for trial in judged:
        if trial.train is not None and len(trial.train.values) >= MIN_STEPS:
            known.setdefault(trial.pair, []).append(trial.train)
    references = {
        pair: Reference(median(curve.start for curve in found), min(curve.end for curve in found))
        for pair, found in known.items()
    }
    return table(DIAGNOSIS, [trial.row(references.get(trial.pair)) for trial in judged])


def _judged(trials: pd.DataFrame, curves: pd.DataFrame, facts: Facts) -> list[Judged]:
    values: dict[tuple[str, str], Floats] = {}
    ordered = curves.sort_values("Step", kind="stable")
    column = ordered["Value"].to_numpy(dtype="float64", na_value=math.nan)
    for key, places in rows_by(ordered, "TrainingJobName", "MetricName"):
        values[cast("tuple[str, str]", key)] = column[places]
    metrics = list(dict.fromkeys(metric for _, metric in values))
    pairs = {algorithm.name: pair_of(algorithm, metrics) for algorithm in facts.algorithms}

    def curve(name: str, metric: str | None, pair: Pair) -> Curve | None:
        found = values.get((name, metric or ""))
        return None if found is None else curve_of(-found if pair.maximize else found)

    judged = []
    for name, definition in zip(trials["TrainingJobName"], trials["TrainingJobDefinitionName"], strict=True):
        pair = pairs[facts.algorithm_of(None if pd.isna(definition) else definition).name]
        train, held_out = curve(name, pair.train, pair), curve(name, pair.held_out, pair)
        judged.append(Judged(name, pair, held_out or train, train))
    return judged
