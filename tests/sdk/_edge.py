"""Specs through the SDK's objects: run as ``python _edge.py``; prints one JSON object on its last line.

For each variant of a spec: what our request says, and what the SDK's tuner puts on the wire (the call is caught
before it is sent), or the problems with which the tuner is refused.
"""

import json
import sys
import warnings

warnings.simplefilter("ignore")

import boto3  # noqa: E402
from botocore.awsrequest import AWSResponse  # noqa: E402
from sagemaker.core.helper.session_helper import Session  # noqa: E402

import sm_tuning as smt  # noqa: E402
from sm_tuning import deploy  # noqa: E402
from sm_tuning.request import resolved, to_request  # noqa: E402

ROLE = "arn:aws:iam::123456789012:role/Tuning"
sent: list[dict] = []


class Body:
    """What a caught call is answered with."""

    def stream(self, **_):
        yield b"{}"


def catch(request, **_):
    sent.append(json.loads(request.body))
    return AWSResponse(request.url, 200, {"Content-Type": "application/x-amz-json-1.1"}, Body())


def estimator(**changes):
    fields = {
        "framework_version": "2.6",
        "py_version": "py312",
        "entry_point": "train.py",
        "source_dir": "s3://bucket/code/source.tar.gz",
        "instance_type": "ml.m5.large",
        "role": ROLE,
        "output_path": "s3://bucket/output",
        "hyperparameters": {"epochs": 3, "nested": {"a": [1, True]}, "note": "a 'text'", "flag": False},
        "metric_definitions": {"loss": "loss=(.*);"},
        **changes,
    }
    return smt.PyTorchEstimator(**{name: value for name, value in fields.items() if value is not None})


def tuning(**changes):
    ranges = {
        "lr": smt.ContinuousParameter(1e-5, 0.1, scaling_type="Logarithmic"),
        "layers": smt.IntegerParameter(1, 4),
        "optimizer": smt.CategoricalParameter(["sgd", "adam"]),
        "width": smt.CategoricalParameter([8, 16]),
    }
    fields = {
        "estimator": estimator(),
        "inputs": {"train": "s3://bucket/train.csv"},
        "objective_metric_name": "loss",
        "objective_type": "Minimize",
        "hyperparameter_ranges": ranges,
        "max_jobs": 4,
        "max_parallel_jobs": 2,
        **changes,
    }
    return smt.Tuning(**fields)


def on_estimator(**changes):
    return tuning(estimator=estimator(**changes))


VPC = {"subnets": ["subnet-1"], "security_group_ids": ["sg-1"]}
FILES = smt.FileSystemInput(file_system_id="fs-12345678", file_system_type="FSxLustre", directory_path="/data")
OPTIONS = smt.Input(
    uri="s3://b/k",
    content_type="text/csv",
    distribution="ShardedByS3Key",
    compression="Gzip",
    record_wrapping="RecordIO",
    input_mode="Pipe",
    shuffle_seed=3,
)
SIMPLE = {"optimizer": smt.CategoricalParameter(["sgd", "adam"]), "width": smt.CategoricalParameter([8, 16])}
VARIANTS = {
    "plain": tuning,
    "random_seed": lambda: tuning(random_seed=7),
    "random_seed_0": lambda: tuning(random_seed=0),
    "max_runtime_in_seconds": lambda: tuning(max_runtime_in_seconds=900),
    "early_stopping_type": lambda: tuning(early_stopping_type="Auto"),
    "random": lambda: tuning(strategy="Random"),
    "grid": lambda: tuning(strategy="Grid", max_jobs=None, hyperparameter_ranges=SIMPLE),
    "hyperband": lambda: tuning(
        strategy="Hyperband", strategy_config=smt.HyperbandConfig(min_resource=1, max_resource=9)
    ),
    "completion_criteria": lambda: tuning(
        completion_criteria=smt.CompletionCriteria(
            target_objective_metric_value=0.5,
            max_number_of_training_jobs_not_improving=5,
            complete_on_convergence=True,
        )
    ),
    "target_objective_metric_value": lambda: tuning(
        completion_criteria=smt.CompletionCriteria(target_objective_metric_value=0.0)
    ),
    "shuffle_seed": lambda: tuning(inputs={"train": smt.Input(uri="s3://b/k", shuffle_seed=0)}),
    "accept_eula": lambda: tuning(inputs={"train": smt.Input(uri="s3://b/k", accept_eula=False)}),
    "empty_tag": lambda: on_estimator(tags={"team": ""}),
    "no_volume": lambda: on_estimator(volume_size=0),
    "empty_texts": lambda: on_estimator(environment={"A": ""}, hyperparameters={"a": "", "b": 0, "c": None}),
    "no_convergence": lambda: tuning(completion_criteria=smt.CompletionCriteria(complete_on_convergence=False)),
    "warm_start": lambda: tuning(
        warm_start=smt.WarmStart(parents=["parent-1", "parent-2"], warm_start_type="TransferLearning")
    ),
    "autotune": lambda: tuning(autotune=True),
    "auto_parameters": lambda: tuning(autotune=True, auto_parameters={"momentum": "0.9"}),
    "tags": lambda: on_estimator(tags={"team": "a", "cost-centre": "7"}),
    "environment": lambda: on_estimator(environment={"A": "1"}),
    "vpc": lambda: on_estimator(**VPC),
    "enable_network_isolation": lambda: on_estimator(enable_network_isolation=True),
    "encrypt_inter_container_traffic": lambda: on_estimator(encrypt_inter_container_traffic=True),
    "output_kms_key": lambda: on_estimator(output_kms_key="alias/mine"),
    "volume_kms_key": lambda: on_estimator(volume_kms_key="alias/mine"),
    "volume_size": lambda: on_estimator(volume_size=77, instance_count=3),
    "disable_output_compression": lambda: on_estimator(disable_output_compression=True),
    "spot": lambda: on_estimator(use_spot_instances=True, max_run=600, max_wait=900),
    "max_run": lambda: on_estimator(max_run=1234),
    "max_pending": lambda: on_estimator(max_pending=7200),
    "max_retry_attempts": lambda: on_estimator(max_retry_attempts=3),
    "checkpoint_s3_uri": lambda: on_estimator(checkpoint_s3_uri="s3://bucket/c", checkpoint_local_path="/opt/ml/c"),
    "input_mode": lambda: on_estimator(input_mode="FastFile"),
    "distribution": lambda: on_estimator(distribution={"torch_distributed": {"enabled": True}}),
    "mpi": lambda: on_estimator(
        distribution={"mpi": {"enabled": True, "processes_per_host": 4, "custom_mpi_options": "-x A"}}
    ),
    "instance_configs": lambda: on_estimator(
        instance_type=None, instance_configs=[{"instance_type": "ml.m5.large"}, {"instance_type": "ml.m5.xlarge"}]
    ),
    "instance_preferences": lambda: on_estimator(
        instance_type=None, instance_preferences=[{"instance_type": "ml.m5.large"}, {"instance_type": "ml.m5.xlarge"}]
    ),
    "training_plan": lambda: on_estimator(training_plan="arn:aws:sagemaker:us-east-1:123456789012:training-plan/p1"),
    "resource_config": lambda: on_estimator(
        framework_version=None,
        py_version=None,
        image_uri="123456789012.dkr.ecr.us-east-1.amazonaws.com/own:1",
        instance_type=None,
        resource_config={
            "VolumeSizeInGB": 30,
            "InstanceGroups": [{"InstanceType": "ml.m5.large", "InstanceCount": 1, "InstanceGroupName": "a"}],
        },
    ),
    "channel_options": lambda: tuning(inputs={"train": OPTIONS, "files": "s3://b/c.csv"}),
    "file_system": lambda: tuning(estimator=estimator(**VPC), inputs={"train": FILES}),
    "no_inputs": lambda: tuning(inputs={}),
    "xgboost": lambda: tuning(
        estimator=smt.XGBoostEstimator(
            version="1.7-1",
            instance_type="ml.m5.large",
            role=ROLE,
            output_path="s3://bucket/output",
            hyperparameters={"objective": "reg:squarederror", "num_round": 5, "verbosity": True},
        ),
        objective_metric_name="validation:rmse",
        hyperparameter_ranges={
            "eta": smt.ContinuousParameter(0.1, 0.5),
            "booster": smt.CategoricalParameter(["gbtree", "dart"]),
        },
    ),
    "container": lambda: tuning(
        estimator=smt.ContainerEstimator(
            image_uri="123456789012.dkr.ecr.us-east-1.amazonaws.com/own:1",
            instance_type="ml.m5.large",
            role=ROLE,
            output_path="s3://bucket/output",
            hyperparameters={"none": None, "flag": True},
            metric_definitions={"loss": "loss=(.*);"},
        )
    ),
    "algorithm_name": lambda: tuning(
        estimator=smt.ContainerEstimator(
            algorithm_name="arn:aws:sagemaker:us-east-1:123456789012:algorithm/mine",
            instance_type="ml.m5.large",
            role=ROLE,
            output_path="s3://bucket/output",
        ),
        objective_metric_name="loss",
    ),
    "estimators": lambda: smt.Tuning(
        estimators={
            name: {
                "estimator": estimator(),
                "objective_metric_name": "loss",
                "hyperparameter_ranges": {"lr": smt.ContinuousParameter(0.1, 0.5)},
            }
            for name in ("a", "b")
        },
        inputs={"train": "s3://bucket/train.csv"},
        max_jobs=4,
    ),
}


def says_nothing(value):
    return value is None or value is False or value in ({}, [])


def plain(request):
    """A request without what the SDK cannot know (the job's name), and without what says nothing."""
    if isinstance(request, dict):
        kept = {name: plain(value) for name, value in request.items() if name != "sagemaker_job_name"}
        return {name: value for name, value in kept.items() if not says_nothing(value)}
    return [plain(one) for one in request] if isinstance(request, list) else request


def through(spec, aws, session):
    try:
        tuner = deploy.to_sdk_tuner(spec, aws=aws, session=session)
    except smt.SpecError as error:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            if spec.estimator is not None and spec.estimator.type != "container":
                deploy.to_sdk_tuner(spec, aws=aws, session=session, on_loss="warn")
        warned = [str(one.message) for one in said if issubclass(one.category, smt.SdkLossWarning)]
        return {"problems": list(error.problems), "warned": warned}
    sent.clear()
    try:
        tuner.tune(job_name="edge", wait=False)
    except Exception as error:  # noqa: BLE001  (the answer that was made up is not what the SDK expects)
        if not sent:
            return {"failed": repr(error)}
    back = deploy.from_sdk(tuner)
    ours = to_request(spec, name="edge", region="us-east-1")
    return {"sdk": plain(sent[0]), "ours": plain(ours), "same_spec": back == resolved(spec)}


def main():
    boto = boto3.Session("AKIAEDGE", "secret", region_name="us-east-1")
    boto.events.register("before-send.sagemaker", catch)
    session = Session(boto_session=boto)
    aws = smt.connect(session=boto, environ={})
    found = {name: through(make(), aws, session) for name, make in VARIANTS.items()}
    print(json.dumps(found))


if __name__ == "__main__":
    sys.exit(main())
