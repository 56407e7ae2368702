"""One training job from start to end: its attempts, and the steps after them."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from sm_tuning._statuses import SecondaryStatus, TrainingStatus
from sm_tuning.executor import (
    Checkpoints,
    Exit,
    Host,
    InterruptedTrainingError,
    Meter,
    MetricScanner,
    TrainingFailedError,
    check_exits,
    hosts_of,
    kill_leftovers,
    recorded,
    upload_outputs,
    wait_until_free,
)
from sm_tuning.local._workers import is_full
from sm_tuning.local.runner._attempt import Attempt
from sm_tuning.local.runner._context import RunnerContext
from sm_tuning.local.runner._control import Control
from sm_tuning.local.runner._publish import Publisher
from sm_tuning.local.runner._record import JobRecord

_log = logging.getLogger(__name__)

_SUPERVISOR_END_SECONDS = 15.0


class TrainingRun:
    """Runs one training job. ``run`` is for a thread of its own, the other methods for any thread.

    Args:
        context: services and settings of the runner.
        name: the training job.
        recovering: whether an earlier server had the job. If its processes have ended by themselves, only the steps
            that follow are done; otherwise the job is run again from the start.
    """

    def __init__(self, context: RunnerContext, name: str, *, recovering: bool) -> None:
        self._context = context
        self._record = JobRecord(context.store, name, context.clock, context.on_event, context.settings.monotonic)
        self._name = str(self._record.doc["TrainingJobName"])  # in the case of its creation
        self._folder = context.jobs_dir / self._name
        self._recovering = recovering
        self._control = Control(self._record, context.settings.monotonic)
        self._hosts: tuple[Host, ...] = ()

    def stop(self) -> None:
        """Stop the job, which has ended when ``run`` returns."""
        self._control.stop()

    def close(self) -> None:
        """Kill the processes; the document stays InProgress."""
        self._control.close()

    def run(self) -> None:
        """Run the job to its end, from where an earlier server or call left off.

        Raises:
            OSError, sqlite3.OperationalError: the disk is full, so that not even the failure can be recorded.
        """
        recovering, self._recovering = self._recovering, True
        doc = self._record.doc
        if TrainingStatus(doc["TrainingJobStatus"]).is_terminal:
            return
        context = self._context
        definitions = doc["AlgorithmSpecification"].get("MetricDefinitions") or ()
        with MetricScanner(definitions, context.settings.regex_limit, context.scan_processes) as scanner:
            try:
                self._hosts = hosts_of(doc)
                files = [(host.name, context.files_of(self._name, host)) for host in self._hosts]
                publisher = Publisher(self._record, files, scanner, context.aws)
                if not recovering:
                    shutil.rmtree(self._folder, ignore_errors=True)
                if not (recovering and self._finish_earlier(doc, publisher)):
                    self._control.begin(doc)  # a job that is run again after the death of a server has its whole time
                    self._attempts((doc.get("RetryStrategy") or {}).get("MaximumRetryAttempts", 0), publisher)
            except InterruptedTrainingError:
                if not self._control.closing or self._record.stop_reason:
                    self._record.end({})
            except TrainingFailedError as e:
                self._fail(str(e))
            except Exception as e:  # any error must end the job, or its tuning job would wait forever
                if is_full(e):
                    raise
                _log.exception("training job %s", self._name)
                self._fail(f"InternalServerError: {type(e).__name__}: {e}")
        tidy(context, self._record.doc)

    def _fail(self, reason: str) -> None:
        # In a job that was stopped, a failure is a consequence of the stop.
        if self._record.stop_reason:
            self._record.end({})
        else:
            self._record.fail(reason)

    def _finish_earlier(self, doc: Mapping[str, Any], publisher: Publisher) -> bool:
        """Clean up after an earlier server; return True if the processes had ended and the job is finished."""
        context, name = self._context, self._name
        places = [context.files_of(name, host) for host in self._hosts]
        # Two supervisors must not work in one folder, and a leftover script would go on writing checkpoints.
        for files in places:
            wait_until_free(files, _SUPERVISOR_END_SECONDS)
            kill_leftovers(files)
        # Logs and metrics are read again from the files, since the earlier server may have published a part of them.
        context.aws.forget_telemetry(name)
        for host, files in zip(self._hosts, places, strict=True):
            context.put_points(name, host, list(recorded(files)))
        exits = [files.read_exit("train") for files in places]
        ended = [ended for ended in exits if ended is not None]
        interrupted = doc["SecondaryStatus"] == SecondaryStatus.INTERRUPTED
        if len(ended) == len(exits) and not interrupted:
            publisher.publish()
            for host, files, end in zip(self._hosts, places, ended, strict=True):
                folder = context.folder_of(name, host)
                Checkpoints(doc, folder, context.aws).sync()
                if not files.utilization.exists():
                    meter = Meter(files, folder.root, end.started, host.instance_type)
                    context.put_points(name, host, meter.close(end))
            self._finish(ended, publisher)
            return True
        if self._record.stop_reason:
            publisher.publish()
            raise InterruptedTrainingError
        return False

    def _attempts(self, retries: int, publisher: Publisher) -> None:
        """Train, again after each interruption, and after failures of this server if RetryStrategy allows it."""
        while True:
            attempt = Attempt(self._context, self._record, self._control, publisher)
            try:
                ended = attempt.run()
            except TrainingFailedError as e:
                if not (retries and e.is_internal):
                    raise
                retries -= 1
                _log.warning("training job %s is tried again: %s", self._name, e)
                continue
            if not attempt.interrupted:
                self._finish(ended, publisher)
                return
            self._control.pause(self._context.settings.spot_wait)

    def _finish(self, ended: Sequence[Exit], publisher: Publisher) -> None:
        """Upload the outputs and end the job, or fail it."""
        stopped = self._record.stop_reason is not None
        if not stopped:
            check_exits(self._record.doc, self._folder, ended)
        self._record.move(SecondaryStatus.UPLOADING)
        folders = [self._context.folder_of(self._name, host) for host in self._hosts]
        artifacts = {}
        try:
            uri, left_out = upload_outputs(self._record.doc, folders, self._context.aws)
            artifacts = {"ModelArtifacts": {"S3ModelArtifacts": uri}}
            if left_out:
                names = ", ".join(str(path.relative_to(self._folder)) for path in left_out[:5])
                more = f" and {len(left_out) - 5} more" if len(left_out) > 5 else ""
                text = f"these were not uploaded, because an earlier host has files of the same names: {names}{more}"
                publisher.note(self._record.clock(), text)
        except TrainingFailedError as e:
            if not stopped:
                raise
            _log.warning("training job %s was stopped, and %s", self._name, e)
        self._record.end(artifacts)


def tidy(context: RunnerContext, doc: Mapping[str, Any]) -> None:
    """Delete what an ended job no longer needs: all, or all but the work folders without data if it failed.

    CloudWatch Logs has the log lines.
    """
    status = TrainingStatus(doc["TrainingJobStatus"])
    if context.settings.keep_folders or not status.is_terminal:
        return
    job = context.jobs_dir / doc["TrainingJobName"]
    if status is not TrainingStatus.FAILED:
        shutil.rmtree(job, ignore_errors=True)
        return
    try:
        hosts = hosts_of(doc)
    except TrainingFailedError:  # the reason of its failure
        hosts = ()
    for host in hosts:
        folder = context.folder_of(doc["TrainingJobName"], host)
        context.files_of(doc["TrainingJobName"], host).log.unlink(missing_ok=True)
        for path in (folder.environment, folder.data):
            shutil.rmtree(path, ignore_errors=True)
