"""Optuna: a study with the job's trials, for its plots and its dashboard."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sm_tuning._errors import SpecError
from sm_tuning.views.exports._info import JobInfo
from sm_tuning.views.exports._places import new_file, refuse_no_database
from sm_tuning.views.exports._study import attributes, trials_of
from sm_tuning.views.exports._target import Exported, name_of, needs

if TYPE_CHECKING:
    import optuna

_FILES = (".db", ".sqlite", ".sqlite3")


class Optuna:
    """A storage of studies.

    Args:
        where: a folder, which gets a file ``optuna.db``; a file that ends in .db, .sqlite or .sqlite3; a URL of
            SQLAlchemy's, such as ``postgresql://…``; a storage of Optuna's; or
            None for memory.
        overwrite: replaces a study of the same name.
        study_name: instead of the job's name.
        metric: whose curve becomes the intermediate values; the objective when left out.

    Raises:
        MissingExtraError: optuna is not installed.
    """

    def __init__(
        self,
        where: str | os.PathLike[str] | optuna.storages.BaseStorage | None,
        *,
        overwrite: bool = False,
        study_name: str | None = None,
        metric: str | None = None,
    ) -> None:
        self._optuna = needs("optuna", "an export to Optuna", "optuna")
        self._overwrite = overwrite
        self._study_name = study_name
        self._metric = metric
        memory = None if where is not None else self._optuna.storages.InMemoryStorage()
        self._storage = memory if isinstance(where, str | os.PathLike | None) else where
        self._file = _file(where) if isinstance(where, str | os.PathLike) else None
        if self._file is not None:
            refuse_no_database(self._file)
        self._url = str(where) if self._file is None else f"sqlite:///{self._file.absolute()}"

    def refuse(self, description: Mapping[str, Any]) -> None:
        """Say that there is a study of that name.

        Raises:
            SpecError: there is, or its storage cannot be read.
        """
        if self._file is not None and not self._file.exists():
            return
        name = self._study_name or name_of(description)
        with self._opened(self._url) as storage:
            self._refuse(storage, name)

    def write(self, info: JobInfo) -> Exported:
        """Write a job as a study; a new file appears whole, and of a study that fails nothing is left.

        Raises:
            SpecError: there is a study of that name, or the storage cannot be written.
        """
        if self._file is not None and not self._file.exists():
            with new_file(self._file) as part, self._opened(f"sqlite:///{part.absolute()}") as storage:
                self._fill(storage, info)
        else:
            with self._opened(self._url) as storage:
                self._fill(storage, info)
        shown, name = self._shown(), self._study_name or info.name
        return Exported(info.name, "optuna", shown, name, len(info.trials), f"optuna-dashboard {shown}")

    def study(self, info: JobInfo) -> optuna.Study:
        """Write a job as ``write`` does, and open it.

        Raises:
            SpecError: as ``write``.
        """
        if self._storage is not None:
            return self._fill(self._storage, info)
        study: optuna.Study = self._optuna.load_study(study_name=self.write(info).name, storage=self._url)
        return study

    def _fill(self, storage: optuna.storages.BaseStorage, info: JobInfo) -> optuna.Study:
        """Put a job into a storage.

        Raises:
            SpecError: there is a study of that name.
        """
        name = self._study_name or info.name
        trials = trials_of(self._optuna, info, self._metric)
        self._refuse(storage, name)
        if self._overwrite and name in self._names(storage):
            self._optuna.delete_study(study_name=name, storage=storage)
        study: optuna.Study = self._optuna.create_study(
            study_name=name, storage=storage, direction="maximize" if info.maximize else "minimize"
        )
        try:
            with warnings.catch_warnings():  # naming the objective counts as an experiment of Optuna's
                warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
                study.set_metric_names([info.objective])
            for key, value in attributes(info).items():
                study.set_user_attr(key, value)
            study.add_trials(trials)
        except BaseException:
            self._optuna.delete_study(study_name=name, storage=storage)
            raise
        return study

    def _names(self, storage: optuna.storages.BaseStorage) -> list[str]:
        return [study.study_name for study in storage.get_all_studies()]

    def _refuse(self, storage: optuna.storages.BaseStorage, name: str) -> None:
        if not self._overwrite and name in self._names(storage):
            raise SpecError(
                f"a study {name!r} is in {self._shown()} already: give another name or place, or overwrite "
                "(--overwrite) it"
            )

    @contextmanager
    def _opened(self, url: str) -> Iterator[optuna.storages.BaseStorage]:
        """The storage; one that was opened here is closed again."""
        if self._storage is not None:
            yield self._storage
            return
        errors = (
            needs("sqlalchemy.exc", "an export to Optuna", "optuna").SQLAlchemyError,
            self._optuna.exceptions.StorageInternalError,
            ImportError,  # a database's driver
        )
        storage = None
        try:
            storage = self._optuna.storages.RDBStorage(url)
            yield storage
        except errors as error:
            reason = str(error).partition("\n")[0]
            raise SpecError(f"Optuna cannot use the storage {self._shown()}: {reason}") from error
        finally:
            if storage is not None:
                storage.engine.dispose()

    def _shown(self) -> str:
        """The storage for people: its password is left out."""
        if self._storage is not None:
            return type(self._storage).__name__
        scheme, _, rest = self._url.rpartition("@")
        return f"{scheme.rpartition(':')[0]}:***@{rest}" if ":" in scheme.partition("//")[2] else self._url


def _file(where: str | os.PathLike[str]) -> Path | None:
    """The SQLite file of a place; None for a URL.

    Raises:
        SpecError: a file of another kind is there.
    """
    if "://" in str(where):
        return None
    path = Path(where)
    if path.suffix.lower() in _FILES and not path.is_dir():
        return path
    if path.exists() and not path.is_dir():
        raise SpecError(f"{str(path)!r} is a file: give a folder, a file that ends in .db, or a storage's URL")
    return path / "optuna.db"
