"""Train, tune, stop, deploy and invoke with the resource classes of sagemaker-core, without the trainer classes."""

import sys
import time

import pandas as pd
from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.resources import Endpoint, EndpointConfig, HyperParameterTuningJob, Model, TrainingJob
from sagemaker.core.shapes import (
    AlgorithmSpecification,
    Channel,
    ContainerDefinition,
    ContinuousParameterRange,
    DataSource,
    HyperParameterAlgorithmSpecification,
    HyperParameterTrainingJobDefinition,
    HyperParameterTuningJobConfig,
    HyperParameterTuningJobObjective,
    HyperParameterTuningJobWarmStartConfig,
    IntegerParameterRange,
    OutputDataConfig,
    ParameterRanges,
    ParentHyperParameterTuningJob,
    ProductionVariant,
    ResourceConfig,
    ResourceLimits,
    S3DataSource,
    StoppingCondition,
)

data = sys.argv[1]
session = Session()
region = session.boto_region_name
role = get_execution_role()
bucket = session.default_bucket()
image = image_uris.retrieve(framework="xgboost", region=region, version="1.7-1")
train = session.upload_data(f"{data}/train.csv", bucket, "core/train")
validation = session.upload_data(f"{data}/validation.csv", bucket, "core/validation")
stamp = time.strftime("%Y-%m-%d-%H-%M-%S", time.gmtime())


def channel(name, uri):
    source = S3DataSource(s3_data_type="S3Prefix", s3_uri=uri, s3_data_distribution_type="FullyReplicated")
    return Channel(channel_name=name, content_type="csv", data_source=DataSource(s3_data_source=source))


channels = [channel("train", train), channel("validation", validation)]
output = OutputDataConfig(s3_output_path=f"s3://{bucket}/core/output")
resources = ResourceConfig(instance_type="ml.m4.xlarge", instance_count=1, volume_size_in_gb=30)
limit = StoppingCondition(max_runtime_in_seconds=600)

training_job = TrainingJob.create(
    training_job_name="xgboost-" + stamp,
    hyper_parameters={"objective": "reg:squarederror", "num_round": "10", "eta": "0.2"},
    algorithm_specification=AlgorithmSpecification(training_image=image, training_input_mode="File"),
    role_arn=role,
    input_data_config=channels,
    output_data_config=output,
    resource_config=resources,
    stopping_condition=limit,
)
training_job.wait()
training_job.refresh()
print("TRAINED", training_job.training_job_status, len(training_job.final_metric_data_list))


def tune(name, jobs, warm_start_config=None):
    return HyperParameterTuningJob.create(
        hyper_parameter_tuning_job_name=name,
        hyper_parameter_tuning_job_config=HyperParameterTuningJobConfig(
            strategy="Bayesian",
            hyper_parameter_tuning_job_objective=HyperParameterTuningJobObjective(
                type="Minimize", metric_name="validation:rmse"
            ),
            resource_limits=ResourceLimits(max_number_of_training_jobs=jobs, max_parallel_training_jobs=2),
            training_job_early_stopping_type="Auto",
            parameter_ranges=ParameterRanges(
                integer_parameter_ranges=[IntegerParameterRange(name="max_depth", min_value="2", max_value="8")],
                continuous_parameter_ranges=[
                    ContinuousParameterRange(name="eta", min_value="0.05", max_value="0.5", scaling_type="Logarithmic")
                ],
            ),
        ),
        training_job_definition=HyperParameterTrainingJobDefinition(
            role_arn=role,
            algorithm_specification=HyperParameterAlgorithmSpecification(
                training_image=image, training_input_mode="File"
            ),
            static_hyper_parameters={"objective": "reg:squarederror", "num_round": "10"},
            input_data_config=channels,
            output_data_config=output,
            resource_config=resources,
            stopping_condition=limit,
        ),
        **({} if warm_start_config is None else {"warm_start_config": warm_start_config}),
    )


job = tune("core-tuning", 3)
job.wait()
job.refresh()
trials = list(job.get_all_training_jobs())
print("TUNED", job.hyper_parameter_tuning_job_status, len(trials))
best = TrainingJob.get(job.best_training_job.training_job_name)
print("BEST", set(best.hyper_parameters) >= {"eta", "max_depth", "num_round"})

parent = ParentHyperParameterTuningJob(hyper_parameter_tuning_job_name="core-tuning")
warm = tune(
    "core-warm",
    50,
    HyperParameterTuningJobWarmStartConfig(
        parent_hyper_parameter_tuning_jobs=[parent], warm_start_type="IdenticalDataAndAlgorithm"
    ),
)
warm.stop()
warm.wait()
warm.refresh()
print("STOPPED", warm.hyper_parameter_tuning_job_status)
print("ALL", sorted(found.hyper_parameter_tuning_job_name for found in HyperParameterTuningJob.get_all()))

model = Model.create(
    model_name="core-model",
    primary_container=ContainerDefinition(image=image, model_data_url=best.model_artifacts.s3_model_artifacts),
    execution_role_arn=role,
)
config = EndpointConfig.create(
    endpoint_config_name="core-config",
    production_variants=[
        ProductionVariant(
            variant_name="AllTraffic", model_name=model, instance_type="ml.m5.large", initial_instance_count=1
        )
    ],
)
endpoint = Endpoint.create(endpoint_name="core-endpoint", endpoint_config_name=config)
endpoint.wait_for_status("InService")
features = pd.read_csv(f"{data}/validation.csv", header=None).drop(columns=0)
result = endpoint.invoke(body=features.to_csv(header=False, index=False), content_type="text/csv", accept="text/csv")
print("LIVE", len(result.body.read().decode().split()))
endpoint.delete()
endpoint.wait_for_delete()
config.delete()
model.delete()
print("DONE")
