"""TensorBoard: a folder of event files for its HParams and Time Series views.

``WHERE`` has the experiment's columns, ``WHERE/JOB`` the job's facts and ``WHERE/JOB/TRIAL`` one session each. HParams
reads one experiment a folder (tensorboard's ``backend_context.py`` takes the first that it finds), so jobs in the same
folder share it: it has the columns of all of them.

Records are made with TensorBoard's own protocol buffers and writer; TensorFlow is not needed. Scalars are float32:
TensorBoard's data server, which feeds the browser, reads no other numbers [tensorboard/data/server/data_compat.rs].
Hyperparameters are float64.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sm_tuning._errors import SpecError
from sm_tuning._statuses import TrainingStatus
from sm_tuning.description import Job, Value
from sm_tuning.views.exports._info import Hyperparameter, JobInfo, TrialInfo
from sm_tuning.views.exports._target import (
    OBJECTIVE,
    Exported,
    check_folder,
    facts_of_job,
    needs,
    new_file,
    new_folder,
)

#: TensorBoard reads every file whose name contains ``tfevents``, and a file of the same name only once. A job that is
#: written again gets new names, so that a running TensorBoard shows it.
_FILE = "events.out.tfevents.{seconds}.sm-tuning.{unique}"
_EXPERIMENT = "events.out.tfevents.0.sm-tuning"

_STATUS: Mapping[str, str] = {
    TrainingStatus.COMPLETED: "STATUS_SUCCESS",
    TrainingStatus.STOPPED: "STATUS_SUCCESS",
    TrainingStatus.FAILED: "STATUS_FAILURE",
}
_TYPES = {
    "int": "DATA_TYPE_FLOAT64",
    "float": "DATA_TYPE_FLOAT64",
    "bool": "DATA_TYPE_BOOL",
    "text": "DATA_TYPE_STRING",
}


class TensorBoard:
    """A log directory.

    Args:
        where: the folder.
        overwrite: replace a job that was exported before.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """

    def __init__(self, where: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        self._root = Path(where)
        self._overwrite = overwrite
        self._events = _Events()

    def check(self, job: Job) -> None:
        """Check that the job's folder can be made.

        Raises:
            SpecError: it cannot.
        """
        check_folder(self._root, job.name, overwrite=self._overwrite)

    def write(self, info: JobInfo) -> Exported:
        """Write the job's folder, and add its columns to the experiment.

        Raises:
            SpecError: a folder cannot be written, or a hyperparameter has another type in another job.
        """
        path, created = self._root / _EXPERIMENT, info.created.timestamp()
        # An experiment of this job alone is written anew, so that its old columns go.
        others = [
            entry.name
            for entry in (self._root.iterdir() if path.is_file() else ())
            if entry.is_dir() and entry.name != info.name and not entry.name.startswith(".")
        ]
        experiment = self._events.experiment(info, path if others else None)

        def write(folder: Path, seconds: float, events: list[_Dated]) -> None:
            folder.mkdir(exist_ok=True)
            name = _FILE.format(seconds=int(seconds), unique=uuid.uuid4().hex[:12])
            self._events.write(folder / name, seconds, events)

        # Both appear at the end, so that a running TensorBoard sees no session without its columns.
        with new_file(path) as columns, new_folder(self._root / info.name) as folder:
            self._events.write(columns, created, experiment)
            write(folder, created, self._events.facts(info))
            for trial in info.trials:
                began = (trial.started or info.created).timestamp()
                write(folder / trial.name, began, self._events.session(trial, began))
        look = f"tensorboard --logdir {self._root}"
        return Exported(info.name, "tensorboard", str(self._root), info.name, len(info.trials), look)


class _Dated(NamedTuple):
    """The content of a record: its time in seconds, its step and a ``Summary.Value``."""

    seconds: float
    step: int
    value: Any


class _Events:
    """Makes and writes records.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """

    def __init__(self) -> None:
        def load(module: str) -> Any:
            return needs(f"tensorboard.{module}", "an export to TensorBoard", "tensorboard")

        self._event = load("compat.proto.event_pb2").Event
        self._summary = load("compat.proto.summary_pb2").Summary
        self._tensor = load("compat.proto.tensor_pb2").TensorProto
        self._types = load("compat.proto.types_pb2")
        self._hparams = load("plugins.hparams.metadata")
        self._api = load("plugins.hparams.api_pb2")
        self._plugin = load("plugins.hparams.plugin_data_pb2")
        self._scalars = load("plugins.scalar.metadata")
        self._texts = load("plugins.text.metadata")
        self._writer = load("summary.writer.record_writer").RecordWriter
        self._loader = load("backend.event_processing.event_file_loader").RawEventFileLoader

    def write(self, path: Path, seconds: float, events: Iterable[_Dated]) -> None:
        """Write a file of records.

        Raises:
            OSError: it cannot be written.
        """
        with path.open("wb") as file:
            writer = self._writer(file)
            writer.write(self._event(wall_time=seconds, file_version="brain.Event:2").SerializeToString())
            for event in events:
                summary = self._summary(value=[event.value])
                record = self._event(wall_time=event.seconds, step=event.step, summary=summary)
                writer.write(record.SerializeToString())

    def experiment(self, info: JobInfo, others: Path | None) -> list[_Dated]:
        """Return the experiment: each column with its type and its domain, and each metric.

        Args:
            info: the job.
            others: the file of an experiment whose columns are added.

        Raises:
            SpecError: a column has another type there.
        """
        direction = "maximized" if info.maximize else "minimized"
        objective = f"{info.objective}, {direction}: the value that the tuning job ranks by"
        metrics = [(OBJECTIVE, "objective", objective), *((name, "", "") for name in info.metrics)]
        experiment = self._api.Experiment(
            name=info.name,
            description=f"SageMaker tuning job {info.arn}",
            time_created_secs=info.created.timestamp(),
            hparam_infos=[self._column(hyperparameter) for hyperparameter in info.hyperparameters],
            metric_infos=[
                self._api.MetricInfo(name=self._api.MetricName(tag=tag), display_name=shown, description=text)
                for tag, shown, text in metrics
            ],
        )
        if others is not None:
            for record in self._loader(str(others)).Load():
                for value in self._event.FromString(record).summary.value:
                    if value.tag == self._hparams.EXPERIMENT_TAG:
                        content = value.metadata.plugin_data.content
                        _merge(experiment, self._hparams.parse_experiment_plugin_data(content))
        data = self._plugin.HParamsPluginData(experiment=experiment)
        return [_Dated(info.created.timestamp(), 0, self._hparams_value(self._hparams.EXPERIMENT_TAG, data))]

    def _column(self, hyperparameter: Hyperparameter) -> Any:
        """Return the column of a hyperparameter."""
        kind = self._api.DataType.Value(_TYPES[hyperparameter.kind])
        column = self._api.HParamInfo(name=hyperparameter.name, type=kind)
        if hyperparameter.choices:
            for choice in hyperparameter.choices:
                _fill(column.domain_discrete.values.add(), choice)
        elif hyperparameter.range is not None and hyperparameter.range.low is not None:
            column.domain_interval.min_value = hyperparameter.range.low
            column.domain_interval.max_value = hyperparameter.range.high
            column.description = f"{hyperparameter.range.kind}, scale {hyperparameter.range.scaling}"
        return column

    def facts(self, info: JobInfo) -> list[_Dated]:
        """Return the job's facts, static hyperparameters and environment as a text."""
        lines = _table("fact", facts_of_job(info) | {f"tag {name}": text for name, text in info.tags.items()})
        for title, members in (("static hyperparameter", info.static), ("environment variable", info.environment)):
            for definition, values in members.items():
                lines += _table(title + (f" of {definition}" if len(members) > 1 else ""), values)
        tensor = self._tensor(dtype=self._types.DT_STRING, string_val=["\n".join(lines).encode()])
        metadata = self._texts.create_summary_metadata("tuning job", "")
        value = self._summary.Value(tag="tuning_job", tensor=tensor, metadata=metadata)
        return [_Dated(info.created.timestamp(), 0, value)]

    def session(self, trial: TrialInfo, began: float) -> list[_Dated]:
        """Return a trial: its hyperparameters, every value of every metric, and how it ended."""
        start = self._plugin.SessionStartInfo(group_name=trial.name, start_time_secs=began, model_uri=trial.model_uri)
        for name, value in trial.hyperparameters.items():
            _fill(start.hparams[name], value)
        made = self._plugin.HParamsPluginData(session_start_info=start)
        events = [_Dated(began, 0, self._hparams_value(self._hparams.SESSION_START_INFO_TAG, made))]
        for metric, points in trial.curves.items():
            events += [_Dated(point.seconds, point.step, self._scalar(metric, point.value)) for point in points]
        step, microseconds = trial.last
        finals = trial.finals if trial.value is None else {OBJECTIVE: trial.value, **trial.finals}
        events += [_Dated(microseconds / 1e6, step, self._scalar(name, value)) for name, value in finals.items()]
        if trial.ended is not None:
            seconds = trial.ended.timestamp()
            status = _STATUS.get(trial.status, "STATUS_RUNNING")
            # A trial that was stopped before it had a value is neither a success nor a failure.
            if trial.status == TrainingStatus.STOPPED and trial.value is None:
                status = "STATUS_UNKNOWN"
            end = self._plugin.SessionEndInfo(status=self._api.Status.Value(status), end_time_secs=seconds)
            data = self._plugin.HParamsPluginData(session_end_info=end)
            events.append(_Dated(seconds, 0, self._hparams_value(self._hparams.SESSION_END_INFO_TAG, data)))
        return events

    def _scalar(self, tag: str, value: float) -> Any:
        tensor = self._tensor(dtype=self._types.DT_FLOAT, float_val=[value])
        metadata = self._scalars.create_summary_metadata("", "")
        return self._summary.Value(tag=tag, tensor=tensor, metadata=metadata)

    def _hparams_value(self, tag: str, data: Any) -> Any:
        metadata = self._hparams.create_summary_metadata(data)
        return self._summary.Value(tag=tag, tensor=self._hparams.NULL_TENSOR, metadata=metadata)


def _table(title: str, values: Mapping[str, Value]) -> list[str]:
    """Return the lines of a Markdown table; none without values."""

    def cell(text: str) -> str:
        return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")

    if not values:
        return []
    rows = [f"| {cell(name)} | {cell(str(text))} |" for name, text in values.items()]
    return [f"| {title} | value |", "| --- | --- |", *rows, ""]


def _fill(slot: Any, value: Value) -> None:
    """Set a ``google.protobuf.Value``."""
    # Before the number: a bool is an int in Python.
    if isinstance(value, bool):
        slot.bool_value = value
    elif isinstance(value, str):
        slot.string_value = value
    else:
        slot.number_value = value


def _merge(experiment: Any, other: Any) -> None:
    """Add the columns and metrics of another experiment.

    Raises:
        SpecError: a column has different types in the two.
    """
    columns = {column.name: column for column in experiment.hparam_infos}
    for column in other.hparam_infos:
        if column.name not in columns:
            experiment.hparam_infos.add().CopyFrom(column)
        elif column.type == columns[column.name].type:
            _widen(columns[column.name], column)
        else:
            raise SpecError(
                f"hyperparameter {column.name!r} is of another type in the jobs that this folder has already, and "
                "TensorBoard shows one type a column: export to another folder"
            )
    known = {metric.name.tag for metric in experiment.metric_infos}
    for metric in other.metric_infos:
        if metric.name.tag not in known:
            experiment.metric_infos.add().CopyFrom(metric)


def _widen(column: Any, other: Any) -> None:
    """Give a column the union of two domains; no domain if they are of different kinds."""
    kinds = {column.WhichOneof("domain"), other.WhichOneof("domain")}
    if kinds == {"domain_discrete"}:
        known = [value.SerializeToString() for value in column.domain_discrete.values]
        for value in other.domain_discrete.values:
            if value.SerializeToString() not in known:
                column.domain_discrete.values.add().CopyFrom(value)
    elif kinds == {"domain_interval"}:
        interval = column.domain_interval
        interval.min_value = min(interval.min_value, other.domain_interval.min_value)
        interval.max_value = max(interval.max_value, other.domain_interval.max_value)
    else:
        column.ClearField("domain_discrete")
        column.ClearField("domain_interval")
