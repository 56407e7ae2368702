"""One training job from start to end: download, train, upload."""

from __future__ import annotations

import logging
import shutil
import sys
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sm_tuning.local._types import Identity, SecondaryStatus, TrainingStatus
from sm_tuning.local.runner._command import algorithm_command, install_command, job_environment, script_command
from sm_tuning.local.runner._errors import (
    InterruptedTrainingError,
    TrainingFailedError,
    algorithm_error,
)
from sm_tuning.local.runner._folder import HOST, Folder, check_one_host
from sm_tuning.local.runner._inputs import Checkpoints, ObjectStore, download_channels
from sm_tuning.local.runner._logs import LogFollower, events, last_error, stream_name
from sm_tuning.local.runner._metrics import MetricScanner
from sm_tuning.local.runner._outputs import upload_outputs
from sm_tuning.local.runner._process import (
    Command,
    Container,
    Exit,
    Files,
    kill_leftovers,
    wait_until_free,
)
from sm_tuning.local.runner._record import JobRecord
from sm_tuning.local.runner._requirements import Environments, wanted
from sm_tuning.local.runner._script import Script, failure_text, fetch_code, is_script_mode, script_of
from sm_tuning.local.store import Store

_log = logging.getLogger(__name__)

_LONGEST_WAIT_SECONDS = 5.0
_SUPERVISOR_END_SECONDS = 15.0


class Cloud(ObjectStore, Protocol):
    """The AWS services that a training job speaks to."""

    def put_log_events(self, stream: str, events: Sequence[tuple[int, str]]) -> None:
        """Lines to CloudWatch Logs: (epoch ms, message)."""

    def put_metric_data(self, dimensions: Mapping[str, str], data: Sequence[tuple[str, float, float]]) -> None:
        """Values to CloudWatch: (MetricName, epoch s, value)."""

    def forget_telemetry(self, training_job: str) -> None:
        """Remove a job's lines and values, which are published again from the beginning."""


@dataclass(frozen=True)
class RunnerSettings:
    """How training jobs are run.

    Attributes:
        grace: seconds between SIGTERM and SIGKILL (the service gives 120).
        regex_limit: seconds that one metric regex may take over one batch of lines.
        checkpoint_period: seconds between two uploads of the checkpoint folder.
        keep_folders: whether the work folder stays when a job has ended; otherwise only a failed job's does,
            without its input data.
    """

    grace: float = 120.0
    regex_limit: float = 10.0
    checkpoint_period: float = 10.0
    keep_folders: bool = False


@dataclass(frozen=True)
class Workshop:
    """What every run works with."""

    store: Store
    aws: Cloud
    identity: Identity
    jobs_dir: Path
    clock: Callable[[], float]
    on_event: Callable[[str], None]
    child_env: Mapping[str, str]
    settings: RunnerSettings
    environments: Environments


class TrainingRun:
    """Runs one training job; ``run`` is for a thread of its own, the rest for any thread."""

    def __init__(self, shop: Workshop, name: str) -> None:
        self._shop = shop
        self._record = JobRecord(shop.store, name, shop.clock, shop.on_event)
        self._name = str(self._record.doc["TrainingJobName"])  # the case in which it was created
        self._files = Files(shop.jobs_dir / self._name)
        self._folder = Folder(self._files.folder / HOST)
        self._follower = LogFollower(self._files.log)
        self._guard = threading.Lock()
        self._container: Container | None = None
        self._stopping = threading.Event()
        self._closing = threading.Event()
        self._deadline = float("inf")

    def stop(self, reason: SecondaryStatus = SecondaryStatus.STOPPED) -> None:
        """End the job as Stopped; it is ended when ``run`` returns."""
        self._record.request_stop(reason)
        with self._guard:
            self._stopping.set()
            if self._container is not None:
                self._container.stop()

    def close(self) -> None:
        """Let go of the job as it is: its process is killed, its document stays InProgress."""
        with self._guard:
            self._closing.set()
            if self._container is not None:
                self._container.abandon()

    def run(self, *, recovering: bool) -> None:
        """Run the job to its end.

        Args:
            recovering: an earlier server had it. Its process may have ended by itself: then only what comes
                after is done. Otherwise the job is run again from the start.
        """
        doc = self._record.doc
        if TrainingStatus(doc["TrainingJobStatus"]).is_terminal:
            return
        definitions = doc["AlgorithmSpecification"].get("MetricDefinitions") or ()
        with MetricScanner(definitions, self._shop.settings.regex_limit) as scanner:
            self._scanner = scanner
            try:
                self._run(doc, recovering=recovering)
            except InterruptedTrainingError:
                if not self._closing.is_set() or self._record.stop_reason:
                    self._record.end({})
            except TrainingFailedError as e:
                self._fail(str(e))
            except Exception as e:  # noqa: BLE001 - whatever it was, the job ends and says so
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
            wait_until_free(self._files, _SUPERVISOR_END_SECONDS)
            kill_leftovers(self._files)
            self._shop.aws.forget_telemetry(self._name)
            ended = self._files.read_exit("train")
            if ended is not None:
                self._publish()
                self._checkpoints = Checkpoints(doc, self._folder, self._shop.aws)
                self._checkpoints.sync()
                self._finish(ended, self._script())
                return
            if self._record.stop_reason:
                self._publish()
                raise InterruptedTrainingError
        else:
            shutil.rmtree(self._files.folder, ignore_errors=True)
        # a job that is run again after the death of the server has its whole time again
        self._deadline = self._shop.clock() + doc["StoppingCondition"].get("MaxRuntimeInSeconds", 86400)
        self._attempts((doc.get("RetryStrategy") or {}).get("MaximumRetryAttempts", 0))

    def _attempts(self, retries: int) -> None:
        """Train; again when this server, not the job, was at fault and RetryStrategy says so."""
        for left in range(retries, -1, -1):
            try:
                self._train()
            except TrainingFailedError as e:
                if not (left and e.is_internal):
                    raise
                _log.warning("training job %s is tried again: %s", self._name, e)
            else:
                return

    def _train(self) -> None:
        for step in ("install", "train"):
            self._files.exit(step).unlink(missing_ok=True)
        self._folder.make()
        self._record.move(SecondaryStatus.STARTING)
        self._check()
        self._record.move(SecondaryStatus.DOWNLOADING)
        job = self._record.doc
        check_one_host(job)
        self._folder.write_config(job)
        download_channels(job, self._folder, self._shop.aws, self._check)
        self._checkpoints = Checkpoints(job, self._folder, self._shop.aws)
        self._checkpoints.restore(self._check)
        script = self._script()
        if script is not None:
            fetch_code(script, self._folder, self._shop.aws)
        self._check()
        self._record.move(SecondaryStatus.TRAINING)
        ended = self._supervise(self._command(job, script), "train")
        self._finish(ended, script)

    def _check(self) -> None:
        """Raise when the job is to go no further."""
        if self._shop.clock() >= self._deadline:
            self.stop(SecondaryStatus.MAX_RUNTIME_EXCEEDED)
        if self._stopping.is_set() or self._closing.is_set():
            raise InterruptedTrainingError

    def _script(self) -> Script | None:
        job = self._record.doc
        return script_of(job) if is_script_mode(job) else None

    def _command(self, job: Mapping[str, Any], script: Script | None) -> Command:
        env = job_environment(job, self._folder, self._shop.identity, self._shop.child_env)
        if script is None:
            return algorithm_command(job, self._folder, env)
        return script_command(job, script, self._folder, env, self._interpreter(script, env))

    def _interpreter(self, script: Script, env: Mapping[str, str]) -> str:
        """Return the Python that has the script's requirements, after installing them if need be."""
        requirements = wanted(self._folder.code) if script.program.endswith(".py") else None
        if requirements is None:
            return sys.executable
        with self._shop.environments.claim(requirements, self._check) as environment:
            if not environment.complete:
                environment.make()
                command = install_command(environment.python, requirements, env)
                ended = self._supervise(command, "install")
                self._check()
                if ended.code != 0:
                    raise self._algorithm_error("InstallRequirementsError", ended, command.argv)
                environment.finish()
            return environment.python

    def _supervise(self, command: Command, step: str) -> Exit:
        """Run a command to its end, following its log."""
        grace = self._shop.settings.grace
        container = Container(command, self._files, step=step, grace=grace, token=uuid.uuid4().hex)
        with container:
            self._attach(container)
            self._follow(container)
            with self._guard:
                self._container = None
        kill_leftovers(self._files)
        self._publish()
        self._checkpoints.sync()
        ended = self._files.read_exit(step)
        if ended is not None:
            return ended
        if self._closing.is_set() or self._stopping.is_set():
            raise InterruptedTrainingError
        raise TrainingFailedError("InternalServerError: the supervisor of the training process was killed.")

    def _attach(self, container: Container) -> None:
        """Make the container known to ``stop`` and ``close``, and catch up with what they were told before."""
        with self._guard:
            self._container = container
            if self._closing.is_set():
                container.abandon()
            elif self._stopping.is_set():
                container.stop()

    def _follow(self, container: Container) -> None:
        clock = self._shop.clock
        period = self._shop.settings.checkpoint_period
        sync_at = clock() + period
        while container.wait(max(0.0, min(self._deadline - clock(), sync_at - clock(), _LONGEST_WAIT_SECONDS))):
            self._publish()
            if clock() >= sync_at:
                self._checkpoints.sync()
                sync_at = clock() + period
            if clock() >= self._deadline:
                self._deadline = float("inf")
                self.stop(SecondaryStatus.MAX_RUNTIME_EXCEEDED)

    def _publish(self) -> None:
        """Carry new lines to CloudWatch Logs and their metric values to store and CloudWatch."""
        while lines := self._follower.read():
            emissions = self._scanner.scan(lines)
            notes = [(lines[-1][0], note) for note in self._scanner.problems]
            self._scanner.problems.clear()
            for _, note in notes:
                _log.warning("training job %s: %s", self._name, note)
            stream = stream_name(self._name, self._follower.first_ms or lines[0][0])
            self._shop.aws.put_log_events(stream, list(events([*lines, *notes])))
            if emissions:
                data = [(one.metric, one.timestamp, one.value) for one in emissions]
                self._shop.aws.put_metric_data({"TrainingJobName": self._name}, data)
                self._record.add_emissions(emissions)

    def _finish(self, ended: Exit, script: Script | None) -> None:
        """Upload and end the job, or say why it failed."""
        stopped = self._record.stop_reason is not None
        if ended.code != 0 and not stopped:
            argv = ["train"] if script is None else [sys.executable, script.program, *script.arguments]
            raise self._algorithm_error("ExecuteUserScriptError" if script else "", ended, argv)
        self._record.move(SecondaryStatus.UPLOADING)
        try:
            artifacts = upload_outputs(self._record.doc, self._folder, self._shop.aws)
        except TrainingFailedError as e:
            if not stopped:
                raise
            _log.warning("training job %s was stopped, and %s", self._name, e)
            artifacts = {}
        self._record.end(artifacts)

    def _algorithm_error(self, kind: str, ended: Exit, argv: Sequence[str]) -> TrainingFailedError:
        """Return the failure in the words of the training code, or else in the toolkit's."""
        failure = self._folder.read_failure()
        if failure is None:
            failure = last_error(self._files.log)
            if kind:
                returncode = -ended.signal if ended.signal else ended.code
                failure = failure_text(kind, returncode, failure, argv)
        return algorithm_error(failure, ended.code)

    def _tidy(self) -> None:
        """Free the disk of what nobody needs any more; the log stays."""
        status = TrainingStatus(self._record.doc["TrainingJobStatus"])
        if self._shop.settings.keep_folders or not status.is_terminal:
            return
        failed = status is TrainingStatus.FAILED
        shutil.rmtree(self._folder.data if failed else self._folder.root, ignore_errors=True)
