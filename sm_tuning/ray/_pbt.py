"""Population based training with Ray's scheduler and the bounds of the spec."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import PopulationBasedTraining, TrialScheduler

from sm_tuning.ray._job import INDEX, SEGMENT
from sm_tuning.ray._search import Ledger
from sm_tuning.ray._training import ITERATION
from sm_tuning.spec import PopulationConfig
from sm_tuning.strategies import Population


class BoundedPopulation(PopulationBasedTraining):  # type: ignore[misc]
    """Ray's scheduler, which explores as the strategy Population of studies does: each value is within its range.

    Ray itself multiplies by a factor, and may leave the range.

    Args:
        ledger: of the run.
        config: size, interval, and how members copy.
    """

    def __init__(self, ledger: Ledger, config: PopulationConfig) -> None:
        super().__init__(
            time_attr=ITERATION,
            perturbation_interval=config.interval,
            quantile_fraction=config.quantile,
            custom_explore_fn=dict,  # Ray wants mutations or a function; ``_get_new_config`` does without both
            require_attrs=False,
            log_config=False,
        )
        self._ledger = ledger
        self._config = config

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Add a member. Ray refuses searchers beside this scheduler, since most learn from results; ours draws only."""
        del tune_controller
        super().on_trial_add(SimpleNamespace(search_alg=None), trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Compare a member that has reached an interval; one that is done ends by itself."""
        if result.get(ITERATION, 0) >= self._config.max_resource:
            return str(TrialScheduler.CONTINUE)
        return str(super().on_trial_result(tune_controller, trial, result))

    def _get_new_config(self, trial: Any, trial_to_clone: Any) -> tuple[dict[str, Any], dict[str, str]]:
        """Return what a member trains with after it has copied another one; Ray's hook for subclasses."""
        config = self.explore(trial.config, trial_to_clone.config)
        changed = {name: "explored" for name, value in config.items() if trial_to_clone.config.get(name) != value}
        return config, changed

    def explore(self, own: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, Any]:
        """Return the changed config of the member that is copied, with the number of the one that copies."""
        job, segment = self._ledger.job, own.get(SEGMENT, 0) + 1
        # Drawn from the seed, the member and how often it has copied, as far as Ray's choice of a source allows.
        random = Random(f"{job.seed}/explore/{own[INDEX]}/{segment}")  # noqa: S311 - a search, no secret
        space = self._ledger.search.space
        strategy = Population(space, self._config, seed=job.seed, maximize=job.mode == "max")
        tuned = strategy.explore(job.to_tuned(source), random)
        return {**job.to_config(tuned), INDEX: own[INDEX], SEGMENT: segment}
