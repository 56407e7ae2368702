r"""What this script prints and how it is read back, in one place.

SageMaker finds metrics by searching each log line with a regular expression and takes its first group
(Developer Guide: automatic-model-tuning-define-metrics-variables). Format and expression stand together,
so that they cannot drift apart. Three choices make the reading exact:

- a float is printed as `repr` does, the shortest text that gives the same float back, exponents included;
- each value ends in `;`, so that a line cut short in mid-number is not read as another number;
- nan and inf do not match: a diverged epoch reports no number rather than a wrong one.
"""

from __future__ import annotations

NAMES = ("train:loss", "train:accuracy", "validation:loss", "validation:accuracy")

_NUMBER = r"([-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)"

# The metric_definitions of an estimator that runs this script.
DEFINITIONS = [{"Name": name, "Regex": rf"\b{name}={_NUMBER};"} for name in NAMES]


def line(epoch: int, **values: float) -> str:
    """One log line for an epoch; the keywords are metric names, as in `line(1, **{"train:loss": 0.5})`.

    Raises:
        ValueError: for a name without a definition, since nothing would read it.
    """
    unknown = sorted(set(values) - set(NAMES))
    if unknown:
        raise ValueError(f"no metric definition for {unknown}; metrics.py defines {list(NAMES)}")
    return " ".join([f"epoch={epoch};", *(f"{name}={float(value)!r};" for name, value in values.items())])
