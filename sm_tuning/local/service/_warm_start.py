"""Rules of a warm start: "Run a warm start hyperparameter tuning job" in the Developer Guide.

Where the service's error texts are known, they are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sm_tuning._statuses import TuningStatus
from sm_tuning._wire import OBJECTIVE_KEY, RANGE_LISTS
from sm_tuning.local.engine import parent_names
from sm_tuning.local.service._context import Context, Doc, Fault, Request, invalid
from sm_tuning.local.service._documents import filled_definition
from sm_tuning.local.service._rules import DEFAULT_MAX_JOBS, MAX_JOBS

_MAX_CHANGES = 10
_STRATEGIES = ("Bayesian", "Random")
_MAY_CHANGE = frozenset(
    {
        "AlgorithmSpecification",
        "InputDataConfig",
        "OutputDataConfig",
        "StaticHyperParameters",
        "RoleArn",
        "ResourceConfig",
        "HyperParameterTuningResourceConfig",  # the newer form of ResourceConfig
        "StoppingCondition",
        "VpcConfig",
        "EnableManagedSpotTraining",
        "CheckpointConfig",
    }
)
_WHITELIST = (
    "Only the following fields in TrainingJobDefinition are allowed to change: [algorithmSpecification, "
    "inputDataConfig, outputDataConfig, staticHyperParameters, roleArn, resourceConfig, stoppingCondition, vpcConfig, "
    "enableManagedSpotTraining, checkpointConfig]."
)
_NAMES = (
    "The set of tunable plus static HyperParameter names is not the same across current and parent tuning jobs. "
    "Please ensure this set is constant when warm starting. Note that previously static HyperParameters can be tuned "
    "in warm start jobs and vice versa."
)


def check_warm_start(request: Request, context: Context) -> None:
    """Check the parents of a request, if it has a WarmStartConfig.

    Raises:
        Fault: ValidationException for the first violation, ResourceLimitExceeded for too many jobs.
    """
    if "WarmStartConfig" not in request:
        return
    config = request["HyperParameterTuningJobConfig"]
    if config["Strategy"] not in _STRATEGIES:
        raise invalid(f"A warm start uses Strategy Bayesian or Random, but Strategy is {config['Strategy']}.")
    if any(not parent for parent in request["WarmStartConfig"]["ParentHyperParameterTuningJobs"]):
        raise invalid("Each of ParentHyperParameterTuningJobs needs a HyperParameterTuningJobName.")
    names = parent_names(request)
    if len({name.lower() for name in names}) < len(names):
        raise invalid(f"Each parent hyperparameter tuning job may be named once, but they are {names}.")
    identical = request["WarmStartConfig"]["WarmStartType"] == "IdenticalDataAndAlgorithm"
    for name in names:
        parent = _parent(context, name)
        for problem in _problems(request, parent, identical=identical):
            raise invalid(problem)
    # Training jobs of the parents count against the limit of a tuning job [API Reference, WarmStartConfig].
    most = MAX_JOBS.get(config["Strategy"], DEFAULT_MAX_JOBS)
    inherited = sum(sum(context.store.counters(name)[0].values()) for name in names)
    own = config["ResourceLimits"].get("MaxNumberOfTrainingJobs", 0)
    if inherited + own > most:
        raise Fault(
            "ResourceLimitExceeded",
            f"The account-level service limit 'MaxNumberOfTrainingJobs' for {config['Strategy']} tuning jobs is "
            f"{most}, with a request of {own} beside {inherited} training jobs of the parents, which count too.",
        )


def _parent(context: Context, name: str) -> Doc:
    """Return the document of a parent that may be used."""
    parent = context.store.tuning_job(name)
    if parent is None:
        raise invalid(f"The parent hyperparameter tuning job {name} does not exist. Name one that does.")
    status = TuningStatus(parent["HyperParameterTuningJobStatus"])
    if not status.is_terminal:
        raise invalid(
            f"The parent hyperparameter tuning job {name} is in status {status}. A parent must be Completed, Stopped "
            "or Failed: wait for it or stop it."
        )
    if "TrainingJobDefinitions" in parent:
        raise invalid(
            f"The parent hyperparameter tuning job {name} has TrainingJobDefinitions. Warm start is supported with a "
            "single training algorithm only."
        )
    return parent


def _problems(request: Request, parent: Request, *, identical: bool) -> Iterator[str]:
    config, parent_config = request["HyperParameterTuningJobConfig"], parent["HyperParameterTuningJobConfig"]
    objective = config["HyperParameterTuningJobObjective"]
    old_objective = parent_config["HyperParameterTuningJobObjective"]
    name = parent["HyperParameterTuningJobName"]
    if objective != old_objective:
        texts = [f"{entry['Type']} {entry['MetricName']}" for entry in (objective, old_objective)]
        yield (
            f"The objective metric must be the same as that of all parent tuning jobs, but it is {texts[0]}, "
            f"and that of {name} is {texts[1]}."
        )
    new = filled_definition(request["TrainingJobDefinition"], objective)
    old = parent["TrainingJobDefinition"]
    kinds, old_kinds = (
        {entry["Name"]: kind.removesuffix("ParameterRanges") for kind in RANGE_LISTS for entry in ranges.get(kind, [])}
        for ranges in (config.get("ParameterRanges", {}), parent_config.get("ParameterRanges", {}))
    )
    static, old_static = new["StaticHyperParameters"], old["StaticHyperParameters"]
    if {*kinds, *static} != {*old_kinds, *old_static}:
        yield _NAMES
    for key in sorted(kinds.keys() & old_kinds.keys()):
        if kinds[key] != old_kinds[key]:
            yield (
                f"The type of a hyperparameter must be the same across current and parent tuning jobs, but {key!r} is "
                f"{kinds[key]}, and {old_kinds[key]} in {name}."
            )
    if any(new.get(member) != old.get(member) for member in (new.keys() | old.keys()) - _MAY_CHANGE):
        yield _WHITELIST
    if identical:
        yield from _differing_data(new, old, name)
    changes = changes_of(static, old_static, kinds)
    if changes > _MAX_CHANGES:
        yield (
            "The changes from tunable to static hyperparameters and of the values of static ones must not exceed "
            f"{_MAX_CHANGES}, but compared with {name} they are {changes}; each counts 2."
        )


def changes_of(static: Mapping[str, str], old_static: Mapping[str, str], tuned: Mapping[str, str]) -> int:
    """Return the number of changes from the static hyperparameters of a parent.

    A hyperparameter that was tuned and is static now counts 2, as does one with another value. One that is tuned now
    does not count.
    """
    own = {key: value for key, value in static.items() if key != OBJECTIVE_KEY and key not in tuned}
    return 2 * sum(old_static.get(key) != value for key, value in own.items())


def _differing_data(new: Doc, old: Request, parent: str) -> Iterator[str]:
    image, old_image = (definition["AlgorithmSpecification"].get("TrainingImage") for definition in (new, old))
    if image != old_image:
        yield (
            f"With IdenticalDataAndAlgorithm the training image must be that of the parent tuning jobs, but it is "
            f"{image}, and that of {parent} is {old_image}. Use TransferLearning for another one."
        )
    places, old_places = (
        {
            channel["ChannelName"]: channel["DataSource"].get("S3DataSource", {}).get("S3Uri", channel["DataSource"])
            for channel in definition.get("InputDataConfig", [])
        }
        for definition in (new, old)
    )
    if places != old_places:
        yield (
            "With IdenticalDataAndAlgorithm the input data must be that of the parent tuning jobs, but it is "
            f"{places}, and that of {parent} is {old_places}. Use TransferLearning for other data."
        )
