"""The engine: one loop for each tuning job that has not ended."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from sm_tuning.local._disk import persist
from sm_tuning.local._identity import Identity
from sm_tuning.local.engine._loop import EngineContext, TrainingRunner, TuningLoop
from sm_tuning.local.store import Store

_log = logging.getLogger(__name__)


class Engine:
    """Carries tuning jobs from create to end.

    Args:
        store: the documents; they are kept up to date there.
        runner: what runs training jobs; its events are to reach ``notify``.
        identity: account and region.
        clock: epoch seconds now.
    """

    def __init__(self, store: Store, runner: TrainingRunner, identity: Identity, clock: Callable[[], float]) -> None:
        self._context = EngineContext(store, runner, identity, clock)
        self._lock = threading.Lock()
        self._loops: dict[str, tuple[TuningLoop, threading.Thread]] = {}
        self._closing = threading.Event()

    def submit(self, tuning_job: str) -> None:
        """Begin a tuning job that is in the store; returns at once."""
        loop = TuningLoop(self._context, tuning_job)
        thread = threading.Thread(target=self._work, args=(tuning_job, loop), name=tuning_job, daemon=True)
        with self._lock:
            if self._closing.is_set() or tuning_job.lower() in self._loops:
                return
            self._loops[tuning_job.lower()] = (loop, thread)
            thread.start()

    def stop(self, tuning_job: str) -> None:
        """End a tuning job as Stopped, its running training jobs too. Does nothing if it has ended.

        Describe says Stopping as soon as this returns.
        """
        with self._lock:
            entry = self._loops.get(tuning_job.lower())
        (entry[0] if entry is not None else TuningLoop(self._context, tuning_job)).stop()
        if entry is None and tuning_job in self._context.store.active_tuning_jobs():
            self.submit(tuning_job)

    def recover(self) -> None:
        """Carry on with every tuning job that an earlier server left unfinished."""
        for name in self._context.store.active_tuning_jobs():
            self.submit(name)

    def notify(self, name: str) -> None:
        """Take note of a change of a training job, or of a tuning job."""
        with self._lock:
            entry = self._loops.get(name.lower())
        if entry is None:
            doc = self._context.store.training_job(name)
            with self._lock:
                entry = self._loops.get((doc or {}).get("_TuningJobName", "").lower())
        if entry is not None:
            entry[0].wake()

    def close(self) -> None:
        """End all loops; the tuning jobs stay as they are for ``recover``."""
        with self._lock:
            self._closing.set()
            entries = list(self._loops.values())
        for loop, _ in entries:
            loop.close()
        for _, thread in entries:
            thread.join()

    def _work(self, tuning_job: str, loop: TuningLoop) -> None:
        try:
            persist(loop.run, f"tuning job {tuning_job}", self._closing)
        except Exception:  # noqa: BLE001 - a thread's last words; the document stays active for recover()
            _log.exception("tuning job %s: its end could not be recorded", tuning_job)
        finally:
            with self._lock:
                del self._loops[tuning_job.lower()]
