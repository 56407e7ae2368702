"""One training job on a node: a run of the executor, its documents in the storage, and the results for Ray."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import psutil

from sm_tuning._statuses import STATUS_MESSAGES, SecondaryStatus, TrainingStatus
from sm_tuning.archive import TRAINING_JOBS_FOLDER, read_log, training_job_file, write_log, write_training_job
from sm_tuning.executor import (
    Emission,
    Environments,
    Files,
    LogReader,
    MetricScanner,
    Namespaces,
    News,
    Run,
    RunSettings,
    ScanProcesses,
    Supervisors,
    TrainingFailedError,
    client_error,
    count_cpus,
    events,
    files_of,
    final_metrics,
    hosts_of,
    kill_leftovers,
)
from sm_tuning.ray._job import LINEAGE, RAY, RayJob
from sm_tuning.ray._storage import NODE_FILES, Storage

#: Describes a checkpoint, in its folder: the training job, the number of values of the objective, the files.
CHECKPOINT_FILE = "sm-tuning.json"
ITERATION = "training_iteration"
_REGEX_SECONDS = 10.0
_DAY = 86_400.0
_LONGEST_WAIT = 5.0
#: A worker has trials one after the other: the first one does not import beside the template of the others.
_IMPORT_SECONDS = 60.0


class Node:
    """What the training jobs of one worker process share: work folders, environments, supervisors.

    Args:
        temporary: parent of the folders of all workers of this user.
    """

    def __init__(self, temporary: Path | None = None) -> None:
        root = (temporary or Path(tempfile.gettempdir())) / f"sm-tuning-ray-{os.getuid()}"
        root.mkdir(mode=0o700, exist_ok=True)
        self._sweep(root / "runs")
        self.folder: Path = root / "runs" / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.folder.mkdir(parents=True)
        self.environments: Environments = Environments(root / "envs")
        self.namespaces: Namespaces = Namespaces()
        self.supervisors: Supervisors = Supervisors(warm=True, templates=1, patience=_IMPORT_SECONDS)
        self.scans: ScanProcesses = ScanProcesses()

    def _sweep(self, folder: Path) -> None:
        """Delete what workers have left that were killed, and kill the processes that are left of theirs."""
        for left in folder.iterdir() if folder.is_dir() else ():
            if not psutil.pid_exists(int(left.name.partition("-")[0])):
                for record in left.rglob("process.json"):
                    kill_leftovers(Files(record.parent))
                shutil.rmtree(left, ignore_errors=True)

    def close(self) -> None:
        """End the helper processes and delete the work folders."""
        self.supervisors.close()
        self.scans.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class TrainingJobRun:
    """A trial's training job, from its first or a later attempt to its end.

    Args:
        job: the run.
        storage: its folder.
        node: what the worker shares.
        config: of the trial.
        trial_folder: of the trial in the storage, where Ray puts its checkpoints.
        cpus: processors that Ray has given to the trial.
        gpus: GPUs that Ray has given to it; None if the script sees those of the worker.
        clock: returns epoch seconds.
    """

    def __init__(
        self,
        job: RayJob,
        storage: Storage,
        node: Node,
        config: Mapping[str, Any],
        *,
        trial_folder: str,
        cpus: float = 1.0,
        gpus: tuple[str, ...] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._job = job
        self._storage = storage
        self._node = node
        self._config = dict(config)
        self._clock = clock
        self._files = storage.files
        self._cpus, self._gpus = cpus, gpus
        self._document = job.training_job(config, clock())
        self.name: str = self._document["TrainingJobName"]
        self._work = node.folder / self.name
        self._restored = self._work / "restored"
        self._trial_folder = trial_folder
        self._meta: dict[str, Any] = {}
        self._scanner = self._new_scanner()
        self._run: Run | None = None
        self._begun = self._ended = False
        self._failure: TrainingFailedError | None = None
        self._results: deque[dict[str, Any]] = deque()
        self._latest: dict[str, float] = {}
        self._emissions: list[Emission] = []
        self._lines: list[tuple[int, str]] = []
        self._base = 0  # values of the objective before those in the log: of the trial that it continues
        self._offset = self._count = 0  # values of the objective before this attempt, and in it
        self._seconds = 0.0  # of training before this attempt
        self._attempt_began: float | None = None
        self._stop_reason: SecondaryStatus | None = None
        self._due = 0.0

    @property
    def begun(self) -> bool:
        """Whether its processes were started, or its end is known."""
        return self._begun

    def restore(self, folder: Path) -> None:
        """Continue a checkpoint that ``save`` wrote, of this training job or of the one that it continues."""
        shutil.rmtree(self._restored, ignore_errors=True)
        shutil.copytree(folder, self._restored)
        self._meta = json.loads((self._restored / CHECKPOINT_FILE).read_text(encoding="utf-8"))
        (self._restored / CHECKPOINT_FILE).unlink()

    def save(self, folder: Path) -> None:
        """Copy the checkpoints of the script to a folder, as they are between two lines of its log."""
        folder.mkdir(parents=True, exist_ok=True)
        count = self._offset
        if self._run is not None:
            count += self._run.snapshot(folder)
        sizes = {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
        meta = {"training_job": self.name, "values": count, "files": sizes}
        (folder / CHECKPOINT_FILE).write_text(json.dumps(meta), encoding="utf-8")

    def next(self) -> dict[str, Any] | None:
        """Return the metrics of the next value of the objective, with its number; None after the last one.

        Raises:
            TrainingFailedError: the training job failed, now or in an earlier attempt.
        """
        if not self._begun:
            try:
                self._begin()
            except TrainingFailedError as failure:
                self._conclude(failure)
        while not self._results and not self._ended:
            self._advance()
        if self._results:
            return self._results.popleft()
        if self._failure is not None:
            raise self._failure
        return None

    def close(self) -> None:
        """Stop the training job if it has not ended, and delete its work folder."""
        run = self._run
        if run is not None and not self._ended:
            self._stop(SecondaryStatus.STOPPED)
            while run.alive:
                self._take(run.events(_LONGEST_WAIT))
            self._finish()
        if run is not None:
            run.close()
        self._scanner.close()
        shutil.rmtree(self._work, ignore_errors=True)

    # Start --------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._begun = True
        content = self._files.read(training_job_file(self.name))
        earlier = None if content is None else json.loads(content)
        if earlier is not None:
            self._lines = list(read_log(self._files, self.name))
            if is_final(earlier):
                self._replay(earlier)
                return
            self._continue(earlier)
        parent = self._job.parent_of(self._config)
        if parent is not None and not self._meta:
            with tempfile.TemporaryDirectory(dir=self._node.folder) as scratch:
                self._storage.fetch_folder(checkpoints_folder(parent), Path(scratch) / "checkpoint")
                self.restore(Path(scratch) / "checkpoint")
            self._offset = self._base = int(self._meta["values"])
        self._start()

    def _replay(self, earlier: Mapping[str, Any]) -> None:
        """Give the results of a training job that has ended, instead of training it again."""
        self._offset = self._base = int(earlier[RAY].get("offset", 0))
        self._take_emissions(self._scanner.scan(self._lines))
        self._ended = True
        if earlier["TrainingJobStatus"] == TrainingStatus.FAILED:
            self._failure = TrainingFailedError(earlier["FailureReason"])

    def _continue(self, earlier: Mapping[str, Any]) -> None:
        """Go on from the last checkpoint of an attempt that did not end, without what it printed after that."""
        self._seconds = float(earlier[RAY].get("seconds", 0.0))
        for member in ("CreationTime", "TrainingStartTime", "SecondaryStatusTransitions"):
            if member in earlier:
                self._document[member] = earlier[member]
        if not self._meta:
            self._find_checkpoint(earlier[RAY].get("trial_folder", ""))
        self._base = int(earlier[RAY].get("offset", 0))
        is_own = self._meta.get("training_job") == self.name
        kept = max(0, int(self._meta["values"]) - self._base) if is_own else 0  # values in the log
        scanned = self._scanner.scan(self._lines)
        found = [e for e in scanned if e.metric == self._job.metric]
        if kept < len(found):
            self._lines = self._lines[: found[kept - 1].line + 1] if kept else []
        self._offset = self._base + kept
        self._emissions = [e for e in scanned if e.line < len(self._lines)]
        self._scanner.close()
        self._scanner = self._new_scanner()  # which numbers the lines of this attempt

    def _new_scanner(self) -> MetricScanner:
        definitions = self._document["AlgorithmSpecification"].get("MetricDefinitions") or ()
        return MetricScanner(definitions, _REGEX_SECONDS, self._node.scans)

    def _find_checkpoint(self, trial_folder: str) -> None:
        """Take the newest whole checkpoint of an earlier attempt, which Ray's state may not know yet."""
        folders = [name for name in self._storage.names(trial_folder) if name.startswith("checkpoint_")]
        for name in reversed(folders) if trial_folder else ():
            content = self._files.read(f"{trial_folder}/{name}/{CHECKPOINT_FILE}")
            if content is None:
                continue
            with tempfile.TemporaryDirectory(dir=self._node.folder) as scratch:
                target = Path(scratch) / "checkpoint"
                self._storage.fetch_folder(f"{trial_folder}/{name}", target)
                sizes = json.loads(content)["files"]
                whole = all((target / f).is_file() and (target / f).stat().st_size == n for f, n in sizes.items())
                if whole:
                    self.restore(target)
                    return

    def _start(self) -> None:
        if missing := ", ".join(path for path in self._linked() if not Path(path).exists()):
            raise client_error(f"{missing} does not exist on the node {os.uname().nodename}; mount it on all nodes.")
        folder = self._work / "job"
        logs = LogReader([files_of(folder, host).log for host in hosts_of(self._document)], self._scanner)
        settings = RunSettings(
            region=self._job.region,
            environments=self._node.environments,
            namespaces=self._node.namespaces,
            supervisors=self._node.supervisors,
            parallel=max(1, count_cpus() // max(1, int(self._cpus))),
            grace=float(self._job.settings["grace"]),
        )
        gpus = None if self._gpus is None else [self._gpus]
        self._run = run = Run(self._document, folder, self._storage, settings, gpus=gpus, note=self._note, logs=logs)
        self._move(SecondaryStatus.STARTING)
        self._document.setdefault("TrainingStartTime", self._clock())
        self._attempt_began = self._clock()
        run.clear()
        self._move(SecondaryStatus.DOWNLOADING)
        self._write()
        run.prepare(self._restored if self._meta else None)
        self._move(SecondaryStatus.TRAINING)
        run.start(self._keep)
        self._write()

    def _linked(self) -> list[str]:
        """Return the inputs that the node sees in its own file system."""
        sources = [c["DataSource"].get("S3DataSource") or {} for c in self._document.get("InputDataConfig") or ()]
        uris = [str(source.get("S3Uri", "")) for source in sources]
        return [uri.removeprefix(NODE_FILES) for uri in uris if uri.startswith(f"{NODE_FILES}/")]

    # Progress -----------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        run = self._run
        assert run is not None
        if run.alive:
            self._take(run.events(self._keep()))
        else:
            self._take(run.events(0.0))
            self._finish()

    def _keep(self) -> float:
        """Enforce the time limits, write the documents if it is time, and return the seconds until the next time."""
        now = self._clock()
        if now >= self._due:
            self._write()
        limit = self._document.get("StoppingCondition") or {}
        whole = self._job.config["ResourceLimits"].get("MaxRuntimeInSeconds")
        left = {
            SecondaryStatus.MAX_RUNTIME_EXCEEDED: limit.get("MaxRuntimeInSeconds", _DAY) - self._trained(now),
            SecondaryStatus.STOPPED: self._job.created + whole - now if whole else _DAY,
        }
        for reason, seconds in left.items():
            if seconds <= 0:
                self._stop(reason)
        waits = [float(seconds) for seconds in left.values() if seconds > 0]
        return max(0.0, min([*waits, self._due - now, _LONGEST_WAIT]))

    def _stop(self, reason: SecondaryStatus) -> None:
        if self._stop_reason is None and self._run is not None:
            self._stop_reason = reason
            self._run.stop()

    def _take(self, news: Sequence[News]) -> None:
        for part in news:
            self._lines += events(line for _, line in part.lines)
            for _, problem in part.problems:
                self._note(problem)
            self._take_emissions(part.emissions)

    def _take_emissions(self, emissions: Sequence[Emission]) -> None:
        for _, group in groupby(sorted(emissions, key=lambda e: e.line), key=lambda e: e.line):
            found = list(group)
            self._latest |= {emission.metric: emission.value for emission in found}
            self._emissions += found
            if any(emission.metric == self._job.metric for emission in found):
                self._count += 1
                self._results.append({**self._latest, ITERATION: self._offset + self._count})

    def _note(self, text: str) -> None:
        self._lines.append((int(self._clock() * 1000), f"sm_tuning: {text}"))

    # End ----------------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        assert self._run is not None
        if self._stop_reason is None:
            self._move(SecondaryStatus.UPLOADING)
        ended = self._run.finish()
        if ended.artifacts is not None:
            self._document["ModelArtifacts"] = {"S3ModelArtifacts": ended.artifacts}
        failure = ended.failure
        if self._job.population and failure is None and self._stop_reason is None:
            failure = self._leave_checkpoints()
        self._conclude(failure)

    def _leave_checkpoints(self) -> TrainingFailedError | None:
        """Put the checkpoints where trials that continue this one find them; return a failure without them.

        They are there before the document says that the training job has ended.
        """
        folder = self._work / "left"
        self.save(folder)
        files = [path for path in folder.rglob("*") if path.is_file()]
        if len(files) == 1:  # the description of the checkpoint
            return client_error(
                "the script has left no checkpoint in /opt/ml/checkpoints, so that no other interval can continue it."
            )
        root = f"{self._storage.object_uri}/{checkpoints_folder(self.name)}"
        for path in files:
            self._storage.upload(path, f"{root}/{path.relative_to(folder)}")
        shutil.rmtree(folder)
        return None

    def _conclude(self, failure: TrainingFailedError | None) -> None:
        # In a training job that was stopped, a failure is a consequence of the stop.
        failure = failure if self._stop_reason is None else None
        self._ended, self._failure = True, failure
        now = self._clock()
        status = self._stop_reason or SecondaryStatus.COMPLETED
        if failure is not None:
            status = SecondaryStatus.FAILED
            self._document["FailureReason"] = str(failure)
        ends = {SecondaryStatus.COMPLETED: TrainingStatus.COMPLETED, SecondaryStatus.FAILED: TrainingStatus.FAILED}
        self._document["TrainingJobStatus"] = str(ends.get(status, TrainingStatus.STOPPED))
        self._document["TrainingEndTime"] = now
        self._document["TrainingTimeInSeconds"] = int(self._trained(now))
        self._move(status)
        self._write()
        # It holds checkpoints and data, and a worker that is reused has many.
        with suppress(OSError):
            shutil.rmtree(self._restored)

    def _trained(self, now: float) -> float:
        return self._seconds + (0.0 if self._attempt_began is None else now - self._attempt_began)

    def _move(self, status: SecondaryStatus) -> None:
        now = self._clock()
        transitions = [dict(entry) for entry in self._document["SecondaryStatusTransitions"]]
        if transitions:
            transitions[-1].setdefault("EndTime", now)
        message = STATUS_MESSAGES.get(status) or str(self._failure or "")
        entry: dict[str, Any] = {"Status": str(status), "StartTime": now, "StatusMessage": message}
        if status.is_terminal:
            entry["EndTime"] = now
        self._document |= {"SecondaryStatus": str(status), "SecondaryStatusTransitions": [*transitions, entry]}

    def _write(self) -> None:
        """Write document and log, which readers see from now on."""
        now = self._clock()
        self._due = now + self._job.checkpoint_period
        own = {"offset": self._base, "seconds": self._trained(now), "trial_folder": self._trial_folder}
        own["lineage"] = self._config.get(LINEAGE) or {}
        metrics = final_metrics(self._emissions)
        document = {**self._document, "LastModifiedTime": now, **({"FinalMetricDataList": metrics} if metrics else {})}
        write_log(self._files, self.name, self._lines)
        write_training_job(self._files, {**RayJob.readable(document), RAY: own})


def checkpoints_folder(name: str) -> str:
    """Return the folder with the last checkpoints of a member's training job, in the folder of the run."""
    return f"{TRAINING_JOBS_FOLDER}/{name}/checkpoints"


def is_final(document: Mapping[str, Any]) -> bool:
    """Return whether a training job has ended for good: one that was stopped or lost by a node may go on."""
    status = document["TrainingJobStatus"]
    if status == TrainingStatus.FAILED:
        return not str(document.get("FailureReason", "")).startswith("InternalServerError")
    if status == TrainingStatus.STOPPED:
        return bool(document["SecondaryStatus"] == SecondaryStatus.MAX_RUNTIME_EXCEEDED)
    return bool(status == TrainingStatus.COMPLETED)
