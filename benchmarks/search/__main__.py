"""Search quality of our strategies beside Optuna's TPE and random: ``python -m benchmarks.search --help``.

Prints the median simple regret after some evaluations, over seeds, and the time for one suggestion.
"""

import argparse
import statistics
import time
from collections.abc import Callable

from benchmarks.search.problems import Problem, problems
from sm_tuning.local._types import Trial
from sm_tuning.local.strategies import Categorical, Integer, make


def ours(problem: Problem, strategy: str, seed: int, budget: int, pending: int) -> tuple[list[float], list[float]]:
    """Costs in order of their end, and seconds an ask, with so many trials under way besides the one asked."""
    chooser = make(strategy, problem.space, seed=seed, maximize=False)
    trials: list[Trial] = []
    costs: list[float] = []
    seconds: list[float] = []
    while len(costs) < budget:
        while sum(not t.finished for t in trials) <= pending:
            begin = time.perf_counter()
            h = chooser.ask(trials)
            seconds.append(time.perf_counter() - begin)
            trials.append(Trial(len(trials) + 1, h, value=None, failed=False, curve=(), finished=False))
        position = next(i for i, t in enumerate(trials) if not t.finished)
        t = trials[position]
        cost = problem.cost(t.hyperparameters)
        trials[position] = Trial(t.index, t.hyperparameters, value=cost, failed=False, curve=(cost,), finished=True)
        costs.append(cost)
    return costs, seconds


def tpe(problem: Problem, _: str, seed: int, budget: int, pending: int) -> tuple[list[float], list[float]]:
    """Optuna's TPESampler with the defaults of its version 5."""
    import optuna  # noqa: PLC0415 - only this engine needs it

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True))
    costs: list[float] = []
    seconds: list[float] = []
    running: list = []
    while len(costs) < budget:
        while len(running) <= pending:
            begin = time.perf_counter()
            trial = study.ask()
            h = {d.name: _suggest(trial, d) for d in problem.space.dimensions}
            seconds.append(time.perf_counter() - begin)
            running.append((trial, h))
        trial, h = running.pop(0)
        cost = problem.cost(h)
        study.tell(trial, cost)
        costs.append(cost)
    return costs, seconds


def _suggest(trial, d) -> str:
    if isinstance(d, Categorical):
        return trial.suggest_categorical(d.name, d.values)
    log = d.scaling == "Logarithmic"
    if isinstance(d, Integer):
        return str(trial.suggest_int(d.name, d.low, d.high, log=log))
    if d.scaling == "ReverseLogarithmic":
        return repr(1 - trial.suggest_float(d.name, 1 - d.high, 1 - d.low, log=True))
    return repr(trial.suggest_float(d.name, d.low, d.high, log=log))


ENGINES: dict[str, Callable] = {"Bayesian": ours, "Random": ours, "TPE": tpe}


def main() -> None:
    """Run what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", nargs="+", default=["branin", "hartmann6", "mixed"])
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--evaluations", type=int, default=50)
    parser.add_argument("--pending", type=int, default=0, help="trials under way besides the one asked for")
    arguments = parser.parse_args()
    marks = [m for m in (20, 50, 100, 200) if m <= arguments.evaluations]
    every = problems()
    for name in arguments.problems:
        for engine in arguments.engines:
            regrets: dict[int, list[float]] = {m: [] for m in marks}
            asks: list[float] = []
            for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
                costs, seconds = ENGINES[engine](every[name], engine, seed, arguments.evaluations, arguments.pending)
                asks += seconds
                for m in marks:
                    regrets[m].append(min(costs[:m]) - every[name].optimum)
            words = "  ".join(f"{m}: {statistics.median(regrets[m]):.3g} (max {max(regrets[m]):.2g})" for m in marks)
            print(
                f"{name:10} {engine:9} pending={arguments.pending} n={arguments.seeds}  {words}"
                f"  ask {1e3 * statistics.median(asks):.0f} ms, longest {1e3 * max(asks):.0f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main()
