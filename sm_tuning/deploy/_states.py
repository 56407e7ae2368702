"""The states of a machine that tunes, judges and registers: Amazon States Language as plain data, from a request.

The states are written in JSONata [Developer Guide of Step Functions, transforming-data], because a job's name must be
cut to 32 characters, and because a model's metadata names hyperparameters that are known only when the job has ended.
Each state declares that language itself, so that it can also be put into a machine that is written in JSONPath.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from sm_tuning._errors import SpecError
from sm_tuning._statuses import TuningStatus
from sm_tuning._wire import to_float32

Integration = Literal["auto", "sync", "sdk"]

#: Stands for the job's name in a request until an execution generates it; as long as the generated name.
STAND_IN = "sm-tuning-name-of-this-execution"

#: Number of characters of a job's name that tell executions apart, after the base and a dash.
DIGITS = 12

#: Members that Step Functions' own SageMaker integration is documented to accept [Developer Guide of Step Functions,
#: connect-sagemaker: supported parameters of CreateHyperParameterTuningJob]. The API has more.
_OPTIMISED = {
    "HyperParameterTuningJobConfig",
    "HyperParameterTuningJobName",
    "Tags",
    "TrainingJobDefinition",
    "WarmStartConfig",
}

#: Names of SageMaker's exceptions: the optimised integration uses SDK for Java 1.x, the AWS SDK integration 2.x. The
#: general ones are throttling, and validation errors, for which the service has no name.
_GENERAL = [
    "SageMaker.AmazonSageMakerException",
    "SageMaker.SageMakerException",
    "SageMaker.ThrottlingException",
    "ThrottlingException",
]
_LIMIT = ["SageMaker.ResourceLimitExceededException", "SageMaker.ResourceLimitExceeded"]
_NAME_TAKEN = ["SageMaker.ResourceInUseException", "SageMaker.ResourceInUse"]

#: Errors that are raised before a job exists.
_REFUSED = [*_GENERAL, *_LIMIT, "States.Permissions", "States.QueryEvaluationError"]

#: The longest run of a tuning job [Developer Guide, automatic-model-tuning-limits], and an hour for what surrounds it.
_LONGEST, _MARGIN = 30 * 24 * 3600, 3600

#: Names of the states.
_TUNE, _DESCRIBE, _WAIT, _ENDED, _GATE = "Tune", "Describe", "Wait", "HasEnded", "Gate"
_GATE_FAILED, _BEST, _REGISTER, _DONE = "GateFailed", "DescribeBest", "Register", "Done"
_FAILED = "Failed"  # not a status

#: The output of the state that describes the job: what later states need, and the error if the job ended like this.
#: JSONata leaves out a member whose value is undefined.
_JOB = """(
  $job := $states.result;
  $best := $job.BestTrainingJob;
  $objective := $best.FinalHyperParameterTuningJobObjectiveMetric;
  $config := $job.HyperParameterTuningJobConfig;
  $definition := $job.TrainingJobDefinitions[DefinitionName = $best.TrainingJobDefinitionName];
  {
    "TuningJobName": $job.HyperParameterTuningJobName,
    "TuningJobArn": $job.HyperParameterTuningJobArn,
    "Status": $job.HyperParameterTuningJobStatus,
    "Strategy": $config.Strategy,
    "BestTrainingJobName": $best.TrainingJobName,
    "DefinitionName": $best.TrainingJobDefinitionName,
    "TunedHyperParameters": $best.TunedHyperParameters,
    "ObjectiveName": $objective.MetricName,
    "ObjectiveType": $exists($definition) ? $definition.TuningObjective.Type
      : $config.HyperParameterTuningJobObjective.Type,
    "Objective": $objective.Value,
    "Error": "TuningJobFailed",
    "Cause": "the tuning job " & $job.HyperParameterTuningJobName & " is " & $job.HyperParameterTuningJobStatus
      & ($exists($job.FailureReason) ? ": " & $job.FailureReason : "")
      & ($exists($best) ? "" : "; no trial has an objective")
  }
)"""

#: InferenceSpecification. The model is an archive, or files under a prefix if the job did not compress them; a prefix
#: must end in "/".
_INFERENCE = """(
  $training := $states.input.TrainingJob;
  $uri := $training.ModelArtifacts.S3ModelArtifacts;
  $serving := %(serving)s;
  $how := %(how)s;
  {
    "Containers": [$merge([{"Image": $how.Image}, $training.OutputDataConfig.CompressionType = "NONE" ? {
      "ModelDataSource": {"S3DataSource": {
        "S3Uri": $replace($uri, /\\/*$/, "") & "/", "S3DataType": "S3Prefix", "CompressionType": "None"
      }}
    } : {"ModelDataUrl": $uri}])],
    "SupportedContentTypes": $how.ContentTypes,
    "SupportedResponseMIMETypes": $how.ResponseTypes
  }
)"""

#: CustomerMetadataProperties, with the keys, order and limits of ``lineage``, which a test compares: there it is
#: Python, here JSONata, because the values are known only when the job has ended.
_METADATA = """(
  $job := $states.input;
  $training := $job.TrainingJob;
  $hidden := %(hidden)s;
  $tuned := $job.TunedHyperParameters;
  $clean := function($value, $size) {(
    $plain := $trim($replace($string($value), /[^\\w .:\\/=+\\-@]/, "_"));
    $length($plain) <= $size ? $plain : $substring($plain, 0, $size - 3) & "..."
  )};
  $entry := function($key, $value) { {"key": $clean($key, 128), "value": $clean($value, 256)} };
  $shown := function($name, $value) { $name in $hidden ? "masked" : $replace($value, /^"|"$/, "") };
  $parameter := function($value, $name) { $entry("hyperparameter:" & $name, $shown($name, $value)) };
  $static := $sift($training.HyperParameters, function($value, $name) {
    $not($exists($lookup($tuned, $name))) and $not($contains($name, /^(sagemaker_|_tuning_objective)/))
  });
  $metrics := $training.FinalMetricDataList[MetricName != "ObjectiveMetric"];
  $entries := [
    $entry("sm-tuning:tuning-job", $job.TuningJobArn),
    $entry("sm-tuning:training-job", $training.TrainingJobArn),
    $entry("sm-tuning:objective", $job.ObjectiveName),
    $entry("sm-tuning:objective-type", $job.ObjectiveType),
    $entry("sm-tuning:objective-value", $job.Objective),
    $entry("sm-tuning:strategy", $job.Strategy),
    $exists($job.DefinitionName) ? $entry("sm-tuning:definition", $job.DefinitionName),
    $entry("sm-tuning:algorithm", $training.AlgorithmSpecification.TrainingImage),
    $each($tuned, $parameter),
    $map($metrics, function($metric) { $entry("metric:" & $metric.MetricName, $metric.Value) }),
    $map($training.InputDataConfig, function($channel) {
      $entry("data:" & $channel.ChannelName, $channel.DataSource.S3DataSource.S3Uri)
    }),
    $each($static, $parameter)
  ][value != ""];
  $kept := $count($entries) <= 50 ? $entries : $filter($entries, function($one, $index) { $index < 49 });
  $merge([$kept.{key: value}, $count($entries) <= 50 ? {} : {"sm-tuning:left-out": $string($count($entries) - 49)}])
)"""


def expression(text: str) -> str:
    """Return a JSONata expression as the value of a field, in one line."""
    return "{% " + " ".join(line.strip() for line in text.strip().split("\n")) + " %}"


def literal(text: str) -> str:
    """Return a string as the value of a field; a string that looks like an expression becomes one that returns it."""
    return expression(_quoted(text)) if text.startswith("{%") else text


def job_name(base: str) -> str:
    """Return the expression of a job's name: the base, a dash, and twelve hexadecimal digits.

    The digits are a hash of the execution's ARN, its start (a name is free for another execution after 90 days) and
    the number of its redrives. So each execution has a name of its own, and a retried call repeats the name: if only
    the response of the first call was lost, the retry does not create a second job.
    """
    execution = "$states.context.Execution"
    parts = f"{execution}.Id & '#' & {execution}.StartTime & '#' & {execution}.RedriveCount"
    return f"{_quoted(base + '-')} & $substring($hash({parts}, 'SHA-256'), 0, {DIGITS})"


def arguments(request: Mapping[str, Any], base: str) -> dict[str, Any]:
    """Return a request as Arguments: the execution's job name replaces ``STAND_IN``, everything else is unchanged."""

    def convert(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): convert(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [convert(item) for item in value]
        if not isinstance(value, str):
            return value
        if STAND_IN not in value:
            return literal(value)
        if value == STAND_IN:
            return expression(job_name(base))
        parts = re.split(f"({re.escape(STAND_IN)})", value)
        return expression(" & ".join(f"({job_name(base)})" if p == STAND_IN else _quoted(p) for p in parts if p))

    return {key: convert(item) for key, item in request.items()}


def _quoted(value: Any) -> str:
    """Return plain data as JSONata. JSONata reads JSON's escapes except surrogate pairs (characters beyond U+FFFF)."""
    return json.dumps(value, ensure_ascii=False)


class Gate(NamedTuple):
    """A threshold of the best objective.

    Attributes:
        metric: the objective's name.
        maximize: whether a greater value is better.
        threshold: the worst value that passes.
    """

    metric: str
    maximize: bool
    threshold: float

    @property
    def limit(self) -> float:
        """The threshold as it is compared.

        Metric values are 32-bit floats, and the service may return 0.95 as 0.94999998 or as 0.95. The threshold or
        the 32-bit float next to it, whichever is easier to reach, makes both pass.
        """
        pick = min if self.maximize else max
        # A number beyond 32 bits rounds to an infinity, which JSONata cannot write.
        return pick(self.threshold, to_float32(self.threshold)) if abs(self.threshold) < 3e38 else self.threshold

    @property
    def condition(self) -> str:
        """The JSONata expression that is true if the objective passes."""
        return f"$states.input.Objective {'>=' if self.maximize else '<='} {self.limit!r}"

    @property
    def cause(self) -> str:
        """The JSONata expression of the error's message."""
        words = f", but must be at {'least' if self.maximize else 'most'} {self.threshold:.6g}"
        value = "$string($states.input.Objective)"
        return f"{_quoted(self.metric + ' of ')} & $states.input.BestTrainingJobName & ' is ' & {value} & '{words}'"


class Serving(NamedTuple):
    """The container that serves a model: its image, and the content types that it accepts and returns."""

    image: str
    content_types: tuple[str, ...]
    response_types: tuple[str, ...]


class Package(NamedTuple):
    """How the best model is registered.

    Attributes:
        group: the model package group, by name or ARN.
        approval: the package's approval status.
        serving: the serving container by training image.
        hidden: hyperparameters whose values are masked.
    """

    group: str
    approval: str
    serving: Mapping[str, Serving]
    hidden: tuple[str, ...] = ()

    @property
    def arguments(self) -> dict[str, Any]:
        """The Arguments of the state that calls CreateModelPackage."""
        members = {
            trained: {"Image": image, "ContentTypes": accepted, "ResponseTypes": returned}
            for trained, (image, accepted, returned) in self.serving.items()
        }
        only = next(iter(members.values())) if len(members) == 1 else None
        how = "$serving" if only else "$lookup($serving, $training.AlgorithmSpecification.TrainingImage)"
        job = "$states.input"
        described = f"{job}.ObjectiveName & ' = ' & $string({job}.Objective) & ', best of ' & {job}.TuningJobName"
        return {
            "ModelPackageGroupName": literal(self.group),
            "ModelApprovalStatus": self.approval,
            "ModelPackageDescription": expression(described),
            "InferenceSpecification": expression(_INFERENCE % {"serving": _quoted(only or members), "how": how}),
            "MetadataProperties": {"GeneratedBy": expression(f"{job}.TrainingJob.TrainingJobArn")},
            "CustomerMetadataProperties": expression(_METADATA % {"hidden": _quoted(self.hidden)}),
            # The same token returns the same package, so that a retried call does not register the model twice.
            "ClientToken": expression(f"$hash({job}.TuningJobArn & {_quoted(self.group)}, 'MD5')"),
        }


def chosen(request: Mapping[str, Any], wanted: Integration) -> Literal["sync", "sdk"]:
    """Return the integration that creates the job: Step Functions' own, if it accepts all members of the request.

    Raises:
        SpecError: ``sync`` is wanted, and does not accept a member.
    """
    beyond = sorted(set(request) - _OPTIMISED)
    if wanted == "sync" and beyond:
        raise SpecError(
            f"Step Functions' own SageMaker integration (.sync) does not accept {' and '.join(beyond)}: use the AWS "
            "SDK integration, which needs a whole machine because it polls (integration='sdk', --as state-machine)"
        )
    return "sdk" if beyond or wanted == "sdk" else "sync"


class States:
    """The states for the tuning job of one request.

    Args:
        request: of CreateHyperParameterTuningJob, named ``STAND_IN``.
        base: start of the job's name.
        partition: of AWS, such as ``aws-cn``.
        sync: use the integration that waits; otherwise the machine polls.
    """

    def __init__(self, request: Mapping[str, Any], base: str, *, partition: str, sync: bool) -> None:
        self._request = request
        self._base = base
        self._partition = partition
        self._sync = sync

    def tune(self, *, following: str | None, on_failure: str) -> dict[str, Any]:
        """Return the Task state that creates the tuning job and, with ``sync``, waits for its end.

        Args:
            following: name of the next state; None ends the machine.
            on_failure: name of the state that errors go to.
        """
        action = "createHyperParameterTuningJob"
        how = f"sagemaker:{action}.sync" if self._sync else f"aws-sdk:sagemaker:{action}"
        limits = self._request["HyperParameterTuningJobConfig"]["ResourceLimits"]
        timeout = {"TimeoutSeconds": limits.get("MaxRuntimeInSeconds", _LONGEST) + _MARGIN} if self._sync else {}
        return {
            "Type": "Task",
            "QueryLanguage": "JSONata",
            "Comment": "A tuning job of its own for each execution",
            "Resource": f"arn:{self._partition}:states:::{how}",
            "Arguments": arguments(self._request, self._base),
            **timeout,
            "Assign": {"TuningJobName": expression(job_name(self._base))},
            # A full quota has room again when other jobs end: the retries cover some hours.
            "Retry": [retry(_LIMIT, 300, 12, 1.5, 3600), retry(_GENERAL, 5, 6, 2, 120)],
            "Catch": [catch(["States.ALL"], on_failure)],
            **({"End": True} if following is None else {"Next": following}),
        }

    def machine(self, *, gate: Gate | None = None, package: Package | None = None, poll: int = 60) -> dict[str, Any]:
        """Return a whole state machine: tune, wait, judge, register.

        Args:
            gate: threshold of the best objective, or None.
            package: how to register the best model, or None.
            poll: seconds between two polls of the job.
        """
        steps = ["tune"]
        tune = self.tune(following=_DESCRIBE, on_failure=_FAILED)
        # The job's name is taken if an earlier call created the job and only its response was lost: describe that
        # job. A job that failed or was stopped is described too, because the cause of the error holds the whole
        # request with its environment variables. That error is States.TaskFailed, which matches every error: the
        # errors without a job must be caught before it.
        look = {"Assign": {"TuningJobName": expression(job_name(self._base))}, "Next": _DESCRIBE}
        ended = [{"ErrorEquals": ["States.TaskFailed"], **look}] if self._sync else []
        refused = catch(_REFUSED, _FAILED)
        tune["Catch"] = [{"ErrorEquals": _NAME_TAKEN, **look}, refused, *ended, catch(["States.ALL"], _FAILED)]
        after_gate = _BEST if package else _DONE
        states: dict[str, Any] = {_TUNE: tune, **self._waiting(_GATE if gate else after_gate, poll)}
        if gate is not None:
            steps.append(f"{gate.metric} must be at {'least' if gate.maximize else 'most'} {gate.threshold:.6g}")
            states[_GATE] = _choice([(gate.condition, after_gate)], _GATE_FAILED)
            states[_GATE_FAILED] = _fail(expression(gate.cause), "GateFailed")
        if package is not None:
            steps.append(f"register in {package.group}")
            states |= self._registering(package)
        states[_DONE] = {"Type": "Succeed"}
        # Names that begin with "States." are the service's own, and no Fail state may have one [States Language].
        own = expression("$replace($states.input.Error, 'States.', '')")
        states[_FAILED] = _fail(expression("$states.input.Cause"), own)
        return {
            "Comment": f"Hyperparameter tuning: {', '.join(steps)}",
            "QueryLanguage": "JSONata",
            "StartAt": _TUNE,
            "States": states,
        }

    def _waiting(self, following: str, seconds: int) -> dict[str, Any]:
        """Return the states that describe the job until it has ended; its last description is the next input."""
        job, name = "$states.input", {"HyperParameterTuningJobName": expression("$TuningJobName")}
        runs = f"{job}.Status in ['{TuningStatus.IN_PROGRESS}', '{TuningStatus.STOPPING}']"
        completed = f"{job}.Status = '{TuningStatus.COMPLETED}' and $exists({job}.BestTrainingJobName)"
        describe = "describeHyperParameterTuningJob"
        return {
            _DESCRIBE: self._task(describe, name, output=expression(_JOB), following=_ENDED),
            _ENDED: _choice([(runs, _WAIT), (completed, following)], _FAILED),
            _WAIT: {"Type": "Wait", "QueryLanguage": "JSONata", "Seconds": seconds, "Next": _DESCRIBE},
        }

    def _registering(self, package: Package) -> dict[str, Any]:
        """Return the states that register the best model; the execution's output names the package."""
        training = {"TrainingJobName": expression("$states.input.BestTrainingJobName")}
        with_training = expression("$merge([$states.input, {'TrainingJob': $states.result}])")
        # The error that would have been raised, and the training job with its environment, are not for the output.
        output = expression(
            "$merge([$sift($states.input, function($v, $k) { $not($k in ['Error', 'Cause', 'TrainingJob']) }), "
            "{'ModelPackageArn': $states.result.ModelPackageArn}])"
        )
        return {
            _BEST: self._task("describeTrainingJob", training, output=with_training, following=_REGISTER),
            _REGISTER: self._task("createModelPackage", package.arguments, output=output, following=_DONE),
        }

    def _task(self, action: str, fields: Mapping[str, Any], *, output: str, following: str) -> dict[str, Any]:
        """Return a Task state that calls SageMaker by the AWS SDK: retried when throttled, other errors fail."""
        return {
            "Type": "Task",
            "QueryLanguage": "JSONata",
            "Resource": f"arn:{self._partition}:states:::aws-sdk:sagemaker:{action}",
            "Arguments": dict(fields),
            "Retry": [retry(_GENERAL, 5, 6, 2, 120)],
            "Catch": [catch(["States.ALL"], _FAILED)],
            "Output": output,
            "Next": following,
        }


def retry(errors: list[str], first: int, attempts: int, rate: float, longest: int) -> dict[str, Any]:
    """Return a rule that retries at growing, random intervals, so that executions do not retry at the same time."""
    return {
        "ErrorEquals": errors,
        "IntervalSeconds": first,
        "MaxAttempts": attempts,
        "BackoffRate": rate,
        "MaxDelaySeconds": longest,
        "JitterStrategy": "FULL",
    }


def catch(errors: list[str], target: str) -> dict[str, Any]:
    """Return a rule that sends errors, as ``Error`` and ``Cause``, to a state."""
    return {"ErrorEquals": errors, "Next": target}


def _choice(rules: list[tuple[str, str]], default: str) -> dict[str, Any]:
    """Return a Choice state: (condition, next state) in order, else the default."""
    return {
        "Type": "Choice",
        "QueryLanguage": "JSONata",
        "Choices": [{"Condition": expression(condition), "Next": target} for condition, target in rules],
        "Default": default,
    }


def _fail(cause: str, error: str) -> dict[str, Any]:
    return {"Type": "Fail", "QueryLanguage": "JSONata", "Error": error, "Cause": cause}
