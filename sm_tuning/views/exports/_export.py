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


def export(
    aws: Aws,
    names: Sequence[str],
    to: str,
    where: str | os.PathLike[str] | Any,
    *,
    overwrite: bool = False,
    reading: Reading | None = None,
    **options: Any,
) -> tuple[Exported, ...]:
    """Write tuning jobs, running or ended, in the format of another tool.

    Values whose names look like a secret's are masked. A job is written wholly or not at all.

    Args:
        aws: the connection.
        names: the tuning jobs.
        to: tensorboard, mlflow, wandb or optuna.
        where: a folder; for mlflow also a tracking URI, for optuna also a file or a storage's URL.
        overwrite: replaces jobs that are there already.
        reading: how to read the jobs.
        **options: for mlflow ``experiment``; for wandb ``project`` and ``entity``; for optuna ``study_name`` and
            ``metric``.

    Raises:
        SpecError: there is no such target or option, or it cannot be written there.
        MissingExtraError: the tool is not installed.
        JobNotFoundError: there is no such tuning job.
    """
    target = _target(to, where, overwrite=overwrite, options=options)
    descriptions = [jobs.describe(aws, name) for name in dict.fromkeys(names)]
    if len(descriptions) > 1 and options.get("study_name"):
        raise SpecError("study_name is for one job: leave it out, and each study gets its job's name")
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
    **options: Any,
) -> optuna.Study:
    """Return a tuning job as Optuna's study.

    Args:
        aws: the connection.
        name: the tuning job.
        storage: where the study is kept: a URL, a file, a folder, or Optuna's object; in memory when left out.
        overwrite: replaces a study of that name in the storage.
        reading: how to read the job.
        **options: ``study_name`` and ``metric``, whose curve becomes the intermediate values.

    Raises:
        SpecError: there is a study of that name, no such option or metric, or the storage cannot be used.
        MissingExtraError: optuna is not installed.
        JobNotFoundError: there is no such tuning job.
    """
    target = _target("optuna", storage, overwrite=overwrite, options=options)
    description = jobs.describe(aws, name)
    target.refuse(description)
    study: optuna.Study = target.study(read_info(aws, description, reading))
    return study


def _target(to: str, where: Any, *, overwrite: bool, options: Mapping[str, Any]) -> Any:
    """The target, with options that it knows."""
    if to not in _TARGETS:
        raise SpecError(f"no export to {to!r}; there are: {', '.join(_TARGETS)}")
    module, name, known = _TARGETS[to]
    wrong = [option for option in options if option not in known]
    if wrong:
        takes = ", ".join(("overwrite", *known))
        raise SpecError(f"an export to {to} takes {takes}, and not {', '.join(wrong)}")
    made: Target = getattr(importlib.import_module(f"sm_tuning.views.exports.{module}"), name)(
        where, overwrite=overwrite, **options
    )
    return made
