"""The rules that are compared. Each gets every emission and decides whether the trial ends there.

A rule that searches also chooses the configurations; the others train the same random ones.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any, Protocol

from benchmarks.hyperband.curves import EPOCHS, Hyperparameters
from benchmarks.search.engines import suggest
from sm_tuning.strategies import Space, Trial, make, median_stop


class Rule(Protocol):
    """Decides about the trials of one simulated job."""

    def begins(self, index: int) -> Hyperparameters | None:
        """Return the configuration of a new trial; None for the next random one."""

    def stops(self, index: int, curve: list[float]) -> bool:
        """Return whether the trial ends after the newest value of its curve (an error: lower is better)."""

    def ended(self, index: int, completed: bool) -> None:
        """Record that a trial was completed or stopped."""


class Full:
    """Stops no trial, and trains random configurations."""

    def begins(self, index: int) -> Hyperparameters | None:  # noqa: ARG002
        """Return None."""
        return None

    def stops(self, index: int, curve: list[float]) -> bool:  # noqa: ARG002
        """Return False."""
        return False

    def ended(self, index: int, completed: bool) -> None:
        """Do nothing."""


class Median(Full):
    """The median rule of TrainingJobEarlyStoppingType Auto."""

    def __init__(self) -> None:
        self._curves: dict[int, list[float]] = {}
        self._completed: set[int] = set()

    def stops(self, index: int, curve: list[float]) -> bool:
        """Decide as in the tuning engine."""
        self._curves[index] = list(curve)
        return median_stop(curve, [self._curves[i] for i in sorted(self._completed)], maximize=False)

    def ended(self, index: int, completed: bool) -> None:
        """Record completed trials, the only ones in the median."""
        if completed:
            self._completed.add(index)


class Hyperband(Full):
    """A Hyperband strategy of this project, called at each start and emission as in the tuning engine."""

    def __init__(self, space: Space, seed: int, strategy: str = "Hyperband") -> None:
        self._strategy = make(strategy, space, seed=seed, maximize=False, config={"max_resource": EPOCHS})
        self._searches = strategy != "Hyperband"
        self._trials: dict[int, Trial] = {}

    def begins(self, index: int) -> Hyperparameters | None:
        """Return the strategy's suggestion, if it searches."""
        h = self._strategy.ask(list(self._trials.values())) if self._searches else {}
        self._trials[index] = Trial(index, h or {})
        return h or None

    def stops(self, index: int, curve: list[float]) -> bool:
        """Return the strategy's decision."""
        self._trials[index] = replace(self._trials[index], curve=tuple(curve))
        return self._strategy.should_stop(self._trials[index], list(self._trials.values()))

    def ended(self, index: int, completed: bool) -> None:  # noqa: ARG002
        """Record the end with the last value, as the tuning engine does."""
        trial = self._trials[index]
        self._trials[index] = replace(trial, value=trial.curve[-1], finished=True)


class OptunaPruner(Full):
    """One of Optuna's pruners, with the reduction factor 3; with ``space``, its TPE chooses the configurations."""

    def __init__(self, seed: int, pruner: str, space: Space | None = None, **settings: Any) -> None:
        import optuna  # noqa: PLC0415 - only these rules need it

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._states = optuna.trial.TrialState
        self._study = optuna.create_study(
            study_name="curves",
            pruner=getattr(optuna.pruners, pruner)(**settings),
            sampler=optuna.samplers.TPESampler(seed=seed),
        )
        self._space = space
        self._trials: dict[int, Any] = {}
        self._last: dict[int, float] = {}

    def begins(self, index: int) -> Hyperparameters | None:
        """Ask the study for a trial, and for its configuration if TPE chooses."""
        trial = self._trials[index] = self._study.ask()
        return None if self._space is None else {d.name: suggest(trial, d) for d in self._space.dimensions}

    def stops(self, index: int, curve: list[float]) -> bool:
        """Report the value, then query the pruner."""
        self._last[index] = curve[-1]
        self._trials[index].report(curve[-1], len(curve))
        return bool(self._trials[index].should_prune())

    def ended(self, index: int, completed: bool) -> None:
        """Report the end of the trial to the study."""
        state = self._states.COMPLETE if completed else self._states.PRUNED
        self._study.tell(self._trials[index], self._last[index] if completed else None, state=state)


class RayASHA(Full):
    """Ray Tune's asynchronous successive halving, called as its controller does, without a cluster."""

    def __init__(self) -> None:
        from ray.tune.schedulers import ASHAScheduler  # noqa: PLC0415 - only this rule needs it

        self._scheduler = ASHAScheduler(
            metric="error", mode="min", max_t=EPOCHS, grace_period=1, reduction_factor=3, time_attr="epoch"
        )

    def begins(self, index: int) -> Hyperparameters | None:
        """Add the trial to the scheduler, which sees no more of it than its name."""
        self._scheduler.on_trial_add(None, SimpleNamespace(trial_id=str(index)))
        return None

    def stops(self, index: int, curve: list[float]) -> bool:
        """Return the scheduler's decision."""
        result = {"epoch": len(curve), "error": curve[-1]}
        trial = SimpleNamespace(trial_id=str(index))
        return bool(self._scheduler.on_trial_result(None, trial, result) == self._scheduler.STOP)


RULES: dict[str, tuple[Callable[[Space, int], Rule], str]] = {
    "full training": (lambda space, seed: Full(), ""),  # noqa: ARG005
    "median rule (Auto)": (lambda space, seed: Median(), ""),  # noqa: ARG005
    "Hyperband": (Hyperband, ""),
    "BayesianHyperband": (lambda space, seed: Hyperband(space, seed, "BayesianHyperband"), ""),
    "Optuna SuccessiveHalvingPruner": (
        lambda space, seed: OptunaPruner(  # noqa: ARG005
            seed, "SuccessiveHalvingPruner", min_resource=1, reduction_factor=3
        ),
        "optuna",
    ),
    "Optuna TPE, SuccessiveHalvingPruner": (
        lambda space, seed: OptunaPruner(seed, "SuccessiveHalvingPruner", space, min_resource=1, reduction_factor=3),
        "optuna",
    ),
    "Ray ASHA": (lambda space, seed: RayASHA(), "ray"),  # noqa: ARG005
}
"""Factory of each rule for a space and a seed, and the package that it needs."""


def installed(rule: str) -> bool:
    """Return whether the package of a rule is installed."""
    package = RULES[rule][1]
    return not package or importlib.util.find_spec(package) is not None


def source(rule: str) -> str:
    """Return the version of a rule's package."""
    package = RULES[rule][1]
    return f"{package} {version(package)}" if package else ""
