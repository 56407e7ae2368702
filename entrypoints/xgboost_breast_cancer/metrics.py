"""The form of the printed metrics: a line of XGBoost for each round, which SageMaker's XGBoost image expects.

AWS accepts no metric definitions for its XGBoost image, in script mode too. It searches each log line with the
image's own, which find `[3]<TAB>train-auc:0.98<TAB>validation-auc:0.97` as `train:auc` and `validation:auc`.
A float is printed with `repr`: the shortest text that converts back to the same float, exponents included.
"""

from __future__ import annotations

NAMES = (
    "train:auc",
    "train:error",
    "train:logloss",
    "validation:auc",
    "validation:error",
    "validation:logloss",
)


def line(epoch: int, **values: float) -> str:
    """Return the log line of a boosting round; keywords are metric names: `line(1, **{"train:auc": 0.9})`.

    Raises:
        ValueError: if a name is not in NAMES.
    """
    unknown = sorted(set(values) - set(NAMES))
    if unknown:
        raise ValueError(f"no metric definition for {unknown}; metrics.py has {list(NAMES)}")
    return f"[{epoch}]" + "".join(f"\t{name.replace(':', '-')}:{float(value)!r}" for name, value in values.items())
