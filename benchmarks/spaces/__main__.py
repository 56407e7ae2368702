"""Hypervolume of strategies with two objectives, and regret with and without conditions: ``… -m benchmarks.spaces``.

No server: the strategies suggest, and each trial ends before the next one begins. Prints two Markdown tables, medians
over seeds with a 90% interval of the median (bootstrap).
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from random import Random
from statistics import median

import numpy as np

from benchmarks.spaces.problems import CONDITIONAL, FLAT, PROBLEMS, branches
from sm_tuning.results import hypervolume
from sm_tuning.strategies import Space, Strategy, Trial, make

EVALUATIONS, TRIALS = 50, 20

#: Name, sampler and options; a population of fifty would be all that NSGA-II has.
SEVERAL: Mapping[str, tuple[str, dict[str, object]]] = {
    "Random": ("RandomSampler", {}),
    "Optuna NSGA-II, population 10": ("NSGAIISampler", {"population_size": 10}),
    "Optuna TPE": ("TPESampler", {}),
    "Optuna GP": ("GPSampler", {}),
}


def play(strategy: Strategy, count: int, objective: Callable[[Mapping[str, str]], tuple[float, ...]]) -> list[Trial]:
    """Return the trials of a study in which each one ends before the next one begins."""
    trials: list[Trial] = []
    for number in range(1, count + 1):
        found = strategy.propose(trials)
        if found is None:
            break
        tuned = found.hyperparameters
        values = objective(tuned)
        trials.append(Trial(number, tuned, values[0], finished=True, attrs=found.attrs, values=values))
    return trials


def searched(name: str, space: Space, seed: int, *, objectives: int) -> Strategy:
    """Return a strategy of ours by its name, or a sampler of Optuna."""
    if name in ("Random", "Bayesian"):
        return make(name, space, seed=seed, maximize=False)
    sampler, options = SEVERAL[name]
    config = {"sampler": sampler, "options": options}
    return make("Optuna", space, seed=seed, maximize=False, config=config, further=[False] * (objectives - 1))


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median and the ends of its 90% interval."""
    dice = Random(0)
    medians = sorted(median(dice.choices(values, k=len(values))) for _ in range(2000))
    return median(values), medians[100], medians[-101]


def fronts(seeds: int, slow_seeds: int) -> None:
    """Print the hypervolume after 50 evaluations, as a share of that of the best front."""
    print(f"Hypervolume after {EVALUATIONS} evaluations, in per cent of that of the front [seeds]\n")
    print("| strategy | " + " | ".join(PROBLEMS) + " | CPU seconds an evaluation |")
    print("|---" * (len(PROBLEMS) + 2) + "|")
    for name in SEVERAL:
        used, asked, shown = time.process_time(), 0, []
        for problem in PROBLEMS.values():
            count = slow_seeds if "GP" in name else seeds
            runs = [
                play(searched(name, problem.space, seed, objectives=2), EVALUATIONS, problem.objective)
                for seed in range(count)
            ]
            asked += count * EVALUATIONS
            best = hypervolume(problem.front, problem.reference)
            fronts = (np.array([trial.values for trial in trials]) for trials in runs)
            shares = [100 * hypervolume(front, problem.reference) / best for front in fronts]
            middle, low, high = interval(shares)
            shown.append(f"{middle:.1f} ({low:.1f} to {high:.1f}) [{count}]")
        seconds = (time.process_time() - used) / asked
        print(f"| {name} | {' | '.join(shown)} | {seconds:.3f} |", flush=True)


def conditions(seeds: int) -> None:
    """Print the regret after 20 trials with conditions, and with the same ranges without them."""
    print(f"\nRegret after {TRIALS} trials, {seeds} seeds: three branches with two hyperparameters each\n")
    print("| strategy | conditional space | flat space |")
    print("|---|---|---|")
    for name in ("Random", "Bayesian", "Optuna TPE"):
        shown = []
        for space in (CONDITIONAL, FLAT):
            runs = (play(searched(name, space, seed, objectives=1), TRIALS, branches) for seed in range(seeds))
            found = [min(trial.values[0] for trial in trials) for trials in runs]
            middle, low, high = interval(found)
            shown.append(f"{middle:.4f} ({low:.4f} to {high:.4f})")
        print(f"| {name} | {' | '.join(shown)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--slow-seeds", type=int, default=2, help="of samplers that take seconds for a suggestion")
    arguments = parser.parse_args()
    fronts(arguments.seeds, min(arguments.seeds, arguments.slow_seeds))
    conditions(arguments.seeds)


if __name__ == "__main__":
    main()
