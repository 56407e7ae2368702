"""Specs whose machines, places, channels or files break a rule, with the findings that ``check`` gives for each."""

from __future__ import annotations

from typing import Any

from _preflight_faults import CONFIGS, limit, rule
from _preflight_specs import builtin, container, script, several

MANIFEST = {"uri": "s3://bucket/m.json", "s3_data_type": "ManifestFile"}

#: What is changed in which spec, and what is found.
JOB_FAULTS: list[tuple[Any, ...]] = [
    (script, {"inputs/train": "s3://None/train"}, rule("bucket-name", "inputs.train")),
    (container, {"inputs/train": "s3://{bucket}/train"}, rule("bucket-name", "inputs.train")),
    (
        container,
        {"inputs/train": "s3:///train"},
        limit("channels", "inputs.train"),
    ),
    (container, {"inputs/train": "s3://10.0.0.1/train"}, rule("bucket-name", "inputs.train")),
    (
        several,
        {"estimators/one/estimator/output_path": "s3://None/x"},
        rule("bucket-name", "estimators.one.estimator.output_path"),
    ),
    (script, {"estimator/checkpoint_s3_uri": "s3://<bucket>/c"}, rule("bucket-name", "estimator.checkpoint_s3_uri")),
    (script, {"estimator/code_location": "s3://my_bucket/c"}, rule("bucket-name", "estimator.code_location")),
    (script, {"estimator/source_dir": "s3://None/code.tar.gz"}, rule("bucket-name", "estimator.source_dir")),
    (script, {"estimator/environment": {"TEXT": "a\0b"}}, rule("environment", "estimator.environment")),
    (script, {"estimator/hyperparameters/a=b": 1}, rule("hyperparameter-text", "estimator.hyperparameters")),
    (script, {"estimator/hyperparameters/a": [{"b": "c\0"}]}, rule("hyperparameter-text", "estimator.hyperparameters")),
    (
        script,
        {"hyperparameter_ranges": {"text": {"type": "categorical", "values": ["a", "b\0"]}}},
        rule("hyperparameter-text", "hyperparameter_ranges.text"),
    ),
    (script, {"estimator/instance_type": None}, rule("instances-choice", "estimator")),
    (script, {"estimator/instance_type": 5}, limit("instance-type", "estimator.instance_type")),
    (script, {"estimator/instance_configs": [{"instance_type": "ml.m5.large"}]}, rule("instances-choice", "estimator")),
    (
        script,
        {**CONFIGS, "estimator/instance_configs": [{"instance_type": "ml.m5.large"}] * 7},
        limit("instances-choice", "estimator.instance_configs"),
    ),
    (
        script,
        {**CONFIGS, "estimator/instance_configs": [{"instance_type": "ml.m5.large", "instance_count": 0}]},
        limit("instances-choice", "estimator.instance_configs.0.instance_count"),
    ),
    (
        script,
        {**CONFIGS, "estimator/instance_configs": [{"instance_type": "ml.m5.huge"}]},
        limit("instances-choice", "estimator.instance_configs"),
    ),
    (script, {**CONFIGS, "estimator/volume_size": 9}, rule("instances-clash", "estimator")),
    (script, {"estimator/instance_type": "ml.m5.huge"}, limit("instance-type", "estimator.instance_type")),
    (script, {"estimator/instance_count": 0}, limit("spec", "estimator.instance_count")),
    (script, {"estimator/volume_size": "big"}, limit("spec", "estimator.volume_size")),
    (script, {"estimator/allocation_strategy": "Prioritized"}, rule("instances-order", "estimator")),
    (script, {"estimator/allocation_strategy": "Any"}, limit("spec", "estimator.allocation_strategy")),
    (
        script,
        {
            "estimator/instance_type": None,
            "estimator/volume_size": 9,
            "estimator/resource_config": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        },
        rule("instances-clash", "estimator"),
    ),
    (
        script,
        {
            "estimator/instance_type": None,
            "estimator/resource_config": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSize": 5},
        },
        limit("request", "estimator.resource_config"),
    ),
    (
        script,
        {
            "estimator/instance_type": None,
            "estimator/resource_config": {
                "InstanceType": "ml.m5.large",
                "InstanceCount": 1,
                "VolumeSizeInGB": 5,
                "KeepAlivePeriodInSeconds": -1,
            },
        },
        limit("request", "estimator.resource_config"),
    ),
    (script, {"estimator/max_wait": 60}, rule("spot-wait", "estimator"), rule("spot-wait", "estimator")),
    (script, {"estimator/use_spot_instances": True}, rule("spot-wait", "estimator")),
    (script, {"estimator/use_spot_instances": True, "estimator/max_wait": 60}, rule("spot-wait", "estimator")),
    (script, {"estimator/use_spot_instances": True, "estimator/max_wait": 0}, limit("spec", "estimator.max_wait")),
    (
        script,
        {"estimator/use_spot_instances": True, "estimator/max_wait": 31 * 24 * 3600},
        rule("wait-quota", "estimator.max_wait"),
    ),
    (script, {"estimator/max_run": 29 * 24 * 3600}, limit("run-limit", "estimator.max_run")),
    (script, {"estimator/max_pending": 5}, limit("pending-limit", "estimator.max_pending")),
    (script, {"estimator/max_retry_attempts": 31}, limit("retry-limit", "estimator.max_retry_attempts")),
    (script, {"estimator/checkpoint_local_path": "/opt/ml/c"}, rule("checkpoint-place", "estimator")),
    (script, {"estimator/checkpoint_s3_uri": "/c"}, limit("checkpoint-place", "estimator.checkpoint_s3_uri")),
    (
        script,
        {"estimator/checkpoint_s3_uri": "s3://bucket/c", "estimator/checkpoint_local_path": "x" * 4097},
        limit("request", "estimator.checkpoint_local_path"),
    ),
    (script, {"estimator/subnets": ["subnet-1"]}, rule("network-missing", "estimator")),
    (script, {"estimator/security_group_ids": ["sg-1"]}, rule("network-missing", "estimator")),
    (
        script,
        {"estimator/subnets": [f"subnet-{n}" for n in range(17)], "estimator/security_group_ids": ["sg-1"]},
        limit("network-missing", "estimator.subnets"),
    ),
    (
        script,
        {"estimator/subnets": ["subnet-1"], "estimator/security_group_ids": ["sg 1"]},
        limit("network-missing", "estimator.security_group_ids"),
    ),
    (script, {"estimator/output_path": "/models"}, limit("output-path", "estimator.output_path")),
    (script, {"estimator/output_kms_key": "k" * 2049}, limit("request", "estimator.output_kms_key")),
    (script, {"estimator/output_kms_key": 5}, limit("spec", "estimator.output_kms_key")),
    (script, {"estimator/role": 5}, limit("role", "estimator.role")),
    (script, {"estimator/role": "arn:aws:iam::1:role/x"}, limit("role", "estimator.role")),
    (script, {"estimator/input_mode": "Stream"}, limit("spec", "estimator.input_mode")),
    (script, {"estimator/environment": {"A": "x" * 513}}, limit("environment", "estimator.environment")),
    (script, {"estimator/environment": {"1A": "x"}}, limit("environment", "estimator.environment")),
    (script, {"estimator/environment": {"A": 5}}, limit("environment", "estimator.environment.A")),
    (script, {"estimator/environment": [5]}, limit("environment", "estimator.environment")),
    (script, {"estimator/environment": {f"V{n}": "x" for n in range(49)}}, rule("too-many-variables")),
    (script, {"estimator/tags": {f"t{n}": "x" for n in range(51)}}, limit("tags", "estimator.tags")),
    (script, {"estimator/tags": {"a": 5}}, limit("tags", "estimator.tags.a")),
    (script, {"estimator/tags": {"a|b": "x"}}, limit("tags", "estimator.tags")),
    (script, {"estimator/tags": {"aws:x": "1"}}, rule("tags-reserved", "estimator.tags")),
    (script, {"estimator/dependencies": 5}, limit("spec", "estimator.dependencies")),
    (
        script,
        {"estimator/source_dir": "s3://bucket/code.tar.gz", "estimator/dependencies": ["x"]},
        limit("spec", "estimator"),
    ),
    (script, {"estimator/source_dir": "s3://bucket/code"}, limit("spec", "estimator")),
    (script, {"estimator/code_location": "code"}, limit("spec", "estimator.code_location")),
    (script, {"estimator/enable_network_isolation": True, "inputs/code": "train.csv"}, rule("request", "inputs.code")),
    (builtin, {"inputs": None}, rule("inputs-missing")),
    (script, {"inputs": {f"c{n}": "train.csv" for n in range(21)}}, limit("channels", "inputs")),
    (script, {"inputs": {"training data": "train.csv"}}, limit("channels", "inputs.training data")),
    (script, {"inputs": 5}, limit("channels", "inputs")),
    (script, {"inputs/train": 5}, limit("channels", "inputs.train")),
    (
        script,
        {"inputs/train": {"uri": "train.csv", "input_mode": "Stream"}},
        limit("channels", "inputs.train.input_mode"),
    ),
    (
        script,
        {"inputs/train": {"uri": "train.csv", "distribution": "Any"}},
        limit("channels", "inputs.train.distribution"),
    ),
    (
        script,
        {"inputs/train": {"uri": "train.csv", "compression": "Zip"}},
        limit("channels", "inputs.train.compression"),
    ),
    (script, {"inputs/train": {**MANIFEST, "input_mode": "FastFile"}}, rule("fastfile-prefix", "inputs.train")),
    (
        script,
        {"estimator/input_mode": "FastFile", "inputs/train": MANIFEST},
        rule("fastfile-prefix", "inputs.train", "give the channel input_mode: File"),
    ),
    (
        script,
        {"inputs/train": {"uri": "s3://bucket/x", "attribute_names": ["a"]}},
        rule("manifest-attributes", "inputs.train"),
    ),
    (
        script,
        {"inputs/train": {"file_system_id": "fs-12345678", "file_system_type": "EFS", "directory_path": "/x"}},
        rule("network-missing"),
    ),
    (
        script,
        {"inputs/train": {"file_system_id": "x", "file_system_type": "EFS", "directory_path": "/x"}},
        limit("channels", "inputs.train.file_system_id"),
    ),
    (script, {"estimator/entry_point": "gone.py"}, rule("files", "estimator.entry_point")),
    (script, {"inputs/train": "gone.csv"}, rule("files", "inputs.train")),
    (script, {"inputs/train": "gs://x/y"}, rule("files", "inputs.train")),
    (script, {"estimator/source_dir": "gone"}, rule("files", "estimator.source_dir")),
    (script, {"estimator/dependencies": ["gone"]}, rule("files", "estimator.dependencies")),
    (builtin, {"estimator/version": "9.9-9"}, rule("image", "estimator")),
    (script, {"estimator/framework_version": "9.9"}, rule("image", "estimator")),
    (several, {"estimators/one/estimator/version": "9.9-9"}, rule("image", "estimators.one.estimator")),
    (
        script,
        {"inputs/train": "gone.csv", "estimator/framework_version": "9.9"},
        rule("files", "inputs.train"),
        rule("image", "estimator"),
    ),
    (
        script,
        {"max_jobs": 0, "strategy": "Evolution", "estimator/max_run": 0},
        limit("run-limit", "estimator.max_run"),
        limit("strategy", "strategy"),
        limit("jobs-limit", "max_jobs"),
    ),
]
