"""The life of a tuning job: launch, describe, wait, stop, and start the next from it."""

from sm_tuning._statuses import ObjectiveStatus, TrainingStatus, TuningStatus
from sm_tuning.description import Counts
from sm_tuning.jobs._control import WarmStartKind, stop, warm_start
from sm_tuning.jobs._display import shown_progress
from sm_tuning.jobs._launch import IfExists, OnProgress, Plan, launch, plan, send
from sm_tuning.jobs._progress import Progress, Running, best_text, clock_text, line, progress_of, render
from sm_tuning.jobs._read import (
    Best,
    best_of,
    children,
    counts_of,
    describe,
    list_jobs,
    status,
    status_of,
)
from sm_tuning.jobs._same import SPEC_HASH_TAG
from sm_tuning.jobs._wait import OnUpdate, outcome, wait

__all__ = [
    "SPEC_HASH_TAG",
    "Best",
    "Counts",
    "IfExists",
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
    "children",
    "clock_text",
    "counts_of",
    "describe",
    "launch",
    "line",
    "list_jobs",
    "outcome",
    "plan",
    "progress_of",
    "render",
    "send",
    "shown_progress",
    "status",
    "status_of",
    "stop",
    "wait",
    "warm_start",
]
