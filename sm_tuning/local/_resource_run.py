"""The work on one transform or processing job: from its start, or that of the next server, to its last status."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from sm_tuning._statuses import JobStatus as Status
from sm_tuning.executor import SteadyClock
from sm_tuning.local._workers import Workers, is_full
from sm_tuning.local.store import Store

_log = logging.getLogger(__name__)


_SLOT_SECONDS = 0.1


class StoppedError(Exception):
    """The job was stopped, or the server closes."""


class FailedError(Exception):
    """The job ends as Failed; the message is its FailureReason."""


class ResourceRun(ABC):
    """One job. ``run`` is for a thread of its own, the other methods for any thread.

    Args:
        store: holds the document.
        arn: ARN of the job.
        clock: returns epoch seconds.
        slots: bounds the jobs that run at once; the others wait, as InProgress.
    """

    #: With which the API's names of the job's members begin.
    prefix: str

    def __init__(self, store: Store, arn: str, clock: Callable[[], float], slots: threading.Semaphore) -> None:
        self._slots = slots
        self._store = store
        self._arn = arn
        self._clock = SteadyClock(clock)  # so that no job ends before its start
        self._ending = threading.Event()
        self._closing = False

    @abstractmethod
    def work(self, job: Mapping[str, Any]) -> Mapping[str, Any]:
        """Do the job and return further members of its document.

        Raises:
            FailedError: the job failed.
            StoppedError: the job must not continue.
        """

    @abstractmethod
    def interrupt(self) -> None:
        """End the processes of the job."""

    def stop(self) -> None:
        """End the job, which has ended when ``run`` returns."""
        self._ending.set()
        self.interrupt()

    def close(self) -> None:
        """End the processes; the document stays for the next server."""
        self._closing = True
        self.stop()

    def check(self) -> None:
        """Raise StoppedError if the job must not continue."""
        if self._ending.is_set():
            raise StoppedError

    def run(self) -> None:
        """Run the job to its end, from the start."""
        job = self._store.resource(self._arn)
        if job is None or Status(job[f"{self.prefix}JobStatus"]).is_terminal:
            return
        if job[f"{self.prefix}JobStatus"] == Status.STOPPING:
            self._end(Status.STOPPED)
            return
        try:
            while not self._slots.acquire(timeout=_SLOT_SECONDS):
                self.check()
            try:
                self.check()
                members = self.work(job)
            finally:
                self._slots.release()
        except Exception as e:  # any error must end the job
            if is_full(e):
                raise
            if not isinstance(e, StoppedError | FailedError):
                _log.exception("%s", self._arn)
            if self._closing:
                return
            if self._ending.is_set():  # in a job that was stopped, a failure is a consequence of the stop
                self._end(Status.STOPPED)
            else:
                reason = str(e) if isinstance(e, FailedError) else f"InternalServerError: {type(e).__name__}: {e}"
                self._end(Status.FAILED, FailureReason=reason, **getattr(e, "members", {}))
        else:
            self._end(Status.COMPLETED, **members)

    def _end(self, status: Status, **members: Any) -> None:
        ended = {f"{self.prefix}JobStatus": str(status), f"{self.prefix}EndTime": round(self._clock(), 3), **members}
        self._store.update_resource(self._arn, ended)


def recover(workers: Workers[Any], store: Store, kind: str, make: Callable[[str], ResourceRun]) -> None:
    """Run all unfinished jobs of a kind again."""
    for doc in store.all_resources(kind):
        status = next(value for name, value in doc.items() if name.endswith("JobStatus"))
        if not Status(status).is_terminal:
            arn = next(str(value) for name, value in doc.items() if name.endswith("JobArn"))
            workers.start(arn, make(arn))
