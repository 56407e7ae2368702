"""Export of tuning jobs to the formats of other tools."""

from __future__ import annotations

import importlib
import inspect
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from sm_tuning import jobs, results
from sm_tuning._errors import ServiceError, SpecError
from sm_tuning._wire import LARGEST_PAGE
from sm_tuning.aws import Aws
from sm_tuning.description import Job, job_of, training_of
from sm_tuning.results import Reading, ResultsWarning
from sm_tuning.views.exports._info import JobInfo, job_info
from sm_tuning.views.exports._target import Exported

if TYPE_CHECKING:
    import optuna

#: The module and the class of each target. The keyword arguments of the class are the options of the target.
_TARGETS: Mapping[str, tuple[str, str]] = {
    "mlflow": ("_mlflow", "Mlflow"),
    "optuna": ("_optuna", "Optuna"),
    "tensorboard": ("_tensorboard", "TensorBoard"),
    "wandb": ("_wandb", "Wandb"),
}

TARGETS = tuple(_TARGETS)


def export(  # noqa: PLR0913  (keyword-only options, the same as of the handle's method)
    aws: Aws,
    names: Sequence[str],
    to: str,
    where: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    reading: Reading | None = None,
    experiment: str | None = None,
    project: str | None = None,
    entity: str | None = None,
    study_name: str | None = None,
    metric: str | None = None,
) -> tuple[Exported, ...]:
    """Write running or finished tuning jobs in the format of another tool.

    Values whose names look like secrets are masked. A job is written completely or not at all.

    Args:
        aws: the connection.
        names: the tuning jobs.
        to: tensorboard, mlflow, wandb or optuna.
        where: a folder; for mlflow also a tracking URI, for optuna also a file or a storage URL.
        overwrite: replace jobs that were exported before.
        reading: how to read the jobs.
        experiment: mlflow: the experiment.
        project: wandb: the project to sync to.
        entity: wandb: the team or user to sync to.
        study_name: optuna: the name of the study, for a single job; the job's name by default.
        metric: optuna: the metric of the intermediate values; the objective by default.

    Raises:
        SpecError: the target is unknown, an option belongs to another target, or the target cannot be written.
        MissingExtraError: the tool is not installed.
        JobNotFoundError: a tuning job does not exist.
    """
    options = {
        "experiment": experiment,
        "entity": entity,
        "metric": metric,
        "project": project,
        "study_name": study_name,
    }
    target = _target(to, where, overwrite=overwrite, options=options)
    found = [job_of(jobs.describe(aws, name)) for name in dict.fromkeys(names)]
    if len(found) > 1 and study_name:
        raise SpecError("study_name names a single study: omit it to name each study after its job")
    # All jobs are checked before the first one is read, which takes minutes.
    for job in found:
        target.check(job)
    return tuple(target.write(read_info(aws, job, reading)) for job in found)


def to_optuna(
    aws: Aws,
    name: str,
    storage: str | os.PathLike[str] | optuna.storages.BaseStorage | None = None,
    *,
    overwrite: bool = False,
    reading: Reading | None = None,
    study_name: str | None = None,
    metric: str | None = None,
) -> optuna.Study:
    """Return a tuning job as an Optuna study.

    Args:
        aws: the connection.
        name: the tuning job.
        storage: where to store the study: a URL, a file, a folder, or an Optuna storage; in memory by default.
        overwrite: replace a study of the same name in the storage.
        reading: how to read the job.
        study_name: the name of the study; the job's name by default.
        metric: the metric of the intermediate values; the objective by default.

    Raises:
        SpecError: the storage has a study of that name or cannot be used, or no trial has the metric.
        MissingExtraError: optuna is not installed.
        JobNotFoundError: the tuning job does not exist.
    """
    options = {"study_name": study_name, "metric": metric}
    target = _target("optuna", storage, overwrite=overwrite, options=options)
    job = job_of(jobs.describe(aws, name))
    target.check(job)
    study: optuna.Study = target.study(read_info(aws, job, reading))
    return study


def _target(to: str, where: Any, *, overwrite: bool, options: Mapping[str, str | None]) -> Any:
    """Return the target, made with the options that are set.

    Raises:
        SpecError: the target is unknown, or does not take one of the options.
    """
    if to not in _TARGETS:
        raise SpecError(f"no export to {to!r}; there are: {', '.join(_TARGETS)}")
    module, name = _TARGETS[to]
    target = getattr(importlib.import_module(f"{__package__}.{module}"), name)
    known = [option for option in inspect.signature(target).parameters if option != "where"]
    given = {option: value for option, value in options.items() if value is not None}
    wrong = [option for option in given if option not in known]
    if wrong:
        raise SpecError(f"an export to {to} takes {', '.join(known)}, and not {', '.join(wrong)}")
    return target(where, overwrite=overwrite, **given)


def read_info(aws: Aws, job: Job, reading: Reading | None = None) -> JobInfo:
    """Read everything that an export writes; a part that AWS refuses is left out with a warning.

    Args:
        aws: the connection.
        job: the tuning job.
        reading: how to read.

    Raises:
        ServiceError: the trials cannot be read.
    """

    def refused(part: str, error: ServiceError) -> None:
        text = f"the export has no {part}, because AWS refused to return them: {error}"
        warnings.warn(text, ResultsWarning, stacklevel=2)

    trials = results.trials(aws, job.name, reading=reading)
    try:
        curves = results.curves(aws, job.name, reading=reading)
    except ServiceError as error:
        refused("curves", error)
        curves = pd.DataFrame({column: pd.Series(dtype=dtype) for column, dtype in results.CURVES.items()})
    tags: dict[str, str] = {}
    try:
        tags = aws.tags(job.arn)
    except ServiceError as error:
        refused("tags", error)
    models: dict[str, str] = {}
    try:
        # Search returns a hundred trials a call, with their models; DescribeTrainingJob would take a call for each.
        pages = aws.pages(
            "sagemaker",
            "search",
            Resource="TrainingJob",
            SearchExpression={"Filters": [{"Name": "TuningJobArn", "Operator": "Equals", "Value": job.arn}]},
            MaxResults=LARGEST_PAGE,
        )
        found = [training_of(entry["TrainingJob"]) for page in pages for entry in page.get("Results", ())]
        models = {training.name: training.model_uri for training in found if training.model_uri}
    except ServiceError as error:
        refused("models", error)
    return job_info(job, trials, curves, tags=tags, models=models)
