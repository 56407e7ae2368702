"""One trial on the SageMaker of this machine: run it to its end, and judge what it shows."""

from __future__ import annotations

import functools
import io
import math
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sm_tuning._errors import ServiceError, WaitTimeoutError
from sm_tuning._images import is_builtin_image
from sm_tuning._statuses import TrainingStatus
from sm_tuning._wire import PARENT_VARIABLE, TRAINING_JOBS
from sm_tuning.aws import Aws, is_missing, split_uri, upload
from sm_tuning.description import Job, Training, job_of, training_of, trial_of
from sm_tuning.preflight._advice import LENGTH_NAMES, lengths
from sm_tuning.preflight._finding import Finding, place
from sm_tuning.request import stage, to_request
from sm_tuning.spec import TrainingDefinition, Tuning

_POLL = 0.25

#: Seconds that a trial has to end after it was asked to stop.
_GRACE = 150.0

#: Members of a training job's description that a request for one has too [botocore model].
_COPIED = (
    "AlgorithmSpecification",
    "CheckpointConfig",
    "EnableInterContainerTrafficEncryption",
    "EnableNetworkIsolation",
    "Environment",
    "HyperParameters",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "RoleArn",
    "StoppingCondition",
)
_ALGORITHM = ("AlgorithmName", "MetricDefinitions", "TrainingImage", "TrainingInputMode")

#: Lines of the log that a finding shows.
_TAIL = 20

#: Bytes of a model above which it is not opened: that it exists is enough.
_BIG = 64 * 1024 * 1024


# Running ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A trial that has ended.

    Attributes:
        status: of the training job; ``TimedOut`` if it had to be stopped.
        reason: why it failed; empty without a reason.
        lines: what the script printed, as the service's log has it.
        checkpoints: URIs of the objects at the checkpoint location.
        objective: the final objective value, if the tuning job has one.
        training: the training job; None if none was started.
        description: the same as the API has it.
    """

    status: str
    reason: str
    lines: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    objective: float | None = None
    training: Training | None = None
    description: Mapping[str, Any] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the script ran to its end."""
        return self.status == TrainingStatus.COMPLETED

    @property
    def tail(self) -> str:
        """The end of the log, for a message."""
        lines = "\n".join(f"    {line}" for line in self.lines[-_TAIL:])
        return f"the end of its log:\n{lines}" if lines else "it printed nothing"


class Runner:
    """Runs trials on one connection.

    Args:
        aws: a connection to the SageMaker on this machine.
        root: ``s3://`` prefix of the trials' objects.
        role: ARN of the trials' role.
        timeout: seconds after which a trial is stopped.
    """

    def __init__(self, aws: Aws, root: str, role: str, timeout: float) -> None:
        self._aws = aws
        self.root = root
        self._role = role
        self._timeout = timeout

    def run(self, tuning: Tuning, name: str) -> Run:
        """Launch a tuning job of one trial, wait until it ends, and read the trial.

        Raises:
            SpecError: if the tuning cannot be launched.
            ServiceError: if the service refuses, or cannot be reached.
        """
        aws, root = self._aws, self.root
        staged = stage(tuning.replace(study=None), code_prefix=f"{root}/code", data_prefix=f"{root}/data")
        output = f"{root}/output"
        request = to_request(staged.tuning, name=name, region=aws.region, role=self._role, output_path=output)
        upload(aws, staged.uploads)
        aws.call("sagemaker", "create_hyper_parameter_tuning_job", **request)
        job = {"HyperParameterTuningJobName": name}

        def describe() -> Job:
            return job_of(aws.call("sagemaker", "describe_hyper_parameter_tuning_job", **job))

        stop = functools.partial(aws.call, "sagemaker", "stop_hyper_parameter_tuning_job", **job)
        timed_out = self._wait(name, lambda: describe().ended, stop)
        listed = aws.call("sagemaker", "list_training_jobs_for_hyper_parameter_tuning_job", **job)
        trials = [trial_of(summary) for summary in listed["TrainingJobSummaries"]]
        if not trials:
            return Run(TrainingStatus.FAILED, describe().failure or "no training job was started")
        return self._read(trials[0].name, timed_out, trials[0].value)

    def run_again(self, first: Run, changes: Mapping[str, int | str], checkpoints: str | None = None) -> Run:
        """Train once more from the same checkpoints, and read that.

        It is a plain training job, since a tuning job would choose other hyperparameters.

        Args:
            first: the trial before.
            changes: hyperparameters that differ, such as the number of epochs.
            checkpoints: ``s3://`` folder of a copy of the checkpoints, as a study makes one for a trial that continues
                another; the location of the first trial by default.

        Raises:
            ServiceError: if the service refuses, or cannot be reached.
        """
        aws, old = self._aws, first.description or {}
        name = f"{old['TrainingJobName']}-{'again' if checkpoints is None else 'changed'}"
        request = {member: old[member] for member in _COPIED if member in old}
        algorithm = request["AlgorithmSpecification"]
        request["AlgorithmSpecification"] = {key: algorithm[key] for key in _ALGORITHM if key in algorithm}
        if is_builtin_image(algorithm.get("TrainingImage", "")):
            del request["AlgorithmSpecification"]["MetricDefinitions"]  # the image's own, which a request must not have
        request["OutputDataConfig"] = {key: value for key, value in request["OutputDataConfig"].items() if value}
        request["HyperParameters"] = request["HyperParameters"] | {key: str(value) for key, value in changes.items()}
        if checkpoints is not None:
            request["CheckpointConfig"] = {**request["CheckpointConfig"], "S3Uri": checkpoints}
            request["Environment"] = {**request.get("Environment", {}), PARENT_VARIABLE: old["TrainingJobName"]}
        aws.call("sagemaker", "create_training_job", TrainingJobName=name, **request)

        def has_ended() -> bool:
            training = training_of(aws.call("sagemaker", "describe_training_job", TrainingJobName=name))
            status = TrainingStatus.of(training.status)
            return status.is_terminal or (not status.is_known and training.ended is not None)

        stop = functools.partial(aws.call, "sagemaker", "stop_training_job", TrainingJobName=name)
        timed_out = self._wait(name, has_ended, stop)
        return self._read(name, timed_out)

    def copy_checkpoints(self, run: Run) -> str:
        """Copy what a trial has saved, and return the folder of the copy."""
        old = (run.description or {})["CheckpointConfig"]["S3Uri"].rstrip("/")
        for uri in run.checkpoints:
            (source, key), (bucket, copy) = split_uri(uri), split_uri(f"{self.root}/copy{uri.removeprefix(old)}")
            self._aws.call("s3", "copy_object", CopySource={"Bucket": source, "Key": key}, Bucket=bucket, Key=copy)
        return f"{self.root}/copy"

    def _wait(self, name: str, has_ended: Callable[[], bool], stop: Callable[[], object]) -> bool:
        """Wait until a job has ended, and return whether it had to be stopped."""
        try:
            self._aws.poll(name, has_ended, bool, interval=_POLL, timeout=self._timeout)
        except WaitTimeoutError:
            stop()
        except KeyboardInterrupt:
            stop()  # the job must not outlive the program that started it
            raise
        else:
            return False
        try:
            self._aws.poll(name, has_ended, bool, interval=_POLL, timeout=_GRACE)
        except WaitTimeoutError as error:
            raise ServiceError(f"the smoke test's job {name!r} does not end although it was stopped") from error
        return True

    def _read(self, name: str, timed_out: bool, objective: float | None = None) -> Run:
        description = self._aws.call("sagemaker", "describe_training_job", TrainingJobName=name)
        training = training_of(description)
        return Run(
            status="TimedOut" if timed_out else training.status,
            reason=training.failure,
            lines=self._lines(name),
            checkpoints=_objects(self._aws, f"{self.root}/checkpoints"),
            objective=objective,
            training=training,
            description=description,
        )

    def _lines(self, trial: str) -> tuple[str, ...]:
        """Return the log of all hosts, one host after the other."""
        pages = self._aws.pages(
            "logs",
            "describe_log_streams",
            token="nextToken",  # noqa: S106  (the member's name)
            logGroupName=TRAINING_JOBS,
            logStreamNamePrefix=f"{trial}/",
        )
        try:
            streams = [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
        except ServiceError as error:
            if not is_missing(error):
                raise
            return ()
        found: list[str] = []
        for stream in streams:
            events = self._aws.pages(
                "logs",
                "get_log_events",
                token=("nextToken", "nextForwardToken"),
                repeat_ends=True,
                logGroupName=TRAINING_JOBS,
                logStreamName=stream,
                startFromHead=True,
            )
            found += [event["message"] for page in events for event in page["events"]]
        return tuple(found)


def _objects(aws: Aws, prefix: str) -> tuple[str, ...]:
    """Return the URIs of all objects below a prefix."""
    bucket, key = split_uri(prefix)
    token = ("ContinuationToken", "NextContinuationToken")
    pages = aws.pages("s3", "list_objects_v2", token=token, Bucket=bucket, Prefix=f"{key}/")
    return tuple(f"s3://{bucket}/{item['Key']}" for page in pages for item in page.get("Contents", ()))


# Judging ------------------------------------------------------------------------------------------------------------


class Judge:
    """Judges the trials of one algorithm: findings, and sentences about what works.

    Args:
        aws: the connection on which the trials ran.
        key: the algorithm's name, if there are several.
        definition: its definition in the spec.
        epochs: how many a trial was to train.
        resource: the hyperparameter by which a study says how long a trial trains; None in a tuning job.
    """

    def __init__(
        self, aws: Aws, key: str | None, definition: TrainingDefinition, epochs: int, resource: str | None = None
    ) -> None:
        self._aws = aws
        self._key = key
        self._definition = definition
        self._epochs = epochs
        self._length = training_length(definition, resource)

    def first(self, run: Run) -> Iterator[Finding | str]:
        """Judge a trial."""
        if not run.is_complete:
            yield self._failure(run)
            yield from self._metrics(run)
            return
        subject = "script" if self._definition.estimator.is_script_mode else "algorithm"
        yield f"the {subject} ran to its end (channels: {', '.join(self._definition.inputs or {}) or 'none'})"
        yield from self._metrics(run)
        count, estimator = self._emissions(run), self._definition.estimator
        if estimator.predefines_metrics and not estimator.is_script_mode:
            pass  # the algorithm emits its metrics by itself
        elif self._length and self._epochs > 1 and count == 1:
            # Early stopping and Hyperband need a value after every epoch [automatic-model-tuning-early-stop].
            message = f"the objective was emitted once in {self._epochs} epochs, so that nothing can be stopped early"
            fix = "print it after every epoch, unbuffered (flush=True)"
            yield Finding("objective-once", "advice", place(self._key, "objective_metric_name"), message, fix)
        elif count > 1:
            yield f"{self._definition.objective_metric_name} was emitted {count} times"
        yield from self._model(run)

    def resumed(self, first: Run, second: Run) -> Iterator[Finding | str]:
        """Judge whether the second run continued from a checkpoint of the first one."""
        where = place(self._key, "estimator.checkpoint_s3_uri")
        before, after, files = self._emissions(first), self._emissions(second), len(first.checkpoints)
        if not second.is_complete:
            yield self._failure(second)._replace(code="smoke-resume", where=where)
        elif not self._length:
            message = "whether the second run resumed: no hyperparameter says how long it trains"
            yield Finding("smoke-resume", "not-checked", where, message, "look at the log of an interrupted job")
        elif after > before:
            message = (
                f"the second run found {files} checkpoint files, but began anew: it emitted the objective {after} "
                f"times, and the first one, of one epoch less, {before} times"
            )
            yield Finding("smoke-resume", "error", where, message, "load the newest checkpoint before training")
        else:
            yield f"the second run resumed from {files} checkpoint files, and emitted {after} of the rest"

    def changed(self, second: Run, third: Run) -> Iterator[Finding | str]:
        """Judge whether the third run continued the first one as the second did, but with changed hyperparameters."""
        where = place(self._key, "estimator.checkpoint_s3_uri")
        values, other = self._values(second), self._values(third)
        if not third.is_complete:
            failure = self._failure(third)
            message = f"with changed hyperparameters the script does not continue its checkpoint: {failure.message}"
            fix = (
                "load the checkpoint whatever the hyperparameters, or take out the ranges that change the model's size"
            )
            yield Finding("smoke-resume-changed", "error", where, message, fix)
        elif len(other) > len(values):
            message = (
                f"with changed hyperparameters the script began anew: it emitted the objective {len(other)} times, and "
                f"{len(values)} times with those of the checkpoint"
            )
            fix = f"load the checkpoint whatever the hyperparameters; {PARENT_VARIABLE} is set where there is one"
            yield Finding("smoke-resume-changed", "error", where, message, fix)
        elif values == other:
            message = (
                f"the changed hyperparameters are ignored: the objective is {other[-1:] or 'missing'} as without them"
            )
            fix = "set them after the checkpoint is loaded: an optimizer's state holds the old learning rate"
            yield Finding("smoke-resume-changed", "error", where, message, fix)
        else:
            yield f"the script continued its checkpoint with changed hyperparameters: {other} in place of {values}"

    def no_checkpoint(self) -> Finding:
        """Return the finding about a script that saved no checkpoint."""
        folder = self._definition.estimator.checkpoint_local_path or "/opt/ml/checkpoints"
        message = "checkpoints are configured, but the script has saved none"
        fix = f"save them below {folder}; a script that may run without a container finds that beside SM_MODEL_DIR"
        where = place(self._key, "estimator.checkpoint_s3_uri")
        return Finding("smoke-no-checkpoint", "error", where, message, fix)

    def _failure(self, run: Run) -> Finding:
        timed_out = run.status == "TimedOut"
        why = "had not ended in time and was stopped" if timed_out else f"ended as {run.status}"
        reason = f": {run.reason}" if run.reason else ""
        message = f"the trial {why}{reason}; {run.tail}"
        code = "smoke-timeout" if timed_out else "smoke-failed"
        fix = "correct the script, or the hyperparameters"
        return Finding(code, "error", place(self._key, "estimator"), message, fix)

    def _metrics(self, run: Run) -> Iterator[Finding | str]:
        objective = self._definition.objective_metric_name
        if self._definition.estimator.predefines_metrics:
            if run.objective is not None:
                yield f"{objective} = {run.objective:.6g}, by the algorithm's own definition"
            elif run.is_complete:
                message = f"the algorithm did not emit {objective!r}"
                fix = "choose a metric that it computes, and give the channel that it needs"
                if self._definition.estimator.is_script_mode:
                    message = f"no line that the script printed is one of the image's for {objective!r}; {run.tail}"
                    fix = "print the image's form, for XGBoost '[0]\\ttrain-auc:0.81\\tvalidation-auc:0.79' a round"
                yield Finding("smoke-objective", "error", place(self._key, "objective_metric_name"), message, fix)
            return
        for metric in self._definition.estimator.metric_definitions:
            pattern = re.compile(metric.regex)
            found = next(((match, line) for line in run.lines if (match := pattern.search(line))), None)
            where = place(self._key, f"estimator.metric_definitions.{metric.name}")
            if found is not None:
                yield self._matched(where, metric.name, *found)
            elif run.is_complete:
                message = f"no line that the script printed matches {metric.regex!r}; {run.tail}"
                fix = f"print a line that it matches, or correct it; {metric.name} would be empty"
                if metric.name == objective:
                    yield Finding("smoke-objective", "error", where, message, fix)
                else:
                    yield Finding("smoke-metric", "advice", where, message, fix)

    def _emissions(self, run: Run) -> int:
        """Return how many lines hold a value of the objective."""
        return len(self._values(run))

    def _values(self, run: Run) -> list[str]:
        """Return the values of the objective, as they were printed."""
        # A description has the definitions of an image too.
        metrics = (run.description or {}).get("AlgorithmSpecification", {}).get("MetricDefinitions", ())
        objective = self._definition.objective_metric_name
        regexes = [metric["Regex"] for metric in metrics if metric["Name"] == objective]
        found = [next(filter(None, (re.search(regex, line) for regex in regexes)), None) for line in run.lines]
        return [match.group(match.lastindex or 0) for match in found if match is not None]

    def _model(self, run: Run) -> Iterator[Finding | str]:
        uri = run.training.model_uri if run.training is not None else None
        names = self._members(uri) if uri else []
        if names is None:
            yield f"a model landed at {uri}"
        elif not names:
            fix = "save the model below the folder that SM_MODEL_DIR names (/opt/ml/model)"
            where = place(self._key, "estimator")
            yield Finding("smoke-no-model", "error", where, "the script saved no model", fix)
        else:
            yield f"a model landed, with {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"

    @staticmethod
    def _matched(where: str, name: str, match: re.Match[str], line: str) -> Finding | str:
        value = match.group(1)
        try:
            float(value or "")
        except ValueError:
            message = f"the expression takes {value!r} for a value, in the line {line!r}"
            return Finding("smoke-metric-value", "error", where, message, "put the group around the number alone")
        return f"{name} = {value} matched in the line: {line}"

    def _members(self, uri: str) -> list[str] | None:
        """Return the files of a model; None if it is too big to be opened."""
        bucket, name = split_uri(uri)
        try:
            size = self._aws.call("s3", "head_object", Bucket=bucket, Key=name)["ContentLength"]
        except ServiceError as error:
            if not is_missing(error):
                raise
            # Without compression the model is a folder.
            return [uri.rpartition("/")[2] for uri in _objects(self._aws, uri.rstrip("/"))]
        if size > _BIG:
            return None
        body = self._aws.call("s3", "get_object", Bucket=bucket, Key=name)["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(body), mode="r:*") as archive:
            return [member.name.removeprefix("./") for member in archive if member.isfile()]


def training_length(definition: TrainingDefinition, resource: str | None = None) -> dict[str, float]:
    """Return the hyperparameters that say how long a training lasts, with their values; infinity for a tuned one.

    In a study that continues trials, ``resource`` is the only one.
    """
    if resource is not None:
        return {resource: math.inf}
    tuned = [name for name in LENGTH_NAMES if name in definition.hyperparameter_ranges]
    return {**lengths(definition.estimator.hyperparameters), **dict.fromkeys(tuned, math.inf)}
