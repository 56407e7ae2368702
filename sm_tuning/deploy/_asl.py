"""Amazon States Language: a request as a Task state, and the few forms that states of ours share.

The states are written in JSONata [Developer Guide of Step Functions, transforming-data], because a job's name must be
cut to 32 characters and a model's metadata names hyperparameters that are known only when the job has ended. Each
state says so itself, so that it can also be put into a machine that is written in JSONPath.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

#: Stands for the job's name in a request until an execution gives it; as long as the real one.
STAND_IN = "sm-tuning-name-of-this-execution"

#: Characters of a job's name that tell executions apart, after the base and a dash.
DIGITS = 12

#: Members that Step Functions' own SageMaker integration is documented to take [Developer Guide of Step Functions,
#: connect-sagemaker: supported parameters of CreateHyperParameterTuningJob]. The API has more.
OPTIMISED = frozenset(
    {
        "HyperParameterTuningJobConfig",
        "HyperParameterTuningJobName",
        "Tags",
        "TrainingJobDefinition",
        "WarmStartConfig",
    }
)

#: What SageMaker's exceptions are called: the optimised integration speaks SDK for Java 1.x, the other one 2.x. The
#: general ones are throttling, and what the service refuses without a name of its own.
_GENERAL = (
    "SageMaker.AmazonSageMakerException",
    "SageMaker.SageMakerException",
    "SageMaker.ThrottlingException",
    "ThrottlingException",
)
_LIMIT = ("SageMaker.ResourceLimitExceededException", "SageMaker.ResourceLimitExceeded")
NAME_TAKEN = ["SageMaker.ResourceInUseException", "SageMaker.ResourceInUse"]

#: What is raised before there is a job.
REFUSED = [*_GENERAL, *_LIMIT, "States.Permissions", "States.QueryEvaluationError"]


def integration(partition: str, action: str) -> str:
    """The Resource of a Task state, such as ``sagemaker:createHyperParameterTuningJob.sync``."""
    return f"arn:{partition}:states:::{action}"


def expression(text: str) -> str:
    """A JSONata expression as the value of a field, in one line."""
    return "{% " + " ".join(line.strip() for line in text.strip().split("\n")) + " %}"


def quoted(value: Any) -> str:
    """Plain data within a JSONata expression. JSONata reads JSON's escapes, save those of pairs (beyond U+FFFF)."""
    return json.dumps(value, ensure_ascii=False)


def job_name(base: str) -> str:
    """The expression of a job's name: the base, a dash, and twelve hexadecimal digits.

    The digits are a hash of the execution's ARN, its start (a name is free for another execution after 90 days) and
    the number of times it was redriven. So each execution has another name, and a retried call has the same one, so
    that a lost answer never makes a second job.
    """
    execution = "$states.context.Execution"
    parts = f"{execution}.Id & '#' & {execution}.StartTime & '#' & {execution}.RedriveCount"
    return f"{quoted(base + '-')} & $substring($hash({parts}, 'SHA-256'), 0, {DIGITS})"


def arguments(request: Mapping[str, Any], base: str) -> dict[str, Any]:
    """A request as Arguments: the name that an execution gives in place of ``STAND_IN``, all else as it is."""
    return {key: _value(item, base) for key, item in request.items()}


def _value(value: Any, base: str) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _value(item, base) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_value(item, base) for item in value]
    if not isinstance(value, str):
        return value
    if STAND_IN in value:
        return expression(" & ".join(_around(value, base)))
    return literal(value)


def literal(text: str) -> str:
    """A string as the value of a field; one that would be taken for an expression becomes one that gives it."""
    return expression(quoted(text)) if text.startswith("{%") else text


def _around(text: str, base: str) -> Iterator[str]:
    """The parts of a string that holds the job's name."""
    for index, part in enumerate(re.split(re.escape(STAND_IN), text)):
        if index:
            yield f"({job_name(base)})" if text != STAND_IN else job_name(base)
        if part:
            yield quoted(part)


def retries(*, waits_for_quota: bool = False) -> list[dict[str, Any]]:
    """Try again, ever later and at random moments, so that executions that failed together do not come back together.

    Args:
        waits_for_quota: whether a full quota is waited for, some hours in all: it is free again when other jobs end.
    """
    general = {
        "ErrorEquals": list(_GENERAL),
        "IntervalSeconds": 5,
        "MaxAttempts": 6,
        "BackoffRate": 2,
        "MaxDelaySeconds": 120,
        "JitterStrategy": "FULL",
    }
    quota = {
        "ErrorEquals": list(_LIMIT),
        "IntervalSeconds": 300,
        "MaxAttempts": 12,
        "BackoffRate": 1.5,
        "MaxDelaySeconds": 3600,
        "JitterStrategy": "FULL",
    }
    return [quota, general] if waits_for_quota else [general]


def catch_all(target: str) -> dict[str, Any]:
    """Send every error, as ``Error`` and ``Cause``, to a state."""
    return {"ErrorEquals": ["States.ALL"], "Next": target}


def task(resource: str, fields: Mapping[str, Any], *, catch: str, **rest: Any) -> dict[str, Any]:
    """A Task state that calls the SDK: tried again when throttled, its other errors sent to a state."""
    return {
        "Type": "Task",
        "QueryLanguage": "JSONata",
        "Resource": resource,
        "Arguments": dict(fields),
        "Retry": retries(),
        "Catch": [catch_all(catch)],
        **rest,
    }


def choice(rules: Sequence[tuple[str, str]], default: str) -> dict[str, Any]:
    """A Choice state: (condition, next state) in order, else the default."""
    return {
        "Type": "Choice",
        "QueryLanguage": "JSONata",
        "Choices": [{"Condition": expression(condition), "Next": target} for condition, target in rules],
        "Default": default,
    }
