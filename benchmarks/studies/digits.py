"""Population against random search, and Promotion against full training, on the network of ``entrypoints``.

The strategies are pure, so that no server runs: a trial is some epochs of the shipped trainer in this process. What has
been trained is kept in the results file, one JSON object a line, and a run continues there.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any, NamedTuple

from benchmarks.hyperband.curves import pool
from benchmarks.search.statistics import interval
from sm_tuning.strategies import Strategy, Trial, make, space_of

#: Near the ranges of ``estimators/pytorch-digits.yaml``.
SPACE = space_of(
    {
        "ContinuousParameterRanges": [
            {"Name": "lr", "MinValue": "0.001", "MaxValue": "0.1", "ScalingType": "Logarithmic"},
            {"Name": "momentum", "MinValue": "0.5", "MaxValue": "0.95", "ScalingType": "ReverseLogarithmic"},
            {"Name": "weight_decay", "MinValue": "1e-6", "MaxValue": "0.01", "ScalingType": "Logarithmic"},
            {"Name": "dropout", "MinValue": "0", "MaxValue": "0.5"},
        ],
        "CategoricalParameterRanges": [{"Name": "batch_size", "Values": ["16", "32", "64"]}],
    }
)
#: Images for training: few, so that the settings matter. Of the others, those for validation.
_TRAINING, _VALIDATION = 300, 500
_PENALTY = 10.0  # the loss of a network that has diverged


class Snapshot(NamedTuple):
    """The state of a network after some epochs."""

    network: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    epochs: int


class Digits:
    """Trains the shipped network for some epochs.

    Args:
        scripts: the folder of the entry point.
    """

    def __init__(self, scripts: Path) -> None:
        sys.path.insert(0, str(scripts))
        import data  # type: ignore[import-not-found]  # noqa: PLC0415 - a module of the entry point
        import torch  # noqa: PLC0415 - only for these benchmarks
        import train  # type: ignore[import-not-found]  # noqa: PLC0415

        torch.set_num_threads(1)
        self._torch, self._train = torch, train
        images, labels = data.load(None)
        order = data.split(len(labels))
        rows = [*order[0], *order[1]]
        self._parts = tuple(
            (torch.from_numpy(images[part]), torch.from_numpy(labels[part]))
            for part in (rows[:_TRAINING], rows[-_VALIDATION:])
        )
        self.epochs = 0  # trained so far, by all

    def train(
        self, tuned: Mapping[str, str], until: int, seed: int, start: Snapshot | None
    ) -> tuple[list[float], Snapshot]:
        """Train up to an epoch and return the validation loss after each epoch, and the state."""
        given = {name: json.loads(tuned[name]) for name in SPACE.names}
        fixed = {"optimizer": "sgd", "channels": 8, "hidden": 64, "train": None, "checkpoint_dir": Path()}
        trainer = self._train.Trainer(Namespace(**given, **fixed, seed=seed), lambda: False)
        trainer.training, trainer.validation = self._parts
        if start is not None:
            trainer.net.load_state_dict(start.network)
            trainer.load_optimizer(copy.deepcopy(start.optimizer))
            trainer.history = [{}] * start.epochs
        losses = []
        while len(trainer.history) < until:
            trainer.run_epoch()
            self.epochs += 1
            loss = trainer.history[-1]["validation:loss"]
            losses.append(loss if loss < _PENALTY else _PENALTY)
        state = copy.deepcopy((trainer.net.state_dict(), trainer.optimizer.state_dict()))
        return losses, Snapshot(*state, until)


def run(strategy: Strategy, digits: Digits, seed: int, trials: int) -> list[Trial]:
    """Run a strategy, a trial after the other."""
    found: list[Trial] = []
    states: dict[int, Snapshot] = {}
    while len(found) < trials:
        proposal = strategy.propose(found)
        if proposal is None:
            break
        number, until = len(found) + 1, int(proposal.hyperparameters["epochs"])
        start = None if proposal.parent is None else states[proposal.parent]
        losses, states[number] = digits.train(proposal.hyperparameters, until, seed, start)
        found.append(
            Trial(
                number, proposal.hyperparameters, losses[-1], curve=tuple(losses), finished=True, attrs=proposal.attrs
            )
        )
    return found


def kept(results: Path, key: Mapping[str, Any], compute: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Return the line of the results file that has this key; compute and append it if there is none."""
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    for line in map(json.loads, lines):
        if key.items() <= line.items():
            return line
    found = {**key, **compute()}
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(found) + "\n")
    return found


def population_against_random(
    digits: Digits, seeds: Sequence[int], results: Path, *, size: int = 8, epochs: int = 12, every: int = 2
) -> None:
    """Print the best validation loss of Population and of random search, at equal epochs, for each seed."""
    rows = []
    for seed in seeds:
        rows.append(population_and_random(digits, seed, results, size=size, epochs=epochs, every=every))
        print(f"seed {seed}: population {rows[-1]['population']:.4f}, random {rows[-1]['random']:.4f}", flush=True)
    wins = sum(row["population"] < row["random"] for row in rows)
    shown = ", ".join(f"{name} {interval([row[name] for row in rows])}" for name in ("population", "random"))
    print(f"population better in {wins} of {len(rows)}; medians: {shown}; {size * epochs} epochs each")


def population_and_random(
    digits: Digits, seed: int, results: Path, *, size: int, epochs: int, every: int
) -> dict[str, Any]:
    """Return the best validation loss of Population and of random search, at equal epochs, for a seed."""

    def both() -> dict[str, float]:
        config = {"size": size, "interval": every, "max_resource": epochs}
        strategy = make("Population", SPACE, seed=seed, maximize=False, config=config)
        ours = min(trial.value or 0.0 for trial in run(strategy, digits, seed, 10**6))
        # The best epoch of each random configuration, as if it kept a checkpoint of each.
        losses = [digits.train(tuned, epochs, seed, None)[0] for tuned in random_points(seed, size)]
        return {"population": ours, "random": min(map(min, losses))}

    return kept(results, {"what": "population", "seed": seed, "size": size, "epochs": epochs}, both)


def promotion_against_full(
    digits: Digits, seeds: Sequence[int], results: Path, *, configurations: int = 27, epochs: int = 18
) -> None:
    """Train random configurations to the end, then print what Promotion finds of them, and for how many epochs.

    The noise is the standard deviation of the loss of the best configuration over seeds of the network.
    """

    def full(seed: int) -> dict[str, Any]:
        points = random_points(seed, configurations)
        losses = [digits.train(tuned, epochs, seed, None)[0] for tuned in points]
        best = min(range(configurations), key=lambda index: losses[index][-1])
        again = [digits.train(points[best], epochs, seed + other, None)[0][-1] for other in (1000, 2000)]
        return {"losses": losses, "again": again}

    runs = []
    for seed in seeds:
        key = {"what": "promotion", "seed": seed, "configurations": configurations, "epochs": epochs}
        runs.append(kept(results, key, lambda seed=seed: full(seed)))
    noise = math.sqrt(fmean((run["again"][0] - run["again"][1]) ** 2 / 2 for run in runs))
    print("Loss of the network of entrypoints/pytorch_digits; near: within the noise of the best one.\n")
    print_promotion([run["losses"] for run in runs], epochs, noise)


def promotion_on_curves(folder: Path, name: str, orders: int, near: float = 0.5) -> None:
    """Print what Promotion finds of recorded curves, errors in per cent, in random orders."""
    curves = pool(name, folder).curves
    drawn = [Random(seed).sample(curves, 27) for seed in range(orders)]
    print(f"\nError of the recorded curves {name}; near: within {near} points of the best one.\n")
    print_promotion(drawn, len(curves[0]), near)


def print_promotion(runs: Sequence[Sequence[Sequence[float]]], epochs: int, near: float) -> None:
    """Print how often Promotion finds the best configuration of each run, or one near it, and for how many epochs."""
    print(f"| configurations | first rung | epochs, of full | the best | near ({near:.3g}) | above the lowest | runs |")
    print("|---|---|---|---|---|---|---|")
    for count, first in itertools.product(dict.fromkeys((9, len(runs[0]))), (1, epochs // 9, epochs // 3)):
        gaps, shares = [], []
        for curves in runs:
            found, trained = replay(curves[:count], first, epochs)
            gaps.append(found - min(curve[-1] for curve in curves[:count]))
            shares.append(trained / (count * epochs))
        same, close = (100 * fmean(gap <= limit for gap in gaps) for limit in (0.0, near))
        cells = [count, f"{first} of {epochs}", f"{100 * fmean(shares):.0f}%", f"{same:.0f}%", f"{close:.0f}%"]
        print(f"| {' | '.join(map(str, cells))} | {interval(gaps)} | {len(gaps)} |")


def random_points(seed: int, count: int) -> list[Mapping[str, str]]:
    """Return the first configurations of random search, which are those of Promotion too."""
    strategy, found = make("Random", SPACE, seed=seed, maximize=False), []
    for number in range(1, count + 1):
        found.append(Trial(number, strategy.ask(found) or {}))
    return [trial.hyperparameters for trial in found]


def replay(curves: Sequence[Sequence[float]], first: int, epochs: int) -> tuple[float, int]:
    """Return the lowest last loss that Promotion finds among configurations with these curves, and the epochs trained.

    The loss is infinite if none is trained to the end, since there are too few for so many promotions.

    Args:
        curves: the loss after each epoch, of each configuration.
        first: the lowest rung.
        epochs: the highest rung.
    """
    jobs, survivors, rung = len(curves), len(curves), first
    while rung < epochs:
        rung, survivors = 3 * rung, survivors // 3
        jobs += survivors
    config = {"min_resource": first, "max_resource": epochs, "max_jobs": jobs}
    strategy = make("Promotion", SPACE, seed=0, maximize=False, config=config)
    found: list[Trial] = []
    trained = 0
    while len(found) < jobs and (proposal := strategy.propose(found)) is not None:
        until = int(proposal.hyperparameters["epochs"])
        trained += until - (0 if proposal.parent is None else int(found[proposal.parent - 1].hyperparameters["epochs"]))
        value = curves[proposal.attrs["configuration"] - 1][until - 1]
        found.append(Trial(len(found) + 1, proposal.hyperparameters, value, finished=True, attrs=proposal.attrs))
    last = [t.value or 0.0 for t in found if t.hyperparameters["epochs"] == str(epochs)]
    return min(last, default=math.inf), trained
