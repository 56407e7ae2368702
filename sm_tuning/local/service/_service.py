"""The operations by name, and those on tags."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from sm_tuning.local.service import _training, _tuning
from sm_tuning.local.service._context import Context, Doc, Fault, Request, invalid
from sm_tuning.local.service._documents import job_name_of_arn
from sm_tuning.local.service._search import search
from sm_tuning.local.service._tuning import check_tags
from sm_tuning.local.store import BadTokenError
from sm_tuning.request import has_operation, validation_message, violations

Operation = Callable[[Context, Request], Doc]

_MAX_TAGS = 50


def list_tags(context: Context, request: Request) -> Doc:
    """ListTags, always in one page, since a resource has 50 tags at most."""
    if "NextToken" in request:
        raise invalid("Invalid NextToken.")
    return {"Tags": context.store.tags(_arn(context, request))}


def add_tags(context: Context, request: Request) -> Doc:
    """AddTags."""
    arn = _arn(context, request)
    check_tags(request["Tags"])
    keys = {tag["Key"] for tag in (*context.store.tags(arn), *request["Tags"])}
    if len(keys) > _MAX_TAGS:
        raise invalid(f"A resource can have {_MAX_TAGS} tags, but with these it would have {len(keys)}.")
    context.store.add_tags(arn, request["Tags"])
    return {"Tags": context.store.tags(arn)}


def delete_tags(context: Context, request: Request) -> Doc:
    """DeleteTags."""
    context.store.delete_tags(_arn(context, request), request["TagKeys"])
    return {}


def _arn(context: Context, request: Request) -> str:
    """Return the ARN of an existing resource, as it is stored."""
    arn = request["ResourceArn"]
    tuning = job_name_of_arn(arn, "hyper-parameter-tuning-job")
    doc = context.store.tuning_job(tuning) if tuning else None
    if doc is not None:
        return str(doc["HyperParameterTuningJobArn"])
    training = job_name_of_arn(arn, "training-job")
    doc = context.store.training_job(training) if training else None
    if doc is not None:
        return str(doc["TrainingJobArn"])
    if context.store.resource(arn) is not None:
        return str(arn)
    raise invalid("Requested resource not found.")


_OPERATIONS: Mapping[str, Operation] = {
    "CreateHyperParameterTuningJob": _tuning.create_tuning_job,
    "DescribeHyperParameterTuningJob": _tuning.describe_tuning_job,
    "ListHyperParameterTuningJobs": _tuning.list_tuning_jobs,
    "StopHyperParameterTuningJob": _tuning.stop_tuning_job,
    "DeleteHyperParameterTuningJob": _tuning.delete_tuning_job,
    "ListTrainingJobsForHyperParameterTuningJob": _tuning.list_trials,
    "CreateTrainingJob": _training.create_training_job,
    "DeleteTrainingJob": _training.delete_training_job,
    "DescribeTrainingJob": _training.describe_training_job,
    "ListTrainingJobs": _training.list_training_jobs,
    "StopTrainingJob": _training.stop_training_job,
    "UpdateTrainingJob": _training.update_training_job,
    "Search": search,
}
_TAG_OPERATIONS: Mapping[str, Operation] = {
    "AddTags": add_tags,
    "ListTags": list_tags,
    "DeleteTags": delete_tags,
}
# Kinds whose resources, with their tags, are in moto.
_TAGGED_BY_MOTO = (
    "data-quality-job-definition",
    "model-bias-job-definition",
    "model-quality-job-definition",
    "pipeline",
)


class SageMakerService:
    """SageMaker's operations on this machine.

    Args:
        context: the services of the tuning and training operations.
        more: further operations, by name.
    """

    def __init__(self, context: Context, more: Mapping[str, Callable[[Request], Doc]] | None = None) -> None:
        self._context = context
        self._more = dict(more or {})

    def handles(self, operation: str, params: Mapping[str, Any]) -> bool:
        """Return whether this service answers an operation, and not moto."""
        if operation in _TAG_OPERATIONS:
            arn = str(params.get("ResourceArn", ""))
            return not any(job_name_of_arn(arn, kind) for kind in _TAGGED_BY_MOTO)
        return operation in self._more or operation in _OPERATIONS or not has_operation(operation)

    def call(self, operation: str, params: Mapping[str, Any]) -> Doc:
        """Check a request against the model and return the response.

        Raises:
            Fault: the response is an error.
        """
        if not has_operation(operation):
            raise Fault("UnknownOperationException", f"SageMaker has no operation {operation}.", 404)
        own = _OPERATIONS.get(operation) or _TAG_OPERATIONS.get(operation)
        run = self._more[operation] if own is None else functools.partial(own, self._context)
        # Clients may send anything: the rules below rely on types, lengths and enums of the model.
        found = violations(operation, params)
        if found:
            raise invalid(validation_message(found))
        try:
            return run(params)
        except BadTokenError as e:
            raise invalid(str(e)) from e
