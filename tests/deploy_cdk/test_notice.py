"""The end of a tuning job sends one message, however many events report it. moto runs the machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from _interpreter import Interpreter, interpreter
from moto.events.models import EventPattern

from sm_tuning.deploy._notify import EXPIRES, KEY, ended, notice

REGION = "us-east-1"


def event(name: str = "diabetes-0123456789ab", status: str = "Completed", **detail: Any) -> dict[str, Any]:
    """An event as SageMaker emits it, with the members that the message uses and one that it must not show."""
    arn = f"arn:aws:sagemaker:{REGION}:123456789012:hyper-parameter-tuning-job/{name}"
    return {
        "version": "0",
        "id": "844e2571-85d4-695f-b930-0153b71dcb42",
        "detail-type": "SageMaker HyperParameter Tuning Job State Change",
        "source": "aws.sagemaker",
        "account": "123456789012",
        "time": "2026-10-06T12:26:13Z",
        "region": REGION,
        "resources": [arn],
        "detail": {
            "HyperParameterTuningJobName": name,
            "HyperParameterTuningJobArn": arn,
            "HyperParameterTuningJobStatus": status,
            "CreationTime": 1583454418000,
            "TrainingJobDefinition": {"StaticHyperParameters": {"api_token": "hunter2"}},
            **detail,
        },
    }


class Notices:
    """The machine, and what it has published."""

    def __init__(self, machines: Interpreter) -> None:
        self.machines = machines
        self._sqs = boto3.client("sqs", region_name=REGION)
        sns = boto3.client("sns", region_name=REGION)
        self.table = boto3.resource("dynamodb", region_name=REGION).create_table(
            TableName="ends",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": KEY, "AttributeType": "S"}],
            KeySchema=[{"AttributeName": KEY, "KeyType": "HASH"}],
        )
        topic = sns.create_topic(Name="ends")["TopicArn"]
        self._queue = self._sqs.create_queue(QueueName="ends")["QueueUrl"]
        queue = f"arn:aws:sqs:{REGION}:123456789012:ends"
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
        self.machine = machines.make(notice("aws", table="ends", topic=topic))

    def sent(self) -> list[dict[str, Any]]:
        """The messages since the last call."""
        answer = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10)
        messages = answer.get("Messages", [])
        for message in messages:
            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(message["Body"]) for message in messages]

    def report(self, *events: dict[str, Any]) -> list[str]:
        """Start an execution for each event, all at once; how each ended: its last state."""
        started = [self.machines.start(self.machine, each) for each in events]
        ends = [self.machines.ended(arn) for arn in started]
        assert {end.status for end in ends} == {"SUCCEEDED"}, ends
        return sorted(end.states[-1] for end in ends)


@pytest.fixture(scope="module")
def notices() -> Iterator[Notices]:
    with interpreter(None, REGION) as machines:
        yield Notices(machines)


def test_events_that_report_one_end_send_one_message(notices):
    once = event()
    again = {**event(LastModifiedTime=2), "id": "another", "time": "2026-10-06T12:27:00Z"}
    # One after the other: moto looks at a condition and writes in two steps, where DynamoDB does both in one.
    ends = [notices.report(each) for each in (once, once, again, again)]
    assert ends == [["Publish"], ["SentBefore"], ["SentBefore"], ["SentBefore"]]
    (message,) = notices.sent()
    assert message["Subject"] == "Tuning job diabetes-0123456789ab: Completed"


def test_the_message_says_how_the_job_ended_and_nothing_secret(notices):
    metric = {"MetricName": "validation:rmse", "Value": 57.5}
    best = {"TrainingJobName": "good-001", "FinalHyperParameterTuningJobObjectiveMetric": metric}
    notices.report(event("good", BestTrainingJob=best), event("bad", "Failed", FailureReason="no trial has ended well"))
    texts = {message["Subject"]: message["Message"] for message in notices.sent()}
    assert texts["Tuning job good: Completed"].split("\n") == [
        "The tuning job good is Completed.",
        "Best trial: good-001",
        "validation:rmse: 57.5",
        "arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/good",
    ]
    assert "Reason: no trial has ended well" in texts["Tuning job bad: Failed"].split("\n")
    assert "hunter2" not in str(texts)


def test_another_job_and_a_later_job_of_the_same_name_have_messages_of_their_own(notices):
    ends = [event("named"), event("other"), event("named", CreationTime=1583454419000), event("named", "Stopped")]
    assert notices.report(*ends) == ["Publish"] * 4
    assert len(notices.sent()) == 4


def test_an_execution_whose_record_was_written_before_its_answer_was_lost_still_publishes(notices):
    lost = event("lost")
    name, detail = "first-call-was-lost", lost["detail"]
    arn = f"{notices.machine.replace(':stateMachine:', ':execution:')}:{name}"
    key = f"{detail['HyperParameterTuningJobArn']} Completed {detail['CreationTime']}"
    notices.table.put_item(Item={KEY: key, "ExecutionArn": arn})
    assert notices.machines.ended(notices.machines.start(notices.machine, lost, name)).states[-1] == "Publish"
    assert len(notices.sent()) == 1
    assert notices.report(lost) == ["SentBefore"]


def test_a_record_expires_after_the_time_in_which_events_may_be_repeated(notices):
    notices.report(event("old"))
    records = [item for item in notices.table.scan()["Items"] if "/old " in item[KEY]]
    (expires,) = (int(item[EXPIRES]) for item in records)
    assert expires > 1_700_000_000 + 90 * 24 * 3600


@pytest.mark.parametrize(
    ("reported", "matches"),
    [
        (event(), True),
        (event(status="Failed"), True),
        (event(status="Stopped"), True),
        (event(status="InProgress"), False),
        (event(status="Stopping"), False),
        (event("diabetes2-0123456789ab"), False),
        ({**event(), "source": "mine"}, False),
        ({**event(), "detail-type": "SageMaker Training Job State Change"}, False),
    ],
)
def test_the_rule_matches_the_ends_of_its_own_jobs(reported, matches):
    pattern = EventPattern.load(json.dumps(ended([{"prefix": "diabetes-"}])))
    assert pattern.matches_event(reported) is matches
