"""The runs of MLflow: one for the tuning job, and nested in it one for each trial.

The limits of MLflow's API [mlflow/utils/validation.py]: parameters are text of up to 6,000 characters, tags of up to
8,000, names of up to 250 with few special characters; a call takes 1,000 metrics, 100 parameters and 100 tags. Metrics
are float64; a SQL store keeps an infinity as the largest number.
"""

from __future__ import annotations

import math
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from datetime import datetime
from io import StringIO
from typing import Any, NamedTuple

from sm_tuning._statuses import TuningStatus
from sm_tuning.results import ResultsWarning
from sm_tuning.views.exports._info import JobInfo, Point, TrialInfo
from sm_tuning.views.exports._target import OBJECTIVE, facts_of_job, facts_of_trial, needs

FEATURE = "an export to MLflow"

_METRICS, _PARAMS, _TAGS = 1000, 100, 100
_PARAM_LENGTH, _TAG_LENGTH, _NAME_LENGTH = 6000, 8000, 250
_NOT_IN_NAMES = re.compile(r"[^\w.\- :/]")

#: The states of runs that have ended, of tuning jobs and training jobs.
_STATUS: Mapping[str, str] = {
    TuningStatus.COMPLETED: "FINISHED",
    TuningStatus.FAILED: "FAILED",
    TuningStatus.STOPPED: "KILLED",
    TuningStatus.DELETE_FAILED: "FAILED",
}

_PREFIX = "sm_tuning."

#: The tags by which the runs of a tuning job, and that of a trial, are found again.
_ARN_TAG = f"{_PREFIX}tuning_job_arn"
_TRIAL_TAG = f"{_PREFIX}training_job_arn"

#: Metrics are equal if they differ by less: a database may round the last digit of a float64.
_ROUNDING = 1e-12


class Run(NamedTuple):
    """A run as it is to be, with names and texts that MLflow accepts.

    Attributes:
        arn: of the tuning job or the training job.
        name: of the run.
        began: when it started.
        tags: facts, prefixed, and MLflow's own tags.
        params: the parameters.
        metrics: the values by metric.
        status: the status of the job.
        ended: when it ended; None before.
    """

    arn: str
    name: str
    began: datetime
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, Sequence[Point]]
    status: str
    ended: datetime | None


def job_run(info: JobInfo) -> Run:
    """Return the run of a tuning job."""
    facts = {**facts_of_job(info), "trials": str(len(info.trials))}
    facts |= {f"tag.{name}": text for name, text in info.tags.items()}
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
    best, metrics = info.best, {}
    if best is not None and best.value is not None:
        metrics = {info.objective: (Point(0, best.last[1], best.value),)}
    return _run(info.arn, info.name, (info.created, info.ended), info.status, facts, params, metrics, {})


def trial_run(info: JobInfo, trial: TrialInfo, parent: str) -> Run:
    """Return the run of a trial, nested in that of its tuning job."""
    facts = {"tuning_job_name": info.name, "tuning_job_arn": info.arn, **facts_of_trial(trial)}
    step, moment = trial.last
    finals = trial.finals if trial.value is None else {OBJECTIVE: trial.value, **trial.finals}
    curves = {**trial.curves, **{name: (Point(step, moment, value),) for name, value in finals.items()}}
    params = {name: str(value) for name, value in (trial.static | trial.hyperparameters).items()}
    times = trial.started or info.created, trial.ended
    return _run(trial.arn, trial.name, times, trial.status, facts, params, curves, {"mlflow.parentRunId": parent})


def _run(
    arn: str,
    name: str,
    times: tuple[datetime, datetime | None],
    status: str,
    facts: Mapping[str, str],
    params: Mapping[str, str],
    metrics: Mapping[str, Sequence[Point]],
    more: Mapping[str, str],
) -> Run:
    tags = {f"{_PREFIX}{key}": text for key, text in facts.items()}
    tags |= {"mlflow.source.type": "JOB", "mlflow.source.name": arn, **more}
    return Run(
        arn=arn,
        name=name,
        began=times[0],
        tags={key: _cut(key, text, _TAG_LENGTH) for key, text in _named(tags)},
        params={key: _cut(key, text, _PARAM_LENGTH) for key, text in _named(params)},
        metrics=dict(_named(metrics)),
        status=status,
        ended=times[1],
    )


class Runs:
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
        self._entities = needs("mlflow.entities", FEATURE, "mlflow")
        self.made: list[str] = []

    def write(self, info: JobInfo) -> str:
        """Write a job's run and those of its trials; returns the ID of the job's run."""
        job = job_run(info)
        parent = self.create(job)
        self.log(parent, params=job.params, metrics=job.metrics)
        for trial in info.trials:
            run = trial_run(info, trial, parent)
            run_id = self.create(run)
            self.log(run_id, params=run.params, metrics=run.metrics)
            self.end(run_id, run)
        self.end(parent, job)
        return parent

    def create(self, run: Run) -> str:
        """Start a run with its tags; returns its ID."""
        items = list(run.tags.items())
        made = self._client.create_run(
            self._experiment, start_time=_milliseconds(run.began), tags=dict(items[:_TAGS]), run_name=run.name
        )
        run_id = str(made.info.run_id)
        self.made.append(run_id)
        self.log(run_id, tags=dict(items[_TAGS:]))
        return run_id

    def log(
        self,
        run: str,
        *,
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        metrics: Mapping[str, Sequence[Point]] | None = None,
    ) -> None:
        """Write tags, parameters and metrics in batches that MLflow accepts; makes no call without any."""
        entities = self._entities
        for tag_batch in _batches([entities.RunTag(*item) for item in (tags or {}).items()], _TAGS):
            self._client.log_batch(run, tags=tag_batch)
        for param_batch in _batches([entities.Param(*item) for item in (params or {}).items()], _PARAMS):
            self._client.log_batch(run, params=param_batch)
        values = [
            entities.Metric(name, point.value, point.milliseconds, point.step)
            for name, points in (metrics or {}).items()
            for point in points
        ]
        for batch in _batches(values, _METRICS):
            self._client.log_batch(run, metrics=batch)

    def end(self, run_id: str, run: Run) -> None:
        """End a run if its job has ended."""
        if run.status in _STATUS:
            end_time = None if run.ended is None else _milliseconds(run.ended)
            with redirect_stdout(StringIO()):  # MLflow prints the address of the run; our stdout is for data only
                self._client.set_terminated(run_id, _STATUS[run.status], end_time=end_time)


@dataclass
class _Written:
    """What a run has in the store; the values of a metric are read when they are compared first."""

    run_id: str
    tags: dict[str, str]
    status: str = "RUNNING"
    params: set[str] = field(default_factory=set)
    values: dict[str, dict[int, tuple[int, float]]] = field(default_factory=dict)  # step to milliseconds and value
    unread: set[str] = field(default_factory=set)


class LiveRuns:
    """The runs of one job, brought up to date while it runs. What the store has is the only state.

    Args:
        client: MLflow's client.
        experiment: the ID of the experiment.
        arn: the ARN of the tuning job.
    """

    def __init__(self, client: Any, experiment: str, arn: str) -> None:
        self._client = client
        self._runs = Runs(client, experiment)
        self._written: dict[str, _Written] = {}
        found = runs_of(client, experiment, arn)
        for run in sorted(found, key=lambda run: (run.info.start_time, run.info.run_id)):
            own = run.data.tags.get(_TRIAL_TAG, arn)
            if own in self._written:
                # The creation was repeated after its response was lost.
                client.delete_run(run.info.run_id)
                continue
            self._written[own] = _Written(
                run.info.run_id,
                dict(run.data.tags),
                run.info.status,
                set(run.data.params),
                unread=set(run.data.metrics),
            )

    def update(self, info: JobInfo) -> None:
        """Write what is new: runs, tags that have changed, parameters, values, and ends.

        Final values are written when a trial, or the job, has ended, because a value in MLflow cannot be replaced.
        """
        job = job_run(info)
        parent = self._bring(job if job.status in _STATUS else job._replace(metrics={}))
        for trial in info.trials:
            over = trial.status in _STATUS
            if trial.started is None and not over:
                continue  # MLflow keeps the start time that a run is created with
            run = trial_run(info, trial if over else trial._replace(value=None, metrics={}), parent.run_id)
            self._end(self._bring(run), run)
        self._end(parent, job)

    def _bring(self, run: Run) -> _Written:
        """Write what a run lacks, except its end; create the run, or replace one that has other values."""
        written = self._written.get(run.arn)
        if written is not None and run.arn != run.tags[_ARN_TAG] and self._differs(written, run):
            # The trial was trained again, or a late log line has moved the steps: metrics can only be added.
            self._client.delete_run(written.run_id)
            written = None
        if written is None:
            written = self._written[run.arn] = _Written(self._runs.create(run), dict(run.tags))
        for key in [key for key in written.tags if key.startswith(_PREFIX) and key not in run.tags]:
            self._client.delete_tag(written.run_id, key)
            del written.tags[key]
        tags = {key: text for key, text in run.tags.items() if written.tags.get(key) != text}
        params = {key: text for key, text in run.params.items() if key not in written.params}
        metrics = {}
        for name, points in run.metrics.items():
            known = self._values(written, name)
            new = [point for point in points if point.step not in known]
            if new:
                metrics[name] = new
        self._runs.log(written.run_id, tags=tags, params=params, metrics=metrics)
        written.tags |= tags
        written.params |= set(params)
        for name, new in metrics.items():
            written.values[name] |= {point.step: (point.milliseconds, point.value) for point in new}
        return written

    def _differs(self, written: _Written, run: Run) -> bool:
        """Return whether the store has another value at a step than the job has."""
        for name, points in run.metrics.items():
            known = self._values(written, name)
            for point in points:
                moment, value = known.get(point.step, (point.milliseconds, point.value))
                if moment != point.milliseconds or not _is_same(value, point.value):
                    return True
        return False

    def _values(self, written: _Written, name: str) -> dict[int, tuple[int, float]]:
        known = written.values.setdefault(name, {})
        if name in written.unread:
            history = self._client.get_metric_history(written.run_id, name)
            known |= {metric.step: (metric.timestamp, metric.value) for metric in history}
            written.unread.discard(name)
        return known

    def _end(self, written: _Written, run: Run) -> None:
        if run.status in _STATUS and written.status != _STATUS[run.status]:
            self._runs.end(written.run_id, run)
            written.status = _STATUS[run.status]


def runs_of(client: Any, experiment: str, arn: str) -> list[Any]:
    """Return the runs of a tuning job, its own and those of its trials."""
    found, token = [], None
    while True:
        page = client.search_runs([experiment], filter_string=f"tags.`{_ARN_TAG}` = '{arn}'", page_token=token)
        found += list(page)
        token = page.token
        if not token:
            return found


def delete(client: Any, runs: Sequence[str]) -> None:
    """Delete runs, the last first, so that a parent is deleted after its children."""
    for run in reversed(runs):
        client.delete_run(run)


def _is_same(stored: float, value: float) -> bool:
    if math.isnan(value):
        return math.isnan(stored)
    if math.isinf(value):
        return stored in (value, math.copysign(sys.float_info.max, value))
    return math.isclose(stored, value, rel_tol=_ROUNDING)


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
