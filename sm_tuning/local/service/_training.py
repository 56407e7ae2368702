"""The operations on training jobs, be they of a tuning job or not."""

from __future__ import annotations

from sm_tuning._statuses import TrainingStatus, TuningStatus
from sm_tuning.local.service._context import Context, Doc, Request
from sm_tuning.local.service._documents import job_name_of_arn
from sm_tuning.local.service._fault import Fault, invalid, not_found
from sm_tuning.local.service._paging import list_query
from sm_tuning.local.service._views import training_description, training_summary


def describe_training_job(context: Context, request: Request) -> Doc:
    """DescribeTrainingJob."""
    return training_description(_found(context, request))


def list_training_jobs(context: Context, request: Request) -> Doc:
    """ListTrainingJobs; no training job of this server keeps a warm pool, so that filter leaves none.

    With StatusEquals and MaxResults both, a page of MaxResults is taken first and then filtered (API Reference).
    """
    if "WarmPoolStatusEquals" in request:
        return {"TrainingJobSummaries": []}
    status = request.get("StatusEquals")
    after = status is not None and "MaxResults" in request
    asked = {name: value for name, value in request.items() if not (after and name == "StatusEquals")}
    docs, token = context.store.page_training_jobs(list_query(asked, sort_by="CreationTime"))
    chosen = [doc for doc in docs if not after or doc["TrainingJobStatus"] == status]
    page: Doc = {"TrainingJobSummaries": [training_summary(doc) for doc in chosen]}
    return page if token is None else {**page, "NextToken": token}


def stop_training_job(context: Context, request: Request) -> Doc:
    """StopTrainingJob; stopping a job that is being stopped is no error."""
    doc = _found(context, request)
    status = TrainingStatus(doc["TrainingJobStatus"])
    if status.is_terminal:
        raise invalid(f"The request was rejected because the training job is in status {status}.")
    context.runner.stop(doc["TrainingJobName"])
    return {}


def delete_training_job(context: Context, request: Request) -> Doc:
    """DeleteTrainingJob: the entry, its metrics and its tags; objects and logs stay.

    A training job of a tuning job that still runs is in use: the search rests on it.
    """
    doc = context.store.training_job(request["TrainingJobName"])
    if doc is None:
        raise not_found(f"Amazon SageMaker can't find a training job with name {request['TrainingJobName']}.")
    name, status = doc["TrainingJobName"], TrainingStatus(doc["TrainingJobStatus"])
    if not status.is_terminal:
        raise Fault("ResourceInUse", f"The training job, {name}, is in status {status}: stop it, or wait for its end.")
    tuning = context.store.tuning_job(job_name_of_arn(doc.get("TuningJobArn", ""), "hyper-parameter-tuning-job") or "")
    if tuning is not None and not TuningStatus(tuning["HyperParameterTuningJobStatus"]).is_terminal:
        raise Fault(
            "ResourceInUse",
            f"The training job, {name}, belongs to the hyperparameter tuning job, "
            f"{tuning['HyperParameterTuningJobName']}, which is in status {tuning['HyperParameterTuningJobStatus']}.",
        )
    context.store.delete_training_job(name)
    return {}


def _found(context: Context, request: Request) -> Doc:
    doc = context.store.training_job(request["TrainingJobName"])
    if doc is None:
        raise invalid("Requested resource not found.")
    return doc
