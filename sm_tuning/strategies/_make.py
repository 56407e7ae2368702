"""Make a strategy by the name that the API gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sm_tuning.strategies._grid import GridSearch
from sm_tuning.strategies._hyperband import DEFAULT_MIN_RESOURCE, HyperbandSearch
from sm_tuning.strategies._parents import ParentTrials
from sm_tuning.strategies._random import RandomSearch
from sm_tuning.strategies._space import Space
from sm_tuning.strategies._strategy import Strategy

STRATEGIES = ("Bayesian", "Random", "Grid", "Hyperband")
_NO_CONFIG: Mapping[str, Any] = MappingProxyType({})


def make(
    strategy: str,
    space: Space,
    *,
    seed: int,
    maximize: bool,
    config: Mapping[str, Any] = _NO_CONFIG,
    parents: Sequence[ParentTrials] = (),
) -> Strategy:
    """The strategy of that name, as the API spells it.

    Args:
        strategy: ``Bayesian``, ``Random``, ``Grid`` or ``Hyperband``.
        space: what to search.
        seed: the tuning job's seed; the same seed and the same trials give the same answers.
        maximize: whether a higher objective is better.
        config: for Hyperband, ``max_resource`` and, where it is not 1, ``min_resource``; empty for the others.
        parents: the tuning jobs to start from, for Bayesian and Random.

    Raises:
        ValueError: an unknown strategy, settings or parents for one that takes none, resources that cannot be.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"unknown strategy {strategy!r}; use one of {', '.join(STRATEGIES)}")
    if config and strategy != "Hyperband":
        raise ValueError(f"the {strategy} strategy takes no StrategyConfig, got {dict(config)}")
    if parents and strategy in ("Grid", "Hyperband"):
        raise ValueError(f"the {strategy} strategy takes no warm start; use Bayesian or Random")
    if strategy == "Random":
        return RandomSearch(space, seed=seed, parents=parents)
    if strategy == "Grid":
        return GridSearch(space)
    if strategy == "Hyperband":
        return _hyperband(space, seed, maximize, config)
    from sm_tuning.strategies._bayesian import BayesianSearch  # noqa: PLC0415 - numpy and scipy

    return BayesianSearch(space, seed=seed, maximize=maximize, parents=parents)


def _hyperband(space: Space, seed: int, maximize: bool, config: Mapping[str, Any]) -> HyperbandSearch:
    unknown = sorted(set(config) - {"min_resource", "max_resource"})
    if unknown:
        raise ValueError(f"Hyperband takes min_resource and max_resource, got {unknown}")
    if config.get("max_resource") is None:
        raise ValueError("Hyperband needs max_resource, the most emissions of the objective that a trial may make")
    low = config.get("min_resource")
    return HyperbandSearch(
        space,
        seed=seed,
        maximize=maximize,
        max_resource=int(config["max_resource"]),
        min_resource=DEFAULT_MIN_RESOURCE if low is None else int(low),
    )
