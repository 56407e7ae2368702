"""The operations on training jobs, be they of a tuning job or not."""

from __future__ import annotations

import copy
from collections.abc import Callable

from sm_tuning._statuses import SecondaryStatus, TrainingStatus, TuningStatus
from sm_tuning.local._config import Identity
from sm_tuning.local.service._context import Context, Doc, Fault, Request, invalid, list_query, not_found
from sm_tuning.local.service._definition_rules import check_definition, check_places
from sm_tuning.local.service._documents import (
    fill_training,
    job_name_of_arn,
    known_metrics,
    training_description,
    training_summary,
)
from sm_tuning.local.service._limits import refuse_what_is_not_built
from sm_tuning.local.service._tuning import check_tags
from sm_tuning.local.store import NameTaken


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


_MAX_HYPERPARAMETERS = 100
_NEEDED = ("AlgorithmSpecification", "ResourceConfig")

Test = Callable[[Request], bool]


def _has(member: str) -> Test:
    return lambda request: bool(request.get(member))


def _specifies(request: Request, member: str) -> bool:
    return bool(request.get("AlgorithmSpecification", {}).get(member))


def _is_on(member: str, flag: str) -> Test:
    return lambda request: bool(request.get(member, {}).get(flag))


_REFUSALS: tuple[tuple[Test, str], ...] = (
    (
        lambda request: _specifies(request, "ContainerArguments") and not _specifies(request, "ContainerEntrypoint"),
        "ContainerArguments without ContainerEntrypoint, since it has no image whose entrypoint could get them",
    ),
    (
        lambda request: _specifies(request, "TrainingImageConfig"),
        "TrainingImageConfig, since it pulls no images; leave it out",
    ),
    (_has("DebugHookConfig"), "SageMaker Debugger; leave DebugHookConfig out"),
    (_has("DebugRuleConfigurations"), "SageMaker Debugger; leave DebugRuleConfigurations out"),
    (_has("TensorBoardOutputConfig"), "SageMaker Debugger; leave TensorBoardOutputConfig out"),
    (
        lambda request: "ProfilerConfig" in request and not request["ProfilerConfig"].get("DisableProfiler"),
        "the profiler; leave ProfilerConfig out, or set DisableProfiler",
    ),
    (_has("ProfilerRuleConfigurations"), "the profiler; leave ProfilerRuleConfigurations out"),
    (_has("ExperimentConfig"), "SageMaker Experiments; leave ExperimentConfig out"),
    (_is_on("RemoteDebugConfig", "EnableRemoteDebug"), "remote debugging; leave RemoteDebugConfig out"),
    (_is_on("InfraCheckConfig", "EnableInfraCheck"), "infrastructure checks; leave InfraCheckConfig out"),
    (_is_on("SessionChainingConfig", "EnableSessionTagChaining"), "session tags; leave SessionChainingConfig out"),
    (_has("ServerlessJobConfig"), "serverless jobs; give AlgorithmSpecification and ResourceConfig"),
    (_has("MlflowConfig"), "managed MLflow; leave MlflowConfig out"),
    (_has("ModelPackageConfig"), "model packages of training jobs; leave ModelPackageConfig out"),
)


def create_training_job(context: Context, request: Request) -> Doc:
    """CreateTrainingJob: checked whole before anything is made."""
    name = request["TrainingJobName"]
    if context.store.training_job(name) is not None:
        raise _taken(context, name)
    _check(context, request)
    doc = training_document(request, context.identity, now=context.clock())
    try:
        context.store.create_training_job(doc, tuning_job=None, index=0, tags=request.get("Tags", []))
    except NameTaken as e:
        raise _taken(context, name) from e
    context.runner.start(name)
    return {"TrainingJobArn": doc["TrainingJobArn"]}


def _check(context: Context, request: Request) -> None:
    for test, what in _REFUSALS:
        if test(request):
            raise invalid(f"The local SageMaker does not support {what}. On AWS this is possible.")
    if _specifies(request, "ContainerEntrypoint") and (problem := context.runner.container_problem):
        raise invalid(
            "The local SageMaker does not support ContainerEntrypoint on this machine, since it cannot give a process "
            f"an /opt/ml of its own: {problem}. Use script mode with sagemaker_program and sagemaker_submit_directory."
        )
    missing = [member for member in _NEEDED if member not in request]
    if missing:
        raise invalid(f"CreateTrainingJob needs {' and '.join(missing)}.")
    check_tags(request.get("Tags", []))
    definition = _definition(request)
    if len(definition["StaticHyperParameters"]) > _MAX_HYPERPARAMETERS:
        raise invalid(f"A training job can have {_MAX_HYPERPARAMETERS} hyperparameters.")
    check_definition(definition, None, {})
    refuse_what_is_not_built({"TrainingJobDefinition": definition})
    check_places(definition, context)


def _definition(request: Request) -> Doc:
    """Return a request in the form of a training job definition, whose rules it shares."""
    return {
        "StoppingCondition": {},
        **{member: value for member, value in request.items() if member not in ("TrainingJobName", "HyperParameters")},
        "StaticHyperParameters": dict(request.get("HyperParameters", {})),
    }


def training_document(request: Request, identity: Identity, *, now: float) -> Doc:
    """Return the document of a new training job, as DescribeTrainingJob shows it, not yet started."""
    name = request["TrainingJobName"]
    doc: Doc = copy.deepcopy(dict(request))
    doc.pop("Tags", None)
    fill_training(doc)
    doc["AlgorithmSpecification"] = {
        "EnableSageMakerMetricsTimeSeries": True,  # as seen of the service
        **doc["AlgorithmSpecification"],
        "MetricDefinitions": known_metrics(_definition(request)),
    }
    return {
        "HyperParameters": {},
        "InputDataConfig": [],
        **doc,
        "TrainingJobArn": identity.arn("training-job", name),
        "TrainingJobStatus": str(TrainingStatus.IN_PROGRESS),
        "SecondaryStatus": str(SecondaryStatus.STARTING),
        "SecondaryStatusTransitions": [],
        "CreationTime": round(now, 3),
        "LastModifiedTime": round(now, 3),
    }


def _taken(context: Context, name: str) -> Fault:
    return Fault(
        "ResourceInUse",
        "Training job names must be unique within an AWS account and region, and a training job with this name "
        f"already exists ({context.identity.arn('training-job', name)})",
    )
