"""The machines of a training job definition, written and read back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sm_tuning.request._reader import Reader, given, thawed
from sm_tuning.spec import AnyEstimator

#: Members of ResourceConfig that an estimator has fields for.
_SIMPLE = {
    "InstanceType": "instance_type",
    "InstanceCount": "instance_count",
    "VolumeSizeInGB": "volume_size",
    "VolumeKmsKeyId": "volume_kms_key",
}

#: Members of ResourceConfig that descriptions have and requests must not have [botocore model].
_REPORTED = ("SelectedInstanceType", "SelectedInstanceCount")


def write_resources(estimator: AnyEstimator) -> dict[str, Any]:
    """Write the one member that names the machines: ``ResourceConfig`` or ``HyperParameterTuningResourceConfig``.

    The two must not be sent together [botocore model]. One type of machine is sent as ``ResourceConfig``, since SDK
    v2's ``attach`` fails on a description without it. Several types exist only in the other one.
    """
    if estimator.resource_config is not None:
        return {"ResourceConfig": thawed(estimator.resource_config)}
    key = given(VolumeKmsKeyId=estimator.volume_kms_key or None, TrainingPlanArn=estimator.training_plan)
    preferences = [
        given(
            InstanceType=choice.instance_type,
            InstanceCount=choice.instance_count,
            TrainingPlanArns=None if choice.training_plan is None else [choice.training_plan],
        )
        for choice in estimator.instance_preferences
    ]
    if preferences:
        shared = {} if "InstanceCount" in preferences[0] else {"InstanceCount": estimator.instance_count}
        storage = {"VolumeSizeInGB": estimator.volume_size, **key}
        return {"ResourceConfig": {"InstancePreferences": preferences, **shared, **storage}}
    machines = [
        {
            "InstanceType": choice.instance_type,
            "InstanceCount": choice.instance_count,
            "VolumeSizeInGB": choice.volume_size,
        }
        for choice in (estimator.instance_configs or [estimator])
    ]
    if not estimator.instance_configs:
        return {"ResourceConfig": {**machines[0], **key}}
    strategy = {"AllocationStrategy": estimator.allocation_strategy} if estimator.allocation_strategy else {}
    return {"HyperParameterTuningResourceConfig": {"InstanceConfigs": machines, **key, **strategy}}


def read_resources(definition: Reader) -> dict[str, Any]:
    """Read the machines as fields of an estimator. A description may have both members; the fuller one counts."""
    plain = {
        k: v
        for k, v in (definition.take("ResourceConfig") or {}).items()
        if k not in _REPORTED and v not in ("", [], {})
    }
    tuned = definition.inner("HyperParameterTuningResourceConfig")
    configs = tuned.items("InstanceConfigs")
    own = {name: tuned.take(name) for name in _SIMPLE}
    if not configs:
        config = plain or {name: value for name, value in own.items() if value not in (None, "")}
        return simple_fields(config) or {"resource_config": config}
    choices = [
        {
            "instance_type": choice.take("InstanceType"),
            "instance_count": choice.take("InstanceCount", 1),
            "volume_size": choice.take("VolumeSizeInGB", 30),
        }
        for choice in configs
    ]
    key, strategy = own["VolumeKmsKeyId"] or None, tuned.text("AllocationStrategy")
    return given(instance_configs=choices, volume_kms_key=key, allocation_strategy=strategy)


def simple_fields(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the estimator's own fields for a ``ResourceConfig``; None if they cannot hold it."""
    fields = {**_SIMPLE, "TrainingPlanArn": "training_plan"}
    found = {field: config[name] for name, field in fields.items() if config.get(name) not in (None, "")}
    needed = {"InstanceType", "InstanceCount", "VolumeSizeInGB"}
    if "InstancePreferences" not in config:
        is_simple = needed <= set(config) <= set(fields) and config["InstanceCount"] not in (0, None)
        return found if is_simple else None
    choices = []
    for choice in config["InstancePreferences"]:
        plans = list(choice.get("TrainingPlanArns") or [])
        if not set(choice) <= {"InstanceType", "InstanceCount", "TrainingPlanArns"} or len(plans) > 1:
            return None
        plan = plans[0] if plans else None
        own = {"instance_type": choice.get("InstanceType"), "instance_count": choice.get("InstanceCount")}
        choices.append(given(**own, training_plan=plan))
    if "InstanceType" in config or not {"VolumeSizeInGB"} <= set(config) <= {"InstancePreferences", *fields}:
        return None
    return {"instance_preferences": choices, **found}


def instance_types(estimator: AnyEstimator) -> tuple[str, ...]:
    """Return every machine type that an estimator may run on, wherever it is named."""
    configs = [{"instance_type": choice.instance_type} for choice in estimator.instance_configs]
    preferences = [{"instance_type": choice.instance_type} for choice in estimator.instance_preferences]
    return types_in(
        {
            "instance_type": estimator.instance_type,
            "instance_configs": [*configs, *preferences],
            "resource_config": estimator.resource_config,
        }
    )


def types_in(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the same for an estimator's fields as plain data."""
    if fields.get("instance_type"):
        return (str(fields["instance_type"]),)
    config = fields.get("resource_config") or {}
    several = (*(fields.get("instance_configs") or ()), *(fields.get("instance_preferences") or ()))
    named = [choice["instance_type"] for choice in several]
    if not named:
        groups = [config, *(config.get("InstanceGroups") or ()), *(config.get("InstancePreferences") or ())]
        named = [group["InstanceType"] for group in groups if isinstance(group, Mapping) and group.get("InstanceType")]
    return tuple(dict.fromkeys(map(str, named)))
