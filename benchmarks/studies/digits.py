"""Population against random search, and Promotion against full training, on the network of ``entrypoints``.

The strategies are pure, so that no server runs: a trial is some epochs of the shipped trainer in this process.
"""

from __future__ import annotations

import copy
import json
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from sm_tuning.strategies import Space, Strategy, Trial, make, space_of

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


def population_against_random(
    digits: Digits, seeds: Sequence[int], *, size: int = 8, epochs: int = 12, interval: int = 2
) -> list[tuple[float, float]]:
    """Return the best validation loss of Population and of random search, at equal epochs, for each seed."""
    rows = []
    for seed in seeds:
        config = {"size": size, "interval": interval, "max_resource": epochs}
        pbt = make("Population", SPACE, seed=seed, maximize=False, config=config)
        ours = min(trial.value or 0.0 for trial in run(pbt, digits, seed, 10**6))
        random: list[Trial] = []
        for number in range(1, size + 1):
            tuned = make("Random", SPACE, seed=seed, maximize=False).ask(random) or {}
            losses, _ = digits.train(tuned, epochs, seed, None)
            # Its best epoch, as if it kept a checkpoint of each.
            random.append(Trial(number, tuned, min(losses), finished=True))
        rows.append((ours, min(trial.value or 0.0 for trial in random)))
        print(f"seed {seed}: population {rows[-1][0]:.4f}, random {rows[-1][1]:.4f}", flush=True)
    wins = sum(ours < theirs for ours, theirs in rows)
    print(
        f"population better in {wins} of {len(rows)}; medians {median(a for a, _ in rows):.4f} and "
        f"{median(b for _, b in rows):.4f}; {size * epochs} epochs each"
    )
    return rows


def promotion_against_full(digits: Digits, seeds: Sequence[int], *, configurations: int = 9, epochs: int = 18) -> int:
    """Return for how many seeds Promotion finds the configuration that is best after full training."""
    same, spent = 0, []
    for seed in seeds:
        config = {
            "min_resource": epochs // 9,
            "max_resource": epochs,
            "max_jobs": configurations + configurations // 3 + configurations // 9,
        }
        strategy = make("Promotion", SPACE, seed=seed, maximize=False, config=config)
        curves: dict[tuple[str, ...], list[float]] = {}
        found: list[Trial] = []
        trained = 0
        while len(found) < config["max_jobs"] and (proposal := strategy.propose(found)) is not None:
            point, until = _point(SPACE, proposal.hyperparameters), int(proposal.hyperparameters["epochs"])
            if point not in curves:
                curves[point] = digits.train(proposal.hyperparameters, epochs, seed, None)[0]
            before = 0 if proposal.parent is None else int(found[proposal.parent - 1].hyperparameters["epochs"])
            trained += until - before
            value = curves[point][until - 1]
            found.append(Trial(len(found) + 1, proposal.hyperparameters, value, finished=True, attrs=proposal.attrs))
        best = min(found, key=lambda trial: (-int(trial.hyperparameters["epochs"]), trial.value))
        lowest = min(curve[-1] for curve in curves.values())
        is_same = best.value == lowest
        same += is_same
        spent.append(trained)
        print(f"seed {seed}: {trained} epochs, not {len(curves) * epochs}; loss {best.value:.4f}, lowest {lowest:.4f}")
    print(f"the same best in {same} of {len(seeds)}; {median(spent):g} epochs, not {configurations * epochs}")
    return same


def _point(space: Space, tuned: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(tuned[name] for name in space.names)
