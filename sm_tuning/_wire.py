"""Names and number forms of the SageMaker API that more than one package needs.

Statuses are in ``_statuses``. Nothing here calls AWS.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final

# Static hyperparameters ---------------------------------------------------------------------------------------------

#: The hyperparameter by which the service passes the name of the objective metric to each training job.
OBJECTIVE_KEY: Final = "_tuning_objective_metric"

#: Keys of the framework images' toolkits: aws/sagemaker-training-toolkit (params.py) and, for distributed PyTorch,
#: aws/sagemaker-pytorch-training-toolkit (training.py). SDK v2 sends the same keys. The toolkits read values as JSON.
PROGRAM_KEY: Final = "sagemaker_program"
SUBMIT_DIRECTORY_KEY: Final = "sagemaker_submit_directory"
LOG_LEVEL_KEY: Final = "sagemaker_container_log_level"
REGION_KEY: Final = "sagemaker_region"
JOB_NAME_KEY: Final = "sagemaker_job_name"
INSTANCE_TYPE_KEY: Final = "sagemaker_instance_type"
ESTIMATOR_CLASS_KEY: Final = "sagemaker_estimator_class_name"
ESTIMATOR_MODULE_KEY: Final = "sagemaker_estimator_module"
TORCH_DISTRIBUTED_KEY: Final = "sagemaker_torch_distributed_enabled"
PYTORCH_DDP_KEY: Final = "sagemaker_pytorch_ddp_enabled"
MPI_KEY: Final = "sagemaker_mpi_enabled"
MPI_PROCESSES_KEY: Final = "sagemaker_mpi_num_of_processes_per_host"
MPI_OPTIONS_KEY: Final = "sagemaker_mpi_custom_mpi_options"
#: The toolkit starts pytorchddp with its SMDataParallel runner, which reads the options of that runner (runner.py).
DDP_OPTIONS_KEY: Final = "sagemaker_distributed_dataparallel_custom_mpi_options"
PARAMETER_SERVER_KEY: Final = "sagemaker_parameter_server_enabled"
DATA_PARALLEL_KEY: Final = "sagemaker_distributed_dataparallel_enabled"
#: Parameters of the model parallel library, which MPI starts; the script gets them as an argument too.
MODEL_PARALLEL_KEY: Final = "mp_parameters"
MIRRORED_STRATEGY_KEY: Final = "sagemaker_multi_worker_mirrored_strategy_enabled"

#: Variables of a serving container by which the toolkits find the user's functions; SDK v2 sends the same.
SERVING_PROGRAM: Final = "SAGEMAKER_PROGRAM"
SERVING_CODE: Final = "SAGEMAKER_SUBMIT_DIRECTORY"

#: Between two words of a member's name; digits belong to the word before them, as in S3Uri.
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_RESERVED_PREFIXES: Final = ("sagemaker_", "_tuning_objective")


def is_reserved_hyperparameter(name: str) -> bool:
    """Return whether the service or a toolkit sets a hyperparameter of this name, so that users cannot."""
    return name.startswith(_RESERVED_PREFIXES)


# Strategies ----------------------------------------------------------------------------------------------------------

#: The strategies that stop trials at rungs. The second one has a model, and runs in studies only.
HYPERBANDS: Final = ("Hyperband", "BayesianHyperband")

#: The strategies whose trials continue the checkpoints of others, in studies only.
CONTINUING: Final = ("Promotion", "Population")

#: Static hyperparameters from which the service infers MaxResource, and the most that it may be [API Reference,
#: HyperbandStrategyConfig].
EPOCH_KEYS: Final = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")
MOST_RESOURCE: Final = 20_000


def max_resource(config: Mapping[str, Any], static: Mapping[str, str]) -> tuple[str, int] | None:
    """Return what gives MaxResource to a job of the strategy Hyperband, and its value; None if nothing does.

    Args:
        config: the HyperParameterTuningJobConfig.
        static: the static hyperparameters of the definition.
    """
    given = ((config.get("StrategyConfig") or {}).get("HyperbandStrategyConfig") or {}).get("MaxResource")
    if given is not None:
        return "MaxResource", int(given)
    # SDK v2 sends static hyperparameters with JSON quotes.
    texts = {key: static.get(key, "").strip('" ') for key in EPOCH_KEYS}
    return next(((k, int(text)) for k, text in texts.items() if text.isascii() and text.isdigit() and int(text)), None)


#: Static and tuned hyperparameters of a training job together; ``OBJECTIVE_KEY`` is one of them [define-ranges].
MOST_HYPERPARAMETERS: Final = 100

# Lists and pages ----------------------------------------------------------------------------------------------------

#: The kind of each list of tuned hyperparameters in ParameterRanges and HyperParameterRanges.
RANGE_KINDS: Final[Mapping[str, str]] = {
    "IntegerParameterRanges": "Integer",
    "ContinuousParameterRanges": "Continuous",
    "CategoricalParameterRanges": "Categorical",
}
RANGE_LISTS: Final = tuple(RANGE_KINDS)
#: Autotune chooses the ranges of the hyperparameters in this list.
AUTO_PARAMETERS: Final = "AutoParameters"

#: MaxResults: the most that SageMaker's list operations and Search accept, and what they assume without it.
LARGEST_PAGE: Final = 100
DEFAULT_PAGE: Final = 10

#: The log group of all training jobs, and the CloudWatch namespace of their instance metrics.
TRAINING_JOBS: Final = "/aws/sagemaker/TrainingJobs"


def is_training_arn(arn: str) -> bool:
    """Return whether an ARN is that of a training job."""
    return ":training-job/" in arn


#: The beginning of the ARNs of jobs that are read from a folder: no account and no region has them.
_ARCHIVES: Final = "arn:sm-tuning:sagemaker:none:000000000000"


def archive_arn(kind: str, name: str) -> str:
    """Return the ARN of a job that is read from a folder; ``kind`` is ``training-job`` or as in other ARNs."""
    return f"{_ARCHIVES}:{kind}/{name}"


def is_archive_arn(arn: str) -> bool:
    """Return whether a job is read from a folder."""
    return arn.startswith(_ARCHIVES)


def to_tags(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the values of a list of tags by key."""
    return {tag["Key"]: tag["Value"] for tag in tags}


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags in the form of the API."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def snake_case(member: str) -> str:
    """Return the name of an API member in the form of the SDK and of Terraform: ``volume_size_in_gb``."""
    return _HUMP.sub("_", member).lower()


#: The members that the description of a study has beside those of a tuning job: its folder in S3, its further
#: objectives and constraints; and the member of each trial's summary: why it was started, and how it ended.
STUDY_URI: Final = "StudyUri"
STUDY_RULES: Final = "StudyRules"
STUDY_TRIAL: Final = "StudyTrial"
#: The block ``study:`` of the spec, in the description of a study.
STUDY_SETTINGS: Final = "StudySettings"
#: Why a study that has completed ended before all its trials.
STUDY_REASON: Final = "CompletionReason"

#: The environment variable of a remote driver; its value is the ``s3://`` folder of the study.
STUDY_VARIABLE: Final = "SM_TUNING_STUDY"

#: The environment variable of a study's trial that continues another one; its value is that training job's name.
PARENT_VARIABLE: Final = "SM_TUNING_PARENT"

#: The member of StrategyConfig that holds the settings of a strategy that only studies have.
STUDY_STRATEGY_CONFIG: Final = "StudyStrategyConfig"


def is_study(description: Mapping[str, object]) -> bool:
    """Return whether a description in the form of a tuning job's is that of a study."""
    return STUDY_URI in description


# Numbers ------------------------------------------------------------------------------------------------------------


def to_float32(value: float) -> float:
    """Return a number as the service stores metric values: MetricValue is a 32-bit float [botocore model].

    A number beyond the range of 32-bit floats becomes an infinity.
    """
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def from_float32(value: float) -> float:
    """Return the number with the fewest digits that is stored as this 32-bit float: 0.9 for 0.8999999761581421.

    A value that is not a 32-bit float is returned unchanged.
    """
    if not math.isfinite(value) or to_float32(value) != value:
        return value
    decimals = (float(f"{value:.{digits}g}") for digits in range(1, 10))
    return next((short for short in decimals if to_float32(short) == value), value)


def reaches(value: float, target: float, *, maximize: bool) -> bool:
    """Return whether an objective is at the target or better, both compared as 32-bit floats."""
    value, target = to_float32(value), to_float32(target)
    return value >= target if maximize else value <= target
