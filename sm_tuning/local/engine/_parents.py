"""Warm start: what the parents' training jobs tell the search of a new tuning job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sm_tuning.local._types import Trial
from sm_tuning.local.engine._documents import OBJECTIVE_KEY
from sm_tuning.local.store import Store
from sm_tuning.local.strategies import Space


def parent_trials(store: Store, tuning: Mapping[str, Any], space: Space, metric: str) -> list[Trial]:
    """Return the parents' training jobs that have an objective and lie in this job's space.

    Not those of grandparents (Developer Guide, automatic-model-tuning-warm-start). A parent's static
    hyperparameter may be tuned now, so values come from all its hyperparameters. Their indexes are 0 and below:
    they take no place in this job's count.
    """
    parents = (tuning.get("WarmStartConfig") or {}).get("ParentHyperParameterTuningJobs") or ()
    found: list[tuple[dict[str, str], float]] = []
    for parent in parents:
        for doc in store.training_jobs_of(parent["HyperParameterTuningJobName"]):
            values = {name: doc["HyperParameters"].get(name) for name in space.names}
            value = doc.get("_ObjectiveValue")
            if value is not None and doc["HyperParameters"].get(OBJECTIVE_KEY) == metric and _inside(space, values):
                found.append(({name: str(one) for name, one in values.items()}, value))
    first = 1 - len(found)
    return [
        Trial(index=first + position, hyperparameters=values, value=value, finished=True)
        for position, (values, value) in enumerate(found)
    ]


def _inside(space: Space, values: Mapping[str, str | None]) -> bool:
    """Whether every value lies in its dimension's range."""
    try:
        return all(0.0 <= one.encode(str(values[one.name])) <= 1.0 for one in space.dimensions)
    except ValueError:  # no number, none of the choices, or no logarithm
        return False
