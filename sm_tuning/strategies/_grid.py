"""Grid search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sm_tuning.strategies._space import Categorical, Space
from sm_tuning.strategies._strategy import NeverStops, Trial


class GridSearch(NeverStops):
    """Every combination once, in the order in which the request lists the values.

    The service takes categorical ranges alone for a grid, and leaves the order open (Developer Guide:
    automatic-model-tuning-how-it-works).
    """

    def __init__(self, space: Space) -> None:
        others = [d.name for d in space.dimensions if not isinstance(d, Categorical)]
        if others:
            raise ValueError(f"the Grid strategy takes categorical ranges only, but {others} are numeric")
        self._space = space

    def ask(self, trials: Sequence[Trial]) -> Mapping[str, str] | None:
        """The first combination that no trial has; ``None`` when all have run."""
        seen = self._space.seen(trial.hyperparameters for trial in trials)
        for index in range(self._space.size() or 0):
            point = self._space.point_at(index)
            if point not in seen:
                return self._space.answer(point)
        return None
