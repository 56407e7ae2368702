"""Rules of a warm start: "Run a warm start hyperparameter tuning job" in the Developer Guide.

Texts that the service is known to give are given here word for word; the others say the same in words of ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sm_tuning._statuses import TuningStatus
from sm_tuning._wire import OBJECTIVE_KEY, RANGE_LISTS
from sm_tuning.local.engine import parent_names
from sm_tuning.local.service._context import Context, Doc, Fault, Request, invalid
from sm_tuning.local.service._documents import filled_definition
from sm_tuning.local.service._limits import DEFAULT_MAX_JOBS, MAX_JOBS

MAX_CHANGES = 10
_STRATEGIES = ("Bayesian", "Random")
_MAY_CHANGE = frozenset(
    {
        "AlgorithmSpecification",
        "InputDataConfig",
        "OutputDataConfig",
        "StaticHyperParameters",
        "RoleArn",
        "ResourceConfig",
        "HyperParameterTuningResourceConfig",  # the newer twin of ResourceConfig
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
        Fault: ValidationException for the first rule that is broken, ResourceLimitExceeded for too many jobs.
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
    _check_number_of_jobs(config, names, context)


def _parent(context: Context, name: str) -> Doc:
    """Return the document of a parent that may be one."""
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
    parent_objective = parent_config["HyperParameterTuningJobObjective"]
    name = parent["HyperParameterTuningJobName"]
    if objective != parent_objective:
        yield (
            f"The objective metric must be the same as that of all parent tuning jobs, but it is {_said(objective)}, "
            f"and that of {name} is {_said(parent_objective)}."
        )
    new = filled_definition(request["TrainingJobDefinition"], objective)
    old = parent["TrainingJobDefinition"]
    kinds, old_kinds = _kinds(config.get("ParameterRanges", {})), _kinds(parent_config.get("ParameterRanges", {}))
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
    if changes > MAX_CHANGES:
        yield (
            "The changes from tunable to static hyperparameters and of the values of static ones must not exceed "
            f"{MAX_CHANGES}, but compared with {name} they are {changes}; each counts 2."
        )


def changes_of(static: Mapping[str, str], old_static: Mapping[str, str], tuned: Mapping[str, str]) -> int:
    """Return how far static hyperparameters differ from those of a parent.

    One that was tuned and is static now counts 2, as does one with another value; one that is tuned now counts
    nothing.
    """
    own = {key: value for key, value in static.items() if key != OBJECTIVE_KEY and key not in tuned}
    return 2 * sum(old_static.get(key) != value for key, value in own.items())


def _differing_data(new: Doc, old: Request, parent: str) -> Iterator[str]:
    image, old_image = (one["AlgorithmSpecification"].get("TrainingImage") for one in (new, old))
    if image != old_image:
        yield (
            f"With IdenticalDataAndAlgorithm the training image must be that of the parent tuning jobs, but it is "
            f"{image}, and that of {parent} is {old_image}. Use TransferLearning for another one."
        )
    if _places(new) != _places(old):
        yield (
            "With IdenticalDataAndAlgorithm the input data must be that of the parent tuning jobs, but it is "
            f"{_places(new)}, and that of {parent} is {_places(old)}. Use TransferLearning for other data."
        )


def _places(definition: Request) -> dict[str, Any]:
    """Return where each channel's data is."""
    return {
        channel["ChannelName"]: channel["DataSource"].get("S3DataSource", {}).get("S3Uri", channel["DataSource"])
        for channel in definition.get("InputDataConfig", [])
    }


def _kinds(ranges: Request) -> dict[str, str]:
    """Return the type of each tuned hyperparameter."""
    return {one["Name"]: kind.removesuffix("ParameterRanges") for kind in RANGE_LISTS for one in ranges.get(kind, [])}


def _said(objective: Mapping[str, str]) -> str:
    return f"{objective['Type']} {objective['MetricName']}"


def _check_number_of_jobs(config: Request, parents: list[str], context: Context) -> None:
    """The parents' training jobs count against the limit of a tuning job (API Reference, WarmStartConfig)."""
    most = MAX_JOBS.get(config["Strategy"], DEFAULT_MAX_JOBS)
    inherited = sum(sum(context.store.counters(name)[0].values()) for name in parents)
    own = config["ResourceLimits"].get("MaxNumberOfTrainingJobs", 0)
    if inherited + own > most:
        raise Fault(
            "ResourceLimitExceeded",
            f"The account-level service limit 'MaxNumberOfTrainingJobs' for {config['Strategy']} tuning jobs is "
            f"{most}, with a request of {own} beside {inherited} training jobs of the parents, which count too.",
        )
