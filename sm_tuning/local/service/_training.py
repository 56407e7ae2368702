"""The operations on training jobs, all of which belong to tuning jobs here."""

from __future__ import annotations

from sm_tuning.local._types import TrainingStatus
from sm_tuning.local.service._context import Context, Doc, Request
from sm_tuning.local.service._fault import invalid
from sm_tuning.local.service._paging import list_query
from sm_tuning.local.service._views import training_description, training_summary


def describe_training_job(context: Context, request: Request) -> Doc:
    """DescribeTrainingJob."""
    return training_description(_found(context, request))


def list_training_jobs(context: Context, request: Request) -> Doc:
    """ListTrainingJobs; no training job of this server keeps a warm pool, so that filter leaves none."""
    if "WarmPoolStatusEquals" in request:
        return {"TrainingJobSummaries": []}
    docs, token = context.store.page_training_jobs(list_query(request, sort_by="CreationTime"))
    page: Doc = {"TrainingJobSummaries": [training_summary(doc) for doc in docs]}
    return page if token is None else {**page, "NextToken": token}


def stop_training_job(context: Context, request: Request) -> Doc:
    """StopTrainingJob; stopping a job that is being stopped is no error."""
    doc = _found(context, request)
    status = TrainingStatus(doc["TrainingJobStatus"])
    if status.is_terminal:
        raise invalid(f"The request was rejected because the training job is in status {status}.")
    context.runner.stop(doc["TrainingJobName"])
    return {}


def _found(context: Context, request: Request) -> Doc:
    doc = context.store.training_job(request["TrainingJobName"])
    if doc is None:
        raise invalid("Requested resource not found.")
    return doc
