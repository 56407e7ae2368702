"""The tools that read: each method is a tool, its docstring the description that the assistant sees."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from sm_tuning import jobs, results, views
from sm_tuning._archived_job import ArchivedJob
from sm_tuning._errors import SpecError
from sm_tuning._launch import attach, list_jobs
from sm_tuning._masking import masked, without_secrets
from sm_tuning._statuses import COUNTERS
from sm_tuning.aws import Aws
from sm_tuning.description import job_of
from sm_tuning.jobs import TrainingStatus, TuningStatus
from sm_tuning.mcp._answer import Rows, clean, fields, lines_of, table
from sm_tuning.results import analysis
from sm_tuning.results.replay import assumed_lag

if TYPE_CHECKING:
    from sm_tuning._handle import Handle
    from sm_tuning.mcp._server import Settings

JobName = Annotated[str, Field(description="Name or ARN of a tuning job, or the folder of a job that ran elsewhere.")]
TrialName = Annotated[str | int | None, Field(description="Number or name of a trial; all trials by default.")]

_MOST_JOBS = 1000  # that are listed; more would take a call for each hundred
_NAMED = 3  # trials of a failure that are named
#: Columns of trials that repeat others, or that ``errors`` explains.
_HIDDEN = ("TuningJobName", "ObjectiveStatus", "BestSoFar", "WarmPoolStatus", "FailureReason")
_LISTED = ("HyperParameterTuningJobName", "HyperParameterTuningJobStatus", "Strategy", "CreationTime")


class ReadTools:
    """Tools that change nothing in the account.

    Args:
        aws: the connection.
        settings: of the server.
    """

    def __init__(self, aws: Aws, settings: Settings) -> None:
        self._aws: Aws = aws
        self._settings: Settings = settings

    def list_jobs(
        self,
        name_contains: Annotated[str | None, Field(description="A part of the names.")] = None,
        status: TuningStatus | None = None,
    ) -> Rows:
        """List tuning jobs, the newest first: status, strategy, times and numbers of trials."""
        found = list_jobs(name_contains=name_contains, status=status, limit=_MOST_JOBS, aws=self._aws)
        import pandas as pd  # noqa: PLC0415  (frames load it where one is made)

        columns = [*_LISTED, "HyperParameterTuningEndTime", *COUNTERS]
        rows = [{**job, **job.get("TrainingJobStatusCounters", {})} for job in found]
        notes = [f"only the newest {_MOST_JOBS} are listed: give name_contains"] if len(rows) == _MOST_JOBS else []
        return table("tuning jobs", pd.DataFrame(rows, columns=columns), notes)

    def status(self, job: JobName) -> Rows:
        """Show one job: status, times, numbers of trials, best trial, objective, ranges, limits and machines."""
        return self._summary(attach(job, aws=self._aws))

    def _summary(self, handle: Handle) -> Rows:
        description = handle.describe()
        job, best = job_of(description), jobs.best_of(description)
        ended = job.ended_at
        values: dict[str, Any] = {
            "name": job.name,
            "status": job.status,
            "strategy": job.strategy,
            "created": job.created,
            "ended": ended,
            "seconds": None if ended is None else round((ended - job.created).total_seconds()),
            "trials": {name: count for name, count in job.counts._asdict().items() if count},
            "warm-started from": ", ".join(job.parents),
            "max_jobs": job.limits.max_jobs,
            "max_parallel_jobs": job.limits.max_parallel_jobs,
            "early stopping": job.early_stopping,
        }
        if best is not None:
            values["best trial"] = best.training_job_name
            values["best value"] = f"{best.metric_name} = {best.objective_value:.6g}"
            values["best hyperparameters"] = masked(best.hyperparameters)
        for definition in job.definitions:
            mark = f" of {definition.name}" if job.several else ""
            ranges = {entry.name: list(entry.texts) for entry in definition.ranges}
            values[f"objective{mark}"] = f"{definition.direction} {definition.objective}"
            values[f"ranges{mark}"] = without_secrets(ranges)
            values[f"machines{mark}"] = ", ".join(f"{m.count} x {m.type}" for m in definition.machines)
        values["reason"] = job.failure
        return Rows(f"status of {clean(job.name)}", fields(values))

    def trials(
        self,
        job: JobName,
        best_first: Annotated[bool, Field(description="Order by the objective, the best trial first.")] = False,
        status: TrainingStatus | None = None,
    ) -> Rows:
        """Return one row a trial: hyperparameters, status, final objective, times and billable seconds."""
        handle = attach(job, aws=self._aws)
        frame = results.shown(handle.trials(progress=False))
        if status is not None:
            frame = frame[frame["TrainingJobStatus"] == status]
        if best_first:
            maximize = job_of(handle.describe()).definitions[0].maximize
            frame = frame.sort_values("FinalObjectiveValue", ascending=not maximize, kind="stable")
        first = ["TrainingJobName", "TrainingJobStatus", "FinalObjectiveValue"]
        others = [name for name in frame.columns if name not in (*first, *_HIDDEN)]
        return table(f"trials of {clean(handle.name)}", frame[[*first, *others]])

    def curves(
        self,
        job: JobName,
        metric: Annotated[str | None, Field(description="Name of a metric; all metrics by default.")] = None,
        trial: TrialName = None,
        points: Annotated[bool, Field(description="Return each value instead of a summary of each curve.")] = False,
    ) -> Rows:
        """Return metrics over time: a row for each curve (first, last, smallest, largest value), or for each value."""
        handle = attach(job, aws=self._aws)
        frame = handle.curves(metrics=metric, trials=_trial(trial), progress=False)
        if points:
            return table(f"values of {clean(handle.name)}", frame.drop(columns=["Timestamp", "Source"]))
        by = frame.groupby(["TrainingJobName", "MetricName"], sort=False)["Value"]
        summary = by.agg(Values="count", First="first", Last="last", Smallest="min", Largest="max").reset_index()
        return table(f"curves of {clean(handle.name)}", summary)

    def logs(
        self,
        job: JobName,
        grep: Annotated[str | None, Field(description="Regular expression; only lines with a match.")] = None,
        trial: TrialName = None,
        newest_first: Annotated[bool, Field(description="Begin with the last line.")] = False,
    ) -> Rows:
        """Return log lines of the trials: training job, time and text."""
        handle = attach(job, aws=self._aws)
        frame = handle.logs(trial=_trial(trial), grep=grep, progress=False)
        columns = (frame["TrainingJobName"], frame["Timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"), frame["Message"])
        lines = [" ".join(map(clean, row)).rstrip() for row in zip(*columns, strict=True)]
        return Rows(f"log lines of {clean(handle.name)}", lines[::-1] if newest_first else lines)

    def errors(self, job: JobName, trial: TrialName = None) -> Rows:
        """Explain failed trials: those that failed alike together, with the traceback or the service's reason."""
        handle = attach(job, aws=self._aws)
        frame = handle.errors(trial=_trial(trial), progress=False)
        lines: list[str] = []
        for failure in results.same_failures(frame):
            names = ", ".join(failure.trials[:_NAMED]) + (", …" if len(failure.trials) > _NAMED else "")
            lines.append(clean(f"{len(failure.trials)} of {len(frame)} failed trials ({names}): {failure.message}"))
            lines += [f"  {line}" for line in lines_of(failure.text)]
        return Rows(f"{len(frame)} failed trials of {clean(handle.name)}", lines)

    def cost(self, job: JobName) -> Rows:
        """Return the cost in US dollars: the total, the projection to the end, and one row a trial."""
        handle = attach(job, aws=self._aws)
        frame = handle.cost(prices=self._settings.prices, progress=False)
        known = {name: frame.attrs[name] for name in ("total", "so_far", "projected", "spot_savings")}
        totals = ", ".join(f"{name} {value:.6g}" for name, value in known.items() if value is not None)
        notes = [f"{frame.attrs['currency']}: {totals} (nan: unknown)"]
        return table(f"costs of {clean(handle.name)}", frame, notes)

    def importance(self, job: JobName) -> Rows:
        """Return how much each hyperparameter matters for the objective, the most important first."""
        handle = attach(job, aws=self._aws)
        frame = handle.importance()
        return table(f"importance in {clean(handle.name)}", frame[[c for c in frame.columns if "Forest" not in c]])

    def advice(self, job: JobName) -> Rows:
        """Return what the next tuning job should change, with the evidence."""
        handle = attach(job, aws=self._aws)
        trials, curves = handle.trials(progress=False), handle.curves(progress=False)
        description = handle.describe()
        lag = assumed_lag(self._aws, job_of(description))
        return table(
            f"advice about {clean(handle.name)}",
            analysis.advice(trials, curves, analysis.facts_of(description), lag=lag),
        )

    def replay(
        self,
        job: JobName,
        early_stopping: Literal["Auto", "Off"] | None = None,
        strategy: Annotated[str | None, Field(description="Random, Bayesian, Grid or Hyperband.")] = None,
        max_parallel_jobs: int | None = None,
        instance_type: str | None = None,
    ) -> Rows:
        """Return what a finished job would have taken with other settings, beside what it took, and what is unknown."""
        handle = attach(job, aws=self._aws)
        found = handle.replay(
            early_stopping=early_stopping,
            strategy=strategy,
            max_parallel_jobs=max_parallel_jobs,
            instance_type=instance_type,
            prices=self._settings.prices,
            progress=False,
        )
        return table(f"replay of {clean(handle.name)}", found.frame(), list(found.unknown))

    def compare(
        self,
        jobs: Annotated[list[str], Field(min_length=1, max_length=50, description="Names of tuning jobs.")],
    ) -> Rows:
        """Compare tuning jobs, one row each: best and median objective, trials, failures, time and cost."""
        handles = [attach(name, aws=self._aws) for name in jobs]
        folders = [name for name, handle in zip(jobs, handles, strict=True) if isinstance(handle, ArchivedJob)]
        if folders:
            raise SpecError(f"compare takes names of tuning jobs, but {folders[0]!r} is a folder: read it with status")
        frame = views.compare(self._aws, [handle.name for handle in handles], prices=self._settings.prices)
        return table("comparison", frame)

    def report(
        self,
        job: JobName,
        file: Annotated[str, Field(description="Name of the new file, such as my-job.html, without a folder.")],
    ) -> Rows:
        """Write everything about a job to a new HTML file in the server's folder of reports, and return its path."""
        path = self._settings.report_dir / file
        # The name comes from a model, which may have read it in a log.
        if Path(file).name != file or not file.endswith(".html"):
            raise SpecError(f"{file!r} is not a file name without a folder that ends with .html")
        if os.path.lexists(path):
            raise SpecError(f"{str(path)!r} exists already: choose another name")
        handle = attach(job, aws=self._aws)
        written = handle.report(path, prices=self._settings.prices)
        return Rows(f"report of {clean(handle.name)}", fields({"file": str(written.absolute())}))


def _trial(trial: str | int | None) -> str | int | None:
    """Return a trial's number as a number: models also write it as text."""
    return int(trial) if isinstance(trial, str) and trial.isdecimal() else trial
