"""TensorBoard's records, made of its own protocol buffers and written by its own writer; no TensorFlow is needed.

Scalars are float32: TensorBoard's data server, which feeds the browser, reads no other numbers
[tensorboard/data/server/data_compat.rs]. Hyperparameters are float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sm_tuning._errors import SpecError
from sm_tuning._statuses import TrainingStatus
from sm_tuning.views.exports._info import Hyperparameter, JobInfo, TrialInfo, Value
from sm_tuning.views.exports._target import OBJECTIVE, facts_of_job, needs

_STATUS: dict[str, str] = {
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


class Dated(NamedTuple):
    """A record's content: its time in seconds, its step and a ``Summary.Value``."""

    seconds: float
    step: int
    value: Any


class Events:
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

    def write(self, path: Path, seconds: float, events: Iterable[Dated]) -> None:
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

    def experiment(self, info: JobInfo, others: Path | None) -> list[Dated]:
        """The experiment: every column with its one type and its domain, and every metric.

        Args:
            info: the job.
            others: the file of an experiment whose columns are also in it.

        Raises:
            SpecError: a column of the same name has another type there.
        """
        experiment = self._api.Experiment(
            name=info.name,
            description=f"SageMaker tuning job {info.arn}",
            time_created_secs=info.created.timestamp(),
            hparam_infos=[self._column(one) for one in info.hyperparameters],
            metric_infos=[
                self._api.MetricInfo(name=self._api.MetricName(tag=tag), display_name=shown, description=text)
                for tag, shown, text in _metrics(info)
            ],
        )
        if others is not None:
            self._merge(experiment, self._read_experiment(others))
        data = self._plugin.HParamsPluginData(experiment=experiment)
        return [Dated(info.created.timestamp(), 0, self._hparams_value(self._hparams.EXPERIMENT_TAG, data))]

    def facts(self, info: JobInfo) -> list[Dated]:
        """The job's facts, static hyperparameters and environment as a text."""
        lines = _table("fact", facts_of_job(info) | {f"tag {name}": text for name, text in info.tags.items()})
        for title, members in (("static hyperparameter", info.static), ("environment variable", info.environment)):
            for definition, values in members.items():
                lines += _table(title + (f" of {definition}" if len(members) > 1 else ""), values)
        tensor = self._tensor(dtype=self._types.DT_STRING, string_val=["\n".join(lines).encode()])
        metadata = self._texts.create_summary_metadata("tuning job", "")
        value = self._summary.Value(tag="tuning_job", tensor=tensor, metadata=metadata)
        return [Dated(info.created.timestamp(), 0, value)]

    def session(self, trial: TrialInfo, began: float) -> list[Dated]:
        """A trial: its hyperparameters, every value of every metric, and how it ended."""
        start = self._plugin.SessionStartInfo(group_name=trial.name, start_time_secs=began, model_uri=trial.model_uri)
        for name, value in trial.hyperparameters.items():
            _fill(start.hparams[name], value)
        made = self._plugin.HParamsPluginData(session_start_info=start)
        events = [Dated(began, 0, self._hparams_value(self._hparams.SESSION_START_INFO_TAG, made))]
        for metric, points in trial.curves.items():
            events += [Dated(point.seconds, point.step, self._scalar(metric, point.value)) for point in points]
        step, microseconds = trial.last
        finals = trial.finals if trial.value is None else {OBJECTIVE: trial.value, **trial.finals}
        events += [Dated(microseconds / 1e6, step, self._scalar(name, value)) for name, value in finals.items()]
        if trial.ended is not None:
            events.append(self._end(trial, trial.ended.timestamp()))
        return events

    def _end(self, trial: TrialInfo, seconds: float) -> Dated:
        status = (
            "STATUS_UNKNOWN"
            if trial.status == TrainingStatus.STOPPED and trial.value is None
            else _STATUS.get(trial.status)
        )
        end = self._plugin.SessionEndInfo(
            status=self._api.Status.Value(status or "STATUS_RUNNING"), end_time_secs=seconds
        )
        data = self._plugin.HParamsPluginData(session_end_info=end)
        return Dated(seconds, 0, self._hparams_value(self._hparams.SESSION_END_INFO_TAG, data))

    def _scalar(self, tag: str, value: float) -> Any:
        tensor = self._tensor(dtype=self._types.DT_FLOAT, float_val=[value])
        metadata = self._scalars.create_summary_metadata("", "")
        return self._summary.Value(tag=tag, tensor=tensor, metadata=metadata)

    def _hparams_value(self, tag: str, data: Any) -> Any:
        metadata = self._hparams.create_summary_metadata(data)
        return self._summary.Value(tag=tag, tensor=self._hparams.NULL_TENSOR, metadata=metadata)

    def _column(self, one: Hyperparameter) -> Any:
        column = self._api.HParamInfo(name=one.name, type=self._api.DataType.Value(_TYPES[one.kind]))
        if one.choices:
            for choice in one.choices:
                _fill(column.domain_discrete.values.add(), choice)
        elif one.range is not None and one.range.low is not None:
            column.domain_interval.min_value = one.range.low
            column.domain_interval.max_value = one.range.high
            column.description = f"{one.range.kind}, scale {one.range.scaling}"
        return column

    def _read_experiment(self, path: Path) -> Any:
        """The experiment in a file; an empty one when it has none."""
        for record in self._loader(str(path)).Load():
            for value in self._event.FromString(record).summary.value:
                if value.tag == self._hparams.EXPERIMENT_TAG:
                    return self._hparams.parse_experiment_plugin_data(value.metadata.plugin_data.content)
        return self._api.Experiment()

    def _merge(self, experiment: Any, other: Any) -> None:
        """Take the columns and metrics of another experiment over."""
        columns = {column.name: column for column in experiment.hparam_infos}
        for column in other.hparam_infos:
            if column.name not in columns:
                experiment.hparam_infos.add().CopyFrom(column)
            elif column.type != columns[column.name].type:
                raise SpecError(
                    f"hyperparameter {column.name!r} is of another type in the jobs that this folder has already, and "
                    "TensorBoard shows one type a column: export to another folder"
                )
            else:
                _widen(columns[column.name], column)
        known = {metric.name.tag for metric in experiment.metric_infos}
        for metric in other.metric_infos:
            if metric.name.tag not in known:
                experiment.metric_infos.add().CopyFrom(metric)


def _metrics(info: JobInfo) -> list[tuple[str, str, str]]:
    """Tag, shown name and description of each metric, the objective first."""
    direction = "maximized" if info.maximize else "minimized"
    first = (OBJECTIVE, "objective", f"{info.objective}, {direction}: the value that the tuning job ranks by")
    return [first, *((name, "", "") for name in info.metrics)]


def _table(title: str, values: Mapping[str, Value]) -> list[str]:
    """A Markdown table; no lines without values."""
    if not values:
        return []
    rows = [f"| {_cell(name)} | {_cell(str(text))} |" for name, text in values.items()]
    return [f"| {title} | value |", "| --- | --- |", *rows, ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _fill(slot: Any, value: Value) -> None:
    """Set a ``google.protobuf.Value``."""
    if isinstance(value, bool):
        slot.bool_value = value
    elif isinstance(value, str):
        slot.string_value = value
    else:
        slot.number_value = value


def _widen(column: Any, other: Any) -> None:
    """Give a column the union of two domains; none when they are of different kinds."""
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
