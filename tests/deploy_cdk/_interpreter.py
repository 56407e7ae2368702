"""Run a state machine: moto's interpreter of the Amazon States Language, with what it lacks, against a SageMaker.

moto leaves four things to whoever runs it: an evaluator of JSONata (here the jsonata package), ``$hash``, the endpoint
that the SDK integrations talk to, and the waiting of ``sagemaker:createHyperParameterTuningJob.sync``. A second of its
Wait states and retries takes a twentieth here. Its modules are slow to load, so that they are not loaded where tests
are collected.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

import boto3
import pytest
from jsonata import Jsonata
from moto import mock_aws

ROLE = "arn:aws:iam::123456789012:role/StateMachine"
_SECOND = 0.05  # how long a second of a machine takes
_ALGORITHMS = {"SHA-256": "sha256", "MD5": "md5"}


def _hash(content: str, algorithm: str) -> str:
    return hashlib.new(_ALGORITHMS[algorithm], content.encode()).hexdigest()


def evaluate(expression: str, **variables: Any) -> Any:
    """The value of a JSONata expression, with the function that Step Functions adds."""
    parsed = Jsonata(expression)
    parsed.register_lambda("hash", _hash)
    for name, value in variables.items():
        parsed.assign(name, value)
    return parsed.evaluate(None)


class Ended(NamedTuple):
    """An execution that has ended."""

    status: str
    output: Any
    error: str | None
    cause: str | None
    states: list[str]


class Interpreter:
    """Makes machines and runs them."""

    def __init__(self, region: str) -> None:
        self._client = boto3.client(
            "stepfunctions", region_name=region, endpoint_url=f"https://states.{region}.amazonaws.com"
        )
        self._made = self._started = 0

    def make(self, definition: dict[str, Any]) -> str:
        """Create a machine; what is not valid in the Amazon States Language is refused."""
        self._made += 1
        made = self._client.create_state_machine(
            name=f"machine-{self._made}", definition=json.dumps(definition), roleArn=ROLE
        )
        return made["stateMachineArn"]

    def run(self, definition: dict[str, Any], *, seconds: float = 60) -> Ended:
        """Run a machine to its end."""
        return self.ended(self.start(self.make(definition)), seconds=seconds)

    def start(self, machine: str, given: Any = None, name: str | None = None) -> str:
        """Start an execution of a machine with an input, and return its ARN."""
        self._started += 1
        name = name or f"execution-{self._started}"  # moto gives all executions without a name the same one
        started = self._client.start_execution(stateMachineArn=machine, name=name, input=json.dumps(given or {}))
        return started["executionArn"]

    def ended(self, arn: str, *, seconds: float = 60) -> Ended:
        """Wait for the end of an execution."""
        deadline = time.monotonic() + seconds
        while (found := self._client.describe_execution(executionArn=arn))["status"] == "RUNNING":
            assert time.monotonic() < deadline, "the execution did not end"
            time.sleep(_SECOND)
        history = self._client.get_execution_history(executionArn=arn, maxResults=1000)["events"]
        entered = [one["stateEnteredEventDetails"]["name"] for one in history if "stateEnteredEventDetails" in one]
        output = json.loads(found["output"]) if found.get("output") else None
        return Ended(found["status"], output, found.get("error"), found.get("cause"), entered)


def _failed(task: Any, env: Any, cause: Any) -> Exception:
    """What Step Functions raises for a job that did not end well: its whole description is the cause."""
    from moto.stepfunctions.parser.api import HistoryEventType, TaskFailedEventDetails
    from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
        FailureEvent,
        FailureEventException,
    )
    from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
    from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
    from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails

    details = TaskFailedEventDetails(
        resource=task._get_sfn_resource(),
        resourceType=task._get_sfn_resource_type(),
        error="States.TaskFailed",
        cause=json.dumps(cause, default=str),
    )
    return FailureEventException(
        FailureEvent(
            env=env,
            error_name=StatesErrorName(typ=StatesErrorNameType.StatesTaskFailed),
            event_type=HistoryEventType.TaskFailed,
            event_details=EventDetails(taskFailedEventDetails=details),
        )
    )


@contextmanager
def interpreter(sagemaker: Any, region: str) -> Iterator[Interpreter]:
    """An interpreter whose Task states call a SageMaker client."""
    from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
    from moto.stepfunctions.parser.asl.component.intrinsic import jsonata as declarations
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
        state_task_service_aws_sdk,
        state_task_service_callback,
        state_task_service_unsupported,
    )
    from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction
    from moto.stepfunctions.parser.asl.jsonata import jsonata
    from moto.stepfunctions.parser.asl.parse.preprocessor import Preprocessor

    def client_for(**_: Any) -> Any:
        return sagemaker

    def wait_for_end(self: Any, env: Any, normalised_parameters: dict[str, Any], **_: Any) -> Any:
        def look() -> Any:
            name = normalised_parameters["HyperParameterTuningJobName"]
            found = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
            status = found["HyperParameterTuningJobStatus"]
            if status in ("Failed", "Stopped"):
                raise _failed(self, env, found)
            return found if status == "Completed" else None

        return look

    def wait(self: Any, env: Any) -> None:
        env.program_state_event.wait(self._get_wait_seconds(env=env) * _SECOND)

    unsupported = state_task_service_unsupported.StateTaskServiceUnsupported
    with pytest.MonkeyPatch.context() as patch, mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        # moto keeps the languages of a definition that it refused, and reads the next one with them
        patch.setattr(Preprocessor, "_query_language_per_scope", [])
        patch.setattr(jsonata, "_eval_jsonata", evaluate)
        patch.delitem(declarations._DECLARATION_BY_VARIABLE_REFERENCE, "$hash")
        patch.setattr(state_task_service_aws_sdk, "boto_client_for", client_for)
        patch.setattr(state_task_service_unsupported, "boto_client_for", client_for)
        patch.setitem(state_task_service_aws_sdk._SERVICE_ERROR_NAMES, "sagemaker", "SageMaker")
        patch.setattr(WaitFunction, "_eval_body", wait)
        patch.setattr(retrier_decl, "time", SimpleNamespace(sleep=lambda seconds: time.sleep(seconds * _SECOND)))
        patch.setattr(state_task_service_callback, "_DELAY_SECONDS_SYNC_CONDITION_CHECK", _SECOND)
        patch.setattr(unsupported, "_build_sync_resolver", wait_for_end)
        patch.setattr(unsupported, "_assert_integration_pattern_is_supported", lambda self: None)
        yield Interpreter(region)
