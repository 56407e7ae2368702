"""A tuning job as other tools get it: plain, typed values, with secrets masked. Makes no API call."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from sm_tuning._masking import MASK, is_secret, masked, redacted
from sm_tuning._statuses import ObjectiveStatus
from sm_tuning._wire import is_reserved_hyperparameter
from sm_tuning.description import Job, Range, Value, column_value
from sm_tuning.spec import decode_scalar
from sm_tuning.views._trials import About, about, rows_of

Kind = Literal["int", "float", "bool", "text"]

_KINDS: Mapping[str, Kind] = {"Int64": "int", "float64": "float", "boolean": "bool"}
_TYPES: Mapping[Kind, type[Value]] = {"int": int, "float": float, "bool": bool, "text": str}


class Hyperparameter(NamedTuple):
    """A tuned hyperparameter.

    Attributes:
        name: as the training script gets it.
        kind: of its values in all trials.
        range: the widest of its ranges; None if no definition has a range for it, or if it is masked.
        choices: the values of a categorical range, of this kind.
    """

    name: str
    kind: Kind
    range: Range | None = None
    choices: tuple[Value, ...] = ()

    @property
    def is_masked(self) -> bool:
        """Whether its values are secrets."""
        return self.choices == (MASK,)


class Point(NamedTuple):
    """A value of a metric: its step, counted from 0 for each trial and metric, and its time."""

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
        objective_status: ObjectiveStatus; empty if the service has not set it.
        objective: the name of its objective metric.
        value: the final objective value, which may be NaN or infinite; None without one.
        best: whether it is the tuning job's best trial.
        started: when training began; None before.
        ended: when it ended; None before.
        failure: why it failed or was stopped; empty without a reason.
        definition: its training job definition; empty in a job with a single one.
        hyperparameters: its tuned hyperparameters.
        static: its static hyperparameters, without those of the service and the SDK.
        metrics: final values by name, without the objective.
        curves: values by metric, in order of their steps.
        model_uri: S3 URI of its model; empty without one.
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
        """The last step, and the time in microseconds of the last value; without values that of the end or start."""
        points = [points[-1] for points in self.curves.values() if points]
        moment = self.ended or self.started
        since = 0 if moment is None else round(moment.timestamp() * 1e6)
        return (
            max((point.step for point in points), default=0),
            max((point.microseconds for point in points), default=since),
        )

    @property
    def finals(self) -> dict[str, float]:
        """Final values of metrics that have no curve."""
        return {name: value for name, value in self.metrics.items() if name not in self.curves}


class JobInfo(NamedTuple):
    """A tuning job with its trials, ordered by their start.

    Attributes:
        name: the tuning job.
        arn: its ARN.
        region: its region.
        status: HyperParameterTuningJobStatus.
        strategy: Bayesian, Random, Grid or Hyperband.
        created: creation time.
        ended: when it ended; None before.
        failure: why it failed; empty without a reason.
        objective: the objective's metric name; of several definitions, all names.
        maximize: whether a greater objective is better.
        hyperparameters: all tuned hyperparameters.
        static: static hyperparameters of each definition.
        environment: environment variables of each definition.
        tags: of the tuning job.
        parents: the jobs that it was warm-started from.
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
        """The best trial; None if no trial has an objective."""
        return next((trial for trial in self.trials if trial.best), None)

    @property
    def metrics(self) -> tuple[str, ...]:
        """All metrics of which a trial has values."""
        return tuple(dict.fromkeys(name for trial in self.trials for name in (*trial.curves, *trial.metrics)))


def job_info(
    job: Job,
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    tags: Mapping[str, str] | None = None,
    models: Mapping[str, str] | None = None,
) -> JobInfo:
    """Return a job as other tools get it.

    Values whose names look like secrets become ``****``, also where the reason of a failure repeats them.

    Args:
        job: the tuning job.
        trials: its frame of trials.
        curves: its frame of curves.
        tags: its tags.
        models: S3 URI of the model by training job.

    Raises:
        SpecError: the frame is not one of trials, or one definition minimizes and another maximizes.
    """
    known = about(job)
    tuned = {name: _hyperparameter(name, trials[name], known) for name in rows_of(trials).hyperparameters}
    hidden = {
        str(value) for name, entry in tuned.items() if entry.is_masked for value in trials[name].dropna().unique()
    }
    maker = _Maker(
        job=job,
        secrets=job.secrets | hidden,
        tuned=tuned,
        static={
            definition.name or "": {
                name: decode_scalar(text, as_json=definition.as_json)
                for name, text in masked(definition.static).items()
            }
            for definition in job.definitions
        },
        curves=_curves(curves),
        models=models or {},
    )
    made = [maker.trial(row) for row in trials.to_dict("records")]
    return JobInfo(
        name=job.name,
        arn=job.arn,
        region=job.region,
        status=job.status,
        strategy=job.strategy,
        created=job.created,
        ended=job.ended_at,
        failure=redacted(job.failure, maker.secrets),
        objective=known.objective,
        maximize=bool(known.maximize),
        hyperparameters=tuple(tuned.values()),
        static=maker.static,
        environment={definition.name or "": masked(definition.environment) for definition in job.definitions},
        tags=masked(tags or {}),
        parents=job.parents,
        trials=tuple(sorted(made, key=lambda t: (t.started.timestamp() if t.started else math.inf, t.name))),
    )


def _hyperparameter(column: str, values: pd.Series, known: About) -> Hyperparameter:
    """Return the hyperparameter of a column; it is masked as a whole if one of its values looks like a secret."""
    # In the frame, a hyperparameter with the name of a fixed column has a prefix.
    name = column if column in known.ranges else column.removeprefix("hyperparameter:")
    if any(is_secret(name, value) for value in values.dropna().unique()):
        return Hyperparameter(name, "text", None, (MASK,))
    # The frame has chosen one dtype for the column, which holds every value of all trials.
    kind = _KINDS.get(str(values.dtype), "text")
    found = known.ranges.get(name)
    dtype = str(values.dtype) if kind != "text" else "string"
    listed = found.values if found is not None else ()
    choices = dict.fromkeys(column_value(value, dtype) for value in listed)  # type: ignore[arg-type]
    return Hyperparameter(name, kind, found, tuple(choices))


class _Maker(NamedTuple):
    """Makes a ``TrialInfo`` of each row of the frame, from what the trials of a job have in common."""

    job: Job
    secrets: frozenset[str]
    tuned: Mapping[str, Hyperparameter]
    static: Mapping[str, Mapping[str, Value]]
    curves: Mapping[str, Mapping[str, tuple[Point, ...]]]
    models: Mapping[str, str]

    def trial(self, row: Mapping[Any, Any]) -> TrialInfo:
        """Return the trial of a row."""

        def text(column: str) -> str:
            return "" if pd.isna(row[column]) else str(row[column])

        def moment(column: str) -> datetime | None:
            return None if pd.isna(row[column]) else row[column].to_pydatetime()

        name = str(row["TrainingJobName"])
        definition = self.job.definition(text("TrainingJobDefinitionName"))
        tuned = {
            entry.name: MASK if entry.is_masked else _TYPES[entry.kind](row[column])
            for column, entry in self.tuned.items()
            if not pd.isna(row[column])
        }
        static = self.static[definition.name or ""]
        value, succeeded = row["FinalObjectiveValue"], text("ObjectiveStatus") == ObjectiveStatus.SUCCEEDED
        return TrialInfo(
            name=name,
            arn=f"{self.job.arn.rpartition(':')[0]}:training-job/{name}",
            status=str(row["TrainingJobStatus"]),
            objective_status=text("ObjectiveStatus"),
            objective=definition.objective or "objective",
            # A trial may succeed with NaN; without a value the frame has NaN as well.
            value=None if math.isnan(value) and not succeeded else float(value),
            best=bool(row["IsBest"]),
            started=moment("TrainingStartTime"),
            ended=moment("TrainingEndTime"),
            failure=redacted(text("FailureReason"), self.secrets),
            definition=text("TrainingJobDefinitionName") if self.job.several else "",
            hyperparameters=tuned,
            static={
                key: entry for key, entry in static.items() if key not in tuned and not is_reserved_hyperparameter(key)
            },
            metrics={
                key.removeprefix("metric:"): float(final)
                for key, final in row.items()
                if key.startswith("metric:") and key not in self.tuned and not math.isnan(final)
            },
            curves=self.curves.get(name, {}),
            model_uri=self.models.get(name, ""),
        )


def _curves(curves: pd.DataFrame) -> dict[str, dict[str, tuple[Point, ...]]]:
    """Return the values by trial and metric, in order of their steps."""
    moments = curves["Timestamp"].dt.tz_convert(None).to_numpy("datetime64[us]").astype(np.int64).tolist()
    columns = (curves[name].tolist() for name in ("TrainingJobName", "MetricName", "Step", "Value"))
    found: dict[str, dict[str, list[Point]]] = {}
    for trial, metric, step, value, moment in zip(*columns, moments, strict=True):
        point = Point(int(step), moment, float(value))
        found.setdefault(str(trial), {}).setdefault(str(metric), []).append(point)
    return {
        trial: {metric: tuple(sorted(points, key=lambda point: point.step)) for metric, points in by_metric.items()}
        for trial, by_metric in found.items()
    }
