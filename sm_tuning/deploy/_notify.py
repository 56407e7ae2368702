"""The message at the end of a tuning job: an event pattern, and a small state machine that sends one message.

SageMaker may emit several events for one change of status [Developer Guide, automating-sagemaker-with-eventbridge],
and EventBridge may deliver each of them twice. So the rule starts a machine that first writes a record of the end,
under the condition that no other execution has written one, and then publishes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sm_tuning._statuses import TuningStatus
from sm_tuning.deploy._policy import Place, Statement, allow
from sm_tuning.deploy._states import catch, expression, retry

#: The table's key, and the attribute by which DynamoDB deletes a record. Neither is a reserved word, such as End.
KEY, EXPIRES = "TuningJobEnd", "ExpiresAt"

#: Days for which an end is remembered. An execution of Step Functions cannot be redriven after 14 days.
_DAYS = 90

_TAKEN = "DynamoDB.ConditionalCheckFailedException"

#: An end of a job. A job of the same name may be created after another was deleted, so that its creation is part of it.
_END = """(
  $job := $states.input.detail;
  $job.HyperParameterTuningJobArn & " " & $job.HyperParameterTuningJobStatus & " " & $string($job.CreationTime)
)"""

#: The text of the message. The event has the job's environment and hyperparameters, which may be secret: only these
#: fields leave it.
_MESSAGE = """(
  $job := $states.input.detail;
  $best := $job.BestTrainingJob;
  $objective := $best.FinalHyperParameterTuningJobObjectiveMetric;
  $join([
    "The tuning job " & $job.HyperParameterTuningJobName & " is " & $job.HyperParameterTuningJobStatus & ".",
    $job.FailureReason ? "Reason: " & $job.FailureReason,
    $best.TrainingJobName ? "Best trial: " & $best.TrainingJobName,
    $objective.MetricName ? $objective.MetricName & ": " & $string($objective.Value),
    $job.HyperParameterTuningJobArn
  ], "\\n")
)"""


def ended(names: Iterable[Any]) -> dict[str, Any]:
    """Return the pattern of the events at the end of tuning jobs.

    Args:
        names: of the jobs, as EventBridge matches them: a name, or ``{"prefix": …}``.
    """
    statuses = [status.value for status in (TuningStatus.COMPLETED, TuningStatus.FAILED, TuningStatus.STOPPED)]
    return {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker HyperParameter Tuning Job State Change"],
        "detail": {"HyperParameterTuningJobName": list(names), "HyperParameterTuningJobStatus": statuses},
    }


def notice(partition: str, *, table: str, topic: str) -> dict[str, Any]:
    """Return the machine that an event of ``ended`` starts: it publishes once for each end of a job.

    Args:
        partition: of AWS, such as ``aws-cn``.
        table: name of the table of DynamoDB, with the key ``KEY``.
        topic: ARN of the topic.
    """
    subject = "$states.input.detail.HyperParameterTuningJobName"
    claim = {
        "Type": "Task",
        "Comment": "Record the end, unless another execution has done so",
        "Resource": f"arn:{partition}:states:::dynamodb:putItem",
        "Arguments": {
            "TableName": table,
            "Item": {
                KEY: {"S": expression(_END)},
                "ExecutionArn": {"S": expression("$states.context.Execution.Id")},
                EXPIRES: {"N": expression(f"$string($floor($millis() / 1000) + {_DAYS * 24 * 3600})")},
            },
            # The second condition holds when the response of the first call was lost, or after a redrive.
            "ConditionExpression": f"attribute_not_exists({KEY}) OR ExecutionArn = :execution",
            "ExpressionAttributeValues": {":execution": {"S": expression("$states.context.Execution.Id")}},
        },
        # The first rule that matches counts.
        "Retry": [{"ErrorEquals": [_TAKEN], "MaxAttempts": 0}, retry(["States.ALL"], 2, 6, 2, 60)],
        "Catch": [catch([_TAKEN], "SentBefore")],
        "Output": expression("$states.input"),
        "Next": "Publish",
    }
    publish = {
        "Type": "Task",
        "Resource": f"arn:{partition}:states:::sns:publish",
        "Arguments": {
            "TopicArn": topic,
            "Subject": expression(
                f"'Tuning job ' & {subject} & ': ' & $states.input.detail.HyperParameterTuningJobStatus"
            ),
            "Message": expression(_MESSAGE),
        },
        "Retry": [retry(["States.ALL"], 2, 6, 2, 60)],
        "End": True,
    }
    return {
        "Comment": "One message at the end of a tuning job, however many events report it",
        "QueryLanguage": "JSONata",
        "StartAt": "Claim",
        "States": {"Claim": claim, "Publish": publish, "SentBefore": {"Type": "Succeed"}},
    }


def notice_policy(place: Place, *, table: str, topic: str) -> list[Statement]:
    """Return the permissions of the machine's role, without those for its log."""
    return [
        allow("RecordTheEnd", ["dynamodb:PutItem"], [place.arn("dynamodb", f"table/{table}")]),
        allow("Publish", ["sns:Publish"], [topic]),
    ]
