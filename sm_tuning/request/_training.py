"""A training job definition of a tuning job as plain training jobs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sm_tuning._errors import SpecError
from sm_tuning._masking import Redactor, secrets_of_job
from sm_tuning._wire import OBJECTIVE_KEY, tag_list
from sm_tuning.request._model import explain, violations
from sm_tuning.request._reader import given

#: Members of a definition that a training job has in the same form.
_SHARED = (
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "VpcConfig",
    "StoppingCondition",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "RetryStrategy",
    "Environment",
)


def training_request(
    definition: Mapping[str, Any],
    tuned: Mapping[str, str],
    *,
    name: str,
    objective: str,
    tags: Mapping[str, str],
    further: Mapping[str, Any],
    keep_alive: int | None = None,
) -> dict[str, Any]:
    """Return the parameters of CreateTrainingJob for a trial.

    Args:
        definition: the HyperParameterTrainingJobDefinition.
        tuned: the trial's hyperparameters, as wire strings.
        name: of the training job.
        objective: name of the objective metric, which the containers get as a hyperparameter, as in a tuning job.
        tags: of the training job.
        further: members that a definition lacks, in the form of the API.
        keep_alive: seconds for which its instances are kept as a warm pool.

    Raises:
        SpecError: the request breaks a rule of the service's model.
    """
    request: dict[str, Any] = {
        "TrainingJobName": name,
        "HyperParameters": {**(definition.get("StaticHyperParameters") or {}), **tuned, OBJECTIVE_KEY: objective},
        **{member: definition[member] for member in _SHARED if member in definition},
        "ResourceConfig": {**resource_config(definition), **given(KeepAlivePeriodInSeconds=keep_alive)},
        "CheckpointConfig": checkpoint_config(definition, name),
        "Tags": tag_list(tags),
        **further,
    }
    request = {member: value for member, value in request.items() if value not in (None, [])}
    found = violations("CreateTrainingJob", request)
    if found:
        clear = Redactor(secrets_of_job(request), shortest=1)
        raise SpecError([replace(problem, message=clear(problem.message)) for problem in explain(found, request)])
    return request


def resource_config(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return a training job's ResourceConfig; of several instance choices, the first.

    In a definition with both forms, the service has added ResourceConfig, which is then complete.
    """
    if "ResourceConfig" in definition:
        return dict(definition["ResourceConfig"])
    tuning = dict(definition.get("HyperParameterTuningResourceConfig") or {})
    choices = tuning.pop("InstanceConfigs", None) or [{}]
    tuning.pop("AllocationStrategy", None)
    return {**tuning, **choices[0]}


def checkpoint_config(definition: Mapping[str, Any], training_job: str) -> dict[str, Any] | None:
    """Return a training job's CheckpointConfig, with a folder of its own under the definition's S3Uri."""
    config = definition.get("CheckpointConfig")
    if not config:
        return None
    # Trials that shared one folder would resume from each other's checkpoints.
    return {**config, "S3Uri": f"{config['S3Uri'].rstrip('/')}/{training_job}"}
