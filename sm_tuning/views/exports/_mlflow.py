"""MLflow: a run for the tuning job, and under it one for each trial."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sm_tuning._errors import EndpointError, ServiceError, SpecError
from sm_tuning.views.exports._info import JobInfo
from sm_tuning.views.exports._places import new_file, refuse_no_database
from sm_tuning.views.exports._runs import ARN_TAG, Runs
from sm_tuning.views.exports._target import Exported, name_of, needs

DEFAULT_EXPERIMENT = "sm-tuning"

#: Seconds in which a tracking server must answer.
_PATIENCE = 10

_DATABASE = "mlflow.db"
_VARIABLE = "MLFLOW_TRACKING_URI"
_ARN = re.compile(r"arn:aws[a-z\-]*:sagemaker:")


class Mlflow:
    """A tracking store.

    Args:
        where: a folder, which gets a SQLite store ``mlflow.db``; or a tracking URI: ``sqlite:///…``, a server's
            ``https://…``, the ARN of a tracking server or app of SageMaker's.
        overwrite: replaces the runs of a job that is there already.
        experiment: the experiment's name; it is made when there is none.

    Raises:
        MissingExtraError: mlflow is not installed.
        SpecError: the place is none, or the plugin for SageMaker's MLflow is not installed.
    """

    def __init__(
        self, where: str | os.PathLike[str], *, overwrite: bool = False, experiment: str = DEFAULT_EXPERIMENT
    ) -> None:
        self._client: Callable[..., Any] = needs("mlflow.tracking", "an export to MLflow", "mlflow").MlflowClient
        self._error: type[Exception] = needs("mlflow.exceptions", "an export to MLflow", "mlflow").MlflowException
        self._overwrite = overwrite
        self._experiment = experiment
        self._uri, self._file = _place(where)
        if self._file is not None:
            refuse_no_database(self._file)  # with which MLflow's client goes on trying for very long
            needs("sqlalchemy", "a local store of MLflow", "mlflow")
            needs("alembic", "a local store of MLflow", "mlflow")

    def refuse(self, description: Mapping[str, Any]) -> None:
        """Say that the job is there.

        Raises:
            SpecError: it is.
            EndpointError: no server answers.
        """
        if self._file is not None and not self._file.exists():
            return
        _reach(self._uri)
        with self._refusals():
            client = self._client(tracking_uri=self._uri)
            found = client.get_experiment_by_name(self._experiment)
            if found is not None and not self._overwrite:
                self._refuse(client, found.experiment_id, description)

    def write(self, info: JobInfo) -> Exported:
        """Write a job's runs; when that fails, they are deleted again, and a new store is not made.

        Raises:
            SpecError: MLflow refuses.
            ServiceError: a server refuses.
        """
        if self._file is not None and not self._file.exists():
            with new_file(self._file) as part:
                run = self._write(f"sqlite:///{part}", info)
        else:
            run = self._write(self._uri, info)
        return Exported(info.name, "mlflow", self._uri, run, len(info.trials), self._look())

    def _write(self, uri: str, info: JobInfo) -> str:
        """Write into a store, and delete what it had of the job before."""
        with self._refusals():
            client = self._client(tracking_uri=uri)
            experiment = self._experiment_id(client)
            old = [run.info.run_id for run in _runs_of(client, experiment, info.arn)]
            runs = Runs(client, experiment)
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
            local = None if self._file is None else (self._file.parent / "artifacts").as_uri()
            return str(client.create_experiment(self._experiment, artifact_location=local))
        if found.lifecycle_stage == "deleted":
            raise SpecError(
                f"the experiment {self._experiment!r} was deleted: restore it, or name another (experiment)"
            )
        return str(found.experiment_id)

    def _refuse(self, client: Any, experiment: str, description: Mapping[str, Any]) -> None:
        there = _runs_of(client, experiment, str(description["HyperParameterTuningJobArn"]))
        if there:
            raise SpecError(
                f"{name_of(description)} is in the experiment {self._experiment!r} already, with {len(there)} runs: "
                "name another experiment, or overwrite (--overwrite) it"
            )

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """MLflow's errors as ours, in one line; what it uses of others that is deprecated is its own matter."""
        place = tracking_at(self._uri) if _ARN.match(self._uri) else without_header_warnings()
        try:
            with place, warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                yield
        except self._error as error:
            text = f"MLflow at {_shown(self._uri)} refuses: {str(error).partition(chr(10))[0]}"
            raise (SpecError if self._uri.startswith("sqlite:") else ServiceError)(text) from error

    def _look(self) -> str:
        if self._uri.startswith("sqlite:"):
            return f"mlflow ui --backend-store-uri {self._uri}"
        return f"the experiment {self._experiment!r} of {_shown(self._uri)}"


@contextmanager
def tracking_at(uri: str) -> Iterator[None]:
    """The process' tracking URI for a while, from which SageMaker's plugin makes its headers and signatures.

    MLflow keeps it in a variable of the environment too; both are as before afterwards.
    """
    tracking = needs("mlflow.tracking", "an export to MLflow", "mlflow")
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
def without_header_warnings() -> Iterator[None]:
    """Silence the plugin for SageMaker's MLflow, which complains at each call to a server that is not SageMaker's."""
    logger = logging.getLogger("mlflow.tracking.request_header.registry")
    logger.addFilter(_nothing)
    try:
        yield
    finally:
        logger.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    del record
    return False


def _place(where: str | os.PathLike[str]) -> tuple[str, Path | None]:
    """The tracking URI, and the SQLite file of a local one.

    Raises:
        SpecError: the place is none.
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
    if "://" in text or text == "databricks":
        return text, None
    path = Path(where).absolute()
    if path.suffix == ".db" and not path.is_dir():
        return f"sqlite:///{path}", path
    if path.exists() and not path.is_dir():
        raise SpecError(f"{text!r} is a file: give a folder, a file that ends in .db, or a tracking URI")
    return f"sqlite:///{path / _DATABASE}", path / _DATABASE


def _runs_of(client: Any, experiment: str, arn: str) -> list[Any]:
    """The runs of a tuning job, its own and its trials'."""
    found, token = [], None
    while True:
        page = client.search_runs([experiment], filter_string=f"tags.`{ARN_TAG}` = '{arn}'", page_token=token)
        found += list(page)
        token = page.token
        if not token:
            return found


def _delete(client: Any, runs: list[str]) -> None:
    """Delete runs, the last first, so that a parent goes after its children."""
    for run in reversed(runs):
        client.delete_run(run)


def _reach(uri: str) -> None:
    """Ask a server whether it is there, because MLflow's client goes on trying for minutes.

    Raises:
        EndpointError: nothing answers.
    """
    if urlsplit(uri).scheme not in ("http", "https"):
        return
    requests = needs("requests", "an export to MLflow", "mlflow")
    try:
        requests.get(f"{uri.rstrip('/')}/health", timeout=_PATIENCE)
    except requests.RequestException as error:
        raise EndpointError(f"no MLflow server answers at {_shown(uri)}: start it, or give another place") from error


def _shown(uri: str) -> str:
    """The URI without what is secret in it."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return parts._replace(netloc=f"***@{parts.netloc.rpartition('@')[2]}").geturl()
