"""Advice about each hyperparameter's range, from where the good trials lie. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sm_tuning.results.analysis._notes import Note, fixed_change, range_change, shown, span
from sm_tuning.results.analysis._sample import Sample, column_of, numbers, separation
from sm_tuning.results.analysis._scale import Floats, Numeric, changed, units, value_at
from sm_tuning.results.analysis._shapes import dependence
from sm_tuning.spec import CategoricalParameter, ContinuousParameter, IntegerParameter

MIN_TRIALS = 12
EDGE = 0.1  # of the range
CHANCE = 0.01
BETTER_EDGE = 0.65  # chance that a trial at the edge beats another
WIDE = 100.0  # greatest over smallest value
MIN_NARROW = 20
NARROW_SHARE = 0.2  # of the trials, the best ones
NARROW_MARGIN = 0.1  # of the range, on both sides
NARROW_TO = 0.5  # of the range
BETTER_REGION = 0.7
MIN_VALUE = 8
MIN_FIX = 20
FIX_HIGH = 0.05
FIX_HIGH_TOGETHER = 0.08
FIX_SURE = 2.5  # standard errors
SOMETHING = 0.2  # of the variance
MAX_FIXED = 5
"""A warm start allows ten changes of static hyperparameters, and one that is fixed counts as two."""


class Importance(NamedTuple):
    """The importance of a hyperparameter by itself, its interval, and the upper end of its forest importance."""

    mean: float
    low: float
    high: float
    together_high: float


def range_notes(sample: Sample, importance: Mapping[str, Importance]) -> Iterator[Note]:
    """Advice about the ranges of one algorithm."""
    idle = _idle(sample, importance)
    for name, range_ in sample.algorithm.ranges.items():
        if name in idle:
            continue
        if isinstance(range_, CategoricalParameter):
            yield from _drop_values(sample, name, range_)
        else:
            yield from _numeric_notes(sample, name, range_)
    yield from _fixed_notes(sample, idle)


def _numeric_notes(sample: Sample, name: str, range_: Numeric) -> Iterator[Note]:
    log = _log_note(sample, name, range_)
    if log is not None:
        range_ = range_.replace(scaling_type="Logarithmic")
    moved = None
    if name in sample.names:
        values = numbers(sample.rows[column_of(name)])
        places = np.clip(units(range_, values), 0.0, 1.0)
        moved = _widen(sample, name, range_, places) or _narrow(sample, name, range_, places)
    if log is not None:
        yield log
    if moved is not None:
        yield moved


def _log_note(sample: Sample, name: str, range_: Numeric) -> Note | None:
    """A positive range over two decades or more that is searched linearly, unless the best lie in its top decade."""
    low, high = range_.min_value, range_.max_value
    if range_.scaling_type not in ("Linear", "Auto") or low <= 0 or high / low < WIDE:
        return None
    if name in sample.names and len(sample) >= MIN_TRIALS:
        best = numbers(sample.rows[column_of(name)])[sample.order[: _top_count(sample, 0.1)]]
        if (best > high / 10).all():
            return None
    share = (high - high / 10) / (high - low)
    return Note(
        "log_scale",
        "warning" if range_.scaling_type == "Linear" else "hint",
        sample.algorithm.name,
        name,
        f"search {name} on a logarithmic scale",
        f"{span(range_)} spans a factor of {high / low:.3g}; searched linearly, {share:.0%} of it is the top decade",
        range_change(sample.algorithm, name, range_.replace(scaling_type="Logarithmic")),
    )


def _top_count(sample: Sample, share: float) -> int:
    return max(5, math.ceil(share * len(sample)))


def _widen(sample: Sample, name: str, range_: Numeric, places: Floats) -> Note | None:
    """The best trial and more of the best tenth than chance allows lie near a bound, and trials there beat others."""
    if len(sample) < MIN_TRIALS:
        return None
    top = sample.order[: _top_count(sample, 0.1)]
    for upper in (False, True):
        edge = places >= 1 - EDGE if upper else places <= EDGE
        count = int(edge[top].sum())
        if not edge[top[0]] or _tail(len(top), count, _edge_chance(range_, upper=upper)) > CHANCE:
            continue
        if not (edge.all() or separation(sample.loss, edge) >= BETTER_EDGE):
            continue
        wider = _wider(range_, upper=upper)
        if wider is None:
            return None
        bound = shown(range_.max_value if upper else range_.min_value)
        return Note(
            "widen",
            "warning",
            sample.algorithm.name,
            name,
            f"widen {name} {'above' if upper else 'below'} {bound}, to {span(wider)}",
            f"the best trial and {count} of the best {len(top)} lie within a tenth of the range from {bound}",
            range_change(sample.algorithm, name, wider),
        )
    return None


def _edge_chance(range_: Numeric, *, upper: bool) -> float:
    """The part of the range that counts as its edge; of whole numbers at least the bound itself."""
    if isinstance(range_, ContinuousParameter):
        return EDGE
    whole = np.arange(range_.min_value, min(range_.max_value, range_.min_value + 10_000) + 1, dtype=np.float64)
    if whole[-1] < range_.max_value:
        return EDGE
    places = units(range_, whole)
    return float(np.mean(places >= 1 - EDGE if upper else places <= EDGE))


def _tail(trials: int, count: int, chance: float) -> float:
    """The binomial chance of so many or more."""
    return sum(math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(count, trials + 1))


def _wider(range_: Numeric, *, upper: bool) -> Numeric | None:
    """The range, half as long again (at most tenfold in log) beyond one bound; None where that bound is a natural one.

    Natural bounds: 0, for whole numbers also 1, below; 1 above for a range of fractions. A positive range stays
    positive: its lower bound is at most halved on a linear scale.
    """
    low, high = float(range_.min_value), float(range_.max_value)
    fraction = isinstance(range_, ContinuousParameter) and low >= 0 and high <= 1
    if upper:
        if fraction and high == 1:
            return None
        new = _beyond(range_, high, upper=True)
        high = min(new, 1.0) if fraction and range_.scaling_type != "ReverseLogarithmic" else new
    else:
        if low == 0 or (low == 1 and isinstance(range_, IntegerParameter)):
            return None
        new = _beyond(range_, low, upper=False)
        high_enough = 1.0 if isinstance(range_, IntegerParameter) else 0.0
        low = max(new, low / 2, high_enough) if low > 0 and range_.scaling_type != "Logarithmic" else new
        if isinstance(range_, IntegerParameter) and range_.min_value > 0:
            low = max(low, 1.0)
    if not (math.isfinite(low) and math.isfinite(high)) or max(abs(low), abs(high)) > 2**53:
        return None
    wider = changed(range_, low, high)
    return None if wider == range_ else wider


def _beyond(range_: Numeric, bound: float, *, upper: bool) -> float:
    low, high = float(range_.min_value), float(range_.max_value)
    if range_.scaling_type == "Logarithmic":
        factor = min(10.0, math.sqrt(high / low))
        return bound * factor if upper else bound / factor
    if range_.scaling_type == "ReverseLogarithmic":
        factor = min(10.0, math.sqrt((1 - low) / (1 - high)))
        return 1 - (1 - bound) / factor if upper else max(0.0, 1 - (1 - bound) * factor)
    return bound + (high - low) / 2 if upper else bound - (high - low) / 2


def _narrow(sample: Sample, name: str, range_: Numeric, places: Floats) -> Note | None:
    """The best fifth lie closer together than chance allows, and trials among them are better than others."""
    if len(sample) < MIN_NARROW:
        return None
    count = _top_count(sample, NARROW_SHARE)
    top = places[sample.order[:count]]
    width = float(np.ptp(top))
    chance = count * width ** (count - 1) - (count - 1) * width**count
    low, high = max(0.0, top.min() - NARROW_MARGIN), min(1.0, top.max() + NARROW_MARGIN)
    inside = (places >= low) & (places <= high)
    if chance > CHANCE or high - low > NARROW_TO or not separation(sample.loss, inside) >= BETTER_REGION:
        return None
    narrower = between(range_, low, high)
    if narrower is None:
        return None
    return Note(
        "narrow",
        "hint",
        sample.algorithm.name,
        name,
        f"narrow {name} to {span(narrower)}",
        f"the best {count} of {len(sample)} trials lie in {high - low:.0%} of {span(range_)}",
        range_change(sample.algorithm, name, narrower),
    )


def between(range_: Numeric, low: float, high: float) -> Numeric | None:
    """The range between two places of its scale; None when that is hardly narrower, or nothing is left to search."""
    old_low, old_high = range_.min_value, range_.max_value
    bounds = [old_low if low <= 0 else value_at(range_, low), old_high if high >= 1 else value_at(range_, high)]
    if isinstance(range_, IntegerParameter) and math.ceil(bounds[1]) - math.floor(bounds[0]) < 2:
        return None
    rounded = changed(range_, *bounds)
    narrower = changed(range_, max(rounded.min_value, old_low), min(rounded.max_value, old_high))
    kept = float(np.ptp(units(range_, np.array([narrower.min_value, narrower.max_value], dtype=np.float64))))
    return narrower if kept < 0.75 else None


def _drop_values(sample: Sample, name: str, range_: CategoricalParameter) -> Iterator[Note]:
    """Values that were tried eight times or more, and always ended in the worse half: chance has that with 0.4 %."""
    if name not in sample.names or len(sample) < MIN_NARROW:
        return
    worse = sample.loss > np.median(sample.loss)
    tried = [sample.column(name) == index for index in range(len(range_.values))]
    bad = [bool(here.sum() >= MIN_VALUE and worse[here].all()) for here in tried]
    kept = [value for value, is_bad in zip(range_.values, bad, strict=True) if not is_bad]
    if len(kept) == len(bad) or len(kept) < 2:
        return
    dropped = ", ".join(str(value) for value, is_bad in zip(range_.values, bad, strict=True) if is_bad)
    count = int(sum(here.sum() for here, is_bad in zip(tried, bad, strict=True) if is_bad))
    yield Note(
        "drop_value",
        "hint",
        sample.algorithm.name,
        name,
        f"leave {dropped} out of {name}",
        f"all {count} trials with that are in the worse half of {len(sample)}",
        range_change(sample.algorithm, name, CategoricalParameter(kept)),
    )


def _idle(sample: Sample, importance: Mapping[str, Importance]) -> dict[str, Importance]:
    """Hyperparameters that surely matter little, the least important first; at least one stays to be tuned."""
    if len(sample) < MIN_FIX or max((one.low for one in importance.values()), default=0.0) < SOMETHING:
        return {}
    found = {
        name: one
        for name, one in importance.items()
        if one.high < FIX_HIGH and one.together_high < FIX_HIGH_TOGETHER and dependence(sample, name) < FIX_SURE
    }
    most = min(MAX_FIXED, len(sample.algorithm.ranges) - 1)
    return dict(sorted(found.items(), key=lambda item: item[1].mean)[:most])


def _fixed_notes(sample: Sample, idle: Mapping[str, Importance]) -> Iterator[Note]:
    for name, one in idle.items():
        value = _best_value(sample, name)
        yield Note(
            "fix",
            "hint",
            sample.algorithm.name,
            name,
            f"fix {name} at {shown(value)}, the best trial's value",
            f"it explains {one.mean:.1%} of the objective's variance, with 95 % certainty less than {one.high:.1%}",
            fixed_change(sample.algorithm, name, value),
        )


def _best_value(sample: Sample, name: str) -> Any:
    """The best trial's value of a hyperparameter, as a spec has it."""
    range_ = sample.algorithm.ranges[name]
    best: NDArray[np.intp] = sample.order[:1]
    if isinstance(range_, CategoricalParameter):
        return range_.values[int(sample.column(name)[best[0]])]
    value = float(numbers(sample.rows[column_of(name)])[best[0]])
    return int(value) if isinstance(range_, IntegerParameter) else value
