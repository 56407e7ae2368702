"""The trainable of Ray: it runs the unchanged script of a training job, and reports what its metrics print."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.result import DONE, RESULT_DUPLICATE, SHOULD_CHECKPOINT

from sm_tuning.archive import JOB_FILE
from sm_tuning.executor import VISIBLE_DEVICES
from sm_tuning.ray._job import RayJob
from sm_tuning.ray._storage import Storage
from sm_tuning.ray._training import Node, TrainingJobRun


class SageMakerTrial(tune.Trainable):  # type: ignore[misc]
    """A trial. Each ``step`` ends at the next value of the objective, with the latest values of the other metrics.

    The trial's config has the hyperparameters; all else is in ``sm/job.json`` of the run's folder.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Prepare a trial, whose script starts with the first step: a checkpoint may be restored before."""
        self._node = Node()
        self._job: RayJob | None = None
        self._open(config)

    def _open(self, config: dict[str, Any]) -> None:
        place = Storage(self._storage.storage_filesystem, self._storage.experiment_fs_path)
        if self._job is None:
            self._job = RayJob.of(place.files.read(JOB_FILE), place.uri)
        resources = self.trial_resources.required_resources
        # With a share of a GPU too, Ray names the one that the worker has.
        visible = [name for name in os.environ.get(VISIBLE_DEVICES, "").split(",") if name]
        self._saved = time.monotonic()
        self._training = TrainingJobRun(
            self._job,
            place,
            self._node,
            config,
            trial_folder=str(self._storage.trial_dir_name),
            cpus=resources.get("CPU", 1.0),
            gpus=tuple(visible) if resources.get("GPU") else (),
        )

    def step(self) -> dict[str, Any]:
        """Return the metrics of the next value of the objective.

        Raises:
            TrainingFailedError: the training job failed.
        """
        found = self._training.next()
        if found is None:
            return {RESULT_DUPLICATE: True, DONE: True}  # the last result again, so that Ray adds no row
        assert self._job is not None
        now = time.monotonic()
        if now - self._saved >= self._job.checkpoint_period:
            self._saved = now
            found[SHOULD_CHECKPOINT] = True
        return found

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Copy the script's checkpoints."""
        self._training.save(Path(checkpoint_dir))

    def load_checkpoint(self, checkpoint: str) -> None:
        """Let the script continue a checkpoint."""
        self._training.restore(Path(checkpoint))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Stop what still trains, and prepare another trial in this worker."""
        self._training.close()
        self._open(new_config)
        return True

    def cleanup(self) -> None:
        """Stop what still trains: SIGTERM, the grace, SIGKILL."""
        self._training.close()
        self._node.close()
