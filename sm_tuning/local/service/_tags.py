"""Tags of tuning and training jobs."""

from __future__ import annotations

from sm_tuning.local.service._context import Context, Doc, Request, invalid
from sm_tuning.local.service._documents import job_name_of_arn
from sm_tuning.local.service._tuning import check_tags

_MAX_TAGS = 50


def is_ours(request: Request) -> bool:
    """Whether a request is about the tags of a tuning or training job."""
    arn = str(request.get("ResourceArn", ""))
    return any(job_name_of_arn(arn, kind) for kind in ("hyper-parameter-tuning-job", "training-job"))


def list_tags(context: Context, request: Request) -> Doc:
    """ListTags, in one page: a resource has no more than 50."""
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
    """Return the resource's ARN as it is stored, once it is certain that the resource exists."""
    arn = request["ResourceArn"]
    tuning = job_name_of_arn(arn, "hyper-parameter-tuning-job")
    doc = context.store.tuning_job(tuning) if tuning else None
    if doc is not None:
        return str(doc["HyperParameterTuningJobArn"])
    training = job_name_of_arn(arn, "training-job")
    doc = context.store.training_job(training) if training else None
    if doc is not None:
        return str(doc["TrainingJobArn"])
    raise invalid("Requested resource not found.")
