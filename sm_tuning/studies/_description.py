"""A study in the form of a tuning job's description, so that everything that reads tuning jobs reads studies. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sm_tuning._statuses import COUNTERS, FINISHED, ObjectiveStatus, TrainingStatus, TuningStatus
from sm_tuning._wire import STUDY_REASON, STUDY_RULES, STUDY_SETTINGS, STUDY_TRIAL, STUDY_URI
from sm_tuning.description import training_of
from sm_tuning.strategies import CONFIGURATION, MEMBER, Suggestion
from sm_tuning.studies._record import StudyRecord
from sm_tuning.studies._store import Record

#: How the reasons of failures begin that are the service's, after which a trial may succeed [DescribeTrainingJob].
_FAULTS = ("InternalServerError", "CapacityError")

#: Seconds after the end of a trial in which its warm pool becomes available.
POOL_DELAY = 60.0

_TIMES = ("CreationTime", "TrainingStartTime", "TrainingEndTime")


@dataclass(frozen=True)
class TrialJob:
    """A trial of a study: what was decided, and its training job.

    Attributes:
        suggestion: the record.
        name: of the training job.
        training: its summary or, once it has ended, its description; None while there is no training job.
    """

    suggestion: Suggestion
    name: str
    training: Mapping[str, Any] | None = field(default=None, hash=False)

    @property
    def status(self) -> TrainingStatus:
        """Its status; InProgress before the training job exists."""
        return TrainingStatus.IN_PROGRESS if self.training is None else TrainingStatus.of(self._member("Status"))

    @property
    def ended(self) -> bool:
        """Whether it has ended; with a status that this version does not know, by its end time."""
        status, training = self.status, self.training or {}
        return status.is_terminal or (not status.is_known and bool(training.get("TrainingEndTime")))

    @property
    def was_fault(self) -> bool:
        """Whether it failed by a fault of the service."""
        reason = str((self.training or {}).get("FailureReason") or "")
        return self.status is TrainingStatus.FAILED and reason.startswith(_FAULTS)

    @property
    def pool(self) -> str | None:
        """The status of the warm pool that it has left; None if none is known."""
        return ((self.training or {}).get("WarmPoolStatus") or {}).get("Status")

    def pool_is_open(self, now: float) -> bool:
        """Return whether the warm pool of an ended trial may still change: it is kept, or not known yet."""
        if not self.ended or self.pool in ("Reused", "Terminated"):
            return False
        ended = (self.training or {}).get("TrainingEndTime")
        return self.pool is not None or (ended is not None and now - ended.timestamp() < POOL_DELAY)

    def dollars(self, hourly: float, now: float) -> float:
        """Return what it has cost so far, with the time for which its instances were kept idle.

        Args:
            hourly: dollars an hour of its instances.
            now: epoch seconds.
        """
        training = self.training or {}
        begun, ended = training.get("TrainingStartTime"), training.get("TrainingEndTime")
        if begun is None:
            return 0.0
        end = ended.timestamp() if ended is not None else now
        seconds = training.get("BillableTimeInSeconds") if self.ended else None
        idle = (training.get("WarmPoolStatus") or {}).get("ResourceRetainedBillableTimeInSeconds")
        if idle is None:
            idle = max(0.0, now - end) if self.pool == "Available" else 0.0
        return float((max(0.0, end - begun.timestamp()) if seconds is None else seconds) + idle) * hourly / 3600

    @property
    def metrics(self) -> Mapping[str, float]:
        """The final metrics; empty while it runs, or if it failed."""
        if self.training is None or self.status not in FINISHED:
            return {}
        return training_of(self.training).metrics

    def values(self, objectives: Collection[str]) -> tuple[float, ...] | None:
        """Return the final value of each objective; None before the first, or if one was never emitted."""
        metrics = self.metrics
        found = [metrics[name] for name in objectives if name in metrics]
        return tuple(found) if len(found) == len(objectives) else None

    def _member(self, name: str) -> str:
        return str((self.training or {}).get(f"TrainingJob{name}", ""))


def description_of(
    study: StudyRecord, trials: Sequence[TrialJob], *, stop: Record | None, end: Record | None
) -> dict[str, Any]:
    """Return a study in the form of DescribeHyperParameterTuningJob, with the members that a study has.

    Args:
        study: the record.
        trials: all trials so far, by number.
        stop: the record of the request to stop, if there is one.
        end: the record of the outcome, if there is one.
    """
    started = [trial for trial in trials if trial.training is not None]
    summaries = [summary_of(study, trial) for trial in started]
    running = any(not trial.ended for trial in started)
    ended = None
    if end is not None:
        status, ended = str(end.data["status"]), end.modified
    elif stop is not None:
        status = str(TuningStatus.STOPPING if running else TuningStatus.STOPPED)
        ends = [(trial.training or {}).get("TrainingEndTime") for trial in started]
        ended = None if running else max([stop.modified, *(moment for moment in ends if moment is not None)])
    else:
        status = str(TuningStatus.IN_PROGRESS)
    described = {
        **study.request,
        "HyperParameterTuningJobArn": study.arn,
        STUDY_URI: study.uri,
        STUDY_SETTINGS: study.settings.model_dump(mode="json", exclude_defaults=True),
        STUDY_RULES: {"Objectives": dict(study.settings.objectives), "Constraints": list(study.settings.constraints)},
        "HyperParameterTuningJobStatus": status,
        "CreationTime": study.created,
        "HyperParameterTuningEndTime": ended,
        "TrainingJobStatusCounters": _counters(started),
        "ObjectiveStatusCounters": _objective_counters(summaries),
        "BestTrainingJob": _best(study, summaries),
        STUDY_REASON if status == TuningStatus.COMPLETED else "FailureReason": end and end.data.get("reason"),
    }
    described.pop("Tags", None)
    return {name: value for name, value in described.items() if value is not None}


def summary_of(study: StudyRecord, trial: TrialJob) -> dict[str, Any]:
    """Return a trial in the form of HyperParameterTrainingJobSummary."""
    training = trial.training or {}
    objective = study.objective(trial.suggestion.definition)
    metrics = trial.metrics
    values = trial.values(study.objectives(trial.suggestion.definition))
    value = None if values is None else values[0]
    parent = trial.suggestion.parent
    status = ObjectiveStatus.PENDING if not trial.ended else ObjectiveStatus.FAILED
    summary = {
        "TrainingJobDefinitionName": trial.suggestion.definition,
        "TrainingJobName": trial.name,
        "TrainingJobArn": training.get("TrainingJobArn"),
        "TuningJobName": study.name,
        "CreationTime": training.get("CreationTime", study.created),
        "TrainingStartTime": training.get("TrainingStartTime"),
        "TrainingEndTime": training.get("TrainingEndTime"),
        "TrainingJobStatus": str(trial.status),
        "TunedHyperParameters": dict(trial.suggestion.hyperparameters),
        "FailureReason": training.get("FailureReason"),
        "ObjectiveStatus": str(status if value is None else ObjectiveStatus.SUCCEEDED),
        STUDY_TRIAL: {
            "Why": trial.suggestion.why,
            "Parent": None if parent is None else study.training_job_name(parent),
            "Member": trial.suggestion.attrs.get(MEMBER, trial.suggestion.attrs.get(CONFIGURATION)),
            "Values": values,
            "Feasible": all(excess <= 0 for excess in study.violations(metrics)) if metrics else None,
        },
    }
    if value is not None:
        summary["FinalHyperParameterTuningJobObjectiveMetric"] = {**objective, "Value": value}
    return {name: member for name, member in summary.items() if member is not None}


def _counters(trials: Sequence[TrialJob]) -> dict[str, int]:
    counts = Counter(
        ("RetryableError" if trial.was_fault else "NonRetryableError")
        if trial.status is TrainingStatus.FAILED
        else str(trial.status)
        if trial.ended
        else str(TrainingStatus.IN_PROGRESS)
        for trial in trials
    )
    return {name: counts[name] for name in COUNTERS}


def _objective_counters(summaries: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    counts = Counter(summary["ObjectiveStatus"] for summary in summaries)
    return {str(status): counts[str(status)] for status in ObjectiveStatus}


def _best(study: StudyRecord, summaries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the feasible trial with the best first objective; of equal ones, the best by the next, or the earliest."""
    kinds = study.objectives(study.definitions[0].get("DefinitionName")).values()
    signs = [-1.0 if kind == "Maximize" else 1.0 for kind in kinds]
    feasible = [s for s in summaries if s[STUDY_TRIAL]["Values"] is not None and s[STUDY_TRIAL]["Feasible"]]
    # NaN is not a number that can be compared: such a trial is never the best.
    valued = [s for s in feasible if not any(map(math.isnan, s[STUDY_TRIAL]["Values"]))]

    def rank(summary: Mapping[str, Any]) -> tuple[list[float], datetime, str]:
        costs = [sign * value for sign, value in zip(signs, summary[STUDY_TRIAL]["Values"], strict=True)]
        return (costs, summary.get("TrainingEndTime", study.created), summary["TrainingJobName"])

    return min(valued, key=rank, default=None)
