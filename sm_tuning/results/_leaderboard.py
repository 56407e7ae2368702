"""The frame of an Autopilot job's candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from sm_tuning.description import Candidate
from sm_tuning.results._columns import LEADERBOARD
from sm_tuning.results._schema import frame


def leaderboard(candidates: Sequence[Candidate], best: str | None) -> pd.DataFrame:
    """Return the candidates of an Autopilot job, the best first, and those without an objective last.

    Args:
        candidates: all of them.
        best: the name of the service's best candidate; None without one.

    Returns:
        ``Rank`` from 1 (missing without an objective), the columns of ``LEADERBOARD``, and ``metric:<set>:<name>`` for
        each metric. Several steps or images of a candidate are joined by spaces.
    """

    def order(candidate: Candidate) -> tuple[bool, float, str]:
        value = candidate.value if candidate.value is not None else float("inf")
        return candidate.value is None, -value if candidate.maximize else value, candidate.name

    ordered = sorted(candidates, key=order)
    metrics = dict.fromkeys(name for candidate in ordered for name in candidate.metrics)
    columns: dict[str, list[Any]] = {
        "Rank": [None if c.value is None else place for place, c in enumerate(ordered, start=1)],
        "CandidateName": [c.name for c in ordered],
        "CandidateStatus": [c.status for c in ordered],
        "ObjectiveStatus": [c.objective_status for c in ordered],
        "ObjectiveMetricName": [c.metric or None for c in ordered],
        "FinalObjectiveValue": [c.value for c in ordered],
        "IsBest": [c.name == best for c in ordered],
        "CreationTime": [c.created for c in ordered],
        "EndTime": [c.ended for c in ordered],
        "TrainingJobName": [c.training_job_name for c in ordered],
        "Steps": [" ".join(f"{step.kind}:{step.name}" for step in c.steps) or None for c in ordered],
        "InferenceImages": [" ".join(c.images) or None for c in ordered],
        "FailureReason": [c.failure for c in ordered],
    }
    values = {f"metric:{name}": [c.metrics.get(name) for c in ordered] for name in metrics}
    return frame({**LEADERBOARD, **dict.fromkeys(values, "float64")}, {**columns, **values})
