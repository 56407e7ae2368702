"""Each rule: a spec that breaks it, the finding's code, and what the service says to the same request."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import _preflight_specs as specs
import botocore.session
import pytest
from _preflight_specs import COLOURS, CONTINUOUS, INTEGER, builtin, changed, container, script

import sm_tuning as smt
from sm_tuning import ServiceError
from sm_tuning.preflight._rules import partition_of
from sm_tuning.request import stage, to_request
from sm_tuning.request._model import _DEFINITION_FIELDS, _JOB_FIELDS
from sm_tuning.spec import Spec

Change = Callable[[dict[str, Any]], object]


class Case(NamedTuple):
    """What breaks a rule: in the spec, in a request, and the words with which the service refuses that."""

    code: str
    base: Callable[[], dict[str, Any]]
    changes: dict[str, Any]
    request: Change | None = None
    words: str = ""


def config(request: dict[str, Any]) -> dict[str, Any]:
    return request["HyperParameterTuningJobConfig"]


def definition(request: dict[str, Any]) -> dict[str, Any]:
    return request["TrainingJobDefinition"]


def set_ranges(**kinds: list[dict[str, Any]]) -> Change:
    return lambda request: config(request).update(
        ParameterRanges={f"{kind.capitalize()}ParameterRanges": given for kind, given in kinds.items()}
    )


def numeric(name: str, low: float, high: float, **more: str) -> dict[str, Any]:
    return {"Name": name, "MinValue": str(low), "MaxValue": str(high), **more}


def both(*changes: Change) -> Change:
    def change(request: dict[str, Any]) -> None:
        for one in changes:
            one(request)

    return change


def limits(**values: int) -> Change:
    return lambda request: config(request)["ResourceLimits"].update(values)


def strategy(name: str, **more: Any) -> Change:
    return lambda request: config(request).update(Strategy=name, **more)


GREEN = [{"Name": "colour", "Values": ["red", "green", "blue"]}]
MANY = {f"h{n}": dict(CONTINUOUS) for n in range(31)}
TWO = {"one": {"estimator": builtin()["estimator"], "hyperparameter_ranges": {"eta": CONTINUOUS}}}
SEVERAL = {
    "estimator": None,
    "hyperparameter_ranges": None,
    "estimators": {
        name: {"estimator": builtin()["estimator"], "hyperparameter_ranges": {"eta": dict(CONTINUOUS)}}
        for name in ("one", "two")
    },
}
SPOT = {"estimator/use_spot_instances": True}
MANIFEST = {"uri": "s3://bucket/m.json", "s3_data_type": "ManifestFile"}


def two_definitions(request: dict[str, Any]) -> None:
    """The same request with its definition twice."""
    only, objective = request.pop("TrainingJobDefinition"), config(request).pop("HyperParameterTuningJobObjective")
    ranges = config(request).pop("ParameterRanges")
    request["TrainingJobDefinitions"] = [
        {**copy.deepcopy(only), "DefinitionName": name, "TuningObjective": dict(objective)}
        | {"HyperParameterRanges": copy.deepcopy(ranges)}
        for name in ("one", "two")
    ]


CASES = [
    Case("unknown-key", builtin, {"debugger_rules": []}),
    Case(
        "definition-choice",
        builtin,
        {"estimators": TWO},
        lambda r: r.update(TrainingJobDefinitions=[definition(r)]),
        "You must choose just one of these definition types",
    ),
    Case(
        "several-warm-start",
        builtin,
        {**SEVERAL, "warm_start": {"parents": ["p"]}},
        both(
            two_definitions,
            lambda r: r.update(
                WarmStartConfig={
                    "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "p"}],
                    "WarmStartType": "TransferLearning",
                }
            ),
        ),
        "single training algorithm only",
    ),
    Case(
        "several-early-stopping",
        builtin,
        {**SEVERAL, "early_stopping_type": "Auto"},
        both(two_definitions, lambda r: config(r).update(TrainingJobEarlyStoppingType="Auto")),
        "single training algorithm only",
    ),
    Case("several-ranges", builtin, {**SEVERAL, "hyperparameter_ranges": {"eta": CONTINUOUS}}),
    Case(
        "objective-types",
        builtin,
        {**SEVERAL, "estimators/two/objective_type": "Maximize"},
        both(two_definitions, lambda r: r["TrainingJobDefinitions"][0]["TuningObjective"].update(Type="Maximize")),
        "must be of one type to be compared",
    ),
    Case(
        "too-many-variables",
        script,
        {"estimator/environment": {f"V{n}": "x" for n in range(49)}},
        lambda r: definition(r).update(Environment={f"V{n}": "x" for n in range(49)}),
        "48",
    ),
    Case("image-choice", builtin, {"estimator/image_uri": "mine:1"}),
    Case("image", builtin, {"estimator/version": "9.9-9"}),
    Case(
        "objective-missing",
        builtin,
        {"objective_metric_name": None},
        lambda r: config(r).pop("HyperParameterTuningJobObjective"),
        "HyperParameterTuningJobObjective is required",
    ),
    Case(
        "objective-undefined",
        script,
        {"objective_metric_name": "loss"},
        lambda r: config(r)["HyperParameterTuningJobObjective"].update(MetricName="loss"),
        "A metric is required for this hyperparameter tuning job objective. Provide a metric in the metric definitions",
    ),
    Case(
        "objective-unknown",
        builtin,
        {"objective_metric_name": "validation:rsme"},
        lambda r: config(r)["HyperParameterTuningJobObjective"].update(MetricName="validation:rsme"),
        "isn't valid for the [",
    ),
    Case("objective-channel", builtin, {"inputs/validation": None}),
    Case("xgboost-num-round", builtin, {"estimator/hyperparameters": {"objective": "reg:squarederror"}}),
    Case("algorithm-metrics", builtin, {"estimator/metric_definitions": {"m": "(.)"}}),
    Case(
        "ranges-missing",
        script,
        {"hyperparameter_ranges": {}},
        lambda r: config(r).update(ParameterRanges={}),
        "At least one hyperparameter range is required",
    ),
    Case(
        "too-many-ranges",
        script,
        {"hyperparameter_ranges": MANY},
        set_ranges(
            continuous=[numeric(f"c{n}", 0, 1) for n in range(16)], integer=[numeric(f"i{n}", 0, 1) for n in range(15)]
        ),
        "exceeds the limit of 30",
    ),
    Case(
        "too-many-hyperparameters",
        script,
        {"estimator/hyperparameters": {f"s{n}": 1 for n in range(96)}},
        lambda r: definition(r)["StaticHyperParameters"].update({f"s{n}": "1" for n in range(93)}),
        "exceeds the limit",
    ),
    Case(
        "static-and-tuned",
        script,
        {"estimator/hyperparameters": {"lr": 1}},
        lambda r: definition(r)["StaticHyperParameters"].update(lr="1"),
        "cannot be both static and tuned: ['lr']",
    ),
    Case("auto-parameters", script, {"auto_parameters": {"depth": "4"}}),
    Case(
        "range-bounds",
        script,
        {"hyperparameter_ranges/lr/max_value": 0.1},
        set_ranges(continuous=[numeric("lr", 0.1, 0.1)]),
        "Make a hyperparameter with one value static",
    ),
    Case(
        "categorical-values",
        script,
        {"hyperparameter_ranges": {"colour": {"type": "categorical", "values": ["red", "red"]}}},
        set_ranges(categorical=[{"Name": "colour", "Values": ["red", "red"]}]),
        "duplicate values: ['red']",
    ),
    Case(
        "log-scale",
        script,
        {"hyperparameter_ranges/lr": {**CONTINUOUS, "min_value": 0, "scaling_type": "Logarithmic"}},
        set_ranges(continuous=[numeric("lr", 0, 1, ScalingType="Logarithmic")]),
        "needs values greater than 0",
    ),
    Case(
        "reverse-log-scale",
        script,
        {"hyperparameter_ranges": {"n": {**INTEGER, "scaling_type": "ReverseLogarithmic"}}},
        set_ranges(integer=[numeric("n", 1, 3, ScalingType="ReverseLogarithmic")]),
        "continuous ones only",
    ),
    Case(
        "too-few-combinations",
        script,
        {"hyperparameter_ranges": {"colour": COLOURS}, "max_jobs": 10},
        both(set_ranges(categorical=GREEN), limits(MaxNumberOfTrainingJobs=10)),
        "You don't have enough combinations of hyperparameter ranges. The total number of hyperparameter combinations "
        "for the provided ranges [3.0] must be equal or greater than the value of MaxNumberOfJobs, [10].",
    ),
    Case(
        "grid-categorical",
        script,
        {"strategy": "Grid", "max_jobs": None},
        strategy("Grid"),
        "Strategy Grid takes categorical hyperparameters only",
    ),
    Case(
        "grid-budget",
        script,
        {"strategy": "Grid", "hyperparameter_ranges": {"colour": COLOURS}},
        both(strategy("Grid"), set_ranges(categorical=GREEN)),
        "must be the number of combinations, 3",
    ),
    Case(
        "hyperband-early-stopping",
        script,
        {"strategy": "Hyperband", "early_stopping_type": "Auto"},
        strategy("Hyperband", TrainingJobEarlyStoppingType="Auto"),
        "TrainingJobEarlyStoppingType must be Off",
    ),
    Case(
        "hyperband-only",
        script,
        {"strategy_config": {"max_resource": 9}},
        lambda r: config(r).update(StrategyConfig={"HyperbandStrategyConfig": {"MaxResource": 9}}),
        "StrategyConfig is for Strategy Hyperband only",
    ),
    Case(
        "hyperband-resource",
        script,
        {"strategy": "Hyperband", "estimator/hyperparameters": {}},
        both(strategy("Hyperband"), lambda r: definition(r)["StaticHyperParameters"].pop("epochs")),
        "MaxResource parameter is not provided and could not be inferred from provided static hyperparameters of "
        "TrainingJobDefinition.",
    ),
    Case("hyperband-resource", script, {"strategy": "Hyperband", "estimator/hyperparameters": {"epochs": "many"}}),
    Case(
        "hyperband-cap",
        script,
        {"strategy": "Hyperband", "estimator/hyperparameters": {"epochs": 20_001}},
        both(strategy("Hyperband"), lambda r: definition(r)["StaticHyperParameters"].update(epochs="20001")),
        "must not exceed 20000",
    ),
    Case("hyperband-cap", script, {"strategy": "Hyperband", "strategy_config": {"max_resource": 20_001}}),
    Case(
        "hyperband-order",
        script,
        {"strategy": "Hyperband", "strategy_config": {"min_resource": 9}},
        strategy("Hyperband", StrategyConfig={"HyperbandStrategyConfig": {"MinResource": 9}}),
        "MinResource must not exceed",
    ),
    Case("warm-start-strategy", script, {"strategy": "Hyperband", "warm_start": {"parents": ["p"]}}),
    Case("warm-start-parents", script, {"warm_start": {"parents": [f"p{n}" for n in range(6)]}}),
    Case("warm-start-twice", script, {"warm_start": {"parents": ["p", "P"]}}),
    Case("instances-choice", script, {"estimator/instance_type": None}),
    Case(
        "instances-choice",
        script,
        {"estimator/instance_configs": [{"instance_type": "ml.m5.large"}]},
        lambda r: definition(r).update(
            ResourceConfig=None,
            HyperParameterTuningResourceConfig={
                "InstanceType": "ml.m5.large",
                "InstanceConfigs": [{"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}],
            },
        ),
        "InstanceConfigs cannot be combined with InstanceType",
    ),
    Case(
        "spot-wait",
        script,
        {**SPOT, "estimator/max_wait": 60},
        lambda r: (
            definition(r).update(EnableManagedSpotTraining=True),
            definition(r)["StoppingCondition"].update(MaxWaitTimeInSeconds=60),
        ),
        "not less than MaxRuntimeInSeconds, 600",
    ),
    Case("wait-quota", script, {**SPOT, "estimator/max_wait": 31 * 24 * 3600}),
    Case(
        "run-limit",
        script,
        {"estimator/max_run": 29 * 24 * 3600},
        lambda r: definition(r)["StoppingCondition"].update(MaxRuntimeInSeconds=29 * 24 * 3600),
        "(28 days)",
    ),
    Case("checkpoint-place", script, {"estimator/checkpoint_local_path": "/opt/ml/c"}),
    Case("network-missing", script, {"estimator/subnets": ["subnet-1"]}),
    Case("fastfile-prefix", script, {"inputs/train": {**MANIFEST, "input_mode": "FastFile"}}),
    Case("fastfile-prefix", script, {"estimator/input_mode": "FastFile", "inputs/train": dict(MANIFEST)}),
    Case("too-many-metrics", script, {"estimator/metric_definitions": {f"m{n}": "(.)" for n in range(41)}}),
    Case("metric-regex", script, {"estimator/metric_definitions": {"score": "score"}}),
    Case("reserved-hyperparameter", script, {"estimator/hyperparameters": {"sagemaker_program": "x"}}),
    Case(
        "tags-reserved",
        script,
        {"estimator/tags": {"aws:x": "1"}},
        lambda r: r.update(Tags=[{"Key": "aws:x", "Value": "1"}]),
        "Tag keys that start with aws: are reserved",
    ),
    Case(
        "parallel-quota",
        script,
        {"max_jobs": 200, "max_parallel_jobs": 101},
        limits(MaxNumberOfTrainingJobs=200, MaxParallelTrainingJobs=101),
        "'MaxParallelTrainingJobs' for Random tuning jobs is 100",
    ),
    Case(
        "jobs-quota",
        script,
        {"strategy": "Bayesian", "max_jobs": 751},
        both(strategy("Bayesian"), limits(MaxNumberOfTrainingJobs=751)),
        "'MaxNumberOfTrainingJobs' for Bayesian tuning jobs is 750",
    ),
    Case("jobs-quota", script, {"max_jobs": 10_001}, limits(MaxNumberOfTrainingJobs=10_001), "is 10000"),
    Case("jobs-limit", script, {"max_jobs": 0}),
    Case("runtime-limit", script, {"max_runtime_in_seconds": 60}),
    Case(
        "instance-type",
        script,
        {"estimator/instance_type": "ml.m5.huge"},
        lambda r: definition(r)["ResourceConfig"].update(InstanceType="ml.m5.huge"),
        "Member must satisfy enum value set",
    ),
    Case(
        "hyperparameter-value",
        script,
        {"estimator/hyperparameters": {"text": "x" * 2501}},
        lambda r: definition(r)["StaticHyperParameters"].update(text="x" * 2501),
        "2500",
    ),
    Case("files", script, {"estimator/entry_point": "gone.py"}),
    Case("completion-criteria", script, {"completion_criteria": {}}),
    Case("distribution", script, {"estimator/distribution": {"smdistributed": {"enabled": True}}}),
]


def refused(case: Case, tuning: smt.Tuning, aws: smt.Aws) -> str:
    """What the local SageMaker says to a tuning's request after the case's change."""
    root = "s3://bucket"
    staged = stage(tuning, code_prefix=f"{root}/code", data_prefix=f"{root}/data")
    request = to_request(
        staged.tuning, name="refused", region=aws.region, role=aws.environ["SM_TUNING_ROLE"], output_path=root
    )
    assert case.request is not None
    case.request(request)
    request = {key: value for key, value in request.items() if value is not None}
    for one in request.get("TrainingJobDefinitions", [request.get("TrainingJobDefinition", {})]):
        if one.get("ResourceConfig", ...) is None:
            del one["ResourceConfig"]
    with pytest.raises(ServiceError) as refusal:
        aws.call("sagemaker", "create_hyper_parameter_tuning_job", **request)
    return str(refusal.value)


def identifier(case: Case) -> str:
    return f"{case.code}: {', '.join(case.changes)}"


def found_as_error(case: Case, folder: Path) -> bool:
    """Whether the case's spec has an error of its code, which says what is wrong and what to do."""
    found = smt.check(specs.write(folder, changed(case.base(), case.changes)))
    errors = {finding.code: finding for finding in found if finding.severity == "error"}
    assert case.code in errors
    return bool(errors[case.code].message and errors[case.code].fix)


@pytest.mark.parametrize("case", CASES, ids=identifier)
def test_a_spec_that_breaks_a_rule_has_a_finding_of_its_code(case: Case, tmp_path) -> None:
    assert found_as_error(case, tmp_path)


@pytest.mark.parametrize("case", [case for case in CASES if case.request is not None], ids=identifier)
def test_the_local_sagemaker_refuses_the_same_request_in_the_services_words(case: Case, tmp_path, aws) -> None:
    assert case.words in refused(case, smt.load(specs.write(tmp_path, case.base())), aws)


@pytest.mark.parametrize("base", [builtin, script])
def test_nothing_is_wrong_with_a_spec_that_is_well(base, tmp_path) -> None:
    found = smt.check(specs.write(tmp_path, base()))
    assert {finding.severity for finding in found} == {"not-checked"}


@pytest.mark.parametrize("path", specs.SHIPPED, ids=lambda path: path.stem)
def test_there_is_no_false_alarm_on_the_shipped_specs(path) -> None:
    assert [str(finding) for finding in smt.check(path) if finding.severity != "not-checked"] == []


@pytest.mark.parametrize(
    "uri",
    [
        "s3://my.bucket-1/train",
        "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/mine/train",
        "s3://mine-abcdefghijkl0123456789-s3alias/train",
        "https://s3.amazonaws.com/Bucket/train",
    ],
)
def test_buckets_and_access_points_are_possible_places(uri, tmp_path) -> None:
    found = smt.check(specs.write(tmp_path, changed(container(), {"inputs/train": uri})))
    assert [finding for finding in found if finding.severity == "error"] == []


KEY = "arn:aws:kms:us-east-1:123456789012:key/1234"
ROLE = "arn:aws:iam::123456789012:role/Mine"


@pytest.mark.parametrize(
    ("field", "arn", "region", "other"),
    [
        ("role", ROLE, "cn-north-1", "aws-cn"),
        ("role", ROLE, "us-gov-west-1", "aws-us-gov"),
        ("role", ROLE.replace("arn:aws:", "arn:aws-cn:"), "eu-west-1", "aws"),
        ("output_kms_key", KEY, "cn-northwest-1", "aws-cn"),
        ("volume_kms_key", KEY, "us-isob-east-1", "aws-iso-b"),
    ],
)
def test_what_belongs_to_another_partition_than_the_region_is_an_error(field, arn, region, other, tmp_path) -> None:
    path = specs.write(tmp_path, changed(container(), {f"estimator/{field}": arn}))
    errors = [one for one in smt.check(path, region=region) if one.severity == "error"]
    assert [(one.code, one.where) for one in errors] == [("partition", f"estimator.{field}")]
    assert f"the region {region} to {other}" in errors[0].message
    own = changed(container(), {f"estimator/{field}": f"arn:{other}:" + arn.split(":", 2)[2]})
    assert [one for one in smt.check(specs.write(tmp_path, own), region=region) if one.severity == "error"] == []


def test_the_prefixes_of_regions_are_those_of_botocore() -> None:
    session = botocore.session.get_session()
    regions = [region for name in session.get_available_partitions() for region in regions_of(session, name)]
    assert {region: partition_of(region) for region in regions} == {
        region: session.get_partition_for_region(region) for region in regions
    }


def regions_of(session: botocore.session.Session, partition: str) -> list[str]:
    return session.get_available_regions("sts", partition) + session.get_available_regions("s3", partition)


def test_every_code_is_on_the_page_and_no_other() -> None:
    page = (specs.ROOT / "docs" / "preflight.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    described = {code for row in rows for code in re.findall(r"`([a-z-]+)`", row)}
    rooms = [specs.ROOT / "sm_tuning" / room for room in ("spec", "request", "preflight")]
    nodes = [node for room in rooms for path in room.rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    calls = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args]
    firsts = [call.args[0] for call in calls if call.func.id in ("Finding", "Problem", "_over", "_asked")]
    made = {first.value for first in firsts if isinstance(first, ast.Constant) and first.value}
    made |= {code for _, code in [*_DEFINITION_FIELDS.values(), *_JOB_FIELDS.values()] if code}
    kinds = [Spec]
    for kind in kinds:
        kinds += kind.__subclasses__()
        made |= {code for code in (kind._code, *kind._field_codes.values()) if code}
    assert made <= described <= texts
