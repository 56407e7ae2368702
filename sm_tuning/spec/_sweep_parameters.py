"""The parameters of a Weights & Biases sweep as ranges of a tuning job.

What each distribution means is taken from the sweep configuration page of the W&B documentation and from the JSON
Schema in github.com/wandb/sweeps. Bounds of ``log_uniform`` are natural exponents, those of ``log_uniform_values`` are
values; ``inv_log_uniform`` is uniform in ``log(1/x)``, which is uniform in ``log(x)`` too, with bounds negated.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sm_tuning._errors import SpecError
from sm_tuning.spec._base import unknown_key
from sm_tuning.spec._parameters import MAX_VALUES, CategoricalParameter, ContinuousParameter, IntegerParameter

#: What an error offers when SageMaker has no counterpart.
OR_A_RANGE = "or give this one in hyperparameter_ranges"


class Constant(NamedTuple):
    """A parameter that is not tuned."""

    value: Any


Converted = Constant | ContinuousParameter | IntegerParameter | CategoricalParameter


def convert(config: Any, *, grid: bool) -> Converted:
    """One parameter of a sweep.

    Args:
        config: what stands under the parameter's name.
        grid: whether the sweep's method is grid, which takes every value of a range of integers.

    Raises:
        SpecError: it is no parameter, or SageMaker has no counterpart; the name is for the caller to add.
    """
    if not isinstance(config, Mapping):
        raise SpecError(f"a parameter is a mapping such as {{value: …}} or {{min: …, max: …}}, but this is {config!r}")
    if "parameters" in config:
        raise SpecError(
            "nested parameters have no counterpart in SageMaker, whose hyperparameters are flat: name each of "
            f"{', '.join(map(repr, config['parameters'] or ()))} at the top, and let the script put them together"
        )
    distribution = config.get("distribution") or _inferred(config)
    if distribution not in _DISTRIBUTIONS:
        raise SpecError(f"distribution: {unknown_key(str(distribution), set(_DISTRIBUTIONS)).replace('key', 'value')}")
    make, keys = _DISTRIBUTIONS[distribution]
    unknown = [unknown_key(str(key), {*keys, "distribution"}) for key in config if key not in {*keys, "distribution"}]
    if unknown:
        raise SpecError([f"distribution {distribution}: {problem}" for problem in unknown])
    if grid and distribution == "q_uniform":
        return _grid_steps(config)
    made = make(config)
    return _grid(made) if grid else made


def _inferred(config: Mapping[str, Any]) -> str:
    """The distribution that W&B takes when none is named."""
    if "probabilities" in config:
        return "categorical_w_probabilities"
    if "values" in config:
        return "categorical"
    if "value" in config:
        return "constant"
    if {"min", "max"} <= set(config):
        whole = all(isinstance(config[key], int) and not isinstance(config[key], bool) for key in ("min", "max"))
        return "int_uniform" if whole else "uniform"
    raise SpecError(f"it needs value, values, or min and max, but has {', '.join(map(str, config)) or 'nothing'}")


def _constant(config: Mapping[str, Any]) -> Converted:
    if "value" not in config:
        raise SpecError("distribution constant needs value")
    return Constant(config["value"])


def _categorical(config: Mapping[str, Any]) -> Converted:
    values = config.get("values")
    if not isinstance(values, list | tuple) or not values:
        raise SpecError(f"values must be a list with something in it, but is {values!r}")
    odd = [value for value in values if not isinstance(value, str | bool | int | float)]
    if odd:
        raise SpecError(
            f"values holds {odd[0]!r}, but a categorical value of SageMaker is text, a number or a boolean: write it "
            "as text, such as '64,64', and let the script read that"
        )
    return Constant(values[0]) if len(values) == 1 else CategoricalParameter(values)


def _weighted(config: Mapping[str, Any]) -> Converted:
    weights = config.get("probabilities") or []
    if len(set(weights)) > 1:
        raise SpecError(
            f"probabilities {list(weights)!r} have no counterpart in SageMaker, which tries all values alike: leave "
            "probabilities out"
        )
    return _categorical(config)


def _uniform(config: Mapping[str, Any]) -> Converted:
    return _continuous(*_bounds(config), "Linear")


def _int_uniform(config: Mapping[str, Any]) -> Converted:
    low, high = _bounds(config)
    if not (low.is_integer() and high.is_integer()):
        raise SpecError(f"int_uniform needs whole numbers, but got min={config['min']!r}, max={config['max']!r}")
    return _integer(int(low), int(high), "Linear")


def _log_uniform(config: Mapping[str, Any]) -> Converted:
    return _continuous(*_exponents(config), "Logarithmic")


def _log_uniform_values(config: Mapping[str, Any]) -> Converted:
    return _continuous(*_positive(config), "Logarithmic")


def _inv_log_uniform(config: Mapping[str, Any]) -> Converted:
    low, high = _exponents(config)
    return _continuous(1 / high, 1 / low, "Logarithmic")


def _q_uniform(config: Mapping[str, Any]) -> Converted:
    return _rounded(config, *_bounds(config), "Linear")


def _q_log_uniform(config: Mapping[str, Any]) -> Converted:
    return _rounded(config, *_exponents(config), "Logarithmic")


def _q_log_uniform_values(config: Mapping[str, Any]) -> Converted:
    return _rounded(config, *_positive(config), "Logarithmic")


def _normal(config: Mapping[str, Any]) -> Converted:
    low, high = _three_sigma(config)
    raise SpecError(
        f"the distribution normal has no counterpart in SageMaker, whose ranges have bounds: use uniform with min: "
        f"{low:g} and max: {high:g} (three sigma), {OR_A_RANGE}"
    )


def _log_normal(config: Mapping[str, Any]) -> Converted:
    low, high = _three_sigma(config)
    raise SpecError(
        f"the distribution log_normal has no counterpart in SageMaker, whose ranges have bounds: use log_uniform with "
        f"min: {low:g} and max: {high:g} (three sigma), {OR_A_RANGE}"
    )


def _beta(config: Mapping[str, Any]) -> Converted:
    shape = {key: config.get(key, 1) for key in ("a", "b")}
    raise SpecError(
        f"the distribution beta (a={shape['a']!r}, b={shape['b']!r}) has no counterpart in SageMaker: use uniform with "
        f"min: 0 and max: 1, {OR_A_RANGE}"
    )


def _number(config: Mapping[str, Any], key: str, default: float | None = None) -> float:
    value = config.get(key, default)
    if value is None:
        raise SpecError(f"{key} is required")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SpecError(f"{key} must be a finite number, but is {value!r}")
    return float(value)


def _bounds(config: Mapping[str, Any]) -> tuple[float, float]:
    low, high = _number(config, "min"), _number(config, "max")
    if low > high:
        raise SpecError(f"min <= max must hold, but got min={config['min']!r}, max={config['max']!r}")
    return low, high


def _exponents(config: Mapping[str, Any]) -> tuple[float, float]:
    """The values whose natural logarithms the bounds are."""
    low, high = _bounds(config)
    name = config.get("distribution")
    if 0 < low < high <= 1:
        warnings.warn(
            f"{name} with min={config['min']!r} and max={config['max']!r}: these are natural exponents, so that "
            f"values lie between {math.exp(low):.4g} and {math.exp(high):.4g}; if they are meant as values, say "
            f"{name}_values",
            UserWarning,
            stacklevel=2,
        )
    try:
        small, large = math.exp(low), math.exp(high)
    except OverflowError as error:
        raise SpecError(
            f"{name}: exp(max) is beyond all numbers; its bounds are natural exponents: {high!r}"
        ) from error
    if small < 1e-300:
        raise SpecError(f"{name}: exp(min) is next to zero; its bounds are natural exponents, and min is {low!r}")
    return small, large


def _positive(config: Mapping[str, Any]) -> tuple[float, float]:
    low, high = _bounds(config)
    if low <= 0:
        raise SpecError(f"{config.get('distribution')} needs 0 < min, but got min={config['min']!r}")
    return low, high


def _rounded(config: Mapping[str, Any], low: float, high: float, scale: str) -> Converted:
    """Values that are multiples of ``q``: whole numbers when it is 1, else nothing that SageMaker has."""
    q = _number(config, "q", 1.0)
    if q <= 0:
        raise SpecError(f"q must be above 0, but is {q!r}")
    if q == 1:
        return _integer(round(low), round(high), scale)
    steps = [_clean(step * q) for step in range(round(low / q), min(round(high / q), round(low / q) + MAX_VALUES) + 1)]
    listed = f"list them (values: {steps})" if len(steps) <= MAX_VALUES else "take larger steps and list them in values"
    raise SpecError(
        f"steps of q={q:g} have no counterpart in SageMaker, whose integers step by 1: {listed}, leave q out and round "
        f"in the script, {OR_A_RANGE}"
    )


def _grid_steps(config: Mapping[str, Any]) -> Converted:
    """All values of ``q_uniform`` as W&B's grid has them: from min in steps of q, without max."""
    (low, high), q = _bounds(config), _number(config, "q", 1.0)
    if q <= 0:
        raise SpecError(f"q must be above 0, but is {q!r}")
    count = math.ceil((high - low) / q - 1e-9)
    if count > MAX_VALUES:
        raise SpecError(f"grid tries every value, at most {MAX_VALUES} of a parameter, but these are {count}")
    values = [_clean(low + step * q) for step in range(count)]
    return _categorical({"values": values})


def _clean(value: float) -> float:
    """Without the noise of binary fractions; whole numbers as such."""
    short = float(f"{value:.12g}")
    return int(short) if short.is_integer() else short


def _grid(made: Converted) -> Converted:
    """A parameter of a grid: all its values."""
    if isinstance(made, ContinuousParameter):
        raise SpecError("grid tries every value, and a continuous range has no end of them: list values")
    if not isinstance(made, IntegerParameter):
        return made
    count = made.max_value - made.min_value + 1
    if count > MAX_VALUES:
        raise SpecError(
            f"grid tries every value, at most {MAX_VALUES} of a parameter in SageMaker, but {made.min_value} to "
            f"{made.max_value} are {count}: list fewer values"
        )
    return CategoricalParameter(list(range(made.min_value, made.max_value + 1)))


def _continuous(low: float, high: float, scale: str) -> Converted:
    return Constant(low) if low == high else ContinuousParameter(low, high, scaling_type=scale)


def _integer(low: int, high: int, scale: str) -> Converted:
    return Constant(low) if low == high else IntegerParameter(low, high, scaling_type=scale)


def _three_sigma(config: Mapping[str, Any]) -> tuple[float, float]:
    mu, sigma = _number(config, "mu", 0.0), _number(config, "sigma", 1.0)
    return mu - 3 * sigma, mu + 3 * sigma


_SPAN, _STEPS, _BELL, _SHAPE = ("min", "max"), ("min", "max", "q"), ("mu", "sigma"), ("a", "b")
_DISTRIBUTIONS: dict[str, tuple[Callable[[Mapping[str, Any]], Converted], tuple[str, ...]]] = {
    "constant": (_constant, ("value",)),
    "categorical": (_categorical, ("values",)),
    "categorical_w_probabilities": (_weighted, ("values", "probabilities")),
    "int_uniform": (_int_uniform, _SPAN),
    "uniform": (_uniform, _SPAN),
    "q_uniform": (_q_uniform, _STEPS),
    "log_uniform": (_log_uniform, _SPAN),
    "log_uniform_values": (_log_uniform_values, _SPAN),
    "q_log_uniform": (_q_log_uniform, _STEPS),
    "q_log_uniform_values": (_q_log_uniform_values, _STEPS),
    "inv_log_uniform": (_inv_log_uniform, _SPAN),
    "inv_log_uniform_values": (_log_uniform_values, _SPAN),
    "normal": (_normal, _BELL),
    "q_normal": (_normal, (*_BELL, "q")),
    "log_normal": (_log_normal, _BELL),
    "q_log_normal": (_log_normal, (*_BELL, "q")),
    "beta": (_beta, _SHAPE),
    "q_beta": (_beta, (*_SHAPE, "q")),
}
