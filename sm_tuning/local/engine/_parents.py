"""Warm start: what the training jobs of the parents tell the search of a new tuning job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sm_tuning._statuses import TrainingStatus
from sm_tuning._wire import OBJECTIVE_KEY
from sm_tuning.local.store import Store
from sm_tuning.strategies import ParentTrials, Trial

TRANSFER = "TransferLearning"


def parent_names(tuning: Mapping[str, Any]) -> list[str]:
    """Return the names of a tuning job's parents, in the order of the request."""
    given = (tuning.get("WarmStartConfig") or {}).get("ParentHyperParameterTuningJobs") or ()
    return [str(parent["HyperParameterTuningJobName"]) for parent in given]


def parents_of(store: Store, tuning: Mapping[str, Any]) -> list[ParentTrials]:
    """Return the training jobs of each parent, and not those of the parents' own parents.

    (Developer Guide, automatic-model-tuning-warm-start.) A hyperparameter that was static in the parent may be
    tuned now, so that a trial carries all the hyperparameters of its training job.
    """
    transfer = (tuning.get("WarmStartConfig") or {}).get("WarmStartType") == TRANSFER
    return [
        ParentTrials(trials=tuple(map(_trial, store.training_jobs_of(name))), transfer=transfer)
        for name in parent_names(tuning)
    ]


def _trial(doc: Mapping[str, Any]) -> Trial:
    value = doc.get("_ObjectiveValue")
    ended = TrainingStatus(doc["TrainingJobStatus"]).is_terminal
    return Trial(
        index=doc["_Index"],
        hyperparameters={key: one for key, one in doc["HyperParameters"].items() if key != OBJECTIVE_KEY},
        value=value,
        failed=ended and value is None,
        finished=ended,
    )
