"""What a tuning job searched: its settings, and ranges as the search sees them, stretched to 0 … 1. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sm_tuning.description import Job, Value, job_of
from sm_tuning.spec import (
    CategoricalParameter,
    ContinuousParameter,
    IntegerParameter,
    ParameterRange,
    Tuning,
    decode_json,
    encode_plain,
)

Floats = NDArray[np.float64]
Numeric = ContinuousParameter | IntegerParameter


@dataclass(frozen=True)
class Algorithm:
    """What the trials of one training job definition have in common.

    Attributes:
        name: of the definition; None in a job with a single one.
        objective: the objective's metric name.
        maximize: whether a greater objective is better.
        ranges: hyperparameter name -> range, with its scale.
    """

    name: str | None
    objective: str
    maximize: bool
    ranges: Mapping[str, ParameterRange]

    @property
    def sign(self) -> float:
        """The factor that makes a smaller objective a better one."""
        return -1.0 if self.maximize else 1.0


@dataclass(frozen=True)
class Facts:
    """A tuning job's settings.

    Attributes:
        algorithms: one, or several that share the budget.
        strategy: Bayesian, Random, Grid or Hyperband.
        max_jobs: the budget; None without such a limit.
        max_parallel_jobs: most trials at once.
        early_stopping: whether the service stopped trials that fell behind.
    """

    algorithms: tuple[Algorithm, ...]
    strategy: str = "Bayesian"
    max_jobs: int | None = None
    max_parallel_jobs: int = 1
    early_stopping: bool = False

    @property
    def several(self) -> bool:
        """Whether the frame mixes trials of several algorithms."""
        return len(self.algorithms) > 1 or self.algorithms[0].name is not None

    def algorithm_of(self, definition: str | None) -> Algorithm:
        """Return the algorithm of a trial, by the name of its definition."""
        named = (algorithm for algorithm in self.algorithms if algorithm.name == definition)
        return next(named, self.algorithms[0])


def facts_of(source: Tuning | Job | Mapping[str, Any]) -> Facts:
    """Return the settings of a spec, or of any tuning job (its value or its description).

    A range that a spec cannot hold, for example one with equal bounds, is left out: nothing was searched there.
    """
    if isinstance(source, Tuning):
        return Facts(
            algorithms=tuple(
                Algorithm(
                    name,
                    definition.objective_metric_name or "",
                    definition.objective_type == "Maximize",
                    dict(definition.hyperparameter_ranges),
                )
                for name, definition in source.definitions
            ),
            strategy=source.strategy,
            max_jobs=source.max_jobs,
            max_parallel_jobs=source.max_parallel_jobs,
            early_stopping=source.early_stopping_type == "Auto",
        )
    job = source if isinstance(source, Job) else job_of(source)
    return Facts(
        algorithms=tuple(
            Algorithm(
                definition.name if job.several else None,
                definition.objective,
                definition.maximize,
                {entry.name: found for entry in definition.ranges if (found := entry.parameter) is not None},
            )
            for definition in job.definitions
        ),
        strategy=job.strategy or "Bayesian",
        max_jobs=job.limits.max_jobs,
        max_parallel_jobs=job.limits.max_parallel_jobs,
        early_stopping=job.early_stopping,
    )


def index_of(values: Iterable[Value]) -> dict[str, int]:
    """Return the place of each categorical value, by every text under which ``key_of`` may look for it.

    A frame shows the number 16 as 16, as 16.0 beside fractions, and as text beside text; a spec may have the text.
    Exact texts come first, so that the text ``16.0`` is not taken for the number 16 where a range has both.
    """
    found: dict[str, int] = {}
    listed = list(values)
    for place, value in enumerate(listed):
        found.setdefault(key_of(value), place)
    for place, value in enumerate(listed):
        if isinstance(value, int | float) and not isinstance(value, bool):
            found.setdefault(repr(float(value)), place)
        elif isinstance(value, str):
            found.setdefault(key_of(decode_json(value)), place)
    return found


def key_of(value: Any) -> str:
    """Return a categorical value of a frame, a spec or a range as text."""
    return encode_plain(value.item() if hasattr(value, "item") else value)


def units(range_: ParameterRange, values: Floats) -> Floats:
    """Return where values lie between the bounds: 0 to 1 on the scale of the search, and beyond for values outside.

    ``Auto`` counts as linear, which is how the service begins [Developer Guide, automatic-model-tuning-
    considerations]. Values that the scale cannot have, such as 0 on a logarithmic scale, give nan.
    """
    if isinstance(range_, CategoricalParameter):
        raise TypeError("a categorical range has no scale")
    low, high = _forward(range_, np.array([range_.min_value, range_.max_value], dtype=np.float64))
    with np.errstate(all="ignore"):
        return np.asarray((_forward(range_, values) - low) / (high - low))


def _forward(range_: Numeric, values: Floats) -> Floats:
    """Return values in the coordinate in which the search is uniform."""
    with np.errstate(all="ignore"):
        if range_.scaling_type == "Logarithmic":
            return np.where(values > 0, np.log(values), np.nan)
        if range_.scaling_type == "ReverseLogarithmic":
            return np.where(values < 1, -np.log1p(-values), np.nan)
        return np.asarray(values / 2, dtype=np.float64)  # halved: the width of the widest range is still a float


def value_at(range_: Numeric, unit: float) -> float:
    """Return the value at a place of the range's scale, the inverse of ``units``."""
    low, high = _forward(range_, np.array([range_.min_value, range_.max_value], dtype=np.float64))
    coordinate = float(low + unit * (high - low))
    if range_.scaling_type == "Logarithmic":
        return math.exp(coordinate)
    if range_.scaling_type == "ReverseLogarithmic":
        return -math.expm1(-coordinate)
    return 2 * coordinate


def with_bounds(range_: Numeric, low: float, high: float) -> Numeric:
    """Return the range with new bounds, rounded outwards to two digits of what matters on its scale.

    A bound that stays is kept exactly. Bounds of an integer range are whole.
    """

    def rounded(value: float, *, up: bool) -> float:
        if isinstance(range_, IntegerParameter):
            return math.ceil(value) if up else math.floor(value)
        # The size whose first two digits matter: the value itself, its distance from 1, or the width of the range.
        sizes = {"Logarithmic": abs(value), "ReverseLogarithmic": 1 - value}
        size = sizes.get(range_.scaling_type, high - low)
        if not 0 < size < math.inf:
            return value
        step = Decimal(1).scaleb(math.floor(math.log10(size)) - 1)
        return float((Decimal(repr(value)) / step).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR) * step)

    new_low = range_.min_value if low == range_.min_value else rounded(low, up=False)
    new_high = range_.max_value if high == range_.max_value else rounded(high, up=True)
    if isinstance(range_, IntegerParameter):
        return IntegerParameter(int(new_low), int(new_high), range_.scaling_type)
    return ContinuousParameter(float(new_low), float(new_high), range_.scaling_type)
