"""Documents as responses show them: without private members, metrics in single precision, summaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sm_tuning._statuses import ObjectiveStatus, TuningStatus
from sm_tuning._wire import OBJECTIVE_KEY, to_float32
from sm_tuning.local.engine import parent_names
from sm_tuning.local.service._context import Context, Doc

_TRAINING_SUMMARY = (
    "TrainingJobName",
    "TrainingJobArn",
    "CreationTime",
    "TrainingEndTime",
    "LastModifiedTime",
    "TrainingJobStatus",
    "SecondaryStatus",
)
_TRIAL_SUMMARY = ("TrainingJobName", "TrainingJobArn", "TrainingJobStatus", "FailureReason")
_TRIAL_TIMES = ("CreationTime", "TrainingStartTime", "TrainingEndTime")
_TUNING_SUMMARY = (
    "HyperParameterTuningJobName",
    "HyperParameterTuningJobArn",
    "HyperParameterTuningJobStatus",
    "CreationTime",
    "HyperParameterTuningEndTime",
    "LastModifiedTime",
)


def tuning_description(context: Context, doc: Mapping[str, Any]) -> Doc:
    """Return a DescribeHyperParameterTuningJob response."""
    name = doc["HyperParameterTuningJobName"]
    statuses, objectives = context.store.counters(name)
    described = _public(doc)
    described["TrainingJobStatusCounters"] = statuses
    described["ObjectiveStatusCounters"] = objectives
    best = context.store.best_training_job(name)
    if best is not None:
        described["BestTrainingJob"] = trial_summary(best, doc)
    overall = _overall_best(context, doc, best)
    if overall is not None:
        described["OverallBestTrainingJob"] = overall
    described.setdefault("ConsumedResources", {"RuntimeInSeconds": _runtime(context, doc)})
    return described


def _overall_best(context: Context, doc: Mapping[str, Any], own: Mapping[str, Any] | None) -> Doc | None:
    """Return the best training job of a warm-started tuning job and its parents, or None.

    Only with IdenticalDataAndAlgorithm, where the objectives can be compared. The parents' own parents do not
    count, nor does a parent that was deleted; the earlier parent wins a tie.
    """
    if doc.get("WarmStartConfig", {}).get("WarmStartType") != "IdenticalDataAndAlgorithm":
        return None
    candidates = [(name, context.store.best_training_job(name)) for name in parent_names(doc)]
    candidates.append((doc["HyperParameterTuningJobName"], None if own is None else dict(own)))
    known = [(name, best) for name, best in candidates if best is not None]
    if not known:
        return None
    sign = (
        -1.0 if doc["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["Type"] == "Maximize" else 1.0
    )
    name, best = min(known, key=lambda pair: sign * pair[1]["_ObjectiveValue"])
    return {**trial_summary(best, doc), "TuningJobName": best.get("_TuningJobName", name)}


def tuning_summary(context: Context, doc: Mapping[str, Any]) -> Doc:
    """Return a member of HyperParameterTuningJobSummaries."""
    config = doc["HyperParameterTuningJobConfig"]
    statuses, objectives = context.store.counters(doc["HyperParameterTuningJobName"])
    return {
        **_picked(doc, _TUNING_SUMMARY),
        "Strategy": config["Strategy"],
        "ResourceLimits": config["ResourceLimits"],
        "TrainingJobStatusCounters": statuses,
        "ObjectiveStatusCounters": objectives,
    }


def trial_summary(doc: Mapping[str, Any], tuning: Mapping[str, Any]) -> Doc:
    """Return a HyperParameterTrainingJobSummary; its times are whole seconds, as the service gives them."""
    summary = _picked(doc, _TRIAL_SUMMARY)
    summary |= {name: float(int(doc[name])) for name in _TRIAL_TIMES if doc.get(name) is not None}
    summary["TunedHyperParameters"] = doc.get("_TunedHyperParameters", {})
    summary["ObjectiveStatus"] = doc.get("_ObjectiveStatus", str(ObjectiveStatus.PENDING))
    if "_DefinitionName" in doc and "TrainingJobDefinitions" in tuning:
        summary["TrainingJobDefinitionName"] = doc["_DefinitionName"]
    if doc.get("_ObjectiveValue") is not None:
        summary["FinalHyperParameterTuningJobObjectiveMetric"] = {
            "MetricName": _objective_name(doc, tuning),
            "Value": to_float32(doc["_ObjectiveValue"]),
        }
    return summary


def training_description(doc: Mapping[str, Any]) -> Doc:
    """Return a DescribeTrainingJob response."""
    described = _public(doc)
    if "FinalMetricDataList" in described:
        described["FinalMetricDataList"] = [
            {**metric, "Value": to_float32(metric["Value"])} for metric in described["FinalMetricDataList"]
        ]
    return described


def training_summary(doc: Mapping[str, Any]) -> Doc:
    """Return a member of TrainingJobSummaries of ListTrainingJobs."""
    return _picked(doc, _TRAINING_SUMMARY)


def _objective_name(doc: Mapping[str, Any], tuning: Mapping[str, Any]) -> str:
    objective = tuning["HyperParameterTuningJobConfig"].get("HyperParameterTuningJobObjective")
    if objective is not None:
        return str(objective["MetricName"])
    return str(doc["HyperParameters"][OBJECTIVE_KEY])


def _runtime(context: Context, doc: Mapping[str, Any]) -> int:
    """Return wall-clock seconds from creation to the end, or to now while the job has not ended."""
    ended = TuningStatus(doc["HyperParameterTuningJobStatus"]).is_terminal
    end = doc.get("HyperParameterTuningEndTime", doc["LastModifiedTime"]) if ended else context.clock()
    return max(0, int(end - doc["CreationTime"]))


def _public(doc: Mapping[str, Any]) -> Doc:
    return {name: value for name, value in doc.items() if not name.startswith("_")}


def _picked(doc: Mapping[str, Any], names: tuple[str, ...]) -> Doc:
    return {name: doc[name] for name in names if doc.get(name) is not None}
