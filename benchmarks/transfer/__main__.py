"""Trials that a warm-started Bayesian search needs, compared with a cold start.

python -m benchmarks.transfer --help

The parent job runs random trials on an objective; the child searches the problem with the parent's trials. Prints
Markdown: the median number of trials until the regret reaches the problem's goal, and the median regret after several
numbers of trials, over seeds.
"""

import argparse
import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace

from benchmarks.search.problems import Problem, problems
from sm_tuning.strategies import Continuous, ParentTrials, Trial, make

MARKS = (5, 10, 20, 30)
GOALS = {"branin": 0.1, "hartmann6": 0.3, "boosting": 1.5}
Cost = Callable[[Mapping[str, str]], float]


def moved(problem: Problem, by: float) -> Cost:
    """Return the same cost with another optimum: every continuous dimension is moved by a share of its range."""

    def cost(h: Mapping[str, str]) -> float:
        out = dict(h)
        for d in problem.space.dimensions:
            if isinstance(d, Continuous):
                out[d.name] = d.decode(min(max(d.encode(h[d.name]) - by, 0.0), 1.0))
        return problem.cost(out)

    return cost


def unrelated(problem: Problem) -> Cost:
    """Return a bowl with waves, whose optimum is unrelated to the problem's."""

    def cost(h: Mapping[str, str]) -> float:
        positions = [d.encode(h[d.name]) for d in problem.space.dimensions]
        return sum((u - 0.1 - 0.8 * (k % 2)) ** 2 + 0.1 * math.sin(9 * u + k) for k, u in enumerate(positions))

    return cost


def parents_of(problem: Problem) -> dict[str, tuple[Cost, bool] | None]:
    """Return the parent's objective for each case, and whether the child may only transfer from it."""
    return {
        "cold start": None,
        "identical": (problem.cost, False),
        "identical, as transfer": (problem.cost, True),
        "rescaled (x 1000 + 500)": (lambda h: 1000 * problem.cost(h) + 500, True),
        "moved by 5% of the range": (moved(problem, 0.05), True),
        "moved by 20% of the range": (moved(problem, 0.2), True),
        "unrelated": (unrelated(problem), True),
        "adversarial (negative)": (lambda h: -problem.cost(h), True),
    }


def parent(problem: Problem, cost: Cost, seed: int, count: int, transfer: bool) -> ParentTrials:
    chooser = make("Random", problem.space, seed=5000 + seed, maximize=False)
    trials: list[Trial] = []
    for index in range(1, count + 1):
        h = chooser.ask(trials) or {}
        trials.append(Trial(index, h, cost(h), finished=True))
    return ParentTrials(tuple(trials), transfer)


def child(problem: Problem, seed: int, parents: list[ParentTrials], count: int) -> list[float]:
    """Return the regret of the best trial after each trial."""
    chooser = make("Bayesian", problem.space, seed=seed, maximize=False, parents=parents)
    trials: list[Trial] = []
    best: list[float] = []
    for index in range(1, count + 1):
        t = Trial(index, chooser.ask(trials) or {}, finished=True)
        trials.append(replace(t, value=problem.cost(t.hyperparameters)))
        best.append(min(best[-1] if best else math.inf, (trials[-1].value or 0.0) - problem.optimum))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", nargs="+", default=list(GOALS), choices=list(GOALS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--parent-trials", type=int, default=40)
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    for name, problem in problems(arguments.problems).items():
        words = " / ".join(map(str, MARKS))
        print(f"\n**{name}**, goal: regret {GOALS[name]} ({len(seeds)} seeds, parent of {arguments.parent_trials})\n")
        print(f"| parent | trials to the goal | median regret after {words} |\n|---|---|---|", flush=True)
        for case, source in parents_of(problem).items():
            runs = []
            for seed in seeds:
                sources = [parent(problem, source[0], seed, arguments.parent_trials, source[1])] if source else []
                runs.append(child(problem, seed, sources, MARKS[-1]))
            steps = [next((i for i, r in enumerate(run, 1) if r <= GOALS[name]), math.inf) for run in runs]
            middle = statistics.median(steps)
            reached = f"{middle:g}" if math.isfinite(middle) else f"> {MARKS[-1]}"
            regrets = " / ".join(f"{statistics.median(run[m - 1] for run in runs):.2g}" for m in MARKS)
            print(f"| {case} | {reached} | {regrets} |", flush=True)


if __name__ == "__main__":
    main()
