"""Deaths on a Ray cluster, and the overhead beside bare Ray: ``python -m benchmarks.ray kills|overhead``."""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.ray.cluster import Cluster
from benchmarks.ray.kills import KINDS, survive
from benchmarks.ray.runs import tuning_of


@contextmanager
def folder_of() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # short: Ray has sockets below it
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def kills(count: int, seed: int) -> None:
    """Kill a driver, a worker and a node at this many random moments each."""
    moments = random.Random(seed)
    with folder_of() as folder:
        cluster = Cluster(folder)
        try:
            cluster.start()
            cluster.start()
            for number in range(count):
                for kind in KINDS:
                    moment = moments.uniform(0.0, 6.0)
                    found = survive(cluster, f"{kind}-{number}", kind, moment)
                    print(f"{kind} after {moment:.1f} s: {found}", flush=True)
        finally:
            cluster.stop()


def overhead(trials: int, epochs: int, pause: float, rounds: int) -> None:
    """Compare the wall time of runs with that of a trainable of Ray itself that sleeps as long, both reusing actors."""
    import ray  # noqa: PLC0415
    from ray import tune  # noqa: PLC0415
    from sm_tuning.ray import to_ray  # noqa: PLC0415

    class Bare(tune.Trainable):
        """Sleeps for each epoch."""

        def setup(self, config: dict[str, Any]) -> None:
            del config
            self.epoch = 0

        def step(self) -> dict[str, Any]:
            time.sleep(pause)
            self.epoch += 1
            return {"accuracy": 1.0, "done": self.epoch == epochs}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            del new_config
            self.epoch = 0
            return True

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            Path(checkpoint_dir, "epoch").write_text(str(self.epoch))

    def bare(folder: Path, number: int) -> Any:
        return tune.Tuner(
            Bare,
            param_space={"rate": tune.uniform(0.01, 1.0)},
            tune_config=tune.TuneConfig(
                metric="accuracy", mode="max", num_samples=trials, max_concurrent_trials=2, reuse_actors=True
            ),
            run_config=tune.RunConfig(name=f"bare-{number}", storage_path=str(folder), verbose=0),
        )

    def ours(folder: Path, number: int) -> Any:
        tuning = tuning_of(folder / "code", max_jobs=trials, hyperparameters={"epochs": epochs, "pause": pause})
        config = tune.RunConfig(verbose=0)
        return to_ray(tuning, storage_path=folder / "storage", name=f"ours-{number}", run_config=config)

    with folder_of() as folder:
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=80_000_000,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(folder),
            log_to_driver=False,
        )
        walls: dict[str, list[float]] = {"bare Ray": [], "sm_tuning": []}
        makes: dict[str, Callable[[Path, int], Any]] = {"bare Ray": bare, "sm_tuning": ours}
        for number in range(rounds):
            for name, make in makes.items():
                tuner = make(folder, number)
                begun = time.perf_counter()
                tuner.fit()
                walls[name].append(time.perf_counter() - begun)
        ray.shutdown()
    medians = {name: statistics.median(values) for name, values in walls.items()}
    for name, values in walls.items():
        print(f"{name}: {medians[name]:.2f} s ({', '.join(f'{value:.2f}' for value in values)})")
    extra = medians["sm_tuning"] - medians["bare Ray"]
    print(f"{1000 * extra / trials:.0f} ms of wall time a trial, {100 * extra / medians['bare Ray']:.1f}% of the run")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ray", description=__doc__)
    parsers = parser.add_subparsers(required=True, dest="what")
    deaths = parsers.add_parser("kills", help=kills.__doc__)
    deaths.add_argument("--kills", type=int, default=20, help="of each kind")
    deaths.add_argument("--seed", type=int, default=0)
    walls = parsers.add_parser("overhead", help=overhead.__doc__)
    walls.add_argument("--trials", type=int, default=12)
    walls.add_argument("--epochs", type=int, default=3)
    walls.add_argument("--pause", type=float, default=0.1, help="seconds an epoch")
    walls.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.what == "kills":
        kills(args.kills, args.seed)
    else:
        overhead(args.trials, args.epochs, args.pause, args.rounds)


if __name__ == "__main__":
    main()
