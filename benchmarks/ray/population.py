"""Population based training on Ray, by this package and by Ray's own scheduler, on the network of ``entrypoints``.

All begin with the same configurations: those of random search and of the Population study of ``benchmarks.studies``.
What has been trained is kept in the results file, and a run continues there.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import sm_tuning as smt
from benchmarks.search.statistics import interval
from benchmarks.studies.digits import SPACE, Digits, kept, population_and_random, random_points
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining
from ray.tune.search.basic_variant import BasicVariantGenerator
from sm_tuning.ray import to_ray
from sm_tuning.strategies import Categorical

_ROOT = Path(__file__).parents[2]
_SCRIPTS = _ROOT / "entrypoints" / "pytorch_digits"
_MUTATIONS: Mapping[str, Any] = {
    "lr": tune.loguniform(0.001, 0.1),
    "momentum": tune.uniform(0.5, 0.95),  # Ray has no reverse logarithmic scale
    "weight_decay": tune.loguniform(1e-6, 0.01),
    "dropout": tune.uniform(0, 0.5),
    "batch_size": [16, 32, 64],
}
_NAMES = ("population on Ray", "Ray's PBT", "population study", "random")


def compare(
    seeds: Sequence[int], results: Path, folder: Path, *, size: int = 8, epochs: int = 12, every: int = 2
) -> None:
    """Print the lowest validation loss at the end of an interval, for each seed and each way to search.

    Args:
        seeds: of searches and networks.
        results: file with what has been trained.
        folder: for the storage of runs.
        size: members.
        epochs: of each member.
        every: epochs of an interval.
    """
    digits, rows = Digits(_SCRIPTS), []
    for seed in seeds:
        key = {"seed": seed, "size": size, "epochs": epochs}
        study = population_and_random(digits, seed, results, size=size, epochs=epochs, every=every)
        found = {"population study": study["population"], "random": study["random"]}
        for name, search in (("population on Ray", ours), ("Ray's PBT", rays)):
            line = kept(
                results,
                {"what": name, **key},
                lambda search=search, seed=seed: search(seed, folder, size=size, epochs=epochs, every=every),
            )
            found[name] = line["loss"]
            print(f"seed {seed}: {name} {line['loss']:.4f}, {line['copies']} copies", flush=True)
        rows.append(found)
    print(
        f"\n| {len(rows)} seeds, {size * epochs} epochs each | median | worst | better than random |\n|---|---|---|---|"
    )
    for name in _NAMES:
        values = [row[name] for row in rows]
        wins = "" if name == "random" else f"{sum(row[name] < row['random'] for row in rows)} of {len(rows)}"
        print(f"| {name} | {interval(values)} | {max(values):.3f} | {wins} |")


def ours(seed: int, folder: Path, *, size: int, epochs: int, every: int) -> dict[str, Any]:
    """Run the script by ``to_ray(pbt=…)``."""
    code = folder / "code"
    shutil.copytree(_SCRIPTS, code, dirs_exist_ok=True)
    shutil.copyfile(Path(__file__).with_name("small_digits.py"), code / "small_digits.py")
    tuning = smt.Tuning(
        estimator=smt.PyTorchEstimator(
            framework_version="2.6",
            py_version="py312",
            entry_point="small_digits.py",
            source_dir=str(code),
            instance_type="ml.m5.large",
            hyperparameters={"optimizer": "sgd", "channels": 8, "hidden": 64, "seed": seed},
            metric_definitions=[smt.MetricDefinition(name="loss", regex=r"validation:loss=([0-9.e+-]+|nan|inf);")],
        ),
        objective_metric_name="loss",
        objective_type="Minimize",
        hyperparameter_ranges={
            "lr": smt.ContinuousParameter(0.001, 0.1, "Logarithmic"),
            "momentum": smt.ContinuousParameter(0.5, 0.95, "ReverseLogarithmic"),
            "weight-decay": smt.ContinuousParameter(1e-6, 0.01, "Logarithmic"),
            "dropout": smt.ContinuousParameter(0, 0.5),
            "batch-size": smt.CategoricalParameter([16, 32, 64]),
        },
        strategy="Random",
        max_jobs=size,
        max_parallel_jobs=size,
        random_seed=seed,
    )
    name = f"ours-{seed}"
    shutil.rmtree(folder / "runs" / name, ignore_errors=True)
    pbt = smt.PopulationConfig(size=size, interval=every, max_resource=epochs)
    to_ray(tuning, storage_path=folder / "runs", name=name, pbt=pbt, run_config=tune.RunConfig(verbose=0)).fit()
    job = smt.attach(str(folder / "runs" / name))
    if job.status != "Completed":
        raise SystemExit(f"the run is {job.status}: it was interrupted")  # Ray returns, as if it had ended
    trials = job.trials()
    copies = int((trials["Why"] == "exploited").sum())
    return {"loss": float(trials["FinalObjectiveValue"].min()), "copies": copies, "trials": len(trials)}


def rays(seed: int, folder: Path, *, size: int, epochs: int, every: int) -> dict[str, Any]:
    """Run the shipped trainer under Ray's scheduler, within the ranges.

    It is synchronous: by default it copies only members whose checkpoint is there in time, which short epochs prevent.
    """
    random.seed(seed)
    np.random.seed(seed)  # what Ray draws from
    bounds = {d.name: (d.low, d.high) for d in SPACE.dimensions if not isinstance(d, Categorical)}

    def clipped(config: dict[str, Any]) -> dict[str, Any]:
        limits = {name: bounds.get(name, (value, value)) for name, value in config.items()}
        return {name: min(max(value, limits[name][0]), limits[name][1]) for name, value in config.items()}

    scheduler = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=every,
        hyperparam_mutations=dict(_MUTATIONS),
        custom_explore_fn=clipped,
        synch=True,
    )
    points = [{name: json.loads(text) for name, text in point.items()} for point in random_points(seed, size)]
    tuner = tune.Tuner(
        tune.with_resources(trainable(seed), {"cpu": 2 / size}),
        param_space=dict.fromkeys(SPACE.names),
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=size,
            scheduler=scheduler,
            search_alg=BasicVariantGenerator(points_to_evaluate=points),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=f"rays-{seed}", storage_path=str(folder / "runs"), stop={"training_iteration": epochs}, verbose=0
        ),
    )
    frames = [result.metrics_dataframe for result in tuner.fit()]
    if any(frame is None or frame["training_iteration"].max() < epochs for frame in frames):
        raise SystemExit("a member was not trained to its end: the run was interrupted")
    losses = [float(frame[frame["training_iteration"] % every == 0]["loss"].min()) for frame in frames]
    copies = int(scheduler.debug_string().split()[-2])  # "…: 4 checkpoints, 3 perturbs"
    return {"loss": min(losses), "copies": copies, "trials": size}


def trainable(seed: int) -> type[tune.Trainable]:
    """Return the shipped trainer as a trainable of Ray, a step an epoch."""
    root = str(_ROOT)

    class Member(tune.Trainable):  # type: ignore[misc]
        """A member of the population."""

        def setup(self, config: dict[str, Any]) -> None:
            import sys  # noqa: PLC0415 - in the worker

            sys.path.insert(0, root)
            from benchmarks.studies.digits import Digits  # noqa: PLC0415

            self._digits = Digits(Path(root) / "entrypoints" / "pytorch_digits")
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._tuned = {name: json.dumps(value) for name, value in new_config.items()}
            self._state, self._epoch = None, 0
            return True

        def step(self) -> dict[str, Any]:
            self._epoch += 1
            [loss], self._state = self._digits.train(self._tuned, self._epoch, seed, self._state)
            return {"loss": loss}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            import torch  # noqa: PLC0415

            torch.save((*self._state, self._epoch), Path(checkpoint_dir) / "state.pt")

        def load_checkpoint(self, checkpoint: str) -> None:
            import torch  # noqa: PLC0415

            from benchmarks.studies.digits import Snapshot  # noqa: PLC0415

            *parts, self._epoch = torch.load(Path(checkpoint) / "state.pt", weights_only=False)
            self._state = Snapshot(*parts)

    return Member
