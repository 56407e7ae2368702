"""The engines that are compared, each with ``ask`` and ``tell`` for one problem."""
# ruff: noqa: D102, PLC0415 - the protocol describes ask and tell; each engine imports its own library

from __future__ import annotations

import importlib.util
import logging
import math
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Protocol

from benchmarks.search.problems import Problem
from sm_tuning.strategies import Categorical, Integer, Strategy, Trial, make
from sm_tuning.strategies._acquisition import Effort
from sm_tuning.strategies._bayesian import BayesianSearch

Hyperparameters = dict[str, str]


class Engine(Protocol):
    """Suggests points, and gets their costs."""

    def ask(self) -> tuple[Any, Hyperparameters]:
        """Return a handle and a point."""

    def tell(self, handle: Any, cost: float) -> None:
        """Record the cost of a handle's point; NaN if it failed."""


class Ours:
    """A strategy of this project, called as in the tuning engine."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self._trials: list[Trial] = []

    def ask(self) -> tuple[int, Hyperparameters]:
        h = dict(self._strategy.ask(self._trials) or {})
        self._trials.append(Trial(len(self._trials) + 1, h))
        return len(self._trials), h

    def tell(self, handle: int, cost: float) -> None:
        h = self._trials[handle - 1].hyperparameters
        failed = math.isnan(cost)
        curve = () if failed else (cost,)
        self._trials[handle - 1] = Trial(handle, h, None if failed else cost, failed, curve, finished=True)


def full_model(problem: Problem, seed: int) -> Strategy:
    """Return the Bayesian strategy with a model of all trials, however many there are."""
    return BayesianSearch(problem.space, seed=seed, maximize=False, effort=Effort(modelled=10**6))


class Optuna:
    """One of Optuna's samplers, with the defaults of its version."""

    def __init__(self, problem: Problem, seed: int, sampler: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(sampler=getattr(optuna.samplers, sampler)(seed=seed))
        self._dimensions = problem.space.dimensions

    def ask(self) -> tuple[Any, Hyperparameters]:
        trial = self._study.ask()
        return trial, {d.name: suggest(trial, d) for d in self._dimensions}

    def tell(self, handle: Any, cost: float) -> None:
        if math.isnan(cost):
            import optuna

            self._study.tell(handle, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(handle, cost)


def suggest(trial: Any, d: Any) -> str:
    """Return the value that an Optuna trial gets for a dimension."""
    if isinstance(d, Categorical):
        return trial.suggest_categorical(d.name, d.values)
    log = d.scaling == "Logarithmic"
    if isinstance(d, Integer):
        return str(trial.suggest_int(d.name, d.low, d.high, log=log))
    if d.scaling == "ReverseLogarithmic":
        return repr(1 - trial.suggest_float(d.name, 1 - d.high, 1 - d.low, log=True))
    return repr(trial.suggest_float(d.name, d.low, d.high, log=log))


class Ax:
    """Ax's client with its default generation strategy, without its initial point at the centre."""

    def __init__(self, problem: Problem, seed: int) -> None:
        from ax.api.client import Client

        logging.getLogger("ax").setLevel(logging.ERROR)
        warnings.simplefilter("ignore")
        self._client = Client(random_seed=seed)
        self._client.configure_experiment([self._parameter(d) for d in problem.space.dimensions])
        self._client.configure_optimization(objective="-cost")
        self._client.configure_generation_strategy(
            method="fast", initialize_with_center=False, allow_exceeding_initialization_budget=True
        )

    def ask(self) -> tuple[int, Hyperparameters]:
        ((index, values),) = self._client.get_next_trials(max_trials=1).items()
        return index, {name: value if isinstance(value, str) else repr(value) for name, value in values.items()}

    def tell(self, handle: int, cost: float) -> None:
        if math.isnan(cost):
            self._client.mark_trial_failed(handle)
        else:
            self._client.complete_trial(handle, raw_data={"cost": cost})

    @staticmethod
    def _parameter(d: Any) -> Any:
        from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

        if isinstance(d, Categorical):
            return ChoiceParameterConfig(name=d.name, values=list(d.values), parameter_type="str", is_ordered=False)
        kind = "int" if isinstance(d, Integer) else "float"
        scaling = "log" if d.scaling == "Logarithmic" else "linear"
        return RangeParameterConfig(name=d.name, bounds=(d.low, d.high), parameter_type=kind, scaling=scaling)


ENGINES: dict[str, tuple[Callable[[Problem, int], Engine], tuple[str, ...]]] = {
    "Bayesian": (lambda problem, seed: Ours(make("Bayesian", problem.space, seed=seed, maximize=False)), ()),
    "Bayesian, full model": (lambda problem, seed: Ours(full_model(problem, seed)), ()),
    "Random": (lambda problem, seed: Ours(make("Random", problem.space, seed=seed, maximize=False)), ()),
    "Optuna TPE": (lambda problem, seed: Optuna(problem, seed, "TPESampler"), ("optuna",)),
    "Optuna CMA-ES": (lambda problem, seed: Optuna(problem, seed, "CmaEsSampler"), ("optuna", "cmaes")),
    "Optuna GP": (lambda problem, seed: Optuna(problem, seed, "GPSampler"), ("optuna", "torch")),
    "Ax": (Ax, ("ax",)),
}
"""Factory of each engine, and the packages that it needs."""

_DISTRIBUTIONS = {"ax": "ax-platform"}


def missing(engine: str) -> list[str]:
    """Return the packages of an engine that are not installed."""
    return [name for name in ENGINES[engine][1] if importlib.util.find_spec(name) is None]


def versions(engine: str) -> str:
    """Return the versions of an engine's packages."""
    packages = ENGINES[engine][1] or ("numpy", "scipy")
    return ", ".join(f"{name} {version(_DISTRIBUTIONS.get(name, name))}" for name in packages)
