"""Whether a finished tuning job is good enough: requirements on its best trial, its cost and its failures.

Every name is imported on first use, so that importing the package stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sm_tuning.gate._facts import Facts, facts
    from sm_tuning.gate._judge import Check, Tolerance, Verdict, judge
    from sm_tuning.gate._markdown import markdown
    from sm_tuning.gate._require import Requirement

__all__ = ["Check", "Facts", "Requirement", "Tolerance", "Verdict", "facts", "judge", "markdown"]

_MODULES = {
    "_facts": ("Facts", "facts"),
    "_judge": ("Check", "Tolerance", "Verdict", "judge"),
    "_markdown": ("markdown",),
    "_require": ("Requirement",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
