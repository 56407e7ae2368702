"""Epochs that stopping rules need on real learning curves: ``python -m benchmarks.hyperband --help``.

A virtual clock drives workers that train one configuration after another, one epoch a tick. Rules that do not search
see the same random configurations in each order. Runs the cases that are missing in the results file, then prints
Markdown tables: the epochs, over all workers, until an error near the best is found, and the cost and the result of a
job of 40 trials; medians over orders with 90% bootstrap intervals.
"""

import argparse
import heapq
import itertools
import json
import math
import os
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks.hyperband.curves import EPOCHS, FOLDER, POOLS, Pool, pool
from benchmarks.hyperband.rules import RULES, Rule, installed, source
from benchmarks.search.statistics import interval
from sm_tuning.strategies import Trial, make

JOB = 40
#: Trials after which a search for a good error ends without one.
MOST = 240
#: Percentage points above the best error.
LEVELS = (1.0, 0.4)


class Configurations:
    """The curves of one order: random configurations, and those that a rule chooses."""

    def __init__(self, curves: Pool, seed: int) -> None:
        self._pool = curves
        self._random = make("Random", curves.space, seed=seed, maximize=False)
        self._trials: list[Trial] = []
        self._curves: list[list[float]] = []

    def curve(self, rule: Rule, index: int) -> list[float]:
        """Return the curve of the trial that a rule begins."""
        h = rule.begins(index)
        if h is not None:
            return self._pool.curve(h)
        while len(self._curves) <= index:
            h = self._random.ask(self._trials) or {}
            self._trials.append(Trial(len(self._trials) + 1, h))
            self._curves.append(self._pool.curve(h))
        return self._curves[index]


def simulate(rule: Rule, configurations: Configurations, workers: int, trials: int) -> Iterator[float]:
    """Yield the error of each epoch, in the order in which the epochs end.

    Workers start a fraction of a tick apart, so that their emissions alternate.
    """
    curves = [configurations.curve(rule, index) for index in range(min(workers, trials))]
    running = [(worker / workers, worker, 0) for worker in range(len(curves))]
    heapq.heapify(running)
    while running:
        now, index, epoch = heapq.heappop(running)
        yield curves[index][epoch]
        stopped = rule.stops(index, curves[index][: epoch + 1])
        done = epoch + 1 == EPOCHS
        if not stopped and not done:
            heapq.heappush(running, (now + 1, index, epoch + 1))
            continue
        rule.ended(index, completed=done)
        if len(curves) < trials:
            heapq.heappush(running, (now + 1, len(curves), 0))
            curves.append(configurations.curve(rule, len(curves)))


def measure(name: str, curves: Pool, configurations: Configurations, seed: int, workers: int) -> dict:
    """Return the figures of one rule in one order."""
    job = list(simulate(RULES[name][0](curves.space, seed), configurations, workers, JOB))
    reached: dict[float, float] = {}
    errors = simulate(RULES[name][0](curves.space, seed), configurations, workers, MOST)
    for epochs, error in enumerate(errors, 1):
        reached |= {level: epochs for level in LEVELS if level not in reached and error <= curves.best + level}
        if len(reached) == len(LEVELS):
            break
    epochs = [reached.get(level, math.inf) for level in LEVELS]
    return {"epochs": epochs, "job": len(job), "regret": round(min(job) - curves.best, 6)}


def fill(arguments: argparse.Namespace) -> None:
    """Run the missing cases."""
    done = {(r["pool"], r["rule"], r["seed"]) for r in load(arguments.results)}
    for name, seed in itertools.product(arguments.pools, range(arguments.first, arguments.first + arguments.orders)):
        missing = [rule for rule in RULES if installed(rule) and (name, rule, seed) not in done]
        if not missing:
            continue
        curves = pool(name, arguments.results.parent)
        configurations = Configurations(curves, seed)
        for rule in missing:
            line = {"pool": name, "rule": rule, "seed": seed, "source": source(rule)}
            line |= measure(rule, curves, configurations, seed, arguments.workers)
            with arguments.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def load(path: Path) -> list[dict]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def report(arguments: argparse.Namespace) -> str:
    """Return the tables of docs/benchmarks.md."""
    groups: dict[tuple[str, str], list[dict]] = defaultdict(list)
    for result in load(arguments.results):
        groups[result["pool"], result["rule"]].append(result)
    out: list[str] = []
    for name in arguments.pools:
        curves = pool(name, arguments.results.parent)
        shares = [100 * float((curves.lowest <= curves.best + level).mean()) for level in LEVELS]
        title = (
            f"\n**{name}**: {len(curves.curves)} configurations x {EPOCHS} epochs. Of {len(curves.lowest)} random "
            f"configurations of the regression, the best has an error of {curves.best:.2f}%; {shares[0]:.1f}% of them "
            f"come within {LEVELS[0]:g} point, {shares[1]:.1f}% within {LEVELS[1]:g} points.\n"
        )
        out += [
            title,
            "| rule | epochs to +1.0 points | to +0.4 points | job of 40: epochs | its regret, points | orders |",
            "|---|---|---|---|---|---|",
        ]
        for rule in RULES:
            results = groups[name, rule]
            if not results:
                out.append(f"| {rule} | not installed here | | | | |")
                continue
            cells = [interval([r["epochs"][k] for r in results]) for k in range(len(LEVELS))]
            share = 100 * statistics.fmean(r["job"] for r in results) / (JOB * EPOCHS)
            cells += [f"{share:.0f}%", interval([r["regret"] for r in results]), str(len(results))]
            out.append(f"| {f'{rule} {source(rule)}'.strip()} | {' | '.join(cells)} |")
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pools", nargs="+", default=list(POOLS), choices=list(POOLS))
    parser.add_argument("--orders", type=int, default=20, help="orders of the configurations")
    parser.add_argument(
        "--first", type=int, default=1, help="seed of the first order; that of the trained configurations is 0"
    )
    parser.add_argument("--quick", action="store_true", help="the linear models in three orders")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--results", type=Path, default=FOLDER / "hyperband.jsonl")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.pools, arguments.orders = ["sgd"], 3
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    fill(arguments)
    print(report(arguments))


if __name__ == "__main__":
    main()
