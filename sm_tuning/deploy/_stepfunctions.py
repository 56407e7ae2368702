"""A tuning for AWS Step Functions: one Task state, or a whole machine with a gate and a registration."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from sm_tuning import jobs
from sm_tuning._errors import SpecError
from sm_tuning._masking import is_secret
from sm_tuning.aws import Aws, connect
from sm_tuning.deploy._model import content_types, serving_image
from sm_tuning.deploy._policy import definitions_of
from sm_tuning.deploy._register import APPROVALS, Approval
from sm_tuning.deploy._states import DIGITS, STAND_IN, Gate, Integration, Package, Serving, States, chosen
from sm_tuning.description import job_of
from sm_tuning.jobs import OnProgress
from sm_tuning.request import base_name
from sm_tuning.spec import Tuning, as_tuning

#: Most characters of the base of a job's name: the name has 32 [botocore model, HyperParameterTuningJobName].
_MAX_BASE = 32 - DIGITS - 1

_BASE = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_GROUP = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")

#: Number of files that are named if they are not uploaded.
_SHOWN = 4

#: A spec: a value, or the path of a file.
Spec = Tuning | str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class MachineOptions:
    """What a state machine does with a tuning job.

    Attributes:
        threshold: of the best objective: a minimum if it is maximized, a maximum if it is minimized; None for no gate.
        model_package_group: where the best model is registered, by name or ARN; None registers nothing.
        approval: of the model package.
        image_uri: the serving container's image, if it does not follow from the training image.
        integration: ``sync``, Step Functions' own SageMaker integration, which waits for events; ``sdk``, the AWS SDK
            integration, which accepts every member of the API, with a loop that polls; ``auto`` takes the first if
            it accepts the request.
        poll_seconds: between two polls of the job.

    Raises:
        SpecError: a value is invalid.
    """

    threshold: float | None = None
    model_package_group: str | None = None
    approval: Approval = "PendingManualApproval"
    image_uri: str | None = None
    integration: Integration = "auto"
    poll_seconds: int = 60

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise SpecError(problems)

    def _problems(self) -> Iterator[str]:
        for name, known in (("approval", APPROVALS), ("integration", get_args(Integration))):
            if getattr(self, name) not in known:
                yield f"{name}: must be one of {', '.join(known)}, but got {getattr(self, name)!r}"
        threshold = self.threshold
        if threshold is not None and not -1e308 < threshold < 1e308:
            yield f"threshold: must be a finite number, but got {threshold!r}"
        group = self.model_package_group
        if group is not None and not (group.startswith("arn:") or _GROUP.fullmatch(group)):
            yield (
                "model_package_group: must be an ARN, or a name of up to 63 letters, digits and single dashes, "
                f"but got {group!r}"
            )
        if not 1 <= self.poll_seconds <= 99_999_999:
            yield f"poll_seconds: must be between 1 and 99999999, but got {self.poll_seconds!r}"


def stepfunctions_state(
    tuning: Spec,
    *,
    name: str | None = None,
    aws: Aws | None = None,
    upload: bool = False,
    on_progress: OnProgress | None = None,
    next_state: str | None = None,
    on_failure: str = "Failed",  # not a status: the name of a state
) -> dict[str, Any]:
    """Return the Task state that runs a tuning job and waits for its end, for a machine of your own.

    The job's name differs in each execution: ``name``, a dash and twelve hexadecimal digits. The state assigns it to
    the variable ``$TuningJobName``; its output is the response of DescribeHyperParameterTuningJob. The machine may be
    written in JSONPath.

    Args:
        tuning: what to tune, or a spec file. The S3 URIs of local files follow from their content.
        name: start of the jobs' names; by default the spec's base_tuning_job_name, or its algorithm.
        aws: the connection; ``connect()`` by default. It is called only for what spec and environment leave open.
        upload: upload scripts and data to S3 now.
        on_progress: called with a message on what is uploaded, or must be.
        next_state: name of the next state; by default the machine ends here.
        on_failure: name of the state that errors go to, as ``Error`` and ``Cause``; the machine must have it.

    Raises:
        SpecError: the tuning cannot be launched as it is, or has a member that this integration does not accept.
        ServiceError: AWS refused or could not be reached.
    """
    aws = aws or connect()
    planned, request, base = _prepared(tuning, name, aws)
    # A single state cannot poll.
    chosen(request, "sync")
    states = States(request, base, partition=partition_of(request), sync=True)
    state = states.tune(following=next_state, on_failure=on_failure)
    deliver(aws, planned, upload=upload, on_progress=on_progress)
    return state


def stepfunctions_machine(
    tuning: Spec,
    options: MachineOptions = MachineOptions(),
    *,
    name: str | None = None,
    aws: Aws | None = None,
    upload: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Return a whole state machine: it tunes, waits, judges the best objective, and registers the best model.

    Args:
        tuning: what to tune, or a spec file. The S3 URIs of local files follow from their content.
        options: requirements on the best model, and where to register it.
        name: start of the jobs' names; by default the spec's base_tuning_job_name, or its algorithm.
        aws: the connection; ``connect()`` by default. It is called only for what spec and environment leave open.
        upload: upload scripts and data to S3 now.
        on_progress: called with a message on what is uploaded, or must be.

    Raises:
        SpecError: the tuning cannot be launched as it is, or an option does not fit it.
        ServiceError: AWS refused or could not be reached.
    """
    aws = aws or connect()
    planned, request, base = _prepared(tuning, name, aws)
    definition = machine_of(request, base, options, partition=partition_of(request), region=aws.region)
    deliver(aws, planned, upload=upload, on_progress=on_progress)
    return definition


def machine_of(
    request: Mapping[str, Any], base: str, options: MachineOptions, *, partition: str, region: str
) -> dict[str, Any]:
    """Return the machine of a request that is named ``STAND_IN``.

    Raises:
        SpecError: an option does not fit the request.
    """
    states = States(request, base, partition=partition, sync=chosen(request, options.integration) == "sync")
    gate, package = _gate(request, options.threshold), _package(request, options, region)
    return states.machine(gate=gate, package=package, poll=options.poll_seconds)


def base_of(tuning: Tuning, name: str | None) -> str:
    """Return the start of the names of a tuning's jobs.

    Raises:
        SpecError: the given name leaves no room for the digits of an execution.
    """
    if name is None:
        cleaned = re.sub(r"[^a-zA-Z0-9]+", "-", base_name(tuning)).strip("-")
        return cleaned[:_MAX_BASE].strip("-") or "tuning"
    if len(name) > _MAX_BASE or not _BASE.fullmatch(name):
        raise SpecError(
            f"the base of a job's name has at most {_MAX_BASE} letters, digits and inner dashes, since each execution "
            f"adds {DIGITS} digits to it, but got {name!r}"
        )
    return name


def partition_of(request: Mapping[str, Any]) -> str:
    """Return the AWS partition of a request's role: ``aws``, ``aws-cn``, ``aws-us-gov``."""
    return str(definitions_of(request)[0]["RoleArn"]).split(":")[1]


def _prepared(tuning: Spec, name: str | None, aws: Aws) -> tuple[jobs.Plan, dict[str, Any], str]:
    """Return the plan of the job, its request, named ``STAND_IN``, and the base of its name."""
    spec = as_tuning(tuning)
    base = base_of(spec, name)
    planned = jobs.plan(aws, spec)
    return planned, planned.request(STAND_IN, aws.region), base


def deliver(aws: Aws, planned: jobs.Plan, *, upload: bool, on_progress: OnProgress | None) -> None:
    """Upload the files that executions need, or report that they must be uploaded."""

    def say(message: str) -> None:
        if on_progress is not None:
            on_progress(message)

    uris = [staged.uri for staged in planned.staged.uploads]
    if upload:
        jobs.send(aws, planned, say)
    elif uris:
        more = f" and {len(uris) - _SHOWN} more" if len(uris) > _SHOWN else ""
        say(f"executions need files that are not uploaded yet (--upload does it): {', '.join(uris[:_SHOWN])}{more}")


def _gate(request: Mapping[str, Any], threshold: float | None) -> Gate | None:
    if threshold is None:
        return None
    definitions = job_of(request).definitions
    if len({definition.direction for definition in definitions}) > 1:
        raise SpecError("threshold: some of the estimators minimize and some maximize, so one number cannot judge them")
    # The gate judges the best trial of all definitions, whose objective may have any of these names.
    names = dict.fromkeys(definition.objective for definition in definitions)
    return Gate(" or ".join(names), definitions[0].maximize, float(threshold))


def _package(request: Mapping[str, Any], options: MachineOptions, region: str) -> Package | None:
    if options.model_package_group is None:
        return None
    serving: dict[str, Serving] = {}
    for definition in definitions_of(request):
        image = options.image_uri or serving_image(definition, region=region)
        trained = definition["AlgorithmSpecification"].get("TrainingImage", "")
        serving[trained] = Serving(image, *content_types(image))
    return Package(options.model_package_group, options.approval, serving, tuple(_hidden(request)))


def _hidden(request: Mapping[str, Any]) -> Iterator[str]:
    """Yield the hyperparameters that look like secrets, static or categorical, by their names and values."""
    for definition in job_of(request).definitions:
        texts: dict[str, tuple[str, ...]] = {name: (text,) for name, text in definition.static.items()}
        texts |= {entry.name: entry.texts for entry in definition.ranges if entry.kind == "Categorical"}
        for name, candidates in texts.items():
            if any(is_secret(name, text.strip('"')) for text in candidates):
                yield name
