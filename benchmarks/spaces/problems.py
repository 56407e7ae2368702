"""Problems with two objectives, all to minimize, and one with conditional hyperparameters."""

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from sm_tuning.strategies import Categorical, Continuous, Integer, Space

WIDTH = 6


class Problem(NamedTuple):
    """A problem: its space, its objectives, the reference point, and its front; that of XGBoost is a bound."""

    space: Space
    objective: Callable[[Mapping[str, str]], tuple[float, ...]]
    reference: np.ndarray
    front: np.ndarray


UNIT = Space(tuple(Continuous(f"x{n}", 0.0, 1.0) for n in range(WIDTH)))


def _point(given: Mapping[str, str]) -> list[float]:
    return [float(given[f"x{n}"]) for n in range(WIDTH)]


def zdt1(given: Mapping[str, str]) -> tuple[float, ...]:
    """[Zitzler, Deb and Thiele, Evolutionary Computation 2000]."""
    first, *rest = _point(given)
    g = 1 + 9 * sum(rest) / len(rest)
    return first, g * (1 - math.sqrt(first / g))


def dtlz2(given: Mapping[str, str]) -> tuple[float, ...]:
    """With two objectives [Deb, Thiele, Laumanns and Zitzler, CEC 2002]."""
    first, *rest = _point(given)
    g = 1 + sum((x - 0.5) ** 2 for x in rest)
    return g * math.cos(first * math.pi / 2), g * math.sin(first * math.pi / 2)


BOOSTING = Space(
    (
        Integer("rounds", 5, 120, "Logarithmic"),
        Integer("max_depth", 1, 8),
        Continuous("eta", 0.01, 1.0, "Logarithmic"),
        Continuous("subsample", 0.4, 1.0),
        Continuous("lambda", 0.1, 100.0, "Logarithmic"),
        Continuous("gamma", 1.0, 1e5, "Logarithmic"),
    )
)


@cache
def _data() -> Any:
    import xgboost  # noqa: PLC0415 - one problem of three needs it
    from sklearn.datasets import load_diabetes  # noqa: PLC0415
    from sklearn.model_selection import train_test_split  # noqa: PLC0415

    parts = train_test_split(*load_diabetes(return_X_y=True), test_size=0.3, random_state=0)
    return xgboost.DMatrix(parts[0], parts[2]), xgboost.DMatrix(parts[1]), parts[3]


def boosting(given: Mapping[str, str]) -> tuple[float, ...]:
    """Return the error (rmse) on held-out rows of the diabetes data, and the size of the model in kB."""
    import xgboost  # noqa: PLC0415 - one problem of three needs it

    train, held_out, truth = _data()
    parameters = {name: float(value) for name, value in given.items() if name != "rounds"}
    parameters |= {"max_depth": int(given["max_depth"]), "nthread": 1, "seed": 0, "verbosity": 0}
    model = xgboost.train(parameters, train, int(given["rounds"]))
    error = float(np.sqrt(np.mean((model.predict(held_out) - truth) ** 2)))
    return error, len(model.save_raw("ubj")) / 1000


_ALONG = np.linspace(0.0, 1.0, 400)

PROBLEMS: Mapping[str, Problem] = {
    "ZDT1": Problem(UNIT, zdt1, np.array([1.1, 6.0]), np.column_stack([_ALONG, 1 - np.sqrt(_ALONG)])),
    "DTLZ2": Problem(
        UNIT,
        dtlz2,
        np.array([2.5, 2.5]),
        np.column_stack([np.cos(_ALONG * math.pi / 2), np.sin(_ALONG * math.pi / 2)]),
    ),
    "XGBoost, rmse and kB": Problem(BOOSTING, boosting, np.array([80.0, 200.0]), np.array([[52.0, 0.0]])),
}

_BRANCHES = {"a": (0.3, 0.7, 0.0), "b": (0.6, 0.2, 0.1), "c": (0.8, 0.5, 0.2)}
_OWN = {f"{axis}_{branch}": {"branch": (branch,)} for branch in _BRANCHES for axis in ("x", "y")}
_DIMENSIONS = (Categorical("branch", tuple(_BRANCHES)), *(Continuous(name, 0.0, 1.0) for name in _OWN))

CONDITIONAL = Space(_DIMENSIONS, _OWN)
FLAT = Space(_DIMENSIONS)


def branches(given: Mapping[str, str]) -> tuple[float, ...]:
    """Return the regret: the square distance from the best point of the branch, and what the branch costs."""
    branch = given["branch"]
    x, y, least = _BRANCHES[branch]
    return ((float(given[f"x_{branch}"]) - x) ** 2 + (float(given[f"y_{branch}"]) - y) ** 2 + least,)
