"""Exporting tuning jobs: which target there is, and what each may be told."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sm_tuning import jobs
from sm_tuning._errors import SpecError
from sm_tuning.aws import Aws
from sm_tuning.results import Reading
from sm_tuning.views.exports._read import read_info
from sm_tuning.views.exports._target import Exported, Target

if TYPE_CHECKING:
    import optuna

#: Each target: its module, its class, and the options that it takes beside ``overwrite``.
_TARGETS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "mlflow": ("_mlflow", "Mlflow", ("experiment",)),
    "optuna": ("_optuna", "Optuna", ("metric", "study_name")),
    "tensorboard": ("_tensorboard", "TensorBoard", ()),
    "wandb": ("_wandb", "Wandb", ("entity", "project")),
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
        "project": project,
        "entity": entity,
        "study_name": study_name,
        "metric": metric,
    }
    target = _target(to, where, overwrite=overwrite, options=options)
    descriptions = [jobs.describe(aws, name) for name in dict.fromkeys(names)]
    if len(descriptions) > 1 and study_name:
        raise SpecError("study_name names a single study: omit it to name each study after its job")
    for description in descriptions:
        target.refuse(description)
    return tuple(target.write(read_info(aws, description, reading)) for description in descriptions)


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
    description = jobs.describe(aws, name)
    target.refuse(description)
    study: optuna.Study = target.study(read_info(aws, description, reading))
    return study


def _target(to: str, where: Any, *, overwrite: bool, options: Mapping[str, str | None]) -> Any:
    """Return the target, made with the options that are set.

    Raises:
        SpecError: the target is unknown, or does not take one of the options.
    """
    if to not in _TARGETS:
        raise SpecError(f"no export to {to!r}; there are: {', '.join(_TARGETS)}")
    module, name, known = _TARGETS[to]
    given = {option: value for option, value in options.items() if value is not None}
    wrong = [option for option in given if option not in known]
    if wrong:
        takes = ", ".join(("overwrite", *known))
        raise SpecError(f"an export to {to} takes {takes}, and not {', '.join(wrong)}")
    made: Target = getattr(importlib.import_module(f"sm_tuning.views.exports.{module}"), name)(
        where, overwrite=overwrite, **given
    )
    return made
