"""Looking at tuning jobs: plots, and a report in one file.

Each plot is two functions: ``…_info`` computes what is to be seen from frames, and ``draw_…`` makes a plotly figure of
it. The functions with plain names do both. Plotly is imported when something is drawn.
"""

from sm_tuning.views._about import About, Range, about
from sm_tuning.views._compare import compare
from sm_tuning.views._curves import (
    CurvesInfo,
    TrainValidationInfo,
    curves_info,
    draw_curves,
    draw_train_validation,
    train_validation_info,
)
from sm_tuning.views._history import EdfInfo, HistoryInfo, draw_edf, draw_history, edf_info, history_info
from sm_tuning.views._importance import (
    CorrelationInfo,
    ImportanceInfo,
    correlation_info,
    draw_correlation,
    draw_importance,
    importance_info,
)
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
from sm_tuning.views._machines import (
    CostInfo,
    UtilizationInfo,
    cost_info,
    draw_cost,
    draw_utilization,
    utilization_info,
)
from sm_tuning.views._parallel import ParallelInfo, draw_parallel, parallel_info
from sm_tuning.views._report import report
from sm_tuning.views._save import save
from sm_tuning.views._slice import ContourInfo, SliceInfo, contour_info, draw_contour, draw_slice, slice_info
from sm_tuning.views._theme import Figure, Theme, themed
from sm_tuning.views._timeline import TimelineInfo, draw_timeline, timeline_info
from sm_tuning.views._watch import WatchInfo, WatchTrial, draw_watch, sparkline, watch_html, watch_info, watch_text
from sm_tuning.views._watching import watch

__all__ = [
    "KINDS",
    "About",
    "ContourInfo",
    "CorrelationInfo",
    "CostInfo",
    "CurvesInfo",
    "EdfInfo",
    "Figure",
    "HistoryInfo",
    "ImportanceInfo",
    "ParallelInfo",
    "Range",
    "SliceInfo",
    "Theme",
    "TimelineInfo",
    "TrainValidationInfo",
    "UtilizationInfo",
    "WatchInfo",
    "WatchTrial",
    "about",
    "compare",
    "contour",
    "contour_info",
    "correlation",
    "correlation_info",
    "cost",
    "cost_info",
    "curves",
    "curves_info",
    "draw_contour",
    "draw_correlation",
    "draw_cost",
    "draw_curves",
    "draw_edf",
    "draw_history",
    "draw_importance",
    "draw_parallel",
    "draw_slice",
    "draw_timeline",
    "draw_train_validation",
    "draw_utilization",
    "draw_watch",
    "edf",
    "edf_info",
    "history",
    "history_info",
    "importance",
    "importance_info",
    "parallel_coordinates",
    "parallel_info",
    "plot",
    "report",
    "save",
    "slice_info",
    "slices",
    "sparkline",
    "themed",
    "timeline",
    "timeline_info",
    "train_validation",
    "train_validation_info",
    "utilization",
    "utilization_info",
    "watch",
    "watch_html",
    "watch_info",
    "watch_text",
]
