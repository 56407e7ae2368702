"""Optuna: a study with the job's trials, for its plots and its dashboard."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sm_tuning._errors import SpecError
from sm_tuning._statuses import TrainingStatus
from sm_tuning.description import Job, Value
from sm_tuning.views.exports._info import Hyperparameter, JobInfo, TrialInfo
from sm_tuning.views.exports._target import (
    Exported,
    check_database,
    facts_of_job,
    facts_of_trial,
    needs,
    new_file,
)

if TYPE_CHECKING:
    import optuna

_FILES = (".db", ".sqlite", ".sqlite3")
_FEATURE = "an export to Optuna"

_STATES: Mapping[str, str] = {
    TrainingStatus.COMPLETED: "COMPLETE",
    TrainingStatus.STOPPED: "PRUNED",
    TrainingStatus.FAILED: "FAIL",
}


class Optuna:
    """A storage of studies.

    Args:
        where: a folder, which gets a file ``optuna.db``; a file that ends in .db, .sqlite or .sqlite3; a URL of
            SQLAlchemy, for example ``postgresql://…``; an Optuna storage; or None for memory.
        overwrite: replace a study of the same name.
        study_name: the name of the study; the job's name by default.
        metric: the metric of the intermediate values; the objective by default.

    Raises:
        MissingExtraError: optuna is not installed.
        SpecError: a file of another kind is there.
    """

    def __init__(
        self,
        where: str | os.PathLike[str] | optuna.storages.BaseStorage | None,
        *,
        overwrite: bool = False,
        study_name: str | None = None,
        metric: str | None = None,
    ) -> None:
        self._optuna = needs("optuna", _FEATURE, "optuna")
        self._overwrite = overwrite
        self._study_name = study_name
        self._metric = metric
        self._file: Path | None = None
        self._storage: optuna.storages.BaseStorage | None = None
        if where is None:
            self._storage = self._optuna.storages.InMemoryStorage()
        elif isinstance(where, str | os.PathLike):
            self._file = _file(where)
        else:
            self._storage = where
        if self._file is not None:
            check_database(self._file)
        self._url = str(where) if self._file is None else f"sqlite:///{self._file.absolute()}"

    def check(self, job: Job) -> None:
        """Check that the storage has no study of that name that may not be replaced.

        Raises:
            SpecError: it has, or it cannot be read.
        """
        if self._file is not None and not self._file.exists():
            return
        with self._opened(self._url) as storage:
            self._check_name(storage, self._study_name or job.name)

    def write(self, info: JobInfo) -> Exported:
        """Write a job as a study; a new file appears whole, and after an error no part of the study is left.

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
        """Write a job as ``write`` does, and return the study.

        Raises:
            SpecError: as ``write``.
        """
        if self._storage is not None:
            return self._fill(self._storage, info)
        study: optuna.Study = self._optuna.load_study(study_name=self.write(info).name, storage=self._url)
        return study

    def _fill(self, storage: optuna.storages.BaseStorage, info: JobInfo) -> optuna.Study:
        """Add a job to a storage.

        Raises:
            SpecError: there is a study of that name, or no trial has the metric.
        """
        name = self._study_name or info.name
        # Built before the old study is deleted: an unknown metric must not lose it.
        trials = _trials(self._optuna, info, self._metric)
        if self._check_name(storage, name):
            self._optuna.delete_study(study_name=name, storage=storage)
        study: optuna.Study = self._optuna.create_study(
            study_name=name, storage=storage, direction="maximize" if info.maximize else "minimize"
        )
        try:
            with warnings.catch_warnings():  # metric names are experimental in Optuna
                warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
                study.set_metric_names([info.objective])
            for key, value in _attributes(info).items():
                study.set_user_attr(key, value)
            study.add_trials(trials)
        except BaseException:
            self._optuna.delete_study(study_name=name, storage=storage)
            raise
        return study

    def _check_name(self, storage: optuna.storages.BaseStorage, name: str) -> bool:
        """Return whether the storage has a study of that name.

        Raises:
            SpecError: it has, and it may not be replaced.
        """
        found = any(study.study_name == name for study in storage.get_all_studies())
        if found and not self._overwrite:
            raise SpecError(
                f"a study {name!r} is in {self._shown()} already: give another name or place, or overwrite "
                "(--overwrite) it"
            )
        return found

    @contextmanager
    def _opened(self, url: str) -> Iterator[optuna.storages.BaseStorage]:
        """Give the storage; one that is opened here is closed at the end.

        Raises:
            SpecError: it cannot be used.
        """
        if self._storage is not None:
            yield self._storage
            return
        errors = (
            needs("sqlalchemy.exc", _FEATURE, "optuna").SQLAlchemyError,
            self._optuna.exceptions.StorageInternalError,
            ImportError,  # the driver of the database is not installed
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
        """Return the storage for messages, without its password."""
        if self._storage is not None:
            return type(self._storage).__name__
        # SQLAlchemy's URLs have the password before the @.
        scheme, _, rest = self._url.rpartition("@")
        return f"{scheme.rpartition(':')[0]}:***@{rest}" if ":" in scheme.partition("//")[2] else self._url


def _file(where: str | os.PathLike[str]) -> Path | None:
    """Return the SQLite file of a place; None for a URL.

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


def _trials(package: Any, info: JobInfo, metric: str | None) -> list[optuna.trial.FrozenTrial]:
    """Return the job's trials in order of their start.

    Args:
        package: the module ``optuna``.
        info: the job.
        metric: the metric of the intermediate values; each trial's objective if None.

    Raises:
        SpecError: no trial has that metric.
    """
    if metric is not None and metric not in info.metrics:
        raise SpecError(f"no trial has a metric {metric!r}; there are: {', '.join(info.metrics) or 'none'}")
    distributions = {}
    for entry in info.hyperparameters:
        tried = [trial.hyperparameters[entry.name] for trial in info.trials if entry.name in trial.hyperparameters]
        if tried:
            distributions[entry.name] = _distribution(package, entry, tried)
    return [_trial(package, info, trial, distributions, metric) for trial in info.trials]


def _distribution(package: Any, hyperparameter: Hyperparameter, tried: Sequence[Value]) -> Any:
    """Return the distribution of a hyperparameter: Optuna allows one in a study.

    It has the widest of the job's ranges, and values outside, which a warm-started job may have. Optuna has no reverse
    logarithmic scale; it becomes linear.

    Args:
        package: the module ``optuna``.
        hyperparameter: the hyperparameter.
        tried: its values in all trials, at least one.
    """
    distributions, declared = package.distributions, hyperparameter.range
    if hyperparameter.kind not in ("int", "float") or hyperparameter.choices:
        return distributions.CategoricalDistribution(tuple(dict.fromkeys((*hyperparameter.choices, *tried))))
    numbers = [float(value) for value in tried]
    # Optuna refuses a trial outside of its distribution.
    ends = [end for end in (declared.low, declared.high) if end is not None] if declared else []
    low, high = min(*ends, *numbers), max(*ends, *numbers)
    log = declared is not None and declared.scaling == "Logarithmic" and low > 0
    if hyperparameter.kind == "int":
        return distributions.IntDistribution(int(low), int(high), log=log)
    return distributions.FloatDistribution(float(low), float(high), log=log)


def _trial(
    package: Any, info: JobInfo, trial: TrialInfo, distributions: Mapping[str, Any], metric: str | None
) -> optuna.trial.FrozenTrial:
    """Return a trial: COMPLETE with an objective, PRUNED if it was stopped, else FAIL or RUNNING."""
    has_number = trial.value is not None and not math.isnan(trial.value)
    state = _STATES.get(trial.status, "FAIL")
    if trial.ended is None and trial.status not in _STATES:
        state = "RUNNING"
    elif trial.best and trial.value is not None and math.isfinite(trial.value):
        state = "COMPLETE"  # also a stopped one: Optuna looks for the best among complete trials only
    elif state == "COMPLETE" and not has_number:
        state = "FAIL"  # Optuna has no complete trial without a number
    made: optuna.trial.FrozenTrial = package.trial.create_trial(
        state=package.trial.TrialState[state],
        value=trial.value if has_number and state in ("COMPLETE", "PRUNED") else None,
        params=dict(trial.hyperparameters),
        distributions={name: distributions[name] for name in trial.hyperparameters},
        user_attrs={
            **facts_of_trial(trial),
            **{f"metric:{name}": value for name, value in trial.metrics.items()},
        },
        intermediate_values={point.step: point.value for point in trial.curves.get(metric or trial.objective, ())},
    )
    made.datetime_start = _local(trial.started or trial.ended or info.created)
    made.datetime_complete = _local(trial.ended or trial.started or info.created) if state != "RUNNING" else None
    return made


def _attributes(info: JobInfo) -> dict[str, Any]:
    """Return the user attributes of the study; empty ones are omitted."""
    reverse = [
        entry.name for entry in info.hyperparameters if entry.range and entry.range.scaling == "ReverseLogarithmic"
    ]
    facts: dict[str, Any] = {**facts_of_job(info), "tags": dict(info.tags)}
    for member, by_definition in (("static_hyperparameters", info.static), ("environment", info.environment)):
        for definition, values in by_definition.items():
            facts[f"{member} of {definition}" if len(by_definition) > 1 else member] = dict(values)
    facts["reverse_logarithmic"] = reverse
    return {name: value for name, value in facts.items() if value}


def _local(moment: datetime) -> datetime:
    """Return a time as Optuna has it: local and naive."""
    return moment.astimezone().replace(tzinfo=None)
