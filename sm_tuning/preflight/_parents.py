"""Warm start: whether the parents fit, and finished jobs that could be parents.

The rules are those of the Developer Guide, automatic-model-tuning-warm-start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from sm_tuning._errors import JobNotFoundError, SpecError
from sm_tuning._statuses import TuningStatus
from sm_tuning.aws import Aws
from sm_tuning.description import job_of
from sm_tuning.preflight._finding import Finding
from sm_tuning.preflight._rules import DEFAULT_JOBS, MAX_JOBS, hyperparameter_names
from sm_tuning.request import base_name, from_description
from sm_tuning.spec import Input, TrainingDefinition, Tuning

_WHERE = "warm_start.parents"

#: What was tuned and is static now counts 2, and so does a static value that has changed, as in the page's example.
_CHANGE, _MAX_CHANGES = 2, 10
_FIRST = datetime(2018, 10, 1, tzinfo=UTC)

#: Newest jobs that are compared; each costs a call.
_COMPARED = 5

#: Longest part of a name that a list can be filtered by [botocore model, NameContains].
_LONGEST = 63


def parent_problems(aws: Aws, tuning: Tuning) -> Iterator[Finding]:
    """Compare a tuning with each parent of its warm start.

    Raises:
        ServiceError: if SageMaker refuses a call.
    """
    inherited = 0
    for name in tuning.warm_start.parents if tuning.warm_start else ():
        try:
            parent = aws.call("sagemaker", "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName=name)
        except JobNotFoundError:
            message = f"there is no tuning job {name!r} in this account and region"
            yield Finding("warm-start-missing", "error", _WHERE, message, "name a finished tuning job")
            continue
        inherited += job_of(parent).counts.launched
        yield from _one_parent(aws, tuning, name, parent)
    most = MAX_JOBS.get(tuning.strategy, DEFAULT_JOBS)
    if inherited + (tuning.max_jobs or 0) > most:
        message = f"the parents' {inherited} training jobs count too, and with {tuning.max_jobs} more exceed {most}"
        yield Finding("warm-start-jobs", "error", "max_jobs", message, "lower max_jobs, or name fewer parents")


def _one_parent(aws: Aws, tuning: Tuning, name: str, description: Mapping[str, Any]) -> Iterator[Finding]:
    job = job_of(description)
    if not job.ended:
        message = f"parents must have ended, but {name!r} is {job.status}"
        yield Finding("warm-start-running", "error", _WHERE, message, "wait for it or stop it")
    if job.created < _FIRST:
        message = f"{name!r} was created before October 2018, and cannot be a parent"
        yield Finding("warm-start-old", "error", _WHERE, message, "name a newer tuning job")
    try:
        old = from_description(description, region=aws.region)
    except SpecError as error:
        message = f"{name!r} has settings that a spec cannot hold: {error}"
        yield Finding("warm-start-parents", "not-checked", _WHERE, message, "compare it by hand")
        return
    if old.estimator is None or tuning.estimator is None:
        message = f"{name!r} has several algorithms, and warm start is for one"
        yield Finding("several-warm-start", "error", _WHERE, message, "name a parent with a single algorithm")
        return
    yield from compare(tuning, old, name)


def compare(tuning: Tuning, old: Tuning, parent: str) -> Iterator[Finding]:
    """Yield the rules that a child and its parent break together.

    Args:
        tuning: the child, of a single algorithm.
        old: the parent, read as a spec.
        parent: its name.
    """
    new_one, old_one = tuning.definitions[0][1], old.definitions[0][1]
    objectives = [(one.objective_type, str(one.objective_metric_name)) for one in (old_one, new_one)]
    if objectives[0] != objectives[1]:
        wanted, given = (" ".join(map(str, objective)) for objective in objectives)
        message = f"the objective must be that of {parent!r}, {wanted}, but it is {given}"
        yield Finding("warm-start-objective", "error", "objective_metric_name", message, "optimise the same metric")
    yield from _hyperparameters(new_one, old_one, parent)
    # Members that the service does not let a child change [aws/sagemaker-python-sdk#3693].
    for field in ("environment", "enable_network_isolation", "encrypt_inter_container_traffic", "max_retry_attempts"):
        if getattr(new_one.estimator, field) != getattr(old_one.estimator, field):
            message = f"a warm start may not change it, but it differs from that of {parent!r}"
            yield Finding("warm-start-fixed", "error", f"estimator.{field}", message, "keep it as it was")
    if tuning.warm_start is not None and tuning.warm_start.warm_start_type == "IdenticalDataAndAlgorithm":
        yield from _image_and_data(new_one, old_one, parent)


def _hyperparameters(new: TrainingDefinition, old: TrainingDefinition, parent: str) -> Iterator[Finding]:
    """A hyperparameter may move between static and tuned, but none may come or go, and few may change."""
    names, old_names = hyperparameter_names(new), hyperparameter_names(old)
    if names != old_names:
        lists = {"missing": old_names - names, "too many": names - old_names}
        text = "; ".join(f"{word} {', '.join(sorted(found))}" for word, found in lists.items() if found)
        message = f"static and tuned hyperparameters together must be those of {parent!r}: {text}"
        yield Finding("warm-start-names", "error", "hyperparameter_ranges", message, "use the same set of names")
    for key in sorted(new.hyperparameter_ranges.keys() & old.hyperparameter_ranges.keys()):
        kind, before = new.hyperparameter_ranges[key].type, old.hyperparameter_ranges[key].type
        if kind != before:
            message = f"the type of a hyperparameter must stay, but it is {kind}, and {before} in {parent!r}"
            yield Finding("warm-start-type", "error", f"hyperparameter_ranges.{key}", message, f"make it {before}")
    static = {key: value for key, value in new.estimator.hyperparameters.items() if key in old_names}
    changes = _CHANGE * sum(old.estimator.hyperparameters.get(key) != value for key, value in static.items())
    if changes > _MAX_CHANGES:
        message = (
            f"hyperparameters that were tuned and are static now, or have another static value, count {_CHANGE} each, "
            f"and {_MAX_CHANGES} at most in all, but compared with {parent!r} they are {changes}"
        )
        yield Finding("warm-start-changes", "error", "estimator.hyperparameters", message, "keep more as they were")


def _image_and_data(new: TrainingDefinition, old: TrainingDefinition, parent: str) -> Iterator[Finding]:
    fix = "use warm_start_type TransferLearning"
    fields = ("image_uri", "version", "framework_version")
    if any(getattr(new.estimator, field, None) != getattr(old.estimator, field, None) for field in fields):
        message = f"IdenticalDataAndAlgorithm needs the image of {parent!r}"
        yield Finding("warm-start-image", "error", "estimator", message, fix)
    inputs, before = dict(new.inputs or {}), dict(old.inputs or {})
    if set(inputs) != set(before):
        message = f"IdenticalDataAndAlgorithm needs the channels of {parent!r}: {', '.join(before)}"
        yield Finding("warm-start-data", "error", "inputs", message, fix)
        return
    for key, channel in inputs.items():
        was = before[key]
        if isinstance(channel, Input) and isinstance(was, Input) and channel.is_remote and channel.uri != was.uri:
            message = f"IdenticalDataAndAlgorithm needs the data of {parent!r}, {was.uri}, but it is {channel.uri}"
            yield Finding("warm-start-data", "error", f"inputs.{key}", message, fix)


def relatives(aws: Aws, tuning: Tuning) -> Iterator[Finding]:
    """Yield a completed job of the same name and objective that tuned the same hyperparameters: a parent for free.

    Raises:
        ServiceError: if SageMaker refuses a call.
    """
    if tuning.estimator is None or tuning.strategy not in ("Bayesian", "Random"):
        return
    answer = aws.call(
        "sagemaker",
        "list_hyper_parameter_tuning_jobs",
        NameContains=base_name(tuning)[:_LONGEST],
        StatusEquals=TuningStatus.COMPLETED,
        SortBy="CreationTime",
        SortOrder="Descending",
        MaxResults=_COMPARED,
    )
    for summary in answer["HyperParameterTuningJobSummaries"]:
        name = summary["HyperParameterTuningJobName"]
        job = job_of(aws.call("sagemaker", "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName=name))
        same = job.definitions[0]
        objective = (same.objective, same.direction) == (tuning.objective_metric_name, tuning.objective_type)
        if job.several or not objective or {entry.name for entry in same.ranges} != set(tuning.hyperparameter_ranges):
            continue
        message = f"{name!r} has tuned the same hyperparameters for the same objective"
        fix = f"learn from it: warm_start.parents: [{name}], or launch with --warm-start {name}"
        yield Finding("warm-start-available", "advice", "warm_start", message, fix)
        return
