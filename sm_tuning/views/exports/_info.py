"""A tuning job as other tools are told of it: plain values, typed once, with what looks like a secret masked. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from sm_tuning._errors import SpecError
from sm_tuning._masking import MASK, is_secret, masked, redacted, secrets_of_job
from sm_tuning._statuses import ObjectiveStatus
from sm_tuning.spec import decode_json, encode_json
from sm_tuning.views._axis import Range
from sm_tuning.views._content import parents_of
from sm_tuning.views._trials import About, about

Value = str | bool | int | float
Kind = Literal["int", "float", "bool", "text"]

_FIRST_FIXED = "TrainingJobName"
_KINDS: Mapping[str, Kind] = {"Int64": "int", "float64": "float", "boolean": "bool"}
_INTERNAL = ("_tuning_", "sagemaker_")  # what the service and the SDK add to the static hyperparameters


class Hyperparameter(NamedTuple):
    """A tuned hyperparameter.

    Attributes:
        name: as the training script gets it.
        kind: of all its values, in every trial.
        range: the widest of its ranges; None when it is tuned but the job says no range, or is masked.
        choices: a categorical range's values, of this kind.
    """

    name: str
    kind: Kind
    range: Range | None = None
    choices: tuple[Value, ...] = ()


class Point(NamedTuple):
    """A value of a metric: its step, counted from 0 for each trial and metric, and when it was written."""

    step: int
    microseconds: int
    value: float

    @property
    def seconds(self) -> float:
        """The time in seconds since 1970."""
        return self.microseconds / 1e6

    @property
    def milliseconds(self) -> int:
        """The time in milliseconds since 1970."""
        return self.microseconds // 1000


class TrialInfo(NamedTuple):
    """A training job.

    Attributes:
        name: the training job.
        arn: its ARN.
        status: TrainingJobStatus.
        objective_status: ObjectiveStatus; empty when there is none.
        objective: the name of its objective metric.
        value: the final objective value; None without one, also nan and the infinities as they came.
        best: whether it is the tuning job's best.
        started: when training began; None before.
        ended: when it ended; None before.
        failure: why it failed or was stopped; empty when nothing is said.
        definition: its training job definition; empty in a job with a single one.
        hyperparameters: the tuned ones that it has.
        static: the others, without those that the service and the SDK add.
        metrics: final values by name, the objective not included.
        curves: values by metric, in order of their steps.
        model_uri: where its model is; empty when it has none.
    """

    name: str
    arn: str
    status: str
    objective_status: str
    objective: str
    value: float | None
    best: bool
    started: datetime | None
    ended: datetime | None
    failure: str
    definition: str
    hyperparameters: dict[str, Value]
    static: dict[str, Value]
    metrics: Mapping[str, float]
    curves: Mapping[str, tuple[Point, ...]]
    model_uri: str = ""

    @property
    def last(self) -> tuple[int, int]:
        """The last step, and the time in microseconds of the last value; the end or start where there are none."""
        points = [points[-1] for points in self.curves.values() if points]
        moment = self.ended or self.started
        since = 0 if moment is None else round(moment.timestamp() * 1e6)
        return max((one.step for one in points), default=0), max((one.microseconds for one in points), default=since)

    @property
    def finals(self) -> dict[str, float]:
        """Final metrics that have no curve."""
        return {name: value for name, value in self.metrics.items() if name not in self.curves}


class JobInfo(NamedTuple):
    """A tuning job with its trials, ordered by their start.

    Attributes:
        name: the tuning job.
        arn: its ARN.
        region: where it is.
        status: HyperParameterTuningJobStatus.
        strategy: Bayesian, Random, Grid or Hyperband.
        created: when it was made.
        ended: when it ended; None before.
        failure: why it failed; empty when nothing is said.
        objective: the objective's metric name; of several, all.
        maximize: the objective's direction.
        hyperparameters: the union of the tuned ones.
        static: static hyperparameters of each definition.
        environment: environment variables of each definition.
        tags: of the tuning job.
        parents: jobs that it was warm-started from.
        trials: one for each training job.
    """

    name: str
    arn: str
    region: str
    status: str
    strategy: str
    created: datetime
    ended: datetime | None
    failure: str
    objective: str
    maximize: bool
    hyperparameters: tuple[Hyperparameter, ...]
    static: Mapping[str, Mapping[str, Value]]
    environment: Mapping[str, Mapping[str, Value]]
    tags: Mapping[str, str]
    parents: tuple[str, ...]
    trials: tuple[TrialInfo, ...]

    @property
    def best(self) -> TrialInfo | None:
        """The best trial; None as long as none has an objective."""
        return next((trial for trial in self.trials if trial.best), None)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric that a trial has values of."""
        return tuple(dict.fromkeys(name for trial in self.trials for name in (*trial.curves, *trial.metrics)))


def job_info(
    description: Mapping[str, Any],
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    tags: Mapping[str, str] | None = None,
    models: Mapping[str, str] | None = None,
) -> JobInfo:
    """What other tools are told of a job.

    Values whose name looks like a secret's become ``****``, and so does what repeats them in a failure's reason.

    Args:
        description: DescribeHyperParameterTuningJob's answer.
        trials: the job's frame of trials.
        curves: its frame of curves.
        tags: its tags.
        models: S3 URI of the model by training job.

    Raises:
        SpecError: the frame is no frame of trials, or one definition minimizes what another maximizes.
    """
    if _FIRST_FIXED not in trials:
        raise SpecError(f"this is not a frame of trials: it has no column {_FIRST_FIXED}; take it from job.trials()")
    known = about(description)
    columns = [str(name) for name in trials.columns[: list(trials.columns).index(_FIRST_FIXED)]]
    tuned = {name: _hyperparameter(name, trials[name], known) for name in columns}
    arn = str(description["HyperParameterTuningJobArn"])
    static, environment = _members(description, "StaticHyperParameters"), _members(description, "Environment")
    one = _Maker(
        arn=arn.partition(":hyper-parameter-tuning-job/")[0] + ":training-job/",
        secrets=frozenset(secrets_of_job(description)) | _hidden(trials, tuned),
        tuned=tuned,
        static=static,
        objectives=_objectives(description),
        curves=_curves(curves),
        models=models or {},
    )
    made = [one.trial(row) for row in trials.to_dict("records")]
    return JobInfo(
        name=str(description["HyperParameterTuningJobName"]),
        arn=arn,
        region=arn.split(":")[3],
        status=str(description["HyperParameterTuningJobStatus"]),
        strategy=str(description.get("HyperParameterTuningJobConfig", {}).get("Strategy", "")),
        created=description["CreationTime"],
        ended=description.get("HyperParameterTuningEndTime"),
        failure=redacted(str(description.get("FailureReason") or ""), one.secrets),
        objective=known.objective,
        maximize=bool(known.maximize),
        hyperparameters=tuple(tuned.values()),
        static=static,
        environment=environment,
        tags=masked(tags or {}),
        parents=tuple(parents_of(description)),
        trials=tuple(sorted(made, key=_by_start)),
    )


def _by_start(trial: TrialInfo) -> tuple[float, str]:
    return (math.inf if trial.started is None else trial.started.timestamp(), trial.name)


class _Maker(NamedTuple):
    """What the trials of a job have in common, for making one of a row of the frame."""

    arn: str
    secrets: frozenset[str]
    tuned: Mapping[str, Hyperparameter]
    static: Mapping[str, Mapping[str, Value]]
    objectives: Mapping[str, str]
    curves: Mapping[str, Mapping[str, tuple[Point, ...]]]
    models: Mapping[str, str]

    def trial(self, row: Mapping[Any, Any]) -> TrialInfo:
        name, definition = str(row["TrainingJobName"]), _text(row["TrainingJobDefinitionName"])
        tuned = {one.name: _value(one, row[column]) for column, one in self.tuned.items() if not _is_na(row[column])}
        key = definition if definition in self.static else next(iter(self.static))
        static = self.static[key]
        value = row["FinalObjectiveValue"]
        return TrialInfo(
            name=name,
            arn=self.arn + name,
            status=str(row["TrainingJobStatus"]),
            objective_status=_text(row["ObjectiveStatus"]),
            objective=self.objectives[key],
            value=None
            if _text(row["ObjectiveStatus"]) != ObjectiveStatus.SUCCEEDED and math.isnan(value)
            else float(value),
            best=bool(row["IsBest"]),
            started=_moment(row["TrainingStartTime"]),
            ended=_moment(row["TrainingEndTime"]),
            failure=redacted(_text(row["FailureReason"]), self.secrets),
            definition=definition if len(self.static) > 1 else "",
            hyperparameters=tuned,
            static={key: text for key, text in static.items() if key not in tuned and not key.startswith(_INTERNAL)},
            metrics={
                key.removeprefix("metric:"): float(final)
                for key, final in row.items()
                if key.startswith("metric:") and key not in self.tuned and not math.isnan(final)
            },
            curves=self.curves.get(name, {}),
            model_uri=self.models.get(name, ""),
        )


def _hyperparameter(column: str, values: pd.Series, known: About) -> Hyperparameter:
    """A column's one kind; masked as a whole when one of its values looks like a secret."""
    name = column if column in known.ranges else column.removeprefix("hyperparameter:")
    if any(is_secret(name, value) for value in values.dropna().unique()):
        return Hyperparameter(name, "text", None, (MASK,))
    kind = _KINDS.get(str(values.dtype), "text")
    found = known.ranges.get(name)
    hyperparameter = Hyperparameter(name, kind, found)
    if found is None or found.kind != "Categorical":
        return hyperparameter
    return hyperparameter._replace(choices=tuple(_choice(kind, text) for text in found.values))


def _choice(kind: Kind, text: str) -> Value:
    """A categorical value, which the range has as text, as the column of trials has it."""
    return text if kind == "text" else float(text) if kind == "float" else json.loads(text)


def _value(one: Hyperparameter, value: Any) -> Value:
    if one.choices == (MASK,):
        return MASK
    makers: Mapping[Kind, type[Value]] = {"int": int, "float": float, "bool": bool, "text": str}
    return makers[one.kind](value)


def _hidden(trials: pd.DataFrame, tuned: Mapping[str, Hyperparameter]) -> frozenset[str]:
    """The values of masked columns."""
    columns = [column for column, one in tuned.items() if one.choices == (MASK,)]
    return frozenset(str(value) for column in columns for value in trials[column].dropna().unique())


def _members(description: Mapping[str, Any], member: str) -> dict[str, dict[str, Value]]:
    """A part of each definition by the definition's name, which is empty for a single one without name."""
    read = _read if member == "StaticHyperParameters" else str
    return {
        str(one.get("DefinitionName") or ""): {
            str(name): read(value) for name, value in masked(one.get(member) or {}).items()
        }
        for one in _definitions(description)
    }


def _read(text: str) -> Value:
    """A static hyperparameter as a number, truth value or bare text; what would be written otherwise stays as it is."""
    value = decode_json(text)
    if isinstance(value, str):
        return value
    return value if isinstance(value, bool | int | float) and encode_json(value) == text else text


def _objectives(description: Mapping[str, Any]) -> dict[str, str]:
    """The objective's metric name by definition; a definition's own comes before the job's."""
    of_job = description.get("HyperParameterTuningJobConfig", {}).get("HyperParameterTuningJobObjective") or {}
    return {
        str(one.get("DefinitionName") or ""): str((one.get("TuningObjective") or of_job).get("MetricName", "objective"))
        for one in _definitions(description)
    }


def _definitions(description: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return description.get("TrainingJobDefinitions") or [description.get("TrainingJobDefinition") or {}]


def _curves(curves: pd.DataFrame) -> dict[str, dict[str, tuple[Point, ...]]]:
    """Values by trial and metric. The frame is ordered by these two, and then by step."""
    found: dict[str, dict[str, list[Point]]] = {}
    for trial, metric, point in _points(curves):
        found.setdefault(trial, {}).setdefault(metric, []).append(point)
    return {
        trial: {metric: tuple(sorted(points, key=lambda point: point.step)) for metric, points in of.items()}
        for trial, of in found.items()
    }


def _points(curves: pd.DataFrame) -> Iterator[tuple[str, str, Point]]:
    moments: Sequence[int] = (
        curves["Timestamp"].dt.tz_convert(None).to_numpy("datetime64[us]").astype(np.int64).tolist()
    )
    columns = (curves[name].tolist() for name in ("TrainingJobName", "MetricName", "Step", "Value"))
    for trial, metric, step, value, moment in zip(*columns, moments, strict=True):
        yield str(trial), str(metric), Point(int(step), moment, float(value))


def _is_na(value: Any) -> bool:
    return bool(pd.isna(value))


def _text(value: Any) -> str:
    return "" if _is_na(value) else str(value)


def _moment(value: Any) -> datetime | None:
    return None if _is_na(value) else value.to_pydatetime()
