"""Strategies without a model: random, grid and Hyperband; the median rule of early stopping; ``make``."""

from __future__ import annotations

import math
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import compress
from operator import is_not
from random import Random
from statistics import fmean
from types import MappingProxyType
from typing import Any

from sm_tuning._wire import CONTINUING, HYPERBANDS, MOST_RESOURCE, max_resource
from sm_tuning.strategies._space import Categorical, Point, Space
from sm_tuning.strategies._strategy import NeverStops, ParentTrials, Strategy, Trial, entropy

STRATEGIES = ("Bayesian", "Random", "Grid", *HYPERBANDS)

_REDRAWS = 64
_REDUCTION_FACTOR = 3
_DEFAULT_MIN_RESOURCE = 1
#: Trials that always pass a rung, however few have reached it: the best of two or three says little.
_ALWAYS_PASS = 2
GRACE_EPOCHS = 1
_GRACE_TRIALS = 5
_NO_CONFIG: Mapping[str, Any] = MappingProxyType({})


class Seen:
    """The points of a tuning job's trials. Points are added, not collected anew, when only trials were added.

    Args:
        space: the search space.
        known: points that count as seen from the start.
    """

    def __init__(self, space: Space, known: Iterable[Point] = ()) -> None:
        self._space = space
        self._known = dict.fromkeys(known, 0)
        self._given: Sequence[Trial] = ()
        self._first = dict(self._known)
        self._lock = threading.Lock()

    def of(self, trials: Sequence[Trial]) -> SeenPoints:
        """Return the points of the trials and the known ones; safe to call from several threads."""
        given = tuple(trials)
        with self._lock:
            before = len(self._given)
            # Most trials are the very objects of the last call; the others have other states or values.
            others = compress(zip(given, self._given, strict=False), map(is_not, given, self._given))
            if len(given) < before or any(now.hyperparameters != last.hyperparameters for now, last in others):
                # A new dict: another thread may still look into the one before.
                before, self._first = 0, dict(self._known)
            for number, trial in enumerate(given[before:], start=before + 1):
                point = self._space.point_of(trial.hyperparameters)
                if point is not None:
                    self._first.setdefault(point, number)
            self._given = given
            return SeenPoints(self._first, len(given))


class SeenPoints(Collection[Point]):
    """The points of the first trials of a tuning job, without a copy of all points.

    Args:
        first: the number of the first trial of each point; 0 for points that are known from the start. Points of later
            trials may be added at any time.
        count: the number of trials.
    """

    def __init__(self, first: Mapping[Point, int], count: int) -> None:
        self._first = first
        self._count = count

    def extends(self, other: SeenPoints) -> bool:
        """Return whether these are the points of the same trials and further ones, so that every point is kept."""
        return self._first is other._first and self._count >= other._count

    def __contains__(self, point: object) -> bool:
        return self._first.get(point, self._count + 1) <= self._count  # type: ignore[call-overload, no-any-return]

    def __iter__(self) -> Iterator[Point]:
        return (point for point, number in list(self._first.items()) if number <= self._count)

    def __len__(self) -> int:
        return sum(number <= self._count for number in list(self._first.values()))


class RandomSearch(NeverStops):
    """Independent draws, uniform on the scale of each dimension, without repetition where that is possible.

    Points that a parent with the same data and algorithm has tried are not tried again. The values of parents have no
    influence.
    """

    def __init__(self, space: Space, *, seed: int, parents: Sequence[ParentTrials] = ()) -> None:
        self._space = space
        self._seed = seed
        known = space.seen(t.hyperparameters for parent in parents if not parent.transfer for t in parent.trials)
        self._seen = Seen(space, known)

    def ask(self, trials: Sequence[Trial]) -> Mapping[str, str]:
        """Return draw number ``len(trials)``; a point repeats only if a countable space is used up."""
        return self._space.answer(draw_new(self._space, self._seen.of(trials), self._seed, len(trials)))


def draw_new(space: Space, seen: Collection[Point], seed: int, n: int) -> Point:
    """Return a random point that is not in ``seen``, or any point if all are."""
    random = Random(entropy(seed, n, "draw"))  # noqa: S311 - a search, no secret
    point = space.draw(random)
    # Redrawing keeps the distribution uniform; only in a nearly used-up space is a free point searched for.
    for _ in range(_REDRAWS):
        if point not in seen:
            return point
        point = space.draw(random)
    other = space.unseen(seen, random) if space.size() is not None else None
    return point if other is None else other


class GridSearch(NeverStops):
    """All combinations, each once, in the order in which the request lists the values.

    The service accepts only categorical ranges for a grid and leaves the order open [Developer Guide,
    automatic-model-tuning-how-it-works].
    """

    def __init__(self, space: Space) -> None:
        others = [d.name for d in space.dimensions if not isinstance(d, Categorical)]
        if others:
            raise ValueError(f"the Grid strategy takes categorical ranges only, but {others} are numeric")
        self._space = space
        self._seen = Seen(space)
        self._tried: tuple[SeenPoints, int] | None = None  # points, among them all combinations up to this one

    def ask(self, trials: Sequence[Trial]) -> Mapping[str, str] | None:
        """Return the first combination without a trial; None if all combinations have one."""
        seen, size, tried = self._seen.of(trials), self._space.size() or 0, self._tried
        index = tried[1] if tried is not None and seen.extends(tried[0]) else 0
        while index < size and self._space.point_at(index) in seen:
            index += 1
        self._tried = seen, index
        return self._space.answer(self._space.point_at(index)) if index < size else None


class HyperbandSearch(RandomSearch):
    """Random configurations; a trial that is not in the best third at a rung is stopped.

    Asynchronous successive halving [Li et al., "A system for massively parallel hyperparameter tuning", MLSys 2020], in
    the form that stops trials and pauses none, as the service does. The resource is the number of values of the
    objective. A trial is judged at ``min_resource`` times 1, 3, 9, ... and ends at ``max_resource``
    [HyperbandStrategyConfig of the API]. The service documents neither the reduction factor nor the brackets nor the
    rule for rungs that few trials have reached; those are choices made here.

    The configurations are those of ``RandomSearch`` with the same seed. Which of them are stopped depends on the order
    in which values arrive, since a trial is compared with those that have reached its rung by then.
    """

    def __init__(self, space: Space, *, seed: int, maximize: bool, max_resource: int, min_resource: int) -> None:
        super().__init__(space, seed=seed)
        if not 1 <= min_resource <= max_resource:
            raise ValueError(
                f"Hyperband needs 1 <= MinResource <= MaxResource, got MinResource {min_resource} and "
                f"MaxResource {max_resource}"
            )
        self._sign = -1.0 if maximize else 1.0
        self._max_resource = max_resource
        rungs: list[int] = []
        while min_resource < max_resource:
            rungs.append(min_resource)
            min_resource *= _REDUCTION_FACTOR
        #: The numbers of values after which a trial is judged, ascending.
        self.rungs: tuple[int, ...] = tuple(rungs)

    def judges_at(self, reached: int) -> bool:
        """Return whether a trial's value of this number may change what ``should_stop`` returns for any trial."""
        return reached in self.rungs or reached >= self._max_resource

    def should_stop(self, trial: Trial, trials: Sequence[Trial]) -> bool:
        """Return whether a running trial has used its resource, or is not among the best at its last rung.

        The best third at a rung passes, rounded up, and the best two in any case. A trial with the same value as the
        last that passes also passes; NaN never does.

        Args:
            trial: the running trial.
            trials: all trials of the tuning job, ended ones too; ``trial`` may be among them.
        """
        reached = len(trial.curve)
        if reached >= self._max_resource:
            return True
        # The last rung stays in force until the next one. An early trial that passed without company is stopped when
        # enough others do better there, and a rung that a restart or a burst of values skipped is still judged.
        rung = max((rung for rung in self.rungs if rung <= reached), default=None)
        if rung is None:
            return False
        own = self._sign * trial.curve[rung - 1]
        if math.isnan(own):
            return True
        others = [self._sign * t.curve[rung - 1] for t in trials if t.index != trial.index and len(t.curve) >= rung]
        better = sum(other < own for other in others)
        return better >= max(_ALWAYS_PASS, math.ceil((len(others) + 1) / _REDUCTION_FACTOR))


def hyperband_config(config: Mapping[str, Any], static: Mapping[str, str]) -> dict[str, int]:
    """Return the settings of the Hyperband strategy of a tuning job.

    Without MaxResource, a static hyperparameter that names a number of epochs takes its place [API Reference,
    HyperbandStrategyConfig].

    Args:
        config: the HyperParameterTuningJobConfig.
        static: the static hyperparameters of the definition.

    Raises:
        ValueError: the resources are missing or invalid. The message is meant for callers of the API.
    """
    given = (config.get("StrategyConfig") or {}).get("HyperbandStrategyConfig") or {}
    low, found = given.get("MinResource"), max_resource(config, static)
    if found is None:
        raise ValueError(
            "MaxResource parameter is not provided and could not be inferred from provided static hyperparameters "
            "of TrainingJobDefinition."
        )
    source, high = found
    if high > MOST_RESOURCE:
        raise ValueError(f"{source} must not exceed {MOST_RESOURCE} with Strategy Hyperband, but it is {high}.")
    if low is not None and low > high:
        raise ValueError(f"MinResource must not exceed {source}, but they are {low} and {high}.")
    return {"max_resource": high} if low is None else {"min_resource": low, "max_resource": high}


def median_stop(curve: Sequence[float], completed_curves: Sequence[Sequence[float]], maximize: bool) -> bool:
    """Return whether the median rule (``TrainingJobEarlyStoppingType`` Auto) stops a running trial now.

    A trial is stopped if its objective is worse than the median of the running averages, up to the same epoch, of the
    trials that completed [Developer Guide, automatic-model-tuning-early-stopping]. The guide does not say how many
    trials must have completed, nor from which epoch a trial is judged; the numbers here are those that authors of the
    service published [Syne Tune, MedianStoppingRule: grace_time 1, grace_population 5].

    Args:
        curve: the objective of the running trial, one value an epoch, the newest last.
        completed_curves: the same of each trial that completed.
        maximize: whether a higher objective is better.

    Returns:
        False in the first epoch, or if fewer than five completed trials have reached this epoch. NaN is worse than any
        median.
    """
    epoch = len(curve)
    if epoch <= GRACE_EPOCHS:
        return False
    averages = [_average(peer[:epoch]) for peer in completed_curves if len(peer) >= epoch]
    return judge_by_median(curve, sorted(average for average in averages if not math.isnan(average)), maximize)


def judge_by_median(curve: Sequence[float], averages: Sequence[float], maximize: bool) -> bool:
    """Return what ``median_stop`` does, given the average of each completed trial up to the epoch of the curve.

    Args:
        curve: the objective of the running trial.
        averages: ascending, without NaN.
        maximize: whether a higher objective is better.
    """
    count = len(averages)
    if len(curve) <= GRACE_EPOCHS or count < _GRACE_TRIALS:
        return False
    value = curve[-1]
    if math.isnan(value):
        return True
    low, high = averages[(count - 1) // 2], averages[count // 2]
    bar = (low + high) / 2
    if math.isinf(bar) and math.isfinite(low) and math.isfinite(high):  # the sum is beyond the largest float
        bar = low / 2 + high / 2
    return value < bar if maximize else value > bar


def _average(values: Sequence[float]) -> float:
    """Return ``statistics.fmean``, also of huge values; NaN of both infinities, which have no average."""
    try:
        return fmean(values)
    except ValueError:
        return math.nan
    except OverflowError:  # their sum is beyond the largest float, and their average is not
        return math.fsum(value / len(values) for value in values)


class PrefixMeans:
    """The averages of a curve's beginnings, each computed once: exactly those that ``median_stop`` computes."""

    def __init__(self, curve: tuple[float, ...]) -> None:
        self.curve = curve
        self._means: list[float] = []
        self._partials: list[float] = []  # their exact sum is that of the values so far

    def at(self, epoch: int) -> float:
        """Return the average of the first ``epoch`` values."""
        while len(self._means) < epoch:
            value = self.curve[len(self._means)]
            partials = _exact_sum(self._partials, value)
            if not math.isfinite(partials[-1]):
                return _average(self.curve[:epoch])
            self._partials = partials
            self._means.append(math.fsum(self._partials) / (len(self._means) + 1))
        return self._means[epoch - 1]


def _exact_sum(partials: Sequence[float], value: float) -> list[float]:
    """Add a value to a sum of floats that do not overlap, without rounding.

    The algorithm of Shewchuk, "Adaptive precision floating-point arithmetic" (1997), that ``math.fsum`` has too.
    """
    kept = []
    for partial in partials:
        large, small = (value, partial) if abs(value) >= abs(partial) else (partial, value)
        value = large + small
        if rest := small - (value - large):
            kept.append(rest)
    return [*kept, value]


def make(
    strategy: str,
    space: Space,
    *,
    seed: int,
    maximize: bool,
    config: Mapping[str, Any] = _NO_CONFIG,
    parents: Sequence[ParentTrials] = (),
    further: Sequence[bool] = (),
) -> Strategy:
    """Return the strategy with this name.

    Args:
        strategy: ``Bayesian``, ``Random``, ``Grid`` or ``Hyperband``; in a study also ``BayesianHyperband``,
            ``Promotion``, ``Population`` or ``Optuna``.
        space: the search space.
        seed: seed of the tuning job; equal seeds and equal trials give equal suggestions.
        maximize: whether a higher objective is better.
        config: ``max_resource`` and optionally ``min_resource`` for both kinds of Hyperband; the fields of
            ``PromotionConfig`` and ``max_jobs``, or those of ``PopulationConfig`` or ``OptunaConfig``; empty for the
            others.
        parents: the parents of a warm start, for Bayesian and Random.
        further: for each objective after the first, whether a higher value is better; for Random, Grid and Optuna.

    Raises:
        ValueError: the strategy is unknown, or its settings or parents are invalid.
    """
    if strategy == "Optuna":
        from sm_tuning.spec import OptunaConfig  # noqa: PLC0415 - only studies need the spec
        from sm_tuning.strategies._optuna import OptunaSearch  # noqa: PLC0415

        return OptunaSearch(space, OptunaConfig.parse(dict(config)), seed=seed, maximize=(maximize, *further))
    if further and strategy not in ("Random", "Grid"):
        raise ValueError(f"the {strategy} strategy has one objective; use Random, Grid or Optuna")
    if strategy in CONTINUING:
        return _continuing(strategy, space, seed=seed, maximize=maximize, config=config)
    if strategy not in STRATEGIES:
        raise ValueError(f"unknown strategy {strategy!r}; use one of {', '.join(STRATEGIES)}")
    if config and strategy not in HYPERBANDS:
        raise ValueError(f"the {strategy} strategy takes no StrategyConfig, got {dict(config)}")
    if parents and strategy in ("Grid", *HYPERBANDS):
        raise ValueError(f"the {strategy} strategy takes no warm start; use Bayesian or Random")
    if strategy == "Random":
        return RandomSearch(space, seed=seed, parents=parents)
    if strategy == "Grid":
        return GridSearch(space)
    if strategy == "Bayesian":
        from sm_tuning.strategies._bayesian import BayesianSearch  # noqa: PLC0415 - loads NumPy and SciPy

        return BayesianSearch(space, seed=seed, maximize=maximize, parents=parents)
    return _hyperband(strategy, space, seed=seed, maximize=maximize, config=config)


def _hyperband(strategy: str, space: Space, *, seed: int, maximize: bool, config: Mapping[str, Any]) -> HyperbandSearch:
    unknown = sorted(set(config) - {"min_resource", "max_resource"})
    if unknown:
        raise ValueError(f"{strategy} takes min_resource and max_resource, got {unknown}")
    if config.get("max_resource") is None:
        raise ValueError(f"{strategy} needs max_resource, the largest number of values of the objective for a trial")
    low, high = config.get("min_resource"), int(config["max_resource"])
    low = _DEFAULT_MIN_RESOURCE if low is None else int(low)
    if strategy == "Hyperband":
        return HyperbandSearch(space, seed=seed, maximize=maximize, max_resource=high, min_resource=low)
    from sm_tuning.strategies._bayesian_hyperband import BayesianHyperbandSearch  # noqa: PLC0415 - loads NumPy

    return BayesianHyperbandSearch(space, seed=seed, maximize=maximize, max_resource=high, min_resource=low)


def _continuing(strategy: str, space: Space, *, seed: int, maximize: bool, config: Mapping[str, Any]) -> Strategy:
    from sm_tuning.spec import PopulationConfig, PromotionConfig  # noqa: PLC0415 - only studies need the spec
    from sm_tuning.strategies._population import Population  # noqa: PLC0415
    from sm_tuning.strategies._promotion import Promotion  # noqa: PLC0415

    given = {name: value for name, value in config.items() if name != "max_jobs"}
    if strategy == "Population":
        return Population(space, PopulationConfig.parse(given), seed=seed, maximize=maximize)
    settings = PromotionConfig.parse(given)
    return Promotion(space, settings, seed=seed, maximize=maximize, max_jobs=int(config["max_jobs"]))
