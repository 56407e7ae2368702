"""A tuning on a virtual clock: the backend of ``strategies.drive`` whose trials take no time. Pure."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sm_tuning._statuses import TrainingStatus
from sm_tuning.results.replay._past import Course
from sm_tuning.strategies import (
    DefinitionSearch,
    HyperbandSearch,
    NeverStops,
    Outcome,
    PlannedTrial,
    Rules,
    Search,
    Space,
    Suggestion,
    Trial,
    Trials,
    TrialState,
    drive,
)


@dataclass
class Run:
    """A trial of the replay.

    Attributes:
        suggestion: its number and hyperparameters.
        course: what it does if nothing stops it.
        begun: when it was created, in seconds of the virtual clock.
        due: when its next value comes, or its end.
        epochs: number of values that were seen so far; at its end, of all.
        is_stopping: whether its stop has begun.
        has_ended: whether it has ended.
    """

    suggestion: Suggestion
    course: Course
    begun: float
    due: float = 0.0
    epochs: int = 0
    is_stopping: bool = False
    has_ended: bool = False

    @property
    def was_stopped(self) -> bool:
        """Whether it was stopped before its last value."""
        return self.is_stopping and self.epochs < len(self.course.curve)

    @property
    def value(self) -> float | None:
        """The final objective: the last value if it was stopped."""
        if not self.was_stopped:
            return self.course.value
        return self.course.curve[self.epochs - 1] if self.epochs else None

    @property
    def billable(self) -> float:
        """Billed seconds of each instance."""
        return self.course.billed(self.due - self.begun)


class VirtualClock:
    """Runs trials without waiting; only what may change a decision is shown to ``drive``.

    Args:
        search: the tuning; its deadline counts from 0.
        course_of: what a suggested trial does.
        gap: seconds from the end of a trial to the creation of the next one; see ``Past.gap``.
        lag: seconds until a value is seen, for which the trial trains on. The end of a trial is seen at once.
    """

    def __init__(self, search: Search, course_of: Callable[[Suggestion], Course], gap: float, lag: float = 0.0) -> None:
        self._search = search
        self._course_of = course_of
        self._gap = gap
        self._lag = lag
        self._now = 0.0
        self._is_over = False
        self._has_ended = False
        self._trials = Trials()
        self._due: list[tuple[float, int]] = []
        self.runs: list[Run] = []

    def trials(self) -> Sequence[PlannedTrial]:
        """Return all trials so far."""
        return self._trials

    def now(self) -> float:
        """Return the seconds since the first trial was created."""
        return self._now

    def start(self, suggestion: Suggestion) -> None:
        """Create a trial."""
        run = Run(suggestion, self._course_of(suggestion), self._now + (self._gap if self._has_ended else 0.0))
        self.runs.append(run)
        state = TrialState(str(len(self.runs) - 1), TrainingStatus.IN_PROGRESS)
        self._trials.add(PlannedTrial(suggestion, state))
        self._schedule(len(self.runs) - 1)

    def stop(self, name: str) -> None:
        """Stop a trial: it ends after the seconds that it takes after its last value."""
        place = int(name)
        run = self.runs[place]
        run.is_stopping = True
        # Values that came in the meantime, and were not seen yet.
        run.epochs = max(run.epochs, bisect_right(run.course.times, self._now - run.begun))
        run.due = min(run.begun + run.course.ended, self._now + run.course.tail)
        heapq.heappush(self._due, (run.due, place))
        self._show(place, TrainingStatus.STOPPING)

    def stop_requested(self) -> bool:
        """Return False."""
        return False

    def end(self, outcome: Outcome) -> Outcome:
        """Return the outcome."""
        return outcome

    def wait(self) -> None:
        """Move the clock to the next value or end that may change a decision, or to the deadline."""
        deadline = self._search.rules.deadline
        while self._due:
            moment, place = self._due[0]
            if deadline is not None and moment >= deadline and not self._is_over:
                self._now, self._is_over = deadline, True
                return
            heapq.heappop(self._due)
            run = self.runs[place]
            if moment == run.due and not run.has_ended:  # else the trial was stopped in the meantime
                self._now = moment
                if self._advance(place):
                    return

    def _schedule(self, place: int) -> None:
        run = self.runs[place]
        due, offsets = run.begun + run.course.ended, run.course.times
        if run.epochs < len(offsets):
            due = min(due, run.begun + offsets[run.epochs] + self._lag)
        run.due = max(self._now, due)  # a gap that makes up for rounded times is below 0
        heapq.heappush(self._due, (run.due, place))

    def _advance(self, place: int) -> bool:
        """Let a trial emit its next value or end, and return whether a decision may depend on it."""
        run = self.runs[place]
        is_over = self._lag > 0 and self._now >= run.begun + run.course.ended  # before its last values were seen
        if is_over and not run.is_stopping:
            run.epochs = len(run.course.curve)
        if run.is_stopping or run.epochs == len(run.course.curve):
            run.has_ended = self._has_ended = True
            self._show(place, TrainingStatus.STOPPED if run.is_stopping else run.course.status)
            return True
        run.epochs += 1
        self._schedule(place)
        self._show(place, TrainingStatus.IN_PROGRESS)
        early = self._search.early
        if early is not None and early.judges(run.course.curve[: run.epochs]):
            return True
        rules = (search.strategy for search in self._search.definitions)
        return any(rule.judges_at(run.epochs) for rule in rules if isinstance(rule, HyperbandSearch | GivenPoints))

    def _show(self, place: int, status: TrainingStatus) -> None:
        run = self.runs[place]
        ended = status.is_terminal
        state = TrialState(
            str(place),
            status,
            value=run.value if ended else None,
            curve=run.course.curve[: run.epochs],
            ended_at=self._now if ended else None,
        )
        self._trials.update(place, replace(self._trials[place], state=state))


class GivenPoints(NeverStops):
    """Suggests given points in their order; a rule of Hyperband may stop them."""

    def __init__(self, points: Sequence[Mapping[str, str]], stops: HyperbandSearch | None) -> None:
        self._points = points
        self._stops = stops

    def ask(self, trials: Sequence[Trial]) -> Mapping[str, str] | None:
        """Return the next point; None after the last."""
        return self._points[len(trials)] if len(trials) < len(self._points) else None

    def should_stop(self, trial: Trial, trials: Sequence[Trial]) -> bool:
        """Return what the rule decides."""
        return self._stops is not None and self._stops.should_stop(trial, trials)

    def judges_at(self, reached: int) -> bool:
        """Return whether a value of this number may change what the rule decides."""
        return self._stops is not None and self._stops.judges_at(reached)


def keeping(search: Search, points: Sequence[Mapping[str, str]], stops: HyperbandSearch | None) -> Search:
    """Return a search that runs given points in their order."""
    kept = DefinitionSearch({}, None, search.rules.metric, Space(()), GivenPoints(points, stops))
    return replace(search, definitions=(kept,))


def search_of(rules: Rules) -> Search:
    """Return a search with these rules and without definitions."""
    return Search(rules, (), seed=0, learns=False)


def run_through(search: Search, course_of: Callable[[Suggestion], Course], gap: float, lag: float) -> list[Run]:
    """Run a tuning to its end, and return its trials by number."""
    clock = VirtualClock(search, course_of, gap, lag)
    drive(search, clock)
    return clock.runs
