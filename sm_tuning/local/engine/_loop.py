"""The backend of one tuning job for the loop ``drive``: its training jobs are documents that a runner trains."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from sm_tuning._statuses import TrainingStatus, TuningStatus
from sm_tuning._wire import OBJECTIVE_KEY
from sm_tuning.executor import SteadyClock
from sm_tuning.local._config import Identity
from sm_tuning.local._workers import is_full
from sm_tuning.local.engine._documents import parents_of, training_job_doc
from sm_tuning.local.store import Store, hidden
from sm_tuning.strategies import (
    Outcome,
    PlannedTrial,
    Search,
    Suggestion,
    Trials,
    TrialState,
    converged,
    drive,
)

_log = logging.getLogger(__name__)

_LONGEST_REASON = 1024  # botocore model, shape FailureReason
_LONGEST_SLEEP_SECONDS = 3600.0


class TrainingRunner(Protocol):
    """Runs training jobs."""

    def start(self, training_job: str) -> None:
        """Start a training job that is in the store."""

    def stop(self, training_job: str) -> None:
        """Stop a training job."""


@dataclass(frozen=True)
class EngineContext:
    """The services that all loops use; ``clock`` returns epoch seconds, ``monotonic`` seconds for durations."""

    store: Store
    runner: TrainingRunner
    identity: Identity
    clock: Callable[[], float]
    monotonic: Callable[[], float] = time.monotonic


class _Left(Exception):  # noqa: N818 - no error: the way out of the loop
    """The loop was closed, or its tuning job has ended."""


class TuningLoop:
    """Brings one tuning job to its end, as the backend of ``drive``.

    ``run`` is for a thread of its own; ``wake``, ``close`` and ``request_stop`` are for any thread.
    """

    def __init__(self, context: EngineContext, name: str) -> None:
        self._context = context
        self._name = name
        self._woken = threading.Event()
        self._closing = False
        #: Whether decisions depend on the values of running trials.
        self.needs_curves: bool = True
        self._lock = threading.Lock()  # guards the status of the tuning job
        self._clock = SteadyClock(context.clock, context.monotonic)
        self._request: Mapping[str, Any]  # the document as it was when the loop began
        self._search: Search
        self._ledger: _Ledger

    def wake(self) -> None:
        """Look at the training jobs again."""
        self._woken.set()

    def close(self) -> None:
        """Make ``run`` return, with the job as it is."""
        self._closing = True
        self._woken.set()

    def request_stop(self) -> None:
        """Enter Stopping, if the job is InProgress."""
        with self._lock:
            if self._doc()["HyperParameterTuningJobStatus"] == TuningStatus.IN_PROGRESS:
                self._update({"HyperParameterTuningJobStatus": str(TuningStatus.STOPPING)})
        self._woken.set()

    def run(self) -> None:
        """Run the job until it has ended or the loop is closed; an error fails the job.

        Raises:
            OSError, sqlite3.OperationalError: the disk is full, so that not even the failure can be recorded.
        """
        try:
            self._begin()
            drive(self._search, self)
        except _Left:
            return
        except Exception as e:  # any error must end the job, or its client would wait forever
            if is_full(e):
                raise
            _log.exception("tuning job %s", self._name)
            for job in self._context.store.training_jobs_of(self._name):
                if job["TrainingJobStatus"] == TrainingStatus.IN_PROGRESS:
                    self._context.runner.stop(job["TrainingJobName"])
            reason = f"InternalServerError: the tuning loop failed with {type(e).__name__}: {e}"
            with self._lock:
                self._record_end(Outcome(TuningStatus.FAILED, reason), {})

    def _begin(self) -> None:
        doc = self._doc()
        if "_Seed" not in doc:  # recorded once, so that a restart continues the same sequence
            given = doc["HyperParameterTuningJobConfig"].get("RandomSeed")
            doc = self._update({"_Seed": secrets.randbelow(2**31) if given is None else given})
        self._request = doc
        self._search = Search.of(doc, seed=hidden(doc)["_Seed"], parents=parents_of(self._context.store, doc))
        self._ledger = _Ledger(self._context.store, self._name)
        self.needs_curves = self._search.needs_curves

    def stop_requested(self) -> bool:
        """Return whether the job is Stopping.

        Raises:
            _Left: the loop was closed, or the job has ended.
        """
        self._woken.clear()  # before all that a pass reads, so that no change is missed
        status = TuningStatus(self._doc()["HyperParameterTuningJobStatus"])
        if self._closing or status.is_terminal:
            raise _Left
        return status is TuningStatus.STOPPING

    def trials(self) -> Sequence[PlannedTrial]:
        """Read the running training jobs again and return all, by index."""
        found = self._ledger.refresh()
        self._report()
        return found

    def now(self) -> float:
        """Return the time without the seconds by which the clock was set forward, for limits and durations."""
        now = self._clock()
        return now - self._clock.skipped

    def start(self, suggestion: Suggestion) -> None:
        """Create a training job and start it.

        Raises:
            _Left: the loop was closed.
        """
        if self._closing:
            raise _Left
        context, index = self._context, suggestion.number
        search = next(search for search in self._search.definitions if search.name == suggestion.definition)
        job = training_job_doc(
            self._request, search, suggestion.hyperparameters, index, context.identity, self._clock()
        )
        tags = context.store.tags(self._request["HyperParameterTuningJobArn"])
        context.store.create_training_job(job, tuning_job=self._name, index=index, tags=tags)
        self._ledger.add(job)
        context.runner.start(job["TrainingJobName"])

    def stop(self, name: str) -> None:
        """Stop a training job."""
        self._context.runner.stop(name)

    def end(self, outcome: Outcome) -> Outcome:
        """Record the outcome: Stopped, if that was requested in the meantime."""
        with self._lock:
            if self._doc()["HyperParameterTuningJobStatus"] == TuningStatus.STOPPING:
                outcome = Outcome(TuningStatus.STOPPED)
            seconds = max(0, int(self.now() - self._request["CreationTime"]))
            self._record_end(outcome, {"ConsumedResources": {"RuntimeInSeconds": seconds}})
        return outcome

    def wait(self) -> None:
        """Wait until a training job has changed, or the time of the job is over."""
        deadline = self._search.rules.deadline
        left = _LONGEST_SLEEP_SECONDS if deadline is None else max(0.0, deadline - self.now())
        # After the deadline the loop waits only for the trials, which wake it.
        self._woken.wait(min(left or _LONGEST_SLEEP_SECONDS, _LONGEST_SLEEP_SECONDS))

    def _report(self) -> None:
        """Update TuningJobCompletionDetails and ConsumedResources if a trial has ended since the last time."""
        doc, rules, ended = self._doc(), self._search.rules, self._ledger.ended
        if hidden(doc).get("_Ended", 0) == ended:
            return
        details = dict(doc.get("TuningJobCompletionDetails") or {})
        stale = self._ledger.trials.tally.not_improving(maximize=rules.maximize)
        details["NumberOfTrainingJobsObjectiveNotImproving"] = stale
        if converged(rules, stale):
            details.setdefault("ConvergenceDetectedTime", self._clock())
        resources = {"RuntimeInSeconds": max(0, int(self.now() - doc["CreationTime"]))}
        self._update({"TuningJobCompletionDetails": details, "ConsumedResources": resources, "_Ended": ended})

    def _record_end(self, outcome: Outcome, members: Mapping[str, Any]) -> None:
        # The service gives a reason to failed jobs only.
        reason = outcome.reason if outcome.status is TuningStatus.FAILED else None
        self._update(
            {
                "HyperParameterTuningJobStatus": str(outcome.status),
                "HyperParameterTuningEndTime": max(self._clock(), self._doc()["CreationTime"]),
                "FailureReason": reason[:_LONGEST_REASON] if reason else None,
                **members,
            }
        )

    def _doc(self) -> dict[str, Any]:
        doc = self._context.store.tuning_job(self._name)
        if doc is None:
            raise KeyError(self._name)
        return doc

    def _update(self, members: Mapping[str, Any]) -> dict[str, Any]:
        return self._context.store.update_tuning_job(self._name, members)


class _Read(NamedTuple):
    """The time from which the values of a training job count, and how many of them were read from the store."""

    since: float
    values: int


class _Ledger:
    """All training jobs of a tuning job; ended ones are read once, and of running ones the values that are new."""

    def __init__(self, store: Store, tuning_job: str) -> None:
        self._store = store
        self._read: dict[int, _Read] = {}  # by position, of those that run
        self.trials = Trials()
        for doc in store.training_jobs_of(tuning_job):
            self.add(doc)

    @property
    def ended(self) -> int:
        """The number of training jobs that have ended."""
        return len(self.trials) - len(self.trials.tally.running)

    def refresh(self) -> Trials:
        """Read the running training jobs again and return all by index."""
        for position in list(self.trials.tally.running):
            before = self.trials[position]
            doc = self._store.training_job(before.state.name)
            if doc is not None:
                trial, self._read[position] = self._seen(doc, before, self._read[position])
                self.trials.update(position, trial)
        return self.trials

    def add(self, doc: Mapping[str, Any]) -> None:
        """Add a new training job."""
        trial, self._read[len(self.trials)] = self._seen(doc)
        self.trials.add(trial)

    def _seen(
        self, doc: Mapping[str, Any], before: PlannedTrial | None = None, read: _Read | None = None
    ) -> tuple[PlannedTrial, _Read]:
        """Return a training job as it is now, given what was read of it before."""
        private = hidden(doc)
        status = TrainingStatus(doc["TrainingJobStatus"])
        ended = status.is_terminal
        # A job that was started again after the death of a server repeats its epochs. Its earlier values count only if
        # it resumes from checkpoints.
        since = 0.0 if "CheckpointConfig" in doc else private.get("_AttemptStartTime", 0.0)
        curve, count = (before.state.curve, read.values) if before and read and read.since == since else ((), 0)
        emissions = self._store.emissions(doc["TrainingJobName"], doc["HyperParameters"][OBJECTIVE_KEY], count)
        curve += tuple(emission.value for emission in emissions if emission.timestamp >= since)
        state = TrialState(
            name=doc["TrainingJobName"],
            status=status,
            value=private.get("_ObjectiveValue") if ended else None,
            curve=curve,
            ended_at=doc.get("TrainingEndTime", doc["LastModifiedTime"]) if ended else None,
        )
        suggestion = (
            before.suggestion
            if before
            else Suggestion(private["_Index"], private["_TunedHyperParameters"], private.get("_DefinitionName"))
        )
        return PlannedTrial(suggestion, state), _Read(since, count + len(emissions))
