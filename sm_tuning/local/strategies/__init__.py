"""How the next trial of a tuning job is chosen: pure strategies behind one ``ask``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sm_tuning.local.strategies._grid import GridSearch
from sm_tuning.local.strategies._median import median_stop
from sm_tuning.local.strategies._random import RandomSearch
from sm_tuning.local.strategies._space import Categorical, Continuous, Integer, Point, Space, space_of
from sm_tuning.local.strategies._strategy import Strategy

__all__ = [
    "Categorical",
    "Continuous",
    "Integer",
    "Point",
    "Space",
    "Strategy",
    "make",
    "median_stop",
    "space_of",
]

_NO_CONFIG: Mapping[str, Any] = MappingProxyType({})


def make(strategy: str, space: Space, *, seed: int, maximize: bool, config: Mapping[str, Any] = _NO_CONFIG) -> Strategy:
    """The strategy of that name, as the API spells it.

    Args:
        strategy: ``Bayesian``, ``Random`` or ``Grid``.
        space: what to search.
        seed: the tuning job's seed; the same seed and the same trials give the same answers.
        maximize: whether a higher objective is better.
        config: the request's ``StrategyConfig``. Only Hyperband has one.

    Raises:
        ValueError: a strategy that this machine does not have, or settings for one that takes none.
    """
    if strategy == "Hyperband":
        raise ValueError("the Hyperband strategy is not available on this machine; use Bayesian, Random or Grid")
    if config:
        raise ValueError(f"the {strategy} strategy takes no StrategyConfig, got {dict(config)}")
    if strategy == "Random":
        return RandomSearch(space, seed=seed)
    if strategy == "Grid":
        return GridSearch(space)
    if strategy == "Bayesian":
        from sm_tuning.local.strategies._bayesian import BayesianSearch  # noqa: PLC0415 - numpy and scipy

        return BayesianSearch(space, seed=seed, maximize=maximize)
    raise ValueError(f"unknown strategy {strategy!r}; use Bayesian, Random or Grid")
