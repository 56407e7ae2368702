"""What a tuning job does next: a pure function of its rules, its trials and the time.

Everything is computed anew from the trials each time, so a restarted server decides as the first one would.
Sources: Developer Guide, automatic-model-tuning-progress (completion criteria), and the API Reference of
ResourceLimits, TuningJobCompletionCriteria and TuningJobCompletionDetails. What those leave open is decided
here and said where it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sm_tuning._statuses import TrainingStatus, TuningStatus
from sm_tuning._wire import reaches

FAILURES_BEFORE_GIVING_UP = 5
"""The service gives up when none of the first five succeeded; its FailureReason says so."""

IMPROVEMENT = 0.01
"""A trial improves on the best so far when it is better by more than 1 % of it (API Reference)."""

_CONVERGENCE_TRIALS = 10
_CONVERGENCE_TRIALS_A_DIMENSION = 3


@dataclass(frozen=True)
class Rules:
    """The limits and criteria of a tuning job.

    Attributes:
        metric: name of the objective, for messages.
        maximize: whether a higher objective is better.
        max_jobs: training jobs in all.
        max_parallel: training jobs at once.
        dimensions: number of tuned hyperparameters.
        deadline: epoch seconds of MaxRuntimeInSeconds; None without one.
        target: TargetObjectiveMetricValue.
        max_not_improving: MaxNumberOfTrainingJobsNotImproving.
        complete_on_convergence: CompleteOnConvergence is Enabled.
    """

    metric: str
    maximize: bool
    max_jobs: int
    max_parallel: int
    dimensions: int = 1
    deadline: float | None = None
    target: float | None = None
    max_not_improving: int | None = None
    complete_on_convergence: bool = False


_ENDED = frozenset(status for status in TrainingStatus if status.is_terminal)


@dataclass(frozen=True)
class TrialState:
    """One training job of the tuning job.

    Attributes:
        name: of the training job.
        status: its TrainingJobStatus.
        value: the final objective; None while it runs, and when it ended without one.
        curve: its objective values so far.
        ended_at: epoch seconds; None while it runs.
    """

    name: str
    status: TrainingStatus
    value: float | None = None
    curve: tuple[float, ...] = ()
    ended_at: float | None = None

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.status in _ENDED

    @property
    def failed(self) -> bool:
        """Whether it ended by itself without an objective: it failed, or completed and never printed it."""
        return self.ended and self.value is None and self.status is not TrainingStatus.STOPPED


@dataclass(frozen=True)
class Outcome:
    """How the tuning job ends."""

    status: TuningStatus
    reason: str | None = None


@dataclass(frozen=True)
class Decision:
    """What to do now: start so many, stop these, or end. ``outcome`` comes only when nothing runs."""

    start: int = 0
    stop: tuple[str, ...] = ()
    outcome: Outcome | None = None


@dataclass(frozen=True)
class _Ending:
    outcome: Outcome
    stop_running: bool


def decide(
    rules: Rules,
    trials: Sequence[TrialState],
    now: float,
    *,
    stop_requested: bool = False,
    exhausted: bool = False,
) -> Decision:
    """Return the next actions.

    Args:
        rules: of the tuning job.
        trials: every training job so far.
        now: epoch seconds.
        stop_requested: StopHyperParameterTuningJob was called.
        exhausted: the strategy has nothing left to suggest.
    """
    running = [trial for trial in trials if not trial.ended]
    ending = _ending(rules, trials, now, stop_requested=stop_requested, exhausted=exhausted)
    if ending is None:
        room = min(rules.max_parallel - len(running), rules.max_jobs - len(trials))
        return Decision(start=max(0, room))
    if not running:
        return Decision(outcome=ending.outcome)
    if not ending.stop_running:
        return Decision()
    return Decision(stop=tuple(t.name for t in running if t.status is TrainingStatus.IN_PROGRESS))


def _ending(
    rules: Rules, trials: Sequence[TrialState], now: float, *, stop_requested: bool, exhausted: bool
) -> _Ending | None:
    """Return how the job ends, or None while it goes on.

    Running trials are stopped when a criterion is met (the guide says only that the tuning job is stopped), and
    run to their end when nothing more is to be started, or when all so far have failed: the next may succeed.
    """
    if stop_requested:
        return _Ending(Outcome(TuningStatus.STOPPED), stop_running=True)
    if _criterion_met(rules, trials, now):
        return _Ending(_settled(rules, trials), stop_running=True)
    failures = sum(trial.failed for trial in trials)
    if failures >= FAILURES_BEFORE_GIVING_UP and not _succeeded(trials):
        return _Ending(_settled(rules, trials), stop_running=False)
    if exhausted or len(trials) >= rules.max_jobs:
        return _Ending(_settled(rules, trials), stop_running=False)
    return None


def _criterion_met(rules: Rules, trials: Sequence[TrialState], now: float) -> bool:
    if rules.deadline is not None and now >= rules.deadline:
        return True
    if rules.target is not None and any(_reached(rules, trial.value) for trial in _succeeded(trials)):
        return True
    if rules.max_not_improving is not None:
        stale = not_improving(trials, maximize=rules.maximize)
        if stale >= rules.max_not_improving:
            return True
    return rules.complete_on_convergence and converged(rules, trials)


def _reached(rules: Rules, value: float | None) -> bool:
    """Whether an objective is at the target or better, both in the service's single precision."""
    if value is None or rules.target is None:
        return False
    return reaches(value, rules.target, maximize=rules.maximize)


def _succeeded(trials: Sequence[TrialState]) -> list[TrialState]:
    return [trial for trial in trials if trial.ended and trial.value is not None]


def _settled(rules: Rules, trials: Sequence[TrialState]) -> Outcome:
    """Return how a job ends that nobody stopped.

    Failed when trials failed and none succeeded, however few they were (documented for five). Completed
    otherwise, also when a criterion ended it (the guide leaves the status open).
    """
    failed = [trial for trial in trials if trial.failed]
    if _succeeded(trials) or not failed:
        return Outcome(TuningStatus.COMPLETED)
    reason = (
        f"No training job succeeded after {len(failed)} attempts. For additional details, please take a look "
        "at the training job failures by listing training jobs for the hyperparameter tuning job."
    )
    silent = sum(trial.status is TrainingStatus.COMPLETED for trial in failed)
    if silent:
        reason += (
            f" {silent} of them completed, but no line of their logs matched the regex of the objective metric "
            f"{rules.metric!r}."
        )
    return Outcome(TuningStatus.FAILED, reason)


def not_improving(trials: Sequence[TrialState], *, maximize: bool) -> int:
    """Return how many trials ended since the last one that improved on the best so far by more than 1 %.

    In the order in which they ended; trials without an objective do not count, and one whose objective is not a
    number improves on nothing. The best so far follows every
    better value, so that many small steps do not add up to an improvement.
    """
    best: float | None = None
    stale = 0
    for trial in sorted(_succeeded(trials), key=lambda one: one.ended_at or 0.0):
        value = _signed(trial.value, maximize=maximize)
        if math.isnan(value):
            stale += 1
            continue
        stale = 0 if best is None or value > best + IMPROVEMENT * abs(best) else stale + 1
        best = value if best is None else max(best, value)
    return stale


def _signed(value: float | None, *, maximize: bool) -> float:
    assert value is not None
    return value if maximize else -value


def converged(rules: Rules, trials: Sequence[TrialState]) -> bool:
    """Whether the search has converged.

    The service's own test is not documented beyond "none improves by more than 1 %". Here: the last ten
    trials, or three for each tuned hyperparameter if that is more, brought no such improvement.
    """
    window = max(_CONVERGENCE_TRIALS, _CONVERGENCE_TRIALS_A_DIMENSION * rules.dimensions)
    return not_improving(trials, maximize=rules.maximize) >= window


MedianRule = Callable[[Sequence[float], Sequence[Sequence[float]], bool], bool]


def early_stops(trials: Sequence[TrialState], rule: MedianRule, *, maximize: bool) -> tuple[str, ...]:
    """Return the running trials that early stopping (Auto) ends, judged against those that completed."""
    completed = [trial.curve for trial in trials if trial.status is TrainingStatus.COMPLETED and trial.curve]
    return tuple(
        trial.name
        for trial in trials
        if trial.status is TrainingStatus.IN_PROGRESS and rule(trial.curve, completed, maximize)
    )
