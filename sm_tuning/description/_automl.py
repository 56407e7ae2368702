"""The candidates of an Autopilot job as values, from ListCandidatesForAutoMLJob. Pure: no calls are made here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sm_tuning._images import XGBOOST_REPOSITORIES, is_builtin_image, parse_image
from sm_tuning.spec import CategoricalParameter, ContinuousParameter, FrozenDict, IntegerParameter, ParameterRange

#: The metrics of Autopilot of which a smaller value is better [API reference, AutoMLJobObjective].
_MINIMIZED = frozenset(
    {
        *("MSE", "RMSE", "MAE", "MAPE", "MASE", "WAPE", "AverageWeightedQuantileLoss"),
        *("LogLoss", "InferenceLatency", "Perplexity", "ValidationLoss", "TrainingLoss"),
    }
)

#: The ranges that AWS recommends [Developer Guide, xgboost-tuning].
_XGBOOST: Mapping[str, ParameterRange] = {
    "alpha": ContinuousParameter(0.0, 1000.0),
    "colsample_bytree": ContinuousParameter(0.5, 1.0),
    "eta": ContinuousParameter(0.1, 0.5),
    "max_depth": IntegerParameter(1, 10),
    "min_child_weight": ContinuousParameter(0.0, 120.0),
    "num_round": IntegerParameter(1, 4000),
    "subsample": ContinuousParameter(0.5, 1.0),
}
#: The same [Developer Guide, linear-learner-tuning].
_LINEAR: Mapping[str, ParameterRange] = {
    "wd": ContinuousParameter(1e-7, 1.0, "Logarithmic"),
    "l1": ContinuousParameter(1e-7, 1.0, "Logarithmic"),
    "learning_rate": ContinuousParameter(1e-5, 1.0, "Logarithmic"),
    "mini_batch_size": IntegerParameter(100, 5000),
    "use_bias": CategoricalParameter(["True", "False"]),
}


class Step(NamedTuple):
    """A step of a candidate.

    Attributes:
        kind: ``TrainingJob``, ``TransformJob`` or ``ProcessingJob``.
        name: of that job.
        arn: its ARN.
    """

    kind: str
    name: str
    arn: str


@dataclass(frozen=True)
class Candidate:
    """A candidate of an Autopilot job.

    Attributes:
        name: its name.
        status: CandidateStatus as text.
        objective_status: ObjectiveStatus as text.
        metric: the objective metric; empty without a value.
        value: the objective; None without one.
        maximize: whether a greater objective is better.
        metrics: all metrics: ``validation:F1`` with the set of data, ``F1`` if the service does not name it.
        steps: the jobs that made it, in their order.
        images: the inference images, in the order of the containers.
        created: creation time.
        ended: when it ended; None before.
        failure: why it failed; None without a reason.
        explainability: S3 prefix of its explainability report; None without one.
        insights: S3 prefix of its model insights; None without them.
    """

    name: str
    status: str
    objective_status: str
    metric: str
    value: float | None
    maximize: bool
    metrics: Mapping[str, float] = field(hash=False)
    steps: tuple[Step, ...]
    images: tuple[str, ...]
    created: datetime
    ended: datetime | None
    failure: str | None
    explainability: str | None
    insights: str | None

    @property
    def training_job_name(self) -> str | None:
        """The name of the job that trained its model; None without one."""
        # The training jobs before it fit the transformations of the data.
        return next((step.name for step in reversed(self.steps) if step.kind == "TrainingJob"), None)


def candidate_of(entry: Mapping[str, Any]) -> Candidate:
    """Parse an entry of ListCandidatesForAutoMLJob, or the best candidate of a description."""
    final = entry.get("FinalAutoMLJobObjectiveMetric") or {}
    properties = entry.get("CandidateProperties") or {}
    places = properties.get("CandidateArtifactLocations") or {}
    metric = str(final.get("StandardMetricName") or final.get("MetricName") or "")
    # Newer answers have containers by the processing unit instead of one list.
    by_unit = entry.get("InferenceContainerDefinitions") or {}
    containers: Sequence[Mapping[str, Any]] = entry.get("InferenceContainers") or next(iter(by_unit.values()), [])
    return Candidate(
        name=str(entry["CandidateName"]),
        status=str(entry["CandidateStatus"]),
        objective_status=str(entry["ObjectiveStatus"]),
        metric=metric,
        value=None if final.get("Value") is None else float(final["Value"]),
        maximize=final.get("Type") == "Maximize" if final.get("Type") else metric not in _MINIMIZED,
        metrics=FrozenDict(dict(map(_metric, properties.get("CandidateMetrics") or ()))),
        steps=tuple(
            Step(
                str(step["CandidateStepType"]).rpartition("::")[2],
                str(step["CandidateStepName"]),
                str(step["CandidateStepArn"]),
            )
            for step in entry["CandidateSteps"]
        ),
        images=tuple(str(container["Image"]) for container in containers),
        created=entry["CreationTime"],
        ended=entry.get("EndTime"),
        failure=entry.get("FailureReason") or None,
        explainability=places.get("Explainability") or None,
        insights=places.get("ModelInsights") or None,
    )


def _metric(entry: Mapping[str, Any]) -> tuple[str, float]:
    name = str(entry.get("StandardMetricName") or entry.get("MetricName") or "")
    data = str(entry.get("Set") or "").lower()
    return (f"{data}:{name}" if data else name), float(entry.get("Value") or 0.0)


def recommended_ranges(training: Mapping[str, Any]) -> Mapping[str, ParameterRange] | None:
    """Return the ranges that AWS recommends for the algorithm of a training job; None for any other image.

    Args:
        training: an answer of DescribeTrainingJob.
    """
    uri = str((training.get("AlgorithmSpecification") or {}).get("TrainingImage") or "")
    image = parse_image(uri)
    if image is None or not is_builtin_image(uri):
        return None
    if image.repository in XGBOOST_REPOSITORIES:
        return _XGBOOST
    return _LINEAR if image.repository == "linear-learner" else None
