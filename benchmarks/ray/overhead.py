"""The wall time of runs beside a trainable of Ray itself that sleeps as long, both reusing actors."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.ray.runs import tuning_of
from ray import tune
from sm_tuning.ray import to_ray


class Load(NamedTuple):
    """Trials of some epochs, two at a time, in a run that is repeated.

    Attributes:
        trials: number of trials.
        epochs: of each.
        pause: seconds an epoch.
        rounds: how often the run is repeated; medians count.
    """

    trials: int
    epochs: int
    pause: float
    rounds: int


#: Short trials, where what the start of a run takes is seen, and more trials of ten seconds.
LOADS = (Load(12, 3, 0.1, 3), Load(24, 10, 1.0, 1))
_MOST_SHARE = 0.05  # of the run with trials of ten seconds
_MOST_SECONDS = 0.1  # for each further trial


def measure(folder: Path) -> int:
    """Print the wall times of both under each load, and return 1 if there is too much between them."""
    print("| trials | bare Ray | sm_tuning | more | of the run |\n|---|---|---|---|---|")
    more = []
    for load in LOADS:
        walls: dict[str, list[float]] = {"bare": [], "ours": []}
        makes: dict[str, Callable[[Load, Path, str], Any]] = {"bare": bare, "ours": ours}
        for number in range(load.rounds):
            for name, make in makes.items():
                tuner = make(load, folder, f"{name}-{load.trials}-{number}")
                begun = time.perf_counter()
                tuner.fit()
                walls[name].append(time.perf_counter() - begun)
        first, second = (statistics.median(walls[name]) for name in ("bare", "ours"))
        more.append(second - first)
        share = (second - first) / first
        kind = f"{load.trials} of {load.epochs * load.pause:g} s"
        print(f"| {kind} | {first:.2f} s | {second:.2f} s | {more[-1]:.2f} s | {100 * share:.1f}% |", flush=True)
    further = (more[-1] - more[0]) / (LOADS[-1].trials - LOADS[0].trials)
    print(f"\nEach further trial takes {1000 * further:.0f} ms more than with bare Ray.")
    return int(further > _MOST_SECONDS or share > _MOST_SHARE)


def ours(load: Load, folder: Path, name: str) -> Any:
    """Return the tuner of a script that sleeps."""
    hyperparameters = {"epochs": load.epochs, "pause": load.pause}
    tuning = tuning_of(folder / "code", max_jobs=load.trials, hyperparameters=hyperparameters)
    return to_ray(tuning, storage_path=folder / "storage", name=name, run_config=tune.RunConfig(verbose=0))


def bare(load: Load, folder: Path, name: str) -> Any:
    """Return the tuner of a trainable that sleeps."""

    class Bare(tune.Trainable):  # type: ignore[misc]
        """Sleeps for each epoch."""

        def setup(self, config: dict[str, Any]) -> None:
            del config
            self.epoch = 0

        def step(self) -> dict[str, Any]:
            time.sleep(load.pause)
            self.epoch += 1
            return {"accuracy": 1.0, "done": self.epoch == load.epochs}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            del new_config
            self.epoch = 0
            return True

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            Path(checkpoint_dir, "epoch").write_text(str(self.epoch))

    config = tune.TuneConfig(
        metric="accuracy", mode="max", num_samples=load.trials, max_concurrent_trials=2, reuse_actors=True
    )
    run_config = tune.RunConfig(name=name, storage_path=str(folder), verbose=0)
    return tune.Tuner(Bare, param_space={"rate": tune.uniform(0.01, 1.0)}, tune_config=config, run_config=run_config)
