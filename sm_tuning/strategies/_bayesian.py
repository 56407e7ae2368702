"""Bayesian search: a Gaussian process over the trials so far, and expected improvement."""

from __future__ import annotations

import functools
import threading
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from sm_tuning.strategies._acquisition import Effort, Maximiser
from sm_tuning.strategies._gp import Hyperparameters
from sm_tuning.strategies._observations import Array, Encoder, Observations, spread_of, standardise
from sm_tuning.strategies._simple import Seen, draw_new
from sm_tuning.strategies._space import Point, Space
from sm_tuning.strategies._strategy import NeverStops, ParentTrials, Trial, entropy
from sm_tuning.strategies._surrogate import FEWEST, Evidence, Transfer

_MOST_INHERITED = 200
_PROBE_EVERY = 5
#: A limit of threads holds for the whole process, and its end restores what it found: only one suggestion may use it at
#: once.
_one_at_a_time = threading.Lock()


@functools.cache
def _libraries() -> ThreadpoolController:
    """Return the libraries of linear algebra, which are loaded by now; to find them takes milliseconds each time."""
    return ThreadpoolController()


class BayesianSearch(NeverStops):
    """Suggests the point where the model expects the largest improvement.

    The first points fill the space evenly, unless trials of parents do. Pending trials are imagined to end as the model
    predicts, so that parallel suggestions stay apart. A failed trial counts as one of the worst, since otherwise its
    neighbours would be suggested again. A trial that was stopped early counts with its last value.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        maximize: bool,
        parents: Sequence[ParentTrials] = (),
        effort: Effort | None = None,
    ) -> None:
        self._space = space
        self._seed = seed
        self._sign = -1.0 if maximize else 1.0
        self._encoder = Encoder(space)
        self._effort = effort or Effort()
        self._initial = min(max(4, len(space.dimensions) + 1), 8)
        same = [t for parent in parents if not parent.transfer for t in parent.trials]
        known = {point for point in space.seen(t.hyperparameters for t in same) if self._encoder.holds(point)}
        self._seen = Seen(space, known)
        self._inherited = self._encoder.inherit(same, self._sign).thinned(_MOST_INHERITED)
        others = [self._encoder.inherit(parent.trials, self._sign) for parent in parents if parent.transfer]
        self._transfer = Transfer(self._encoder, [other for other in others if len(other) >= FEWEST])
        self._fit: tuple[tuple[bytes, bytes], Hyperparameters] | None = None

    def ask(self, trials: Sequence[Trial]) -> Mapping[str, str]:
        """Return the next point; a point repeats only if a countable space is used up."""
        return self.suggest(trials, trials)

    def suggest(self, trials: Sequence[Trial], modelled: Sequence[Trial]) -> Mapping[str, str]:
        """Return the next point.

        Args:
            trials: all trials so far, none of which is repeated.
            modelled: the trials that the model learns from.
        """
        n = len(trials)
        seen = self._seen.of(trials)
        size = self._space.size()
        # Without a free point there is nothing to model.
        if size is not None and len(seen) >= size:
            return self._space.answer(draw_new(self._space, seen, self._seed, n))
        with _one_at_a_time, _libraries().limit(limits=1):  # matrices are small: threads would wait for each other
            return self._space.answer(self._suggest(n, self._encoder.observe(modelled, self._sign), seen))

    def _suggest(self, n: int, own: Observations, seen: Collection[Point]) -> Point:
        # A child that only followed its parents would never learn that their data mislead: some asks ignore them.
        probes = n % _PROBE_EVERY == _PROBE_EVERY - 1 and n < _PROBE_EVERY * self._initial and bool(self._transfer)
        chosen = spread_of(own.costs, self._effort.modelled)
        modelled = Observations(own.rows[chosen], own.costs[chosen], own.pending)
        rows = np.concatenate([modelled.rows, self._inherited.rows])
        costs = standardise(np.concatenate([own.costs, self._inherited.costs]))
        costs = np.concatenate([costs[chosen], costs[len(own) :]])
        inside = self._encoder.inside(rows)
        alone = Evidence(rows, costs, self._encoder.categorical, inside, fitted=self._fitted(own))
        joint = None
        if self._transfer:
            joint = self._transfer.evidence(modelled, alone if len(own) >= FEWEST else None)
        if joint is not None and not probes:
            openings = [self._encoder.decode(row) for row in self._transfer.openings()]
            if n < len(openings) and openings[n] not in seen:
                return openings[n]
            return self._improving(n, joint, own, seen)
        place = n // _PROBE_EVERY if probes else n
        inherited = int(self._encoder.inside(self._inherited.rows).sum())
        if place + inherited < self._initial or len(rows) < 2:
            return self._filling(n, place, seen)
        return self._improving(n, alone, own, seen)

    def _fitted(self, own: Observations) -> Hyperparameters | None:
        """Return hyperparameters fitted to most of the trials: a fit costs as much as all else, and changes little.

        They depend on the trials alone, so that a new instance continues with the same ones.
        """
        count = _refitted_at(len(own))
        rows = np.concatenate([own.rows[:count], self._inherited.rows])
        costs = np.concatenate([own.costs[:count], self._inherited.costs])
        if len(rows) < 2:
            return None
        key = (rows.tobytes(), costs.tobytes())
        if self._fit is None or self._fit[0] != key:
            evidence = Evidence(rows, standardise(costs), self._encoder.categorical, np.ones(len(rows), dtype=bool))
            self._fit = key, evidence.hyperparameters
        return self._fit[1]

    def _filling(self, n: int, place: int, seen: Collection[Point]) -> Point:
        """Return a point of a design that fills the space, or a random one if that point was tried."""
        if place < self._initial:
            rng = np.random.default_rng(entropy(self._seed, 0, "design"))
            design = self._encoder.snap(latin_hypercube(self._initial, len(self._space.dimensions), rng))
            point = self._encoder.decode(design[place])
            if point not in seen:
                return point
        return draw_new(self._space, seen, self._seed, n)

    def _improving(self, n: int, evidence: Evidence, own: Observations, seen: Collection[Point]) -> Point:
        """Return the point of largest expected improvement."""
        rng = np.random.default_rng(entropy(self._seed, n, "acquisition"))
        belief = evidence.believe(own.pending, self._effort.fantasies, rng)
        rows, costs = evidence.rows[evidence.eligible], evidence.costs[evidence.eligible]
        incumbents = rows[np.argsort(costs, kind="stable")[: self._effort.incumbents], : len(self._space.dimensions)]
        # Every second ask leaves out the neighbourhoods with most trials. Otherwise a search that found a local optimum
        # would refine it for good: the improvement left there is tiny, but larger than what a confident model expects
        # elsewhere.
        avoid = np.concatenate([own.rows, own.pending]) if n % 2 == 0 else None
        for row in Maximiser(belief, len(evidence.rows), self._encoder, rng, self._effort).run(incumbents, avoid):
            point = self._encoder.decode(row)
            if point not in seen:
                return point
        return draw_new(self._space, seen, self._seed, n)


def _refitted_at(count: int) -> int:
    """Return to how many of ``count`` trials the model is fitted: 1, 2, … 20, 22, … 30, 33 and so on."""
    fitted = min(count, 1)
    while (following := fitted + max(1, fitted // 10)) <= count:
        fitted = following
    return fitted


def latin_hypercube(count: int, dimensions: int, rng: np.random.Generator, tries: int = 64) -> Array:
    """Return ``count`` rows on the unit box, one in each of ``count`` slices of each dimension, far from each other.

    Of ``tries`` random designs, the one with the largest smallest distance.
    """
    best: Array = np.empty((count, dimensions))
    widest = -1.0
    for _ in range(tries):
        slices = rng.permuted(np.tile(np.arange(count), (dimensions, 1)), axis=1).T
        rows = (slices + rng.random((count, dimensions))) / count
        gaps = np.abs(rows[:, None] - rows[None]).sum(axis=2)
        gaps.flat[:: count + 1] = np.inf
        if gaps.min() > widest:
            best, widest = rows, float(gaps.min())
    return best
