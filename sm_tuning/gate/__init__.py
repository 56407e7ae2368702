"""Whether a finished tuning job is good enough: requirements on its best trial, its cost and its failures.

Every name is imported on first use, so that importing the package stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sm_tuning._lazy import lazy_names

if TYPE_CHECKING:
    from sm_tuning.gate._facts import Facts, candidates, facts
    from sm_tuning.gate._judge import (
        UNKNOWN,
        Check,
        Requirement,
        Tolerance,
        Verdict,
        judge,
        judge_any,
        markdown,
    )
else:
    _HOMES = {
        "._facts": ("Facts", "candidates", "facts"),
        "._judge": ("UNKNOWN", "Check", "Requirement", "Tolerance", "Verdict", "judge", "judge_any", "markdown"),
    }
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = [
    "UNKNOWN",
    "Check",
    "Facts",
    "Requirement",
    "Tolerance",
    "Verdict",
    "candidates",
    "facts",
    "judge",
    "judge_any",
    "markdown",
]
