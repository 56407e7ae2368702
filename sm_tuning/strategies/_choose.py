"""Which of several training job definitions gets the next trial.

The Developer Guide (multiple-algorithm-hpo) says that definitions share the budget, and not how. Here: Random,
Grid and Hyperband take turns, so that what they try depends on their seed alone. Bayesian takes turns until
each definition has had three trials; from then on, three trials of four go to the definition with the best
objective so far, and the fourth to the one that had the fewest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

TURNS_FIRST = 3
SHARE_OF_THE_BEST = 0.75


@dataclass(frozen=True)
class Record:
    """What is known of one definition: its number of trials so far, and their best objective, if any."""

    trials: int
    best: float | None


def record_of(values: Sequence[float | None], *, maximize: bool) -> Record:
    """Return the record of a definition from the objectives of its trials, None where there is none yet."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    best = (max if maximize else min)(known, default=None)
    return Record(len(values), best)


def turn_order(records: Mapping[str, Record], *, seed: int, maximize: bool, learns: bool) -> list[str]:
    """Return the definitions in the order in which they are to be asked for the next trial.

    Args:
        records: of each definition, in the order of the request, by its name.
        seed: of the tuning job; with the number of trials so far it decides between the best and the rarest.
        maximize: whether a higher objective is better.
        learns: whether the strategy uses results, so that the choice of the definition may as well.
    """
    rarest = sorted(records, key=lambda name: records[name].trials)
    trials = sum(record.trials for record in records.values())
    if not learns or records[rarest[0]].trials < TURNS_FIRST:
        return rarest
    if Random(f"{seed}/{trials}/definition").random() >= SHARE_OF_THE_BEST:  # noqa: S311 - a search, no secret
        return rarest

    def worst_last(name: str) -> float:
        best = records[name].best
        return math.inf if best is None else (-best if maximize else best)

    return sorted(rarest, key=worst_last)
