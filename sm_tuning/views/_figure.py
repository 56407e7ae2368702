"""Figures: drawn as plain data, themed, and saved.

Plotly's own objects check every setting each time one is made, which takes seconds for a report. So plots are drawn as
plain data (``Sketch``), which is checked once when it becomes a plotly figure. A report skips the check; its tests do
it.

The colours are Okabe and Ito's (jfly.uni-koeln.de/color), which people with any common form of colour vision can tell
apart. Blue and orange are shifted so that each stands out (3 : 1 and more) from white and from the dark background.
States differ in their symbols too. Nothing is drawn with WebGL, so figures open everywhere and print well.
"""

from __future__ import annotations

import html
import importlib
import importlib.util
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any, Literal, TypeAlias

import numpy as np

from sm_tuning._errors import MissingExtraError, SpecError
from sm_tuning._files import write_output
from sm_tuning.views._axis import Array, Axis, label
from sm_tuning.views._cell import shown_in_cells
from sm_tuning.views._trials import STATES, Rows

_POWERS = np.array([float(f"1e{power}") for power in range(23)])  # those that a float holds exactly

#: A ``plotly.graph_objects.Figure``. Plotly has no types, and is imported only when a figure is drawn.
Figure: TypeAlias = Any

Theme = Literal["light", "dark"]
Trace = dict[str, Any]

BLUE, ORANGE, GREEN = "#2F86C8", "#C98200", "#009E73"
VERMILLION, PURPLE = "#D55E00", "#CC79A7"

#: Readable on white and on the dark background: for lines that belong to no trial.
NEUTRAL = "#808890"

#: Colours of several jobs, in their order; further jobs start again at the first.
SERIES = (BLUE, ORANGE, GREEN, PURPLE, VERMILLION, NEUTRAL)

#: From the best trials to the worst.
RANKED = (BLUE, "#5F9CC4", "#8B9BA6", "#AB905A", ORANGE)

STATE_COLOURS = dict(zip(STATES, (BLUE, ORANGE, VERMILLION, NEUTRAL, PURPLE), strict=True))
_STATE_SYMBOLS = dict(zip(STATES, ("circle", "diamond", "x", "triangle-down", "circle-open"), strict=True))

#: Characters in a line of a note, which a phone shows whole.
_NOTE_WIDTH = 44
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
_TONES = {
    "light": {
        "paper": "#ffffff",
        "text": "#1f2328",
        "grid": "#e4e7eb",
        "hover": "#ffffff",
        "veil": "rgba(255,255,255,0.75)",
    },
    "dark": {
        "paper": "#161b22",
        "text": "#e6edf3",
        "grid": "#30363d",
        "hover": "#0d1117",
        "veil": "rgba(22,27,34,0.75)",
    },
}


def trace(kind: str, **settings: Any) -> Trace:
    """Return a trace of plotly's; settings that are None are omitted."""
    return {"type": kind, **{key: value for key, value in settings.items() if value is not None}}


class Grid:
    """Positions of the cells of a figure with several plots, as shares of the figure.

    Cells are counted by rows, from 0 at the top left. Rows are filled evenly: five cells are three and two.

    Args:
        cells: number of cells.
        most: greatest number of columns.
        gaps: the space between columns and between rows, as shares of a column and of a row.
        shared: whether all cells have the same vertical axis, which then is labelled in the first column only.

    Attributes:
        rows: number of rows.
        columns: number of columns.
        shared: as given.
    """

    def __init__(self, cells: int, most: int, gaps: tuple[float, float], *, shared: bool = False) -> None:
        self.rows: int = -(-cells // most)
        self.columns: int = -(-cells // self.rows)
        self.shared = shared
        self._gaps = gaps[0] / self.columns, gaps[1] / self.rows
        self._sizes = (
            (1 - self._gaps[0] * (self.columns - 1)) / self.columns,
            (1 - self._gaps[1] * (self.rows - 1)) / self.rows,
        )

    def domains(self, cell: int) -> tuple[list[float], list[float]]:
        """Return the horizontal and the vertical span of a cell."""
        row, column = divmod(cell, self.columns)
        left = column * (self._sizes[0] + self._gaps[0])
        bottom = (self.rows - 1 - row) * (self._sizes[1] + self._gaps[1])
        # Plotly refuses a domain that a rounding error puts beyond 1.
        return [left, min(left + self._sizes[0], 1.0)], [bottom, min(bottom + self._sizes[1], 1.0)]


class Sketch:
    """A figure as plain data: traces and layout in the form of plotly.js.

    Args:
        title: plain text.
        subtitle: a second, smaller line; plain text.
        height: in pixels.
        least: width in pixels below which labels would overlap; the report scrolls a plot that has less room.
        cells: number of plots.
        grid: positions of the plots, if there is more than one.

    Attributes:
        title: as given.
        subtitle: as given.
        data: the traces.
        layout: of the whole figure. Its ``meta`` has what the report's script needs to fit it to a narrow page.
    """

    def __init__(
        self,
        title: str,
        *,
        subtitle: str = "",
        height: int = 420,
        least: int = 0,
        cells: int = 1,
        grid: Grid | None = None,
    ) -> None:
        self.title = title
        self.subtitle = subtitle
        self.data: list[Trace] = []
        self.layout: dict[str, Any] = {
            "title": {"text": escape(title), **({"subtitle": {"text": escape(subtitle)}} if subtitle else {})},
            "height": height,
            "margin": {"l": 66, "r": 24, "t": 84, "b": 56},
            "hovermode": "closest",
        }
        if least or grid is not None:
            self.layout["meta"] = {"least": least, **({"cells": cells, "shared": grid.shared} if grid else {})}
        self._cells = cells
        for cell in range(cells):
            across, up = grid.domains(cell) if grid is not None else ([0.0, 1.0], [0.0, 1.0])
            self.layout[_axis_name("xaxis", cell)] = {"domain": across, "anchor": _axis_name("y", cell)}
            self.layout[_axis_name("yaxis", cell)] = {"domain": up, "anchor": _axis_name("x", cell)}

    @classmethod
    def empty(cls, title: str, note: str) -> Sketch:
        """Return a figure that shows why the plot is empty."""
        figure = cls(title, height=200)
        text = "<br>".join(map(escape, wrap(note, _NOTE_WIDTH)))
        figure.add_annotation(text=text, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
        return figure

    def add_trace(self, added: Trace, cell: int = 0) -> None:
        """Add a trace to a cell."""
        self.data.append({**added, "xaxis": _axis_name("x", cell), "yaxis": _axis_name("y", cell)})

    def update_layout(self, **settings: Any) -> None:
        """Set parts of the layout."""
        self.layout.update(settings)

    def update_xaxes(self, cell: int | None = None, **settings: Any) -> None:
        """Set parts of the horizontal axis of a cell, or of all cells."""
        self._update("xaxis", cell, settings)

    def update_yaxes(self, cell: int | None = None, **settings: Any) -> None:
        """Set parts of the vertical axis of a cell, or of all cells."""
        self._update("yaxis", cell, settings)

    def _update(self, name: str, cell: int | None, settings: dict[str, Any]) -> None:
        # The short form of a title is known to plotly's Python only, not to plotly.js.
        if isinstance(settings.get("title"), str):
            settings = {**settings, "title": {"text": settings["title"]}}
        for number in range(self._cells) if cell is None else (cell,):
            self.layout[_axis_name(name, number)].update(settings)

    def add_annotation(self, **settings: Any) -> None:
        """Add a text."""
        self.layout.setdefault("annotations", []).append(settings)

    def add_shape(self, **settings: Any) -> None:
        """Add a shape."""
        self.layout.setdefault("shapes", []).append(settings)

    def add_vline(self, x: float, line: Mapping[str, Any]) -> None:
        """Add a vertical line from bottom to top."""
        self.add_shape(type="line", x0=x, x1=x, y0=0, y1=1, yref="y domain", line=line)

    def add_hline(self, y: float, line: Mapping[str, Any], cell: int = 0) -> None:
        """Add a horizontal line across a cell."""
        across = f"{_axis_name('x', cell)} domain"
        self.add_shape(type="line", x0=0, x1=1, y0=y, y1=y, xref=across, yref=_axis_name("y", cell), line=line)

    def add_trials(
        self,
        rows: Rows,
        x: Array,
        y: Array,
        texts: Sequence[str],
        *,
        cell: int = 0,
        legend: bool = True,
        outlined: bool = False,
    ) -> None:
        """Add trials as points, one trace for each state, the best trials as stars on top.

        ``customdata`` has each point's row in the frame, which links the plots and the table of a report.

        Args:
            rows: the trials.
            x: positions; a trial with NaN in x or y has no point.
            y: positions.
            texts: shown when the pointer is on a point; escaped.
            cell: the cell of the plot.
            legend: whether the legend names the states.
            outlined: whether points have a white outline, to stand out from a surface.
        """
        outline = {"line": {"color": "#ffffff", "width": 1}}
        # A running trial has no height, and a trial may lack one of two hyperparameters.
        groups: dict[tuple[bool, str], list[int]] = {(best, state): [] for best in (False, True) for state in STATES}
        for row in np.flatnonzero(np.isfinite(x) & np.isfinite(y)).tolist():
            groups[rows.is_best[row], rows.states[row]].append(row)
        # One trace for each state is one entry of the legend; traces that are added later are drawn on top.
        for (best, state), chosen in groups.items():
            if not chosen:
                continue
            name = "best" if best else state
            opacity = {"completed": 0.8, "stopped": 0.9}.get(state, 1.0)
            marker = {"color": STATE_COLOURS[state], "symbol": _STATE_SYMBOLS[state], "size": 8, "opacity": opacity}
            if best:
                marker = {"color": GREEN, "symbol": "star", "size": 14}
            points = trace(
                "scatter",
                x=rounded(x[chosen]),
                y=rounded(y[chosen]),
                customdata=chosen,
                text=[texts[row] for row in chosen],
                hovertemplate="%{text}<extra></extra>",
                mode="markers",
                name=name,
                legendgroup=name,
                showlegend=legend,
                marker={**marker, **outline} if best or outlined else marker,
                meta={"link": "points"},
            )
            self.add_trace(points, cell)


def _axis_name(name: str, cell: int) -> str:
    """Return plotly's name of a cell's axis: the first one has no number."""
    return name if cell == 0 else f"{name}{cell + 1}"


def rounded(values: Array, digits: int = 7) -> list[float]:
    """Return numbers in as many digits as a plot needs: 17 of them would double the size of a report."""
    sizes = np.abs(values)
    power = digits - 1 - np.floor(np.log10(sizes, where=(sizes > 0) & np.isfinite(sizes), out=np.zeros(len(sizes))))
    # A quotient by an exact power of ten is the number nearest to its decimal digits, which are then few.
    is_exact = np.abs(power) < len(_POWERS)
    scale = _POWERS[np.where(is_exact, np.abs(power), 0).astype(np.intp)]
    found: list[float] = np.where(
        power >= 0, np.round(values * scale) / scale, np.round(values / scale) * scale
    ).tolist()
    for place in np.flatnonzero(~is_exact).tolist():
        found[place] = float(f"{values[place]:.{digits}g}")
    return found


def rounded_each(parts: Sequence[Array], digits: int = 7) -> list[list[float]]:
    """Return what ``rounded`` does of each part, with one call for all of them."""
    whole, ends = rounded(np.concatenate(parts), digits), np.cumsum([len(part) for part in parts]).tolist()
    return [whole[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def joined(
    lines: Iterable[tuple[int, Sequence[float], Sequence[float]]],
) -> tuple[list[float | None], list[float | None], list[int]]:
    """Join lines into one trace, with a gap after each: a trace for each of 500 trials would make plotly slow.

    Args:
        lines: the row of the trial, x and y of each line.

    Returns:
        x, y and the row of each point.
    """
    x: list[float | None] = []
    y: list[float | None] = []
    rows: list[int] = []
    for row, across, up in lines:
        x += [*across, None]
        y += [*up, None]
        rows += [row] * (len(across) + 1)
    return x, y, rows


def hover_texts(rows: Rows, objective: str, extra: Sequence[str] | None = None) -> list[str]:
    """Return the hover text of each trial, escaped: its names, state and value, and a further line if given."""
    name = escape(objective)
    shown = [f"<br>{name} = {label(value)}" if math.isfinite(value) else "" for value in rows.values.tolist()]
    more = [""] * len(shown) if extra is None else [f"<br>{text}" for text in extra]
    texts = zip(map(escape, rows.titles), rows.states, shown, more, strict=True)
    return [f"<b>{title}</b><br>{state}{value}{text}" for title, state, value, text in texts]


def escape(text: object) -> str:
    """Escape a text of a job: plotly interprets tags and entities in labels."""
    # Quotes are no markup for plotly, and their entities would be shown as they are.
    return html.escape(str(text), quote=False).replace("\n", "<br>")


def axis_layout(axis: Axis, *, missing: bool = False) -> dict[str, Any]:
    """Return plotly's settings of a hyperparameter's axis, for numbers of ``axis_values``.

    Args:
        axis: the axis.
        missing: whether it reaches down to the position of missing values.
    """
    margin = 0.04 * (axis.high - axis.low)
    layout: dict[str, Any] = {
        "title": {"text": escape(axis.title)},
        "range": [axis.low - margin, axis.high + margin],
    }
    if axis.kind == "log":
        layout["type"] = "log"
    # Plotly's own ticks fit linear axes only: on a logarithmic one it writes 2 and 5 for 0.0002 and 0.0005.
    if missing or axis.kind != "linear":
        ticks = [axis.missing, *axis.ticks] if missing else axis.ticks
        layout["tickvals"] = axis_values(axis, np.array([tick.position for tick in ticks])).tolist()
        layout["ticktext"] = [escape(tick.label) for tick in ticks]
    if missing:
        layout["range"] = [axis.missing.position - margin, axis.high + margin]
    return layout


def axis_values(axis: Axis, positions: Array) -> Array:
    """Return positions as the numbers that plotly expects on the axis."""
    return np.asarray(10.0**positions) if axis.kind == "log" else positions


def is_wide(values: Array) -> bool:
    """Return whether values need a logarithmic axis: all are positive and they span a factor of 1,000."""
    finite = values[np.isfinite(values)]
    # Below a factor of 1,000 the smallest values are still told apart on a linear axis.
    return bool(len(finite) and finite.min() > 0 and finite.max() / finite.min() >= 1000)


def plotly_module(module: str) -> Any:
    """Import a module of plotly.

    Raises:
        MissingExtraError: plotly is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError("plotting", "report") from error


def template(theme: Theme) -> dict[str, Any]:
    """Return the settings that depend on the theme, as a plotly template."""
    tone = _TONES[theme]
    axis = {
        "gridcolor": tone["grid"],
        "linecolor": tone["grid"],
        "zerolinecolor": tone["grid"],
        "automargin": True,
        "ticklabeloverflow": "allow",  # margins have room for every label, and plotly would measure each one to be sure
        "title": {"font": {"size": 13}, "standoff": 10},
        "tickfont": {"size": 12},
        # Plotly's own choice is SI prefixes: 100µ for 0.0001.
        "ticks": "outside",
        "ticklen": 5,
        "tickcolor": "rgba(0,0,0,0)",  # invisible ticks keep the labels of both axes apart where they meet
        "exponentformat": "e",
        "minexponent": 5,
    }
    layout = {
        "paper_bgcolor": tone["paper"],
        "plot_bgcolor": tone["paper"],
        "font": {"color": tone["text"], "family": _FONT, "size": 13},
        "title": {
            "font": {"size": 16},
            "subtitle": {"font": {"size": 12.5}},
            "x": 0,
            "xref": "container",
            "pad": {"l": 16},
        },
        "annotationdefaults": {"font": {"size": 12}, "bgcolor": tone["veil"]},
        "uniformtext": {"minsize": 12, "mode": "hide"},  # a text that does not fit its bar would become unreadable
        "xaxis": axis,
        "yaxis": axis,
        "colorway": list(SERIES),
        "hoverlabel": {"bgcolor": tone["hover"], "font": {"color": tone["text"]}, "align": "left"},
        "modebar": {"color": NEUTRAL, "activecolor": BLUE, "bgcolor": "rgba(0,0,0,0)"},
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1.0, "xanchor": "right"},
    }
    return {"layout": layout}


def figure_of(sketch: Sketch, theme: Theme = "light") -> Figure:
    """Return a sketch as a plotly figure; plotly checks every setting.

    Raises:
        SpecError: the theme is unknown.
        MissingExtraError: plotly is not installed.
    """
    if theme not in _TONES:
        raise SpecError(f"there is no theme {theme!r}; there are: light, dark")
    layout = {**sketch.layout, "template": template(theme)}
    return shown_in_cells(plotly_module("plotly.graph_objects").Figure({"data": sketch.data, "layout": layout}))


def save(figure: Figure, path: str | os.PathLike[str], *, scale: float = 2.0) -> Path:
    """Write a figure to a file: HTML that needs no network, or an image.

    Images need kaleido and a Chrome or Chromium, on the PATH or named by ``BROWSER_PATH``.

    Args:
        figure: a figure of ``plot`` or of another function of this package.
        path: ends in .html, .png, .svg or .pdf.
        scale: pixels of an image for each pixel of the figure.

    Raises:
        SpecError: the extension is unknown, the file cannot be written, or an image cannot be made.
    """
    path = Path(path)
    extension = path.suffix.lower()
    if extension not in (".html", ".png", ".svg", ".pdf"):
        raise SpecError(f"a figure is saved as .html, .png, .svg or .pdf, but the name is {str(path)!r}")
    if extension == ".html":
        content = figure.to_html(include_plotlyjs=True).encode()
    else:
        content = _image(figure, extension[1:], scale)
    write_output(path, content)
    return path


def _image(figure: Figure, kind: str, scale: float) -> bytes:
    """Return a figure as an image.

    Raises:
        SpecError: kaleido or a browser is missing, or kaleido fails.
    """
    if importlib.util.find_spec("kaleido") is None:
        raise SpecError(f"saving as {kind.upper()} needs kaleido: pip install kaleido, or save the figure as .html")
    try:
        # Without a width, plotly makes images of 700 pixels, too narrow for parallel coordinates.
        image: bytes = figure.to_image(format=kind, width=figure.layout.width or 1000, scale=scale)
    except (RuntimeError, ValueError, OSError) as error:
        raise SpecError(
            f"kaleido could not make the {kind.upper()}; it needs a Chrome or Chromium (install one, or set "
            f"BROWSER_PATH); saving as .html needs neither: {error}"
        ) from error
    return image
