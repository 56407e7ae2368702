"""Rules over hyperparameter ranges and training job definitions, quotas, and the limits of this server.

Sources: Developer Guide ("Define hyperparameter ranges", "Resource limits for automatic model tuning") and the API
Reference of the members.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from sm_tuning._images import METRICS_REFUSED, is_builtin_image
from sm_tuning._wire import AUTO_PARAMETERS, OBJECTIVE_KEY, PROGRAM_KEY, RANGE_LISTS, SUBMIT_DIRECTORY_KEY
from sm_tuning.executor import MOST_HOSTS, unsupported_launcher
from sm_tuning.executor.algorithms import GPU_VALUES, Algorithm, algorithm_for
from sm_tuning.local.service._context import Context, Fault, Request, invalid

#: The largest number of training jobs that AWS grants a tuning job; it differs only for Random.
MAX_JOBS = {"Random": 10_000}
DEFAULT_MAX_JOBS = 750

_MAX_ACTIVE_TUNING_JOBS = 100
_MAX_PARALLEL_JOBS = 100
_MAX_RUNTIME_SECONDS = 28 * 24 * 3600
_MAX_RANGES = 30
_MAX_HYPERPARAMETERS = 100
# The script by which the ModelTrainer of the SDK v3 starts a job names the driver [sagemaker-train, templates.py].
_TRAINER_CHANNEL, _TRAINER_SCRIPT, _MPI_DRIVER = "sm_drivers", "sm_train.sh", b"distributed_drivers/mpi_driver.py"
_INSTANCE_MEMBERS = ("InstanceType", "InstanceCount", "VolumeSizeInGB")


def unsupported(feature: str) -> Fault:
    """Return the refusal of a feature that AWS has and this server does not."""
    return invalid(f"The local SageMaker does not support {feature}. On AWS this is possible.")


# Ranges -------------------------------------------------------------------------------------------------------------


def check_ranges(ranges: Request, static: Request, strategy: str, *, autotune: bool) -> None:
    """Check the ranges of a definition against each other, the static hyperparameters and the strategy.

    Raises:
        Fault: ValidationException for the first violation.
    """
    names = [entry["Name"] for kind in RANGE_LISTS for entry in ranges.get(kind, [])]
    if not names:
        raise invalid("At least one hyperparameter range is required: ParameterRanges has none.")
    if len(names) > _MAX_RANGES:
        raise invalid(f"The number of hyperparameter ranges, {len(names)}, exceeds the limit of {_MAX_RANGES}.")
    if _repeated(names):
        raise invalid(f"Hyperparameter names must be unique, but these have several ranges: {_repeated(names)}.")
    both = sorted(set(names) & set(static))
    if both:
        raise invalid(f"Hyperparameters cannot be both static and tuned: {both}.")
    if OBJECTIVE_KEY in names:
        raise invalid(f"The hyperparameter name {OBJECTIVE_KEY!r} is reserved.")
    total = len(names) + len({*static, OBJECTIVE_KEY})
    if total > _MAX_HYPERPARAMETERS:
        raise invalid(
            f"The number of static and tuned hyperparameters, {total} with {OBJECTIVE_KEY!r}, exceeds the limit "
            f"of {_MAX_HYPERPARAMETERS}."
        )
    if ranges.get("AutoParameters") and not autotune:
        raise invalid("AutoParameters need Autotune: give Autotune, or ranges instead of AutoParameters.")
    for entry in ranges.get("IntegerParameterRanges", []):
        _check_integer(entry)
    for entry in ranges.get("ContinuousParameterRanges", []):
        _check_continuous(entry)
    for entry in ranges.get("CategoricalParameterRanges", []):
        repeated = _repeated(entry["Values"])
        if repeated:
            raise invalid(f"The categorical hyperparameter {entry['Name']!r} has duplicate values: {repeated}.")
    numeric = [entry["Name"] for kind in RANGE_LISTS[:2] for entry in ranges.get(kind, [])]
    if strategy == "Grid" and numeric:
        raise invalid(f"Strategy Grid takes categorical hyperparameters only, but these are numeric: {numeric}.")


def _repeated(values: Sequence[str]) -> list[str]:
    return sorted(value for value, count in Counter(values).items() if count > 1)


def _check_integer(entry: Request) -> None:
    try:
        low, high = int(entry["MinValue"]), int(entry["MaxValue"])
    except ValueError as e:
        raise invalid(
            f"The integer hyperparameter {entry['Name']!r} has bounds that are not integers: "
            f"MinValue {entry['MinValue']!r}, MaxValue {entry['MaxValue']!r}."
        ) from e
    if entry.get("ScalingType") == "ReverseLogarithmic":
        raise invalid(
            f"The integer hyperparameter {entry['Name']!r} has ScalingType ReverseLogarithmic, which is for "
            "continuous ones only."
        )
    _check_bounds(entry, low, high)


def _check_continuous(entry: Request) -> None:
    try:
        low, high = float(entry["MinValue"]), float(entry["MaxValue"])
    except ValueError as e:
        raise invalid(
            f"The continuous hyperparameter {entry['Name']!r} has bounds that are not numbers: "
            f"MinValue {entry['MinValue']!r}, MaxValue {entry['MaxValue']!r}."
        ) from e
    if not (math.isfinite(low) and math.isfinite(high)):
        raise invalid(
            f"The continuous hyperparameter {entry['Name']!r} has a bound that is not finite: "
            f"MinValue {entry['MinValue']!r}, MaxValue {entry['MaxValue']!r}."
        )
    if entry.get("ScalingType") == "ReverseLogarithmic" and not (low >= 0 and high < 1):
        raise invalid(
            f"The hyperparameter {entry['Name']!r} has ScalingType ReverseLogarithmic, which needs a range inside "
            f"0 <= x < 1.0, but it is {entry['MinValue']} to {entry['MaxValue']}."
        )
    _check_bounds(entry, low, high)


def _check_bounds(entry: Request, low: float, high: float) -> None:
    if low >= high:
        raise invalid(
            f"The hyperparameter {entry['Name']!r} needs MinValue < MaxValue, but MinValue is {entry['MinValue']} "
            f"and MaxValue is {entry['MaxValue']}. Make a hyperparameter with one value static."
        )
    if entry.get("ScalingType") == "Logarithmic" and low <= 0:
        raise invalid(
            f"The hyperparameter {entry['Name']!r} has ScalingType Logarithmic, which needs values greater than 0, "
            f"but MinValue is {entry['MinValue']}."
        )


def combinations(definitions: Sequence[Request]) -> int | None:
    """Return the number of combinations in the ranges of all definitions; None if a range is continuous."""
    total = 0
    for ranges in definitions:
        if ranges.get("ContinuousParameterRanges"):
            return None
        integers = ranges.get("IntegerParameterRanges", [])
        sizes = [int(entry["MaxValue"]) - int(entry["MinValue"]) + 1 for entry in integers]
        sizes += [len(entry["Values"]) for entry in ranges.get("CategoricalParameterRanges", [])]
        total += math.prod(sizes)
    return total


def check_budget(definitions: Sequence[Request], config: Request) -> None:
    """Check that the ranges of all definitions have enough combinations for the number of training jobs.

    Raises:
        Fault: ValidationException if there are too few, or if the number of jobs of a grid is not that of combinations.
    """
    budget = config["ResourceLimits"].get("MaxNumberOfTrainingJobs")
    size = combinations(definitions)
    if budget is None or size is None:
        return
    if config["Strategy"] == "Grid":
        if budget != size:
            raise invalid(
                f"With Strategy Grid, MaxNumberOfTrainingJobs must be the number of combinations, {size}, or absent, "
                f"but it is {budget}."
            )
    elif size < budget:
        raise invalid(
            "You don't have enough combinations of hyperparameter ranges. The total number of hyperparameter "
            f"combinations for the provided ranges [{float(size)}] must be equal or greater than the value of "
            f"MaxNumberOfJobs, [{budget}]. Provide additional ranges."
        )


# Definitions --------------------------------------------------------------------------------------------------------


def check_definition(definition: Request, objective: Request | None, ranges: Request) -> None:
    """Check a definition, except for the rules that need S3.

    Args:
        definition: a training job definition, or a training job in that form.
        objective: the objective; None for a training job outside of tuning jobs.
        ranges: its hyperparameter ranges.

    Raises:
        Fault: ValidationException for the first violation.
    """
    specification = definition["AlgorithmSpecification"]
    image = specification.get("TrainingImage")
    if bool(image) == bool(specification.get("AlgorithmName")):
        raise invalid("Give either TrainingImage or AlgorithmName in AlgorithmSpecification, not both and not neither.")
    if image:
        _check_image(image, definition, ranges)
        _check_metrics(image, definition, objective)
    _check_resources(definition)
    condition = definition["StoppingCondition"]
    run, wait = condition.get("MaxRuntimeInSeconds", 24 * 3600), condition.get("MaxWaitTimeInSeconds")
    if run > _MAX_RUNTIME_SECONDS:
        raise invalid(f"MaxRuntimeInSeconds must not exceed {_MAX_RUNTIME_SECONDS} (28 days), but it is {run}.")
    if definition.get("EnableManagedSpotTraining"):
        if wait is None or wait < run:
            raise invalid(
                "With EnableManagedSpotTraining, MaxWaitTimeInSeconds must be given and not less than "
                f"MaxRuntimeInSeconds, {run}, but it is {wait}."
            )
    elif wait is not None:
        raise invalid("MaxWaitTimeInSeconds is for EnableManagedSpotTraining only; set that, or leave it out.")
    _check_channels(definition)
    given = definition.get("StaticHyperParameters", {}).get(OBJECTIVE_KEY)
    if objective is not None and given is not None and given.strip('"') != objective["MetricName"]:
        raise invalid(
            f"The static hyperparameter {OBJECTIVE_KEY!r} is reserved for the objective metric, "
            f"{objective['MetricName']!r}, but it is {given!r}."
        )


def _check_channels(definition: Request) -> None:
    channels = [channel["ChannelName"] for channel in definition.get("InputDataConfig", [])]
    if len(set(channels)) < len(channels):
        raise invalid(f"Channel names must be unique, but they are {channels}.")
    resource = definition.get("ResourceConfig", {})
    groups = [group["InstanceGroupName"] for group in resource.get("InstanceGroups", [])]
    for channel in definition.get("InputDataConfig", []):
        named = channel["DataSource"].get("S3DataSource", {}).get("InstanceGroupNames", [])
        unknown = [name for name in named if name not in groups]
        if unknown:  # no host would get the data
            raise invalid(
                f"InstanceGroupNames of the channel {channel['ChannelName']} must be groups of InstanceGroups, which "
                f"are {groups}, but {unknown} are not."
            )


def builtin_algorithm(definition: Request) -> Algorithm | None:
    """Return the built-in algorithm of a definition; None for a script, an entrypoint or a custom image."""
    # The XGBoost image is both: it runs a program in the hyperparameters, or an entrypoint, if there is one.
    if _has_entrypoint(definition) or PROGRAM_KEY in definition.get("StaticHyperParameters", {}):
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
        _check_algorithm(algorithm, definition, ranges)
        return
    if is_builtin_image(image) and algorithm_for(image) is None:
        raise unsupported(f"the built-in algorithm of {image}")
    missing = [key for key in (PROGRAM_KEY, SUBMIT_DIRECTORY_KEY) if key not in static]
    if missing:
        raise invalid(
            f"The local SageMaker cannot run containers: {image} needs script mode, with the hyperparameters "
            f"{PROGRAM_KEY}, {SUBMIT_DIRECTORY_KEY}, and lacks {', '.join(missing)}."
        )
    own = image_algorithm(image)
    if own is not None:
        # The service looks at the image, not at whether a script runs in it [aws/sagemaker-python-sdk, issue 2226].
        tuned = [entry["Name"] for kind in (*RANGE_LISTS, AUTO_PARAMETERS) for entry in ranges.get(kind, [])]
        unknown = sorted(set(tuned) - own.rules.names)
        if unknown and not own.rules.is_first:
            raise invalid(
                f"The hyperparameters {unknown} cannot be tuned: they aren't valid for the [{own.name}] algorithm of "
                f"{image}, in script mode too. Choose hyperparameters that it has, or make these static."
            )


def _check_algorithm(algorithm: Algorithm, definition: Request, ranges: Request) -> None:
    static = definition.get("StaticHyperParameters", {})
    for problem in algorithm.rules.problems(static, ranges):
        raise invalid(problem)
    choices = {entry["Name"]: entry["Values"] for entry in ranges.get("CategoricalParameterRanges", [])}
    for name, value in GPU_VALUES.items():
        if value in choices.get(name, [static.get(name)]):
            raise unsupported(f"{name}={value} of the built-in {algorithm.name}, since it trains on the CPU")
    resource = definition.get("HyperParameterTuningResourceConfig") or definition.get("ResourceConfig", {})
    if any(_hosts(choice) > 1 for choice in (resource, *resource.get("InstanceConfigs", []))):
        raise invalid(
            f"The local SageMaker trains the built-in {algorithm.name} on one instance only: set InstanceCount "
            "to 1. On AWS more are possible."
        )


def image_algorithm(image: str) -> Algorithm | None:
    """Return the algorithm whose metric definitions the service applies to all jobs of an image, in script mode too."""
    return algorithm_for(image) if is_builtin_image(image) else None


def _check_metrics(image: str, definition: Request, objective: Request | None) -> None:
    metrics = definition["AlgorithmSpecification"].get("MetricDefinitions", [])
    if metrics and is_builtin_image(image):
        raise invalid(METRICS_REFUSED)
    names = [metric["Name"] for metric in metrics]
    if len(set(names)) < len(names):
        raise invalid(f"Metric names must be unique, but they are {names}.")
    for metric in metrics:
        name, regex = metric["Name"], metric["Regex"]
        try:
            groups = re.compile(regex).groups
        except re.error as e:
            raise invalid(f"The regex of metric {name!r} is not valid: {e}. It is {regex!r}.") from e
        if groups == 0:
            raise invalid(f"The regex of metric {name!r} has no group: put the value in parentheses. It is {regex!r}.")
    if objective is None:
        return
    algorithm = image_algorithm(image)
    if algorithm is not None:
        # Those of the training channel are reported, and no objectives [container, algorithm_mode/metrics.py].
        names = [metric["Name"] for metric in algorithm.metric_definitions]
        known = [name for name in names if name.startswith("validation:")]
        if objective["MetricName"] not in known:
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
    reported = [name for name in ("SelectedInstanceType", "SelectedInstanceCount") if name in resource]
    if reported:
        raise invalid(f"{' and '.join(reported)} cannot be given: the service chooses from InstancePreferences.")
    if resource.get("InstancePreferences"):
        _check_preferences(resource, is_spot=bool(definition.get("EnableManagedSpotTraining")))
        return
    single = [name for name in _INSTANCE_MEMBERS if name in resource]
    if resource.get("InstanceConfigs"):
        if single:
            raise invalid(f"InstanceConfigs cannot be combined with {', '.join(single)}.")
    elif resource.get("InstanceGroups"):
        excess = [name for name in single if name != "VolumeSizeInGB"]
        if excess:
            raise invalid(f"InstanceGroups cannot be combined with {' and '.join(excess)}.")
        names = [group["InstanceGroupName"] for group in resource["InstanceGroups"]]
        if len(set(names)) < len(names):
            raise invalid(f"The names of instance groups must be unique, but they are {names}.")
        if _hosts(resource) < 1:
            raise invalid("InstanceGroups have no instance: give an InstanceCount of 1 or more.")
    else:
        missing = [name for name in _INSTANCE_MEMBERS if not resource.get(name)]
        if missing:
            raise invalid(f"{given[0]} needs {', '.join(missing)}.")


def _check_preferences(resource: Request, *, is_spot: bool) -> None:
    """Check InstancePreferences [API Reference, ResourceConfig and InstancePreference]; the texts are our own."""
    preferences = resource["InstancePreferences"]
    excluded = ("InstanceType", "InstanceGroups", "InstancePlacementConfig")
    clash = [name for name in excluded if resource.get(name)] + ["EnableManagedSpotTraining"] * is_spot
    if clash:
        raise invalid(f"InstancePreferences cannot be combined with {' and '.join(clash)}.")
    types = [preference["InstanceType"] for preference in preferences]
    if len(set(types)) < len(types):
        raise invalid(f"An instance type can appear only once in InstancePreferences, but they are {types}.")
    counts = [preference for preference in preferences if preference.get("InstanceCount")]
    if len(counts) not in (0, len(preferences)) or bool(counts) == bool(resource.get("InstanceCount")):
        raise invalid(
            "Give InstanceCount in all InstancePreferences, or in ResourceConfig and in none of InstancePreferences."
        )
    if not resource.get("VolumeSizeInGB"):
        raise invalid("ResourceConfig needs VolumeSizeInGB.")


def _hosts(resource: Request) -> int:
    preferences = [
        {"InstanceCount": resource.get("InstanceCount", 1), **p} for p in resource.get("InstancePreferences", [])
    ]
    if preferences:
        return max(int(preference["InstanceCount"]) for preference in preferences)
    groups = resource.get("InstanceGroups") or [resource]
    return sum(int(group.get("InstanceCount", 1)) for group in groups)


def check_places(definition: Request, context: Context) -> None:
    """Check that the inputs and the bucket of the outputs exist, and that this machine can start the inputs' scripts.

    Raises:
        Fault: ValidationException for the first that does not exist.
    """

    def is_s3(uri: str) -> bool:
        return re.fullmatch(r"s3://[^/]+(/.*)?", uri, re.DOTALL) is not None

    places = [channel["DataSource"]["S3DataSource"]["S3Uri"] for channel in definition.get("InputDataConfig", [])]
    source = definition.get("StaticHyperParameters", {}).get(SUBMIT_DIRECTORY_KEY, "").strip('"')
    if source.startswith("s3://"):
        places.append(source)
    for uri in places:
        if not (is_s3(uri) and context.objects.list_objects(uri)):
            raise invalid(
                f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket '
                f"exists in the selected region ({context.identity.region}), that objects exist under that S3 prefix, "
                f'and that the role "{definition["RoleArn"]}" has "s3:ListBucket" permissions on bucket '
                f'"{uri.partition("://")[2].partition("/")[0]}".'
            )
    output = definition["OutputDataConfig"]["S3OutputPath"]
    bucket = output.partition("://")[2].partition("/")[0]
    if not is_s3(output) or not context.objects.has_bucket(bucket):
        raise invalid(f'The S3 bucket "{bucket}" of the output path "{output}" does not exist.')
    if _has_entrypoint(definition):
        for channel in definition.get("InputDataConfig", []):
            script = f"{channel['DataSource']['S3DataSource']['S3Uri'].rstrip('/')}/{_TRAINER_SCRIPT}"
            if channel["ChannelName"] != _TRAINER_CHANNEL or script not in context.objects.list_objects(script):
                continue
            if _MPI_DRIVER in context.objects.read(script):
                raise unsupported("distributed=MPI() of a ModelTrainer; use Torchrun(), or leave distributed out")


# Limits -------------------------------------------------------------------------------------------------------------


def refuse_unsupported(definitions: Sequence[Request]) -> None:
    """Refuse features that AWS has and this server does not.

    Raises:
        Fault: ValidationException for the first feature.
    """
    for definition in definitions:
        for member in ("ResourceConfig", "HyperParameterTuningResourceConfig"):
            resource = definition.get(member, {})
            if resource.get("TrainingPlanArn") or any(
                p.get("TrainingPlanArns") for p in resource.get("InstancePreferences", [])
            ):
                raise unsupported(
                    "training plans (TrainingPlanArn, TrainingPlanArns), since it reserves nothing; leave them out"
                )
            if any(_hosts(choice) > MOST_HOSTS for choice in (resource, *resource.get("InstanceConfigs", []))):
                raise unsupported(f"training jobs on more than {MOST_HOSTS} instances, each of which is a process here")
        if definition["AlgorithmSpecification"].get("AlgorithmName"):
            raise unsupported("AlgorithmName (algorithms of AWS Marketplace or your own); give a TrainingImage")
        key = None if _has_entrypoint(definition) else unsupported_launcher(definition.get("StaticHyperParameters", {}))
        if key is not None:
            raise unsupported(f"{key}, since it starts scripts with python or torchrun only")
        default_mode = definition["AlgorithmSpecification"]["TrainingInputMode"]
        for channel in definition.get("InputDataConfig", []):
            source = channel["DataSource"].get("S3DataSource")
            if channel.get("InputMode", default_mode) == "Pipe":
                raise unsupported("input mode Pipe; use File or FastFile")
            if channel.get("RecordWrapperType") == "RecordIO":
                raise unsupported("RecordWrapperType RecordIO; use None")
            if source is None:
                kind = next(iter(channel["DataSource"]), "DataSource")
                raise unsupported(f"channels of a {kind}; give an S3DataSource")
            if source.get("S3DataType") in ("AugmentedManifestFile", "Converse"):
                raise unsupported("S3DataType AugmentedManifestFile or Converse; use S3Prefix or ManifestFile")


def check_quotas(request: Request, *, active: int) -> None:
    """Check the highest quotas that AWS grants.

    Args:
        request: a request that matches the model.
        active: the number of tuning jobs that have not ended.

    Raises:
        Fault: ResourceLimitExceeded.
    """
    config = request["HyperParameterTuningJobConfig"]
    limits, strategy = config["ResourceLimits"], config["Strategy"]
    if active >= _MAX_ACTIVE_TUNING_JOBS:
        raise Fault(
            "ResourceLimitExceeded",
            f"The account-level service limit for concurrent hyperparameter tuning jobs is {_MAX_ACTIVE_TUNING_JOBS}, "
            f"with current utilization of {active}.",
        )
    jobs = 0  # without a number, the quota itself is the limit, except for a grid
    if strategy == "Grid":
        own = [definition.get("HyperParameterRanges", {}) for definition in request.get("TrainingJobDefinitions", [])]
        jobs = combinations(own or [config.get("ParameterRanges", {})]) or 0
    for name, requested, highest in (
        ("MaxParallelTrainingJobs", limits["MaxParallelTrainingJobs"], _MAX_PARALLEL_JOBS),
        (
            "MaxNumberOfTrainingJobs",
            limits.get("MaxNumberOfTrainingJobs", jobs),
            MAX_JOBS.get(strategy, DEFAULT_MAX_JOBS),
        ),
    ):
        if requested > highest:
            raise Fault(
                "ResourceLimitExceeded",
                f"The account-level service limit '{name}' for {strategy} tuning jobs is {highest}, "
                f"with a request of {requested}.",
            )
