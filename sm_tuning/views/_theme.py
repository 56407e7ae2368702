"""How every figure looks, and the pieces that most of them are drawn from.

The colours are Okabe and Ito's (jfly.uni-koeln.de/color), which people with any of the common colour visions tell
apart, with blue and orange shifted so that each stands out (3 : 1 and more) from white and from the dark background;
states differ in their symbol too. Nothing is drawn with WebGL, so that figures open everywhere and print well.
"""

from __future__ import annotations

import html
import importlib
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from sm_tuning._errors import MissingExtraError, SpecError
from sm_tuning.views._axis import Array, Axis
from sm_tuning.views._rows import STATES
from sm_tuning.views._sketch import Grid, Sketch, scatter

#: A ``plotly.graph_objects.Figure``; plotly has no types, and is imported only when something is drawn.
Figure: TypeAlias = Any

Theme = Literal["light", "dark"]

BLUE, ORANGE, GREEN = "#2F86C8", "#C98200", "#009E73"
VERMILLION, PURPLE = "#D55E00", "#CC79A7"

#: Readable on white and on the dark background: for lines that belong to no trial.
NEUTRAL = "#808890"

#: Colours of several jobs, in their order; they begin anew when there are more.
SERIES = (BLUE, ORANGE, GREEN, PURPLE, VERMILLION, NEUTRAL)

#: From the best trials to the worst.
RANKED = (BLUE, "#5F9CC4", "#8B9BA6", "#AB905A", ORANGE)

STATE_COLOURS = dict(zip(STATES, (BLUE, ORANGE, VERMILLION, NEUTRAL, PURPLE), strict=True))
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


def figure_of(sketch: Sketch) -> Figure:
    """A sketch as a plotly figure in the light theme, every setting checked."""
    return graph_objects().Figure({"data": sketch.data, "layout": {**sketch.layout, "template": template("light")}})


def empty_sketch(title: str, note: str) -> Sketch:
    """A figure that says why there is nothing to see."""
    figure = new_sketch(title, height=200)
    figure.add_annotation(text=escape(note), showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure


def new_sketch(
    title: str, *, subtitle: str = "", height: int = 420, cells: int = 1, grid: Grid | None = None
) -> Sketch:
    """A figure without traces.

    Args:
        title: what is seen; plain text.
        subtitle: a second, smaller line; plain text.
        height: in pixels.
        cells: how many plots it has.
        grid: where they are.
    """
    line = f"<br><sub>{escape(subtitle)}</sub>" if subtitle else ""
    layout = {
        "title": {"text": f"{escape(title)}{line}"},
        "height": height,
        "margin": {"l": 60, "r": 24, "t": 84, "b": 56},
        "hovermode": "closest",
    }
    return Sketch(layout, cells, grid)


class Points(NamedTuple):
    """Trials as points, each of the frame's rows in its order.

    Attributes:
        x: places; where x or y is nan there is no point.
        y: places.
        looks: for each its state, and whether it is a best trial.
        texts: what hovering over each shows; escaped.
    """

    x: Array
    y: Array
    looks: Sequence[tuple[str, bool]]
    texts: Sequence[str]


def add_points(figure: Sketch, points: Points, *, cell: int = 0, legend: bool = True, outlined: bool = False) -> None:
    """Add trials as points, one trace a state, the best ones as stars on top.

    ``customdata`` holds each point's row in the frame, by which plots and table are linked.

    Args:
        figure: gets the traces.
        points: the trials.
        cell: the cell they go to.
        legend: whether the states are named in the legend.
        outlined: whether each has a white outline, to stand out from a surface.
    """
    seen = np.isfinite(points.x) & np.isfinite(points.y)
    for look in [*((state, False) for state in STATES), *((state, True) for state in STATES)]:
        chosen = [int(row) for row in np.flatnonzero(seen) if points.looks[int(row)] == look]
        if not chosen:
            continue
        name = "best" if look[1] else look[0]
        trace = scatter(
            x=[short(points.x[row]) for row in chosen],
            y=[short(points.y[row]) for row in chosen],
            customdata=chosen,
            text=[points.texts[row] for row in chosen],
            hovertemplate="%{text}<extra></extra>",
            mode="markers",
            name=name,
            legendgroup=name,
            showlegend=legend,
            marker={**_marker(*look), **({"line": {"color": "#ffffff", "width": 1}} if outlined else {})},
            meta={"link": "points"},
        )
        figure.add_trace(trace, cell)


def short(value: float) -> float:
    """A number in seven digits, as plots need no more."""
    return float(f"{value:.7g}")


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
