"""Learning curves of real networks: ``python -m benchmarks.hyperband.curves``.

Trains scikit-learn's multi-layer perceptron on its digits data, one random configuration after another, and records
the validation error after each epoch. The curves are kept in a file in output/; training them takes some minutes.
"""

import argparse
import json
import warnings
from collections.abc import Mapping
from pathlib import Path

from sm_tuning.strategies import Space, Trial, make, space_of

CONFIGURATIONS = 240
EPOCHS = 27
FILE = Path("output/bench/curves.json")

RANGES = {
    "ContinuousParameterRanges": [
        {"Name": "learning_rate", "MinValue": "1e-5", "MaxValue": "0.3", "ScalingType": "Logarithmic"},
        {"Name": "alpha", "MinValue": "1e-6", "MaxValue": "1.0", "ScalingType": "Logarithmic"},
        {"Name": "momentum", "MinValue": "0.0", "MaxValue": "0.99", "ScalingType": "ReverseLogarithmic"},
    ],
    "IntegerParameterRanges": [
        {"Name": "width", "MinValue": "4", "MaxValue": "128", "ScalingType": "Logarithmic"},
        {"Name": "batch", "MinValue": "8", "MaxValue": "256", "ScalingType": "Logarithmic"},
    ],
    "CategoricalParameterRanges": [
        {"Name": "activation", "Values": ["relu", "tanh", "logistic"]},
        {"Name": "solver", "Values": ["sgd", "adam"]},
    ],
}


def space() -> Space:
    return space_of(RANGES)


def train(h: Mapping[str, str], seed: int) -> list[float]:
    """Return the validation error, in per cent, after each epoch."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - only this program trains
    from sklearn.model_selection import train_test_split  # noqa: PLC0415
    from sklearn.neural_network import MLPClassifier  # noqa: PLC0415

    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x / 16, y, test_size=0.4, random_state=0, stratify=y)
    model = MLPClassifier(
        (int(h["width"]),),
        activation=h["activation"],
        solver=h["solver"],
        learning_rate_init=float(h["learning_rate"]),
        momentum=float(h["momentum"]),
        alpha=float(h["alpha"]),
        batch_size=int(h["batch"]),
        random_state=seed,
    )
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


def curves(file: Path = FILE) -> list[list[float]]:
    """Return the curves from the file, which is made first if needed."""
    if file.exists():
        return json.loads(file.read_text(encoding="utf-8"))
    file.parent.mkdir(parents=True, exist_ok=True)
    random = make("Random", space(), seed=0, maximize=False)
    trials: list[Trial] = []
    every: list[list[float]] = []
    for index in range(1, CONFIGURATIONS + 1):
        h = random.ask(trials)
        trials.append(Trial(index, h or {}))
        every.append(train(h or {}, index))
    file.write_text(json.dumps(every), encoding="utf-8")
    return every


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curves", type=Path, default=FILE)
    print(len(curves(parser.parse_args().curves)), "curves")
