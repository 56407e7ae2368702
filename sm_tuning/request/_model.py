"""Check a SageMaker request against botocore's service model, offline and completely.

botocore's own validator looks at types, required members and minima; enums, maxima, lengths and patterns
reach the service unchecked. Here all of them are checked, and said in the words of the service.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sm_tuning._errors import nearest
from sm_tuning.request._patterns import matches

_LONG_ENUM = 20
_LONG_VALUE = 256
_INT_LIMITS = {"integer": 2**31 - 1, "long": 2**63 - 1}


@dataclass(frozen=True)
class Violation:
    """One rule of the service model that a request breaks.

    Attributes:
        path: the member, as the service writes it: ``trainingJobDefinition.outputDataConfig.s3OutputPath``,
            ``tags.1.member.key``; empty for the request itself.
        value: what was given there; None when a required member is missing.
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


def validation_message(found: Sequence[Violation]) -> str:
    """Join violations in the words of the service's ValidationException."""
    noun = "error" if len(found) == 1 else "errors"
    return f"{len(found)} validation {noun} detected: " + "; ".join(map(_clause, found))


def violations(operation: str, params: Mapping[str, Any]) -> list[Violation]:
    """Return every rule of the model that the parameters of a SageMaker operation break, in member order.

    Raises:
        KeyError: the model has no such operation.
    """
    if not has_operation(operation):
        raise KeyError(f"SageMaker has no operation {operation!r}")
    shape = _service_model().operation_model(operation).input_shape
    return [] if shape is None else list(_check(shape, params, ""))


def has_operation(operation: str) -> bool:
    """Whether the SageMaker model has an operation of that name."""
    return operation in _service_model().operation_names


def _clause(violation: Violation) -> str:
    where = f" at {violation.path!r}" if violation.path else ""
    if violation.value is None:
        value = " null"
    elif violation.sensitive:
        value = ""
    else:
        value = f" '{_shown(violation.value)}'"
    return f"Value{value}{where} failed to satisfy constraint: {violation.constraint}"


def _shown(value: Any) -> str:
    text = _plain(value)
    return text if len(text) <= _LONG_VALUE else f"{text[:_LONG_VALUE]}..."


def _plain(value: Any) -> str:
    """Print a value as Java does, the language of the service: no quotes, ``{k=v}``, ``true``."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}={_plain(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return str(value)


@functools.cache
def _service_model() -> Any:
    """Load the model from botocore's data files; no client, no credentials, no network."""
    from botocore.loaders import Loader  # noqa: PLC0415  (kept off the import path of sm_tuning)
    from botocore.model import ServiceModel  # noqa: PLC0415

    return ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")


def _check(shape: Any, value: Any, path: str) -> Iterator[Violation]:
    expected = _TYPES.get(shape.type_name)
    if expected is None or not expected(value):
        article = "an" if shape.type_name[0] in "aeiou" else "a"
        yield _violation(shape, value, path, "type", f"Member must be {article} {shape.type_name}")
        return
    if shape.type_name == "structure":
        yield from _check_structure(shape, value, path)
        return
    broken = list(_broken_rules(shape, value))
    yield from (_violation(shape, value, path, kind, rule) for kind, rule in broken)
    if shape.type_name == "list":
        yield from _check_list(shape, value, path)
    elif shape.type_name == "map":
        yield from _check_map(shape, value, path)


def _check_structure(shape: Any, value: Mapping[str, Any], path: str) -> Iterator[Violation]:
    for name in shape.required_members:
        if value.get(name) is None:
            yield _violation(shape.members[name], None, _join(path, name), "required", "Member must not be null")
    for name, item in value.items():
        if name not in shape.members:
            yield _violation(shape, item, _join(path, name), "unknown", _unknown(shape, name))
        elif item is not None:
            yield from _check(shape.members[name], item, _join(path, name))
        elif name not in shape.required_members:
            yield _violation(shape.members[name], None, _join(path, name), "type", "Member must not be null")
    if shape.is_tagged_union and len(value) != 1:
        names = ", ".join(shape.members)
        yield _violation(shape, value, path, "union", f"Member must have exactly one of: [{names}]")


def _check_list(shape: Any, value: Sequence[Any], path: str) -> Iterator[Violation]:
    if shape.member.type_name in ("structure", "list", "map"):
        for number, item in enumerate(value, start=1):
            yield from _check(shape.member, item, f"{path}.{number}.member")
        return
    yield from _check_items(shape, value, path, (shape.member, value, "Member"))


def _check_map(shape: Any, value: Mapping[str, Any], path: str) -> Iterator[Violation]:
    yield from _check_items(shape, value, path, (shape.key, list(value), "Map keys"))
    if shape.value.type_name in ("structure", "list", "map"):
        for key, item in value.items():
            yield from _check(shape.value, item, f"{path}.{key}.member")
        return
    yield from _check_items(shape, value, path, (shape.value, list(value.values()), "Map value"))


def _check_items(shape: Any, value: Any, path: str, items: tuple[Any, Sequence[Any], str]) -> Iterator[Violation]:
    """Check plain items; the service reports the whole collection and the rules of its items."""
    item_shape, given, noun = items
    found = [violation for item in given for violation in _check(item_shape, item, path)]
    for kind in dict.fromkeys(violation.kind for violation in found):
        rules = dict.fromkeys(violation.constraint for violation in found if violation.kind == kind)
        yield _violation(shape, value, path, kind, f"{noun} must satisfy constraint: [{', '.join(rules)}]")


def _broken_rules(shape: Any, value: Any) -> Iterator[tuple[str, str]]:
    rules = shape.metadata
    size = _size(shape, value)
    if size is not None:
        kind, noun = ("range", "value") if shape.type_name in _NUMBERS else ("length", "length")
        limits = {"max": _INT_LIMITS.get(shape.type_name, math.inf), **rules}
        if size < rules.get("min", -math.inf):
            yield kind, f"Member must have {noun} greater than or equal to {rules['min']}"
        if size > limits["max"]:
            yield kind, f"Member must have {noun} less than or equal to {limits['max']}"
    if shape.type_name == "string":
        if rules.get("enum") and value not in rules["enum"]:
            yield "enum", f"Member must satisfy enum value set: [{_enum(rules['enum'], value)}]"
        if "pattern" in rules and not matches(rules["pattern"], value):
            yield "pattern", f"Member must satisfy regular expression pattern: {rules['pattern']}"


def _size(shape: Any, value: Any) -> float | None:
    if shape.type_name in _NUMBERS:
        return float("nan") if isinstance(value, float) and math.isnan(value) else value
    return len(value) if shape.type_name in ("string", "list", "map") else None


def _enum(allowed: Sequence[str], value: str) -> str:
    """List an enum; of a long one, the values nearest to what was given."""
    if len(allowed) <= _LONG_ENUM:
        return ", ".join(allowed)
    near = difflib.get_close_matches(value, allowed, n=5) or allowed[:3]
    return f"{', '.join(near)}, ... {len(allowed)} values in all"


def _unknown(shape: Any, name: str) -> str:
    near = nearest(name, shape.members)
    hint = f"; did you mean {near}?" if near else ""
    return f"Member is not known to {shape.name}{hint}"


def _join(path: str, member: str) -> str:
    """Append a member as the service writes it, with a small first letter."""
    name = member[:1].lower() + member[1:]
    return f"{path}.{name}" if path else name


def _violation(shape: Any, value: Any, path: str, kind: str, constraint: str) -> Violation:
    return Violation(path, value, constraint, kind, shape.name, bool(shape.metadata.get("sensitive")))


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_NUMBERS = ("integer", "long", "float", "double")
_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "structure": lambda value: isinstance(value, Mapping),
    "map": lambda value: isinstance(value, Mapping),
    "list": lambda value: isinstance(value, list | tuple),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": _is_integer,
    "long": _is_integer,
    "float": _is_number,
    "double": _is_number,
    "timestamp": lambda value: isinstance(value, datetime | str) or _is_number(value),
    "blob": lambda value: isinstance(value, bytes | bytearray | str),
}
