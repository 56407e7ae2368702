r"""The format of the printed metrics, and the regular expressions that read it, in one place.

SageMaker searches each log line with a regular expression, and its first group is the metric's value (Developer Guide:
automatic-model-tuning-define-metrics-variables). Format and expression are in one file, so that they stay consistent.
Three choices make the values exact:

- a float is printed with `repr`: the shortest text that converts back to the same float, exponents included;
- each value ends with `;`, so that a line that is cut within a number does not give another number;
- nan and inf do not match, so a diverged epoch reports no value instead of a wrong one.
"""

from __future__ import annotations

NAMES = ("train:loss", "train:accuracy", "validation:loss", "validation:accuracy")

_NUMBER = r"([-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)"

# The metric_definitions of an estimator that runs this script.
DEFINITIONS = [{"Name": name, "Regex": rf"\b{name}={_NUMBER};"} for name in NAMES]


def line(epoch: int, **values: float) -> str:
    """Return the log line of an epoch; keywords are metric names, as in `line(1, **{"train:loss": 0.5})`.

    Raises:
        ValueError: if a name has no definition, because SageMaker would not find the metric.
    """
    unknown = sorted(set(values) - set(NAMES))
    if unknown:
        raise ValueError(f"no metric definition for {unknown}; metrics.py defines {list(NAMES)}")
    return " ".join([f"epoch={epoch};", *(f"{name}={float(value)!r};" for name, value in values.items())])
