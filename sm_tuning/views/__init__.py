"""Plots of tuning jobs, a report in one HTML file, and a live display.

``plot``, ``compare``, ``report`` and ``watch`` read from SageMaker. The functions named after a plot draw frames that
were read before, and make no API call.

Every name is imported on first use: pandas and plotly take seconds to load.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sm_tuning.views._about import About, Range, about
    from sm_tuning.views._compare import compare
    from sm_tuning.views._history import HistoryInfo, history_info
    from sm_tuning.views._kinds import (
        KINDS,
        contour,
        correlation,
        cost,
        curves,
        edf,
        history,
        importance,
        parallel_coordinates,
        plot,
        slices,
        timeline,
        train_validation,
        utilization,
    )
    from sm_tuning.views._report import report
    from sm_tuning.views._save import save
    from sm_tuning.views._theme import Figure, Theme
    from sm_tuning.views._watching import watch

__all__ = [
    "KINDS",
    "About",
    "Figure",
    "HistoryInfo",
    "Range",
    "Theme",
    "about",
    "compare",
    "contour",
    "correlation",
    "cost",
    "curves",
    "edf",
    "history",
    "history_info",
    "importance",
    "parallel_coordinates",
    "plot",
    "report",
    "save",
    "slices",
    "timeline",
    "train_validation",
    "utilization",
    "watch",
]

#: Every public name, by the module that defines it.
_MODULES = {
    "_about": ("About", "Range", "about"),
    "_compare": ("compare",),
    "_history": ("HistoryInfo", "history_info"),
    "_kinds": (
        "KINDS",
        "contour",
        "correlation",
        "cost",
        "curves",
        "edf",
        "history",
        "importance",
        "parallel_coordinates",
        "plot",
        "slices",
        "timeline",
        "train_validation",
        "utilization",
    ),
    "_report": ("report",),
    "_save": ("save",),
    "_theme": ("Figure", "Theme"),
    "_watching": ("watch",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
