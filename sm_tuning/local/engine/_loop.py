"""The loop of one tuning job: look, decide, act, sleep until something happens."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sm_tuning._statuses import TrainingStatus, TuningStatus
from sm_tuning._wire import OBJECTIVE_KEY
from sm_tuning.executor import SteadyClock
from sm_tuning.local._config import Identity
from sm_tuning.local._workers import is_full
from sm_tuning.local.engine._documents import parents_of, training_job_doc
from sm_tuning.local.store import Store, hidden
from sm_tuning.strategies import (
    DefinitionRecord,
    DefinitionSearch,
    EarlyStops,
    Outcome,
    Rules,
    Trial,
    TrialState,
    converged,
    decide,
    not_improving,
    rules_of,
    searches_of,
    turn_order,
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


class TuningLoop:
    """Brings one tuning job to its end. ``run`` is for a thread of its own, the other methods for any thread."""

    def __init__(self, context: EngineContext, name: str) -> None:
        self._context = context
        self._name = name
        self._woken = threading.Event()
        self._closing = False
        self._lock = threading.Lock()  # guards the status of the tuning job
        self._clock = SteadyClock(context.clock, context.monotonic)

    def wake(self) -> None:
        """Look at the training jobs again."""
        self._woken.set()

    def close(self) -> None:
        """Make ``run`` return, with the job as it is."""
        self._closing = True
        self._woken.set()

    def stop(self) -> None:
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
            self._run()
        except Exception as e:  # any error must end the job, or its client would wait forever
            if is_full(e):
                raise
            _log.exception("tuning job %s", self._name)
            for job in self._context.store.training_jobs_of(self._name):
                if job["TrainingJobStatus"] == TrainingStatus.IN_PROGRESS:
                    self._context.runner.stop(job["TrainingJobName"])
            reason = f"InternalServerError: the tuning loop failed with {type(e).__name__}: {e}"
            with self._lock:
                self._end(Outcome(TuningStatus.FAILED, reason), {})

    def _run(self) -> None:
        doc = self._doc()
        if "_Seed" not in doc:  # recorded once, so that a restart continues the same sequence
            given = doc["HyperParameterTuningJobConfig"].get("RandomSeed")
            doc = self._update({"_Seed": secrets.randbelow(2**31) if given is None else given})
        searches = searches_of(doc, seed=hidden(doc)["_Seed"], parents=parents_of(self._context.store, doc))
        rules = rules_of(doc, searches)
        auto = doc["HyperParameterTuningJobConfig"].get("TrainingJobEarlyStoppingType") == "Auto"
        ledger = _Ledger(self._context.store, self._name)
        early = EarlyStops(maximize=rules.maximize)
        exhausted = False
        while not self._closing:
            self._woken.clear()  # before the reading below, so that no change is missed
            status = TuningStatus(self._doc()["HyperParameterTuningJobStatus"])
            if status.is_terminal:
                return
            states = ledger.refresh()
            now = self._running_time()
            stopping = status is TuningStatus.STOPPING
            decision = decide(rules, states, now, stop_requested=stopping, exhausted=exhausted)
            self._report(rules, states, now)
            if decision.outcome is not None:
                with self._lock:
                    requested = self._doc()["HyperParameterTuningJobStatus"] == TuningStatus.STOPPING
                    outcome = Outcome(TuningStatus.STOPPED) if requested else decision.outcome
                    seconds = max(0, int(self._running_time() - doc["CreationTime"]))
                    self._end(outcome, {"ConsumedResources": {"RuntimeInSeconds": seconds}})
                return
            stops = set(decision.stop) | (set(early.of(states)) if auto else set())
            for name in stops | ledger.stopped_by_strategy(searches):
                self._context.runner.stop(name)
            started = sum(self._start_one(doc, rules, searches, ledger) for _ in range(decision.start))
            exhausted = exhausted or started < decision.start
            if started == decision.start:
                left = _LONGEST_SLEEP_SECONDS if rules.deadline is None else max(0.0, rules.deadline - now)
                # After the deadline the loop waits only for the trials, which wake it.
                self._woken.wait(min(left or _LONGEST_SLEEP_SECONDS, _LONGEST_SLEEP_SECONDS))

    def _start_one(
        self, doc: Mapping[str, Any], rules: Rules, searches: Sequence[DefinitionSearch], ledger: _Ledger
    ) -> bool:
        """Ask for hyperparameters and start a training job; return False if all spaces are used up."""
        if self._closing:
            return True
        by_name = {search.name or "": search for search in searches}
        order: Sequence[str] = list(by_name)
        if len(order) > 1:
            order = turn_order(
                {name: ledger.record(search.name, maximize=rules.maximize) for name, search in by_name.items()},
                seed=hidden(doc)["_Seed"],
                maximize=rules.maximize,
                learns=doc["HyperParameterTuningJobConfig"]["Strategy"] == "Bayesian",
            )
        context = self._context
        for search in (by_name[name] for name in order):
            tuned = search.strategy.ask(ledger.trials(search.name))
            if tuned is None:
                continue
            index = ledger.next_index
            job = training_job_doc(doc, search, tuned, index, context.identity, self._clock())
            tags = context.store.tags(doc["HyperParameterTuningJobArn"])
            context.store.create_training_job(job, tuning_job=self._name, index=index, tags=tags)
            ledger.add(job)
            context.runner.start(job["TrainingJobName"])
            return True
        return False

    def _running_time(self) -> float:
        """Return the time without the seconds by which the clock was set forward, for limits and durations."""
        now = self._clock()
        return now - self._clock.skipped

    def _report(self, rules: Rules, states: Sequence[TrialState], now: float) -> None:
        """Update TuningJobCompletionDetails and ConsumedResources if a trial has ended since the last time."""
        doc = self._doc()
        ended = sum(state.ended for state in states)
        if hidden(doc).get("_Ended", 0) == ended:
            return
        details = dict(doc.get("TuningJobCompletionDetails") or {})
        stale = not_improving(states, maximize=rules.maximize)
        details["NumberOfTrainingJobsObjectiveNotImproving"] = stale
        if converged(rules, stale):
            details.setdefault("ConvergenceDetectedTime", self._clock())
        resources = {"RuntimeInSeconds": max(0, int(now - doc["CreationTime"]))}
        self._update({"TuningJobCompletionDetails": details, "ConsumedResources": resources, "_Ended": ended})

    def _end(self, outcome: Outcome, members: Mapping[str, Any]) -> None:
        self._update(
            {
                "HyperParameterTuningJobStatus": str(outcome.status),
                "HyperParameterTuningEndTime": max(self._clock(), self._doc()["CreationTime"]),
                "FailureReason": outcome.reason[:_LONGEST_REASON] if outcome.reason else None,
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


@dataclass(frozen=True)
class _Entry:
    """A training job: the name of its definition, and how decisions and strategies see it.

    ``since`` is the time from which values count, ``read`` the number of values that were read from the store.
    """

    definition: str | None
    state: TrialState
    trial: Trial
    since: float
    read: int


class _Ledger:
    """All training jobs of a tuning job; ended ones are read once, and of running ones the values that are new."""

    def __init__(self, store: Store, tuning_job: str) -> None:
        self._store = store
        self._entries: list[_Entry] = []
        self._running: dict[int, None] = {}  # positions; a look at each of 10,000 ended trials takes time
        self._last_index = 0
        for doc in store.training_jobs_of(tuning_job):
            self.add(doc)

    def refresh(self) -> list[TrialState]:
        """Read the running training jobs again and return the states of all by index."""
        for position in list(self._running):
            entry = self._entries[position]
            doc = self._store.training_job(entry.state.name)
            if doc is not None:
                self._entries[position] = entry = self._entry(doc, entry)
            if entry.trial.finished:
                del self._running[position]
        return [entry.state for entry in self._entries]

    def add(self, doc: Mapping[str, Any]) -> None:
        """Add a new training job."""
        entry = self._entry(doc)
        if not entry.trial.finished:
            self._running[len(self._entries)] = None
        self._entries.append(entry)
        self._last_index = max(self._last_index, entry.trial.index)

    @property
    def next_index(self) -> int:
        """The index of the next training job."""
        return self._last_index + 1

    def trials(self, definition: str | None) -> list[Trial]:
        """Return the trials of a definition."""
        return [entry.trial for entry in self._entries if entry.definition == definition]

    def record(self, definition: str | None, *, maximize: bool) -> DefinitionRecord:
        """Return the results of a definition so far."""
        return DefinitionRecord.of([trial.value for trial in self.trials(definition)], maximize=maximize)

    def stopped_by_strategy(self, searches: Sequence[DefinitionSearch]) -> set[str]:
        """Return the running training jobs that their strategies end early."""
        running = [self._entries[position] for position in self._running]
        running = [entry for entry in running if entry.state.status is TrainingStatus.IN_PROGRESS]
        names = set()
        for search in searches:
            own = [entry for entry in running if entry.definition == search.name]
            if own:
                trials = self.trials(search.name)
                names |= {entry.state.name for entry in own if search.strategy.should_stop(entry.trial, trials)}
        return names

    def _entry(self, doc: Mapping[str, Any], before: _Entry | None = None) -> _Entry:
        private = hidden(doc)
        status = TrainingStatus(doc["TrainingJobStatus"])
        ended = status.is_terminal
        value = private.get("_ObjectiveValue") if ended else None
        # A job that was started again after the death of a server repeats its epochs. Its earlier values count only if
        # it resumes from checkpoints.
        since = 0.0 if "CheckpointConfig" in doc else private.get("_AttemptStartTime", 0.0)
        curve, read = (before.trial.curve, before.read) if before is not None and before.since == since else ((), 0)
        emissions = self._store.emissions(doc["TrainingJobName"], doc["HyperParameters"][OBJECTIVE_KEY], read)
        curve += tuple(emission.value for emission in emissions if emission.timestamp >= since)
        ended_at = doc.get("TrainingEndTime", doc["LastModifiedTime"]) if ended else None
        state = TrialState(doc["TrainingJobName"], status, value, curve, ended_at)
        failed = ended and value is None
        trial = Trial(private["_Index"], private["_TunedHyperParameters"], value, failed, curve, finished=ended)
        return _Entry(private.get("_DefinitionName"), state, trial, since, read + len(emissions))
