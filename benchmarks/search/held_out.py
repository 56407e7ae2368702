"""Problems on which no setting of a strategy was chosen: classic functions, noise, failures, outliers, real models.

The optimum of a function lies away from the centre of its box, where some engines begin.
"""

import hashlib
import math
import warnings
from collections.abc import Mapping
from functools import cache
from random import Random

import numpy as np
from numpy.typing import NDArray

from sm_tuning.strategies import Space, space_of

Hyperparameters = Mapping[str, str]

#: Where optima lie, as positions in the box; each problem takes as many as it has dimensions.
_PLACES = np.array([0.62, 0.31, 0.74, 0.23, 0.55, 0.83])


def vector(h: Hyperparameters, count: int) -> NDArray[np.float64]:
    """Return the first ``count`` numbers of a point."""
    return np.array([float(h[f"x{i}"]) for i in range(count)])


def box(count: int, low: float, high: float) -> Space:
    """Return a box with the same range along each dimension."""
    return space_of({"ContinuousParameterRanges": [continuous(f"x{i}", low, high) for i in range(count)]})


def continuous(name: str, low: float, high: float, scaling: str = "Auto") -> dict:
    """Return a continuous range of a request."""
    return {"Name": name, "MinValue": repr(low), "MaxValue": repr(high), "ScalingType": scaling}


def ackley6(h: Hyperparameters) -> float:
    """Ackley's function in six dimensions: nearly flat with many local optima, and a deep hole."""
    z = (vector(h, 6) - _PLACES) * 2 * 32.768
    waves = math.exp(float(np.cos(2 * np.pi * z).mean()))
    return 20 + math.e - 20 * math.exp(-0.2 * math.sqrt(float((z * z).mean()))) - waves


def rosenbrock4(h: Hyperparameters) -> float:
    """Rosenbrock's function in four dimensions: a long curved valley."""
    x = vector(h, 4)
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def griewank5(h: Hyperparameters) -> float:
    """Griewank's function in five dimensions: a bowl with many small waves."""
    z = (vector(h, 5) - _PLACES[:5]) * 1200
    return float(1 + (z * z).sum() / 4000 - np.prod(np.cos(z / np.sqrt(np.arange(1, 6)))))


def michalewicz5(h: Hyperparameters) -> float:
    """Michalewicz's function in five dimensions: flat, with steep valleys."""
    x = vector(h, 5)
    return -float((np.sin(x) * np.sin(np.arange(1, 6) * x * x / np.pi) ** 20).sum())


def noise(h: Hyperparameters) -> float:
    """Return a standard normal number that depends on the point alone, so that every engine sees the same noise."""
    digest = hashlib.sha256(repr(sorted(h.items())).encode()).digest()
    return Random(digest).gauss(0.0, 1.0)


def failing4(h: Hyperparameters) -> float:
    """A bowl with waves near a border, behind which a third of the box fails."""
    x = vector(h, 4)
    # The border cuts off 33 % of the box, and the optimum lies 0.05 before it.
    if x[0] + x[1] > 1.1847:
        return math.nan
    z = x - np.array([0.75, 0.3847, 0.3, 0.6])
    return float((z * z).sum() + 0.05 * (1 - np.cos(5 * np.pi * z)).sum())


#: Where corner problems have their optimum; each takes as many positions as it has dimensions.
_CORNER = np.array([0.0, 1.0, 0.0, 1.0, 0.4, 0.7])


def corner6(h: Hyperparameters) -> float:
    """A bowl with waves, whose optimum is on four edges of the box."""
    z = vector(h, 6) - _CORNER
    return float((z * z).sum() + 0.05 * (1 - np.cos(5 * np.pi * z)).sum())


def noisy_corner4(h: Hyperparameters) -> float:
    """A bowl whose optimum is in a corner of the box."""
    z = vector(h, 4) - _CORNER[:4]
    return float((z * z).sum())


_HARTMANN3_A = np.array([[3.0, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]])
_HARTMANN3_P = 1e-4 * np.array([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]])


def active3of12(h: Hyperparameters) -> float:
    """Hartmann's function of three of twelve dimensions."""
    x = vector(h, 12)[[2, 6, 9]]
    return -float(np.array([1.0, 1.2, 3.0, 3.2]) @ np.exp(-(_HARTMANN3_A * (x - _HARTMANN3_P) ** 2).sum(1)))


def outliers4(h: Hyperparameters) -> float:
    """A bowl of which a tenth diverges, in stripes over the whole box, to between 1e3 and 1e12."""
    x = vector(h, 4)
    wave = math.sin(11 * x[0] + 7 * x[1]) * math.cos(9 * x[2])
    if wave > 0.72:
        return 10.0 ** (3 + 9 * min((wave - 0.72) / 0.28, 1.0))
    z = x - _PLACES[:4]
    return float(10 * (z * z).sum() + (1 - np.cos(4 * np.pi * z)).sum())


XGBOOST = {
    "IntegerParameterRanges": [
        {"Name": "num_round", "MinValue": "2", "MaxValue": "60", "ScalingType": "Logarithmic"},
        {"Name": "max_depth", "MinValue": "1", "MaxValue": "8", "ScalingType": "Linear"},
    ],
    "ContinuousParameterRanges": [
        continuous("eta", 0.01, 1.0, "Logarithmic"),
        continuous("min_child_weight", 0.1, 30.0, "Logarithmic"),
        continuous("gamma", 0.001, 10.0, "Logarithmic"),
        continuous("subsample", 0.2, 1.0),
        continuous("colsample_bytree", 0.1, 1.0),
    ],
    "CategoricalParameterRanges": [],
}
SVM = {
    "IntegerParameterRanges": [{"Name": "degree", "MinValue": "1", "MaxValue": "4", "ScalingType": "Linear"}],
    "ContinuousParameterRanges": [
        continuous("C", 0.01, 10000.0, "Logarithmic"),
        continuous("gamma", 1e-4, 10.0, "Logarithmic"),
        continuous("epsilon", 0.001, 100.0, "Logarithmic"),
    ],
    "CategoricalParameterRanges": [{"Name": "kernel", "Values": ["linear", "poly", "rbf", "sigmoid"]}],
}


def xgboost_cancer(h: Hyperparameters) -> float:
    """Log loss of XGBoost on half of scikit-learn's breast cancer data."""
    import xgboost  # noqa: PLC0415 - only this problem needs it

    train, test = _cancer()
    settings = {name: value for name, value in h.items() if name != "num_round"}
    settings |= {"nthread": "1", "seed": "0", "objective": "binary:logistic", "verbosity": "0"}
    model = xgboost.train(settings, train, int(h["num_round"]))
    y, p = test.get_label(), np.clip(model.predict(test).astype(float), 1e-7, 1 - 1e-7)
    return -float(np.where(y > 0, np.log(p), np.log1p(-p)).mean())


@cache
def _cancer() -> tuple:
    import xgboost  # noqa: PLC0415
    from sklearn.datasets import load_breast_cancer  # noqa: PLC0415
    from sklearn.model_selection import train_test_split  # noqa: PLC0415

    x, y = load_breast_cancer(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.5, random_state=0, stratify=y)
    return xgboost.DMatrix(x, y), xgboost.DMatrix(x_test, y_test)


def svm_diabetes(h: Hyperparameters) -> float:
    """Root mean squared error of a support vector machine on a third of scikit-learn's diabetes data."""
    from sklearn.svm import SVR  # noqa: PLC0415

    x, x_test, y, y_test = _diabetes()
    model = SVR(
        kernel=h["kernel"],
        degree=int(h["degree"]),
        C=float(h["C"]),
        gamma=float(h["gamma"]),
        epsilon=float(h["epsilon"]),
        max_iter=5000,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # large C does not converge, which is part of the problem
        return math.sqrt(float(((model.fit(x, y).predict(x_test) - y_test) ** 2).mean()))


@cache
def _diabetes() -> tuple:
    from sklearn.datasets import load_diabetes  # noqa: PLC0415
    from sklearn.model_selection import train_test_split  # noqa: PLC0415
    from sklearn.preprocessing import scale  # noqa: PLC0415

    x, y = load_diabetes(return_X_y=True)
    return tuple(train_test_split(scale(x), y, test_size=0.33, random_state=0))
