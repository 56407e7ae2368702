"""Random search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sm_tuning.strategies._parents import ParentTrials
from sm_tuning.strategies._space import Point, Space
from sm_tuning.strategies._strategy import NeverStops, Trial, random_of

_REDRAWS = 64


class RandomSearch(NeverStops):
    """Independent draws, uniform on each dimension's scale; no point twice while there is another.

    What a parent of the same data and algorithm has tried is not tried again either. Parents' values change nothing:
    the draws stay independent of them.
    """

    def __init__(self, space: Space, *, seed: int, parents: Sequence[ParentTrials] = ()) -> None:
        self._space = space
        self._seed = seed
        self._known = space.seen(t.hyperparameters for parent in parents if not parent.transfer for t in parent.trials)

    def ask(self, trials: Sequence[Trial]) -> Mapping[str, str]:
        """The draw of number ``len(trials)``; repeats a point only when a countable space is used up."""
        seen = self._space.seen(trial.hyperparameters for trial in trials)
        return self._space.answer(draw_new(self._space, seen | self._known, self._seed, len(trials)))


def draw_new(space: Space, seen: set[Point], seed: int, n: int) -> Point:
    """A random point that was not seen, or any where all were."""
    random = random_of(seed, n, "draw")
    point = space.draw(random)
    for _ in range(_REDRAWS):
        if point not in seen:
            return point
        point = space.draw(random)
    other = space.unseen(seen, random) if space.size() is not None else None
    return point if other is None else other
