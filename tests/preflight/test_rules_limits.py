"""The limits of single fields, and of a job's relation to others: what ``test_rules`` has for rules across fields."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import _preflight_specs as specs
import boto3
import pytest
from _preflight_specs import CONTINUOUS, builtin, changed, script
from botocore.stub import Stubber
from test_rules import (
    SEVERAL,
    Case,
    config,
    definition,
    found_as_error,
    identifier,
    limits,
    numeric,
    refused,
    set_ranges,
    two_definitions,
)

import sm_tuning as smt
from sm_tuning.preflight._parents import parent_problems
from sm_tuning.preflight._remote import account_problems, driver_problems, may_write, pool_problems

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1"
CONTAINER = {
    "type": "container",
    "image_uri": IMAGE,
    "instance_type": "ml.m5.large",
    "max_run": 600,
    "metric_definitions": {"score": "score=(.*);"},
}
CONFIGS = {"estimator/instance_type": None, "estimator/instance_configs": [{"instance_type": "ml.m5.large"}]}
RANGE = "hyperparameter_ranges/lr"


def container() -> dict[str, Any]:
    """An image of one's own."""
    return {**script(), "estimator": {**CONTAINER}}


def algorithm(**members: Any) -> Any:
    return lambda request: definition(request)["AlgorithmSpecification"].update(members)


def stopping(**members: Any) -> Any:
    return lambda request: definition(request)["StoppingCondition"].update(members)


def channels(request: dict[str, Any]) -> None:
    one = definition(request)["InputDataConfig"][0]
    definition(request)["InputDataConfig"] = [{**one, "ChannelName": f"c{n}"} for n in range(21)]


def eleven_definitions(request: dict[str, Any]) -> None:
    two_definitions(request)
    one = request["TrainingJobDefinitions"][0]
    request["TrainingJobDefinitions"] = [{**one, "DefinitionName": f"d{n}"} for n in range(11)]


def from_parents(*names: str, strategy: str | None = None) -> Any:
    def change(request: dict[str, Any]) -> None:
        parents = [{"HyperParameterTuningJobName": name} for name in names]
        request["WarmStartConfig"] = {"ParentHyperParameterTuningJobs": parents, "WarmStartType": "TransferLearning"}
        if strategy:
            config(request)["Strategy"] = strategy

    return change


CASES = [
    Case(
        "image-choice",
        container,
        {"estimator/algorithm_name": "mine"},
        algorithm(AlgorithmName="mine"),
        "AlgorithmName",
    ),
    Case("estimator-kind", script, {"estimator/type": None}),
    Case("entry-point", script, {"estimator/entry_point": None}),
    Case("inputs-missing", builtin, {"inputs": None}),
    Case("range-kind", script, {f"{RANGE}/type": None}),
    Case(
        "several-limit",
        builtin,
        {
            **SEVERAL,
            "estimators": {f"e{n}": SEVERAL["estimators"]["one"] for n in range(11)},
        },
        eleven_definitions,
        "less than or equal to 10",
    ),
    Case(
        "reverse-log-scale",
        script,
        {RANGE: {**CONTINUOUS, "max_value": 1.0, "scaling_type": "ReverseLogarithmic"}},
        set_ranges(continuous=[numeric("lr", 0.1, 1.0, ScalingType="ReverseLogarithmic")]),
        "ReverseLogarithmic",
    ),
    Case(
        "log-scale",
        script,
        {RANGE: {"type": "integer", "min_value": 0, "max_value": 9, "scaling_type": "Logarithmic"}},
        set_ranges(integer=[numeric("lr", 0, 9, ScalingType="Logarithmic")]),
        "needs values greater than 0",
    ),
    Case(
        "categorical-values",
        script,
        {"hyperparameter_ranges": {"c": {"type": "categorical", "values": [f"v{n}" for n in range(31)]}}},
        set_ranges(categorical=[{"Name": "c", "Values": [f"v{n}" for n in range(31)]}]),
        "less than or equal to 30",
    ),
    Case(
        "categorical-values",
        script,
        {"hyperparameter_ranges": {"c": {"type": "categorical", "values": ["a", "x" * 257]}}},
        set_ranges(categorical=[{"Name": "c", "Values": ["a", "x" * 257]}]),
        "less than or equal to 256",
    ),
    Case(
        "range-bounds",
        script,
        {RANGE: {"type": "integer", "min_value": 5, "max_value": 1}},
        set_ranges(integer=[numeric("lr", 5, 1)]),
        "",
    ),
    Case(
        "channels",
        script,
        {"inputs": {f"c{n}": "train.csv" for n in range(21)}},
        channels,
        "less than or equal to 20",
    ),
    Case(
        "channels",
        script,
        {"inputs": {"training data": "train.csv"}},
        lambda r: definition(r)["InputDataConfig"][0].update(ChannelName="training data"),
        "regular expression pattern",
    ),
    Case(
        "too-many-metrics",
        script,
        {"estimator/metric_definitions": {f"m{n}": "(.)" for n in range(41)}},
        lambda r: definition(r)["AlgorithmSpecification"].update(
            MetricDefinitions=[{"Name": f"m{n}", "Regex": "(.)"} for n in range(41)]
        ),
        "less than or equal to 40",
    ),
    Case(
        "metrics-twice",
        script,
        {"estimator/metric_definitions": [{"name": "score", "regex": "(.)"}, {"name": "score", "regex": "x(.)"}]},
    ),
    Case(
        "metric-regex",
        script,
        {"estimator/metric_definitions/score": f"({'x' * 500})"},
        lambda r: definition(r)["AlgorithmSpecification"]["MetricDefinitions"][0].update(Regex=f"({'x' * 500})"),
        "less than or equal to 500",
    ),
    Case(
        "environment",
        script,
        {"estimator/environment": {"A": "x" * 513}},
        lambda r: definition(r).update(Environment={"A": "x" * 513}),
        "less than or equal to 512",
    ),
    Case(
        "environment",
        script,
        {"estimator/environment": {"1A": "x"}},
        lambda r: definition(r).update(Environment={"1A": "x"}),
        "regular expression pattern",
    ),
    Case(
        "retry-limit",
        script,
        {"estimator/max_retry_attempts": 31},
        lambda r: definition(r).update(RetryStrategy={"MaximumRetryAttempts": 31}),
        "less than or equal to 30",
    ),
    Case(
        "pending-limit",
        script,
        {"estimator/max_pending": 2_419_201},
        stopping(MaxPendingTimeInSeconds=2_419_201),
        "less than or equal to 2419200",
    ),
    Case(
        "runtime-limit",
        script,
        {"max_runtime_in_seconds": 15_768_001},
        limits(MaxRuntimeInSeconds=15_768_001),
        "less than or equal to 15768000",
    ),
    Case("parallel-limit", script, {"max_parallel_jobs": 0}),
    Case(
        "instances-clash",
        script,
        {"estimator/resource_config": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}}
        | {"estimator/instance_type": None, "estimator/volume_size": 9},
        lambda r: definition(r).update(
            HyperParameterTuningResourceConfig={
                "InstanceType": "ml.m5.large",
                "InstanceCount": 1,
                "VolumeSizeInGB": 9,
            }
        ),
        "ResourceConfig",
    ),
    Case("instances-order", script, {"estimator/allocation_strategy": "Prioritized"}),
    Case(
        "manifest-attributes",
        script,
        {"inputs/train": {"uri": "s3://bucket/x", "attribute_names": ["a"]}},
    ),
    Case(
        "output-path",
        script,
        {"estimator/output_path": "/models"},
        lambda r: definition(r)["OutputDataConfig"].update(S3OutputPath="/models"),
        "regular expression pattern",
    ),
    Case(
        "tags",
        script,
        {"estimator/tags": {f"t{n}": "x" for n in range(51)}},
        lambda r: r.update(Tags=[{"Key": f"t{n}", "Value": "x"} for n in range(51)]),
        "less than or equal to 50",
    ),
    Case(
        "tags-differ",
        builtin,
        {**SEVERAL, "estimators/one/estimator/tags": {"team": "a"}, "estimators/two/estimator/tags": {"team": "b"}},
    ),
    Case(
        "strategy",
        script,
        {"strategy": "Evolution"},
        lambda r: config(r).update(Strategy="Evolution"),
        "enum value set",
    ),
    Case(
        "completion-criteria",
        script,
        {"completion_criteria": {"max_number_of_training_jobs_not_improving": 2}},
    ),
    Case(
        "warm-start-parents",
        script,
        {"warm_start": {"parents": []}},
    ),
    Case(
        "warm-start-parents",
        script,
        {"warm_start": {"parents": [f"p{n}" for n in range(6)]}},
        from_parents(*(f"p{n}" for n in range(6))),
        "less than or equal to 5",
    ),
    Case(
        "warm-start-strategy",
        script,
        {"strategy": "Hyperband", "warm_start": {"parents": ["p"]}},
        from_parents("p", strategy="Hyperband"),
        "",
    ),
    Case("variable-unset", script, {"estimator/environment": {"A": "${NOT_SET_ANYWHERE}"}}),
    Case(
        "name",
        script,
        {"base_tuning_job_name": "under_score"},
        lambda r: r.update(HyperParameterTuningJobName="under_score"),
        "regular expression pattern",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=identifier)
def test_a_spec_that_breaks_a_limit_has_a_finding_of_its_code(case: Case, tmp_path) -> None:
    assert found_as_error(case, tmp_path)


@pytest.mark.parametrize("case", [case for case in CASES if case.request is not None], ids=identifier)
def test_the_local_sagemaker_refuses_the_same_request(case: Case, tmp_path, aws) -> None:
    base = script() if case.base is container else case.base()
    refusal = refused(case, smt.load(specs.write(tmp_path, base)), aws)
    assert case.words in refusal


def test_a_name_of_33_characters(tmp_path, aws) -> None:
    name = "n" * 33
    path = specs.write(tmp_path, script())
    found = smt.check(path, name=name)
    assert "name" in {one.code for one in found if one.severity == "error"}
    case = Case("name", script, {}, lambda r: r.update(HyperParameterTuningJobName=name))
    refusal = refused(case, smt.load(path), aws)
    assert "'hyperParameterTuningJobName' failed to satisfy constraint" in refusal
    assert "Member must have length less than or equal to 32" in refusal


@pytest.mark.parametrize(
    ("text", "code"), [("- a list", "file-syntax"), ("a: [", "file-syntax"), (None, "file-unreadable")]
)
def test_a_file_that_is_no_spec(text, code, tmp_path) -> None:
    path = tmp_path / "tuning.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    assert [one.code for one in smt.check(path)] == [code]


# -- what only AWS knows, with the answers that the local SageMaker has no way to give


class Session:
    """A session whose clients were made before."""

    region_name = "us-east-1"

    def __init__(self, **clients: Any) -> None:
        self.clients = clients

    def client(self, service: str, **_: Any) -> Any:
        return self.clients[service]


def stubbed(service: str, *answers: tuple[str, dict[str, Any]]) -> smt.Aws:
    client = boto3.client(service, "us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    stub = Stubber(client)
    for operation, answer in answers:
        stub.add_response(operation, answer)
    stub.activate()
    return smt.connect(session=Session(**{service: client}))


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("running", "expected"), [(99, []), (100, ["active-quota"])])
def test_the_quota_of_tuning_jobs_at_once(running, expected) -> None:
    arn = "arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/j"
    summary = {
        "HyperParameterTuningJobName": "j",
        "HyperParameterTuningJobArn": arn,
        "HyperParameterTuningJobStatus": "InProgress",
        "Strategy": "Random",
        "CreationTime": NOW,
        "TrainingJobStatusCounters": {},
        "ObjectiveStatusCounters": {},
    }
    answer = {"HyperParameterTuningJobSummaries": [summary] * running}
    found = list(account_problems(stubbed("sagemaker", ("list_hyper_parameter_tuning_jobs", answer))))
    assert [one.code for one in found] == expected
    assert {one.severity for one in found} <= {"advice"}


@pytest.mark.parametrize(("decision", "expected"), [("allowed", []), ("implicitDeny", ["output-write"])])
def test_a_role_that_may_not_write_to_the_bucket(decision, expected) -> None:
    answer = {"EvaluationResults": [{"EvalActionName": "s3:PutObject", "EvalDecision": decision}]}
    aws = stubbed("iam", ("simulate_principal_policy", answer))
    found = list(may_write(aws, "arn:aws:iam::123456789012:role/Tuner", "s3://bucket/models/", "estimator.output_path"))
    assert [one.code for one in found] == expected
    assert all("arn:aws:s3:::bucket/models/*" in one.fix for one in found)


def parent_of(aws: smt.Aws, tmp_path: Any) -> tuple[smt.Tuning, dict[str, Any]]:
    path = specs.write(tmp_path, {**script(), "max_jobs": 1})
    job = smt.launch(path, aws=aws)
    job.wait(progress=False, timeout=120)
    child = smt.load(path).replace(warm_start=smt.WarmStart(parents=[job.name], warm_start_type="TransferLearning"))
    return child, {key: value for key, value in job.describe().items() if key != "ResponseMetadata"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"HyperParameterTuningJobStatus": "InProgress"}, ["warm-start-running"]),
        ({"CreationTime": datetime(2018, 9, 30, tzinfo=UTC)}, ["warm-start-old"]),
        ({"TrainingJobStatusCounters": {"Completed": 9_999, "Stopped": 1}}, ["warm-start-jobs"]),
    ],
    ids=["well", "running", "old", "many"],
)
def test_a_parent_that_cannot_be_one(changes, expected, aws, tmp_path) -> None:
    child, description = parent_of(aws, tmp_path)
    asked = stubbed("sagemaker", ("describe_hyper_parameter_tuning_job", {**description, **changes}))
    found = [one.code for one in parent_problems(asked, child)]
    assert [code for code in found if code in ("warm-start-running", "warm-start-old", "warm-start-jobs")] == expected


def test_the_local_sagemaker_refuses_what_is_not_there_or_taken(aws, tmp_path, preflight_server) -> None:
    path = specs.write(tmp_path, {**script(), "max_jobs": 1})
    smt.launch(path, name="taken-once", aws=aws).wait(progress=False, timeout=120)
    with pytest.raises(
        smt.NameTakenError, match=r"there is a tuning job 'taken-once' \(Completed, .*\) in this account"
    ):
        smt.launch(path, name="taken-once", aws=aws)
    uri = f"s3://{preflight_server.bucket}/nothing-here/"
    case = Case(
        "input-missing",
        script,
        {},
        lambda r: definition(r)["InputDataConfig"][0]["DataSource"]["S3DataSource"].update(S3Uri=uri),
    )
    refusal = refused(case, smt.load(path), aws)
    assert f'No S3 objects found under S3 URL "{uri}" given in input data source' in refusal


# -- studies


def study(changes: dict[str, Any] | None = None, **settings: Any) -> smt.Tuning:
    role = {"estimator/role": "arn:aws:iam::123456789012:role/Tuner", "max_parallel_jobs": 4, "max_jobs": 9}
    return smt.Tuning.parse(changed(script(), {**role, **(changes or {}), "study": settings}))


def test_by_how_much_a_study_may_exceed_its_max_cost(tmp_path) -> None:
    spec = study({"estimator/max_run": 1800}, max_cost=20.0)
    prices = {str(spec.definitions[0][1].estimator.instance_type): 3.6}
    (found,) = (one for one in smt.check(spec, prices=prices) if one.code == "study-overshoot")
    assert (found.severity, found.where) == ("advice", "study.max_cost")
    # Four trials at 3.60 dollars an hour: 130 seconds until they have stopped, or half an hour.
    assert "may cost $0.52 more than max_cost of $20.00, and $7.20 more if nothing drives it" in found.message
    (found,) = (one for one in smt.check(spec) if one.code == "study-overshoot")
    assert (found.severity, "there is no price for" in found.message) == ("not-checked", True)
    assert not [one for one in smt.check(study(), prices=prices) if one.code == "study-overshoot"]


def test_what_only_aws_knows_of_a_study_is_listed() -> None:
    def listed(**settings: Any) -> set[str]:
        found = {one.code for one in smt.check(study(**settings)) if one.severity == "not-checked"}
        return found & {"warm-pool-quota", "driver-role"}

    assert listed(keep_alive=600) == {"warm-pool-quota"}
    assert listed(driver="remote") == {"driver-role"}
    assert listed(driver="client") == set()


@pytest.mark.parametrize(("limit", "expected"), [(0.0, ["warm-pool-quota"]), (3.0, ["warm-pool-quota"]), (4.0, [])])
def test_the_quota_of_warm_pools(limit, expected) -> None:
    spec = study(keep_alive=600)
    kind = spec.definitions[0][1].estimator.instance_type
    quotas = [
        {"QuotaName": f"{kind} for training warm pool usage", "Value": limit},
        {"QuotaName": f"{kind} for training job usage", "Value": 0.0},
    ]
    found = list(pool_problems(stubbed("service-quotas", ("list_service_quotas", {"Quotas": quotas})), spec))
    assert [one.code for one in found] == expected
    assert {one.severity for one in found} <= {"advice"}


@pytest.mark.parametrize("denied", [(), ("iam:PassRole",), ("sagemaker:AddTags", "sagemaker:ListTrainingJobs")])
def test_the_role_of_a_remote_driver(denied) -> None:
    actions = (
        ("sagemaker:CreateTrainingJob", "sagemaker:AddTags"),
        ("sagemaker:ListTrainingJobs",),
        ("iam:PassRole",),
    )
    answers = [
        {
            "EvaluationResults": [
                {"EvalActionName": action, "EvalDecision": "implicitDeny" if action in denied else "allowed"}
                for action in group
            ]
        }
        for group in actions
    ]
    aws = stubbed("iam", *(("simulate_principal_policy", answer) for answer in answers))
    found = list(driver_problems(aws, study(driver="remote")))
    assert [one.code for one in found] == ["driver-role"] * bool(denied)
    assert all(f"may not call {', '.join(sorted(denied))}" in one.message for one in found)
