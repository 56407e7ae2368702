"""Whether the parents of a warm start have ended and fit [Developer Guide, automatic-model-tuning-warm-start]."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from sm_tuning._errors import JobNotFoundError, SpecError
from sm_tuning._statuses import TuningStatus
from sm_tuning.aws import Aws
from sm_tuning.preflight._finding import Finding
from sm_tuning.preflight._quotas import DEFAULT_JOBS, MAX_JOBS
from sm_tuning.request import from_description
from sm_tuning.spec import Input, TrainingDefinition, Tuning

_ENDED = (TuningStatus.COMPLETED, TuningStatus.STOPPED, TuningStatus.FAILED)
_WHERE = "warm_start.parents"

#: What was tuned and is static now counts 2, and so does a static value that has changed, as in the page's example.
_CHANGE, MAX_CHANGES = 2, 10
_FIRST = datetime(2018, 10, 1, tzinfo=UTC)


def parent_problems(aws: Aws, tuning: Tuning) -> Iterator[Finding]:
    """Compare a tuning with each parent of its warm start.

    Raises:
        ServiceError: SageMaker did not say.
    """
    inherited = 0
    for name in tuning.warm_start.parents if tuning.warm_start else ():
        try:
            parent = aws.call("sagemaker", "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName=name)
        except JobNotFoundError:
            message = f"there is no tuning job {name!r} in this account and region"
            yield Finding("warm-start-missing", "error", _WHERE, message, "name a finished tuning job")
            continue
        inherited += sum(parent.get("TrainingJobStatusCounters", {}).values())
        yield from _one_parent(aws, tuning, name, parent)
    most = MAX_JOBS.get(tuning.strategy, DEFAULT_JOBS)
    if inherited + (tuning.max_jobs or 0) > most:
        message = f"the parents' {inherited} training jobs count too, and with {tuning.max_jobs} more exceed {most}"
        yield Finding("warm-start-jobs", "error", "max_jobs", message, "lower max_jobs, or name fewer parents")


def _one_parent(aws: Aws, tuning: Tuning, name: str, parent: Mapping[str, Any]) -> Iterator[Finding]:
    status = parent["HyperParameterTuningJobStatus"]
    if status not in _ENDED:
        message = f"parents must have ended, but {name!r} is {status}"
        yield Finding("warm-start-running", "error", _WHERE, message, "wait for it or stop it")
    if parent["CreationTime"] < _FIRST:
        message = f"{name!r} was created before October 2018, and cannot be a parent"
        yield Finding("warm-start-old", "error", _WHERE, message, "name a newer tuning job")
    try:
        old = from_description(parent, region=aws.region)
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
    """The rules that a child and its parent must obey together.

    Args:
        tuning: the child, of a single algorithm.
        old: the parent, read back as a spec.
        parent: its name.
    """
    new_one, old_one = tuning.definitions[0][1], old.definitions[0][1]
    new_objective = (new_one.objective_type, new_one.objective_metric_name)
    old_objective = (old_one.objective_type, old_one.objective_metric_name)
    if new_objective != old_objective:
        message = f"the objective must be that of {parent!r}, {' '.join(map(str, old_objective))}, but it is "
        message += " ".join(map(str, new_objective))
        yield Finding("warm-start-objective", "error", "objective_metric_name", message, "optimise the same metric")
    new_names, old_names = _names(new_one), _names(old_one)
    if new_names != old_names:
        message = (
            f"static and tuned hyperparameters together must be those of {parent!r}: "
            f"{_listed('missing', old_names - new_names)}{_listed('too many', new_names - old_names)}"
        ).rstrip("; ")
        yield Finding("warm-start-names", "error", "hyperparameter_ranges", message, "use the same set of names")
    yield from _kinds(new_one, old_one, parent)
    changes = _CHANGE * sum(
        old_one.estimator.hyperparameters.get(key) != value
        for key, value in new_one.estimator.hyperparameters.items()
        if key in old_names
    )
    if changes > MAX_CHANGES:
        message = (
            f"hyperparameters that were tuned and are static now, or have another static value, count {_CHANGE} each, "
            f"and {MAX_CHANGES} at most in all, but compared with {parent!r} they are {changes}"
        )
        yield Finding("warm-start-changes", "error", "estimator.hyperparameters", message, "keep more as they were")
    yield from _fields(new_one, old_one, parent)
    if tuning.warm_start is not None and tuning.warm_start.warm_start_type == "IdenticalDataAndAlgorithm":
        yield from _data(new_one, old_one, parent)


def _kinds(new: TrainingDefinition, old: TrainingDefinition, parent: str) -> Iterator[Finding]:
    for key in sorted(new.hyperparameter_ranges.keys() & old.hyperparameter_ranges.keys()):
        kind, before = new.hyperparameter_ranges[key].type, old.hyperparameter_ranges[key].type
        if kind != before:
            message = f"the type of a hyperparameter must stay, but it is {kind}, and {before} in {parent!r}"
            yield Finding("warm-start-type", "error", f"hyperparameter_ranges.{key}", message, f"make it {before}")


def _fields(new: TrainingDefinition, old: TrainingDefinition, parent: str) -> Iterator[Finding]:
    """Members that the service does not let a child change [aws/sagemaker-python-sdk#3693]."""
    for field in (
        "environment",
        "enable_network_isolation",
        "encrypt_inter_container_traffic",
        "max_retry_attempts",
    ):
        if getattr(new.estimator, field) != getattr(old.estimator, field):
            message = f"a warm start may not change it, but it differs from that of {parent!r}"
            yield Finding("warm-start-fixed", "error", f"estimator.{field}", message, "keep it as it was")


def _data(new: TrainingDefinition, old: TrainingDefinition, parent: str) -> Iterator[Finding]:
    fix = "use warm_start_type TransferLearning"
    images = [
        tuple(getattr(one.estimator, field, None) for field in ("image_uri", "version", "framework_version"))
        for one in (new, old)
    ]
    if images[0] != images[1]:
        message = f"IdenticalDataAndAlgorithm needs the image of {parent!r}"
        yield Finding("warm-start-image", "error", "estimator", message, fix)
    if set(new.inputs or {}) != set(old.inputs or {}):
        message = f"IdenticalDataAndAlgorithm needs the channels of {parent!r}: {', '.join(old.inputs or {})}"
        yield Finding("warm-start-data", "error", "inputs", message, fix)
        return
    for key, channel in (new.inputs or {}).items():
        before = dict(old.inputs or {}).get(key)
        if isinstance(channel, Input) and isinstance(before, Input) and channel.is_remote and channel.uri != before.uri:
            message = f"IdenticalDataAndAlgorithm needs the data of {parent!r}, {before.uri}, but it is {channel.uri}"
            yield Finding("warm-start-data", "error", f"inputs.{key}", message, fix)


def _names(definition: TrainingDefinition) -> set[str]:
    return {
        *definition.estimator.hyperparameters,
        *definition.hyperparameter_ranges,
        *definition.auto_parameters,
    }


def _listed(word: str, names: set[str]) -> str:
    return f"{word} {', '.join(sorted(names))}; " if names else ""
