"""The loop of one tuning job: look, decide, act, sleep until something happens."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sm_tuning._statuses import TrainingStatus, TuningStatus
from sm_tuning.local._disk import is_full
from sm_tuning.local._identity import Identity
from sm_tuning.local.engine._documents import training_job_doc
from sm_tuning.local.engine._ledger import Ledger
from sm_tuning.local.engine._parents import parents_of
from sm_tuning.local.store import Store
from sm_tuning.strategies import (
    Algorithm,
    Outcome,
    Rules,
    TrialState,
    algorithms_of,
    converged,
    decide,
    early_stops,
    median_stop,
    not_improving,
    rules_of,
    turn_order,
)

_log = logging.getLogger(__name__)

_LONGEST_REASON = 1024  # botocore model, shape FailureReason
_LONGEST_SLEEP_SECONDS = 3600.0


class TrainingRunner(Protocol):
    """What runs training jobs."""

    def start(self, training_job: str) -> None:
        """Begin a training job that is in the store."""

    def stop(self, training_job: str) -> None:
        """End a training job as Stopped."""


@dataclass(frozen=True)
class EngineContext:
    """What every loop works with."""

    store: Store
    runner: TrainingRunner
    identity: Identity
    clock: Callable[[], float]


class TuningLoop:
    """Carries one tuning job to its end; ``run`` is for a thread of its own, the rest for any thread."""

    def __init__(self, context: EngineContext, name: str) -> None:
        self._context = context
        self._name = name
        self._woken = threading.Event()
        self._closing = False
        self._lock = threading.Lock()  # over the tuning job's status

    def wake(self) -> None:
        """Something happened: look again."""
        self._woken.set()

    def close(self) -> None:
        """Leave the job as it is."""
        self._closing = True
        self._woken.set()

    def stop(self) -> None:
        """Enter Stopping, if the job is InProgress."""
        with self._lock:
            if self._doc()["HyperParameterTuningJobStatus"] == TuningStatus.IN_PROGRESS:
                status = str(TuningStatus.STOPPING)
                self._update(HyperParameterTuningJobStatus=status, _StopRequested=True)
        self._woken.set()

    def run(self) -> None:
        """Drive the job until it has ended or the loop is closed; an error fails the job.

        Raises:
            OSError, sqlite3.OperationalError: the disk is full, so that not even that can be written down.
        """
        try:
            self._drive()
        except Exception as e:  # whatever it was, the job ends and says so
            if is_full(e):
                raise
            _log.exception("tuning job %s", self._name)
            self._give_up(f"InternalServerError: the tuning loop failed with {type(e).__name__}: {e}")

    def _drive(self) -> None:
        doc = self._with_seed(self._doc())
        algorithms = algorithms_of(doc, parents_of(self._context.store, doc))
        rules = rules_of(doc, algorithms)
        auto = doc["HyperParameterTuningJobConfig"].get("TrainingJobEarlyStoppingType") == "Auto"
        ledger = Ledger(self._context.store, self._name)
        exhausted = False
        while not self._closing:
            self._woken.clear()
            status = TuningStatus(self._doc()["HyperParameterTuningJobStatus"])
            if status.is_terminal:
                return
            states = ledger.refresh()
            now = self._context.clock()
            stopping = status is TuningStatus.STOPPING
            decision = decide(rules, states, now, stop_requested=stopping, exhausted=exhausted)
            self._report(rules, states, now)
            if decision.outcome is not None:
                self._end(decision.outcome, rules, states)
                return
            for name in {*decision.stop, *self._early(rules, algorithms, ledger, states, auto=auto)}:
                self._context.runner.stop(name)
            started = sum(self._start_one(doc, rules, algorithms, ledger) for _ in range(decision.start))
            if started < decision.start:
                exhausted = True
            else:
                self._sleep(rules, now)

    def _early(
        self, rules: Rules, algorithms: list[Algorithm], ledger: Ledger, states: list[TrialState], *, auto: bool
    ) -> set[str]:
        """Return the running trials to end early, by the median rule (Auto) or by the strategy's own rule."""
        names = set(early_stops(states, median_stop, maximize=rules.maximize)) if auto else set()
        for algorithm in algorithms:
            trials = ledger.trials(algorithm.name)
            for name, trial in ledger.running_trials(algorithm.name):
                if algorithm.strategy.should_stop(trial, trials):
                    names.add(name)
        return names

    def _start_one(self, doc: dict[str, Any], rules: Rules, algorithms: list[Algorithm], ledger: Ledger) -> bool:
        """Ask for hyperparameters and start a training job; False when every space is used up."""
        if self._closing:
            return True
        named = {algorithm.name or "": algorithm for algorithm in algorithms}
        order = turn_order(
            {name: ledger.record(one.name, maximize=rules.maximize) for name, one in named.items()},
            seed=doc["_Seed"],
            maximize=rules.maximize,
            learns=doc["HyperParameterTuningJobConfig"]["Strategy"] == "Bayesian",
        )
        for algorithm in (named[name] for name in order):
            tuned = algorithm.strategy.ask(ledger.trials(algorithm.name))
            if tuned is None:
                continue
            index = ledger.next_index
            now = self._context.clock()
            job = training_job_doc(doc, algorithm, tuned, index, self._context.identity, now)
            tags = self._context.store.tags(doc["HyperParameterTuningJobArn"])
            self._context.store.create_training_job(job, tuning_job=self._name, index=index, tags=tags)
            ledger.add(job)
            self._context.runner.start(job["TrainingJobName"])
            return True
        return False

    def _sleep(self, rules: Rules, now: float) -> None:
        left = _LONGEST_SLEEP_SECONDS if rules.deadline is None else max(0.0, rules.deadline - now)
        # past the deadline there is nothing to wait for but the trials, which wake the loop
        self._woken.wait(min(left or _LONGEST_SLEEP_SECONDS, _LONGEST_SLEEP_SECONDS))

    def _report(self, rules: Rules, states: list[TrialState], now: float) -> None:
        """Keep TuningJobCompletionDetails and ConsumedResources, when a trial has ended since the last time."""
        doc = self._doc()
        ended = sum(state.ended for state in states)
        if doc.get("_Ended", 0) == ended:
            return
        details = dict(doc.get("TuningJobCompletionDetails") or {})
        details["NumberOfTrainingJobsObjectiveNotImproving"] = not_improving(states, maximize=rules.maximize)
        if converged(rules, states):
            details.setdefault("ConvergenceDetectedTime", now)
        self._update(
            TuningJobCompletionDetails=details,
            ConsumedResources={"RuntimeInSeconds": int(now - doc["CreationTime"])},
            _Ended=ended,
        )

    def _end(self, outcome: Outcome, rules: Rules, states: list[TrialState]) -> None:
        now = self._context.clock()
        self._report(rules, states, now)
        with self._lock:
            doc = self._doc()
            stopped = doc["HyperParameterTuningJobStatus"] == TuningStatus.STOPPING
            status = TuningStatus.STOPPED if stopped else outcome.status
            self._update(
                HyperParameterTuningJobStatus=str(status),
                HyperParameterTuningEndTime=now,
                FailureReason=None if stopped or not outcome.reason else outcome.reason[:_LONGEST_REASON],
                ConsumedResources={"RuntimeInSeconds": int(now - doc["CreationTime"])},
            )

    def _give_up(self, reason: str) -> None:
        """End as Failed, with the running trials stopped."""
        for job in self._context.store.training_jobs_of(self._name):
            if job["TrainingJobStatus"] == TrainingStatus.IN_PROGRESS:
                self._context.runner.stop(job["TrainingJobName"])
        now = self._context.clock()
        with self._lock:
            self._update(
                HyperParameterTuningJobStatus=str(TuningStatus.FAILED),
                HyperParameterTuningEndTime=now,
                FailureReason=reason[:_LONGEST_REASON],
            )

    def _with_seed(self, doc: dict[str, Any]) -> dict[str, Any]:
        """Settle the seed once, so that a restart goes on with the same sequence."""
        if "_Seed" in doc:
            return doc
        given = doc["HyperParameterTuningJobConfig"].get("RandomSeed")
        return self._update(_Seed=secrets.randbelow(2**31) if given is None else given)

    def _doc(self) -> dict[str, Any]:
        doc = self._context.store.tuning_job(self._name)
        if doc is None:
            raise KeyError(self._name)
        return doc

    def _update(self, **members: Any) -> dict[str, Any]:
        return self._context.store.update_tuning_job(self._name, **members)
