"""Learning curves of real networks and linear models: ``python -m benchmarks.hyperband.curves``.

Trains scikit-learn's multi-layer perceptron, and its linear classifier with stochastic gradients, on its digits data,
one random configuration after another, and records the validation error after each epoch. The curves are kept in files
in output/; training them takes some minutes. Between the configurations, a forest of extremely randomised trees stands
for the training: it returns the real curves of the real configurations.
"""

import argparse
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sm_tuning.strategies import Categorical, Space, Trial, make, space_of

CONFIGURATIONS = 240
EPOCHS = 27
#: Random configurations among which the lowest error is found, and the seed of them.
_MANY, _OTHERS = 5000, 10_000
FOLDER = Path("output/bench")
Hyperparameters = Mapping[str, str]


def _continuous(name: str, low: str, high: str, scaling: str = "Logarithmic") -> dict[str, str]:
    return {"Name": name, "MinValue": low, "MaxValue": high, "ScalingType": scaling}


MLP = {
    "ContinuousParameterRanges": [
        _continuous("learning_rate", "1e-5", "0.3"),
        _continuous("alpha", "1e-6", "1.0"),
        _continuous("momentum", "0.0", "0.99", "ReverseLogarithmic"),
    ],
    "IntegerParameterRanges": [
        _continuous("width", "4", "128"),
        _continuous("batch", "8", "256"),
    ],
    "CategoricalParameterRanges": [
        {"Name": "activation", "Values": ["relu", "tanh", "logistic"]},
        {"Name": "solver", "Values": ["sgd", "adam"]},
    ],
}
SGD = {
    "ContinuousParameterRanges": [
        _continuous("eta0", "1e-5", "1.0"),
        _continuous("alpha", "1e-7", "1.0"),
        _continuous("power_t", "0.0", "1.0", "Linear"),
        _continuous("l1_ratio", "0.0", "1.0", "Linear"),
    ],
    "IntegerParameterRanges": [],
    "CategoricalParameterRanges": [
        {"Name": "loss", "Values": ["hinge", "log_loss", "modified_huber"]},
        {"Name": "learning_rate", "Values": ["constant", "invscaling"]},
    ],
}


def _digits() -> list:
    from sklearn.datasets import load_digits  # noqa: PLC0415 - only this program trains
    from sklearn.model_selection import train_test_split  # noqa: PLC0415

    x, y = load_digits(return_X_y=True)
    return train_test_split(x / 16, y, test_size=0.4, random_state=0, stratify=y)


def mlp(h: Hyperparameters, seed: int) -> list[float]:
    """Return the validation error of a network, in per cent, after each epoch."""
    from sklearn.neural_network import MLPClassifier  # noqa: PLC0415

    return _train(
        MLPClassifier(
            (int(h["width"]),),
            activation=h["activation"],
            solver=h["solver"],
            learning_rate_init=float(h["learning_rate"]),
            momentum=float(h["momentum"]),
            alpha=float(h["alpha"]),
            batch_size=int(h["batch"]),
            random_state=seed,
        )
    )


def sgd(h: Hyperparameters, seed: int) -> list[float]:
    """Return the validation error of a linear classifier, in per cent, after each epoch."""
    from sklearn.linear_model import SGDClassifier  # noqa: PLC0415

    return _train(
        SGDClassifier(
            loss=h["loss"],
            penalty="elasticnet",
            learning_rate=h["learning_rate"],
            eta0=float(h["eta0"]),
            alpha=float(h["alpha"]),
            power_t=float(h["power_t"]),
            l1_ratio=float(h["l1_ratio"]),
            random_state=seed,
        )
    )


def _train(model) -> list[float]:
    x_train, x_test, y_train, y_test = _digits()
    curve: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(EPOCHS):
            try:
                model.partial_fit(x_train, y_train, classes=list(range(10)))
                curve.append(100 * (1 - float(model.score(x_test, y_test))))
            except ValueError:  # the weights have become NaN
                curve.append(90.0)
    return curve


@dataclass(frozen=True)
class Pool:
    """The curves of random configurations of one model, and a regression between them.

    Attributes:
        space: the configurations.
        points: the configurations that were trained.
        curves: the error of each after each epoch.
    """

    space: Space
    points: list[Hyperparameters]
    curves: list[list[float]]

    @cached_property
    def lowest(self) -> NDArray[np.float64]:
        """The lowest error of each of many random configurations, most of which were not trained, in rising order.

        The regression averages: between the trained configurations no error is as low as the best of them.
        """
        random, trials = make("Random", self.space, seed=_OTHERS, maximize=False), []
        for index in range(1, _MANY + 1):
            trials.append(Trial(index, random.ask(trials) or {}))
        rows = [self._features(trial.hyperparameters) for trial in trials]
        return np.sort(self._forest.predict(rows).min(axis=1))

    @property
    def best(self) -> float:
        """The lowest error that a search of random configurations can find."""
        return float(self.lowest[0])

    def curve(self, h: Hyperparameters) -> list[float]:
        """Return the curve of any configuration."""
        return self._forest.predict([self._features(h)])[0].tolist()

    @cached_property
    def _forest(self):
        from sklearn.ensemble import ExtraTreesRegressor  # noqa: PLC0415

        rows = np.array([self._features(h) for h in self.points])
        return ExtraTreesRegressor(50, max_features=None, random_state=0).fit(rows, np.array(self.curves))

    def _features(self, h: Hyperparameters) -> list[float]:
        out: list[float] = []
        for d in self.space.dimensions:
            is_category = isinstance(d, Categorical)
            out += [float(value == h[d.name]) for value in d.values] if is_category else [d.encode(h[d.name])]
        return out


POOLS: dict[str, tuple[dict, Callable[[Hyperparameters, int], list[float]]]] = {"mlp": (MLP, mlp), "sgd": (SGD, sgd)}
"""Ranges of each model, and what trains it."""


def pool(name: str, folder: Path = FOLDER) -> Pool:
    """Return the curves of a model from its file, which is made first if needed."""
    ranges, train = POOLS[name]
    space = space_of(ranges)
    random = make("Random", space, seed=0, maximize=False)
    trials: list[Trial] = []
    for index in range(1, CONFIGURATIONS + 1):
        trials.append(Trial(index, random.ask(trials) or {}))
    points = [trial.hyperparameters for trial in trials]
    file = folder / f"curves_{name}.json"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        curves = [train(h, index) for index, h in enumerate(points, 1)]
        file.write_text(json.dumps(curves), encoding="utf-8")
    return Pool(space, points, json.loads(file.read_text(encoding="utf-8")))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    for each in POOLS:
        print(len(pool(each, arguments.folder).curves), "curves of", each)
