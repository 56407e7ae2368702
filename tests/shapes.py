"""Walks over botocore's model of SageMaker: the members of an operation, and small requests that set each of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sm_tuning.request import service_model

ROLE = "arn:aws:iam::123456789012:role/Another"
ACCOUNT = "arn:aws:sagemaker:us-east-1:123456789012"
#: A value of each shape, or of the last two names of a path, whose model has a pattern, or whose value must exist; of
#: enums, the value that is no default.
SAMPLES: Mapping[str, Any] = {
    "S3Uri": "s3://bucket/data/",
    "RoleArn": ROLE,
    "TrainingInstanceType": "ml.m5.xlarge",
    "ProcessingInstanceType": "ml.m5.xlarge",
    "TrainingPlanArn": f"{ACCOUNT}:training-plan/plan-1",
    "FileSystemId": "fs-0123abcd",
    "HubDataSetArn": f"{ACCOUNT}:hub-content/Hub/DataSet/d/1.0.0",
    "ServerlessJobBaseModelArn": f"{ACCOUNT}:hub-content/Hub/Model/m/1.0.0",
    "TrainingRepositoryCredentialsProviderArn": "arn:aws:lambda:us-east-1:123456789012:function:f",
    "MlFlowResourceArn": f"{ACCOUNT}:mlflow-tracking-server/s",
    "ModelPackageGroupArn": f"{ACCOUNT}:model-package-group/g",
    "ModelPackageArn": f"{ACCOUNT}:model-package/g/1",
    "SequenceLength": "4K",
    "MetricRegex": "other=(.*)",
    "TrainingInputMode": "FastFile",
    "S3DataType": "S3Prefix",
    "S3DataDistribution": "ShardedByS3Key",
    "CompressionType": "Gzip",
    "RecordWrapper": "RecordIO",
    "OutputCompressionType": "NONE",
    "TrainingJobEarlyStoppingType": "Auto",
    "HyperParameterScalingType": "Linear",
    "HyperParameterTuningJobObjectiveType": "Maximize",
    "CompleteOnConvergence": "Enabled",
    "HyperParameterTuningJobStrategyType": "Bayesian",
    "TuningObjective.MetricName": "other",
    "HyperParameterTuningJobObjective.MetricName": "other",
    "IntegerParameterRanges.MinValue": "2",
    "IntegerParameterRanges.MaxValue": "7",
    "ContinuousParameterRanges.MinValue": "0.2",
    "ContinuousParameterRanges.MaxValue": "0.8",
    "ParentHyperParameterTuningJob": {"HyperParameterTuningJobName": "parent"},
}
_SCALARS: Mapping[str, Any] = {
    "boolean": True,
    "float": 0.5,
    "double": 0.5,
    "timestamp": datetime(2026, 1, 2, tzinfo=UTC),
}


def paths(operation: str, *, answer: bool = False) -> list[str]:
    """Return the paths of all members of an operation's request or answer; a structure in itself is walked once."""
    model = service_model().operation_model(operation)
    return list(_members(model.output_shape if answer else model.input_shape))


def _members(shape: Any, path: str = "", inside: tuple[str, ...] = ()) -> Iterator[str]:
    if shape.type_name == "structure" and shape.name not in inside:
        for name, member in shape.members.items():
            below = f"{path}.{name}" if path else name
            yield below
            yield from _members(member, below, (*inside, shape.name))
    elif shape.type_name in ("list", "map"):
        yield from _members(shape.member if shape.type_name == "list" else shape.value, path, inside)


def is_required(operation: str, path: str, *, answer: bool = False) -> bool:
    """Return whether the structure that holds a member requires it."""
    model = service_model().operation_model(operation)
    shape = model.output_shape if answer else model.input_shape
    *above, last = path.split(".")
    for name in above:
        shape = shape.members[name]
        while shape.type_name in ("list", "map"):
            shape = shape.member if shape.type_name == "list" else shape.value
    return last in shape.required_members


def fragment(operation: str, path: str, *, answer: bool = False, samples: Mapping[str, Any] | None = None) -> Any:
    """Return a value of an operation that sets a member, and what its structures require.

    Args:
        operation: its name.
        path: of the member, with dots.
        answer: whether it is a member of the answer.
        samples: values by shape, or by the last two names of a path; those of ``SAMPLES`` otherwise.
    """
    model = service_model().operation_model(operation)
    shape = model.output_shape if answer else model.input_shape
    first, *rest = path.split(".")
    return {first: _value(shape.members[first], rest, {**SAMPLES, **(samples or {})}, (first,))}


def _value(shape: Any, path: Sequence[str], samples: Mapping[str, Any], trail: tuple[str, ...]) -> Any:
    given = samples.get(".".join(trail[-2:]), samples.get(shape.name))
    if given is not None and not path:
        return given
    if shape.type_name == "structure":
        names = dict.fromkeys([*shape.required_members, *path[:1]])
        return {
            name: _value(shape.members[name], path[1:] if name in path[:1] else (), samples, (*trail, name))
            for name in names
        }
    if shape.type_name == "list":
        return [_value(shape.member, path, samples, trail)]
    if shape.type_name == "map":
        return {"Key1": _value(shape.value, path, samples, trail)}
    if shape.type_name in ("integer", "long"):
        return max(2, shape.metadata.get("min", 0))
    if shape.type_name == "string":
        return shape.enum[-1] if shape.enum else "a1"
    return _SCALARS[shape.type_name]


def merged(base: Any, more: Any) -> Any:
    """Return a request with the members of another; the first items of two lists of structures become one."""
    if isinstance(base, Mapping) and isinstance(more, Mapping):
        return {**base, **{name: merged(base.get(name), value) for name, value in more.items()}}
    if isinstance(base, list) and isinstance(more, list) and base and isinstance(base[0], Mapping):
        return [merged(base[0], more[0]), *base[1:]]
    return copy.deepcopy(more)


def without(base: Any, path: str) -> Any:
    """Return a request without a member."""
    first, _, rest = path.partition(".")
    if isinstance(base, list):
        return [without(item, path) for item in base]
    if not rest:
        return {name: value for name, value in base.items() if name != first}
    return {name: without(value, rest) if name == first else value for name, value in base.items()}


def values_at(data: Any, path: str) -> list[Any]:
    """Return the values of a member, one for each item of the lists on its way."""
    first, _, rest = path.partition(".")
    if isinstance(data, list):
        return [value for item in data for value in values_at(item, path)]
    if not isinstance(data, Mapping) or first not in data:
        return []
    return values_at(data[first], rest) if rest else [data[first]]
