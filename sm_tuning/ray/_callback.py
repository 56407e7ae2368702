"""What the driver does besides Ray: it checks the nodes first, and writes how trials and the run have ended."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sm_tuning._errors import SpecError
from sm_tuning._statuses import SecondaryStatus, TrainingStatus, TuningStatus
from sm_tuning.archive import JOB_FILE, TRAINING_JOBS_FOLDER, training_job_file, write_job, write_training_job
from sm_tuning.ray._job import INDEX, RAY
from sm_tuning.ray._search import Ledger, places_of
from sm_tuning.ray._storage import NODE_FILES, Storage, filesystem_of
from sm_tuning.strategies import decide

_log = logging.getLogger(__name__)

_NODE_SECONDS = 120.0  # for a node to start a worker and answer


class RunCallback(tune.Callback):  # type: ignore[misc]
    """Checks the nodes, and records ends.

    Args:
        ledger: of the run.
        place: its folder, as ``filesystem_of`` takes it.
        prunes: whether all checkpoints of a trial but the last are deleted at the end.
    """

    def __init__(self, ledger: Ledger, place: str, *, prunes: bool) -> None:
        self._ledger = ledger
        self._place = place
        self._prunes = prunes

    def setup(self, *args: Any, **info: Any) -> None:
        """Check the nodes before the first trial.

        Raises:
            SpecError: a node has another version of sm-tuning, or does not see the storage or an input.
        """
        del args, info
        storage = self._storage
        try:
            check_nodes(storage, self._inputs(), self._ledger.job.settings["resources"])
        except SpecError:
            if not storage.names(TRAINING_JOBS_FOLDER):  # nothing was trained: the name stays free
                storage.delete(f"{storage.object_uri}/{JOB_FILE}")
            raise

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record the failure of a trial whose worker could not."""
        del iteration, trials, info
        files, job = self._storage.files, self._ledger.job
        name = job.training_job_name(trial.config[INDEX])
        content = files.read(training_job_file(name))
        document = job.training_job(trial.config, time.time()) | {RAY: {}} if content is None else json.loads(content)
        if TrainingStatus(document["TrainingJobStatus"]).is_terminal:
            return
        now, reason = time.time(), "InternalServerError: the Ray worker of the trial has ended; see Ray's logs."
        ended = {"SecondaryStatus": str(SecondaryStatus.FAILED), "FailureReason": reason}
        times = {"TrainingEndTime": now, "LastModifiedTime": now}
        write_training_job(
            files, {**job.readable(document), **ended, **times, "TrainingJobStatus": str(TrainingStatus.FAILED)}
        )

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Record how the run has ended, unless it was interrupted, and delete checkpoints that nothing needs."""
        del info
        if any(trial.status not in (Trial.TERMINATED, Trial.ERROR) for trial in trials):
            return
        files, ledger = self._storage.files, self._ledger
        outcome = decide(ledger.rules, ledger.states, time.time(), exhausted=True).outcome
        document = json.loads(files.read(JOB_FILE) or b"{}")
        document["HyperParameterTuningJobStatus"] = str(outcome.status if outcome else TuningStatus.COMPLETED)
        document["HyperParameterTuningEndTime"] = document["LastModifiedTime"] = time.time()
        if outcome is not None and outcome.reason:
            document["FailureReason"] = outcome.reason[:1024]
        write_job(files, document)
        for trial in trials if self._prunes else ():
            self._prune(trial)

    def _prune(self, trial: Any) -> None:
        storage, folder = self._storage, trial.storage.trial_dir_name if trial.storage else None
        if folder is None or trial.checkpoint is None:
            return
        kept = str(trial.checkpoint.path).rpartition("/")[2]
        for name in storage.names(folder):
            if name.startswith("checkpoint_") and name != kept:
                storage.delete_folder(f"{folder}/{name}")

    @property
    def _storage(self) -> Storage:
        filesystem, path = filesystem_of(self._place)
        return Storage(filesystem, path)

    def _inputs(self) -> list[str]:
        """Return the paths of the inputs that each node must see."""
        channels = self._ledger.job.definition.get("InputDataConfig") or ()
        uris = [str((channel["DataSource"].get("S3DataSource") or {}).get("S3Uri", "")) for channel in channels]
        return [uri.removeprefix(NODE_FILES) for uri in uris if uri.startswith(f"{NODE_FILES}/")]


def check_nodes(storage: Storage, inputs: list[str], resources: Mapping[str, float]) -> None:
    """Check that all nodes have this version of sm-tuning and see the storage and the inputs.

    A warning says if no node has the resources of a trial: a cluster that scales may get one.

    Raises:
        SpecError: one of them does not.
    """
    alive = [node for node in ray.nodes() if node["Alive"]]
    nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in alive}
    if not places_of(resources):
        _log.warning(
            "no node of the Ray cluster has %s for a trial: trials wait until such a node joins", dict(resources)
        )
    own = importlib.metadata.version("sm-tuning")
    marker = f"sm/node-check-{uuid.uuid4().hex}"
    storage.files.write(marker, b"")
    place = f"{storage.path}/{marker}" if storage.is_local else ""

    def look() -> tuple[str, bool, list[str]]:
        """Return the version of sm-tuning, whether a file of the storage is seen, and the inputs that are not."""
        missing = [path for path in inputs if not Path(path).exists()]
        return importlib.metadata.version("sm-tuning"), not place or Path(place).exists(), missing

    # A nested function is pickled with its code: a node imports nothing for it, which would take seconds.
    task = ray.remote(num_cpus=0, max_retries=0)(look)
    asked = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(): node
        for node in nodes
    }
    try:
        for answer, node in asked.items():
            address = f"{nodes[node]} (node {node[:8]})"
            try:
                version, sees, missing = ray.get(answer, timeout=_NODE_SECONDS)
            except (ray.exceptions.RayError, ModuleNotFoundError) as error:
                raise SpecError(f"the Ray node {address} cannot run sm-tuning: {_first_line(error)}") from error
            if version != own:
                raise SpecError(
                    f"the Ray node {address} has sm-tuning {version}, and the driver {own}: install one version"
                )
            if not sees:
                raise SpecError(
                    f"the Ray node {address} does not see the storage {storage.path}: with several nodes, storage_path "
                    "must be a folder that all nodes share, or an s3:// prefix"
                )
            if missing:
                raise SpecError(
                    f"the Ray node {address} does not see the input {', '.join(missing)}: a file:// input must be at "
                    "the same path on all nodes; a path without file:// is copied to the storage"
                )
    finally:
        storage.delete(f"{storage.object_uri}/{marker}")


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
