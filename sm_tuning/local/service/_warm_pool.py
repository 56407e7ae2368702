"""Warm pools: instances that a plain training job leaves to the next one that matches.

[Developer Guide, train-warm-pools, for the whole page.] A tuning job drops the period, so that its training jobs have
no pool. Instances are processes of this machine, so a pool saves no time here: only its statuses and seconds are true.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sm_tuning._statuses import TrainingStatus
from sm_tuning.local.service._context import Context, Doc, Request, invalid
from sm_tuning.local.store import HiddenMembers, hidden

_PERIOD = "KeepAlivePeriodInSeconds"
#: Seconds for which one cluster runs consecutive jobs at most.
_LONGEST = 7 * 24 * 3600
#: What must be equal, beside the instances.
_MATCHED = ("RoleArn", "VpcConfig", "EnableInterContainerTrafficEncryption", "EnableNetworkIsolation")
_INSTANCES = (
    "InstanceCount",
    "InstanceType",
    "SelectedInstanceCount",
    "SelectedInstanceType",
    "VolumeKmsKeyId",
    "VolumeSizeInGB",
)


def check_warm_pool(request: Request) -> None:
    """Check that a training job may keep its instances.

    Raises:
        Fault: the kinds of instances for which there are no warm pools.
    """
    resource = request["ResourceConfig"]
    if not resource.get(_PERIOD):
        return
    for holder, name in ((request, "EnableManagedSpotTraining"), (resource, "InstanceGroups")):
        if holder.get(name):
            raise invalid(
                f"{_PERIOD} cannot be combined with {name}: warm pools cannot be used with spot instances and "
                "heterogeneous clusters. Leave one of them out."
            )


def warm_pool(doc: Mapping[str, Any], now: float) -> Doc | None:
    """Return the WarmPoolStatus of a training job; None if it neither keeps instances nor was given kept ones.

    Args:
        doc: the stored document.
        now: epoch seconds.
    """
    private = hidden(doc)
    period = doc.get("ResourceConfig", {}).get(_PERIOD) or 0
    is_part = period or "_PoolStartTime" in private or "_PoolEndTime" in private
    if not is_part or doc.get("TuningJobArn"):
        return None
    if not TrainingStatus(doc["TrainingJobStatus"]).is_terminal:
        return {"Status": "InUse"}
    ended = doc.get("TrainingEndTime", doc["LastModifiedTime"])
    # Instances that were never launched, or whose health is in doubt, are not kept.
    launched = "TrainingStartTime" in doc and not doc.get("FailureReason", "").startswith("InternalServerError")
    kept = min(ended + (period if launched else 0), _started(doc) + _LONGEST)
    until = max(ended, private.get("_PoolEndTime", kept))
    pool: Doc = {"Status": "Available" if now < until else "Terminated"}
    if "_ReusedByJob" in private:
        pool = {"Status": "Reused", "ReusedByJob": private["_ReusedByJob"]}
    return {**pool, "ResourceRetainedBillableTimeInSeconds": int(max(0.0, min(now, until) - ended))}


def reuse_warm_pool(context: Context, doc: Doc) -> None:
    """Move the pool of an ended training job to a new one that matches, if there is one: the oldest."""

    def matches(other: Doc) -> bool:
        pool = warm_pool(other, now)
        return pool is not None and pool["Status"] == "Available" and _criteria(other) == _criteria(doc)

    if doc.get("EnableManagedSpotTraining"):
        return
    now, name = context.clock(), doc["TrainingJobName"]
    taken = context.store.update_first_pool(matches, HiddenMembers(_ReusedByJob=name, _PoolEndTime=now))
    if taken is not None:
        context.store.update_training_job(name, HiddenMembers(_PoolStartTime=_started(taken)))


def update_warm_pool(context: Context, doc: Doc, period: int) -> None:
    """Change how long the instances of an ended training job are kept, from its end on; 0 terminates the pool.

    Raises:
        Fault: the training job has no pool that is available.
    """
    now = context.clock()
    pool = warm_pool(doc, now)
    if pool is None or pool["Status"] != "Available":
        status = "it has no pool" if pool is None else f"it is {pool['Status']}"
        raise invalid(
            f"The warm pool of training job {doc['TrainingJobName']} cannot be updated: {status}. {_PERIOD} can be "
            "updated while the pool is Available."
        )
    members: Doc = {"ResourceConfig": {**doc["ResourceConfig"], _PERIOD: period}}
    if not period:
        members |= HiddenMembers(_PoolEndTime=now)
    context.store.update_training_job(doc["TrainingJobName"], members)


def _started(doc: Mapping[str, Any]) -> float:
    """Return the time at which the cluster of a job was launched: for its first job, that of the job."""
    return hidden(doc).get("_PoolStartTime", doc["CreationTime"])


def _criteria(doc: Mapping[str, Any]) -> list[Any]:
    resource = doc["ResourceConfig"]
    vpc = {name: sorted(values) for name, values in (doc.get("VpcConfig") or {}).items()}
    return [*({**doc, "VpcConfig": vpc}.get(name) for name in _MATCHED), *(resource.get(name) for name in _INSTANCES)]
