"""Rules over one training job definition: image, metrics, resources, stopping, inputs."""

from __future__ import annotations

import re

from sm_tuning._wire import OBJECTIVE_KEY, PROGRAM_KEY, SUBMIT_DIRECTORY_KEY
from sm_tuning.executor.algorithms import Algorithm, algorithm_for, check_hyperparameters, is_builtin_image
from sm_tuning.local.service._context import Context, Request, invalid
from sm_tuning.local.service._limits import MAX_RUNTIME_SECONDS, hosts_of

_SCRIPT_KEYS = (PROGRAM_KEY, SUBMIT_DIRECTORY_KEY)


def check_definition(definition: Request, objective: Request | None, ranges: Request) -> None:
    """Check everything about a definition but what needs S3.

    Args:
        definition: of the training jobs; a training job of its own in the same form.
        objective: None for a training job of its own.
        ranges: of what is tuned.

    Raises:
        Fault: ValidationException for the first rule that is broken.
    """
    specification = definition["AlgorithmSpecification"]
    image = specification.get("TrainingImage")
    if bool(image) == bool(specification.get("AlgorithmName")):
        raise invalid("Give either TrainingImage or AlgorithmName in AlgorithmSpecification, not both and not neither.")
    if image:
        _check_image(image, definition, ranges)
        _check_metrics(definition, objective)
    _check_resources(definition)
    condition = definition["StoppingCondition"]
    run, wait = condition.get("MaxRuntimeInSeconds", 24 * 3600), condition.get("MaxWaitTimeInSeconds")
    if run > MAX_RUNTIME_SECONDS:
        raise invalid(f"MaxRuntimeInSeconds must not exceed {MAX_RUNTIME_SECONDS} (28 days), but it is {run}.")
    if definition.get("EnableManagedSpotTraining"):
        if wait is None or wait < run:
            raise invalid(
                "With EnableManagedSpotTraining, MaxWaitTimeInSeconds must be given and not less than "
                f"MaxRuntimeInSeconds, {run}, but it is {wait}."
            )
    elif wait is not None:
        raise invalid("MaxWaitTimeInSeconds is for EnableManagedSpotTraining only; set that, or leave it out.")
    channels = [channel["ChannelName"] for channel in definition.get("InputDataConfig", [])]
    if len(set(channels)) < len(channels):
        raise invalid(f"Channel names must be unique, but they are {channels}.")
    given = definition.get("StaticHyperParameters", {}).get(OBJECTIVE_KEY)
    if objective is not None and given is not None and given.strip('"') != objective["MetricName"]:
        raise invalid(
            f"The static hyperparameter {OBJECTIVE_KEY!r} is reserved for the objective metric, "
            f"{objective['MetricName']!r}, but it is {given!r}."
        )


def builtin_algorithm(definition: Request) -> Algorithm | None:
    """Return the built-in algorithm that a definition trains, or None for a script or a custom image.

    The XGBoost image is both: with a program in the hyperparameters, or an entrypoint, it runs that.
    """
    if _has_entrypoint(definition) or _SCRIPT_KEYS[0] in definition.get("StaticHyperParameters", {}):
        return None
    return algorithm_for(definition["AlgorithmSpecification"].get("TrainingImage", ""))


def _has_entrypoint(definition: Request) -> bool:
    return bool(definition["AlgorithmSpecification"].get("ContainerEntrypoint"))


def _check_image(image: str, definition: Request, ranges: Request) -> None:
    if _has_entrypoint(definition):
        return
    static = definition.get("StaticHyperParameters", {})
    algorithm = builtin_algorithm(definition)
    if algorithm is not None:
        for problem in check_hyperparameters(algorithm, static, ranges):
            raise invalid(problem)
        resource = definition.get("HyperParameterTuningResourceConfig") or definition.get("ResourceConfig", {})
        if any(hosts_of(one) > 1 for one in (resource, *resource.get("InstanceConfigs", []))):
            raise invalid(
                f"The local SageMaker trains the built-in {algorithm.name} on one instance only: set InstanceCount "
                "to 1. On AWS more are possible."
            )
        return
    missing = [key for key in _SCRIPT_KEYS if key not in static]
    if _SCRIPT_KEYS[0] in missing and is_builtin_image(image):
        raise invalid(
            f"The local SageMaker does not support the built-in algorithm of {image}. On AWS this is possible."
        )
    if missing:
        raise invalid(
            f"The local SageMaker cannot run containers: {image} needs script mode, with the hyperparameters "
            f"{', '.join(_SCRIPT_KEYS)}, but {', '.join(missing)} is missing."
        )


def _check_metrics(definition: Request, objective: Request | None) -> None:
    given = definition["AlgorithmSpecification"].get("MetricDefinitions", [])
    names = [one["Name"] for one in given]
    if len(set(names)) < len(names):
        raise invalid(f"Metric names must be unique, but they are {names}.")
    for one in given:
        try:
            groups = re.compile(one["Regex"]).groups
        except re.error as e:
            raise invalid(f"The regex of metric {one['Name']!r} is not valid: {e}. It is {one['Regex']!r}.") from e
        if groups == 0:
            raise invalid(
                f"The regex of metric {one['Name']!r} has no group: put the value in parentheses. "
                f"It is {one['Regex']!r}."
            )
    if objective is None:
        return
    algorithm = builtin_algorithm(definition)
    if algorithm is not None:
        known = [one["Name"] for one in algorithm.metric_definitions]
        if objective["MetricName"] not in (*known, *names):
            raise invalid(
                f"The objective metric for the hyperparameter tuning job, [{objective['MetricName']}], isn't valid "
                f"for the [{algorithm.name}] algorithm. Choose a valid objective metric: {known}."
            )
    elif objective["MetricName"] not in names:
        raise invalid(
            "A metric is required for this hyperparameter tuning job objective. "
            "Provide a metric in the metric definitions."
        )


def _check_resources(definition: Request) -> None:
    given = [name for name in ("ResourceConfig", "HyperParameterTuningResourceConfig") if name in definition]
    if len(given) != 1:
        raise invalid(
            "Give one of ResourceConfig and HyperParameterTuningResourceConfig in the training job definition, "
            f"not {' and '.join(given) or 'neither'}."
        )
    resource = definition[given[0]]
    single = [name for name in ("InstanceType", "InstanceCount", "VolumeSizeInGB") if name in resource]
    if resource.get("InstanceConfigs"):
        if single:
            raise invalid(f"InstanceConfigs cannot be combined with {', '.join(single)}.")
        return
    if resource.get("InstanceGroups"):
        _check_groups(resource, single)
        return
    missing = [name for name in ("InstanceType", "InstanceCount", "VolumeSizeInGB") if not resource.get(name)]
    if missing:
        raise invalid(f"{given[0]} needs {', '.join(missing)}.")


def _check_groups(resource: Request, single: list[str]) -> None:
    stray = [name for name in single if name != "VolumeSizeInGB"]
    if stray:
        raise invalid(f"InstanceGroups cannot be combined with {' and '.join(stray)}.")
    names = [group["InstanceGroupName"] for group in resource["InstanceGroups"]]
    if len(set(names)) < len(names):
        raise invalid(f"The names of instance groups must be unique, but they are {names}.")
    if hosts_of(resource) < 1:
        raise invalid("InstanceGroups have no instance: give an InstanceCount of 1 or more.")


def check_places(definition: Request, context: Context) -> None:
    """Check that the inputs and the bucket of the outputs are there.

    Raises:
        Fault: ValidationException that names the first one that is not.
    """
    for channel in definition.get("InputDataConfig", []):
        uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
        if not _is_s3(uri) or not context.objects.list_objects(uri):
            raise invalid(_nothing_there(uri, definition["RoleArn"], context.identity.region))
    static = definition.get("StaticHyperParameters", {})
    source = static.get(SUBMIT_DIRECTORY_KEY, "").strip('"')
    if source.startswith("s3://") and not context.objects.list_objects(source):
        raise invalid(_nothing_there(source, definition["RoleArn"], context.identity.region))
    output = definition["OutputDataConfig"]["S3OutputPath"]
    bucket = _bucket_of(output)
    if not _is_s3(output) or not context.objects.has_bucket(bucket):
        raise invalid(f'The S3 bucket "{bucket}" of the output path "{output}" does not exist.')


def _is_s3(uri: str) -> bool:
    return re.fullmatch(r"s3://[^/]+(/.*)?", uri, re.DOTALL) is not None


def _bucket_of(uri: str) -> str:
    return uri.partition("://")[2].partition("/")[0]


def _nothing_there(uri: str, role: str, region: str) -> str:
    return (
        f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket exists '
        f"in the selected region ({region}), that objects exist under that S3 prefix, and that the role "
        f'"{role}" has "s3:ListBucket" permissions on bucket "{_bucket_of(uri)}".'
    )
