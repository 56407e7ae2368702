"""Bayesian search: a Gaussian process over the trials so far, and expected improvement."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from sm_tuning.strategies._acquisition import Array, Search, maximise
from sm_tuning.strategies._encoder import Encoder
from sm_tuning.strategies._observations import Observations, inherit, inside, observe
from sm_tuning.strategies._outputs import standardise
from sm_tuning.strategies._parents import ParentTrials
from sm_tuning.strategies._random import draw_new
from sm_tuning.strategies._space import Point, Space
from sm_tuning.strategies._strategy import NeverStops, Trial, entropy
from sm_tuning.strategies._surrogate import Evidence
from sm_tuning.strategies._transfer import FEWEST, Transfer

_MOST_INHERITED = 200
_PROBE_EVERY = 5
_one_at_a_time = threading.Lock()  # threadpool_limits sets the whole process, and restores what it found


class BayesianSearch(NeverStops):
    """Suggests where the model expects the largest improvement.

    The first points fill the space evenly, unless parents' trials do. Pending trials are imagined to end as the model
    thinks they may, so that parallel suggestions stay apart. A trial that failed counts as one of the
    worst: that it fails is knowledge, and forgetting it would suggest its neighbours again. A trial stopped
    early counts with its last value.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        maximize: bool,
        parents: Sequence[ParentTrials] = (),
        search: Search | None = None,
    ) -> None:
        self._space = space
        self._seed = seed
        self._sign = -1.0 if maximize else 1.0
        self._encoder = Encoder(space)
        self._search = search or Search()
        same = [t for parent in parents if not parent.transfer for t in parent.trials]
        self._known = {point for point in space.seen(t.hyperparameters for t in same) if self._encoder.holds(point)}
        self._inherited = inherit(self._encoder, same, self._sign).thinned(_MOST_INHERITED)
        others = [inherit(self._encoder, parent.trials, self._sign) for parent in parents if parent.transfer]
        self._transfer = Transfer(self._encoder, [other for other in others if len(other) >= FEWEST])

    def ask(self, trials: Sequence[Trial]) -> Mapping[str, str]:
        """The next point; repeats one only when a countable space is used up."""
        n = len(trials)
        seen = self._space.seen(trial.hyperparameters for trial in trials) | self._known
        size = self._space.size()
        own = observe(self._encoder, trials, self._sign)
        if size is not None and len(seen) >= size:
            return self._space.answer(draw_new(self._space, seen, self._seed, n))
        with _one_at_a_time, threadpool_limits(limits=1):  # small matrices: more threads only wait for one another
            alone = self._evidence(own)
            heard = self._transfer.evidence(own, alone if len(own) >= FEWEST else None) if self._transfer else None
            if heard is None or self._probes(n):
                point = self._cold(n, own, alone, seen)
            else:
                point = self._warm(n, own, heard, seen)
        return self._space.answer(point)

    @property
    def _initial(self) -> int:
        return min(max(4, len(self._space.dimensions) + 1), 8)

    def _probes(self, n: int) -> bool:
        """Whether the n-th ask is not left to parents on other data.

        A child that only went where they point would never learn that they are wrong.
        """
        return n % _PROBE_EVERY == _PROBE_EVERY - 1 and n < _PROBE_EVERY * self._initial and bool(self._transfer)

    def _filling(self, n: int, place: int, seen: set[Point]) -> Point:
        """The point at that place of a design that fills the space, or a random one where that point is taken."""
        if place < self._initial:
            rng = np.random.default_rng(entropy(self._seed, 0, "design"))
            design = self._encoder.snap(latin_hypercube(self._initial, len(self._space.dimensions), rng))
            point = self._encoder.decode(design[place])
            if point not in seen:
                return point
        return draw_new(self._space, seen, self._seed, n)

    def _cold(self, n: int, own: Observations, alone: Evidence, seen: set[Point]) -> Point:
        """The next point as far as this job and its parents on the same data tell."""
        near = inside(self._encoder, self._inherited.rows)
        place = n // _PROBE_EVERY if self._probes(n) else n
        if place + int(near.sum()) < self._initial or len(own) + len(near) < 2:
            return self._filling(n, place, seen)
        return self._improving(n, alone, own, seen)

    def _evidence(self, own: Observations) -> Evidence:
        rows = np.concatenate([own.rows, self._inherited.rows])
        costs = standardise(np.concatenate([own.costs, self._inherited.costs]))
        return Evidence(rows, costs, self._encoder.categorical, inside(self._encoder, rows))

    def _warm(self, n: int, own: Observations, heard: Evidence, seen: set[Point]) -> Point:
        """The next point with the parents on other data heard: first each one's best, then as the model says."""
        openings = [self._encoder.decode(row) for row in self._transfer.openings()]
        if n < len(openings) and openings[n] not in seen:
            return openings[n]
        return self._improving(n, heard, own, seen)

    def _improving(self, n: int, evidence: Evidence, own: Observations, seen: set[Point]) -> Point:
        """The point of largest expected improvement; every second time, away from where most trials are.

        Without that care a search that has found one local optimum polishes it for good: the improvement
        left there is tiny, yet larger than what a confident model expects of the rest of the box.
        """
        rng = np.random.default_rng(entropy(self._seed, n, "acquisition"))
        belief = evidence.believe(own.pending, self._search.fantasies, rng)
        rows, costs = evidence.rows[evidence.eligible], evidence.costs[evidence.eligible]
        top = rows[np.argsort(costs, kind="stable")[: self._search.incumbents], : len(self._space.dimensions)]
        asked = np.concatenate([own.rows, own.pending]) if n % 2 == 0 else None
        for row in maximise(belief, self._encoder, top, asked, rng, self._search):
            point = self._encoder.decode(row)
            if point not in seen:
                return point
        return draw_new(self._space, seen, self._seed, n)


def latin_hypercube(count: int, dimensions: int, rng: np.random.Generator, tries: int = 64) -> Array:
    """``count`` rows on the unit box, one in each of ``count`` slices of each dimension, far from one another.

    The design of the largest smallest distance among so many tries.
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
