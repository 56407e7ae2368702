"""The one loop of studies and of tuning jobs on this machine: look, plan, act, wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sm_tuning.strategies._decide import Outcome
from sm_tuning.strategies._plan import PlannedTrial, Search, Suggestion, plan


class Backend(Protocol):
    """Where the trials run. ``drive`` is the only caller; a method may raise to end the loop."""

    def trials(self) -> Sequence[PlannedTrial]:
        """Return all trials so far, by number, as they are now."""

    def now(self) -> float:
        """Return the epoch seconds of the clock that ``Rules.deadline`` belongs to."""

    def start(self, suggestion: Suggestion) -> None:
        """Start a trial. Starting the trial of a number twice starts one training job."""

    def stop(self, name: str) -> None:
        """Stop a training job; does nothing if it has ended or was never started."""

    def stop_requested(self) -> bool:
        """Return whether a user has asked to stop."""

    def end(self, outcome: Outcome) -> Outcome:
        """Record the outcome, and return the one that is recorded."""

    def wait(self) -> None:
        """Return when something may have changed."""


def drive(search: Search, backend: Backend, *, once: bool = False) -> Outcome | None:
    """Bring a tuning to its end and return its outcome.

    Args:
        search: the tuning.
        backend: runs the trials.
        once: return None after one pass if the tuning has not ended.
    """
    while True:
        # Read before the trials: a request that comes later finds every trial that this pass starts.
        stop_requested = backend.stop_requested()
        actions = plan(search, backend.trials(), backend.now(), stop_requested=stop_requested)
        if actions.outcome is not None:
            return backend.end(actions.outcome)
        for name in actions.stop:
            backend.stop(name)
        for suggestion in actions.start:
            backend.start(suggestion)
        if once:
            return None
        backend.wait()
