"""MLflow: the places of runs, and the export of a job to one of them."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sm_tuning._errors import EndpointError, ServiceError, SpecError
from sm_tuning.description import Job
from sm_tuning.views.exports._info import JobInfo
from sm_tuning.views.exports._mlflow_runs import FEATURE, LiveRuns, Runs, delete, runs_of
from sm_tuning.views.exports._target import Exported, check_database, needs, new_file

#: Seconds in which a tracking server must answer.
_TIMEOUT = 10

#: How patient MLflow's client is while a job is tracked.
_RETRIES = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(_TIMEOUT)}

_DATABASE = "mlflow.db"
_VARIABLE = "MLFLOW_TRACKING_URI"
_ARN = re.compile(r"arn:aws[a-z\-]*:sagemaker:")


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
        self._client: Callable[..., Any] = needs("mlflow.tracking", FEATURE, "mlflow").MlflowClient
        self._error: type[Exception] = needs("mlflow.exceptions", FEATURE, "mlflow").MlflowException
        self._overwrite = overwrite
        self._experiment = experiment
        self._live: LiveRuns | None = None
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
        self.reach()
        with self._refusals():
            client = self._client(tracking_uri=self._uri)
            found = client.get_experiment_by_name(self._experiment)
            if found is None or self._overwrite:
                return
            runs = runs_of(client, found.experiment_id, job.arn)
        if runs:
            raise SpecError(
                f"{job.name} is in the experiment {self._experiment!r} already, with {len(runs)} runs: "
                "name another experiment, or overwrite (--overwrite) it"
            )

    def reach(self) -> None:
        """Check that a server answers, and that MLflow has a store for another URI.

        Raises:
            EndpointError: the server does not answer within 10 seconds.
            SpecError: MLflow does not know such URIs.
        """
        if urlsplit(self._uri).scheme not in ("http", "https"):
            if self._file is None and not _ARN.match(self._uri):
                self._check_kind()
            return
        # MLflow's client would retry for minutes.
        requests = needs("requests", FEATURE, "mlflow")
        try:
            requests.get(f"{self._uri.rstrip('/')}/health", timeout=_TIMEOUT)
        except requests.RequestException as error:
            raise EndpointError(
                f"no MLflow server answers at {_without_password(self._uri)}: start it, or give another place"
            ) from error

    def _check_kind(self) -> None:
        try:
            self._client(tracking_uri=self._uri)
        except self._error as error:
            first_line = str(error).partition("\n")[0].strip()
            raise SpecError(
                f"MLflow has no store for {_without_password(self._uri)}: give a folder, sqlite:///FILE, the URL of a "
                f"server, or the ARN of SageMaker's MLflow; MLflow says: {first_line}"
            ) from error

    def update(self, info: JobInfo) -> None:
        """Add to a job's runs what they lack; without runs, all of it. A repeated update writes nothing.

        After an error, the next update reads the runs again, so that it continues with those that were written.

        Raises:
            SpecError: a local store refused, or its folder cannot be made.
            ServiceError: a server refused or does not answer.
        """
        self.reach()
        if self._file is not None:
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise SpecError(f"cannot write to {str(self._file.parent)!r}: {error.strerror or error}") from error
        live, self._live = self._live, None
        with self._refusals(), _bounded_retries():
            if live is None:
                client = self._client(tracking_uri=self._uri)
                live = LiveRuns(client, self._experiment_id(client), info.arn)
            live.update(info)
        self._live = live

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
            old = [run.info.run_id for run in runs_of(client, experiment, info.arn)]
            runs = Runs(client, experiment)
            try:
                parent = runs.write(info)
            except BaseException:
                delete(client, runs.made)
                raise
            delete(client, old)
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
    tracking = needs("mlflow.tracking", FEATURE, "mlflow")
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
def _bounded_retries() -> Iterator[None]:
    """Let MLflow's client give up within a minute instead of minutes, unless the user's environment sets its retries.

    The client reads these variables at each call [mlflow/environment_variables.py]; they are unset afterwards.
    """
    with ExitStack() as after:
        for name, value in _RETRIES.items():
            if name not in os.environ:
                os.environ[name] = value
                after.callback(os.environ.pop, name, None)
        yield


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


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return parts._replace(netloc=f"***@{parts.netloc.rpartition('@')[2]}").geturl()
