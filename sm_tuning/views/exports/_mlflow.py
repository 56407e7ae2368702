"""MLflow: a run for the tuning job, and nested in it a run for each trial.

The limits of MLflow's API [mlflow/utils/validation.py]: parameters are text of up to 6,000 characters, tags of up to
8,000, names of up to 250 with few special characters; a call takes 1,000 metrics, 100 parameters and 100 tags. Metrics
are float64; a SQL store keeps an infinity as the largest number.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sm_tuning._errors import EndpointError, ServiceError, SpecError
from sm_tuning._statuses import TuningStatus
from sm_tuning.description import Job
from sm_tuning.results import ResultsWarning
from sm_tuning.views.exports._info import JobInfo, Point, TrialInfo
from sm_tuning.views.exports._target import (
    OBJECTIVE,
    Exported,
    check_database,
    facts_of_job,
    facts_of_trial,
    needs,
    new_file,
)

_METRICS, _PARAMS, _TAGS = 1000, 100, 100
_PARAM_LENGTH, _TAG_LENGTH, _NAME_LENGTH = 6000, 8000, 250
_NOT_IN_NAMES = re.compile(r"[^\w.\- :/]")
_STATUS: Mapping[str, str] = {
    TuningStatus.COMPLETED: "FINISHED",
    TuningStatus.FAILED: "FAILED",
    TuningStatus.STOPPED: "KILLED",
    TuningStatus.DELETE_FAILED: "FAILED",
}

_PREFIX = "sm_tuning."

#: The tag by which the runs of a tuning job are found again.
_ARN_TAG = f"{_PREFIX}tuning_job_arn"

#: Seconds in which a tracking server must answer.
_TIMEOUT = 10

_DATABASE = "mlflow.db"
_VARIABLE = "MLFLOW_TRACKING_URI"
_ARN = re.compile(r"arn:aws[a-z\-]*:sagemaker:")
_FEATURE = "an export to MLflow"


class Mlflow:
    """A tracking store.

    Args:
        where: a folder, which gets a SQLite store ``mlflow.db``; or a tracking URI: ``sqlite:///…``, a server's
            ``https://…``, or the ARN of a tracking server or app of SageMaker.
        overwrite: replace the runs of a job that was exported before.
        experiment: the name of the experiment; it is created if it does not exist.

    Raises:
        MissingExtraError: mlflow is not installed.
        SpecError: the place is invalid, or the plugin for SageMaker's MLflow is not installed.
    """

    def __init__(
        self, where: str | os.PathLike[str], *, overwrite: bool = False, experiment: str = "sm-tuning"
    ) -> None:
        self._client: Callable[..., Any] = needs("mlflow.tracking", _FEATURE, "mlflow").MlflowClient
        self._error: type[Exception] = needs("mlflow.exceptions", _FEATURE, "mlflow").MlflowException
        self._overwrite = overwrite
        self._experiment = experiment
        self._uri, self._file = _location(where)
        if self._file is not None:
            check_database(self._file)  # MLflow's client would retry for minutes
            needs("sqlalchemy", "a local store of MLflow", "mlflow")
            needs("alembic", "a local store of MLflow", "mlflow")

    def check(self, job: Job) -> None:
        """Check that the server answers, and that the experiment has no runs of the job that may not be replaced.

        Raises:
            SpecError: there are such runs.
            EndpointError: the server does not answer.
        """
        if self._file is not None and not self._file.exists():
            return
        if urlsplit(self._uri).scheme in ("http", "https"):
            # MLflow's client would retry for minutes.
            requests = needs("requests", _FEATURE, "mlflow")
            try:
                requests.get(f"{self._uri.rstrip('/')}/health", timeout=_TIMEOUT)
            except requests.RequestException as error:
                raise EndpointError(
                    f"no MLflow server answers at {_without_password(self._uri)}: start it, or give another place"
                ) from error
        with self._refusals():
            client = self._client(tracking_uri=self._uri)
            found = client.get_experiment_by_name(self._experiment)
            if found is None or self._overwrite:
                return
            runs = _runs_of(client, found.experiment_id, job.arn)
        if runs:
            raise SpecError(
                f"{job.name} is in the experiment {self._experiment!r} already, with {len(runs)} runs: "
                "name another experiment, or overwrite (--overwrite) it"
            )

    def write(self, info: JobInfo) -> Exported:
        """Write a job's runs; after an error they are deleted again, and a new store is not made.

        Raises:
            SpecError: a local store refused them.
            ServiceError: a server refused them.
        """
        if self._file is not None and not self._file.exists():
            with new_file(self._file) as part:
                run = self._write(f"sqlite:///{part}", info)
        else:
            run = self._write(self._uri, info)
        look = f"the experiment {self._experiment!r} of {_without_password(self._uri)}"
        if self._uri.startswith("sqlite:"):
            look = f"mlflow ui --backend-store-uri {self._uri}"
        return Exported(info.name, "mlflow", self._uri, run, len(info.trials), look)

    def _write(self, uri: str, info: JobInfo) -> str:
        """Write the runs of a job into a store, then delete its old ones; returns the ID of the job's run."""
        with self._refusals():
            client = self._client(tracking_uri=uri)
            experiment = self._experiment_id(client)
            # Old runs are deleted when the new ones are complete, so that a failed export loses nothing.
            old = [run.info.run_id for run in _runs_of(client, experiment, info.arn)]
            runs = _Runs(client, experiment)
            try:
                parent = runs.write(info)
            except BaseException:
                _delete(client, runs.made)
                raise
            _delete(client, old)
        return parent

    def _experiment_id(self, client: Any) -> str:
        found = client.get_experiment_by_name(self._experiment)
        if found is None:
            # A server chooses the place of artifacts itself.
            local = None if self._file is None else (self._file.parent / "artifacts").as_uri()
            return str(client.create_experiment(self._experiment, artifact_location=local))
        if found.lifecycle_stage == "deleted":
            raise SpecError(
                f"the experiment {self._experiment!r} was deleted: restore it, or name another (experiment)"
            )
        return str(found.experiment_id)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Turn MLflow's errors into ours, and ignore its warnings about its own dependencies."""
        place = tracking_at(self._uri) if _ARN.match(self._uri) else _without_header_warnings()
        try:
            with place, warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                yield
        except self._error as error:
            first_line = str(error).partition("\n")[0]
            text = f"MLflow at {_without_password(self._uri)} refuses: {first_line}"
            raise (SpecError if self._uri.startswith("sqlite:") else ServiceError)(text) from error


@contextmanager
def tracking_at(uri: str) -> Iterator[None]:
    """Set the tracking URI of the process: SageMaker's plugin signs for it, whatever URI the client has.

    MLflow keeps it in an environment variable too; both are restored afterwards.
    """
    tracking = needs("mlflow.tracking", _FEATURE, "mlflow")
    variable = os.environ.get(_VARIABLE)
    before = tracking.get_tracking_uri() if tracking.is_tracking_uri_set() else None
    tracking.set_tracking_uri(uri)
    try:
        yield
    finally:
        tracking.set_tracking_uri(before)
        if variable is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = variable


@contextmanager
def _without_header_warnings() -> Iterator[None]:
    """Silence the plugin for SageMaker's MLflow, which warns at each call to any other server."""
    logger = logging.getLogger("mlflow.tracking.request_header.registry")

    def nothing(record: logging.LogRecord) -> bool:
        del record
        return False

    logger.addFilter(nothing)
    try:
        yield
    finally:
        logger.removeFilter(nothing)


def _location(where: str | os.PathLike[str]) -> tuple[str, Path | None]:
    """Return the tracking URI, and the SQLite file of a local store.

    Raises:
        SpecError: the place is invalid.
    """
    text = str(where)
    if _ARN.match(text):
        if importlib.util.find_spec("sagemaker_mlflow") is None:
            raise SpecError("SageMaker's MLflow is reached by a plugin: pip install sagemaker-mlflow")
        return text, None
    if text.startswith("sqlite:///"):
        return text, Path(text.removeprefix("sqlite:///")).absolute()
    if text.startswith("file:"):
        raise SpecError(
            f"MLflow no longer writes plain folders such as {text!r}: give a folder without file:, which gets a SQLite "
            "store, or a tracking URI"
        )
    # Any other URI is left to MLflow and its plugins.
    if "://" in text or text == "databricks":
        return text, None
    path = Path(where).absolute()
    if path.suffix == ".db" and not path.is_dir():
        return f"sqlite:///{path}", path
    if path.exists() and not path.is_dir():
        raise SpecError(f"{text!r} is a file: give a folder, a file that ends in .db, or a tracking URI")
    return f"sqlite:///{path / _DATABASE}", path / _DATABASE


def _runs_of(client: Any, experiment: str, arn: str) -> list[Any]:
    """Return the runs of a tuning job, its own and those of its trials."""
    found, token = [], None
    while True:
        page = client.search_runs([experiment], filter_string=f"tags.`{_ARN_TAG}` = '{arn}'", page_token=token)
        found += list(page)
        token = page.token
        if not token:
            return found


def _delete(client: Any, runs: list[str]) -> None:
    """Delete runs, the last first, so that a parent is deleted after its children."""
    for run in reversed(runs):
        client.delete_run(run)


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return parts._replace(netloc=f"***@{parts.netloc.rpartition('@')[2]}").geturl()


class _Runs:
    """Writes runs.

    Args:
        client: MLflow's client.
        experiment: the ID of the experiment.

    Attributes:
        made: IDs of the runs that were made, the parent's first.
    """

    def __init__(self, client: Any, experiment: str) -> None:
        self._client = client
        self._experiment = experiment
        self._entities = needs("mlflow.entities", _FEATURE, "mlflow")
        self.made: list[str] = []

    def write(self, info: JobInfo) -> str:
        """Write a job's run and those of its trials; returns the ID of the job's run."""
        tags = {**facts_of_job(info), "trials": str(len(info.trials))}
        tags |= {f"tag.{name}": text for name, text in info.tags.items()}
        parent = self._run(info.name, info.created, tags, {"mlflow.source.name": info.arn})
        params = {}
        for entry in info.hyperparameters:
            text = ", ".join(map(str, entry.choices)) or entry.kind
            if entry.range is not None and not entry.choices:
                bounds = f"from {entry.range.low!r} to {entry.range.high!r}"
                text = f"{entry.range.kind} {bounds}, scale {entry.range.scaling}"
            params[f"range.{entry.name}"] = text
        for member, by_definition in (("static", info.static), ("environment", info.environment)):
            for definition, values in by_definition.items():
                middle = f"{definition}." if len(by_definition) > 1 else ""
                params |= {f"{member}.{middle}{name}": str(value) for name, value in values.items()}
        best = info.best
        metrics = []
        if best is not None and best.value is not None:
            metrics = [self._metric(_name(info.objective), Point(0, best.last[1], best.value))]
        self._log(parent, metrics, params)
        for trial in info.trials:
            self._trial(info, trial, parent)
        self._end(parent, info.status, info.ended)
        return parent

    def _trial(self, info: JobInfo, trial: TrialInfo, parent: str) -> None:
        tags = {"tuning_job_name": info.name, "tuning_job_arn": info.arn, **facts_of_trial(trial)}
        source = {"mlflow.parentRunId": parent, "mlflow.source.name": trial.arn}
        run = self._run(trial.name, trial.started or info.created, tags, source)
        step, moment = trial.last
        finals = trial.finals if trial.value is None else {OBJECTIVE: trial.value, **trial.finals}
        curves = {**trial.curves, **{name: (Point(step, moment, value),) for name, value in finals.items()}}
        self._log(
            run,
            [self._metric(name, point) for name, points in _named(curves) for point in points],
            {name: str(value) for name, value in (trial.static | trial.hyperparameters).items()},
        )
        self._end(run, trial.status, trial.ended)

    def _run(self, name: str, began: datetime, facts: Mapping[str, str], source: Mapping[str, str]) -> str:
        """Start a run with the facts, prefixed, and the source as tags; returns its ID."""
        tags = {f"{_PREFIX}{key}": text for key, text in facts.items()} | {"mlflow.source.type": "JOB", **source}
        items = [(key, _cut(key, text, _TAG_LENGTH)) for key, text in _named(tags)]
        run = self._client.create_run(
            self._experiment, start_time=_milliseconds(began), tags=dict(items[:_TAGS]), run_name=name
        )
        run_id = str(run.info.run_id)
        self.made.append(run_id)
        for batch in _batches(items[_TAGS:], _TAGS):
            self._client.log_batch(run_id, tags=[self._entities.RunTag(*item) for item in batch])
        return run_id

    def _log(self, run: str, metrics: Sequence[Any], params: Mapping[str, str]) -> None:
        texts = [(name, _cut(name, text, _PARAM_LENGTH)) for name, text in _named(params)]
        for batch in _batches([self._entities.Param(*item) for item in texts], _PARAMS):
            self._client.log_batch(run, params=batch)
        for batch in _batches(metrics, _METRICS):
            self._client.log_batch(run, metrics=batch)

    def _metric(self, name: str, point: Point) -> Any:
        return self._entities.Metric(name, point.value, point.milliseconds, point.step)

    def _end(self, run: str, status: str, ended: datetime | None) -> None:
        if status in _STATUS:
            end_time = None if ended is None else _milliseconds(ended)
            with redirect_stdout(StringIO()):  # MLflow prints the address of the run; our stdout is for data only
                self._client.set_terminated(run, _STATUS[status], end_time=end_time)


def _named(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield values under names that MLflow accepts; of equal names, the later ones get a number."""
    taken: set[str] = set()
    for original, value in values.items():
        name, number = _name(original), 2
        while name in taken:
            name, number = f"{_name(original)[: _NAME_LENGTH - 4]}_{number}", number + 1
        taken.add(name)
        yield name, value


def _name(original: str) -> str:
    name = _NOT_IN_NAMES.sub("_", original)[:_NAME_LENGTH]
    if name != original:
        warnings.warn(f"MLflow does not take the name {original!r}: it has {name!r}", ResultsWarning, stacklevel=2)
    return name


def _cut(name: str, text: str, length: int) -> str:
    """Return a text of a length that MLflow accepts."""
    if len(text) <= length:
        return text
    warnings.warn(
        f"{name!r} has {len(text)} characters, of which MLflow takes {length}: the rest is cut off",
        ResultsWarning,
        stacklevel=2,
    )
    return text[: length - 1] + "…"


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
