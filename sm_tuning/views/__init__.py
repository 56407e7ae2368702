"""Plots of tuning jobs, a report in one HTML file, and a live display.

``plot``, ``compare``, ``report`` and ``watch`` read from SageMaker. The functions named after a plot draw frames that
were read before, and make no API call.

Every name is imported on first use: pandas and plotly take seconds to load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sm_tuning._lazy import lazy_names

if TYPE_CHECKING:
    from sm_tuning.views._figure import Figure, Theme, save
    from sm_tuning.views._fleet import fleet_report
    from sm_tuning.views._history import HistoryInfo, history_info
    from sm_tuning.views._plots import (
        KINDS,
        compare,
        contour,
        correlation,
        cost,
        curves,
        edf,
        front,
        history,
        hypervolume,
        importance,
        lineage,
        parallel_coordinates,
        plot,
        schedule,
        slices,
        timeline,
        train_validation,
        utilization,
    )
    from sm_tuning.views._report import report
    from sm_tuning.views._trials import About, about
    from sm_tuning.views._watch import watch, watching
else:
    _HOMES = {
        "._figure": ("Figure", "Theme", "save"),
        "._fleet": ("fleet_report",),
        "._history": ("HistoryInfo", "history_info"),
        "._plots": (
            "KINDS",
            "compare",
            "contour",
            "correlation",
            "cost",
            "curves",
            "edf",
            "front",
            "history",
            "hypervolume",
            "importance",
            "lineage",
            "parallel_coordinates",
            "plot",
            "schedule",
            "slices",
            "timeline",
            "train_validation",
            "utilization",
        ),
        "._report": ("report",),
        "._trials": ("About", "about"),
        "._watch": ("watch", "watching"),
    }
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = [
    "KINDS",
    "About",
    "Figure",
    "HistoryInfo",
    "Theme",
    "about",
    "compare",
    "contour",
    "correlation",
    "cost",
    "curves",
    "edf",
    "fleet_report",
    "front",
    "history",
    "history_info",
    "hypervolume",
    "importance",
    "lineage",
    "parallel_coordinates",
    "plot",
    "report",
    "save",
    "schedule",
    "slices",
    "timeline",
    "train_validation",
    "utilization",
    "watch",
    "watching",
]
