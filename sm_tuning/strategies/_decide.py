"""The next actions of a tuning job: a pure function of its rules, its trials and the time.

Everything is computed anew from the trials each time, so that a restarted server decides as its predecessor would.
Sources: Developer Guide, automatic-model-tuning-progress (completion criteria), and the API Reference of
ResourceLimits, TuningJobCompletionCriteria and TuningJobCompletionDetails. Choices that those leave open are marked.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from sm_tuning._statuses import TrainingStatus, TuningStatus
from sm_tuning._wire import reaches
from sm_tuning.strategies._simple import GRACE_EPOCHS, PrefixMeans, judge_by_median

#: The service gives up if none of the first five trials succeeded, as its FailureReason says.
_FAILURES_BEFORE_GIVING_UP = 5
#: A trial improves if it is better than the best so far by more than 1% of it [API Reference].
_IMPROVEMENT = 0.01
_CONVERGENCE_TRIALS = 10
_CONVERGENCE_TRIALS_A_DIMENSION = 3


@dataclass(frozen=True)
class Rules:
    """The limits and completion criteria of a tuning job.

    Attributes:
        metric: name of the objective, for messages.
        maximize: whether a higher objective is better.
        max_jobs: largest number of training jobs.
        max_parallel: largest number of training jobs at once.
        dimensions: number of tuned hyperparameters.
        deadline: epoch seconds at which MaxRuntimeInSeconds is over; None without a limit.
        target: TargetObjectiveMetricValue.
        max_not_improving: MaxNumberOfTrainingJobsNotImproving.
        complete_on_convergence: whether CompleteOnConvergence is Enabled.
        max_failures: failed trials that end a study; None without a limit, as in tuning jobs.
        max_cost: dollars that a study may cost; None without a limit.
        first_cost: dollars that a trial counts as until one has ended.
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
    max_failures: int | None = None
    max_cost: float | None = None
    first_cost: float = 0.0


@dataclass(frozen=True)
class TrialState:
    """A training job as the decisions see it; properties are cached, since each decision asks all trials.

    Attributes:
        name: name of the training job.
        status: its TrainingJobStatus.
        value: the final objective; None while it runs, or if it ended without one.
        curve: its objective values so far.
        values: the final value of each objective, in a study with several.
        violations: by how much it breaks each constraint; at most 0 if it keeps to it.
        ended_at: epoch seconds; None while it runs.
    """

    name: str
    status: TrainingStatus
    value: float | None = None
    curve: tuple[float, ...] = ()
    ended_at: float | None = None
    values: tuple[float, ...] = ()
    violations: tuple[float, ...] = ()

    @cached_property
    def ended(self) -> bool:
        """Whether the training job has ended."""
        return self.status.is_terminal

    @cached_property
    def succeeded(self) -> bool:
        """Whether the training job has ended with an objective."""
        return self.ended and self.value is not None

    @cached_property
    def failed(self) -> bool:
        """Whether the training job ended without an objective: it failed, or completed and never printed one."""
        return self.ended and self.value is None and self.status is not TrainingStatus.STOPPED


class Tally:
    """The training jobs of a tuning, with what decisions ask of all of them counted as they are added and end.

    A tuning decides each time that one of its training jobs changes. Counting all of them anew each time would make a
    tuning of 10,000 trials a hundred times as slow as one of 1,000.

    Attributes:
        states: all training jobs, by number.
        running: those that have not ended, by their position in ``states``.
        failures: the number of those that ended without an objective.
        successes: the number of those that ended with an objective.
    """

    def __init__(self, states: Iterable[TrialState] = ()) -> None:
        self.states: list[TrialState] = []
        self.running: dict[int, TrialState] = {}
        self.failures: int = 0
        self.successes: int = 0
        self._best: dict[bool, float] = {}  # by whether a higher objective is better
        self._ends: list[tuple[float, int]] = []  # time and position, in the order in which they were noted
        self._streaks: dict[bool, _Streak] = {}
        for state in states:
            self.add(state)

    @classmethod
    def of(cls, trials: Sequence[TrialState] | Tally) -> Tally:
        """Return training jobs as a tally, which a tally is already."""
        return trials if isinstance(trials, Tally) else cls(trials)

    def add(self, state: TrialState) -> None:
        """Add a training job."""
        self.states.append(state)
        self._note(len(self.states) - 1, state)

    def update(self, position: int, state: TrialState) -> None:
        """Replace a running training job by what it is now.

        Raises:
            KeyError: it has ended, after which nothing of it changes.
        """
        if position not in self.running:
            raise KeyError(position)
        self.states[position] = state
        self._note(position, state)

    def _note(self, position: int, state: TrialState) -> None:
        if not state.ended:
            self.running[position] = state
            return
        self.running.pop(position, None)
        self._ends.append((state.ended_at or 0.0, position))
        self.failures += state.failed
        self.successes += state.succeeded
        if state.value is not None and not math.isnan(state.value):
            for maximize, better in ((True, max), (False, min)):
                self._best[maximize] = better(self._best.get(maximize, state.value), state.value)

    def reaches(self, target: float, *, maximize: bool) -> bool:
        """Return whether the objective of a training job that has ended is at the target or better."""
        return maximize in self._best and reaches(self._best[maximize], target, maximize=maximize)

    def not_improving(self, *, maximize: bool) -> int:
        """Return what the function ``not_improving`` does."""
        streak = self._streaks.get(maximize, _Streak(maximize))
        new = sorted(self._ends[streak.count :])
        if new and streak.count and new[0] < streak.last:  # it ended before one that is counted already
            streak, new = _Streak(maximize), sorted(self._ends)
        for end in new:
            streak.add(end, self.states[end[1]].value)
        self._streaks[maximize] = streak
        return streak.stale


class _Streak:
    """Ended trials in the order of their ends: the best objective, and the trials since it was improved by 1%."""

    def __init__(self, maximize: bool) -> None:
        self._maximize = maximize
        self._best: float | None = None
        self.stale = 0
        self.count = 0
        self.last = (0.0, 0)

    def add(self, end: tuple[float, int], objective: float | None) -> None:
        self.count, self.last = self.count + 1, end
        if objective is None:
            return
        value = objective if self._maximize else -objective
        if math.isnan(value):
            self.stale += 1
            return
        improves = self._best is None or value > self._best + _IMPROVEMENT * abs(self._best)
        self.stale = 0 if improves else self.stale + 1
        self._best = value if self._best is None else max(self._best, value)


@dataclass(frozen=True)
class Outcome:
    """The final status of a tuning job."""

    status: TuningStatus
    reason: str | None = None


@dataclass(frozen=True)
class Decision:
    """The actions to take now.

    Attributes:
        start: number of training jobs to start.
        stop: names of training jobs to stop.
        outcome: how the tuning job ends; only if no training job runs.
    """

    start: int = 0
    stop: tuple[str, ...] = ()
    outcome: Outcome | None = None


def decide(
    rules: Rules,
    trials: Sequence[TrialState] | Tally,
    now: float,
    *,
    stop_requested: bool = False,
    exhausted: bool = False,
    trials_so_far: int | None = None,
) -> Decision:
    """Return the next actions.

    Args:
        rules: limits and criteria of the tuning job.
        trials: all training jobs so far.
        now: epoch seconds.
        stop_requested: whether StopHyperParameterTuningJob was called.
        exhausted: whether the strategy has no further suggestion.
        trials_so_far: the number of training jobs that count towards ``max_jobs``; that of ``trials`` by default.
    """
    tally = Tally.of(trials)
    count = len(tally.states) if trials_so_far is None else trials_so_far
    running = list(tally.running.values())
    criterion_met = criterion(rules, tally, now) is not None
    if not (stop_requested or criterion_met or exhausted or count >= rules.max_jobs or _gives_up(rules, tally)):
        return Decision(start=max(0, min(rules.max_parallel - len(running), rules.max_jobs - count)))
    if not running:
        return Decision(outcome=Outcome(TuningStatus.STOPPED) if stop_requested else _outcome(rules, tally.states))
    # Choice: a criterion stops the running trials (the guide says only that the tuning job stops). If there is nothing
    # left to start, or all trials so far have failed, running trials go on: the next one may succeed.
    if stop_requested or criterion_met:
        return Decision(stop=tuple(t.name for t in running if t.status is TrainingStatus.IN_PROGRESS))
    return Decision()


def criterion(rules: Rules, trials: Sequence[TrialState] | Tally, now: float) -> str | None:
    """Return in words which completion criterion, or time limit, ends a tuning; None if none is met.

    Args:
        rules: limits and criteria of the tuning.
        trials: all training jobs so far.
        now: epoch seconds.
    """
    if rules.deadline is not None and now >= rules.deadline:
        return "max_runtime_in_seconds is over"
    tally = Tally.of(trials)
    if rules.target is not None and tally.reaches(rules.target, maximize=rules.maximize):
        return f"a trial has reached the target {rules.target:g} of {rules.metric}"
    most = rules.max_not_improving
    if most is None and not rules.complete_on_convergence:
        return None
    stale = tally.not_improving(maximize=rules.maximize)
    if (most is not None and stale >= most) or (rules.complete_on_convergence and converged(rules, stale)):
        return f"{stale} trials in a row have not improved on the best objective by more than {_IMPROVEMENT:.0%}"
    return None


def _gives_up(rules: Rules, tally: Tally) -> bool:
    if rules.max_failures is not None and tally.failures >= rules.max_failures:
        return True
    return tally.failures >= _FAILURES_BEFORE_GIVING_UP and not tally.successes


def _outcome(rules: Rules, trials: Sequence[TrialState]) -> Outcome:
    # Choice: Failed if trials failed and none succeeded, also with fewer than the documented five; otherwise Completed,
    # also after a criterion, for which the guide names no status.
    failed = [trial for trial in trials if trial.failed]
    if rules.max_failures is not None and len(failed) >= rules.max_failures:
        return Outcome(TuningStatus.FAILED, f"{len(failed)} trials failed, and max_failures is {rules.max_failures}.")
    if not failed or any(trial.succeeded for trial in trials):
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
    """Return the number of trials that ended since the last one that improved the best objective by more than 1%.

    Trials count in the order in which they ended; trials without an objective do not count. A NaN objective never
    counts as an improvement. The best objective follows every better value, so that many small steps do not add up to
    an improvement.
    """
    return Tally(trials).not_improving(maximize=maximize)


def converged(rules: Rules, stale: int) -> bool:
    """Return whether the search has converged, given the number of trials since the last improvement.

    The service documents only "none improves by more than 1%". Choice: the last ten trials, or three for each tuned
    hyperparameter if that is more, brought no such improvement.
    """
    window = max(_CONVERGENCE_TRIALS, _CONVERGENCE_TRIALS_A_DIMENSION * rules.dimensions)
    return stale >= window


class EarlyStops:
    """Early stopping (Auto) by the median rule. Averages of completed trials are computed once, and kept in order."""

    def __init__(self, *, maximize: bool) -> None:
        self._maximize = maximize
        self._completed: dict[str, PrefixMeans] = {}
        self._in_order: list[PrefixMeans] = []
        #: Epoch -> how many of the completed trials are in the list, and their averages, ascending.
        self._averages: dict[int, tuple[int, list[float]]] = {}

    def of(self, trials: Sequence[TrialState]) -> tuple[str, ...]:
        """Return the running trials to end, judged against completed ones."""
        for trial in trials:
            if trial.status is not TrainingStatus.COMPLETED:
                continue
            known = self._completed.get(trial.name)
            if known is not None and known.curve is trial.curve:
                continue
            means = self._completed[trial.name] = PrefixMeans(trial.curve)
            if known is None:
                self._in_order.append(means)
            else:  # values that came after the end
                self._in_order, self._averages = list(self._completed.values()), {}
        return tuple(
            trial.name for trial in trials if trial.status is TrainingStatus.IN_PROGRESS and self.judges(trial.curve)
        )

    def judges(self, curve: Sequence[float]) -> bool:
        """Return whether a running trial with this curve ends, judged against the trials of the last ``of``."""
        epoch = len(curve)
        if epoch <= GRACE_EPOCHS:
            return False
        count, averages = self._averages.get(epoch, (0, []))
        for means in self._in_order[count:]:
            if len(means.curve) >= epoch and not math.isnan(average := means.at(epoch)):
                insort(averages, average)
        self._averages[epoch] = len(self._in_order), averages
        return judge_by_median(curve, averages, self._maximize)
