"""Time for one suggestion of the Bayesian strategy: ``python -m benchmarks.search.asks``.

Processor time after random trials, the lowest of three: of the first suggestion of a new strategy, and of one that has
fitted its model before, as after most trials. Prints a Markdown table.
"""

import argparse
import os
import time

from benchmarks.search.problems import Problem, problems
from sm_tuning.strategies import Trial, make

OBSERVATIONS = (10, 100, 200, 500, 2000)
PENDING = (0, 4)


def history(problem: Problem, count: int, pending: int) -> list[Trial]:
    """Return ``count`` ended random trials, then the pending ones."""
    random = make("Random", problem.space, seed=0, maximize=False)
    trials: list[Trial] = []
    for index in range(1, count + pending + 1):
        h = random.ask(trials) or {}
        trials.append(Trial(index, h, problem.cost(h), finished=True) if index <= count else Trial(index, h))
    return trials


def milliseconds(problem: Problem, trials: list[Trial]) -> str:
    first: list[float] = []
    later: list[float] = []
    for _ in range(3):
        chooser = make("Bayesian", problem.space, seed=0, maximize=False)
        for times in (first, later):
            begin = time.process_time()
            chooser.ask(trials)
            times.append(time.process_time() - begin)
    return f"{1e3 * min(first):.0f} / {1e3 * min(later):.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", nargs="+", default=["branin", "hartmann6", "boosting"])
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print("| problem (dimensions) | pending | " + " | ".join(f"{n} observed" for n in OBSERVATIONS) + " |")
    print("|---" * (2 + len(OBSERVATIONS)) + "|")
    for name, problem in problems(arguments.problems).items():
        for pending in PENDING:
            cells = [milliseconds(problem, history(problem, n, pending)) for n in OBSERVATIONS]
            print(f"| {name} ({len(problem.space.names)}) | {pending} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
