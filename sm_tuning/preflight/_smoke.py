"""One shortened trial of a spec on a SageMaker that costs nothing, and what it proves.

The caller brings the connection to the SageMaker on this machine. The trial has the same script, container contract,
data and request as the job, but few epochs, and this machine's storage.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from sm_tuning._errors import InvalidRequestError, SpecError
from sm_tuning._masking import Redactor, secrets_in
from sm_tuning.aws import Aws, ensure_bucket, find_bucket, find_role
from sm_tuning.preflight._check import settled
from sm_tuning.preflight._finding import Finding, findings_of, in_order, place
from sm_tuning.preflight._rules import fleets_of
from sm_tuning.preflight._trial import Judge, Runner, training_length
from sm_tuning.request import write_ranges
from sm_tuning.spec import (
    AnyEstimator,
    ContainerEstimator,
    Input,
    IntegerParameter,
    PopulationConfig,
    TrainingDefinition,
    Tuning,
    to_data,
)
from sm_tuning.strategies import Population, space_of

#: Seconds that a trial may take, and the epochs or rounds that it trains.
TIMEOUT, EPOCHS = 600.0, 2

#: Hosts of a trial on this machine, for scripts that need several.
_HOSTS = 2

#: Fields of an estimator that have no meaning on this machine: network, keys, places in S3, and quotas.
_REMOTE_ONLY = (
    "instance_configs",
    "instance_preferences",
    "training_plan",
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


class SmokeOptions(NamedTuple):
    """How a smoke test is shortened.

    Attributes:
        epochs: static hyperparameters such as epochs and num_round are lowered to this.
        inputs: channel -> local path, in place of data that is only in S3.
        timeout: seconds that each trial may take.
    """

    epochs: int = EPOCHS
    inputs: Mapping[str, str] = {}
    timeout: float = TIMEOUT


class SmokeReport(NamedTuple):
    """What the trial showed.

    Attributes:
        findings: what went wrong, and what could not be tried.
        proofs: what works, one sentence each, such as the log line that a metric matched.
    """

    findings: tuple[Finding, ...]
    proofs: tuple[str, ...]


_DEFAULTS = SmokeOptions()


def smoke(
    tuning: Tuning,
    aws: Aws,
    *,
    options: SmokeOptions = _DEFAULTS,
    base_dir: str | Path | None = None,
    new_token: Callable[[], str] = lambda: secrets.token_hex(4),
) -> SmokeReport:
    """Run one shortened trial of each algorithm of a spec; two where checkpoints are configured.

    For population based training there is a third one, which continues the first with changed hyperparameters.

    Args:
        tuning: what to tune.
        aws: a connection to the SageMaker on this machine.
        options: how far it is shortened.
        base_dir: the folder that relative paths start from; the working directory by default.
        new_token: returns the random part of the jobs' names.

    Raises:
        ServiceError: if the SageMaker on this machine cannot be reached.
    """
    whole = settled(tuning, base_dir)
    known = tuple(secrets_in(to_data(tuning)))
    role = find_role(aws, None)
    bucket = find_bucket(aws, role)
    ensure_bucket(aws, bucket)
    findings: list[Finding] = []
    proofs: list[str] = []
    for key, definition in whole.definitions:
        blocked = list(_obstacles(key, definition, options.inputs))
        runner = Runner(aws, f"s3://{bucket.name}/sm-tuning/smoke/{new_token()}", role, options.timeout)
        judge = Judge(aws, key, definition, options.epochs, _resource(whole))
        for item in blocked or _trials(runner, judge, whole, key, options):
            if isinstance(item, Finding):
                findings.append(item)
            else:
                proofs.append(f"{key}: {item}" if key else item)
    return SmokeReport(tuple(in_order(findings, known)), tuple(map(Redactor(known), proofs)))


def _trials(
    runner: Runner, judge: Judge, tuning: Tuning, key: str | None, options: SmokeOptions
) -> Iterator[Finding | str]:
    """Run the trials of one algorithm; yield findings, and sentences about what works."""
    definition = dict(tuning.definitions)[key]
    try:
        short = _shortened(tuning, definition, options, f"{runner.root}/checkpoints")
        first = runner.run(short, f"smoke-{runner.root.rpartition('/')[2]}")
    except SpecError as error:
        yield from findings_of(error, "smoke-spec")
        return
    except InvalidRequestError as error:
        message = f"the SageMaker on this machine refused the trial: {error}"
        yield Finding("smoke-refused", "not-checked", place(key, "estimator"), message, "try it on AWS")
        return
    yield from judge.first(first)
    if not first.is_complete or not definition.estimator.checkpoint_s3_uri:
        return
    if not definition.estimator.is_script_mode:
        message = "whether the algorithm resumes from its checkpoints"
        yield Finding("smoke-resume", "not-checked", place(key, "estimator"), message, "try it on AWS")
        return
    if not first.checkpoints:
        yield judge.no_checkpoint()
        return
    is_changed = isinstance(tuning.strategy_config, PopulationConfig)
    copy = runner.copy_checkpoints(first) if is_changed else None  # before the second run writes further ones
    longer = dict.fromkeys(training_length(definition, _resource(tuning)), options.epochs + 1)
    second = runner.run_again(first, longer)
    yield from judge.resumed(first, second)
    if copy is None or not second.is_complete:
        return
    changes = _changed(tuning, (first.description or {})["HyperParameters"])
    if changes is None:
        message = "whether the script continues its checkpoint with changed hyperparameters: its ranges have one value"
        yield Finding("smoke-resume-changed", "not-checked", place(key, "hyperparameter_ranges"), message, "widen them")
        return
    yield from judge.changed(second, runner.run_again(first, {**changes, **longer}, copy))


def _resource(tuning: Tuning) -> str | None:
    """Return the hyperparameter by which a study says how long a trial trains; None if it sets none."""
    return getattr(tuning.strategy_config, "resource", None)


def _changed(tuning: Tuning, before: Mapping[str, str]) -> dict[str, str] | None:
    """Return hyperparameters that population based training could turn those before into, all changed if possible."""
    request = write_ranges(tuning.definitions[0][1])
    config = PopulationConfig(max_resource=2, resample_probability=0.0, factors=(0.5, 2.0))
    found = []
    for probability, seed in itertools.product((0.0, 0.5), range(20)):
        changed = config.replace(resample_probability=probability)
        strategy = Population(space_of(request), changed, seed=0, maximize=False)
        values = strategy.explore(before, Random(seed))  # noqa: S311 - no secret
        found.append({name: value for name, value in values.items() if value != before.get(name, value)})
    return max(found, key=len) or None


def _obstacles(key: str | None, definition: TrainingDefinition, inputs: Mapping[str, str]) -> Iterator[Finding]:
    """Yield why an algorithm cannot be tried on this machine."""
    estimator = definition.estimator
    if isinstance(estimator, ContainerEstimator) and not estimator.is_script_mode:
        message = "the user's own image or algorithm runs on AWS only"
        yield Finding("smoke-container", "not-checked", place(key, "estimator"), message, "try it on AWS")
    if (estimator.source_dir or "").startswith("s3://"):
        message = f"the script is in S3 only, at {estimator.source_dir}"
        yield Finding("smoke-source", "not-checked", place(key, "estimator.source_dir"), message, "give a local folder")
    for name, channel in (definition.inputs or {}).items():
        if name not in inputs and not (isinstance(channel, Input) and not channel.is_remote):
            message = "the data is not on this machine"
            fix = f"give a small local copy: --smoke-input {name}=PATH"
            yield Finding("smoke-input", "not-checked", place(key, f"inputs.{name}"), message, fix)


def _shortened(tuning: Tuning, definition: TrainingDefinition, options: SmokeOptions, checkpoints: str) -> Tuning:
    """Return a tuning job of one short trial.

    Args:
        tuning: the whole.
        definition: the algorithm to try.
        options: how far it is shortened.
        checkpoints: ``s3://`` prefix, in place of the spec's own.

    Raises:
        SpecError: if the rest breaks a rule.
    """
    epochs = options.epochs
    length = training_length(definition, _resource(tuning))
    short = {name: int(min(value, epochs)) for name, value in length.items()}
    ranges = {name: value for name, value in definition.hyperparameter_ranges.items() if name not in short}
    hints = {name: hint for name, hint in definition.auto_parameters.items() if name not in short}
    static = {**definition.estimator.hyperparameters, **short}
    if not ranges and not hints:  # a tuning job must have a range
        name = next(iter(definition.hyperparameter_ranges))
        ranges = {name: IntegerParameter(max(1, epochs - 1), max(2, epochs))}
        static.pop(name)
    channels: dict[str, Any] = dict(definition.inputs or {})
    for name, given in options.inputs.items():
        if name in channels:
            path, channel = str(Path(given).expanduser().absolute()), channels[name]
            channels[name] = channel.replace(uri=path) if isinstance(channel, Input) else path
    return Tuning(
        estimator=_local_estimator(definition.estimator, static, checkpoints),
        inputs=channels,
        objective_metric_name=definition.objective_metric_name,
        objective_type=definition.objective_type,
        hyperparameter_ranges=ranges,
        auto_parameters=hints,
        autotune=tuning.autotune and bool(hints),
        strategy="Random",
        max_jobs=1,
        random_seed=tuning.random_seed or 0,
    )


def _local_estimator(estimator: AnyEstimator, static: Mapping[str, Any], checkpoints: str) -> AnyEstimator:
    """Return the estimator without network, keys, places in S3, spot instances and big fleets."""
    kind, count = next(iter(fleets_of(estimator)[0].items()))
    defaults: dict[str, Any] = {name: type(estimator).model_fields[name].get_default() for name in _REMOTE_ONLY}
    return estimator.replace(
        **defaults,
        hyperparameters=static,
        instance_type=kind,
        instance_count=min(count, _HOSTS),
        volume_size=30,
        use_spot_instances=False,
        checkpoint_s3_uri=checkpoints if estimator.checkpoint_s3_uri else None,
    )
