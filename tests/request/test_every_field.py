"""No field of a spec is dropped: each one, set alone, changes the request."""

import pytest

from sm_tuning.request import to_request
from sm_tuning.spec import (
    CategoricalParameter,
    CompletionCriteria,
    ContainerEstimator,
    ContinuousParameter,
    DatasetInput,
    EvaluationPlan,
    FileSystemInput,
    HyperbandConfig,
    Input,
    InstanceConfig,
    InstancePreference,
    IntegerParameter,
    MetricDefinition,
    OptunaConfig,
    PopulationConfig,
    PromotionConfig,
    PyTorchEstimator,
    RaySettings,
    Spec,
    StudySettings,
    TrainingDefinition,
    Tuning,
    WarmStart,
    XGBoostEstimator,
)

PLAN = "arn:aws:sagemaker:us-east-1:123456789012:training-plan/p1"
ROLE = "arn:aws:iam::123456789012:role/R"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/own:1"
METRICS = [{"Name": "acc", "Regex": "acc=(.*)"}]
VPC = {"subnets": ["subnet-1"], "security_group_ids": ["sg-1"]}
SPOT = {"use_spot_instances": True, "max_wait": 90000}
MANIFEST = {"s3_data_type": "AugmentedManifestFile"}
CODE = {"entry_point": "train.py", "source_dir": "s3://b/sourcedir.tar.gz"}
SCRIPT = {**CODE, "metric_definitions": METRICS}
#: A copy of XGBoost's image in one's own registry, whose metrics the service does not know.
OWN = {"version": None, "image_uri": IMAGE, "metric_definitions": METRICS}

#: Fields that say how local files get to S3; nothing of them is left when the files are there.
STAGING_ONLY = {
    "dependencies": "packed into the archive",
    "ignore_patterns": "decides what is packed into the archive",
    "code_location": "decides where the archive is uploaded",
}
#: Fields that name things for this side of the wire.
OTHER = {
    "type": "says which class a file means; the class decides the request",
    "base_tuning_job_name": "becomes part of the job's name, which the caller gives",
    "evaluation": "is done after the job",
    "ray": "says where the tuning runs on Ray, which gets no request",
    "study": "makes a study, which has no tuning job's request; tests/studies has the requests of its trials",
}

#: Settings of studies and of Ray, which send no request of a tuning job.
STUDIES = (StudySettings, PromotionConfig, PopulationConfig, OptunaConfig, RaySettings)

# For each class: field -> (fields of the spec before, fields that are set in addition).
ANY_ESTIMATOR = {
    "instance_type": ({}, {"instance_type": "ml.m5.xlarge"}),
    "instance_count": ({}, {"instance_count": 2}),
    "volume_size": ({}, {"volume_size": 31}),
    "instance_configs": (
        {},
        {"instance_type": None, "instance_configs": [InstanceConfig(instance_type="ml.m5.large")]},
    ),
    "allocation_strategy": (
        {"instance_type": None, "instance_configs": [InstanceConfig(instance_type="ml.m5.large")]},
        {"allocation_strategy": "Prioritized"},
    ),
    "instance_preferences": ({}, {"instance_type": None, "instance_preferences": [{"instance_type": "ml.m5.large"}]}),
    "training_plan": ({}, {"training_plan": PLAN}),
    "resource_config": (
        {},
        {"instance_type": None, "resource_config": {"InstanceType": "ml.m5.large", "InstanceCount": 1}},
    ),
    "hyperparameters": ({}, {"hyperparameters": {"a": 1}}),
    "environment": ({}, {"environment": {"A": "1"}}),
    "input_mode": ({}, {"input_mode": "Pipe"}),
    "use_spot_instances": ({}, SPOT),
    "max_run": ({}, {"max_run": 60}),
    "max_wait": (SPOT, {"max_wait": 90001}),
    "max_pending": ({}, {"max_pending": 7200}),
    "max_retry_attempts": ({}, {"max_retry_attempts": 2}),
    "checkpoint_s3_uri": ({}, {"checkpoint_s3_uri": "s3://b/c"}),
    "checkpoint_local_path": ({"checkpoint_s3_uri": "s3://b/c"}, {"checkpoint_local_path": "/opt/c"}),
    "subnets": (VPC, {"subnets": ["subnet-2"]}),
    "security_group_ids": (VPC, {"security_group_ids": ["sg-2"]}),
    "output_kms_key": ({}, {"output_kms_key": "key"}),
    "volume_kms_key": ({}, {"volume_kms_key": "key"}),
    "enable_network_isolation": ({}, {"enable_network_isolation": True}),
    "encrypt_inter_container_traffic": ({}, {"encrypt_inter_container_traffic": True}),
    "disable_output_compression": ({}, {"disable_output_compression": True}),
    "role": ({}, {"role": ROLE + "2"}),
    "output_path": ({}, {"output_path": "s3://b/o2"}),
    "tags": ({}, {"tags": {"team": "a"}}),
}
BARE = {"source_dir": None, "entry_point": None}
ESTIMATORS = {
    PyTorchEstimator: ANY_ESTIMATOR
    | {
        "metric_definitions": ({}, {"metric_definitions": [*METRICS, {"Name": "loss", "Regex": "loss=(.*)"}]}),
        "entry_point": ({}, {"entry_point": "other.py"}),
        "source_dir": ({}, {"source_dir": "s3://b/other.tar.gz"}),
        "framework_version": ({}, {"framework_version": "2.6.0"}),
        "py_version": ({"framework_version": "1.5.0", "py_version": "py36"}, {"py_version": "py3"}),
        "image_uri": ({}, {"framework_version": None, "py_version": None, "image_uri": IMAGE}),
        "distribution": ({}, {"distribution": {"torch_distributed": {"enabled": True}}}),
    },
    XGBoostEstimator: ANY_ESTIMATOR
    | {
        "metric_definitions": (OWN, {"metric_definitions": [*METRICS, {"Name": "loss", "Regex": "loss=(.*)"}]}),
        "entry_point": ({}, CODE),
        "source_dir": (CODE, {"source_dir": "s3://b/other.tar.gz"}),
        "version": ({}, {"version": "1.5-1"}),
        "image_uri": ({}, OWN),
    },
    ContainerEstimator: ANY_ESTIMATOR
    | {
        "metric_definitions": ({}, {"metric_definitions": [*METRICS, {"Name": "loss", "Regex": "loss=(.*)"}]}),
        "entry_point": ({}, SCRIPT),
        "source_dir": (SCRIPT, {"source_dir": "s3://b/other.tar.gz"}),
        "image_uri": ({}, {"image_uri": IMAGE + "2"}),
        "algorithm_name": ({}, {"image_uri": None, "metric_definitions": (), "algorithm_name": "mine"}),
    },
}
REQUIRED = {
    PyTorchEstimator: {**SCRIPT, "framework_version": "2.6", "py_version": "py312"},
    XGBoostEstimator: {"version": "1.7-1"},
    ContainerEstimator: {"image_uri": IMAGE, "metric_definitions": METRICS},
}
COMMON = {"instance_type": "ml.m5.large", "role": ROLE, "output_path": "s3://b/o"}

FILES = {"file_system_id": "fs-0123abcd", "file_system_type": "EFS", "directory_path": "/a"}
DATASET = {"dataset_arn": "arn:aws:sagemaker:us-east-1:123456789012:hub-content/Hub/DataSet/d/1.0.0"}
ANY_CHANNEL = {
    "content_type": ({}, {"content_type": "text/csv"}),
    "compression": ({}, {"compression": "Gzip"}),
    "record_wrapping": ({}, {"record_wrapping": "RecordIO"}),
    "input_mode": ({}, {"input_mode": "Pipe"}),
    "shuffle_seed": ({}, {"shuffle_seed": 0}),
}
CHANNELS = {
    Input: ANY_CHANNEL
    | {
        "uri": ({}, {"uri": "s3://b/other"}),
        "distribution": ({}, {"distribution": "ShardedByS3Key"}),
        "s3_data_type": ({}, {"s3_data_type": "ManifestFile"}),
        "attribute_names": (MANIFEST, {"attribute_names": ["source"]}),
        "instance_groups": ({}, {"instance_groups": ["g"]}),
        "hub_content_arn": ({}, {"hub_content_arn": "arn"}),
        "accept_eula": ({}, {"accept_eula": False}),
    },
    FileSystemInput: ANY_CHANNEL
    | {
        "file_system_id": ({}, {"file_system_id": "fs-0123abce"}),
        "file_system_type": ({}, {"file_system_type": "FSxLustre"}),
        "directory_path": ({}, {"directory_path": "/b"}),
        "file_system_access_mode": ({}, {"file_system_access_mode": "rw"}),
    },
    DatasetInput: ANY_CHANNEL
    | {"dataset_arn": ({}, {"dataset_arn": DATASET["dataset_arn"].replace("1.0.0", "2.0.0")})},
}
CHANNEL_FIELDS = {Input: {"uri": "s3://b/d"}, FileSystemInput: FILES, DatasetInput: DATASET}

RANGES = {
    ContinuousParameter: (
        {"min_value": 1, "max_value": 2},
        {"min_value": 0.5, "max_value": 3, "scaling_type": "Logarithmic"},
    ),
    IntegerParameter: ({"min_value": 1, "max_value": 2}, {"min_value": 0, "max_value": 3, "scaling_type": "Linear"}),
    CategoricalParameter: ({"values": ["a", "b"]}, {"values": ["a", "c"]}),
}

MIN_MAX = {"min_resource": 1, "max_resource": 9}
JOB = {
    "objective_metric_name": ({}, {"objective_metric_name": "validation:mae"}),
    "objective_type": ({}, {"objective_type": "Minimize"}),
    "inputs": ({}, {"inputs": {"other": "s3://b/d"}}),
    "hyperparameter_ranges": ({}, {"hyperparameter_ranges": {"other": ContinuousParameter(0, 1)}}),
    "auto_parameters": ({"autotune": True}, {"auto_parameters": {"max_depth": "4"}}),
    "strategy": ({}, {"strategy": "Random"}),
    "strategy_config": (
        {"strategy": "Hyperband", "strategy_config": HyperbandConfig(max_resource=9)},
        {"strategy_config": HyperbandConfig(max_resource=8)},
    ),
    "max_jobs": ({}, {"max_jobs": 2}),
    "max_parallel_jobs": ({}, {"max_parallel_jobs": 2}),
    "max_runtime_in_seconds": ({"max_jobs": 1}, {"max_runtime_in_seconds": 120}),
    "early_stopping_type": ({}, {"early_stopping_type": "Auto"}),
    "completion_criteria": (
        {"max_jobs": 1},
        {"completion_criteria": CompletionCriteria(complete_on_convergence=False)},
    ),
    "warm_start": ({}, {"warm_start": WarmStart(parents=["p"])}),
    "autotune": ({"max_jobs": 1}, {"autotune": True}),
    "random_seed": ({}, {"random_seed": 0}),
}


def estimator(kind=XGBoostEstimator, **fields):
    return kind(**COMMON | REQUIRED[kind] | fields)


def tuning(**fields):
    default = {
        "estimator": estimator(),
        "inputs": {"train": "s3://b/d"},
        "objective_metric_name": "validation:rmse",
        "hyperparameter_ranges": {"eta": ContinuousParameter(0.1, 0.5)},
    }
    return Tuning(**default | fields)


def request(**fields):
    return to_request(tuning(**fields), name="job", region="us-east-1")


def around(built, **fields):
    objective = built.metric_definitions[0].name if built.metric_definitions else "validation:rmse"
    return request(estimator=built, objective_metric_name=objective, **fields)


def cases(table):
    return [pytest.param(cls, *case, id=f"{cls.__name__}.{name}") for cls in table for name, case in table[cls].items()]


@pytest.mark.parametrize(("kind", "before", "added"), cases(ESTIMATORS))
def test_a_field_of_an_estimator_changes_the_request(kind, before, added):
    assert around(estimator(kind, **before)) != around(estimator(kind, **before | added))


@pytest.mark.parametrize(("kind", "before", "added"), cases(CHANNELS))
def test_a_field_of_an_input_changes_the_request(kind, before, added):
    def asked(**fields):
        channel = kind(**CHANNEL_FIELDS[kind] | fields)
        return request(inputs={"train": channel}, estimator=estimator(**VPC))

    assert asked(**before) != asked(**before | added)


@pytest.mark.parametrize(
    ("kind", "before", "name", "value"),
    [(kind, before, name, value) for kind, (before, added) in RANGES.items() for name, value in added.items()],
)
def test_a_field_of_a_range_changes_the_request(kind, before, name, value):
    def asked(**fields):
        return request(hyperparameter_ranges={"eta": kind(**fields), "other": ContinuousParameter(0, 1)})

    assert asked(**before) != asked(**before | {name: value})


@pytest.mark.parametrize(("kind", "before", "added"), cases({Tuning: JOB}))
def test_a_field_of_a_tuning_changes_the_request(kind, before, added):
    assert request(**before) != request(**before | added)


def several(**fields):
    default = {
        "estimator": estimator(),
        "objective_metric_name": "validation:rmse",
        "hyperparameter_ranges": {"eta": ContinuousParameter(0.1, 0.5)},
    }
    one = TrainingDefinition(**default | fields)
    job = tuning(estimator=None, hyperparameter_ranges={}, estimators={"one": one}, autotune=True, max_jobs=1)
    return to_request(job, name="job", region="us-east-1")


DEFINITION = {
    "estimator": {"estimator": estimator(max_run=60)},
    "objective_metric_name": {"objective_metric_name": "validation:mae"},
    "objective_type": {"objective_type": "Minimize"},
    "hyperparameter_ranges": {"hyperparameter_ranges": {"other": ContinuousParameter(0, 1)}},
    "auto_parameters": {"auto_parameters": {"max_depth": "4"}},
    "inputs": {"inputs": {"train": "s3://b/other"}},
}


@pytest.mark.parametrize("name", DEFINITION)
def test_a_field_of_one_of_several_definitions_changes_the_request(name):
    assert several() != several(**DEFINITION[name])


def test_a_job_of_one_estimator_and_one_of_several_are_told_apart():
    assert "TrainingJobDefinition" in request()
    (one,) = several()["TrainingJobDefinitions"]
    assert one["DefinitionName"] == "one"


SMALL = {
    InstanceConfig: [
        ({"instance_type": "ml.m5.large"}, {"instance_type": "ml.m5.xlarge"}),
        ({"instance_type": "ml.m5.large"}, {"instance_count": 2}),
        ({"instance_type": "ml.m5.large"}, {"volume_size": 31}),
    ],
    InstancePreference: [
        ({"instance_type": "ml.m5.large"}, {"instance_type": "ml.m5.xlarge"}),
        ({"instance_type": "ml.m5.large"}, {"instance_count": 2}),
        ({"instance_type": "ml.m5.large"}, {"training_plan": PLAN}),
    ],
    MetricDefinition: [
        ({"name": "acc", "regex": "acc=(.*)"}, {"name": "loss"}),
        ({"name": "acc", "regex": "acc=(.*)"}, {"regex": "a=(.*)"}),
    ],
    CompletionCriteria: [
        ({"complete_on_convergence": True}, {"target_objective_metric_value": 0.0}),
        ({"complete_on_convergence": True}, {"max_number_of_training_jobs_not_improving": 3}),
        ({"complete_on_convergence": True}, {"complete_on_convergence": False}),
    ],
    HyperbandConfig: [({"max_resource": 9}, {"min_resource": 1}), ({"max_resource": 9}, {"max_resource": 8})],
    WarmStart: [
        ({"parents": ["p"]}, {"parents": ["p", "q"]}),
        ({"parents": ["p"]}, {"warm_start_type": "TransferLearning"}),
    ],
}


def holding(value):
    """A request that holds a small value."""
    if isinstance(value, InstanceConfig):
        return request(estimator=estimator(instance_type=None, instance_configs=[value]))
    if isinstance(value, InstancePreference):
        return request(estimator=estimator(instance_type=None, instance_preferences=[value]))
    if isinstance(value, MetricDefinition):
        return around(estimator(ContainerEstimator, metric_definitions=[value]))
    if isinstance(value, HyperbandConfig):
        return request(strategy="Hyperband", strategy_config=value)
    field = "completion_criteria" if isinstance(value, CompletionCriteria) else "warm_start"
    return request(**{field: value})


@pytest.mark.parametrize(
    ("kind", "before", "added"), [(kind, *case) for kind, all_cases in SMALL.items() for case in all_cases]
)
def test_a_field_of_a_small_value_changes_the_request(kind, before, added):
    assert holding(kind(**before)) != holding(kind(**before | added))


def concrete(cls):
    below = [one for sub in cls.__subclasses__() for one in concrete(sub)]
    return below or [cls]


def test_every_field_of_every_spec_class_is_tested_here():
    tested = {kind: set(fields) for kind, fields in (ESTIMATORS | CHANNELS).items()}
    tested |= {kind: set(added) for kind, (_, added) in RANGES.items()}
    tested |= {kind: {name for _, added in all_cases for name in added} for kind, all_cases in SMALL.items()}
    # No part of the request.
    tested |= {kind: set(kind.model_fields) for kind in (EvaluationPlan, *STUDIES)}
    tested |= {Tuning: {*JOB, "estimator", "estimators"}, TrainingDefinition: set(DEFINITION)}
    untested = {
        f"{kind.__name__}.{name}"
        for kind in concrete(Spec)
        if kind.__module__.startswith("sm_tuning.")
        for name in kind.model_fields
        if name not in tested[kind] | set(STAGING_ONLY) | set(OTHER)
    }
    assert untested == set()
