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
from sm_tuning.deploy import _asl as asl
from sm_tuning.deploy._package import Package, Serving
from sm_tuning.deploy._register import _TOOLKIT_TYPES, _XGBOOST_TYPES, APPROVALS, Approval
from sm_tuning.deploy._states import Gate, Integration, chosen, machine, tune_state
from sm_tuning.jobs import OnProgress
from sm_tuning.request import base_name, inference_image
from sm_tuning.spec import Tuning, as_tuning

#: Most characters of the base of a job's name: the name has 32 [botocore model, HyperParameterTuningJobName].
MAX_BASE = 32 - asl.DIGITS - 1

_BASE = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_GROUP = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")

#: How many files are named that are not uploaded.
_SHOWN = 4

#: What a spec may be given as: a value, or a file.
Spec = Tuning | str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class MachineOptions:
    """What a state machine does with a tuning job, and how.

    Attributes:
        threshold: what the best objective must reach: at least this when it is maximized, at most when minimized.
            None judges nothing.
        model_package_group: where the best model is registered, by name or ARN; None registers nothing.
        approval: of the model package.
        image_uri: of the container that serves the model, where it does not follow from the one that trained it.
        integration: ``sync``, Step Functions' own SageMaker integration, which waits for events; ``sdk``, the AWS SDK
            integration, which takes every member of the API, and a loop that polls; ``auto`` takes the first when it
            can do the job.
        poll_seconds: between two looks at the job.

    Raises:
        SpecError: a value is none that the service takes.
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
    """The Task state that runs a tuning job and waits for its end, to be put into a machine of one's own.

    Its name differs in each execution: ``name``, a dash and twelve hexadecimal digits. It leaves that name in the
    variable ``$TuningJobName``, and its output is DescribeHyperParameterTuningJob's answer. It may stand in a machine
    written in JSONPath.

    Args:
        tuning: what to tune, or a spec file. Where local files will be in S3 follows from their content.
        name: what the names of the jobs start with; the spec's base_tuning_job_name, or its algorithm, when left out.
        aws: the connection; ``connect()`` when left out. Asked only for what the spec and the environment leave open.
        upload: puts scripts and data into S3 now.
        on_progress: called with a few words on what is uploaded, or still must be.
        next_state: that follows; the machine ends here when left out.
        on_failure: name of the state that errors go to, as ``Error`` and ``Cause``; the machine must have it.

    Raises:
        SpecError: the tuning cannot be launched as it is, or it needs a member that this integration does not take.
        ServiceError: AWS refused or could not be reached.
    """
    aws = aws or connect()
    planned, request, base = _prepared(tuning, name, aws)
    chosen(request, "sync")
    state = tune_state(
        request, base, partition=partition_of(request), sync=True, following=next_state, on_failure=on_failure
    )
    _deliver(aws, planned, upload=upload, say=on_progress or _silent)
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
    """A whole state machine: it tunes, waits, judges the best objective, and registers the best model.

    Args:
        tuning: what to tune, or a spec file. Where local files will be in S3 follows from their content.
        options: what is asked of the best model, and what becomes of it.
        name: what the names of the jobs start with; the spec's base_tuning_job_name, or its algorithm, when left out.
        aws: the connection; ``connect()`` when left out. Asked only for what the spec and the environment leave open.
        upload: puts scripts and data into S3 now.
        on_progress: called with a few words on what is uploaded, or still must be.

    Raises:
        SpecError: the tuning cannot be launched as it is, or an option does not fit it.
        ServiceError: AWS refused or could not be reached.
    """
    aws = aws or connect()
    planned, request, base = _prepared(tuning, name, aws)
    made = machine_of(request, base, options, partition=partition_of(request), region=aws.region)
    _deliver(aws, planned, upload=upload, say=on_progress or _silent)
    return made


def machine_of(
    request: Mapping[str, Any], base: str, options: MachineOptions, *, partition: str, region: str
) -> dict[str, Any]:
    """The machine of a request that is named ``STAND_IN``.

    Raises:
        SpecError: an option does not fit the request.
    """
    return machine(
        request,
        base,
        partition=partition,
        sync=chosen(request, options.integration) == "sync",
        gate=_gate(request, options.threshold),
        package=_package(request, options, region),
        poll_seconds=options.poll_seconds,
    )


def base_of(tuning: Tuning, name: str | None) -> str:
    """What the names of a tuning's jobs start with.

    Raises:
        SpecError: a given name does not leave room for what tells executions apart.
    """
    if name is None:
        cleaned = re.sub(r"[^a-zA-Z0-9]+", "-", base_name(tuning)).strip("-")
        return cleaned[:MAX_BASE].strip("-") or "tuning"
    if len(name) > MAX_BASE or not _BASE.fullmatch(name):
        raise SpecError(
            f"the base of a job's name has at most {MAX_BASE} letters, digits and inner dashes, since each execution "
            f"adds {asl.DIGITS} digits to it, but got {name!r}"
        )
    return name


def partition_of(request: Mapping[str, Any]) -> str:
    """The partition of AWS that a request's role belongs to: ``aws``, ``aws-cn``, ``aws-us-gov``."""
    return str(definitions_of(request)[0]["RoleArn"]).split(":")[1]


def definitions_of(request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The training job definitions of a request, of which there is one or several."""
    return list(request.get("TrainingJobDefinitions") or [request["TrainingJobDefinition"]])


def _prepared(tuning: Spec, name: str | None, aws: Aws) -> tuple[jobs.Plan, dict[str, Any], str]:
    """What the job needs, its request, named ``STAND_IN``, and the base of its real name."""
    read = as_tuning(tuning)
    base = base_of(read, name)
    planned = jobs.plan(aws, read)
    return planned, planned.request(asl.STAND_IN, aws.region), base


def _deliver(aws: Aws, planned: jobs.Plan, *, upload: bool, say: OnProgress) -> None:
    """Upload what executions need, or say that they need it."""
    uris = [one.uri for one in planned.staged.uploads]
    if upload:
        jobs.send(aws, planned, say)
    elif uris:
        more = f" and {len(uris) - _SHOWN} more" if len(uris) > _SHOWN else ""
        say(f"executions need what is not uploaded yet (--upload does it): {', '.join(uris[:_SHOWN])}{more}")


def _silent(words: str) -> None:
    """Say nothing: the definition is the answer."""
    del words


def _gate(request: Mapping[str, Any], threshold: float | None) -> Gate | None:
    if threshold is None:
        return None
    config = request["HyperParameterTuningJobConfig"]
    only = config.get("HyperParameterTuningJobObjective")
    objectives = [only] if only else [one["TuningObjective"] for one in definitions_of(request)]
    if len({one["Type"] for one in objectives}) > 1:
        raise SpecError(
            "threshold: some of the estimators minimize and some maximize, so that no one number judges them"
        )
    names = list(dict.fromkeys(one["MetricName"] for one in objectives))
    return Gate(" or ".join(names), objectives[0]["Type"] == "Maximize", float(threshold))


def _package(request: Mapping[str, Any], options: MachineOptions, region: str) -> Package | None:
    if options.model_package_group is None:
        return None
    serving = dict(_serving(one, options.image_uri, region) for one in definitions_of(request))
    return Package(options.model_package_group, options.approval, serving, tuple(_hidden(request)))


def _serving(definition: Mapping[str, Any], given: str | None, region: str) -> tuple[str, Serving]:
    """A training image and the container that serves its models."""
    trained = definition["AlgorithmSpecification"].get("TrainingImage")
    if given is None and trained is None:
        name = definition["AlgorithmSpecification"].get("AlgorithmName")
        raise SpecError(f"the algorithm {name!r} does not say which image serves its models: give image_uri")
    kind = definition.get("ResourceConfig", {}).get("InstanceType") or "ml.m5.large"
    image = given or inference_image(trained, region=region, instance_type=kind)
    return trained or "", Serving(
        image, _XGBOOST_TYPES if "xgboost" in image else _TOOLKIT_TYPES, ("text/csv", "application/json")
    )


def _hidden(request: Mapping[str, Any]) -> Iterator[str]:
    """Hyperparameters that look like secrets: static ones by name and value, tuned ones by name and kind."""
    for definition in definitions_of(request):
        static = definition.get("StaticHyperParameters", {})
        yield from (name for name, value in static.items() if is_secret(name, value.strip('"')))
        ranges = definition.get("HyperParameterRanges") or request["HyperParameterTuningJobConfig"]["ParameterRanges"]
        categories = ranges.get("CategoricalParameterRanges", ())
        yield from (
            one["Name"] for one in categories if any(is_secret(one["Name"], v.strip('"')) for v in one["Values"])
        )
