"""One training job from start to end: its attempts, and what comes after them."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sm_tuning._statuses import SecondaryStatus, TrainingStatus
from sm_tuning.executor._errors import InterruptedTrainingError, TrainingFailedError
from sm_tuning.executor._hosts import Cluster, Host, free_port, hosts_of
from sm_tuning.executor._inputs import Checkpoints
from sm_tuning.executor._metrics import MetricScanner
from sm_tuning.executor._outputs import upload_outputs
from sm_tuning.executor._process import Exit, kill_leftovers, wait_until_free
from sm_tuning.executor._script import is_script_mode, script_of
from sm_tuning.executor._utilization import Meter, recorded
from sm_tuning.local._workers import is_full
from sm_tuning.local.runner._attempt import Attempt, files_of, folder_of, host_failure, put_points
from sm_tuning.local.runner._context import RunnerContext
from sm_tuning.local.runner._control import Control
from sm_tuning.local.runner._publish import Publisher
from sm_tuning.local.runner._record import JobRecord

_log = logging.getLogger(__name__)

_SUPERVISOR_END_SECONDS = 15.0


class TrainingRun:
    """Runs one training job. ``run`` is for a thread of its own, the other methods for any thread.

    Args:
        context: the services that all runs use.
        name: the training job.
        recovering: whether an earlier server had the job. If its processes have ended by themselves, only the steps
            that follow are done; otherwise the job is run again from the start.
    """

    def __init__(self, context: RunnerContext, name: str, *, recovering: bool) -> None:
        self._context = context
        self._record = JobRecord(context.store, name, context.clock, context.on_event)
        self._name = str(self._record.doc["TrainingJobName"])  # the case in which it was created
        self._folder = context.jobs_dir / self._name
        self._recovering = recovering
        self._control = Control(self._record, context.clock)
        self._hosts: tuple[Host, ...] = ()

    def stop(self) -> None:
        """End the job as Stopped; it is ended when ``run`` returns."""
        self._control.stop()

    def close(self) -> None:
        """Let go of the job as it is: its processes are killed, its document stays InProgress."""
        self._control.close()

    def run(self) -> None:
        """Run the job to its end, from where an earlier server, or an earlier call, left off.

        Raises:
            OSError, sqlite3.OperationalError: the disk is full, so that not even that can be written down.
        """
        recovering, self._recovering = self._recovering, True
        doc = self._record.doc
        if TrainingStatus(doc["TrainingJobStatus"]).is_terminal:
            return
        definitions = doc["AlgorithmSpecification"].get("MetricDefinitions") or ()
        context = self._context
        with MetricScanner(definitions, context.settings.regex_limit, context.scan_processes) as scanner:
            try:
                self._hosts = hosts_of(doc)
                hosts = [(host.name, files_of(self._folder, host)) for host in self._hosts]
                self._publisher = Publisher(self._record, hosts, scanner, context.aws)
                self._run(doc, recovering=recovering)
            except InterruptedTrainingError:
                if not self._control.closing or self._record.stop_reason:
                    self._record.end({})
            except TrainingFailedError as e:
                self._fail(str(e))
            except Exception as e:  # whatever it was, the job ends and says so
                if is_full(e):
                    raise
                _log.exception("training job %s", self._name)
                self._fail(f"InternalServerError: {type(e).__name__}: {e}")
        self._tidy()

    def _fail(self, reason: str) -> None:
        """End as Failed, unless the job was told to stop: then what went wrong is a consequence of that."""
        if self._record.stop_reason:
            self._record.end({})
        else:
            self._record.fail(reason)

    def _run(self, doc: Mapping[str, Any], *, recovering: bool) -> None:
        if recovering:
            if self._finish_what_ended(doc):
                return
        else:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._control.begin(doc)  # a job that is run again after the death of the server has its whole time again
        self._attempts((doc.get("RetryStrategy") or {}).get("MaximumRetryAttempts", 0))

    def _finish_what_ended(self, doc: Mapping[str, Any]) -> bool:
        """Clear up after the server before; True when the job's processes had ended and it is finished."""
        places = [files_of(self._folder, host) for host in self._hosts]
        for files in places:
            wait_until_free(files, _SUPERVISOR_END_SECONDS)
            kill_leftovers(files)
        self._context.aws.forget_telemetry(self._name)
        for host, files in zip(self._hosts, places, strict=True):
            put_points(self._context, doc, host, list(recorded(files)))
        exits = [files.read_exit("train") for files in places]
        ended = [one for one in exits if one is not None]
        interrupted = doc["SecondaryStatus"] == SecondaryStatus.INTERRUPTED
        if len(ended) == len(exits) and not interrupted:
            self._publisher.publish()
            for host, files, how in zip(self._hosts, places, ended, strict=True):
                folder = folder_of(self._folder, host)
                Checkpoints(doc, folder, self._context.aws).sync()
                if not files.utilization.exists():
                    put_points(
                        self._context, doc, host, Meter(files, folder.root, how.started, host.instance_type).close(how)
                    )
            self._finish(ended)
            return True
        if self._record.stop_reason:
            self._publisher.publish()
            raise InterruptedTrainingError
        return False

    def _attempts(self, retries: int) -> None:
        """Train; again after an interruption, and when this server was at fault and RetryStrategy says so."""
        while True:
            attempt = Attempt(self._context, self._record, self._control, self._publisher, self._cluster())
            try:
                ended = attempt.run()
            except TrainingFailedError as e:
                if not (retries and e.is_internal):
                    raise
                retries -= 1
                _log.warning("training job %s is tried again: %s", self._name, e)
                continue
            if not attempt.interrupted:
                self._finish(ended)
                return
            self._control.pause(self._context.settings.spot_wait)

    def _cluster(self) -> Cluster:
        if len(self._hosts) == 1:
            return Cluster(self._hosts)
        resolve = self._context.namespaces.problem({"hosts": "/etc/hosts"}) is None
        return Cluster(self._hosts, free_port(), names_resolve=resolve)

    def _finish(self, ended: Sequence[Exit]) -> None:
        """Upload and end the job, or say why it failed."""
        stopped = self._record.stop_reason is not None
        if not stopped:
            self._check_exits(ended)
        self._record.move(SecondaryStatus.UPLOADING)
        folders = [folder_of(self._folder, host) for host in self._hosts]
        artifacts = {}
        try:
            uri, left_out = upload_outputs(self._record.doc, folders, self._context.aws)
            artifacts = {"ModelArtifacts": {"S3ModelArtifacts": uri}}
            if left_out:
                names = ", ".join(str(path.relative_to(self._folder)) for path in left_out[:5])
                more = f" and {len(left_out) - 5} more" if len(left_out) > 5 else ""
                text = f"these were not uploaded, because an earlier host has files of the same names: {names}{more}"
                self._publisher.note(self._context.clock(), text)
        except TrainingFailedError as e:
            if not stopped:
                raise
            _log.warning("training job %s was stopped, and %s", self._name, e)
        self._record.end(artifacts)

    def _check_exits(self, ended: Sequence[Exit]) -> None:
        """Raise for the host that failed first; the others were stopped for its sake, or fell over it."""
        failed = [(one.stopped, one.ended, rank) for rank, one in enumerate(ended) if one.code != 0]
        if not failed:
            return
        rank = min(failed)[2]
        job = self._record.doc
        script = script_of(job) if is_script_mode(job) else None
        argv = ["train"] if script is None else [sys.executable, script.program, *script.arguments]
        folder, files = folder_of(self._folder, self._hosts[rank]), files_of(self._folder, self._hosts[rank])
        raise host_failure(folder, files, "ExecuteUserScriptError" if script else "", ended[rank], argv)

    def _tidy(self) -> None:
        """Free the disk of what nobody needs any more; the logs stay."""
        status = TrainingStatus(self._record.doc["TrainingJobStatus"])
        if self._context.settings.keep_folders or not status.is_terminal:
            return
        for host in self._hosts:
            folder = folder_of(self._folder, host)
            shutil.rmtree(folder.environment, ignore_errors=True)
            shutil.rmtree(folder.data if status is TrainingStatus.FAILED else folder.root, ignore_errors=True)
