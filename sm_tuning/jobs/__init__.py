"""The life of a tuning job: launch, describe, wait, stop, and start the next job from its results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sm_tuning._lazy import lazy_names

if TYPE_CHECKING:
    from sm_tuning._statuses import ObjectiveStatus, TrainingStatus, TuningStatus
    from sm_tuning.description import Counts
    from sm_tuning.jobs._control import OnUpdate, WarmStartKind, outcome, stop, wait, warm_start
    from sm_tuning.jobs._launch import (
        SPEC_HASH_TAG,
        IfExists,
        OnProgress,
        Plan,
        check_parents,
        digest,
        launch,
        plan,
        send,
    )
    from sm_tuning.jobs._progress import (
        Progress,
        Running,
        best_text,
        clock_text,
        line,
        progress_of,
        render,
        shown_progress,
    )
    from sm_tuning.jobs._read import (
        Best,
        JobArn,
        best_of,
        children,
        counts_of,
        describe,
        describe_arn,
        describe_training,
        list_jobs,
        status_of,
        with_best,
        with_single_trial,
    )
else:
    _HOMES = {
        "sm_tuning._statuses": ("ObjectiveStatus", "TrainingStatus", "TuningStatus"),
        "sm_tuning.description": ("Counts",),
        "._control": ("OnUpdate", "WarmStartKind", "outcome", "stop", "wait", "warm_start"),
        "._launch": (
            "SPEC_HASH_TAG",
            "IfExists",
            "OnProgress",
            "Plan",
            "check_parents",
            "digest",
            "launch",
            "plan",
            "send",
        ),
        "._progress": (
            "Progress",
            "Running",
            "best_text",
            "clock_text",
            "line",
            "progress_of",
            "render",
            "shown_progress",
        ),
        "._read": (
            "Best",
            "JobArn",
            "best_of",
            "children",
            "counts_of",
            "describe",
            "describe_arn",
            "describe_training",
            "list_jobs",
            "status_of",
            "with_best",
            "with_single_trial",
        ),
    }
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = [
    "SPEC_HASH_TAG",
    "Best",
    "Counts",
    "IfExists",
    "JobArn",
    "ObjectiveStatus",
    "OnProgress",
    "OnUpdate",
    "Plan",
    "Progress",
    "Running",
    "TrainingStatus",
    "TuningStatus",
    "WarmStartKind",
    "best_of",
    "best_text",
    "check_parents",
    "children",
    "clock_text",
    "counts_of",
    "describe",
    "describe_arn",
    "describe_training",
    "digest",
    "launch",
    "line",
    "list_jobs",
    "outcome",
    "plan",
    "progress_of",
    "render",
    "send",
    "shown_progress",
    "status_of",
    "stop",
    "wait",
    "warm_start",
    "with_best",
    "with_single_trial",
]
