"""Check a SageMaker request against botocore's service model, offline and completely.

botocore's own validator checks types, required members and minima. Enums, maxima, lengths and patterns reach the
service unchecked. Here all of them are checked, and reported in the words of the service, or in those of a spec file.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sm_tuning._errors import Problem, nearest

#: Longest enum that a message lists in full, and longest value that the service repeats.
_LONG_ENUM, _LONG_VALUE = 20, 256

_INT_LIMITS = {"integer": 2**31 - 1, "long": 2**63 - 1}
_NUMBERS = ("integer", "long", "float", "double")
_NESTED = ("structure", "list", "map")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "structure": lambda value: isinstance(value, Mapping),
    "map": lambda value: isinstance(value, Mapping),
    "list": lambda value: isinstance(value, list | tuple),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "long": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": _is_number,
    "double": _is_number,
    "timestamp": lambda value: isinstance(value, datetime | str) or _is_number(value),
    "blob": lambda value: isinstance(value, bytes | bytearray | str),
}


@dataclass(frozen=True)
class Violation:
    """A rule of the service model that a request breaks.

    Attributes:
        path: the member, as the service writes it: ``trainingJobDefinition.outputDataConfig.s3OutputPath``,
            ``tags.1.member.key``; empty for the request itself.
        value: the member's value; None if a required member is missing.
        constraint: the rule, such as ``Member must have length less than or equal to 32``.
        kind: one of type, required, unknown, enum, length, range, pattern, union.
        shape: the name of the model's shape, such as ``TrainingInstanceType``.
        sensitive: the model says that the value must not be repeated.
    """

    path: str
    value: Any
    constraint: str
    kind: str
    shape: str
    sensitive: bool = False

    @property
    def sentence(self) -> str:
        """The violation alone, in the service's words, with its count in front."""
        return validation_message([self])


@functools.cache
def service_model() -> Any:
    """Return botocore's model of SageMaker from its data files: no client, no credentials, no network."""
    from botocore.loaders import Loader  # noqa: PLC0415  (kept off the import path of sm_tuning)
    from botocore.model import ServiceModel  # noqa: PLC0415

    return ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")


def has_operation(operation: str) -> bool:
    """Return whether the SageMaker model has an operation of that name."""
    return operation in service_model().operation_names


def violations(operation: str, params: Mapping[str, Any]) -> list[Violation]:
    """Return every rule of the model that the parameters of a SageMaker operation break, in member order.

    Raises:
        KeyError: if the model has no such operation.
    """
    if not has_operation(operation):
        raise KeyError(f"SageMaker has no operation {operation!r}")
    shape = service_model().operation_model(operation).input_shape
    return [] if shape is None else list(_check(shape, params, ""))


def validation_message(found: Sequence[Violation]) -> str:
    """Return violations in the words of the service's ValidationException."""

    def plain(value: Any) -> str:
        # The service is written in Java: no quotes, {k=v}, true.
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, Mapping):
            return "{" + ", ".join(f"{key}={plain(item)}" for key, item in value.items()) + "}"
        if isinstance(value, list | tuple):
            return "[" + ", ".join(map(plain, value)) + "]"
        return str(value)

    clauses = []
    for violation in found:
        text = "" if violation.sensitive else plain(violation.value)
        text = text if len(text) <= _LONG_VALUE else f"{text[:_LONG_VALUE]}..."
        value = " null" if violation.value is None else "" if violation.sensitive else f" '{text}'"
        where = f" at {violation.path!r}" if violation.path else ""
        clauses.append(f"Value{value}{where} failed to satisfy constraint: {violation.constraint}")
    noun = "error" if len(found) == 1 else "errors"
    return f"{len(found)} validation {noun} detected: " + "; ".join(clauses)


def _check(shape: Any, value: Any, path: str) -> Iterator[Violation]:
    kind = shape.type_name
    if kind not in _TYPES or not _TYPES[kind](value):
        article = "an" if kind[0] in "aeiou" else "a"
        yield _violation(shape, value, path, "type", f"Member must be {article} {kind}")
        return
    if kind == "structure":
        yield from _check_structure(shape, value, path)
        return
    yield from (_violation(shape, value, path, broken, rule) for broken, rule in _broken_rules(shape, value))
    if kind == "list":
        yield from _check_items(shape, value, path, shape.member, dict(enumerate(value, start=1)), "Member")
    elif kind == "map":
        yield from _check_items(shape, value, path, shape.key, dict(zip(value, value, strict=True)), "Map keys")
        yield from _check_items(shape, value, path, shape.value, value, "Map value")


def _check_structure(shape: Any, value: Mapping[str, Any], path: str) -> Iterator[Violation]:
    def join(member: str) -> str:
        # The service writes members with a small first letter.
        name = member[:1].lower() + member[1:]
        return f"{path}.{name}" if path else name

    for name in shape.required_members:
        if value.get(name) is None:
            yield _violation(shape.members[name], None, join(name), "required", "Member must not be null")
    for name, item in value.items():
        if name not in shape.members:
            near = nearest(name, shape.members)
            hint = f"; did you mean {near}?" if near else ""
            yield _violation(shape, item, join(name), "unknown", f"Member is not known to {shape.name}{hint}")
        elif item is not None:
            yield from _check(shape.members[name], item, join(name))
        elif name not in shape.required_members:
            yield _violation(shape.members[name], None, join(name), "type", "Member must not be null")
    if shape.is_tagged_union and len(value) != 1:
        names = ", ".join(shape.members)
        yield _violation(shape, value, path, "union", f"Member must have exactly one of: [{names}]")


def _check_items(
    shape: Any, value: Any, path: str, item_shape: Any, items: Mapping[Any, Any], noun: str
) -> Iterator[Violation]:
    """Check the items of a list or a map.

    Args:
        shape: of the collection.
        value: the collection.
        path: of the collection.
        item_shape: of the items.
        items: by the number or the key that names them in a path.
        noun: how the service calls plain items.
    """
    if item_shape.type_name in _NESTED:
        for label, item in items.items():
            yield from _check(item_shape, item, f"{path}.{label}.member")
        return
    # Of plain items the service reports the whole collection, once for each kind of rule.
    found = [violation for item in items.values() for violation in _check(item_shape, item, path)]
    for kind in dict.fromkeys(violation.kind for violation in found):
        rules = dict.fromkeys(violation.constraint for violation in found if violation.kind == kind)
        yield _violation(shape, value, path, kind, f"{noun} must satisfy constraint: [{', '.join(rules)}]")


def _broken_rules(shape: Any, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the kind and the words of each rule that a value, without its items, breaks."""
    rules, kind = shape.metadata, shape.type_name
    if kind in (*_NUMBERS, "string", "list", "map"):
        name, noun = ("range", "value") if kind in _NUMBERS else ("length", "length")
        size = value if kind in _NUMBERS else len(value)  # NaN compares false, and so breaks no limit
        limits = {"max": _INT_LIMITS.get(kind, math.inf), **rules}
        if size < rules.get("min", -math.inf):
            yield name, f"Member must have {noun} greater than or equal to {rules['min']}"
        if size > limits["max"]:
            yield name, f"Member must have {noun} less than or equal to {limits['max']}"
    if kind == "string":
        allowed = rules.get("enum")
        if allowed and value not in allowed:
            values = ", ".join(allowed)
            if len(allowed) > _LONG_ENUM:
                near = difflib.get_close_matches(value, allowed, n=5) or allowed[:3]
                values = f"{', '.join(near)}, ... {len(allowed)} values in all"
            yield "enum", f"Member must satisfy enum value set: [{values}]"
        if "pattern" in rules and not matches(rules["pattern"], value):
            yield "pattern", f"Member must satisfy regular expression pattern: {rules['pattern']}"


def _violation(shape: Any, value: Any, path: str, kind: str, constraint: str) -> Violation:
    return Violation(path, value, constraint, kind, shape.name, bool(shape.metadata.get("sensitive")))


# Patterns of the model are Java regular expressions. Python's re differs in three things: Java has \p{L} and its like,
# its \d and \w are ASCII, and it writes characters beyond the first plane as two surrogates.

_CATEGORY = re.compile(r"\\p\{(\w+)\}")
_SURROGATES = r"\uD800\uDC00-\uDBFF\uDFFF"
_ASCII_ONLY = {"Alnum": "a-zA-Z0-9", "Alpha": "a-zA-Z", "Digit": "0-9"}


def matches(pattern: str, value: str) -> bool:
    """Return whether the whole value matches a pattern of the service model."""
    # The tables of all of Unicode take a moment to make, and are seldom needed.
    return _compiled(pattern, 128 if value.isascii() else sys.maxunicode + 1).fullmatch(value) is not None


@functools.cache
def _compiled(pattern: str, limit: int) -> re.Pattern[str]:
    # Two patterns of tags end in ``${1,128}``: a length was meant, but that is not its syntax.
    text = re.sub(r"\$\{\d+,\d+\}$", "", pattern).replace(_SURROGATES, "\U00010000-\U0010ffff")
    return re.compile(_CATEGORY.sub(lambda match: _members(match[1], limit), text), re.ASCII)


@functools.cache
def _members(category: str, limit: int) -> str:
    """Return the characters of a Unicode category below a limit, as the inside of a character class."""
    if category in _ASCII_ONLY:
        return _ASCII_ONLY[category]
    ranges: list[list[int]] = []
    for code in range(limit):
        if not unicodedata.category(chr(code)).startswith(category):
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)


#: Members of a definition, the fields they come from, and the code of their limits; the longest one that fits counts.
_DEFINITION_FIELDS = {
    "definitionName": ("", ""),
    "tuningObjective": ("objective_metric_name", ""),
    "hyperParameterRanges": ("hyperparameter_ranges", "range-bounds"),
    "hyperParameterRanges.categoricalParameterRanges": ("hyperparameter_ranges", "categorical-values"),
    "hyperParameterRanges.autoParameters": ("auto_parameters", "auto-parameters"),
    "inputDataConfig": ("inputs", "channels"),
    "staticHyperParameters": ("estimator.hyperparameters", "hyperparameter-value"),
    "algorithmSpecification.trainingImage": ("estimator.image_uri", "image-choice"),
    "algorithmSpecification.algorithmName": ("estimator.algorithm_name", ""),
    "algorithmSpecification.trainingInputMode": ("estimator.input_mode", ""),
    "algorithmSpecification.metricDefinitions": ("estimator.metric_definitions", "metric-regex"),
    "roleArn": ("estimator.role", "role"),
    "outputDataConfig.s3OutputPath": ("estimator.output_path", "output-path"),
    "outputDataConfig.kmsKeyId": ("estimator.output_kms_key", ""),
    "resourceConfig": ("estimator.resource_config", ""),
    "resourceConfig.instanceType": ("estimator.instance_type", "instance-type"),
    "resourceConfig.instanceCount": ("estimator.instance_count", ""),
    "resourceConfig.volumeSizeInGB": ("estimator.volume_size", ""),
    "resourceConfig.volumeKmsKeyId": ("estimator.volume_kms_key", ""),
    "resourceConfig.instancePreferences": ("estimator.instance_preferences", "instances-choice"),
    "resourceConfig.trainingPlanArn": ("estimator.training_plan", "instances-choice"),
    "hyperParameterTuningResourceConfig": ("estimator.instance_configs", "instances-choice"),
    "hyperParameterTuningResourceConfig.volumeKmsKeyId": ("estimator.volume_kms_key", ""),
    "stoppingCondition.maxRuntimeInSeconds": ("estimator.max_run", "run-limit"),
    "stoppingCondition.maxWaitTimeInSeconds": ("estimator.max_wait", ""),
    "stoppingCondition.maxPendingTimeInSeconds": ("estimator.max_pending", "pending-limit"),
    "vpcConfig.subnets": ("estimator.subnets", "network-missing"),
    "vpcConfig.securityGroupIds": ("estimator.security_group_ids", "network-missing"),
    "checkpointConfig.s3Uri": ("estimator.checkpoint_s3_uri", "checkpoint-place"),
    "checkpointConfig.localPath": ("estimator.checkpoint_local_path", ""),
    "retryStrategy": ("estimator.max_retry_attempts", "retry-limit"),
    "environment": ("estimator.environment", "environment"),
}
_JOB_FIELDS = {
    "hyperParameterTuningJobName": ("name", "name"),
    "hyperParameterTuningJobConfig.resourceLimits.maxNumberOfTrainingJobs": ("max_jobs", "jobs-limit"),
    "hyperParameterTuningJobConfig.resourceLimits.maxParallelTrainingJobs": ("max_parallel_jobs", "parallel-limit"),
    "hyperParameterTuningJobConfig.resourceLimits.maxRuntimeInSeconds": ("max_runtime_in_seconds", "runtime-limit"),
    "hyperParameterTuningJobConfig.hyperParameterTuningJobObjective": ("objective_metric_name", ""),
    "hyperParameterTuningJobConfig.parameterRanges": ("hyperparameter_ranges", "range-bounds"),
    "hyperParameterTuningJobConfig.parameterRanges.categoricalParameterRanges": (
        "hyperparameter_ranges",
        "categorical-values",
    ),
    "hyperParameterTuningJobConfig.parameterRanges.autoParameters": ("auto_parameters", "auto-parameters"),
    "hyperParameterTuningJobConfig.strategyConfig": ("strategy_config", ""),
    "hyperParameterTuningJobConfig.tuningJobCompletionCriteria": ("completion_criteria", ""),
    "hyperParameterTuningJobConfig.randomSeed": ("random_seed", ""),
    "trainingJobDefinitions": ("estimators", "several-limit"),
    "warmStartConfig": ("warm_start", ""),
    "tags": ("estimator.tags", "tags"),
}
_FIXES = {
    "categorical-values": "list 2 to 30 different values",
    "too-many-hyperparameters": "pass a file in place of hyperparameters",
}
_ONE_OF_SEVERAL = re.compile(r"^trainingJobDefinitions\.(\d+)\.member\.")
_CHANNEL = re.compile(r"^inputDataConfig\.(\d+)\.member\b")


def explain(found: Sequence[Violation], request: Mapping[str, Any]) -> list[Problem]:
    """Return violations in the words of a spec file: the field, the rule, the value, and the member of the request."""
    problems = []
    for violation in found:
        rule = violation.constraint.replace("Member must", "it must", 1)
        text = repr(violation.value)
        text = text if len(text) <= 200 else f"{text[:200]}…"
        value = "" if violation.value is None or violation.sensitive else f", but got {text}"
        field, code = _field(violation.path, request)
        if code == "hyperparameter-value" and violation.kind == "length" and rule.endswith("equal to 100"):
            code = "too-many-hyperparameters"
        message = f"{rule}{value} (request member {violation.path})"
        problems.append(Problem(code, field, message, _FIXES.get(code, "")))
    return problems


def _field(path: str, request: Mapping[str, Any]) -> tuple[str, str]:
    """Return the field of a spec file that a member comes from, and the code of its limits.

    A member without a field is returned itself.
    """
    prefix, fields, definition = "", _JOB_FIELDS, request.get("TrainingJobDefinition", {})
    several = _ONE_OF_SEVERAL.match(path)
    if several:
        definition = request["TrainingJobDefinitions"][int(several[1]) - 1]
        prefix, fields, path = (
            f"estimators.{definition.get('DefinitionName')}",
            _DEFINITION_FIELDS,
            path[several.end() :],
        )
    elif path.startswith("trainingJobDefinition."):
        fields, path = _DEFINITION_FIELDS, path.removeprefix("trainingJobDefinition.")
    channel = _CHANNEL.match(path) if fields is _DEFINITION_FIELDS else None
    if channel:
        field, code = f"inputs.{definition['InputDataConfig'][int(channel[1]) - 1].get('ChannelName')}", "channels"
    else:
        members = [member for member in fields if path == member or path.startswith(f"{member}.")]
        field, code = fields[max(members, key=len)] if members else (path, "")
    return ".".join(filter(None, (prefix, field))), code
