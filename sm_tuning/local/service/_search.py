"""Search over training jobs and tuning jobs."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sm_tuning._errors import nearest
from sm_tuning._wire import DEFAULT_PAGE
from sm_tuning.local.service._context import Context, Doc, Fault, Request, invalid
from sm_tuning.local.service._documents import job_name_of_arn, training_description, tuning_description
from sm_tuning.request import service_model

RESOURCES = {"TrainingJob": "TrainingJob", "HyperParameterTuningJob": "HyperParameterTuningJobSearchEntity"}
"""What is searched here, with the shape of its records."""

_NAMES = {"TrainingJob": "TrainingJobName", "HyperParameterTuningJob": "HyperParameterTuningJobName"}
_KINDS = {"TrainingJob": "training-job", "HyperParameterTuningJob": "hyper-parameter-tuning-job"}
Position = tuple[bool, list[Any], str]


def search(context: Context, request: Request) -> Doc:
    """Search: full records, newest change first unless the request says otherwise."""
    resource = request["Resource"]
    if "VisibilityConditions" in request:
        raise invalid("The local SageMaker does not support VisibilityConditions: everything here is yours to see.")
    shape = service_model().shape_for(RESOURCES[resource])
    expression = request.get("SearchExpression")
    test = None if expression is None else compile_expression(shape, expression)
    sort_by = property_of(shape, request.get("SortBy", "LastModifiedTime"))
    if request.get("CrossAccountFilterOption") == "CrossAccount":
        return {"Results": []}  # there is no other account
    descending = request.get("SortOrder", "Descending") == "Descending"
    found = [
        (_position(record, sort_by, record[_NAMES[resource]]), record)
        for record in _records(context, resource, expression, shape)
        if test is None or test(record)
    ]
    found.sort(key=lambda entry: entry[0][1:], reverse=descending)
    found.sort(key=lambda entry: entry[0][0])  # without the property: last in either order
    # What a token is bound to: everything that was asked but the page.
    asked = {name: value for name, value in request.items() if name not in ("NextToken", "MaxResults")}
    fingerprint = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    last = _read_token(request["NextToken"], fingerprint) if "NextToken" in request else None
    rest = [entry for entry in found if last is None or _is_after(entry[0], last, descending=descending)]
    page = rest[: request.get("MaxResults", DEFAULT_PAGE)]
    answer: Doc = {"Results": [{resource: record} for _, record in page]}
    if len(rest) > len(page):
        answer["NextToken"] = base64.urlsafe_b64encode(json.dumps([fingerprint, *page[-1][0]]).encode()).decode()
    return answer


def _records(context: Context, resource: str, expression: Request | None, shape: Any) -> Iterable[Doc]:
    """Yield everything that may match, as the response would show it."""
    described: Iterable[Doc] = (
        (training_description(doc) for doc in _training_jobs(context, expression or {}))
        if resource == "TrainingJob"
        else (tuning_description(context, doc) for doc in context.store.all_tuning_jobs())
    )
    for doc in described:
        arn = context.identity.arn(_KINDS[resource], doc[_NAMES[resource]])
        record = {name: value for name, value in doc.items() if name in shape.members}
        tags = context.store.tags(arn)
        yield {**record, "Tags": tags} if tags else record


def _training_jobs(context: Context, expression: Request) -> list[Doc]:
    """Return the training jobs of the one tuning job that an expression names, or else all."""
    if expression.get("Operator", "And") == "And":
        for one in expression.get("Filters", []):
            if one["Name"] == "TuningJobArn" and one.get("Operator", "Equals") == "Equals" and "Value" in one:
                name = job_name_of_arn(one["Value"], "hyper-parameter-tuning-job")
                if name is not None and context.store.tuning_job(name) is not None:
                    return context.store.training_jobs_of(name)
    return context.store.all_training_jobs()


def _position(record: Doc, sort_by: Property, name: str) -> Position:
    """Return where a record stands: whether it lacks the property, its value (numbers before texts), its name."""
    values = sort_by.values(record)
    if not values or isinstance(values[0], dict):
        return True, [], name
    number = None if sort_by.kind == "text" else number_of(values[0])
    return False, [1, str(values[0])] if number is None else [0, number], name


def _is_after(position: Position, last: Position, *, descending: bool) -> bool:
    if position[0] != last[0]:
        return position[0]
    return position[1:] < last[1:] if descending else position[1:] > last[1:]


def _read_token(token: str, fingerprint: str) -> Position:
    try:
        given, missing, value, name = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError, binascii.Error) as e:
        raise invalid("Invalid NextToken.") from e
    if given != fingerprint:
        raise invalid("Invalid NextToken: it was given for another search.")
    if value and [type(value[0]), type(value[-1])] not in ([int, float], [int, str]):
        raise invalid("Invalid NextToken.")
    return bool(missing), list(value), str(name)


MOST_FILTERS = 50

Record = Mapping[str, Any]
"""A resource as Search returns it, with Tags."""

Test = Callable[[Record], bool]
_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "GreaterThan": lambda one, other: one > other,
    "GreaterThanOrEqualTo": lambda one, other: one >= other,
    "LessThan": lambda one, other: one < other,
    "LessThanOrEqualTo": lambda one, other: one <= other,
}
_PROPERTY_KINDS = {
    "string": "text",
    "integer": "number",
    "long": "number",
    "float": "number",
    "double": "number",
    "boolean": "truth value",
    "timestamp": "time",
}


@dataclass(frozen=True)
class Property:
    """A property that can be searched by: its kind, and what it is in a record."""

    name: str
    kind: str
    path: tuple[str, ...]

    def values(self, record: Any) -> list[Any]:
        """Return its values in a record: none, one, or those of all items of a list."""
        return list(_walk(record, self.path))


def property_of(shape: Any, name: str) -> Property:
    """Return the property of that name.

    Args:
        shape: of the records, from the service model.
        name: such as ``TrainingJobStatus``, ``InputDataConfig.ChannelName``, ``HyperParameters.eta``,
            ``Metrics.validation:rmse`` or ``Tags.team``.

    Raises:
        Fault: ValidationException: the records have no such property.
    """
    first, _, rest = name.partition(".")
    if rest and first == "Tags":
        return Property(name, "text", ("Tags", f"Key={rest}", "Value"))
    if rest and first == "Metrics" and "FinalMetricDataList" in shape.members:
        return Property(name, "number", ("FinalMetricDataList", f"MetricName={rest}", "Value"))
    if rest and first == "HyperParameters" and first in shape.members:
        return Property(name, "hyperparameter", (first, rest))
    path, kind = [], shape
    for part in name.split("."):
        if kind.type_name == "list":
            kind = kind.member
        if kind.type_name == "structure" and part in kind.members:
            kind = kind.members[part]
        elif kind.type_name == "map":
            kind = kind.value
        else:
            near = nearest(name, shape.members)
            hint = f" Did you mean {near}?" if near else ""
            raise invalid(f"Unknown property name: {name} is no property of {shape.name}.{hint}")
        path.append(part)
    return Property(name, _PROPERTY_KINDS.get(kind.type_name, "structure"), tuple(path))


def _walk(value: Any, path: Sequence[str]) -> Iterator[Any]:
    """Yield what a path leads to; of lists every item, or those that a part of the form ``Key=x`` picks."""
    if value is None:
        return
    if isinstance(value, list):
        key, _, wanted = path[0].partition("=") if path else ("", "", "")
        for item in value:
            if wanted and isinstance(item, Mapping) and key in ("Key", "MetricName"):
                if item.get(key) == wanted:
                    yield from _walk(item, path[1:])
            else:
                yield from _walk(item, path)
    elif not path:
        yield value
    elif isinstance(value, Mapping):
        yield from _walk(value.get(path[0]), path[1:])


def compile_expression(shape: Any, expression: Request) -> Test:
    """Return the test of a SearchExpression.

    Raises:
        Fault: ValidationException: it is empty, too large, or a filter cannot be.
    """
    filters = list(_all_filters(expression))
    if len(filters) > MOST_FILTERS:
        raise invalid(f"A search expression can have {MOST_FILTERS} filters, but this one has {len(filters)}.")
    if sum(one.get("Operator") == "Contains" for one in filters) > 1:
        raise invalid("'CONTAINS' operator usage limit of 1 exceeded.")
    return _expression(shape, expression)


def _all_filters(expression: Request) -> Iterator[Request]:
    yield from expression.get("Filters", [])
    for nested in expression.get("NestedFilters", []):
        yield from nested["Filters"]
    for sub in expression.get("SubExpressions", []):
        yield from _all_filters(sub)


def _expression(shape: Any, expression: Request) -> Test:
    tests = [
        *(_filter(shape, one) for one in expression.get("Filters", [])),
        *(_nested(shape, one) for one in expression.get("NestedFilters", [])),
        *(_expression(shape, one) for one in expression.get("SubExpressions", [])),
    ]
    if not tests:
        raise invalid("A search expression needs at least one of Filters, NestedFilters and SubExpressions.")
    if expression.get("Operator", "And") == "Or":
        return lambda record: any(test(record) for test in tests)
    return lambda record: all(test(record) for test in tests)


def _nested(shape: Any, nested: Request) -> Test:
    """Return the test that one item of a list satisfies all filters."""
    name = nested["NestedPropertyName"]
    whole = property_of(shape, name)
    tests = []
    for one in nested["Filters"]:
        if not one["Name"].startswith(f"{name}."):
            raise invalid(f"The name of a filter nested in {name} must start with {name}., but it is {one['Name']}.")
        tests.append(_filter(shape, one, skip=len(whole.path)))
    return lambda record: any(all(test(item) for test in tests) for item in whole.values(record))


def _filter(shape: Any, given: Request, skip: int = 0) -> Test:
    """Return the test of one filter; ``skip`` leaves out the first parts of the path, inside a nested filter."""
    found = property_of(shape, given["Name"])
    place = Property(found.name, found.kind, found.path[skip:])
    operator, value = given.get("Operator", "Equals"), given.get("Value")
    if operator in ("Exists", "NotExists"):
        if value is not None:
            raise invalid(f"The operator {operator} takes no Value, but the filter of {found.name} has {value!r}.")
        return lambda record: bool(place.values(record)) == (operator == "Exists")
    if value is None:
        raise invalid(f"The operator {operator} needs a Value: the filter of {found.name} has none.")
    test = _comparison(found, operator, value)
    if operator == "NotEquals":  # of lists: no item is equal
        return lambda record: not any(test(item) for item in place.values(record))
    return lambda record: any(test(item) for item in place.values(record))


def _comparison(found: Property, operator: str, value: str) -> Callable[[Any], bool]:
    """Return the comparison of one value of a property with the value of the filter."""
    if operator in ("Contains", "In"):
        if found.kind not in ("text", "hyperparameter"):
            raise _unsupported(found, operator)
        if operator == "Contains":
            return lambda item: value in str(item)
        choices = {choice.strip() for choice in value.split(",")}
        return lambda item: str(item) in choices
    if found.kind == "hyperparameter":
        return _hyperparameter_comparison(found, operator, value)
    wanted = _read(found, value)
    if operator in _ORDERS:
        if found.kind not in ("number", "time"):
            raise _unsupported(found, operator)
        order = _ORDERS[operator]
        return lambda item: order(item, wanted)
    return lambda item: bool(item == wanted)


def _hyperparameter_comparison(found: Property, operator: str, value: str) -> Callable[[Any], bool]:
    """Compare as numbers where both are: as integers when the given value is one (API Reference, Filter)."""
    wanted = number_of(value)
    if wanted is None:
        if operator in _ORDERS:
            raise _unsupported(found, operator)
        return lambda item: bool(item == value)
    whole = value.strip().lstrip("+-").isdigit()
    order = _ORDERS.get(operator)

    def test(item: Any) -> bool:
        number = number_of(item)
        if number is None:
            return False
        if whole and math.isfinite(number):
            number = float(int(number))
        return number == wanted if order is None else bool(order(number, wanted))

    return test


def number_of(text: Any) -> float | None:
    """Return the number that a text says, JSON quotes aside; None for other texts and for nan."""
    try:
        number = float(str(text).strip('"'))
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _read(found: Property, value: str) -> Any:
    """Return a filter's value in the kind of its property."""
    if found.kind == "text":
        return value
    if found.kind == "number":
        number = number_of(value)
        if number is not None:
            return number
    elif found.kind == "truth value" and value.lower() in ("true", "false"):
        return value.lower() == "true"
    elif found.kind == "time":
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    form = "a time as YYYY-mm-ddTHH:MM:SS" if found.kind == "time" else f"a {found.kind}"
    if found.kind == "structure":
        raise invalid(f"{found.name} has members; name one of them, or use the operator Exists.")
    raise invalid(f"The value of the filter of {found.name} must be {form}, but it is {value!r}.")


def _unsupported(found: Property, operator: str) -> Fault:
    return invalid(f"The operator {operator} is not supported for {found.name}, which is a {found.kind} property.")
