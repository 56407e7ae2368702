"""What a stack around a tuning consists of, as plain values that the CDK, CloudFormation and Terraform share.

What only the deployment knows, such as the ARN of a role that it creates, is a stand-in, which each of them replaces
by a reference of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sm_tuning import jobs
from sm_tuning._errors import SpecError
from sm_tuning.aws import BUCKET_VARIABLE, Aws, find_bucket, is_role_arn
from sm_tuning.deploy._notify import ended, notice, notice_policy
from sm_tuning.deploy._policy import Place, Policy, Statement, document, log_delivery
from sm_tuning.deploy._states import STAND_IN, chosen
from sm_tuning.deploy._stepfunctions import MachineOptions, Spec, base_of, deliver, machine_of
from sm_tuning.jobs import OnProgress
from sm_tuning.request import stage
from sm_tuning.spec import Tuning, as_tuning

#: Stand-ins. Those that a request may hold have the form that the service's model asks for.
ROLE = "arn:aws:iam::123456789012:role/sm-tuning-stands-for-the-role"
BUCKET = "sm-tuning-stands-for-the-bucket"
FILES = "sm-tuning-stands-for-the-files"
ACCOUNT = "sm-tuning-stands-for-the-account"
PARTITION = "sm-tuning-stands-for-the-partition"
TOPIC = "sm-tuning-stands-for-the-topic"
TABLE = "sm-tuning-stands-for-the-table"

#: Days for which logs of the machines, and replaced versions of models, are kept.
LOG_DAYS, OLD_VERSION_DAYS = 90, 30

#: SNS's own key. Its policy lets every principal of the account use it through SNS that may publish.
TOPIC_KEY = "alias/aws/sns"

#: The checks of checkov that a kind of resource does not pass on purpose, with the reason.
SKIPS: Mapping[str, Mapping[str, str]] = {
    "bucket": {
        "CKV_AWS_18": "an access log needs a second bucket; give a bucket that logs, or use CloudTrail's data events",
        "CKV_AWS_144": "a copy in another region is for the owner to decide",
        "CKV_AWS_145": "S3 encrypts with its own keys; estimator.output_kms_key encrypts models with another",
        "CKV2_AWS_62": "nothing acts on single objects",
    },
    "log": {
        "CKV_AWS_158": "the log has errors without inputs and outputs, and CloudWatch encrypts it",
        "CKV_AWS_338": "errors of three months are enough",
    },
    "machine": {
        "CKV_AWS_284": "Step Functions keeps the history of each execution, which has few steps",
        "CKV_AWS_285": "inputs and outputs may be secret",
    },
    "table": {
        "CKV_AWS_28": "a record only prevents a second message, and expires",
        "CKV_AWS_119": "a record has a job's ARN and status, and DynamoDB encrypts it",
    },
}

_SCHEDULE = re.compile(
    r"rate\((1 (minute|hour|day)|([2-9]|[1-9]\d+) (minutes|hours|days))\)|cron\(\S+( \S+){5}\)", re.ASCII
)
_TOPIC = re.compile(r"arn:[a-z-]+:sns:[a-z0-9-]+:\d{12}:[\w-]{1,256}", re.ASCII)
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class StackOptions(MachineOptions):
    """What a stack has, in addition to what ``MachineOptions`` gives its state machine.

    Attributes:
        schedule: starts executions: ``rate(7 days)``, ``cron(0 6 ? * MON *)``; None for no schedule.
        notify: gets one message at the end of each tuning job: an email address, for which the stack has a topic of
            SNS, or the ARN of a topic.
        make_group: create the model package group as part of the stack; it is kept when the stack is deleted.

    Raises:
        SpecError: a value is invalid.
    """

    schedule: str | None = None
    notify: str | None = None
    make_group: bool = True

    def _problems(self) -> Iterator[str]:
        yield from super()._problems()
        if self.schedule is not None and not _SCHEDULE.fullmatch(self.schedule):
            yield (
                "schedule: must be like 'rate(7 days)', 'rate(1 day)' or 'cron(0 6 ? * MON *)' (six fields, of which "
                f"the days of the month or of the week are ?), but got {self.schedule!r}"
            )
        if self.notify is not None:
            yield from notify_problems(self.notify)

    @property
    def has_machine(self) -> bool:
        """Whether an option asks for a state machine, beside the tuning job itself."""
        asked = (self.threshold, self.model_package_group, self.schedule)
        return any(value is not None for value in asked) or self.integration != "auto"

    @property
    def group_to_make(self) -> str | None:
        """The name of the model package group that the stack creates."""
        name = self.model_package_group
        return None if name is None or name.startswith("arn:") or not self.make_group else name


def notify_problems(notify: str) -> Iterator[str]:
    """Yield what is wrong with an email address or the ARN of a topic."""
    if not notify.startswith("arn:") and not _EMAIL.fullmatch(notify):
        yield f"notify: must be an email address, or the ARN of an SNS topic, but got {notify!r}"
    elif notify.endswith(".fifo"):
        yield f"notify: a FIFO topic has no email subscriptions: give the ARN of a standard topic, not {notify!r}"
    elif notify.startswith("arn:") and not _TOPIC.fullmatch(notify):
        yield f"notify: must be the ARN of an SNS topic (arn:aws:sns:REGION:ACCOUNT:NAME), but got {notify!r}"


class Values(NamedTuple):
    """The values of a stack, with stand-ins.

    Attributes:
        request: of CreateHyperParameterTuningJob, named ``STAND_IN``.
        base: start of the jobs' names.
        options: what the stack has.
        place: where it is.
    """

    request: Mapping[str, Any]
    base: str
    options: MachineOptions
    place: Place

    def machine(self) -> dict[str, Any]:
        """Return the definition of the state machine."""
        place = self.place
        return machine_of(self.request, self.base, self.options, partition=place.partition, region=place.region)

    def machine_policy(self) -> list[Statement]:
        """Return the permissions of the state machine's role."""
        sync = chosen(self.request, self.options.integration) == "sync"
        group = self.options.model_package_group
        return [*Policy(self.request, self.place).machine(self.base, sync=sync, group=group), log_delivery()]

    def training_policy(self) -> list[Statement]:
        """Return the permissions of the role that trains.

        Raises:
            SpecError: they do not follow from the request, so that a role must be given.
        """
        return Policy(self.request, self.place).training()

    def pattern(self) -> dict[str, Any]:
        """Return the pattern of the events at the end of the machine's jobs."""
        return ended([{"prefix": f"{self.base}-"}])

    def notice(self) -> dict[str, Any]:
        """Return the definition of the machine that sends the message."""
        return notice(self.place.partition, table=TABLE, topic=TOPIC)

    def notice_policy(self) -> list[Statement]:
        """Return the permissions of that machine's role."""
        return [*notice_policy(self.place, table=TABLE, topic=TOPIC), log_delivery()]


def only_tls() -> dict[str, Any]:
    """Return the bucket's policy."""
    arn = f"arn:{PARTITION}:s3:::{BUCKET}"
    statement = {
        "Sid": "OnlyTLS",
        "Effect": "Deny",
        "Principal": {"AWS": "*"},
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return document([statement])


def replaced(value: Any, write: Callable[[str], Any]) -> Any:
    """Return a value whose strings have gone through a function, the keys of mappings excepted."""
    if isinstance(value, Mapping):
        return {key: replaced(item, write) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replaced(item, write) for item in value]
    return write(value) if isinstance(value, str) else value


def check_estimators(tuning: Tuning) -> None:
    """Refuse a role without its ARN: a stack is rendered without a call.

    Raises:
        SpecError: an estimator names a role.
    """
    for _, definition in tuning.definitions:
        role = definition.estimator.role
        if role is not None and not is_role_arn(role):
            raise SpecError(f"estimator.role: must be the ARN of a role in a stack, but got {role!r}")


class Draft(NamedTuple):
    """What a template is made of.

    Attributes:
        values: of the stack.
        options: what it has.
        makes_role: whether an estimator has no role.
        makes_bucket: whether an estimator has no output_path.
    """

    values: Values
    options: StackOptions
    makes_role: bool
    makes_bucket: bool


def draft(
    tuning: Spec,
    options: StackOptions,
    *,
    name: str | None,
    aws: Aws,
    upload: bool,
    on_progress: OnProgress | None,
) -> Draft:
    """Return the values of a tuning's stack. Without ``upload`` it makes no API call.

    Raises:
        SpecError: the tuning cannot be launched as it is, or an option does not fit it.
        ServiceError: AWS refused the upload, or could not be reached.
    """
    spec = as_tuning(tuning)
    base = base_of(spec, name)
    check_estimators(spec)
    estimators = [definition.estimator for _, definition in spec.definitions]
    role = next((estimator.role for estimator in estimators if estimator.role), None)
    given = next((estimator.output_path for estimator in estimators if estimator.output_path), None)
    # The account that uploads is known; elsewhere the template names the default bucket of the account it is used in.
    is_known = role is not None or upload or aws.environ.get(BUCKET_VARIABLE) is not None
    bucket = find_bucket(aws, role) if given is None and is_known else None
    files = bucket.name if bucket else f"sagemaker-{aws.region}-{ACCOUNT}"
    root = given.rstrip("/") if given else f"s3://{files}/sm-tuning"
    staged = stage(spec, code_prefix=f"{root}/code", data_prefix=f"{root}/data")
    planned = jobs.Plan(staged, ROLE, given or f"s3://{BUCKET}/output", bucket)
    values = Values(planned.request(STAND_IN, aws.region), base, options, Place(PARTITION, aws.region, ACCOUNT))
    made = Draft(
        values,
        options,
        makes_role=any(estimator.role is None for estimator in estimators),
        makes_bucket=given is None,
    )
    if made.makes_role:
        values.training_policy()  # it may be refused, which comes before the upload

    def say(message: str) -> None:
        if on_progress is not None:
            on_progress(message.replace(ACCOUNT, "ACCOUNT"))

    deliver(aws, planned, upload=upload, on_progress=say)
    return made
