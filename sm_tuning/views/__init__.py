"""Plots of tuning jobs, a report in one HTML file, and a live display.

``plot``, ``compare``, ``report`` and ``watch`` read from SageMaker. The functions named after a plot draw frames that
were read before, and make no API call.

Every name is imported on first use: pandas and plotly take seconds to load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sm_tuning._lazy import lazy_names

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
else:
    _HOMES = {
        "._about": ("About", "Range", "about"),
        "._compare": ("compare",),
        "._history": ("HistoryInfo", "history_info"),
        "._kinds": (
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
        "._report": ("report",),
        "._save": ("save",),
        "._theme": ("Figure", "Theme"),
        "._watching": ("watch",),
    }
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)

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
