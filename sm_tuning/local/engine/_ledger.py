"""The trials of one tuning job as decisions and strategies want to see them, read from the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sm_tuning._statuses import TrainingStatus
from sm_tuning._wire import OBJECTIVE_KEY
from sm_tuning.local.store import Store
from sm_tuning.strategies import Record, Trial, TrialState, record_of


@dataclass(frozen=True)
class Entry:
    """One training job: its state, which definition it is of, and how a strategy sees it."""

    definition: str | None
    state: TrialState
    trial: Trial


class Ledger:
    """All training jobs of a tuning job; those that have ended are read once."""

    def __init__(self, store: Store, tuning_job: str) -> None:
        self._store = store
        self._entries = [self._entry(doc) for doc in store.training_jobs_of(tuning_job)]

    def refresh(self) -> list[TrialState]:
        """Read again those that have not ended, and return the states of all by index."""
        for position, entry in enumerate(self._entries):
            if not entry.trial.finished:
                doc = self._store.training_job(entry.state.name)
                if doc is not None:
                    self._entries[position] = self._entry(doc)
        return [entry.state for entry in self._entries]

    def add(self, doc: Mapping[str, Any]) -> None:
        """Take up a new training job."""
        self._entries.append(self._entry(doc))

    @property
    def next_index(self) -> int:
        """The counter of the next training job."""
        return max((entry.trial.index for entry in self._entries), default=0) + 1

    def trials(self, definition: str | None) -> list[Trial]:
        """Return the trials of one definition."""
        return [entry.trial for entry in self._entries if entry.definition == definition]

    def record(self, definition: str | None, *, maximize: bool) -> Record:
        """Return what is known of one definition."""
        values = [entry.state.value for entry in self._entries if entry.definition == definition]
        return record_of(values, maximize=maximize)

    def running_trials(self, definition: str | None) -> list[tuple[str, Trial]]:
        """Return (training job, trial) of those that run and are not stopping."""
        return [
            (entry.state.name, entry.trial)
            for entry in self._entries
            if entry.definition == definition and entry.state.status is TrainingStatus.IN_PROGRESS
        ]

    def _entry(self, doc: Mapping[str, Any]) -> Entry:
        status = TrainingStatus(doc["TrainingJobStatus"])
        ended = status.is_terminal
        value = doc.get("_ObjectiveValue") if ended else None
        curve = self._curve(doc)
        ended_at = doc.get("TrainingEndTime", doc["LastModifiedTime"]) if ended else None
        state = TrialState(doc["TrainingJobName"], status, value, curve, ended_at)
        trial = Trial(
            index=doc["_Index"],
            hyperparameters=doc["_TunedHyperParameters"],
            value=value,
            failed=ended and value is None,
            curve=curve,
            finished=ended,
        )
        return Entry(doc.get("_DefinitionName"), state, trial)

    def _curve(self, doc: Mapping[str, Any]) -> tuple[float, ...]:
        """Return the objective values of a training job.

        A job that was begun again after the death of the server repeats its epochs; what it printed before
        that counts only when it resumes from checkpoints.
        """
        since = 0.0 if "CheckpointConfig" in doc else doc.get("_AttemptStartTime", 0.0)
        emissions = self._store.emissions(doc["TrainingJobName"], doc["HyperParameters"][OBJECTIVE_KEY])
        return tuple(one.value for one in emissions if one.timestamp >= since)
