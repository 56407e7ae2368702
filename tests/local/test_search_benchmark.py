"""The benchmark of the strategies: its problems are what their names say, and a run continues where it was left."""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from sm_tuning.strategies import make


@pytest.fixture(scope="module", autouse=True)
def folder():
    """Make the folder of the benchmarks importable."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    yield
    sys.path.pop(0)
    for name in [name for name in sys.modules if name == "benchmarks" or name.startswith("benchmarks.")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("ackley6", [0.62, 0.31, 0.74, 0.23, 0.55, 0.83]),
        ("rosenbrock4", [1.0] * 4),
        ("griewank5", [0.62, 0.31, 0.74, 0.23, 0.55]),
        ("michalewicz5", [2.202906, 1.570796, 1.284992, 1.923058, 1.720470]),
        ("failing4", [0.75, 0.3847, 0.3, 0.6]),
        ("outliers4", [0.62, 0.31, 0.74, 0.23]),
        ("corner6", [0.0, 1.0, 0.0, 1.0, 0.4, 0.7]),
        ("noisy_corner4", [0.0, 1.0, 0.0, 1.0]),
        ("active3of12", [0.5, 0.5, 0.114614, 0.5, 0.5, 0.5, 0.555649, 0.5, 0.5, 0.852547, 0.5, 0.5]),
    ],
)
def test_the_optimum_of_a_problem_is_where_it_should_be(name, place):
    from benchmarks.search.problems import problems

    problem = problems([name])[name]
    best = {f"x{i}": repr(value) for i, value in enumerate(place)}
    assert problem.cost(best) == pytest.approx(problem.optimum, abs=1e-5)
    random = make("Random", problem.space, seed=0, maximize=False)
    costs = np.array([problem.cost(random.ask([]) if i == 0 else drawn(problem, i)) for i in range(300)])
    assert np.nanmin(costs) > problem.optimum
    assert np.isnan(costs).mean() == pytest.approx(0.33 if name == "failing4" else 0.0, abs=0.08)
    assert (np.nan_to_num(costs) >= 1e3).any() == (name in ("outliers4", "rosenbrock4"))


def drawn(problem, seed):
    return make("Random", problem.space, seed=seed, maximize=False).ask([])


def test_noise_belongs_to_the_point_and_not_to_the_regret():
    from benchmarks.search.__main__ import run
    from benchmarks.search.problems import problems

    problem = problems(["noisy_hartmann6"])["noisy_hartmann6"]
    points = [drawn(problem, seed) for seed in range(200)]
    noise = [problem.observed(h) - problem.cost(h) for h in points]
    assert noise == [problem.observed(h) - problem.cost(h) for h in points]
    assert np.std(noise) == pytest.approx(0.3, rel=0.2)
    assert min(run(problem, "Random", 0, 40, 3)) >= 0.0


def test_a_run_continues_where_it_was_left_and_prints_medians_with_intervals(tmp_path):
    from benchmarks.search.__main__ import fill, report

    arguments = argparse.Namespace(
        problems=["failing4"],
        engines=["Random"],
        seeds=2,
        first_seed=0,
        evaluations=25,
        pending=[0],
        results=tmp_path / "search.jsonl",
    )
    fill(arguments)
    before = arguments.results.read_text()
    arguments.seeds = 3
    fill(arguments)
    after = arguments.results.read_text()
    assert after.startswith(before)
    assert len(after.splitlines()) == 3
    (row,) = [line for line in report(arguments.results).splitlines() if line.startswith("| failing4 | Random |")]
    assert row.endswith("| 3 |")
    assert row.count("[") == 1


def test_intervals_hold_the_median_and_bear_runs_without_a_result():
    from benchmarks.search.statistics import bounds, interval

    assert interval([1.0, 2.0, 3.0]) == "2 [1, 3]"
    assert bounds([1.0, math.inf, math.inf]) == (1.0, math.inf)
    low, high = bounds(list(np.random.default_rng(0).normal(size=400)))
    assert -0.2 < low < 0 < high < 0.2
