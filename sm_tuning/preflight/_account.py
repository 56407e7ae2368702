"""Quotas of the account, which Service Quotas and SageMaker's own lists tell."""

from __future__ import annotations

from collections.abc import Iterator

from sm_tuning._statuses import TuningStatus
from sm_tuning._wire import LARGEST_PAGE
from sm_tuning.aws import Aws
from sm_tuning.preflight._cost import fleets_of
from sm_tuning.preflight._finding import Finding, place
from sm_tuning.preflight._quotas import MAX_ACTIVE_JOBS
from sm_tuning.spec import Estimator, Tuning


def account_problems(aws: Aws) -> Iterator[Finding]:
    """Tuning jobs that run at once [automatic-model-tuning-limits].

    Raises:
        ServiceError: SageMaker did not say.
    """
    answer = aws.call(
        "sagemaker", "list_hyper_parameter_tuning_jobs", StatusEquals=TuningStatus.IN_PROGRESS, MaxResults=LARGEST_PAGE
    )
    active = len(answer["HyperParameterTuningJobSummaries"])
    if active >= MAX_ACTIVE_JOBS:
        message = f"{active} tuning jobs run already, which is the default quota"
        yield Finding("active-quota", "advice", "", message, "wait for one to end, or have the quota raised")


def instance_problems(aws: Aws, tuning: Tuning) -> Iterator[Finding]:
    """Instances for training jobs [Service Quotas, such as "ml.m5.large for training job usage"].

    Raises:
        ServiceError: Service Quotas did not say.
    """
    needed = {key: _needed(one.estimator, tuning.max_parallel_jobs) for key, one in tuning.definitions}
    names = {quota for quotas in needed.values() for quota in quotas}
    limits: dict[str, float] = {}
    for page in aws.pages("service-quotas", "list_service_quotas", ServiceCode="sagemaker", MaxResults=LARGEST_PAGE):
        limits |= {one["QuotaName"]: float(one["Value"]) for one in page["Quotas"] if one["QuotaName"] in names}
    for key, quotas in needed.items():
        short = {quota: count for quota, count in quotas.items() if quota in limits and limits[quota] < count}
        several = len(quotas) > 1 and _may_choose(dict(tuning.definitions)[key].estimator)
        if several and len(short) < len(quotas):
            continue  # one of the instance types to choose from is there
        for quota, count in short.items():
            message = f"{quota!r} is {limits[quota]:g} in this account, but {count} are needed at once"
            fix = "ask for more in the Service Quotas console, or use fewer or other instances"
            yield Finding("instance-quota", "error", place(key, "estimator.instance_type"), message, fix)


def _needed(estimator: Estimator, parallel: int) -> dict[str, int]:
    """How many instances at once, by the name of their quota."""
    usage = "spot training job usage" if estimator.use_spot_instances else "training job usage"
    return {f"{kind} for {usage}": count * parallel for fleet in fleets_of(estimator) for kind, count in fleet.items()}


def _may_choose(estimator: Estimator) -> bool:
    return len(fleets_of(estimator)) > 1
