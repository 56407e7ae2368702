"""What every target of an export has in common."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from sm_tuning._errors import MissingExtraError
from sm_tuning.views.exports._info import JobInfo, TrialInfo

#: The name under which the objective of every trial is written, whatever its metric is called.
OBJECTIVE = "FinalObjectiveValue"


class Exported(NamedTuple):
    """What an export wrote.

    Attributes:
        job: the tuning job.
        to: tensorboard, mlflow, wandb or optuna.
        location: where it is: a folder, or a store's URI.
        name: what it is called there: a folder, a run's ID, a group or a study.
        trials: how many.
        look: the command that shows it.
    """

    job: str
    to: str
    location: str
    name: str
    trials: int
    look: str


class Target(Protocol):
    """A place in another tool's format, for any number of jobs."""

    def refuse(self, description: Mapping[str, Any]) -> None:
        """Say before anything else is read that a job cannot be written there; its description is given."""

    def write(self, info: JobInfo) -> Exported:
        """Write a job, wholly or not at all."""


def needs(module: str, feature: str, extra: str) -> Any:
    """Import what an extra brings.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and module.startswith(error.name.partition(".")[0]):
            raise MissingExtraError(feature, extra) from error
        raise


def name_of(description: Mapping[str, Any]) -> str:
    """The job's name in its description."""
    return str(description["HyperParameterTuningJobName"])


def facts_of_job(info: JobInfo) -> dict[str, str]:
    """What tools show of a job as tags or attributes, as text."""
    facts = {
        "tuning_job_name": info.name,
        "tuning_job_arn": info.arn,
        "region": info.region,
        "status": info.status,
        "failure_reason": info.failure,
        "strategy": info.strategy,
        "objective": info.objective,
        "objective_type": "Maximize" if info.maximize else "Minimize",
        "best_training_job": info.best.name if info.best else "",
        "best_model_uri": info.best.model_uri if info.best else "",
        "warm_start_parents": ", ".join(info.parents),
    }
    return {name: text for name, text in facts.items() if text}


def facts_of_trial(trial: TrialInfo) -> dict[str, str]:
    """What tools show of a trial as tags or attributes, as text."""
    facts = {
        "training_job_name": trial.name,
        "training_job_arn": trial.arn,
        "status": trial.status,
        "objective_status": trial.objective_status,
        "failure_reason": trial.failure,
        "definition": trial.definition,
        "model_uri": trial.model_uri,
        "is_best": "true" if trial.best else "",
    }
    return {name: text for name, text in facts.items() if text}


def is_finite(value: float | None) -> bool:
    """Whether there is a number that can be compared."""
    return value is not None and math.isfinite(value)
