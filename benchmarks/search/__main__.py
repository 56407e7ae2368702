"""Search quality of the strategies, compared with other engines: ``python -m benchmarks.search --help``.

Regret is the best cost so far minus the lowest possible cost. Runs the cases that are missing in the results file, then
prints the tables of docs/benchmarks.md. An engine that is not installed is left out, with a line in the output. Run an
engine that needs its own environment from there, with the same results file.
"""

import argparse
import hashlib
import json
import os
import statistics
from collections import defaultdict
from pathlib import Path

import sm_tuning.strategies as strategies_package
from benchmarks.search.engines import ENGINES, missing, versions
from benchmarks.search.problems import Problem, problems

MARKS = (20, 50, 100)
DEFAULT_PROBLEMS = ["branin", "hartmann6", "levy5", "boosting"]


def run(problem: Problem, engine: str, seed: int, evaluations: int, pending: int) -> list[float]:
    """Return the costs in order of their end, with ``pending`` trials running at each suggestion.

    The trial that began first ends first, as with equal training times.
    """
    chooser = ENGINES[engine][0](problem, seed)
    costs: list[float] = []
    running: list = []
    while len(costs) < evaluations:
        while len(running) <= pending:
            running.append(chooser.ask())
        handle, h = running.pop(0)
        cost = problem.cost(h)
        chooser.tell(handle, cost)
        costs.append(cost)
    return costs


def source(engine: str) -> str:
    """Return what a result is valid for: the versions of other engines, or a digest of our source."""
    if ENGINES[engine][1]:
        return versions(engine)
    folder = Path(strategies_package.__file__).parent
    text = b"".join(path.read_bytes() for path in sorted(folder.glob("*.py"))) if engine == "Bayesian" else b"1"
    return f"{versions(engine)}, {hashlib.sha256(text).hexdigest()[:10]}"


def load(path: Path) -> dict[tuple, dict]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    every = (json.loads(line) for line in lines)
    return {(r["problem"], r["engine"], r["pending"], r["seed"]): r for r in every}


def fill(arguments: argparse.Namespace) -> None:
    """Run the missing cases."""
    every = problems(arguments.problems)
    done = load(arguments.results)
    for engine in arguments.engines:
        if lacking := missing(engine):
            print(f"{engine}: left out here, {', '.join(lacking)} is not installed", flush=True)
            continue
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            for pending in arguments.pending:
                for name in arguments.problems:
                    old = done.get((name, engine, pending, seed))
                    if old and old["source"] == source(engine) and len(old["costs"]) >= arguments.evaluations:
                        continue
                    costs = run(every[name], engine, seed, arguments.evaluations, pending)
                    regrets = [cost - every[name].optimum for cost in costs]
                    line = {"problem": name, "engine": engine, "pending": pending, "seed": seed}
                    line |= {"source": source(engine), "costs": regrets}
                    with arguments.results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(line) + "\n")


def report(path: Path) -> str:
    """Print the tables: the median regret at the marks over seeds, and the number of seeds."""
    groups: dict[tuple, list[dict]] = defaultdict(list)
    for (name, engine, pending, _), result in sorted(load(path).items()):
        groups[pending, engine, name].append(result)
    names = sorted({key[2] for key in groups}, key=lambda n: [*DEFAULT_PROBLEMS, n].index(n))
    out: list[str] = []
    for pending in sorted({key[0] for key in groups}):
        title = "Sequential" if pending == 0 else f"{pending + 1} at a time ({pending} pending at each suggestion)"
        out += [f"\n**{title}**: median regret after {' / '.join(map(str, MARKS))} evaluations [seeds]\n"]
        out += ["| engine | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        for engine in ENGINES:
            rows = [groups.get((pending, engine, name), []) for name in names]
            if any(rows):
                out.append(f"| {engine} | " + " | ".join(map(_cell, rows)) + " |")
    sources = sorted({(e, r["source"]) for (_, e, _), rs in groups.items() for r in rs})
    out += ["", *(f"- {engine}: {text}" for engine, text in sources)]
    return "\n".join(out)


def _cell(results: list[dict]) -> str:
    words = []
    for mark in MARKS:
        regrets = [min(r["costs"][:mark]) for r in results if len(r["costs"]) >= mark]
        words.append(f"{statistics.median(regrets):.2g}" if regrets else "-")
    return f"{' / '.join(words)} [{len(results)}]" if results else "-"


def main() -> None:
    """Run the engines and problems of the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", nargs="+", default=DEFAULT_PROBLEMS)
    parser.add_argument("--engines", nargs="*", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument(
        "--pending", type=int, nargs="+", default=[0, 4], help="numbers of trials that run at each suggestion"
    )
    parser.add_argument("--results", type=Path, default=Path("output/bench/search.jsonl"))
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    fill(arguments)
    print(report(arguments.results))


if __name__ == "__main__":
    main()
