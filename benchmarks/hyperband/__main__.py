"""Epochs that stopping rules need on real learning curves: ``python -m benchmarks.hyperband --help``.

A virtual clock drives workers that train one configuration after another, one epoch a tick. Every rule sees the same
orders of configurations. Prints a Markdown table: the epochs, over all workers, until an error near the pool's best is
found, and the cost and the result of a job of 40 trials.
"""

import argparse
import heapq
import math
import os
import statistics
from collections.abc import Iterator
from pathlib import Path
from random import Random

from benchmarks.hyperband.curves import EPOCHS, FILE, curves
from benchmarks.hyperband.rules import RULES, Oracle, Rule, installed, source

JOB = 40


def simulate(rule: Rule, order: list[list[float]], workers: int) -> Iterator[tuple[int, float]]:
    """Yield the trial's number and error of each epoch, in the order in which the epochs end.

    Workers start a fraction of a tick apart, so that their emissions alternate.
    """
    running = [(worker / workers, worker, 0) for worker in range(min(workers, len(order)))]
    heapq.heapify(running)
    begun = len(running)
    while running:
        now, index, epoch = heapq.heappop(running)
        yield index, order[index][epoch]
        stopped = rule.stops(index, order[index][: epoch + 1])
        done = epoch + 1 == len(order[index])
        if not stopped and not done:
            heapq.heappush(running, (now + 1, index, epoch + 1))
            continue
        rule.ended(index, completed=done)
        if begun < len(order):
            heapq.heappush(running, (now + 1, begun, 0))
            begun += 1


def epochs_to(level: float, errors: list[float]) -> float:
    """Return the position, from 1, of the first error that is at most the level."""
    return next((place for place, error in enumerate(errors, 1) if error <= level), math.inf)


def _oracle(orders: list[list[list[float]]], level: float, workers: int) -> float:
    good = frozenset(tuple(curve) for curve in orders[0] if min(curve) <= level)
    runs = ([error for _, error in simulate(Oracle(good, order), order, workers)] for order in orders)
    return statistics.median(epochs_to(level, run) for run in runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curves", type=Path, default=FILE)
    parser.add_argument("--orders", type=int, default=60, help="orders of the configurations")
    parser.add_argument("--workers", type=int, default=4)
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    pool = curves(arguments.curves)
    best = min(map(min, pool))
    near = 100 - 0.99 * (100 - best)
    shuffled = [Random(seed).sample(pool, len(pool)) for seed in range(arguments.orders)]
    print(
        f"{len(pool)} configurations x {EPOCHS} epochs, best error {best:.2f} %, {arguments.orders} orders, "
        f"{arguments.workers} workers. 99 % of the best accuracy: error <= {near:.2f} % "
        f"({sum(min(c) <= near for c in pool)} configurations); within 0.4 points: "
        f"{sum(min(c) <= best + 0.4 for c in pool)}.\n"
    )
    print("| rule | epochs to 99 % of the best | to within 0.4 points | job of 40: epochs | its regret, points |")
    print("|---|---|---|---|---|", flush=True)
    print(
        f"| (oracle: continues only the good configurations) | {_oracle(shuffled, near, arguments.workers):g} | "
        f"{_oracle(shuffled, best + 0.4, arguments.workers):g} | | |"
    )
    base: tuple[float, float] | None = None
    for name, (make_rule, _) in RULES.items():
        if not installed(name):
            print(f"| {name} | not installed here | | | |")
            continue
        runs = [[error for _, error in simulate(make_rule(), order, arguments.workers)] for order in shuffled]
        jobs = [[error for _, error in simulate(make_rule(), o[:JOB], arguments.workers)] for o in shuffled]
        first = statistics.median(epochs_to(near, run) for run in runs)
        second = statistics.median(epochs_to(best + 0.4, run) for run in runs)
        base = base or (first, second)
        share = 100 * statistics.fmean(map(len, jobs)) / (JOB * EPOCHS)
        regret = statistics.fmean(min(job) - best for job in jobs)
        print(
            f"| {f'{name} {source(name)}'.strip()} | {first:g} ({100 * first / base[0]:.0f} %) "
            f"| {second:g} ({100 * second / base[1]:.0f} %) | {share:.0f} % | {regret:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
