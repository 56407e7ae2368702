"""A tuning problem from real training runs: XGBoost on scikit-learn's diabetes data.

``python -m benchmarks.search.boosting`` trains random configurations and writes ``boosting.csv``, with the root mean
squared error of each over three folds. The benchmark searches a regression of that table, so that an evaluation takes
milliseconds. The regression is a forest of extremely randomised trees, which differs from the models of all compared
engines.
"""

import csv
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

from sm_tuning.strategies import Categorical, Space, space_of

TABLE = Path(__file__).with_name("boosting.csv")
CONFIGURATIONS = 1500

RANGES = {
    "IntegerParameterRanges": [
        {"Name": "num_round", "MinValue": "5", "MaxValue": "300", "ScalingType": "Logarithmic"},
        {"Name": "max_depth", "MinValue": "1", "MaxValue": "10", "ScalingType": "Linear"},
    ],
    "ContinuousParameterRanges": [
        {"Name": "eta", "MinValue": "0.003", "MaxValue": "1.0", "ScalingType": "Logarithmic"},
        {"Name": "min_child_weight", "MinValue": "0.5", "MaxValue": "60", "ScalingType": "Logarithmic"},
        {"Name": "lambda", "MinValue": "0.001", "MaxValue": "100", "ScalingType": "Logarithmic"},
        {"Name": "subsample", "MinValue": "0.2", "MaxValue": "1.0", "ScalingType": "Linear"},
        {"Name": "colsample_bytree", "MinValue": "0.1", "MaxValue": "1.0", "ScalingType": "Linear"},
    ],
    "CategoricalParameterRanges": [
        {"Name": "objective", "Values": ["reg:squarederror", "reg:absoluteerror", "reg:tweedie"]},
        {"Name": "tree_method", "Values": ["hist", "exact"]},
    ],
}


def space() -> Space:
    return space_of(RANGES)


@cache
def surrogate():
    """Return the regression of the table."""
    from sklearn.ensemble import ExtraTreesRegressor  # noqa: PLC0415 - only this problem needs it

    with TABLE.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    x = np.array([features(line) for line in lines])
    y = np.array([float(line["rmse"]) for line in lines])
    return ExtraTreesRegressor(100, min_samples_leaf=2, max_features=None, random_state=0).fit(x, y)


def features(h: Mapping[str, str]) -> list[float]:
    """Return positions of numbers, and indicators of categories."""
    out: list[float] = []
    for d in space().dimensions:
        if isinstance(d, Categorical):
            out += [float(value == h[d.name]) for value in d.values]
        else:
            out.append(d.encode(h[d.name]))
    return out


def cost(h: Mapping[str, str]) -> float:
    """Return the predicted error."""
    return float(surrogate().predict([features(h)])[0])


@cache
def optimum() -> float:
    """Return the lowest predicted error that random points, and steps from the best of them, find."""
    random = Random(0)
    points = [space().draw(random) for _ in range(20000)]
    best, lowest = points, math.inf
    for width in (0.3, 0.1, 0.03, 0.01) * 4:
        rows = np.array([features(space().answer(point)) for point in best])
        costs = surrogate().predict(rows)
        order = np.argsort(costs, kind="stable")[:100]
        lowest = min(lowest, float(costs[order[0]]))
        best = [best[i] for i in order]
        best += [_step(point, random, width) for point in best for _ in range(20)]
    return lowest


def _step(point: tuple[str, ...], random: Random, width: float) -> tuple[str, ...]:
    out = list(point)
    for j, d in enumerate(space().dimensions):
        if random.random() < 0.4:
            out[j] = d.draw(random) if isinstance(d, Categorical) else _near(d, point[j], random, width)
    return tuple(out)


def _near(d, value: str, random: Random, width: float) -> str:
    return d.decode(min(max(d.encode(value) + random.gauss(0, width), 0.0), 1.0))


def evaluate(h: Mapping[str, str]) -> float:
    """Train, and return the root mean squared error over three folds."""
    import xgboost  # noqa: PLC0415
    from sklearn.datasets import load_diabetes  # noqa: PLC0415
    from sklearn.model_selection import KFold  # noqa: PLC0415

    x, y = load_diabetes(return_X_y=True)
    settings = {name: value for name, value in h.items() if name != "num_round"} | {"nthread": 1, "seed": 0}
    squares: list[float] = []
    for train, test in KFold(3, shuffle=True, random_state=0).split(x):
        model = xgboost.train(settings, xgboost.DMatrix(x[train], y[train]), int(h["num_round"]))
        squares += ((model.predict(xgboost.DMatrix(x[test])) - y[test]) ** 2).tolist()
    return math.sqrt(sum(squares) / len(squares))


def main() -> None:
    random = Random(20)
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*space().names, "rmse"])
        for _ in range(CONFIGURATIONS):
            point = tuple(_short(value) for value in space().draw(random))
            writer.writerow([*point, f"{evaluate(space().answer(point)):.4f}"])


def _short(value: str) -> str:
    return f"{float(value):.5g}" if "." in value or "e-" in value else value


if __name__ == "__main__":
    main()
