"""What a request may ask of AWS and this server cannot do, each with the sentence that says so; and quotas.

A feature that is built leaves this table, and nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sm_tuning.executor import MOST_HOSTS
from sm_tuning.local.service._context import Fault, Request, invalid
from sm_tuning.local.service._ranges import all_combinations

# "Resource limits for automatic model tuning" in the Developer Guide.
MAX_ACTIVE_TUNING_JOBS = 100
MAX_PARALLEL_JOBS = 100
MAX_JOBS = {"Random": 10_000}
DEFAULT_MAX_JOBS = 750
MAX_RUNTIME_SECONDS = 28 * 24 * 3600

Test = Callable[[Request], bool]


def _definitions(request: Request) -> list[Request]:
    single = request.get("TrainingJobDefinition")
    return [single] if single is not None else list(request.get("TrainingJobDefinitions", []))


def _resources(request: Request) -> Iterator[Request]:
    for definition in _definitions(request):
        for name in ("ResourceConfig", "HyperParameterTuningResourceConfig"):
            resource = definition.get(name, {})
            yield resource
            yield from resource.get("InstanceConfigs", [])


def _channels(request: Request) -> Iterator[tuple[Request, Request]]:
    for definition in _definitions(request):
        for channel in definition.get("InputDataConfig", []):
            yield definition, channel


def hosts_of(resource: Request) -> int:
    """Return the number of instances that a ResourceConfig or a choice of instances asks for."""
    groups = resource.get("InstanceGroups") or [resource]
    return sum(int(group.get("InstanceCount", 1)) for group in groups)


def _has_many_hosts(request: Request) -> bool:
    return any(hosts_of(resource) > MOST_HOSTS for resource in _resources(request))


def _wants_pipe(request: Request) -> bool:
    return any(
        channel.get("InputMode", definition["AlgorithmSpecification"]["TrainingInputMode"]) == "Pipe"
        for definition, channel in _channels(request)
    )


def _reads_elsewhere(request: Request) -> bool:
    return any("S3DataSource" not in channel["DataSource"] for _, channel in _channels(request))


def _reads_odd_lists(request: Request) -> bool:
    return any(
        channel["DataSource"].get("S3DataSource", {}).get("S3DataType") in ("AugmentedManifestFile", "Converse")
        for _, channel in _channels(request)
    )


def _wants_record_io(request: Request) -> bool:
    return any(channel.get("RecordWrapperType") == "RecordIO" for _, channel in _channels(request))


def _names_an_algorithm(request: Request) -> bool:
    return any(d["AlgorithmSpecification"].get("AlgorithmName") for d in _definitions(request))


_REFUSALS: tuple[tuple[Test, str], ...] = (
    (_has_many_hosts, f"training jobs on more than {MOST_HOSTS} instances, each of which is a process here"),
    (_names_an_algorithm, "AlgorithmName (algorithms of AWS Marketplace or your own); give a TrainingImage"),
    (_wants_pipe, "input mode Pipe; use File or FastFile"),
    (_wants_record_io, "RecordWrapperType RecordIO; use None"),
    (_reads_elsewhere, "channels that are not on S3; give an S3DataSource"),
    (_reads_odd_lists, "S3DataType AugmentedManifestFile or Converse; use S3Prefix or ManifestFile"),
)


def refuse_what_is_not_built(request: Request) -> None:
    """Raise a ValidationException for the first thing that this server cannot do.

    Raises:
        Fault: ValidationException.
    """
    for test, what in _REFUSALS:
        if test(request):
            raise invalid(f"The local SageMaker does not support {what}. On AWS this is possible.")


def check_quotas(request: Request, *, active: int) -> None:
    """Raise a ResourceLimitExceeded where the highest quota that AWS grants is exceeded.

    Args:
        request: fits the model.
        active: the number of tuning jobs that have not ended.

    Raises:
        Fault: ResourceLimitExceeded.
    """
    config = request["HyperParameterTuningJobConfig"]
    limits = config["ResourceLimits"]
    if active >= MAX_ACTIVE_TUNING_JOBS:
        raise Fault(
            "ResourceLimitExceeded",
            f"The account-level service limit for concurrent hyperparameter tuning jobs is {MAX_ACTIVE_TUNING_JOBS}, "
            f"with current utilization of {active}.",
        )
    jobs = limits.get("MaxNumberOfTrainingJobs", _size_of_grid(request))
    most = MAX_JOBS.get(config["Strategy"], DEFAULT_MAX_JOBS)
    asked = {"MaxParallelTrainingJobs": limits["MaxParallelTrainingJobs"], "MaxNumberOfTrainingJobs": jobs}
    for name, highest in (("MaxParallelTrainingJobs", MAX_PARALLEL_JOBS), ("MaxNumberOfTrainingJobs", most)):
        if asked[name] > highest:
            raise Fault(
                "ResourceLimitExceeded",
                f"The account-level service limit '{name}' for {config['Strategy']} tuning jobs is {highest}, "
                f"with a request of {asked[name]}.",
            )


def _size_of_grid(request: Request) -> int:
    """Return the number of training jobs of a grid; 0 for other strategies, whose number the quota bounds."""
    config = request["HyperParameterTuningJobConfig"]
    if config["Strategy"] != "Grid":
        return 0
    own = [definition.get("HyperParameterRanges", {}) for definition in request.get("TrainingJobDefinitions", [])]
    return all_combinations(own or [config.get("ParameterRanges", {})]) or 0
