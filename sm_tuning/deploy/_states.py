"""The states of a machine that tunes, judges and registers: plain data, made from a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from sm_tuning._errors import SpecError
from sm_tuning._wire import to_float32
from sm_tuning.deploy import _asl as asl
from sm_tuning.deploy._package import Package, package_arguments

Integration = Literal["auto", "sync", "sdk"]

#: Longest run of a tuning job [Developer Guide, automatic-model-tuning-limits], and an hour for what surrounds it.
_LONGEST = 30 * 24 * 3600
_MARGIN = 3600

#: Names of the states.
TUNE, DESCRIBE, WAIT, ENDED, GATE = "Tune", "Describe", "Wait", "HasEnded", "Gate"
BEST, REGISTER, DONE, FAILED, GATE_FAILED = "DescribeBest", "Register", "Done", "Failed", "GateFailed"  # not a status


class Gate(NamedTuple):
    """What the best objective must reach.

    Attributes:
        metric: the objective's name.
        maximize: whether more is better.
        threshold: the worst value that is good enough.
    """

    metric: str
    maximize: bool
    threshold: float

    @property
    def limit(self) -> float:
        """The threshold as it is compared.

        The service keeps the objective as a 32-bit float, and may write 0.95 as 0.94999998: of the threshold and the
        32-bit float next to it, the one that is easier to reach counts, so that 0.95 meets 0.95 in both forms.
        """
        pick = min if self.maximize else max
        # A number beyond 32 bits rounds to an infinity, which JSONata cannot write.
        return pick(self.threshold, to_float32(self.threshold)) if abs(self.threshold) < 3e38 else self.threshold

    @property
    def condition(self) -> str:
        """The JSONata expression that holds when the objective is good enough."""
        return f"$states.input.Objective {'>=' if self.maximize else '<='} {self.limit!r}"

    @property
    def cause(self) -> str:
        """The JSONata expression that says what was wrong."""
        words = f", but must be at {'least' if self.maximize else 'most'} {self.threshold:.6g}"
        value = "$string($states.input.Objective)"
        return f"{asl.quoted(self.metric + ' of ')} & $states.input.BestTrainingJobName & ' is ' & {value} & '{words}'"


def chosen(request: Mapping[str, Any], wanted: Integration) -> Literal["sync", "sdk"]:
    """Which integration creates the job: Step Functions' own, unless the request has members that it does not take.

    Raises:
        SpecError: ``sync`` is asked for, and cannot do it.
    """
    beyond = sorted(set(request) - asl.OPTIMISED)
    if wanted == "sync" and beyond:
        raise SpecError(
            f"Step Functions' own SageMaker integration (.sync) takes no {' and no '.join(beyond)}: use the AWS SDK "
            "integration, which needs a whole machine because it polls (integration='sdk', --as state-machine)"
        )
    return "sdk" if beyond or wanted == "sdk" else "sync"


def tune_state(
    request: Mapping[str, Any], base: str, *, partition: str, sync: bool, following: str | None, on_failure: str
) -> dict[str, Any]:
    """The Task state that creates the tuning job and, with ``sync``, waits for its end.

    Args:
        request: of CreateHyperParameterTuningJob, named ``STAND_IN``.
        base: what the job's name starts with.
        partition: of AWS, such as ``aws-cn``.
        sync: uses the integration that waits.
        following: the next state; None ends the machine.
        on_failure: the state that errors go to.
    """
    action = "createHyperParameterTuningJob"
    name = asl.expression(asl.job_name(base))
    how = f"sagemaker:{action}.sync" if sync else f"aws-sdk:sagemaker:{action}"
    limits = request["HyperParameterTuningJobConfig"]["ResourceLimits"]
    waiting = {"TimeoutSeconds": limits.get("MaxRuntimeInSeconds", _LONGEST) + _MARGIN} if sync else {}
    return {
        "Type": "Task",
        "QueryLanguage": "JSONata",
        "Comment": "A tuning job of its own for each execution",
        "Resource": asl.integration(partition, how),
        "Arguments": asl.arguments(request, base),
        **waiting,
        "Assign": {"TuningJobName": name},
        "Retry": asl.retries(waits_for_quota=True),
        "Catch": [asl.catch_all(on_failure)],
        **({"End": True} if following is None else {"Next": following}),
    }


def machine(
    request: Mapping[str, Any],
    base: str,
    *,
    partition: str,
    sync: bool,
    gate: Gate | None = None,
    package: Package | None = None,
    poll_seconds: int = 60,
) -> dict[str, Any]:
    """A whole state machine: tune, wait, judge, register.

    Args:
        request: of CreateHyperParameterTuningJob, named ``STAND_IN``.
        base: what the job's name starts with.
        partition: of AWS, such as ``aws-cn``.
        sync: uses the integration that waits; else the machine polls.
        gate: what the best objective must reach; None judges nothing.
        package: how the best model is registered; None registers nothing.
        poll_seconds: between two looks at the job.
    """
    tune = tune_state(request, base, partition=partition, sync=sync, following=DESCRIBE, on_failure=FAILED)
    tune["Catch"] = _catches(asl.expression(asl.job_name(base)), sync=sync)
    after_gate = BEST if package else DONE
    states: dict[str, Any] = {TUNE: tune, **_waiting(partition, GATE if gate else after_gate, poll_seconds)}
    if gate is not None:
        states[GATE] = asl.choice([(gate.condition, after_gate)], GATE_FAILED)
        states[GATE_FAILED] = _fail(asl.expression(gate.cause), "GateFailed")
    if package is not None:
        states |= _registering(partition, package)
    states[DONE] = {"Type": "Succeed"}
    # Names that begin with "States." are the service's own, and no Fail state may have one [States Language].
    own = asl.expression("$replace($states.input.Error, 'States.', '')")
    states[FAILED] = _fail(asl.expression("$states.input.Cause"), own)
    return {
        "Comment": f"Hyperparameter tuning: {', '.join(_steps(gate, package))}",
        "QueryLanguage": "JSONata",
        "StartAt": TUNE,
        "States": states,
    }


def _catches(name: str, *, sync: bool) -> list[dict[str, Any]]:
    """Where errors of the first state go: to the failure state, or to a look at the job when there is one.

    Our own name is taken when an earlier call got through and only its answer was lost. A job that failed or was
    stopped is described, because the error's own cause holds the whole request, with its environment. That error,
    States.TaskFailed, stands for every other one too, so that those without a job are caught before it.
    """
    look = {"Assign": {"TuningJobName": name}, "Next": DESCRIBE}
    ended = [{"ErrorEquals": ["States.TaskFailed"], **look}] if sync else []
    refused = {"ErrorEquals": asl.REFUSED, "Next": FAILED}
    return [{"ErrorEquals": asl.NAME_TAKEN, **look}, refused, *ended, asl.catch_all(FAILED)]


def _steps(gate: Gate | None, package: Package | None) -> Iterator[str]:
    yield "tune"
    if gate is not None:
        yield f"{gate.metric} must be at {'least' if gate.maximize else 'most'} {gate.threshold:.6g}"
    if package is not None:
        yield f"register in {package.group}"


def _waiting(partition: str, following: str, seconds: int) -> dict[str, Any]:
    """Look at the job until it has ended; what later states need of it becomes their input."""
    job = "$states.input"
    return {
        DESCRIBE: asl.task(
            asl.integration(partition, "aws-sdk:sagemaker:describeHyperParameterTuningJob"),
            {"HyperParameterTuningJobName": asl.expression("$TuningJobName")},
            catch=FAILED,
            Output=asl.expression(_JOB),
            Next=ENDED,
        ),
        ENDED: asl.choice(
            [
                (f"{job}.Status in ['InProgress', 'Stopping']", WAIT),
                (f"{job}.Status = 'Completed' and $exists({job}.BestTrainingJobName)", following),
            ],
            FAILED,
        ),
        WAIT: {"Type": "Wait", "QueryLanguage": "JSONata", "Seconds": seconds, "Next": DESCRIBE},
    }


#: What is kept of a description, and what is wrong if this is how the job ended. An undefined value is left out.
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


def _registering(partition: str, package: Package) -> dict[str, Any]:
    """Register the best model; the execution's output names the package."""
    kept = "{'TrainingJob': $states.result}"
    return {
        BEST: asl.task(
            asl.integration(partition, "aws-sdk:sagemaker:describeTrainingJob"),
            {"TrainingJobName": asl.expression("$states.input.BestTrainingJobName")},
            catch=FAILED,
            Output=asl.expression(f"$merge([$states.input, {kept}])"),
            Next=REGISTER,
        ),
        REGISTER: asl.task(
            asl.integration(partition, "aws-sdk:sagemaker:createModelPackage"),
            package_arguments(package),
            catch=FAILED,
            Output=asl.expression(
                "$merge([$sift($states.input, function($v, $k) { $not($k in ['Error', 'Cause', 'TrainingJob']) }), "
                "{'ModelPackageArn': $states.result.ModelPackageArn}])"
            ),
            Next=DONE,
        ),
    }


def _fail(cause: str, error: str) -> dict[str, Any]:
    return {"Type": "Fail", "QueryLanguage": "JSONata", "Error": error, "Cause": cause}
