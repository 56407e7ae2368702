"""What the frames of a tuning job mean: importance, correlation, diagnosis, shapes, advice, and the job to run next.

All functions are pure: they take the trials and curves frames and the ``Facts`` of the job, and return frames with
the declared columns, with rows or without. Every name is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sm_tuning._lazy import lazy_names

if TYPE_CHECKING:
    from sm_tuning.results._columns import ADVICE, CORRELATION, DIAGNOSIS, IMPORTANCE, SHAPES
    from sm_tuning.results.analysis._advice import advice
    from sm_tuning.results.analysis._diagnosis import diagnosis
    from sm_tuning.results.analysis._importance import correlation, importance, shapes
    from sm_tuning.results.analysis._next import next_tuning
    from sm_tuning.results.analysis._space import Algorithm, Facts, facts_of
else:
    _HOMES = {
        "._advice": ("advice",),
        "._diagnosis": ("diagnosis",),
        "sm_tuning.results._columns": ("ADVICE", "CORRELATION", "DIAGNOSIS", "IMPORTANCE", "SHAPES"),
        "._importance": ("correlation", "importance", "shapes"),
        "._next": ("next_tuning",),
        "._space": ("Algorithm", "Facts", "facts_of"),
    }
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = [
    "ADVICE",
    "CORRELATION",
    "DIAGNOSIS",
    "IMPORTANCE",
    "SHAPES",
    "Algorithm",
    "Facts",
    "advice",
    "correlation",
    "diagnosis",
    "facts_of",
    "importance",
    "next_tuning",
    "shapes",
]
