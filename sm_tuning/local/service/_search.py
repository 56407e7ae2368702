"""The operation Search, over training jobs and tuning jobs."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sm_tuning._errors import nearest
from sm_tuning._wire import DEFAULT_PAGE
from sm_tuning.local.service._context import Context, Doc, Fault, Request, invalid
from sm_tuning.local.service._documents import job_name_of_arn, training_description, tuning_description
from sm_tuning.request import service_model

#: The resources that are searched here, with the shape of their records.
RESOURCES = {"TrainingJob": "TrainingJob", "HyperParameterTuningJob": "HyperParameterTuningJobSearchEntity"}

_NAMES = {"TrainingJob": "TrainingJobName", "HyperParameterTuningJob": "HyperParameterTuningJobName"}
_KINDS = {"TrainingJob": "training-job", "HyperParameterTuningJob": "hyper-parameter-tuning-job"}
_MOST_FILTERS = 50
_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
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

Position = tuple[bool, list[Any], str]
"""Place of a record in the results: whether it lacks the property, its value (numbers before texts), its name."""

Test = Callable[[Mapping[str, Any]], bool]
"""Test of a record, which is a resource as Search returns it, with Tags."""


def search(context: Context, request: Request) -> Doc:
    """Search; by default, records with the newest change come first."""
    resource = request["Resource"]
    if resource not in RESOURCES:
        raise invalid(f"The local SageMaker does not search Resource {resource}: use the List and Describe operations.")
    if "VisibilityConditions" in request:
        raise invalid("The local SageMaker does not support VisibilityConditions: all records are visible to you.")
    shape = service_model().shape_for(RESOURCES[resource])
    expression = request.get("SearchExpression")
    test = None if expression is None else compile_expression(shape, expression)
    sort_by = property_of(shape, request.get("SortBy", "LastModifiedTime"))
    if request.get("CrossAccountFilterOption") == "CrossAccount":
        return {"Results": []}  # this server has a single account
    descending = request.get("SortOrder", "Descending") == "Descending"
    found: list[tuple[Position, Doc]] = []
    for record in _records(context, resource, expression, shape):
        if test is None or test(record):
            name, values = record[_NAMES[resource]], sort_by.values(record)
            if not values or isinstance(values[0], dict):
                found.append(((True, [], name), record))
            else:
                number = None if sort_by.kind == "text" else number_of(values[0])
                found.append(((False, [1, str(values[0])] if number is None else [0, number], name), record))
    found.sort(key=lambda entry: entry[0][1:], reverse=descending)
    found.sort(key=lambda entry: entry[0][0])  # records without the property come last in either order
    # A token belongs to a request with the same parameters, except for the page.
    parameters = {name: value for name, value in request.items() if name not in ("NextToken", "MaxResults")}
    fingerprint = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:16]
    last = _read_token(request["NextToken"], fingerprint) if "NextToken" in request else None

    def follows(position: Position) -> bool:
        if last is None or position[0] != last[0]:
            return last is None or position[0]
        return position[1:] < last[1:] if descending else position[1:] > last[1:]

    rest = [entry for entry in found if follows(entry[0])]
    page = rest[: request.get("MaxResults", DEFAULT_PAGE)]
    response: Doc = {"Results": [{resource: record} for _, record in page]}
    if len(rest) > len(page):
        response["NextToken"] = base64.urlsafe_b64encode(json.dumps([fingerprint, *page[-1][0]]).encode()).decode()
    return response


def _records(context: Context, resource: str, expression: Request | None, shape: Any) -> Iterator[Doc]:
    """Yield all records that may match, as in the response."""
    described: Iterable[Doc]
    if resource == "TrainingJob":
        now = context.clock()
        described = (training_description(doc, now) for doc in _training_jobs(context, expression or {}))
    else:
        described = (tuning_description(context, doc) for doc in context.store.all_tuning_jobs())
    for doc in described:
        arn = context.identity.arn(_KINDS[resource], doc[_NAMES[resource]])
        record = {name: value for name, value in doc.items() if name in shape.members}
        tags = context.store.tags(arn)
        yield {**record, "Tags": tags} if tags else record


def _training_jobs(context: Context, expression: Request) -> list[Doc]:
    # Most searches name a tuning job: then only its training jobs need be read.
    if expression.get("Operator", "And") == "And":
        for given in expression.get("Filters", []):
            if given["Name"] == "TuningJobArn" and given.get("Operator", "Equals") == "Equals" and "Value" in given:
                name = job_name_of_arn(given["Value"], "hyper-parameter-tuning-job")
                if name is not None and context.store.tuning_job(name) is not None:
                    return context.store.training_jobs_of(name)
    return context.store.all_training_jobs()


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


@dataclass(frozen=True)
class Property:
    """A property of records: its name, its kind and its path."""

    name: str
    kind: str
    path: tuple[str, ...]

    def values(self, record: Any) -> list[Any]:
        """Return the values in a record; several if a list is on the path."""
        return list(_walk(record, self.path))


def property_of(shape: Any, name: str) -> Property:
    """Return the property with this name.

    Args:
        shape: shape of the records in the service's model.
        name: for example ``TrainingJobStatus``, ``InputDataConfig.ChannelName``, ``HyperParameters.eta``,
            ``Metrics.validation:rmse`` or ``Tags.team``.

    Raises:
        Fault: ValidationException if the records do not have the property.
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
            raise invalid(f"Unknown property name: {name} is not a property of {shape.name}.{hint}")
        path.append(part)
    return Property(name, _PROPERTY_KINDS.get(kind.type_name, "structure"), tuple(path))


def _walk(value: Any, path: Sequence[str]) -> Iterator[Any]:
    """Yield the values at a path; of a list, those of all items, or of those that ``Key=x`` in the path selects."""
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
        Fault: ValidationException if the expression is empty or too large, or a filter is invalid.
    """
    filters = list(_all_filters(expression))
    if len(filters) > _MOST_FILTERS:
        raise invalid(f"A search expression can have {_MOST_FILTERS} filters, but this one has {len(filters)}.")
    if sum(given.get("Operator") == "Contains" for given in filters) > 1:
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
        *(_filter(shape, given) for given in expression.get("Filters", [])),
        *(_nested(shape, given) for given in expression.get("NestedFilters", [])),
        *(_expression(shape, given) for given in expression.get("SubExpressions", [])),
    ]
    if not tests:
        raise invalid("A search expression needs at least one of Filters, NestedFilters and SubExpressions.")
    if expression.get("Operator", "And") == "Or":
        return lambda record: any(test(record) for test in tests)
    return lambda record: all(test(record) for test in tests)


def _nested(shape: Any, nested: Request) -> Test:
    """Return the test whether an item of a list satisfies all filters."""
    name = nested["NestedPropertyName"]
    whole = property_of(shape, name)
    tests = []
    for given in nested["Filters"]:
        if not given["Name"].startswith(f"{name}."):
            raise invalid(f"The name of a filter nested in {name} must start with {name}., but it is {given['Name']}.")
        tests.append(_filter(shape, given, skip=len(whole.path)))
    return lambda record: any(all(test(item) for test in tests) for item in whole.values(record))


def _filter(shape: Any, given: Request, skip: int = 0) -> Test:
    """Return the test of a filter; in a nested filter, ``skip`` is the number of parts of the path to the item."""
    found = property_of(shape, given["Name"])
    place = Property(found.name, found.kind, found.path[skip:])
    name, value = given.get("Operator", "Equals"), given.get("Value")
    if name in ("Exists", "NotExists"):
        if value is not None:
            raise invalid(f"The operator {name} takes no Value, but the filter of {found.name} has {value!r}.")
        return lambda record: bool(place.values(record)) == (name == "Exists")
    if value is None:
        raise invalid(f"The operator {name} needs a Value: the filter of {found.name} has none.")
    test = _comparison(found, name, value)
    if name == "NotEquals":  # of a list: no item is equal
        return lambda record: not any(test(item) for item in place.values(record))
    return lambda record: any(test(item) for item in place.values(record))


def _comparison(found: Property, name: str, value: str) -> Callable[[Any], bool]:
    """Return the comparison of a value of the property with the value of the filter, by the operator's name."""
    unsupported = invalid(f"The operator {name} is not supported for {found.name}, which is a {found.kind} property.")
    order = _ORDERS.get(name)
    if name in ("Contains", "In"):
        if found.kind not in ("text", "hyperparameter"):
            raise unsupported
        if name == "Contains":
            return lambda item: value in str(item)
        choices = {choice.strip() for choice in value.split(",")}
        return lambda item: str(item) in choices
    if found.kind == "hyperparameter":
        return _hyperparameter_comparison(value, order, unsupported)
    wanted = _read(found, value)
    if order is None:
        return lambda item: bool(item == wanted)
    if found.kind not in ("number", "time"):
        raise unsupported
    return lambda item: order(item, wanted)


def _hyperparameter_comparison(
    value: str, order: Callable[[Any, Any], bool] | None, unsupported: Fault
) -> Callable[[Any], bool]:
    wanted = number_of(value)
    if wanted is None:
        if order is not None:
            raise unsupported
        return lambda item: bool(item == value)
    whole = value.strip().lstrip("+-").isdigit()

    def test(item: Any) -> bool:
        number = number_of(item)
        if number is None:
            return False
        if whole and math.isfinite(number):
            number = float(int(number))  # compared as integers if the value is one [API Reference, Filter]
        return number == wanted if order is None else bool(order(number, wanted))

    return test


def number_of(text: Any) -> float | None:
    """Return the number in a text, with or without JSON quotes; None for other texts and for NaN."""
    try:
        number = float(str(text).strip('"'))
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _read(found: Property, value: str) -> Any:
    """Return the value of a filter in the kind of its property."""
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
