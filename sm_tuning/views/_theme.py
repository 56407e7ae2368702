"""How every figure looks, and the pieces that most of them are drawn from.

The colours are Okabe and Ito's (jfly.uni-koeln.de/color), which people with any of the common colour visions tell
apart; states differ in their symbol too. Nothing is drawn with WebGL, so that figures open everywhere and print well.
"""

from __future__ import annotations

import html
import importlib
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from sm_tuning._errors import MissingExtraError, SpecError
from sm_tuning.views._axis import Array, Axis
from sm_tuning.views._rows import STATES

#: A ``plotly.graph_objects.Figure``; plotly has no types, and is imported only when something is drawn.
Figure: TypeAlias = Any

Theme = Literal["light", "dark"]

ORANGE, SKY, GREEN, BLUE = "#E69F00", "#56B4E9", "#009E73", "#0072B2"
VERMILLION, PURPLE, YELLOW = "#D55E00", "#CC79A7", "#F0E442"

#: Readable on white and on the dark background: for lines that belong to no trial.
NEUTRAL = "#808890"

#: Colours of several jobs, in their order; they begin anew when there are more.
SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION)

#: From the best trials to the worst.
RANKED = ("#0072B2", "#3B96C8", "#8AA3B0", "#C9A35A", "#E69F00")

STATE_COLOURS = dict(zip(STATES, (BLUE, ORANGE, VERMILLION, PURPLE, SKY), strict=True))
STATE_SYMBOLS = dict(zip(STATES, ("circle", "diamond", "x", "triangle-down", "circle-open"), strict=True))

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
_TONES = {
    "light": {"paper": "#ffffff", "text": "#1f2328", "grid": "#e4e7eb", "hover": "#ffffff"},
    "dark": {"paper": "#161b22", "text": "#e6edf3", "grid": "#30363d", "hover": "#0d1117"},
}


def graph_objects() -> Any:
    """Import plotly's ``graph_objects``.

    Raises:
        MissingExtraError: plotly is not installed.
    """
    return plotly_module("plotly.graph_objects")


def plotly_module(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError("plotting", "report") from error


def template(theme: Theme) -> dict[str, Any]:
    """Everything of a figure that depends on the theme, as a plotly template."""
    tone = _TONES[theme]
    axis = {"gridcolor": tone["grid"], "linecolor": tone["grid"], "zerolinecolor": tone["grid"], "automargin": True}
    layout = {
        "paper_bgcolor": tone["paper"],
        "plot_bgcolor": tone["paper"],
        "font": {"color": tone["text"], "family": _FONT, "size": 13},
        "title": {"font": {"size": 16}, "x": 0, "xref": "container", "pad": {"l": 16}},
        "xaxis": axis,
        "yaxis": axis,
        "colorway": list(SERIES),
        "hoverlabel": {"bgcolor": tone["hover"], "font": {"color": tone["text"]}, "align": "left"},
        "modebar": {"color": NEUTRAL, "activecolor": BLUE, "bgcolor": "rgba(0,0,0,0)"},
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1.0, "xanchor": "right"},
    }
    return {"layout": layout}


def themed(figure: Figure, theme: Theme) -> Figure:
    """The figure itself, with the colours of a theme.

    Raises:
        SpecError: there is no such theme.
    """
    if theme not in _TONES:
        raise SpecError(f"there is no theme {theme!r}: it is 'light' or 'dark'")
    return figure.update_layout(template=template(theme))


def escape(text: object) -> str:
    """Text of a job for plotly, which reads tags and entities in labels: what it holds is shown, not obeyed."""
    return html.escape(str(text), quote=False).replace("\n", "<br>")


def empty_figure(title: str, note: str) -> Figure:
    """A figure that says why there is nothing to see."""
    figure = new_figure(title, height=220)
    figure.add_annotation(text=escape(note), showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
    return figure.update_xaxes(visible=False).update_yaxes(visible=False)


def new_figure(title: str, *, subtitle: str = "", height: int = 420) -> Figure:
    """A figure without traces in the light theme.

    Args:
        title: what is seen; plain text.
        subtitle: a second, smaller line; plain text.
        height: in pixels.
    """
    figure = graph_objects().Figure()
    line = f"<br><sub>{escape(subtitle)}</sub>" if subtitle else ""
    figure.update_layout(
        title={"text": f"{escape(title)}{line}"},
        height=height,
        margin={"l": 60, "r": 24, "t": 84, "b": 56},
        hovermode="closest",
    )
    return themed(figure, "light")


def add_points(
    figure: Figure,
    x: Array,
    y: Array,
    rows: Sequence[int],
    looks: Sequence[tuple[str, bool]],
    texts: Sequence[str],
    *,
    at: tuple[int, int] | None = None,
    legend: bool = True,
) -> None:
    """Add trials as points, one trace a state, the best ones as stars on top.

    Args:
        figure: gets the traces.
        x: places; where x or y is nan there is no point.
        y: places.
        rows: for each point its trial's row in the frame, by which plots and table are linked.
        looks: for each point its state, and whether it is a best trial.
        texts: for each point what hovering shows; already escaped.
        at: row and column of a subplot.
        legend: whether the states are named in the legend.
    """
    go = graph_objects()
    seen = np.isfinite(x) & np.isfinite(y)
    for look in [*((state, False) for state in STATES), *((state, True) for state in STATES)]:
        chosen = [int(index) for index in np.flatnonzero(seen) if looks[int(index)] == look]
        if not chosen:
            continue
        trace = go.Scatter(
            x=[float(x[index]) for index in chosen],
            y=[float(y[index]) for index in chosen],
            customdata=[rows[index] for index in chosen],
            text=[texts[index] for index in chosen],
            hovertemplate="%{text}<extra></extra>",
            mode="markers",
            name="best" if look[1] else look[0],
            legendgroup="best" if look[1] else look[0],
            showlegend=legend,
            marker=_marker(*look),
            meta={"link": "points"},
        )
        figure.add_trace(trace, *(at or ()))


def _marker(state: str, best: bool) -> dict[str, Any]:
    if best:
        return {"color": GREEN, "symbol": "star", "size": 14, "line": {"color": "#ffffff", "width": 1}}
    opacity = {"completed": 0.8, "stopped": 0.9}.get(state, 1.0)
    return {"color": STATE_COLOURS[state], "symbol": STATE_SYMBOLS[state], "size": 8, "opacity": opacity}


def axis_layout(axis: Axis) -> dict[str, Any]:
    """Plotly's settings of a hyperparameter's axis; values on it come from ``axis_values``."""
    margin = 0.04 * (axis.high - axis.low)
    ends = [axis.low - margin, axis.high + margin]
    title = {"title": {"text": escape(axis.title)}}
    if axis.kind == "linear":
        return {**title, "range": ends}
    if axis.kind == "log":
        return {**title, "type": "log", "range": ends, "dtick": "D2" if axis.high - axis.low < 2 else 1}
    ticks = {"tickvals": [tick.place for tick in axis.ticks], "ticktext": [escape(tick.label) for tick in axis.ticks]}
    return {**title, "range": ends, **ticks}


def axis_values(axis: Axis, places: Array) -> Array:
    """Places as the numbers that plotly wants on such an axis."""
    return np.asarray(10.0**places) if axis.kind == "log" else places


def is_wide(values: Array) -> bool:
    """Whether finite values are all positive and of such different sizes that only a logarithmic axis shows them."""
    finite = values[np.isfinite(values)]
    return bool(len(finite) and finite.min() > 0 and finite.max() / finite.min() >= 1000)
