"""The operations on tuning jobs."""

from __future__ import annotations

import secrets

from sm_tuning._statuses import TuningStatus
from sm_tuning.local.service._check_request import checked
from sm_tuning.local.service._context import Context, Doc, Request
from sm_tuning.local.service._documents import tuning_document
from sm_tuning.local.service._fault import Fault, invalid, not_found
from sm_tuning.local.service._paging import list_query
from sm_tuning.local.service._views import trial_summary, tuning_description, tuning_summary
from sm_tuning.local.store import NameTaken

_NAME = "HyperParameterTuningJobName"


def create_tuning_job(context: Context, request: Request) -> Doc:
    """CreateHyperParameterTuningJob: checked whole before anything is made."""
    if context.store.tuning_job(request[_NAME]) is not None:
        raise _taken(request[_NAME])
    request = checked(request, context)
    seed = request["HyperParameterTuningJobConfig"].get("RandomSeed")
    doc = tuning_document(
        request,
        context.identity,
        now=context.clock(),
        seed=secrets.randbelow(2**31) if seed is None else seed,
    )
    try:
        context.store.create_tuning_job(doc, request.get("Tags", []))
    except NameTaken as e:
        raise _taken(request[_NAME]) from e
    context.engine.submit(request[_NAME])
    return {"HyperParameterTuningJobArn": doc["HyperParameterTuningJobArn"]}


def describe_tuning_job(context: Context, request: Request) -> Doc:
    """DescribeHyperParameterTuningJob."""
    return tuning_description(context, _found(context, request))


def list_tuning_jobs(context: Context, request: Request) -> Doc:
    """ListHyperParameterTuningJobs."""
    docs, token = context.store.page_tuning_jobs(list_query(request, sort_by="Name"))
    page: Doc = {"HyperParameterTuningJobSummaries": [tuning_summary(context, doc) for doc in docs]}
    return page if token is None else {**page, "NextToken": token}


def list_trials(context: Context, request: Request) -> Doc:
    """ListTrainingJobsForHyperParameterTuningJob."""
    tuning = _found(context, request)
    query = list_query(request, sort_by="Name", tuning_job=tuning[_NAME])
    docs, token = context.store.page_training_jobs(query)
    page: Doc = {"TrainingJobSummaries": [trial_summary(doc, tuning) for doc in docs]}
    return page if token is None else {**page, "NextToken": token}


def stop_tuning_job(context: Context, request: Request) -> Doc:
    """StopHyperParameterTuningJob; stopping a job that is being stopped is no error."""
    doc = _found(context, request)
    status = TuningStatus(doc["HyperParameterTuningJobStatus"])
    if status.is_terminal:
        raise invalid(
            f"The request was rejected because the hyperparameter tuning job, {doc[_NAME]}, is already in status "
            f"{status}."
        )
    context.engine.stop(doc[_NAME])
    return {}


def delete_tuning_job(context: Context, request: Request) -> Doc:
    """DeleteHyperParameterTuningJob: the entry alone; training jobs, objects and logs stay."""
    doc = _found(context, request)
    status = TuningStatus(doc["HyperParameterTuningJobStatus"])
    if not status.is_terminal:
        raise invalid(
            f"The hyperparameter tuning job, {doc[_NAME]}, cannot be deleted: it is not in a terminal state, but in "
            f"status {status}."
        )
    context.store.delete_tuning_job(doc[_NAME])
    return {}


def _found(context: Context, request: Request) -> Doc:
    doc = context.store.tuning_job(request[_NAME])
    if doc is None:
        raise not_found(f"Amazon SageMaker can't find a tuning job with name {request[_NAME]}. Specify a valid name.")
    return doc


def _taken(name: str) -> Fault:
    return Fault(
        "ResourceInUse",
        f"A hyperparameter tuning job with the name, {name}, already exists. Choose a different name.",
    )
