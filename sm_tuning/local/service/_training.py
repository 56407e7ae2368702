"""The operations on training jobs, of a tuning job or not."""

from __future__ import annotations

import copy

from sm_tuning._statuses import SecondaryStatus, TrainingStatus, TuningStatus
from sm_tuning.local._config import Identity
from sm_tuning.local.engine import with_selected_instances
from sm_tuning.local.service._context import Context, Doc, Fault, Request, invalid, list_query, not_found
from sm_tuning.local.service._documents import (
    fill_training,
    job_name_of_arn,
    known_metrics,
    training_description,
    training_summary,
)
from sm_tuning.local.service._rules import check_definition, check_places, refuse_unsupported, unsupported
from sm_tuning.local.service._tuning import check_tags
from sm_tuning.local.service._warm_pool import check_warm_pool, reuse_warm_pool, update_warm_pool
from sm_tuning.local.store import NameTaken

_MAX_HYPERPARAMETERS = 100
#: How clients of the SDK v2 turn Debugger and the profiler off.
_SDK_SWITCH = "give the estimator debugger_hook_config=False and disable_profiler=True"
#: Members of CreateTrainingJob that this server refuses: the member, the flag in it that matters, the feature. The SDK
#: v2 sends DebugHookConfig and ProfilerConfig with an S3OutputPath by default, and those are accepted.
_REFUSED = (
    ("DebugHookConfig", "CollectionConfigurations", f"collections of SageMaker Debugger; {_SDK_SWITCH}"),
    ("DebugHookConfig", "HookParameters", f"hook parameters of SageMaker Debugger; {_SDK_SWITCH}"),
    ("DebugRuleConfigurations", None, f"rules of SageMaker Debugger; leave the rules out, and {_SDK_SWITCH}"),
    ("TensorBoardOutputConfig", None, "SageMaker Debugger; leave it out"),
    ("ProfilerConfig", "ProfilingParameters", f"profiling; {_SDK_SWITCH}"),
    ("ProfilerConfig", "ProfilingIntervalInMilliseconds", f"profiling; {_SDK_SWITCH}"),
    ("ProfilerRuleConfigurations", None, f"rules of the profiler; leave the rules out, and {_SDK_SWITCH}"),
    ("ExperimentConfig", None, "SageMaker Experiments; leave it out"),
    ("RemoteDebugConfig", "EnableRemoteDebug", "remote debugging; leave it out"),
    ("InfraCheckConfig", "EnableInfraCheck", "infrastructure checks; leave it out"),
    ("SessionChainingConfig", "EnableSessionTagChaining", "session tags; leave it out"),
    ("ServerlessJobConfig", None, "serverless jobs; give AlgorithmSpecification and ResourceConfig"),
    ("MlflowConfig", None, "managed MLflow; leave it out"),
    ("ModelPackageConfig", None, "model packages of training jobs; leave it out"),
)


def describe_training_job(context: Context, request: Request) -> Doc:
    """DescribeTrainingJob."""
    return training_description(_found(context, request), context.clock())


def list_training_jobs(context: Context, request: Request) -> Doc:
    """ListTrainingJobs."""
    # With StatusEquals and MaxResults, the service takes a page first and filters it then [API Reference]. The status
    # of a pool changes with time, so that the store cannot look for it.
    status, pool = request.get("StatusEquals"), request.get("WarmPoolStatusEquals")
    after = status is not None and "MaxResults" in request
    members = {name: value for name, value in request.items() if not (after and name == "StatusEquals")}
    docs, token = context.store.page_training_jobs(list_query(members, sort_by="CreationTime"))
    chosen = [doc for doc in docs if not after or doc["TrainingJobStatus"] == status]
    summaries = [training_summary(doc, context.clock()) for doc in chosen]
    if pool is not None:
        summaries = [item for item in summaries if item.get("WarmPoolStatus", {}).get("Status") == pool]
    page: Doc = {"TrainingJobSummaries": summaries}
    return page if token is None else {**page, "NextToken": token}


def stop_training_job(context: Context, request: Request) -> Doc:
    """StopTrainingJob; stopping a job in status Stopping is not an error."""
    doc = _found(context, request)
    status = TrainingStatus(doc["TrainingJobStatus"])
    if status.is_terminal:
        raise invalid(f"The request was rejected because the training job is in status {status}.")
    context.runner.stop(doc["TrainingJobName"])
    return {}


def update_training_job(context: Context, request: Request) -> Doc:
    """UpdateTrainingJob, of the warm pool."""
    doc = _found(context, request)
    for member in ("ProfilerConfig", "ProfilerRuleConfigurations", "RemoteDebugConfig"):
        if member in request:
            raise unsupported(f"{member} in UpdateTrainingJob, since it has neither a profiler nor remote debugging")
    if "ResourceConfig" in request:
        update_warm_pool(context, doc, request["ResourceConfig"]["KeepAlivePeriodInSeconds"])
    return {"TrainingJobArn": doc["TrainingJobArn"]}


def delete_training_job(context: Context, request: Request) -> Doc:
    """DeleteTrainingJob, with its metrics and tags, but without its objects and logs."""
    doc = context.store.training_job(request["TrainingJobName"])
    if doc is None:
        raise not_found(f"Amazon SageMaker can't find a training job with name {request['TrainingJobName']}.")
    name, status = doc["TrainingJobName"], TrainingStatus(doc["TrainingJobStatus"])
    if not status.is_terminal:
        raise Fault("ResourceInUse", f"The training job, {name}, is in status {status}: stop it, or wait for its end.")
    tuning = context.store.tuning_job(job_name_of_arn(doc.get("TuningJobArn", ""), "hyper-parameter-tuning-job") or "")
    # The strategy of a running tuning job uses the results of its training jobs.
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


def create_training_job(context: Context, request: Request) -> Doc:
    """CreateTrainingJob; the request is checked completely first."""
    name = request["TrainingJobName"]
    if context.store.training_job(name) is not None:
        raise _taken(context, name)
    _check(context, request)
    doc = training_document(request, context.identity, now=context.clock())
    try:
        context.store.create_training_job(doc, tuning_job=None, index=0, tags=request.get("Tags", []))
    except NameTaken as e:
        raise _taken(context, name) from e
    reuse_warm_pool(context, doc)
    context.runner.start(name)
    return {"TrainingJobArn": doc["TrainingJobArn"]}


def _check(context: Context, request: Request) -> None:
    specification = request.get("AlgorithmSpecification", {})
    if specification.get("ContainerArguments") and not specification.get("ContainerEntrypoint"):
        raise unsupported(
            "ContainerArguments without ContainerEntrypoint, since it has no image whose entrypoint could get them"
        )
    if specification.get("TrainingImageConfig"):
        raise unsupported("TrainingImageConfig, since it pulls no images; leave it out")
    for member, flag, feature in _REFUSED:
        value = request.get(member)
        if value and (flag is None or value.get(flag)):
            raise unsupported(f"{member if flag is None else f'{member}.{flag}'}: {feature}")
    if specification.get("ContainerEntrypoint") and (problem := context.runner.container_problem):
        raise invalid(
            "The local SageMaker does not support ContainerEntrypoint on this machine, since it cannot give a process "
            f"an /opt/ml of its own: {problem}. Use script mode with sagemaker_program and sagemaker_submit_directory."
        )
    missing = [member for member in ("AlgorithmSpecification", "ResourceConfig") if member not in request]
    if missing:
        raise invalid(f"CreateTrainingJob needs {' and '.join(missing)}.")
    check_tags(request.get("Tags", []))
    definition = _definition(request)
    if len(definition["StaticHyperParameters"]) > _MAX_HYPERPARAMETERS:
        raise invalid(f"A training job can have {_MAX_HYPERPARAMETERS} hyperparameters.")
    check_definition(definition, None, {})
    check_warm_pool(request)
    refuse_unsupported([definition])
    check_places(definition, context)


def _definition(request: Request) -> Doc:
    """Return a request in the form of a training job definition, which has the same rules."""
    return {
        "StoppingCondition": {},
        **{member: value for member, value in request.items() if member not in ("TrainingJobName", "HyperParameters")},
        "StaticHyperParameters": dict(request.get("HyperParameters", {})),
    }


def training_document(request: Request, identity: Identity, *, now: float) -> Doc:
    """Return the document of a new training job, as DescribeTrainingJob shows it before the job starts."""
    name = request["TrainingJobName"]
    doc: Doc = copy.deepcopy(dict(request))
    doc.pop("Tags", None)
    fill_training(doc)
    doc["ResourceConfig"] = with_selected_instances(doc["ResourceConfig"])
    doc["AlgorithmSpecification"] = {
        "EnableSageMakerMetricsTimeSeries": True,  # as observed on the service
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
