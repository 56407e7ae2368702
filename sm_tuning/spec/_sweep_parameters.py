"""The parameters of a Weights & Biases sweep as ranges of a tuning job.

Distributions have the meaning that the sweep configuration page of the W&B documentation and the JSON Schema in
github.com/wandb/sweeps give them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

from sm_tuning._errors import SpecError
from sm_tuning.spec._base import to_python, unknown_key
from sm_tuning.spec._choices import Constant, Converted, choice_of, without_noise
from sm_tuning.spec._hyperparameters import MAX_VALUES, CategoricalParameter, ContinuousParameter, IntegerParameter

#: The keys of each distribution.
_DISTRIBUTIONS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "categorical": ("values",),
    "categorical_w_probabilities": ("values", "probabilities"),
    **dict.fromkeys(("int_uniform", "uniform", "log_uniform", "log_uniform_values"), ("min", "max")),
    **dict.fromkeys(("inv_log_uniform", "inv_log_uniform_values"), ("min", "max")),
    **dict.fromkeys(("q_uniform", "q_log_uniform", "q_log_uniform_values"), ("min", "max", "q")),
    **dict.fromkeys(("normal", "log_normal"), ("mu", "sigma")),
    **dict.fromkeys(("q_normal", "q_log_normal"), ("mu", "sigma", "q")),
    "beta": ("a", "b"),
    "q_beta": ("a", "b", "q"),
}
_OR_A_RANGE = "or give this one in hyperparameter_ranges"


def convert(config: Any, *, grid: bool) -> Converted:
    """Convert one parameter of a sweep.

    Args:
        config: the parameter's configuration.
        grid: whether the sweep's method is grid, which tries every value.

    Raises:
        SpecError: if it is not a parameter, or SageMaker has no counterpart. The caller adds the name.
    """
    config = to_python(config)
    if not isinstance(config, Mapping):
        raise SpecError(f"a parameter is a mapping such as {{value: …}} or {{min: …, max: …}}, but this is {config!r}")
    if "parameters" in config:
        raise SpecError(
            "nested parameters have no counterpart in SageMaker, whose hyperparameters are flat: name each of "
            f"{', '.join(map(repr, config['parameters'] or ()))} at the top, and let the script put them together"
        )
    kind = config.get("distribution") or _inferred_distribution(config)
    if kind not in _DISTRIBUTIONS:
        raise SpecError(f"distribution: {unknown_key(str(kind), set(_DISTRIBUTIONS)).replace('key', 'value')}")
    keys = {*_DISTRIBUTIONS[kind], "distribution"}
    unknown = [unknown_key(str(key), keys) for key in config if key not in keys]
    if unknown:
        raise SpecError([f"distribution {kind}: {problem}" for problem in unknown])
    if kind == "constant":
        if "value" not in config:
            raise SpecError("distribution constant needs value")
        return Constant(config["value"])
    if kind.startswith("categorical"):
        return _categorical(config)
    made = _Numbers(config, kind).convert(grid=grid)
    if not grid or isinstance(made, Constant | CategoricalParameter):
        return made
    if isinstance(made, ContinuousParameter):
        raise SpecError("grid tries every value, but a continuous range has infinitely many: list values")
    count = made.max_value - made.min_value + 1
    if count > MAX_VALUES:
        raise SpecError(
            f"grid tries every value, at most {MAX_VALUES} of a parameter in SageMaker, but {made.min_value} to "
            f"{made.max_value} are {count}: list fewer values"
        )
    return CategoricalParameter(list(range(made.min_value, made.max_value + 1)))


def _inferred_distribution(config: Mapping[str, Any]) -> str:
    """Return the distribution that W&B takes by default."""
    for key, kind in (
        ("probabilities", "categorical_w_probabilities"),
        ("values", "categorical"),
        ("value", "constant"),
    ):
        if key in config:
            return kind
    if {"min", "max"} <= set(config):
        whole = all(isinstance(config[key], int) and not isinstance(config[key], bool) for key in ("min", "max"))
        return "int_uniform" if whole else "uniform"
    raise SpecError(f"it needs value, values, or min and max, but has {', '.join(map(str, config)) or 'nothing'}")


def _categorical(config: Mapping[str, Any]) -> Converted:
    weights, values = config.get("probabilities") or [], config.get("values")
    if len(set(weights)) > 1:
        raise SpecError(
            f"probabilities {list(weights)!r} have no counterpart in SageMaker, which tries all values alike: leave "
            "probabilities out"
        )
    return choice_of(values)


class _Numbers:
    """A parameter with a numeric distribution.

    Bounds of ``log_uniform`` are natural exponents, those of ``log_uniform_values`` are values; ``inv_log_uniform`` is
    uniform in ``log(1/x)``, which is uniform in ``log(x)`` too, with the bounds negated.
    """

    def __init__(self, config: Mapping[str, Any], kind: str) -> None:
        self._config = config
        self._kind = kind

    def convert(self, *, grid: bool) -> Converted:
        """Return the range, or a constant if it has a single value; all values of ``q_uniform`` in a grid."""
        kind = self._kind
        # SageMaker's ranges have bounds, and no density.
        if kind.endswith(("normal", "beta")):
            raise SpecError(self._unbounded())
        low, high = self._bounds()
        if grid and kind == "q_uniform":
            return self._grid_steps(low, high)
        if "log_" in kind and kind.endswith("_values"):
            if low <= 0:
                raise SpecError(f"{kind} needs 0 < min, but got min={self._config['min']!r}")
        elif "log_" in kind:
            low, high = self._exponentials(low, high)
            low, high = (1 / high, 1 / low) if kind == "inv_log_uniform" else (low, high)
        scale = "Logarithmic" if "log_" in kind else "Linear"
        if kind == "int_uniform" and not (low.is_integer() and high.is_integer()):
            got = f"min={self._config['min']!r}, max={self._config['max']!r}"
            raise SpecError(f"int_uniform needs whole numbers, but got {got}")
        if kind == "int_uniform" or kind.startswith("q_"):
            first, last = self._whole(low, high)
            return self._single(first) if first == last else IntegerParameter(first, last, scaling_type=scale)
        return self._single(low) if low == high else ContinuousParameter(low, high, scaling_type=scale)

    def _single(self, value: float) -> Constant:
        """Return the only value of a parameter.

        Raises:
            SpecError: if the bounds differ, so that a range was meant.
        """
        low, high = self._config["min"], self._config["max"]
        if low != high:
            step = f" to multiples of q={self._step():g}" if self._kind.startswith("q_") else ""
            without = self._kind.removeprefix("q_")
            raise SpecError(
                f"all values between min={low!r} and max={high!r} round{step} to the one value {value!r}: say "
                f"distribution: {without} without q for a range, or value: {value!r} for a constant"
            )
        return Constant(value)

    def _unbounded(self) -> str:
        if self._kind.endswith("beta"):
            shape = {key: self._config.get(key, 1) for key in ("a", "b")}
            return (
                f"the distribution beta (a={shape['a']!r}, b={shape['b']!r}) has no counterpart in SageMaker: use "
                f"uniform with min: 0 and max: 1, {_OR_A_RANGE}"
            )
        mu, sigma = self._number("mu", 0.0), self._number("sigma", 1.0)
        log = "log_" if "log_" in self._kind else ""
        return (
            f"the distribution {log}normal has no counterpart in SageMaker, whose ranges have bounds: use {log}uniform "
            f"with min: {mu - 3 * sigma:g} and max: {mu + 3 * sigma:g} (three sigma), {_OR_A_RANGE}"
        )

    def _number(self, key: str, default: float | None = None) -> float:
        value = self._config.get(key, default)
        if value is None:
            raise SpecError(f"{key} is required")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise SpecError(f"{key} must be a finite number, but is {value!r}")
        return float(value)

    def _bounds(self) -> tuple[float, float]:
        low, high = self._number("min"), self._number("max")
        if low > high:
            raise SpecError(f"min <= max must hold, but got min={self._config['min']!r}, max={self._config['max']!r}")
        return low, high

    def _exponentials(self, low: float, high: float) -> tuple[float, float]:
        """Return the values whose natural logarithms the bounds are."""
        kind, config = self._kind, self._config
        # A common mistake: values of a learning rate, such as 0.001 to 0.1, given to log_uniform.
        if 0 < low < high <= 1:
            warnings.warn(
                f"{kind} with min={config['min']!r} and max={config['max']!r}: these are natural exponents, so that "
                f"values lie between {math.exp(low):.4g} and {math.exp(high):.4g}; if they are meant as values, say "
                f"{kind}_values",
                UserWarning,
                stacklevel=2,
            )
        try:
            small, large = math.exp(low), math.exp(high)
        except OverflowError as error:
            message = f"{kind}: exp(max) is beyond all numbers; its bounds are natural exponents: {high!r}"
            raise SpecError(message) from error
        # Next to zero, a range on a logarithmic scale loses its lower end to the rounding of floats.
        if small < 1e-300:
            raise SpecError(f"{kind}: exp(min) is next to zero; its bounds are natural exponents, and min is {low!r}")
        return small, large

    def _whole(self, low: float, high: float) -> tuple[int, int]:
        """Return the bounds of values that are multiples of ``q``, which must be 1: SageMaker has no other steps."""
        q = self._step()
        if q == 1:
            return round(low), round(high)
        last = min(round(high / q), round(low / q) + MAX_VALUES)
        steps = list(without_noise(step * q for step in range(round(low / q), last + 1)))
        few = len(steps) <= MAX_VALUES
        advice = f"list them (values: {steps})" if few else "take larger steps and list them in values"
        raise SpecError(
            f"steps of q={q:g} have no counterpart in SageMaker, whose integers step by 1: {advice}, leave q out and "
            f"round in the script, {_OR_A_RANGE}"
        )

    def _grid_steps(self, low: float, high: float) -> Converted:
        """Return all values as W&B's grid has them: from min in steps of q, without max."""
        q = self._step()
        # The tolerance keeps a step that ends at max, but for the noise of binary fractions, out of the grid.
        count = math.ceil((high - low) / q - 1e-9)
        if count > MAX_VALUES:
            raise SpecError(f"grid tries every value, at most {MAX_VALUES} of a parameter, but these are {count}")
        steps = list(without_noise(low + step * q for step in range(count)))
        return self._single(steps[0]) if len(steps) == 1 else _categorical({"values": steps})

    def _step(self) -> float:
        q = self._number("q", 1.0)
        if q <= 0:
            raise SpecError(f"q must be above 0, but is {q!r}")
        return q
