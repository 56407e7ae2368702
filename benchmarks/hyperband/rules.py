"""The stopping rules that are compared. Each gets every emission and decides whether the trial ends there."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Protocol

from benchmarks.hyperband.curves import EPOCHS
from sm_tuning.strategies import Trial, make, median_stop, space_of


class Rule(Protocol):
    """Decides about the trials of one simulated job."""

    def stops(self, index: int, curve: list[float]) -> bool:
        """Return whether the trial ends after the newest value of its curve (an error: lower is better)."""

    def ended(self, index: int, completed: bool) -> None:
        """Record that a trial was completed or stopped."""


class Full:
    """Stops no trial."""

    def stops(self, index: int, curve: list[float]) -> bool:  # noqa: ARG002
        """Return False."""
        return False

    def ended(self, index: int, completed: bool) -> None:
        """Do nothing."""


class Oracle(Full):
    """Stops every trial after its first epoch, except those that will come near the best: no rule can do better."""

    def __init__(self, good: frozenset[tuple[float, ...]], order: list[list[float]]) -> None:
        self._good, self._order = good, order

    def stops(self, index: int, curve: list[float]) -> bool:  # noqa: ARG002
        """Decide with the whole curve."""
        return tuple(self._order[index]) not in self._good


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
    """The Hyperband strategy of this project, called at each emission as in the tuning engine."""

    def __init__(self) -> None:
        self._strategy = make("Hyperband", space_of({}), seed=0, maximize=False, config={"max_resource": EPOCHS})
        self._trials: dict[int, Trial] = {}

    def stops(self, index: int, curve: list[float]) -> bool:
        """Return the strategy's decision."""
        self._trials[index] = Trial(index, {}, curve=tuple(curve))
        return self._strategy.should_stop(self._trials[index], list(self._trials.values()))


class OptunaPruner(Full):
    """One of Optuna's pruners, with the reduction factor 3."""

    def __init__(self, pruner: str, **settings: Any) -> None:
        import optuna  # noqa: PLC0415 - only these rules need it

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._states = optuna.trial.TrialState
        self._study = optuna.create_study(study_name="curves", pruner=getattr(optuna.pruners, pruner)(**settings))
        self._trials: dict[int, Any] = {}
        self._last: dict[int, float] = {}

    def stops(self, index: int, curve: list[float]) -> bool:
        """Report the value, then query the pruner."""
        self._last[index] = curve[-1]
        if index not in self._trials:
            self._trials[index] = self._study.ask()
        self._trials[index].report(curve[-1], len(curve))
        return bool(self._trials[index].should_prune())

    def ended(self, index: int, completed: bool) -> None:
        """Report the end of the trial to the study."""
        state = self._states.COMPLETE if completed else self._states.PRUNED
        self._study.tell(self._trials[index], self._last[index] if completed else None, state=state)


class RayASHA(Full):
    """The rule of Ray Tune's asynchronous HyperBand scheduler, called directly on its bracket."""

    def __init__(self) -> None:
        from ray.tune.schedulers import AsyncHyperBandScheduler  # noqa: PLC0415 - only this rule needs it
        from ray.tune.schedulers.async_hyperband import _Bracket  # noqa: PLC0415

        scheduler = AsyncHyperBandScheduler(max_t=EPOCHS, grace_period=1, reduction_factor=3)
        self._stop = scheduler.STOP
        self._bracket = _Bracket(1, EPOCHS, 3, 0)

    def stops(self, index: int, curve: list[float]) -> bool:
        """Decide on the negative error, because Ray's scheduler maximises."""

        class Named:
            trial_id = str(index)

        return bool(self._bracket.on_result(Named(), len(curve), -curve[-1]) == self._stop)


RULES: dict[str, tuple[Callable[[], Rule], str]] = {
    "full training": (Full, ""),
    "median rule (Auto)": (Median, ""),
    "Hyperband (this project)": (Hyperband, ""),
    "Optuna SuccessiveHalvingPruner": (
        lambda: OptunaPruner("SuccessiveHalvingPruner", min_resource=1, reduction_factor=3),
        "optuna",
    ),
    "Optuna HyperbandPruner": (
        lambda: OptunaPruner("HyperbandPruner", min_resource=1, max_resource=EPOCHS, reduction_factor=3),
        "optuna",
    ),
    "Ray ASHA": (RayASHA, "ray"),
}
"""Factory of each rule, and the package that it needs."""


def installed(rule: str) -> bool:
    """Return whether the package of a rule is installed."""
    package = RULES[rule][1]
    return not package or importlib.util.find_spec(package) is not None


def source(rule: str) -> str:
    """Return the version of a rule's package."""
    package = RULES[rule][1]
    return f"{package} {version(package)}" if package else ""
