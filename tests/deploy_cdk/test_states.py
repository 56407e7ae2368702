"""The states are valid, hold the whole request, and name their jobs well; no AWS and no server."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
from _interpreter import evaluate, interpreter
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

import sm_tuning as smt
from sm_tuning import SpecError, deploy
from sm_tuning.aws import Aws
from sm_tuning.deploy import _states as asl
from sm_tuning.deploy._states import Gate, States, chosen
from sm_tuning.deploy._stepfunctions import base_of, machine_of, partition_of
from sm_tuning.request import to_request, violations


def _load_cases() -> Any:
    """The tables of every field of a spec, which the tests of the request have."""
    path = Path(__file__).parents[1] / "request" / "test_every_field.py"
    spec = importlib.util.spec_from_file_location("every_field", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


every = _load_cases()
CONTEXT = {"Id": "arn:aws:states:us-east-1:123456789012:execution:m:e", "StartTime": "2026-11-20T00:00:00Z"}
ROLE = "arn:aws:iam::123456789012:role/Training"


def value(given_value: Any, **execution: Any) -> Any:
    """What Step Functions makes of a field."""
    if isinstance(given_value, dict):
        return {key: value(item, **execution) for key, item in given_value.items()}
    if isinstance(given_value, list):
        return [value(item, **execution) for item in given_value]
    if isinstance(given_value, str) and given_value.startswith("{%") and given_value.endswith("%}"):
        states = {"context": {"Execution": {**CONTEXT, **execution}}}
        return evaluate(given_value[2:-2], states=states)
    return given_value


def named(request: Any, name: str) -> Any:
    """A request with a name in place of what stands for it."""
    if isinstance(request, dict):
        return {key: named(item, name) for key, item in request.items()}
    if isinstance(request, list):
        return [named(item, name) for item in request]
    return request.replace(asl.STAND_IN, name) if isinstance(request, str) else request


def state_of(request: dict[str, Any], base: str = "base") -> dict[str, Any]:
    return States(request, base, partition="aws", sync=True).tune(following=None, on_failure="Failed")


def check(tuning: smt.Tuning) -> None:
    """What the state sends is the request, with the execution's name, and nothing is missing or added."""
    request = to_request(tuning, name=asl.STAND_IN, region="us-east-1")
    sent = value(state_of(request)["Arguments"])
    name = sent["HyperParameterTuningJobName"]
    assert sent == named(request, name)
    assert asl.STAND_IN not in str(sent)
    assert violations("CreateHyperParameterTuningJob", sent) == []


@pytest.mark.parametrize(("kind", "before", "added"), every.cases(every.ESTIMATORS))
def test_a_field_of_an_estimator_reaches_the_state(kind, before, added):
    built = every.estimator(kind, **before | added)
    objective = built.metric_definitions[0].name if built.metric_definitions else "validation:rmse"
    check(every.tuning(estimator=built, objective_metric_name=objective))


@pytest.mark.parametrize(("kind", "before", "added"), every.cases(every.CHANNELS))
def test_a_field_of_an_input_reaches_the_state(kind, before, added):
    channel = kind(**every.CHANNEL_FIELDS[kind] | before | added)
    check(every.tuning(inputs={"train": channel}, estimator=every.estimator(**every.VPC)))


@pytest.mark.parametrize(("kind", "before", "added"), every.cases({smt.Tuning: every.JOB}))
def test_a_field_of_a_tuning_reaches_the_state(kind, before, added):
    check(every.tuning(**before | added))


def test_several_estimators_reach_the_state():
    request = every.several()
    assert value(state_of(request)["Arguments"]) == request


@given(st.text(max_size=30), st.text(max_size=30), st.integers(0, 2))
def test_any_text_arrives_as_it_is(left, right, names):
    text = asl.STAND_IN.join([left, *["-"] * (names - 1), right][: names + 1]) if names else left + right
    sent = value(asl.arguments({"text": text}, "base"))["text"]
    name = value(asl.expression(asl.job_name("base")))
    assert sent == text.replace(asl.STAND_IN, name)


@pytest.mark.parametrize("text", ["{% $states.input %}", "{%", "{% broken", '{% "a" %}'])
def test_text_that_looks_like_an_expression_is_not_evaluated(text):
    assert value(asl.literal(text)) == text


NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}")  # botocore model, HyperParameterTuningJobName


@given(base=st.text(max_size=40), execution=st.text(max_size=80))
def test_every_execution_has_a_legal_name(base, execution):
    tuning = every.tuning(base_tuning_job_name="x").replace()
    derived = base_of(tuning.model_copy(update={"base_tuning_job_name": base}), None)
    name = value(asl.expression(asl.job_name(derived)), Id=execution)
    assert len(name) <= 32
    assert NAME.fullmatch(name)


def test_names_differ_by_execution_and_stay_when_a_call_is_retried():
    name = asl.expression(asl.job_name("base"))
    first = value(name)
    assert value(name) == first
    others = [
        value(name, Id=CONTEXT["Id"] + "2"),
        value(name, StartTime="2027-03-01T00:00:00Z"),  # the same name, free again after 90 days
        value(name, RedriveCount=1),
    ]
    assert len({first, *others}) == 4


def test_the_longest_base_makes_the_longest_name():
    assert len(value(asl.expression(asl.job_name(base_of(every.tuning(), "a" * 19))))) == 32


@pytest.mark.parametrize("name", ["a" * 20, "", "-a", "a-", "a_b", "a b"])
def test_a_base_that_makes_no_legal_name_is_refused(name):
    with pytest.raises(SpecError, match="at most 19"):
        base_of(every.tuning(), name)


@pytest.mark.parametrize(
    ("fields", "member"),
    [({"autotune": True, "max_jobs": 1}, "Autotune"), (None, "TrainingJobDefinitions")],
)
def test_members_that_the_optimised_integration_does_not_take_use_the_other_one(fields, member):
    request = every.several() if fields is None else every.request(**fields)
    assert chosen(request, "auto") == "sdk"
    with pytest.raises(SpecError, match=member):
        chosen(request, "sync")


def test_all_else_uses_the_integration_that_waits():
    request = every.request(
        warm_start=smt.WarmStart(parents=["p"]), random_seed=0, estimator=every.estimator(tags={"a": "b"})
    )
    assert set(request) == asl._OPTIMISED
    assert chosen(request, "auto") == "sync"
    assert chosen(request, "sdk") == "sdk"


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_the_integration_is_the_one_of_the_roles_partition(partition):
    region = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}[partition]
    estimator = every.estimator(role=ROLE.replace("arn:aws:", f"arn:{partition}:"))
    request = to_request(every.tuning(estimator=estimator), name=asl.STAND_IN, region=region)
    options = deploy.MachineOptions(model_package_group="g")
    made = machine_of(request, "base", options, partition=partition_of(request), region=region)
    resources = [state["Resource"] for state in made["States"].values() if "Resource" in state]
    assert len(resources) == 4
    assert all(resource.startswith(f"arn:{partition}:states:::") for resource in resources)


class Errors:
    """Errors of a state, as its Retry and Catch handle them."""

    def __init__(self, state: dict[str, Any]) -> None:
        self._state = state

    def retried(self, name: str) -> bool:
        return any(name in one["ErrorEquals"] for one in self._state["Retry"])

    def caught(self, name: str) -> str:
        wild = {"States.ALL", "States.TaskFailed"}
        return next(one["Next"] for one in self._state["Catch"] if {name, *wild} & set(one["ErrorEquals"]))


def machine(**options: Any) -> dict[str, Any]:
    request = every.request()
    return machine_of(request, "base", deploy.MachineOptions(**options), partition="aws", region="us-east-1")


def test_throttling_and_full_quotas_are_tried_again_and_failed_jobs_are_not():
    tune = machine()["States"]["Tune"]
    errors = Errors(tune)
    for name in (
        "ThrottlingException",
        "SageMaker.AmazonSageMakerException",
        "SageMaker.ResourceLimitExceededException",
    ):
        assert errors.retried(name)
        assert errors.caught(name) == "Failed"
    assert not errors.retried("States.TaskFailed")
    assert errors.caught("States.TaskFailed") == "Describe"
    assert all(one["JitterStrategy"] == "FULL" and one["BackoffRate"] > 1 for one in tune["Retry"])


def test_every_task_is_tried_again_and_no_error_is_left_uncaught():
    states = machine(threshold=1, model_package_group="g", integration="sdk")["States"]
    tasks = [state for state in states.values() if state["Type"] == "Task"]
    assert len(tasks) == 4
    assert all(Errors(task).retried("ThrottlingException") for task in tasks)
    assert all(task["Catch"][-1] == {"ErrorEquals": ["States.ALL"], "Next": "Failed"} for task in tasks)


@pytest.mark.parametrize("integration", ["sync", "sdk"])
@pytest.mark.parametrize("group", [None, "group"])
@pytest.mark.parametrize("threshold", [None, 0.5])
def test_every_machine_is_valid_and_each_of_its_states_can_be_reached(threshold, group, integration):
    made = machine(threshold=threshold, model_package_group=group, integration=integration)
    with interpreter(None, "us-east-1") as machines:
        assert machines.make(made)
    reached, open_states = set(), [made["StartAt"]]
    while open_states:
        name = open_states.pop()
        if name not in reached:
            reached.add(name)
            state = made["States"][name]
            branches = [*state.get("Catch", []), *state.get("Choices", [])]
            targets = [state.get("Next"), state.get("Default"), *(branch["Next"] for branch in branches)]
            open_states += [target for target in targets if target]
    assert reached == set(made["States"])


def test_what_is_no_valid_machine_is_refused_by_the_validator():
    broken = machine()
    del broken["States"]["Tune"]["Resource"]
    with interpreter(None, "us-east-1") as machines, pytest.raises(ClientError, match="No Resource declaration"):
        machines.make(broken)


@given(st.floats(-1e6, 1e6), st.booleans())
def test_an_objective_that_equals_the_threshold_is_good_enough_in_either_form(threshold, maximize):
    gate = Gate("accuracy", maximize, threshold)
    for shown in (threshold, gate.limit):
        assert evaluate(gate.condition, states={"input": {"Objective": shown}})


@pytest.mark.parametrize(("maximize", "good", "bad"), [(True, 0.96, 0.94), (False, 0.94, 0.96)])
def test_the_gate_knows_the_direction(maximize, good, bad):
    gate = Gate("accuracy", maximize, 0.95)
    assert evaluate(gate.condition, states={"input": {"Objective": good}})
    assert not evaluate(gate.condition, states={"input": {"Objective": bad}})
    said = evaluate(gate.cause, states={"input": {"Objective": bad, "BestTrainingJobName": "t"}})
    assert said == f"accuracy of t is {bad}, but must be at {'least' if maximize else 'most'} 0.95"


def test_one_threshold_cannot_judge_estimators_of_both_directions():
    request = every.several()
    second = {**request["TrainingJobDefinitions"][0], "DefinitionName": "two"}
    second["TuningObjective"] = {"Type": "Minimize", "MetricName": "other"}
    request["TrainingJobDefinitions"].append(second)
    with pytest.raises(SpecError, match="some of the estimators minimize"):
        machine_of(request, "b", deploy.MachineOptions(threshold=1), partition="aws", region="us-east-1")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"approval": "Maybe"}, "approval: must be one of"),
        ({"integration": "lambda"}, "integration: must be one of"),
        ({"threshold": float("nan")}, "threshold: must be a finite number"),
        ({"model_package_group": "a_b"}, "model_package_group: must be an ARN, or a name"),
        ({"poll_seconds": 0}, "poll_seconds: must be between"),
    ],
)
def test_an_option_that_cannot_work_is_refused(options, words):
    with pytest.raises(SpecError, match=words):
        deploy.MachineOptions(**options)


def test_a_model_of_an_algorithm_needs_an_image_to_be_served():
    built = every.estimator(smt.ContainerEstimator, image_uri=None, metric_definitions=(), algorithm_name="mine")
    request = every.request(estimator=built)
    with pytest.raises(SpecError, match="give image_uri"):
        machine_of(request, "b", deploy.MachineOptions(model_package_group="g"), partition="aws", region="us-east-1")
    options = deploy.MachineOptions(model_package_group="g", image_uri=every.IMAGE)
    assert every.IMAGE in str(machine_of(request, "b", options, partition="aws", region="us-east-1"))


def test_making_a_machine_asks_nobody_and_says_what_is_not_uploaded(tmp_path):
    (tmp_path / "train.csv").write_text("1,2\n")
    said: list[str] = []
    tuning = every.tuning(inputs={"train": str(tmp_path / "train.csv")})
    aws = Aws(None, region="us-east-1", endpoint_url=None, environ={})
    state = deploy.stepfunctions_state(tuning, aws=aws, on_progress=said.append)
    uri = state["Arguments"]["TrainingJobDefinition"]["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"]
    assert len(said) == 1
    assert uri in said[0]
    assert "--upload" in said[0]
