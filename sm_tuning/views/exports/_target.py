"""What all targets of an export share: their interface, the facts they write, and folders that appear whole."""

from __future__ import annotations

import importlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from sm_tuning._errors import MissingExtraError, SpecError
from sm_tuning.description import Job
from sm_tuning.views.exports._info import JobInfo, TrialInfo

#: The name under which the objective of every trial is written, whatever its metric is called.
OBJECTIVE = "FinalObjectiveValue"

#: The first bytes of every SQLite file [sqlite.org/fileformat.html].
_SQLITE = b"SQLite format 3\0"


class Exported(NamedTuple):
    """The result of an export.

    Attributes:
        job: the tuning job.
        to: tensorboard, mlflow, wandb or optuna.
        location: a folder, or the URI of a store.
        name: the name at that location: a folder, a run ID, a group or a study.
        trials: number of trials.
        look: the command that shows it.
    """

    job: str
    to: str
    location: str
    name: str
    trials: int
    look: str


class Target(Protocol):
    """A place in the format of another tool, for any number of jobs."""

    def check(self, job: Job) -> None:
        """Check that a job can be written there, before its trials are read.

        Raises:
            SpecError: it cannot.
        """

    def write(self, info: JobInfo) -> Exported:
        """Write a job, completely or not at all."""


def needs(module: str, feature: str, extra: str) -> Any:
    """Import a module of an extra.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A package that is installed but lacks a module of its own is a defect, not a missing extra.
        if error.name is not None and module.startswith(error.name.partition(".")[0]):
            raise MissingExtraError(feature, extra) from error
        raise


def facts_of_job(info: JobInfo) -> dict[str, str]:
    """Return the facts of a job that tools show as tags or attributes; empty ones are omitted."""
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
    """Return the facts of a trial that tools show as tags or attributes; empty ones are omitted."""
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


def check_folder(root: Path, name: str, *, overwrite: bool) -> None:
    """Check that the folder of a job can be made.

    Args:
        root: the folder of all jobs.
        name: the job's folder.
        overwrite: whether the job's folder may be replaced.

    Raises:
        SpecError: the job's folder is not empty and may not be replaced, or one of the two is a file.
    """
    target = root / name
    if root.exists() and not root.is_dir():
        raise SpecError(f"{str(root)!r} is a file, but the export needs a folder: give another place")
    if target.is_dir() and not target.is_symlink():
        if any(target.iterdir()) and not overwrite:
            raise SpecError(f"{str(target)!r} is there already: give another place, or overwrite (--overwrite) it")
    elif target.exists() or target.is_symlink():
        raise SpecError(f"{str(target)!r} is a file, but the export needs a folder: give another place")


def check_database(path: Path) -> None:
    """Check that a file is a SQLite database, if it exists; an empty file is one.

    Raises:
        SpecError: it is not, or it cannot be read.
    """
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            start = file.read(len(_SQLITE))
    except OSError as error:
        raise SpecError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    if start not in (b"", _SQLITE):
        raise SpecError(f"{str(path)!r} is not a SQLite database: give another place")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder that replaces ``target`` at the end; after an error nothing of it is left.

    Raises:
        SpecError: the folder cannot be made.
    """
    with _beside(target) as place:
        part = place / "new"
        part.mkdir()
        yield part
        # A folder cannot replace one that is not empty, so the old one is moved aside first.
        if target.exists():
            target.rename(place / "old")
        try:
            part.rename(target)
        except OSError:
            if (place / "old").exists():
                (place / "old").rename(target)
            raise


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Give the path of a file that replaces ``target`` at the end; after an error nothing of it is left.

    The file keeps its name, in a temporary folder: SQLite puts its journals beside a database.

    Raises:
        SpecError: the file cannot be made.
    """
    with _beside(target) as place:
        part = place / target.name
        yield part
        part.replace(target)


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside a path; missing parent folders are made, and deleted again if they stay empty."""
    folder = target.absolute().parent
    made: list[Path] = []
    try:
        for parent in (*reversed(folder.parents), folder):
            if not parent.exists():
                parent.mkdir()
                made.append(parent)
        # Renaming is atomic within a file system only, so the temporary folder is not in /tmp.
        place = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=folder))
    except OSError as error:
        _delete_empty(made)
        raise SpecError(f"cannot write to {str(folder)!r}: {error.strerror or error}") from error
    try:
        yield place
    except OSError as error:
        raise SpecError(f"cannot write to {str(folder)!r}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(place, ignore_errors=True)
        _delete_empty(made)


def _delete_empty(folders: list[Path]) -> None:
    """Delete the folders that are empty, the innermost first."""
    for folder in reversed(folders):
        if not any(folder.iterdir()):
            folder.rmdir()
