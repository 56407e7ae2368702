"""The engine: one loop for each tuning job that has not ended."""

from __future__ import annotations

import time
from collections.abc import Callable

from sm_tuning._statuses import TrainingStatus
from sm_tuning.local._config import Identity
from sm_tuning.local._workers import Workers
from sm_tuning.local.engine._loop import EngineContext, TrainingRunner, TuningLoop
from sm_tuning.local.store import Store, hidden


class Engine:
    """Brings tuning jobs from their creation to their end.

    Args:
        store: holds the documents, which are kept up to date.
        runner: runs the training jobs; its events must reach ``notify``.
        identity: account and region.
        clock: returns epoch seconds.
        monotonic: returns seconds for durations and limits.
    """

    def __init__(
        self,
        store: Store,
        runner: TrainingRunner,
        identity: Identity,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = EngineContext(store, runner, identity, clock, monotonic)
        self._loops: Workers[TuningLoop] = Workers("tuning job")

    def submit(self, tuning_job: str) -> None:
        """Start a tuning job that is in the store; returns at once."""
        self._loops.start(tuning_job, TuningLoop(self._context, tuning_job))

    def stop(self, tuning_job: str) -> None:
        """Stop a tuning job and its running training jobs; does nothing if it has ended.

        The job's status is Stopping as soon as this returns.
        """
        loop = self._loops.get(tuning_job)
        (loop or TuningLoop(self._context, tuning_job)).request_stop()
        if loop is None and tuning_job in self._context.store.active_tuning_jobs():
            self.submit(tuning_job)

    def recover(self) -> None:
        """Continue all tuning jobs that an earlier server left unfinished."""
        for name in self._context.store.active_tuning_jobs():
            self.submit(name)

    def notify(self, name: str) -> None:
        """Wake the loop that a change of this training job, or of this tuning job, concerns.

        A new value of a running trial concerns only a tuning job that may stop it.
        """
        loop = self._loops.get(name)
        if loop is None:
            doc = self._context.store.training_job(name) or {}
            loop = self._loops.get(hidden(doc).get("_TuningJobName", ""))
            if doc.get("TrainingJobStatus") == TrainingStatus.IN_PROGRESS and loop and not loop.needs_curves:
                return
        if loop is not None:
            loop.wake()

    def close(self) -> None:
        """End all loops; the tuning jobs stay as they are for ``recover``."""
        self._loops.close()
