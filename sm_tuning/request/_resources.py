"""Machines as the API has them: ``ResourceConfig`` or ``HyperParameterTuningResourceConfig``.

One type of machine goes out as ``ResourceConfig``: it is what every reader of a description understands (SDK v2's
``attach`` fails on a description without it). Several types exist only in ``HyperParameterTuningResourceConfig``.
The two must not be sent together [botocore model, HyperParameterTrainingJobDefinition]; a description may show both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sm_tuning.request._reader import Reader
from sm_tuning.spec import AnyEstimator, Estimator

_SIMPLE = {
    "InstanceType": "instance_type",
    "InstanceCount": "instance_count",
    "VolumeSizeInGB": "volume_size",
    "VolumeKmsKeyId": "volume_kms_key",
}

#: Members that descriptions report and requests may not hold [botocore model, ResourceConfig].
_REPORTED = ("SelectedInstanceType", "SelectedInstanceCount")


def write_resources(estimator: Estimator) -> dict[str, Any]:
    """Write the one member of a definition that names the machines."""
    if estimator.resource_config is not None:
        return {"ResourceConfig": thawed(estimator.resource_config)}
    key = {"VolumeKmsKeyId": estimator.volume_kms_key} if estimator.volume_kms_key else {}
    if estimator.instance_configs:
        several: dict[str, Any] = {
            "InstanceConfigs": [
                {
                    "InstanceType": one.instance_type,
                    "InstanceCount": one.instance_count,
                    "VolumeSizeInGB": one.volume_size,
                }
                for one in estimator.instance_configs
            ],
            **key,
        }
        if estimator.allocation_strategy:
            several["AllocationStrategy"] = estimator.allocation_strategy
        return {"HyperParameterTuningResourceConfig": several}
    one_type = {
        "InstanceType": estimator.instance_type,
        "InstanceCount": estimator.instance_count,
        "VolumeSizeInGB": estimator.volume_size,
    }
    return {"ResourceConfig": {**one_type, **key}}


def read_resources(definition: Reader) -> dict[str, Any]:
    """Read the machines back as fields of an estimator; of two members the more telling one counts."""
    plain = {k: v for k, v in (definition.take("ResourceConfig") or {}).items() if k not in _REPORTED and v != ""}
    tuned = definition.inner("HyperParameterTuningResourceConfig")
    configs = tuned.items("InstanceConfigs")
    if configs:
        fields = {
            "instance_configs": [_read_config(config) for config in configs],
            "volume_kms_key": tuned.text("VolumeKmsKeyId"),
            "allocation_strategy": tuned.text("AllocationStrategy"),
        }
        for name in ("InstanceType", "InstanceCount", "VolumeSizeInGB"):
            tuned.take(name)
        tuned.close()
        return {name: value for name, value in fields.items() if value is not None}
    own = {name: tuned.take(name) for name in _SIMPLE}
    tuned.close()
    config = plain or {name: value for name, value in own.items() if value not in (None, "")}
    return simple_fields(config) or {"resource_config": config}


def _read_config(config: Reader) -> dict[str, Any]:
    fields = {
        "instance_type": config.take("InstanceType"),
        "instance_count": config.take("InstanceCount", 1),
        "volume_size": config.take("VolumeSizeInGB", 30),
    }
    config.close()
    return fields


def simple_fields(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The estimator's own fields for a ``ResourceConfig``; None when they cannot say the same."""
    needed = {"InstanceType", "InstanceCount", "VolumeSizeInGB"}
    if not needed <= set(config) <= set(_SIMPLE) or config["InstanceCount"] in (0, None):
        return None
    return {field: config[name] for name, field in _SIMPLE.items() if config.get(name) not in (None, "")}


def instance_types(estimator: AnyEstimator) -> tuple[str, ...]:
    """Every machine type that a definition may run on, wherever it is named."""
    return types_in(
        {
            "instance_type": estimator.instance_type,
            "instance_configs": [{"instance_type": one.instance_type} for one in estimator.instance_configs],
            "resource_config": estimator.resource_config,
        }
    )


def types_in(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """The same for an estimator's fields as plain data."""
    if fields.get("instance_type"):
        return (str(fields["instance_type"]),)
    if fields.get("instance_configs"):
        return tuple(dict.fromkeys(str(one["instance_type"]) for one in fields["instance_configs"]))
    return tuple(dict.fromkeys(_types(fields.get("resource_config") or {})))


def _types(config: Mapping[str, Any]) -> Iterator[str]:
    if config.get("InstanceType"):
        yield str(config["InstanceType"])
    for name in ("InstanceGroups", "InstancePreferences"):
        for item in config.get(name) or ():
            if isinstance(item, Mapping) and item.get("InstanceType"):
                yield str(item["InstanceType"])


def thawed(value: Any) -> Any:
    """Plain dicts and lists in place of frozen ones."""
    if isinstance(value, Mapping):
        return {key: thawed(item) for key, item in value.items()}
    return [thawed(item) for item in value] if isinstance(value, list | tuple) else value
