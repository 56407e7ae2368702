"""Processing jobs at work: an entrypoint that finds its files in ``/opt/ml/processing``.

Source: Developer Guide, build-your-own-processing-container. A job that a killed server left behind starts over; its
outputs are uploaded at the end.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sm_tuning.executor import (
    Files,
    Fleet,
    Folder,
    LogFollower,
    TrainingFailedError,
    entrypoint_command,
    events,
    files_in,
    kill_leftovers,
    prefix_folder,
    wait_until_free,
)
from sm_tuning.local._resource_run import FailedError, ResourceRun, StoppedError, recover
from sm_tuning.local._workers import Workers
from sm_tuning.local.runner import RunnerContext

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
_DAY = 24 * 3600
_LONGEST_MESSAGE = 1024  # botocore model, ExitMessage
_TICK_SECONDS = 5.0
_SUPERVISOR_END_SECONDS = 15.0
_STEP = "process"
_HOST = "algo-1"


class Processing:
    """Runs and recovers processing jobs.

    Args:
        context: services and settings of the runner.
        folder: parent of the jobs' folders.
        put_events: appends (epoch milliseconds, message) to a stream of a log group.
        slots: bounds the jobs that run at once.
    """

    def __init__(
        self,
        context: RunnerContext,
        folder: Path,
        put_events: Callable[[str, str, Sequence[tuple[int, str]]], None],
        slots: threading.Semaphore,
    ) -> None:
        self.slots = slots
        self.context = context
        self.folder = folder
        self.put_events = put_events
        self._runs: Workers[ProcessingRun] = Workers("processing job")

    def start(self, arn: str) -> None:
        """Start a job that is in the store; returns at once."""
        self._runs.start(arn, ProcessingRun(self, arn))

    def stop(self, arn: str) -> None:
        """Stop a job."""
        run = self._runs.get(arn)
        if run is not None:
            run.stop()

    def recover(self) -> None:
        """Run all unfinished jobs again, after their processes have been killed."""
        for folder in self.folder.iterdir() if self.folder.is_dir() else ():
            files = Files(folder / "host")
            wait_until_free(files, _SUPERVISOR_END_SECONDS)
            kill_leftovers(files)
            shutil.rmtree(folder, ignore_errors=True)
        recover(self._runs, self.context.store, "processing-job", lambda arn: ProcessingRun(self, arn))

    def close(self) -> None:
        """End all jobs; the documents stay for ``recover``."""
        self._runs.close()


class ProcessingError(FailedError):
    """The processing container failed.

    Args:
        reason: FailureReason.
        members: further members of the document.
    """

    def __init__(self, reason: str, members: Mapping[str, Any]) -> None:
        super().__init__(reason)
        self.members = dict(members)


class ProcessingRun(ResourceRun):
    """One processing job."""

    prefix = "Processing"

    def __init__(self, processing: Processing, arn: str) -> None:
        context = processing.context
        super().__init__(context.store, arn, context.clock, processing.slots)
        self._processing = processing
        self._context = context
        self._fleet = Fleet(_STEP, context.settings.grace, context.supervisors)

    def interrupt(self) -> None:
        """Stop the process, or kill it if the server closes."""
        if self._closing:
            self._fleet.abandon()
        else:
            self._fleet.stop()

    def work(self, job: Mapping[str, Any]) -> Mapping[str, Any]:
        """Download, process, upload."""
        name = str(job["ProcessingJobName"])
        place = self._processing.folder / name
        shutil.rmtree(place, ignore_errors=True)
        folder, files = Folder(place / "ml"), Files(place / "host")
        files.folder.mkdir(parents=True)
        (folder.root / "config").mkdir(parents=True)
        (folder.root / "output").mkdir()
        try:
            self._store.update_resource(self._arn, {"ProcessingStartTime": round(self._clock(), 3)})
            self._write_config(job, folder)
            self._download(job, folder)
            exit_message = self._process(job, folder, files)
            self._upload(job, folder)
        except TrainingFailedError as e:  # of the executor's reading of inputs
            raise FailedError(str(e)) from e
        finally:
            shutil.rmtree(place, ignore_errors=True)
        return {"ExitMessage": exit_message} if exit_message else {}

    def _write_config(self, job: Mapping[str, Any], folder: Folder) -> None:
        public = {key: value for key, value in job.items() if not key.startswith("_")}
        resources = {"current_host": _HOST, "hosts": [_HOST]}
        for name, value in (("processingjobconfig", public), ("resourceconfig", resources)):
            (folder.root / "config" / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")

    def _download(self, job: Mapping[str, Any], folder: Folder) -> None:
        aws = self._context.aws
        for given in job.get("ProcessingInputs", ()):
            source = given["S3Input"]
            target, uri = folder.inside(source["LocalPath"]), source["S3Uri"]
            target.mkdir(parents=True, exist_ok=True)
            found = [item for item in aws.list_objects(uri) if not item.endswith("/")]
            if not found:
                raise FailedError(f"ClientError: Data download failed: no S3 objects found under S3 URL {uri!r}.")
            base = uri[: uri.rindex("/") + 1] if uri in found else prefix_folder(uri, found)
            for item in [uri] if uri in found else found:
                self.check()
                relative = Path(item.removeprefix(base))
                if ".." in relative.parts:
                    raise FailedError(f"ClientError: the object {item!r} would be outside its input's folder.")
                aws.download(item, target / relative)
        for given in (job.get("ProcessingOutputConfig") or {}).get("Outputs", ()):
            folder.inside(given["S3Output"]["LocalPath"]).mkdir(parents=True, exist_ok=True)

    def _process(self, job: Mapping[str, Any], folder: Folder, files: Files) -> str:
        """Run the entrypoint and return its exit message.

        Raises:
            FailedError: it failed or took too long.
        """
        specification, context = job["AppSpecification"], self._context
        order: dict[str, Any] = {"ml": str(folder.root)}
        isolated = (job.get("NetworkConfig") or {}).get("EnableNetworkIsolation")
        if isolated and context.namespaces.problem({"net": True}) is None:
            order["net"] = True
        argv = [*specification["ContainerEntrypoint"], *specification.get("ContainerArguments", ())]
        variables = {
            "AWS_REGION": context.identity.region,
            "AWS_DEFAULT_REGION": context.identity.region,
            **context.child_env,
            **job.get("Environment", {}),
            "PROCESSING_JOB_NAME": str(job["ProcessingJobName"]),
        }
        command = entrypoint_command(argv, variables, folder, order)
        follower = LogFollower(files.log)
        stream = f"{job['ProcessingJobName']}/{_HOST}-{int(job['CreationTime'])}"
        limit = float((job.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds", _DAY))
        until = time.monotonic() + limit
        timed_out = False

        def tick() -> float:
            nonlocal timed_out
            while lines := follower.read():
                self._processing.put_events(LOG_GROUP, stream, list(events(lines)))
            left = until - time.monotonic()
            if left <= 0 and not timed_out:
                timed_out = True
                self._fleet.stop()
            return min(_TICK_SECONDS, max(0.05, left))

        self.check()
        [ended] = self._fleet.run([(command, files)], tick)
        tick()
        self.check()
        message = _read_message(folder)
        members = {"ExitMessage": message} if message else {}
        if timed_out:
            raise ProcessingError("ClientError: The job exceeded its MaxRuntimeInSeconds.", members)
        if ended is None:
            raise ProcessingError("InternalServerError: the supervisor of the process was killed.", members)
        if ended.code != 0:
            reason = f"AlgorithmError: See job logs for more information, exit code: {ended.code}"
            raise ProcessingError(reason, members)
        return message

    def _upload(self, job: Mapping[str, Any], folder: Folder) -> None:
        for given in (job.get("ProcessingOutputConfig") or {}).get("Outputs", ()):
            output = given["S3Output"]
            source, target = folder.inside(output["LocalPath"]), output["S3Uri"].rstrip("/")
            for path in files_in(source):
                self.check()
                try:
                    self._context.aws.upload(path, f"{target}/{path.relative_to(source).as_posix()}")
                except FileNotFoundError as e:
                    raise FailedError(f"ClientError: the output {target!r} cannot be written: {e}") from e


def _read_message(folder: Folder) -> str:
    path = folder.root / "output" / "message"
    return path.read_text(encoding="utf-8", errors="replace")[:_LONGEST_MESSAGE] if path.is_file() else ""


__all__ = ["Processing", "ProcessingRun", "StoppedError"]
