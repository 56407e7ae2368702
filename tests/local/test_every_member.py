"""Each member of a request comes back in the description, or is refused with a text that names it, or is listed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import shapes
from service_requests import NOW, ROLE, Hands, Objects, channel, numeric, ranges, request
from test_service_training import training

from sm_tuning.local._config import Identity
from sm_tuning.local.service import Context, Fault, SageMakerService
from sm_tuning.local.store import Store

CREATE = ("CreateTrainingJob", "CreateHyperParameterTuningJob")
NAMES = {"CreateTrainingJob": "TrainingJobName", "CreateHyperParameterTuningJob": "HyperParameterTuningJobName"}
#: Values that tuning jobs need, by shape or by the last two names of the path.
SAMPLES = {
    "CheckpointConfig.LocalPath": "/opt/ml/checkpoints/own",
    "StoppingCondition.MaxWaitTimeInSeconds": 90,
    "ParentHyperParameterTuningJobs.HyperParameterTuningJobName": "parent",
}

SPOT = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
}
NO_TYPE = ("ResourceConfig.InstanceType", "ResourceConfig.InstanceCount")
NO_S3 = ("InputDataConfig.DataSource.S3DataSource",)
GROUP = {"InstanceGroupName": "a1", "InstanceType": "ml.m5.xlarge", "InstanceCount": 2}
SIZED = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
CONFIGS = {"InstanceConfigs": [SIZED]}

Change = tuple[Mapping[str, Any], tuple[str, ...]]
#: What a member, and all below it, needs beside itself, and what excludes it, in a training job and in a definition.
CONTEXT: Mapping[str, Change] = {
    "EnableManagedSpotTraining": (SPOT, ()),
    "StoppingCondition.MaxWaitTimeInSeconds": ({"EnableManagedSpotTraining": True}, ()),
    "AlgorithmSpecification.AlgorithmName": ({}, ("AlgorithmSpecification.TrainingImage",)),
    "AlgorithmSpecification.ContainerArguments": ({"AlgorithmSpecification": {"ContainerEntrypoint": ["bash"]}}, ()),
    "InputDataConfig.DataSource.S3DataSource.InstanceGroupNames": (
        {"ResourceConfig": {"InstanceGroups": [GROUP]}},
        NO_TYPE,
    ),
    "InputDataConfig.DataSource.FileSystemDataSource": ({}, NO_S3),
    "InputDataConfig.DataSource.DatasetSource": ({}, NO_S3),
    "ResourceConfig.InstanceGroups": ({}, NO_TYPE),
    "ResourceConfig.InstancePreferences": ({}, NO_TYPE[:1]),
    "ResourceConfig.InstancePreferences.InstanceCount": ({}, NO_TYPE),
    "HyperParameterTuningResourceConfig": ({"HyperParameterTuningResourceConfig": SIZED}, ("ResourceConfig",)),
    "HyperParameterTuningResourceConfig.AllocationStrategy": (
        {"HyperParameterTuningResourceConfig": CONFIGS},
        tuple(f"HyperParameterTuningResourceConfig.{name}" for name in SIZED),
    ),
    "HyperParameterTuningResourceConfig.InstanceConfigs": (
        {"HyperParameterTuningResourceConfig": CONFIGS},
        tuple(f"HyperParameterTuningResourceConfig.{name}" for name in SIZED),
    ),
}
HYPERBAND = {"Strategy": "Hyperband", "StrategyConfig": {"HyperbandStrategyConfig": {"MaxResource": 9}}}
#: The same of a tuning job as a whole.
JOB: Mapping[str, Change] = {
    "HyperParameterTuningJobConfig.StrategyConfig": ({"HyperParameterTuningJobConfig": HYPERBAND}, ()),
    "HyperParameterTuningJobConfig.ParameterRanges.AutoParameters": ({"Autotune": {"Mode": "Enabled"}}, ()),
    "TrainingJobDefinitions.HyperParameterRanges.AutoParameters": ({"Autotune": {"Mode": "Enabled"}}, ()),
}

_DEFINITIONS = ("TrainingJobDefinition", "TrainingJobDefinitions")
#: Members that do not come back, and are not refused; for the member and all below it.
LISTED: Mapping[str, Mapping[str, str]] = {
    "CreateTrainingJob": {"Tags": "ListTags returns them"},
    "CreateHyperParameterTuningJob": {"Tags": "ListTags returns them"},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SageMakerService, Store]]:
    store = Store(tmp_path_factory.mktemp("members") / Path("s.sqlite"))
    objects = Objects("s3://bucket/data/train.csv", "s3://bucket/code/sourcedir.tar.gz")
    identity = Identity("us-east-1", "123456789012", ROLE, "bucket")
    service = SageMakerService(Context(store, objects, Hands(), Hands(), identity, lambda: NOW))
    service.call("CreateHyperParameterTuningJob", base("CreateHyperParameterTuningJob", "", "parent"))
    finish(store, "parent")
    yield service, store
    store.close()


def finish(store: Store, name: str) -> None:
    """End a tuning job, which nothing runs here; the number of unfinished ones is limited."""
    if store.tuning_job(name) is not None:
        store.update_tuning_job(name, {"HyperParameterTuningJobStatus": "Completed"})


def base(operation: str, path: str, name: str) -> dict[str, Any]:
    """A request that both operations take, in the form that has the member."""
    if operation == "CreateTrainingJob":
        return training(name, InputDataConfig=[channel()])
    metrics = [{"Name": metric, "Regex": f"{metric}=(.*)"} for metric in ("other", "loss")]
    given = request(name, definition={"InputDataConfig": [channel()]})
    definition, config = given.pop("TrainingJobDefinition"), given["HyperParameterTuningJobConfig"]
    definition["AlgorithmSpecification"]["MetricDefinitions"] = metrics
    searched = ranges(
        continuous=[numeric("lr", 0.1, 0.9)],
        integer=[numeric("n", 1, 9)],
        categorical=[{"Name": "c", "Values": ["a", "b"]}],
    )
    if not path.startswith("TrainingJobDefinitions"):
        config["ParameterRanges"] = searched
        return {**given, "TrainingJobDefinition": definition}
    del config["ParameterRanges"]
    objective = config.pop("HyperParameterTuningJobObjective")
    own = {"DefinitionName": "one", "TuningObjective": objective, "HyperParameterRanges": searched}
    return {**given, "TrainingJobDefinitions": [{**definition, **own}]}


def changes(operation: str, path: str) -> list[Change]:
    """What a member needs beside itself."""
    root = next((name for name in _DEFINITIONS if path.partition(".")[0] == name), None)
    if root is None:
        table, local = (CONTEXT if operation == "CreateTrainingJob" else JOB), path
    else:
        table, local = CONTEXT, path.partition(".")[2]
    found = [change for at, change in table.items() if local == at or local.startswith(f"{at}.")]
    if root is None:
        return found
    wrapped: list[Change] = []
    for more, less in found:
        inner: Any = [more] if root.endswith("s") else more
        wrapped.append(({root: inner}, tuple(f"{root}.{name}" for name in less)))
    return [*wrapped, *(change for at, change in JOB.items() if path == at or path.startswith(f"{at}."))]


def built(operation: str, path: str, name: str) -> tuple[dict[str, Any], Any]:
    """A request with a member set, and the value of the member."""
    whole: Any = base(operation, path, name)
    for more, less in changes(operation, path):
        whole = shapes.merged(whole, more)
        for member in less:
            whole = shapes.without(whole, member)
    part = shapes.fragment(operation, path, samples=SAMPLES)
    return shapes.merged(whole, part), shapes.values_at(part, path)[0]


def holds(found: Any, sent: Any) -> bool:
    """Whether a description has what was sent; it may have more."""
    if isinstance(sent, Mapping):
        return isinstance(found, Mapping) and all(key in found and holds(found[key], sent[key]) for key in sent)
    if isinstance(sent, list):
        return isinstance(found, list) and all(any(holds(item, wanted) for item in found) for wanted in sent)
    return bool(found == sent)


def is_named(path: str, message: str) -> bool:
    """Whether a refusal names the member, or a structure that holds it."""
    names = [name for name in path.split(".") if name not in _DEFINITIONS]
    return any(re.search(rf"\b{name}\b", message) for name in names)


_NUMBERS = itertools.count()


def outcome(world: tuple[SageMakerService, Store], operation: str, path: str) -> str:
    """Return ``back``, ``refused``, or what is wrong."""
    service, store = world
    member = NAMES[operation]
    whole, sent = built(operation, path, f"job-{next(_NUMBERS)}")
    name = {member: whole[member]}
    try:
        service.call(operation, whole)
    except Fault as fault:
        is_clear = fault.code == "ValidationException" and is_named(path, fault.message)
        return "refused" if is_clear else f"refused, but not for {path}: {fault.message}"
    described = service.call(operation.replace("Create", "Describe"), name)
    finish(store, whole[member])
    found = shapes.values_at(described, path)
    return "back" if any(holds(value, sent) for value in found) else f"lost: {sent} became {found}"


def listed(operation: str, path: str) -> bool:
    return any(path == at or path.startswith(f"{at}.") for at in LISTED[operation])


@pytest.mark.parametrize("operation", CREATE)
def test_each_member_comes_back_or_is_refused(world: tuple[SageMakerService, Store], operation: str) -> None:
    outcomes = {path: outcome(world, operation, path) for path in shapes.paths(operation)}

    wrong = {path: text for path, text in outcomes.items() if text not in ("back", "refused")}

    assert {path: text for path, text in wrong.items() if not listed(operation, path)} == {}
    assert set(LISTED[operation]) <= set(wrong)  # no entry is out of date


def test_tags_come_back(world: tuple[SageMakerService, Store]) -> None:
    service, _ = world
    for operation in CREATE:
        whole, sent = built(operation, "Tags", f"tagged-{next(_NUMBERS)}")
        (arn,) = service.call(operation, whole).values()
        assert service.call("ListTags", {"ResourceArn": arn}) == {"Tags": sent}
