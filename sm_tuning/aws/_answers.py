"""Responses checked before anything reads them.

botocore takes a response that was cut off for an empty one: its JSON parser returns no members for text that it cannot
read, and most outputs have no required member. So each successful response is compared with the operation's output
shape, and a reader never sees a part of an answer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from operator import itemgetter
from types import NoneType
from typing import Any
from xml.etree import ElementTree as ET

#: Required members that an answer may lack: the service leaves the model out until a training job has ended, and moto,
#: which holds the model registry of the local SageMaker, leaves out who made a group and the name of a version.
_OPTIONAL = frozenset({"CreatedBy", "ModelArtifacts", "ModelPackageName"})

#: Members that the service returns also when they are empty, although the model does not require them. Without them, an
#: answer of a proxy such as ``{}`` would be an empty page.
_ALWAYS: Mapping[str, tuple[str, ...]] = {
    "FilterLogEvents": ("events",),
    "GetCallerIdentity": ("Account", "Arn"),
    "GetLogEvents": ("events",),
    "GetMetricData": ("MetricDataResults",),
    "GetProducts": ("PriceList",),
    "ListServiceQuotas": ("Quotas",),
    "ListTags": ("Tags",),
    "Search": ("Results",),
}

#: The same for structures at any depth, by the name of their shape: readers index these members.
_ALWAYS_IN: Mapping[str, tuple[str, ...]] = {
    "CategoricalParameterRange": ("Name", "Values"),
    "ContinuousParameterRange": ("Name", "MinValue", "MaxValue"),
    "FilteredLogEvent": ("logStreamName", "timestamp", "message"),
    "HyperParameterTrainingJobSummary": ("TrainingJobName", "CreationTime", "TrainingJobStatus"),
    "IntegerParameterRange": ("Name", "MinValue", "MaxValue"),
    "MetricData": ("MetricName", "Value", "Timestamp"),
    "MetricDataResult": ("Id", "Timestamps", "Values"),
    "MetricDefinition": ("Name", "Regex"),
    "TrainingJob": ("TrainingJobName", "TrainingJobStatus"),
}

#: Members by which a request to describe a resource names it, and which the response repeats.
_SUBJECTS = (
    "AutoMLJobName",
    "EndpointConfigName",
    "EndpointName",
    "HyperParameterTuningJobName",
    "ModelName",
    "ProcessingJobName",
    "TrainingJobName",
    "TransformJobName",
)

#: The last second of the year 9999, which is the last that a datetime holds.
_LAST_SECOND = 253_402_300_799

_JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "character": (str,),
    "blob": (str,),
    "integer": (int,),
    "long": (int,),
    "boolean": (bool,),
    "float": (int, float),
    "double": (int, float),
    "list": (list,),
    "map": (dict,),
    "structure": (dict,),
}
_SCALARS = {kind: types for kind, types in _JSON_TYPES.items() if kind not in ("list", "map", "structure")}

#: Operations whose pages have thousands of values, and the member with the entries.
_LONG_PAGES: Mapping[str, str] = {
    "FilterLogEvents": "events",
    "GetLogEvents": "events",
    "GetMetricData": "MetricDataResults",
    "ListTrainingJobsForHyperParameterTuningJob": "TrainingJobSummaries",
    "Search": "Results",
}

#: Returns a value as botocore would, but for times, which are in UTC.
_Take = Callable[[Any], Any]


class _UnusualError(Exception):
    """A value that ``_check`` and botocore's parser decide about."""


class BrokenAnswerError(Exception):
    """A successful response that is not what the operation returns; the message says in what way."""


def check_answer(
    operation_model: Any, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    """Check a response; a handler of botocore's ``before-parse`` event.

    Args:
        operation_model: the operation.
        response_dict: status code, headers and body as they arrived.
        customized_response_dict: gets the entries of a long page, which botocore then does not parse again.

    Raises:
        BrokenAnswerError: a response is cut off or is not in the service's format, or a successful one lacks a required
            member or has a member of another type.
    """
    body, shape = response_dict["body"], operation_model.output_shape
    if not isinstance(body, bytes):
        return  # streams are checked by their readers
    is_json = "json" in operation_model.service_model.resolved_protocol
    status = response_dict["status_code"]
    try:
        if operation_model.http.get("method") != "HEAD":
            _check_length(body, {name.lower(): value for name, value in response_dict["headers"].items()})
        if status >= 300:
            _check_error(body, is_json=is_json)
    except BrokenAnswerError as e:
        if status >= 500:
            response_dict["body"] = b""  # botocore repeats the call because of its status
            return
        raise BrokenAnswerError(f"{e} (HTTP status {status})" if status >= 300 else str(e)) from e
    if status >= 300:
        return
    in_body = shape is not None and any(not member.serialization.get("location") for member in shape.members.values())
    if not in_body:
        return
    if not body:
        raise BrokenAnswerError("the response is empty")
    required = (*shape.required_members, *_ALWAYS.get(operation_model.name, ()))
    if is_json:
        answer = _json(body)
        long = _LONG_PAGES.get(operation_model.name, "")
        found = answer.get(long) if isinstance(answer, dict) else None
        entries = _entries(shape.members[long].member, found) if isinstance(found, list) else None
        if entries is not None:
            customized_response_dict[long] = entries
            answer = {**answer, long: []}
            response_dict["body"] = json.dumps(answer).encode()
        _check(shape, [("", answer)], depth=0)
        present: Collection[str] = [name for name, value in answer.items() if value is not None]
    else:
        present = {element.tag.rpartition("}")[2] for element in _xml(body).iter()}
    missing = [name for name in required if name not in present and name not in _OPTIONAL]
    if missing:
        raise BrokenAnswerError(f"the response lacks {', '.join(missing)}")


def parse_answer(operation: str, members: Mapping[str, Any]) -> dict[str, Any]:
    """Return stored members of a SageMaker response as boto3 returns a response, with times as datetimes.

    Args:
        operation: such as ``DescribeTrainingJob``.
        members: of plain JSON; those that the model lacks are left out.

    Raises:
        BrokenAnswerError: a required member is missing, or a member has another type.
    """
    from botocore.parsers import create_parser  # noqa: PLC0415  (both are kept off the import path of sm_tuning)

    from sm_tuning.request import service_model  # noqa: PLC0415

    model = service_model().operation_model(operation)
    response = {"body": json.dumps(members).encode(), "status_code": 200, "headers": {}}
    customized: dict[str, Any] = {}
    check_answer(model, response, customized)
    answer: dict[str, Any] = {**create_parser("json").parse(response, model.output_shape), **customized}
    del answer["ResponseMetadata"]
    return answer


def _entries(shape: Any, values: list[Any]) -> list[Any] | None:
    """Return the entries of a long list as botocore would, but for times, which are in UTC.

    botocore reads each member of each entry by itself, which takes most of the time of reading a million log lines.

    Args:
        shape: the shape of an entry.
        values: the entries.

    Returns:
        The entries; None if ``_check`` and botocore must read them: a value is wrong, or has a rare form.
    """
    if _are_plain(shape, values, depth=1, nulls=False) and set().union(*values) <= shape.members.keys():
        return values
    take = _entry_taker(shape)
    required = {name for name in shape.required_members if name not in _OPTIONAL}
    try:
        entries = list(map(take, values))
    except _UnusualError:
        return None
    return entries if all(required <= entry.keys() for entry in entries) else None


@lru_cache(maxsize=8)
def _entry_taker(shape: Any) -> _Take:
    return _taker(shape)


def _taker(shape: Any) -> _Take:
    """Return a function that checks a value of a shape and returns it as botocore would; it raises _UnusualError."""
    kind = shape.type_name
    if types := _scalars(shape):
        return partial(_scalar, types)
    if kind == "timestamp":
        return _moment
    if kind == "list":
        return _list_taker(shape.member)
    if kind == "map" and shape.key.type_name == "string":
        take_value = _list_taker(shape.value)

        def take_map(value: Any) -> Any:
            if type(value) is not dict:
                raise _UnusualError
            return dict(zip(value, take_value(list(value.values())), strict=True))

        return take_map
    is_plain = kind == "structure" and not (shape.is_document_type or shape.is_tagged_union)
    return _structure_taker(shape) if is_plain else _unusual


def _structure_taker(shape: Any) -> _Take:
    always = frozenset(_ALWAYS_IN.get(shape.name, ()))
    members = {
        member.serialization.get("name", name): (name, _scalars(member), member)
        for name, member in shape.members.items()
    }
    takers: dict[str, _Take] = {}  # made when they are needed: shapes may contain themselves

    def take(value: Any) -> Any:
        if type(value) is not dict:
            raise _UnusualError
        entry = {}
        for wire, item in value.items():
            if item is None or wire not in members:
                continue
            name, scalars, member = members[wire]
            if type(item) in scalars:
                entry[name] = item
            else:
                if name not in takers:
                    takers[name] = _taker(member)
                entry[name] = takers[name](item)
        if not always <= entry.keys():
            raise _UnusualError
        return entry

    return take


def _list_taker(shape: Any) -> _Take:
    if shape.type_name == "timestamp":
        return _moments
    scalars, take = _scalars(shape), _taker(shape)

    def take_list(values: Any) -> Any:
        if type(values) is not list:
            raise _UnusualError
        return values if scalars and scalars.issuperset(map(type, values)) else list(map(take, values))

    return take_list


def _scalars(shape: Any) -> frozenset[type]:
    """Return the types of a scalar that needs no conversion; a blob does."""
    return frozenset(() if shape.type_name == "blob" else _SCALARS.get(shape.type_name, ()))


def _scalar(types: frozenset[type], value: Any) -> Any:
    if type(value) not in types:
        raise _UnusualError
    return value


def _moment(value: Any) -> datetime:
    if type(value) not in (int, float) or not 0 <= value <= _LAST_SECOND:  # nan is not
        raise _UnusualError
    return datetime.fromtimestamp(value, UTC)


def _moments(values: Any) -> list[datetime]:
    """Return what ``_moment`` does of each value of a list; a page of metrics has ten thousand."""
    if type(values) is not list or not set(map(type, values)) <= {int, float} or min(values, default=0) < 0:
        raise _UnusualError
    try:
        return [datetime.fromtimestamp(value, UTC) for value in values]
    except (ValueError, OverflowError) as e:  # nan, or after the year 9999
        raise _UnusualError from e


def _unusual(value: Any) -> Any:
    raise _UnusualError(type(value))


def check_subject(given: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
    """Check that the description of a resource is of the one that was asked for; the service ignores case.

    Raises:
        BrokenAnswerError: it describes another one, such as a faulty proxy returns.
    """
    for member in _SUBJECTS:
        asked, found = given.get(member), answer.get(member)
        if isinstance(asked, str) and isinstance(found, str) and asked.lower() != found.lower():
            raise BrokenAnswerError(f"the response describes {found!r:.80}")


def _check_length(body: bytes, headers: Mapping[str, str]) -> None:
    length = headers.get("content-length", "")
    if "content-encoding" not in headers and length.isdigit() and len(body) != int(length):
        raise BrokenAnswerError(f"the response was cut off after {len(body)} of {length} bytes")


def _check_error(body: bytes, *, is_json: bool) -> None:
    """Check an error: botocore fails on some texts, and takes the page of a proxy for a message of the service."""
    if body and is_json:
        error = _json(body)
        texts = [error.get(name) for name in ("__type", "message", "Message")] if isinstance(error, dict) else [error]
        if not all(text is None or isinstance(text, str) for text in texts):
            raise BrokenAnswerError(f"the response is {error!r:.60} instead of an error")
    elif body:
        _xml(body)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body.decode())  # of bytes, json also takes UTF-16 and a mark, botocore neither
    except (ValueError, RecursionError) as e:
        raise BrokenAnswerError(f"the response is not JSON: {e}") from e


def _xml(body: bytes) -> ET.Element:
    try:
        root = ET.fromstring(body)  # noqa: S314  (the answer is from the endpoint that the user named)
    except (ET.ParseError, ValueError) as e:
        raise BrokenAnswerError(f"the response is not XML: {e}") from e
    if root.tag.rpartition("}")[2].lower() == "html":
        raise BrokenAnswerError("the response is an HTML page")
    return root


def _check(shape: Any, values: Collection[tuple[str, Any]], *, depth: int) -> None:
    """Raise BrokenAnswerError for the first difference between values and their shape.

    All entries of a list are checked in one call, and scalars without one: a page of logs has 10,000 entries.

    Required members are asked for at the top and in the entries of its lists, which are the service's own. Deeper
    structures are shared with requests, whose required members a description may lack.

    Args:
        shape: the shape of all values.
        values: the path and the value of each.
        depth: 0 at the top, 1 in the entries of a list there, more in other structures.
    """
    kind = shape.type_name
    if kind == "list" and all(_are_plain(shape.member, value, depth - 1) for _, value in values):
        return
    for path, value in values:
        if not _fits(kind, value):
            raise BrokenAnswerError(f"{path or 'the response'} is {value!r:.60} instead of a {kind}")
    if kind == "structure":
        required = [name for name in shape.required_members if depth < 2 and name not in _OPTIONAL]
        required += _ALWAYS_IN.get(shape.name, ())
        members = {
            member.serialization.get("name", name): (member, _SCALARS.get(member.type_name, ()))
            for name, member in shape.members.items()
        }
        for path, value in values:
            missing = [name for name in required if value.get(name) is None]
            if missing:
                raise BrokenAnswerError(f"{path or 'the response'} lacks {', '.join(missing)}")
            for name, found in value.items():
                member, scalars = members.get(name, (None, ()))
                if member is not None and found is not None and type(found) not in scalars:
                    _check(member, [(f"{path}.{name}" if path else name, found)], depth=depth + 2)
    elif kind == "list":
        for path, value in values:
            entries = [(f"{path}[{number}]", item) for number, item in enumerate(value)]
            _check(shape.member, entries, depth=depth - 1)
    elif kind == "map":
        for path, value in values:
            entries = [(f"{path}[{key!r}]", item) for key, item in value.items()]
            _check(shape.value, entries, depth=depth + 1)


def _are_plain(shape: Any, values: Any, depth: int, *, nulls: bool = True) -> bool:
    """Return whether the values of a list are scalars, or structures of scalars, and right; if not, ``_check`` decides.

    A page of logs has 10,000 entries: the types of each member are compared at once, and no paths are made.

    Args:
        shape: the shape of a value.
        values: the list.
        depth: as in ``_check``.
        nulls: whether members that are not required may be missing or null.
    """
    if type(values) is not list:
        return False
    kinds = set(map(type, values))
    if shape.type_name == "timestamp":
        return kinds <= {int, float} and all(0 <= value <= _LAST_SECOND for value in values)  # nan is not
    if shape.type_name in _SCALARS:
        return kinds <= set(_SCALARS[shape.type_name])
    if shape.type_name != "structure" or kinds != {dict}:
        return False
    required = {name for name in shape.required_members if depth < 2 and name not in _OPTIONAL}
    required |= set(_ALWAYS_IN.get(shape.name, ()))
    for name, member in shape.members.items():
        allowed = {*_SCALARS.get(member.type_name, ()), *((NoneType,) if nulls and name not in required else ())}
        wire = member.serialization.get("name", name)
        try:
            found = set(map(type, map(itemgetter(wire), values)))
        except KeyError:
            found = {type(value.get(wire)) for value in values}
        if not found <= allowed:
            return False
    return True


def _fits(kind: str, value: Any) -> bool:
    if kind == "timestamp":
        return _is_timestamp(value)
    if kind in ("float", "double") and value in ("NaN", "Infinity", "-Infinity"):
        return True
    return type(value) in _JSON_TYPES[kind]


def _is_timestamp(value: Any) -> bool:
    if isinstance(value, str):
        from botocore.utils import parse_timestamp  # noqa: PLC0415  (texts are rare: SageMaker sends numbers)

        try:
            parse_timestamp(value)
        except (ValueError, OverflowError):
            return False
        return True
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and 0 <= value <= _LAST_SECOND
