"""Search over training jobs and tuning jobs."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable
from typing import Any

from sm_tuning._wire import DEFAULT_PAGE
from sm_tuning.local.service._context import Context, Doc, Request
from sm_tuning.local.service._documents import job_name_of_arn
from sm_tuning.local.service._fault import invalid
from sm_tuning.local.service._search_filters import Property, compile_expression, number_of, property_of
from sm_tuning.local.service._views import training_description, tuning_description
from sm_tuning.request._model import _service_model

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
    shape = _service_model().shape_for(RESOURCES[resource])
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
    fingerprint = _fingerprint(request)
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


def _fingerprint(request: Request) -> str:
    """Return what a token is bound to: everything that was asked but the page."""
    asked = {name: value for name, value in request.items() if name not in ("NextToken", "MaxResults")}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


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
