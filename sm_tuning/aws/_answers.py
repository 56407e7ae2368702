"""Responses checked before anything reads them.

botocore takes a response that was cut off for an empty one: its JSON parser returns no members for text that it cannot
read, and most outputs have no required member. So each successful response is compared with the operation's output
shape, and a reader never sees a part of an answer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree as ET

#: Required members that an answer may lack: the service leaves the model out until a training job has ended, and moto,
#: which holds the model registry of the local SageMaker, leaves out who made a group and the name of a version.
_OPTIONAL = frozenset({"CreatedBy", "ModelArtifacts", "ModelPackageName"})

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


class BrokenAnswerError(Exception):
    """A successful response that is not what the operation returns; the message says in what way."""


def check_answer(operation_model: Any, response_dict: Mapping[str, Any], **_: Any) -> None:
    """Check a response; a handler of botocore's ``before-parse`` event.

    Args:
        operation_model: the operation.
        response_dict: status code, headers and body as they arrived.

    Raises:
        BrokenAnswerError: a successful response is cut off, is not in the service's format, lacks a required member,
            or has a member of another type.
    """
    body, shape = response_dict["body"], operation_model.output_shape
    if not 200 <= response_dict["status_code"] < 300 or not isinstance(body, bytes):
        return  # errors are botocore's to read, and streams are checked by their readers
    headers = {name.lower(): value for name, value in response_dict["headers"].items()}
    length = headers.get("content-length", "")
    whole = operation_model.http.get("method") != "HEAD" and "content-encoding" not in headers
    if whole and length.isdigit() and len(body) != int(length):
        raise BrokenAnswerError(f"the response was cut off after {len(body)} of {length} bytes")
    in_body = shape is not None and any(not member.serialization.get("location") for member in shape.members.values())
    if not in_body:
        return
    if not body:
        raise BrokenAnswerError("the response is empty")
    if "json" in operation_model.service_model.resolved_protocol:
        _check_json(shape, body)
    else:
        try:
            ET.fromstring(body)  # noqa: S314  (the answer is from the endpoint that the user named)
        except ET.ParseError as e:
            raise BrokenAnswerError(f"the response is not XML: {e}") from e


def _check_json(shape: Any, body: bytes) -> None:
    try:
        answer = json.loads(body)
    except ValueError as e:
        raise BrokenAnswerError(f"the response is not JSON: {e}") from e
    problem = next(_problems(shape, answer, "", depth=0), None)
    if problem is not None:
        raise BrokenAnswerError(problem)


def _problems(shape: Any, value: Any, path: str, *, depth: int) -> Iterator[str]:
    """Yield what differs from a shape.

    Required members are asked for at the top and in the entries of its lists, which are the service's own. Deeper
    structures are shared with requests, whose required members a description may lack.
    """
    kind = shape.type_name
    if not _fits(kind, value):
        yield f"{path or 'the response'} is {value!r:.60} instead of a {kind}"
    elif kind == "structure":
        missing = [name for name in shape.required_members if value.get(name) is None and name not in _OPTIONAL]
        if missing and depth < 2:
            yield f"{path or 'the response'} lacks {', '.join(missing)}"
        for name, member in shape.members.items():
            found = value.get(member.serialization.get("name", name))
            if found is not None:
                yield from _problems(member, found, f"{path}.{name}" if path else name, depth=depth + 2)
    elif kind == "list":
        for number, item in enumerate(value):
            if item is not None:
                yield from _problems(shape.member, item, f"{path}[{number}]", depth=depth - 1)
    elif kind == "map":
        for key, item in value.items():
            if item is not None:
                yield from _problems(shape.value, item, f"{path}[{key!r}]", depth=depth + 1)


def _fits(kind: str, value: Any) -> bool:
    if kind == "timestamp":
        return _is_timestamp(value)
    if kind in ("float", "double") and value in ("NaN", "Infinity", "-Infinity"):
        return True
    return isinstance(value, _JSON_TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


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
