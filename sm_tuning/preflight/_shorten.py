"""From a spec to one short trial of it on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sm_tuning.preflight._advice import LENGTH_NAMES, static_lengths
from sm_tuning.preflight._cost import fleets_of
from sm_tuning.preflight._finding import Finding, place
from sm_tuning.spec import AnyEstimator, ContainerEstimator, Input, IntegerParameter, TrainingDefinition, Tuning

#: Hosts of a trial on this machine, for scripts that need several.
_HOSTS = 2


def obstacles(key: str | None, definition: TrainingDefinition, inputs: Mapping[str, str]) -> Iterator[Finding]:
    """Why an algorithm cannot be tried on this machine."""
    estimator = definition.estimator
    if isinstance(estimator, ContainerEstimator) and not estimator.is_script_mode:
        message = "an image or algorithm of its own runs on AWS only"
        yield Finding("smoke-container", "not-checked", place(key, "estimator"), message, "try it on AWS")
    if (estimator.source_dir or "").startswith("s3://"):
        message = f"the script is in S3 only, at {estimator.source_dir}"
        yield Finding("smoke-source", "not-checked", place(key, "estimator.source_dir"), message, "give a local folder")
    for name, channel in (definition.inputs or {}).items():
        if name not in inputs and not (isinstance(channel, Input) and not channel.is_remote):
            where = place(key, f"inputs.{name}")
            message = "the data is not on this machine"
            fix = f"give a small local copy: --smoke-input {name}=PATH"
            yield Finding("smoke-input", "not-checked", where, message, fix)


def lengths(definition: TrainingDefinition) -> dict[str, float]:
    """The hyperparameters that say how long a training lasts, static or tuned, with their present values."""
    tuned = [name for name in LENGTH_NAMES if name in definition.hyperparameter_ranges]
    return {**static_lengths(definition.estimator.hyperparameters), **dict.fromkeys(tuned, float("inf"))}


def shortened(
    tuning: Tuning,
    definition: TrainingDefinition,
    *,
    epochs: int,
    inputs: Mapping[str, str],
    checkpoints: str,
) -> Tuning:
    """A tuning job of one short trial.

    Args:
        tuning: the whole.
        definition: the algorithm to try.
        epochs: what hyperparameters such as epochs and num_round are lowered to.
        inputs: channel -> local path, in place of data that is elsewhere.
        checkpoints: ``s3://`` prefix, in place of the spec's own.

    Raises:
        SpecError: what remains breaks a rule.
    """
    short = {name: min(int(value), epochs) if value < float("inf") else epochs for name, value in _items(definition)}
    ranges = {name: one for name, one in definition.hyperparameter_ranges.items() if name not in short}
    auto = {name: hint for name, hint in definition.auto_parameters.items() if name not in short}
    static = {**definition.estimator.hyperparameters, **short}
    if not ranges and not auto:  # a tuning job needs something to tune
        name = next(iter(definition.hyperparameter_ranges))
        ranges = {name: IntegerParameter(max(1, epochs - 1), max(2, epochs))}
        static.pop(name)
    channels = {name: _channel(name, one, inputs) for name, one in (definition.inputs or {}).items()}
    return Tuning(
        estimator=_estimator(definition.estimator, static, checkpoints),
        inputs=channels,
        objective_metric_name=definition.objective_metric_name,
        objective_type=definition.objective_type,
        hyperparameter_ranges=ranges,
        auto_parameters=auto,
        autotune=tuning.autotune and bool(auto),
        strategy="Random",
        max_jobs=1,
        random_seed=tuning.random_seed or 0,
    )


def _items(definition: TrainingDefinition) -> Iterator[tuple[str, float]]:
    yield from lengths(definition).items()


def _channel(name: str, channel: Any, inputs: Mapping[str, str]) -> Any:
    if name not in inputs:
        return channel
    path = str(Path(inputs[name]).expanduser().absolute())
    return channel.replace(uri=path) if isinstance(channel, Input) else path


def _estimator(estimator: AnyEstimator, static: Mapping[str, Any], checkpoints: str) -> AnyEstimator:
    """The estimator without what belongs to the cloud: network, keys, places, spot instances, big fleets."""
    ((kind, count),) = list(fleets_of(estimator)[0].items())[:1]
    without: dict[str, Any] = dict.fromkeys(
        (
            "instance_configs",
            "allocation_strategy",
            "resource_config",
            "max_wait",
            "max_pending",
            "max_retry_attempts",
            "output_kms_key",
            "volume_kms_key",
            "role",
            "output_path",
            "code_location",
            "subnets",
            "security_group_ids",
            "tags",
        )
    )
    defaults = {name: type(estimator).model_fields[name].get_default() for name in without}
    return estimator.replace(
        **defaults,
        hyperparameters=static,
        instance_type=kind,
        instance_count=min(count, _HOSTS),
        volume_size=30,
        use_spot_instances=False,
        checkpoint_s3_uri=checkpoints if estimator.checkpoint_s3_uri else None,
    )
