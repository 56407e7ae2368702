"""MLflow's runs of a tuning job, within the limits of its API [mlflow/utils/validation.py].

Parameters are text of up to 6,000 characters, tags of up to 8,000, names of up to 250 with few signs allowed; a call
takes 1,000 metrics, 100 parameters and 100 tags. Metrics are float64; a SQL store has the largest number for inf.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from datetime import datetime
from io import StringIO
from itertools import islice
from typing import Any

from sm_tuning._statuses import TuningStatus
from sm_tuning.results import ResultsWarning
from sm_tuning.views.exports._info import Hyperparameter, JobInfo, Point, TrialInfo
from sm_tuning.views.exports._target import OBJECTIVE, facts_of_job, facts_of_trial, needs

_METRICS, _PARAMS, _TAGS = 1000, 100, 100
_PARAM_LENGTH, _TAG_LENGTH, _NAME_LENGTH = 6000, 8000, 250
_NOT_IN_NAMES = re.compile(r"[^\w.\- :/]")
_PREFIX = "sm_tuning."
_STATUS: dict[str, str] = {
    TuningStatus.COMPLETED: "FINISHED",
    TuningStatus.FAILED: "FAILED",
    TuningStatus.STOPPED: "KILLED",
    TuningStatus.DELETE_FAILED: "FAILED",
}

#: The tag by which the runs of a tuning job are found again.
ARN_TAG = f"{_PREFIX}tuning_job_arn"


class Runs:
    """Writes runs.

    Args:
        client: MLflow's.
        experiment: the experiment's ID.

    Attributes:
        made: IDs of the runs that were made, the parent's first.
    """

    def __init__(self, client: Any, experiment: str) -> None:
        self._client = client
        self._experiment = experiment
        self._entities = needs("mlflow.entities", "an export to MLflow", "mlflow")
        self.made: list[str] = []

    def write(self, info: JobInfo) -> str:
        """Write a job's run and those of its trials; returns the ID of the first."""
        tags = {**facts_of_job(info), "trials": str(len(info.trials))}
        tags |= {f"tag.{name}": text for name, text in info.tags.items()}
        parent = self._run(
            info.name, info.created, {**_prefixed(tags), "mlflow.source.type": "JOB", "mlflow.source.name": info.arn}
        )
        metrics = [] if info.best is None or info.best.value is None else [self._best(info.best, info.objective)]
        self._log(parent, metrics, _job_params(info))
        for trial in info.trials:
            self._trial(info, trial, parent)
        self._end(parent, info.status, info.ended)
        return parent

    def _trial(self, info: JobInfo, trial: TrialInfo, parent: str) -> None:
        tags = {
            **_prefixed({"tuning_job_name": info.name, "tuning_job_arn": info.arn, **facts_of_trial(trial)}),
            "mlflow.parentRunId": parent,
            "mlflow.source.type": "JOB",
            "mlflow.source.name": trial.arn,
        }
        run = self._run(trial.name, trial.started or info.created, tags)
        step, moment = trial.last
        finals = trial.finals if trial.value is None else {OBJECTIVE: trial.value, **trial.finals}
        curves = {**trial.curves, **{name: (Point(step, moment, value),) for name, value in finals.items()}}
        self._log(
            run,
            [self._metric(name, point) for name, points in _named(curves) for point in points],
            {name: str(value) for name, value in (trial.static | trial.hyperparameters).items()},
        )
        self._end(run, trial.status, trial.ended)

    def _run(self, name: str, began: datetime, tags: Mapping[str, str]) -> str:
        items = [(key, _cut(key, text, _TAG_LENGTH)) for key, text in _named(tags)]
        run = self._client.create_run(
            self._experiment, start_time=_milliseconds(began), tags=dict(items[:_TAGS]), run_name=name
        )
        run_id = str(run.info.run_id)
        self.made.append(run_id)
        for some in _batches(items[_TAGS:], _TAGS):
            self._client.log_batch(run_id, tags=[self._entities.RunTag(*item) for item in some])
        return run_id

    def _log(self, run: str, metrics: Sequence[Any], params: Mapping[str, str]) -> None:
        texts = [(name, _cut(name, text, _PARAM_LENGTH)) for name, text in _named(params)]
        for some in _batches([self._entities.Param(*item) for item in texts], _PARAMS):
            self._client.log_batch(run, params=some)
        for some in _batches(metrics, _METRICS):
            self._client.log_batch(run, metrics=some)

    def _metric(self, name: str, point: Point) -> Any:
        return self._entities.Metric(name, point.value, point.milliseconds, point.step)

    def _best(self, best: TrialInfo, objective: str) -> Any:
        assert best.value is not None
        return self._metric(_name(objective), Point(0, best.last[1], best.value))

    def _end(self, run: str, status: str, ended: datetime | None) -> None:
        if status in _STATUS:
            end_time = None if ended is None else _milliseconds(ended)
            with redirect_stdout(StringIO()):  # where MLflow prints addresses, and we print nothing but data
                self._client.set_terminated(run, _STATUS[status], end_time=end_time)


def _job_params(info: JobInfo) -> dict[str, str]:
    """Ranges, and static hyperparameters and environment of each definition."""
    params = {f"range.{one.name}": _range(one) for one in info.hyperparameters}
    for member, of_job in (("static", info.static), ("environment", info.environment)):
        for definition, values in of_job.items():
            middle = f"{definition}." if len(of_job) > 1 else ""
            params |= {f"{member}.{middle}{name}": str(value) for name, value in values.items()}
    return params


def _range(one: Hyperparameter) -> str:
    if one.choices or one.range is None:
        return ", ".join(map(str, one.choices)) or one.kind
    return f"{one.range.kind} from {one.range.low!r} to {one.range.high!r}, scale {one.range.scaling}"


def _prefixed(facts: Mapping[str, str]) -> dict[str, str]:
    return {f"{_PREFIX}{name}": text for name, text in facts.items()}


def _named(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Values under names that MLflow takes; two that become the same are told apart by a number."""
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
    """A text of a length that MLflow takes."""
    if len(text) <= length:
        return text
    warnings.warn(
        f"{name!r} has {len(text)} characters, of which MLflow takes {length}: the rest is cut off",
        ResultsWarning,
        stacklevel=2,
    )
    return text[: length - 1] + "…"


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
