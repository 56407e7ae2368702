"""Advice about each hyperparameter's range, from where the good trials lie. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sm_tuning.results.analysis._importance import dependence
from sm_tuning.results.analysis._sample import Sample, separation
from sm_tuning.results.analysis._space import Algorithm, Floats, Numeric, units, value_at, with_bounds
from sm_tuning.spec import CategoricalParameter, ContinuousParameter, IntegerParameter, ParameterRange

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
"""A warm start allows ten changes of static hyperparameters, and fixing a tuned one counts as two."""

Severity = Literal["warning", "hint"]


class Note(NamedTuple):
    """A row of the advice frame.

    Attributes:
        code: names the rule; it stays the same between versions.
        severity: a ``warning`` costs results or money, a ``hint`` could make the next job better.
        definition: the algorithm, in a job of several.
        hyperparameter: the hyperparameter, if the advice is about one.
        message: what to do.
        evidence: the reason, from this job.
        change: of the spec, as a JSON merge patch (RFC 7396: null removes a member); None without one.
    """

    code: str
    severity: Severity
    definition: str | None
    hyperparameter: str | None
    message: str
    evidence: str
    change: dict[str, Any] | None = None

    def row(self) -> tuple[str | None, ...]:
        """Return the values of its row, with the change as JSON."""
        change = None if self.change is None else json.dumps(self.change, ensure_ascii=False)
        return (*self[:-1], change)


class Importance(NamedTuple):
    """The importance of a hyperparameter by itself, its interval, and the upper end of its forest importance."""

    mean: float
    low: float
    high: float
    together_high: float


def range_change(algorithm: Algorithm, name: str, range_: ParameterRange) -> dict[str, Any]:
    """Return the patch that sets another range."""
    change = {"hyperparameter_ranges": {name: range_.model_dump(mode="json")}}
    return change if algorithm.name is None else {"estimators": {algorithm.name: change}}


def span(range_: Numeric) -> str:
    """Return the bounds of a numeric range for a message."""
    return f"{_shown(range_.min_value)} … {_shown(range_.max_value)}"


def _shown(value: float | str | bool) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def range_notes(sample: Sample, importance: Mapping[str, Importance]) -> Iterator[Note]:
    """Give advice about the ranges of one algorithm."""
    idle = _idle(sample, importance)
    for name in sample.algorithm.ranges:
        if name not in idle:
            yield from _RangeAdvice(sample, name).notes()
    for name, found in idle.items():
        yield _fix(sample, name, found)


class _RangeAdvice:
    """Advice about one hyperparameter's range.

    Args:
        sample: the trials.
        name: of the hyperparameter.
    """

    def __init__(self, sample: Sample, name: str) -> None:
        self._sample = sample
        self._name = name

    def notes(self) -> Iterator[Note]:
        """Give the advice."""
        range_ = self._sample.algorithm.ranges[self._name]
        is_tried = self._name in self._sample.names
        if isinstance(range_, CategoricalParameter):
            note = self._drop_values(range_) if is_tried else None
            if note is not None:
                yield note
            return
        log = self._log_scale(range_, is_tried=is_tried)
        if log is not None:
            yield log
        if is_tried:
            # Where the good trials lie is judged on the scale that the advice recommends.
            scaled = range_ if log is None else range_.replace(scaling_type="Logarithmic")
            places = np.clip(units(scaled, self._sample.values(self._name)), 0.0, 1.0)
            moved = self._widen(scaled, places) or self._narrow(scaled, places)
            if moved is not None:
                yield moved

    def _note(self, code: str, severity: Severity, message: str, evidence: str, range_: ParameterRange) -> Note:
        algorithm = self._sample.algorithm
        change = range_change(algorithm, self._name, range_)
        return Note(code, severity, algorithm.name, self._name, message, evidence, change)

    def _top(self, share: float) -> NDArray[np.intp]:
        """Return the indices of the best trials, five at least."""
        return self._sample.order[: max(5, math.ceil(share * len(self._sample)))]

    def _log_scale(self, range_: Numeric, *, is_tried: bool) -> Note | None:
        """Advise a logarithmic scale for two decades or more, unless the best trials lie in the top decade."""
        low, high = range_.min_value, range_.max_value
        if range_.scaling_type not in ("Linear", "Auto") or low <= 0 or high / low < WIDE:
            return None
        if is_tried and len(self._sample) >= MIN_TRIALS:
            best = self._sample.values(self._name)[self._top(0.1)]
            if (best > high / 10).all():
                return None
        share, factor = (high - high / 10) / (high - low), high / low
        return self._note(
            "log_scale",
            "warning" if range_.scaling_type == "Linear" else "hint",
            f"search {self._name} on a logarithmic scale",
            f"{span(range_)} spans a factor of {factor:.3g}; searched linearly, {share:.0%} of it is the top decade",
            range_.replace(scaling_type="Logarithmic"),
        )

    def _widen(self, range_: Numeric, places: Floats) -> Note | None:
        """Advise a wider range if more of the best trials than by chance lie at a bound, and are better there."""
        if len(self._sample) < MIN_TRIALS:
            return None
        top = self._top(0.1)
        for upper in (False, True):
            edge = places >= 1 - EDGE if upper else places <= EDGE
            count = int(edge[top].sum())
            chance = _edge_chance(range_, upper=upper)
            # The binomial chance that this number of the best trials, or a greater one, lies at the edge.
            terms = [(math.comb(len(top), k), k) for k in range(count, len(top) + 1)]
            tail = sum(ways * chance**k * (1 - chance) ** (len(top) - k) for ways, k in terms)
            is_better = edge.all() or separation(self._sample.loss, edge) >= BETTER_EDGE
            if not edge[top[0]] or tail > CHANCE or not is_better:
                continue
            wider = _wider(range_, upper=upper)
            if wider is None:
                return None
            bound = _shown(range_.max_value if upper else range_.min_value)
            return self._note(
                "widen",
                "warning",
                f"widen {self._name} {'above' if upper else 'below'} {bound}, to {span(wider)}",
                f"the best trial and {count} of the best {len(top)} lie within a tenth of the range from {bound}",
                wider,
            )
        return None

    def _narrow(self, range_: Numeric, places: Floats) -> Note | None:
        """Advise a narrower range if the best fifth cluster (more than by chance) and trials among them are better."""
        if len(self._sample) < MIN_NARROW:
            return None
        top = places[self._top(NARROW_SHARE)]
        count, width = len(top), float(np.ptp(top))
        # The chance that uniformly drawn places span this width or less.
        chance = count * width ** (count - 1) - (count - 1) * width**count
        low, high = max(0.0, top.min() - NARROW_MARGIN), min(1.0, top.max() + NARROW_MARGIN)
        inside = (places >= low) & (places <= high)
        if chance > CHANCE or high - low > NARROW_TO or not separation(self._sample.loss, inside) >= BETTER_REGION:
            return None
        narrower = between(range_, low, high)
        if narrower is None:
            return None
        return self._note(
            "narrow",
            "hint",
            f"narrow {self._name} to {span(narrower)}",
            f"the best {count} of {len(self._sample)} trials lie in {high - low:.0%} of {span(range_)}",
            narrower,
        )

    def _drop_values(self, range_: CategoricalParameter) -> Note | None:
        """Advise to drop values that always ended in the worse half of eight trials or more: by chance in 0.4%."""
        sample = self._sample
        if len(sample) < MIN_NARROW:
            return None
        worse = sample.loss > np.median(sample.loss)
        column, values = sample.column(self._name), range_.values
        tried = [column == index for index in range(len(values))]  # by index: True and 1 would be one key
        bad = {index for index, here in enumerate(tried) if here.sum() >= MIN_VALUE and worse[here].all()}
        kept = [value for index, value in enumerate(values) if index not in bad]
        if not bad or len(kept) < 2:
            return None
        count = int(sum(tried[index].sum() for index in bad))
        return self._note(
            "drop_value",
            "hint",
            f"leave {', '.join(str(values[index]) for index in sorted(bad))} out of {self._name}",
            f"all {count} trials with that are in the worse half of {len(sample)}",
            CategoricalParameter(kept),
        )


def _edge_chance(range_: Numeric, *, upper: bool) -> float:
    """Return the share of the range that counts as its edge; of whole numbers at least the bound itself."""
    if isinstance(range_, ContinuousParameter) or range_.max_value - range_.min_value > 10_000:
        return EDGE
    places = units(range_, np.arange(range_.min_value, range_.max_value + 1, dtype=np.float64))
    return float(np.mean(places >= 1 - EDGE if upper else places <= EDGE))


def _wider(range_: Numeric, *, upper: bool) -> Numeric | None:
    """Return the range, half as long again beyond one bound (at most tenfold in log); None at a natural bound.

    Natural bounds are 0, and 1 for whole numbers, below; and 1 above for a range of fractions. A positive range stays
    positive: its lower bound is at most halved on a linear scale.
    """
    low, high = float(range_.min_value), float(range_.max_value)
    whole = isinstance(range_, IntegerParameter)
    fraction = not whole and low >= 0 and high <= 1
    if upper:
        if fraction and high == 1:
            return None
        new = _beyond(range_, high, upper=True)
        high = min(new, 1.0) if fraction and range_.scaling_type != "ReverseLogarithmic" else new
    else:
        if low == 0 or (low == 1 and whole):
            return None
        new = _beyond(range_, low, upper=False)
        if low > 0:
            smallest = 1.0 if whole else 0.0
            new = new if range_.scaling_type == "Logarithmic" else max(new, low / 2, smallest)
            new = max(new, 1.0) if whole else new
        low = new
    # Beyond 2**53 a float cannot tell neighbouring whole numbers apart.
    if not (math.isfinite(low) and math.isfinite(high)) or max(abs(low), abs(high)) > 2**53:
        return None
    wider = with_bounds(range_, low, high)
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


def between(range_: Numeric, low: float, high: float) -> Numeric | None:
    """Return the range between two places of its scale; None if that is hardly narrower, or leaves one value."""
    old_low, old_high = range_.min_value, range_.max_value
    bounds = [old_low if low <= 0 else value_at(range_, low), old_high if high >= 1 else value_at(range_, high)]
    if isinstance(range_, IntegerParameter) and math.ceil(bounds[1]) - math.floor(bounds[0]) < 2:
        return None
    rounded = with_bounds(range_, *bounds)
    # Rounding outwards may have passed a bound.
    narrower = with_bounds(range_, max(rounded.min_value, old_low), min(rounded.max_value, old_high))
    kept = float(np.ptp(units(range_, np.array([narrower.min_value, narrower.max_value], dtype=np.float64))))
    return narrower if kept < 0.75 else None


def may_be_idle(sample: Sample) -> list[str]:
    """Return the hyperparameters on which the objective does not visibly depend; none if there are few trials."""
    if len(sample) < MIN_FIX:
        return []
    return [name for name in sample.names if dependence(sample, name) < FIX_SURE]


def _idle(sample: Sample, importance: Mapping[str, Importance]) -> dict[str, Importance]:
    """Return hyperparameters that surely matter little, the least important first; at least one stays tuned."""
    if max((found.low for found in importance.values()), default=0.0) < SOMETHING:
        return {}
    candidates = may_be_idle(sample)
    idle = {
        name: found
        for name, found in importance.items()
        if found.high < FIX_HIGH and found.together_high < FIX_HIGH_TOGETHER and name in candidates
    }
    most = min(MAX_FIXED, len(sample.algorithm.ranges) - 1)
    return dict(sorted(idle.items(), key=lambda item: item[1].mean)[:most])


def _fix(sample: Sample, name: str, found: Importance) -> Note:
    """Advise to fix a hyperparameter at the best trial's value."""
    algorithm = sample.algorithm
    range_, best = algorithm.ranges[name], int(sample.order[0])
    value: Any
    if isinstance(range_, CategoricalParameter):
        value = range_.values[int(sample.column(name)[best])]
    else:
        value = float(sample.values(name)[best])
        value = int(value) if isinstance(range_, IntegerParameter) else value
    change = {"hyperparameter_ranges": {name: None}, "estimator": {"hyperparameters": {name: value}}}
    return Note(
        "fix",
        "hint",
        algorithm.name,
        name,
        f"fix {name} at {_shown(value)}, the best trial's value",
        f"it explains {found.mean:.1%} of the objective's variance, with 95% certainty less than {found.high:.1%}",
        change if algorithm.name is None else {"estimators": {algorithm.name: change}},
    )
