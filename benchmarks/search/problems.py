"""Functions with known optima, as tuning problems."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.search import boosting, held_out
from benchmarks.search.held_out import box, continuous
from sm_tuning.strategies import Space, space_of


@dataclass(frozen=True)
class Problem:
    """A cost to minimise over a space, and its lowest possible value.

    Attributes:
        name: the name on the command line.
        space: the search space.
        cost: what an engine is told; NaN for a trial that fails.
        optimum: the lowest cost, without noise; 0 for real models, whose lowest cost is unknown.
        noise: standard deviation of the noise that is added to the costs.
    """

    name: str
    space: Space
    cost: Callable[[Mapping[str, str]], float]
    optimum: float
    noise: float = 0.0

    def observed(self, h: Mapping[str, str]) -> float:
        """Return what a training job would report."""
        return self.cost(h) + (self.noise * held_out.noise(h) if self.noise else 0.0)


def branin(h: Mapping[str, str]) -> float:
    """Branin-Hoo, on its usual box."""
    x, y = float(h["x"]), float(h["y"])
    b, c, t = 5.1 / (4 * math.pi**2), 5 / math.pi, 1 / (8 * math.pi)
    return (y - b * x * x + c * x - 6) ** 2 + 10 * (1 - t) * math.cos(x) + 10


def levy5(h: Mapping[str, str]) -> float:
    """Levy's function in five dimensions, with many local optima along each."""
    w = 1 + (np.array([float(h[f"x{i}"]) for i in range(5)]) - 1) / 4
    middle = ((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2)).sum()
    last = (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2)
    return float(np.sin(np.pi * w[0]) ** 2 + middle + last)


_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
_A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann6(h: Mapping[str, str]) -> float:
    """Hartmann's function in six dimensions."""
    x = np.array([float(h[f"x{i}"]) for i in range(6)])
    return -float(_ALPHA @ np.exp(-(_A * (x - _P) ** 2).sum(1)))


_BOOSTERS = {"gbtree": 0.0, "dart": 0.05, "gblinear": 0.6}
_GROWTH = {"depthwise": 0.0, "lossguide": 0.1}


def mixed(h: Mapping[str, str]) -> float:
    """Like a boosted tree's loss: a log learning rate, a depth that interacts with it, log integers, choices."""
    eta, depth, rounds = math.log10(float(h["eta"])), int(h["depth"]), math.log10(int(h["rounds"]))
    keep = -math.log10(1 - float(h["momentum"]))
    best_eta = -1.2 - 0.08 * (depth - 6) - 0.4 * (rounds - 2)
    loss = 1.5 * (eta - best_eta) ** 2 + 0.04 * (depth - 6) ** 2 + 0.5 * (rounds - 2.3) ** 2
    loss += 0.3 * (keep - 1.2) ** 2 + _BOOSTERS[h["booster"]] + _GROWTH[h["grow_policy"]] * (depth > 4)
    return loss + (0.5 * math.exp(min(4 * (eta + 0.2), 3)) if h["booster"] != "gblinear" else 0.2)


def _ranges(continuous: list, integers: list | None = None, categories: list | None = None) -> Space:
    return space_of(
        {
            "ContinuousParameterRanges": continuous,
            "IntegerParameterRanges": integers or [],
            "CategoricalParameterRanges": categories or [],
        }
    )


def _mixed_optimum() -> float:
    """Return the lowest cost, by brute force: the first categories are best, momentum costs 0 at 1 - 10**-1.2."""
    choices = {"momentum": repr(1 - 10**-1.2), "booster": "gbtree", "grow_policy": "depthwise"}
    return min(
        mixed({"eta": repr(10**eta), "depth": str(depth), "rounds": str(rounds), **choices})
        for depth in (5, 6, 7)
        for rounds in range(150, 250, 2)
        for eta in np.linspace(-1.8, -0.9, 901).tolist()
    )


def problems(names: Sequence[str]) -> dict[str, Problem]:
    """Return the named problems."""
    return {name: PROBLEMS[name]() for name in names}


def _branin() -> Problem:
    space = _ranges([continuous("x", -5.0, 10.0), continuous("y", 0.0, 15.0)])
    return Problem("branin", space, branin, 0.39788735772973816)


def _hartmann6() -> Problem:
    return Problem("hartmann6", box(6, 0.0, 1.0), hartmann6, -3.32236801141551)


def _levy5() -> Problem:
    """Return Levy's function on a box whose centre is far from the optimum, so that a start there does not help."""
    return Problem("levy5", box(5, -4.0, 14.0), levy5, 0.0)


def _boosting() -> Problem:
    return Problem("boosting", boosting.space(), boosting.cost, boosting.optimum())


def _mixed() -> Problem:
    space = _ranges(
        [continuous("eta", 1e-4, 1.0, "Logarithmic"), continuous("momentum", 0.0, 0.999, "ReverseLogarithmic")],
        [
            {"Name": "depth", "MinValue": "2", "MaxValue": "12", "ScalingType": "Linear"},
            {"Name": "rounds", "MinValue": "10", "MaxValue": "2000", "ScalingType": "Logarithmic"},
        ],
        [
            {"Name": "booster", "Values": list(_BOOSTERS)},
            {"Name": "grow_policy", "Values": list(_GROWTH)},
        ],
    )
    return Problem("mixed", space, mixed, _mixed_optimum())


def _held_out(space: Space, cost: Callable[[Mapping[str, str]], float], optimum: float) -> Callable[[], Problem]:
    return lambda: Problem(cost.__name__, space, cost, optimum)


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "branin": _branin,
    "hartmann6": _hartmann6,
    "levy5": _levy5,
    "boosting": _boosting,
    "mixed": _mixed,
    "ackley6": _held_out(box(6, 0.0, 1.0), held_out.ackley6, 0.0),
    "rosenbrock4": _held_out(box(4, -5.0, 10.0), held_out.rosenbrock4, 0.0),
    "griewank5": _held_out(box(5, 0.0, 1.0), held_out.griewank5, 0.0),
    "michalewicz5": _held_out(box(5, 0.0, math.pi), held_out.michalewicz5, -4.687658),
    "noisy_hartmann6": lambda: Problem("noisy_hartmann6", box(6, 0.0, 1.0), hartmann6, -3.32236801141551, noise=0.3),
    "failing4": _held_out(box(4, 0.0, 1.0), held_out.failing4, 0.0),
    "active3of12": _held_out(box(12, 0.0, 1.0), held_out.active3of12, -3.8627797873327),
    "outliers4": _held_out(box(4, 0.0, 1.0), held_out.outliers4, 0.0),
    "corner6": _held_out(box(6, 0.0, 1.0), held_out.corner6, 0.0),
    "noisy_corner4": lambda: Problem("noisy_corner4", box(4, 0.0, 1.0), held_out.noisy_corner4, 0.0, noise=0.3),
    "xgboost_cancer": _held_out(space_of(held_out.XGBOOST), held_out.xgboost_cancer, 0.0),
    "svm_diabetes": _held_out(space_of(held_out.SVM), held_out.svm_diabetes, 0.0),
}
"""Factory of each problem."""

HELD_OUT = list(PROBLEMS)[5:]
"""Problems that were added after the settings of the strategies had been chosen."""
