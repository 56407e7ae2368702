"""Search quality of the strategies, compared with other engines: ``python -m benchmarks.search --help``.

Regret is the true cost of the best trial so far minus the lowest possible cost, which is 0 for real models. The best
trial is that with the lowest reported cost, which may contain noise. Runs the cases that are missing in the results
file, one JSON object a line, then prints the tables of docs/benchmarks.md: medians over seeds with 90 % bootstrap
intervals. An engine that is not installed is left out, with a line in the output. Run an engine that needs its own
environment from there, with the same results file.
"""

import argparse
import ast
import hashlib
import json
import math
import os
from collections import defaultdict
from pathlib import Path

import sm_tuning.strategies as strategies_package
from benchmarks.search.engines import ENGINES, missing, versions
from benchmarks.search.problems import HELD_OUT, PROBLEMS, Problem, problems
from benchmarks.search.statistics import interval

#: What the Bayesian strategy's suggestions depend on.
MODULES = ("_acquisition", "_bayesian", "_gp", "_observations", "_simple", "_space", "_strategy", "_surrogate")
MARKS = (25, 50, 100, 500, 700)
EARLIER = ["branin", "hartmann6", "levy5", "boosting"]
#: What takes seconds for 50 trials is left to ``--engines``.
DEFAULT_ENGINES = ["Bayesian", "Random", "Optuna TPE", "Optuna CMA-ES"]
QUICK = {"problems": ["branin", "ackley6", "failing4"], "seeds": 3, "evaluations": 25, "pending": [0]}


def run(problem: Problem, engine: str, seed: int, evaluations: int, pending: int) -> list[float]:
    """Return the regret after each end of a trial, with ``pending`` trials running at each suggestion.

    The trial that began first ends first, as with equal training times.
    """
    chooser = ENGINES[engine][0](problem, seed)
    best, regret = math.inf, math.inf
    regrets: list[float] = []
    running: list = []
    while len(regrets) < evaluations:
        while len(running) <= pending:
            running.append(chooser.ask())
        handle, h = running.pop(0)
        reported = problem.observed(h)
        chooser.tell(handle, reported)
        if reported < best:
            best, regret = reported, problem.cost(h) - problem.optimum
        regrets.append(regret)
    return regrets


def source(engine: str) -> str:
    """Return what a result is valid for: the versions of other engines, or a digest of our code without its words."""
    if ENGINES[engine][1]:
        return versions(engine)
    if not engine.startswith("Bayesian"):
        return versions(engine)
    digest = hashlib.sha256()
    folder = Path(strategies_package.__file__).parent
    for name in MODULES:
        tree = ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                node.value.value = None  # a docstring
        digest.update(ast.dump(tree).encode())
    return f"{versions(engine)}, {digest.hexdigest()[:10]}"


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
                    if old and old["source"] == source(engine) and len(old["regrets"]) >= arguments.evaluations:
                        continue
                    regrets = run(every[name], engine, seed, arguments.evaluations, pending)
                    line = {"problem": name, "engine": engine, "pending": pending, "seed": seed}
                    line |= {"source": source(engine), "regrets": regrets}
                    with arguments.results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(line) + "\n")


def report(path: Path) -> str:
    """Return the tables: the median regret at the marks over seeds, with its interval, and the number of seeds."""
    groups: dict[tuple, list[list[float]]] = defaultdict(list)
    sources = set()
    for (name, engine, pending, _), result in sorted(load(path).items()):
        groups[pending, name, engine].append(result["regrets"])
        sources.add((engine, result["source"]))
    order = [*EARLIER, *HELD_OUT]
    names = sorted({key[1] for key in groups}, key=lambda name: [*order, name].index(name))
    out: list[str] = []
    for pending in sorted({key[0] for key in groups}):
        longest = max(len(run) for key, runs in groups.items() if key[0] == pending for run in runs)
        marks = [mark for mark in MARKS if mark <= longest]
        title = "Sequential" if pending == 0 else f"{pending + 1} at a time ({pending} pending at each suggestion)"
        out += [f"\n**{title}**\n"]
        out += [f"| problem | engine | {' | '.join(f'after {mark}' for mark in marks)} | worst | seeds |"]
        out += ["|---" * (len(marks) + 4) + "|"]
        for name in names:
            for engine in ENGINES:
                if runs := groups.get((pending, name, engine), []):
                    out.append(f"| {name} | {engine} | {' | '.join(_cells(runs, marks))} | {len(runs)} |")
    return "\n".join([*out, "", *(f"- {engine}: {text}" for engine, text in sorted(sources))])


def _cells(runs: list[list[float]], marks: list[int]) -> list[str]:
    """Return the medians at the marks, and the worst regret at the last mark that every run reached."""
    known = [[run[mark - 1] for run in runs if len(run) >= mark] for mark in marks]
    worst = max(run[min(map(len, runs)) - 1] for run in runs)
    return [*(interval(values) if values else "-" for values in known), f"{worst:.3g}"]


def main() -> None:
    """Run the engines and problems of the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", nargs="+", default=[*EARLIER, *HELD_OUT], choices=list(PROBLEMS))
    parser.add_argument("--engines", nargs="*", default=DEFAULT_ENGINES, choices=list(ENGINES))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--evaluations", type=int, default=50)
    parser.add_argument(
        "--pending", type=int, nargs="+", default=[0, 3], help="numbers of trials that run at each suggestion"
    )
    parser.add_argument("--quick", action="store_true", help="three problems, three seeds, 25 evaluations")
    parser.add_argument("--results", type=Path, default=Path("output/bench/search.jsonl"))
    arguments = parser.parse_args()
    if arguments.quick:
        parser.set_defaults(**QUICK)
        arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    fill(arguments)
    print(report(arguments.results))


if __name__ == "__main__":
    main()
