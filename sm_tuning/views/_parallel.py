"""Parallel coordinates: each trial a line through its hyperparameters to its objective."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from sm_tuning.views._about import About
from sm_tuning.views._axis import MISSING_GAP, Array, Axis, Tick, axis_of
from sm_tuning.views._history import hover_texts
from sm_tuning.views._rows import Rows, axes_of, plural, read, why_none
from sm_tuning.views._sketch import Sketch, scatter
from sm_tuning.views._theme import NEUTRAL, RANKED, Figure, empty_sketch, escape, figure_of, new_sketch

#: Bounds of the groups by rank, as shares of the evaluated trials, and their names.
RANKS = (0.1, 0.25, 0.5, 0.75, 1.0)
RANK_NAMES = ("best 10 %", "to 25 %", "to 50 %", "to 75 %", "worst 25 %")

#: From this many trials on, categories are spread a little, so that their lines do not all fall on one.
_SPREAD_FROM = 8


class ParallelInfo(NamedTuple):
    """The lines of a parallel-coordinates plot.

    Attributes:
        title: what is seen.
        subtitle: how many trials are.
        note: why there is nothing to see; else empty.
        rows: all trials.
        shown: the rows of those with an objective, the worst first.
        axes: the hyperparameters, then the objective.
        heights: place of each shown trial on each axis, 0 at its lower end and 1 at its upper; trials without a
            value stand below at -MISSING_GAP. Shape: shown x axes.
        ranks: the group of each shown trial, 0 the best.
        objective: the objective's name.
    """

    title: str
    subtitle: str
    note: str
    rows: Rows
    shown: tuple[int, ...]
    axes: tuple[Axis, ...]
    heights: Array
    ranks: tuple[int, ...]
    objective: str


def parallel_info(trials: pd.DataFrame, known: About | None = None) -> ParallelInfo:
    """Place the evaluated trials on one axis a hyperparameter, logarithmic where the range is, and on the objective's.

    Args:
        trials: the frame of trials.
        known: the facts of the job.
    """
    rows, known = read(trials, known)
    values = pd.Series(rows.values)
    axes = [*axes_of(trials, rows, known), axis_of(known.objective, values)]
    columns = [trials[name] for name in rows.hyperparameters] + [values]
    order = np.argsort(known.sign * rows.values, kind="stable")
    shown = order[np.isfinite(rows.values[order])]
    heights = np.array([axis.shares(column)[shown] for axis, column in zip(axes, columns, strict=True)]).T
    heights = np.where(np.isfinite(heights), heights, -MISSING_GAP).reshape(len(shown), len(axes))
    ranks = np.searchsorted(RANKS, np.arange(len(shown)) / max(len(shown), 1), side="right")
    return ParallelInfo(
        title=f"Parallel coordinates: {known.goal}",
        subtitle=f"{plural(len(shown), 'trial')} of {len(rows.names)} with an objective, coloured by rank",
        note=why_none(rows),
        rows=rows,
        shown=tuple(int(index) for index in shown[::-1]),
        axes=tuple(axes),
        heights=_spread(heights, axes)[::-1],
        ranks=tuple(int(rank) for rank in ranks[::-1]),
        objective=known.objective,
    )


def _spread(heights: Array, axes: list[Axis]) -> Array:
    """Categories' lines side by side in the order of rank, within a third of the place that a category has."""
    if len(heights) < _SPREAD_FROM:
        return heights
    offsets = np.linspace(0.5, -0.5, len(heights)) / 3
    spread = heights.copy()
    for column, axis in enumerate(axes):
        if axis.kind == "category":
            spread[:, column] += np.where(heights[:, column] >= 0, offsets / len(axis.categories or " "), 0)
    return spread


def draw_parallel(info: ParallelInfo) -> Figure:
    """Draw ``parallel_info``: lines by groups of rank, the best on top."""
    return figure_of(sketch_parallel(info))


def sketch_parallel(info: ParallelInfo) -> Sketch:
    """What ``draw_parallel`` draws, as plain data."""
    if info.note:
        return empty_sketch(info.title, info.note)
    figure = new_sketch(info.title, subtitle=info.subtitle, height=460)
    texts = hover_texts(info.rows, info.objective)
    for rank in reversed(range(len(RANKS))):
        chosen = [index for index, other in enumerate(info.ranks) if other == rank]
        if chosen:
            _add_lines(figure, info, chosen, rank, texts)
    _add_axes(figure, info)
    last = len(info.axes) - 1
    figure.update_xaxes(
        tickvals=list(range(last + 1)),
        ticktext=[escape(_broken(axis.title)) for axis in info.axes],
        range=[-0.35, last + 0.45],
        showgrid=False,
        zeroline=False,
        tickangle=0 if last < 12 else 40,
    )
    if last >= 14:
        figure.update_layout(width=75 * (last + 2))
    figure.update_layout(legend={"traceorder": "reversed"})
    figure.update_yaxes(visible=False, range=[-MISSING_GAP - 0.06, 1.06])
    return figure


def _add_lines(figure: Sketch, info: ParallelInfo, chosen: list[int], rank: int, texts: list[str]) -> None:
    """The lines of some trials as one trace, with a gap between each and the next."""
    x: list[float | None] = []
    y: list[float | None] = []
    rows: list[int] = []
    for index in chosen:
        x += [*range(len(info.axes)), None]
        y += [*(round(float(height), 4) for height in info.heights[index]), None]
        rows += [info.shown[index]] * (len(info.axes) + 1)
    figure.add_trace(
        scatter(
            x=x,
            y=y,
            customdata=rows,
            text=[texts[row] for row in rows] if len(rows) < 20_000 else None,
            hovertemplate="%{text}<extra></extra>" if len(rows) < 20_000 else None,
            mode="lines",
            name=RANK_NAMES[rank],
            line={"color": RANKED[rank], "width": 2.5 if rank == 0 else 1.2},
            opacity=1.0 if rank == 0 else 0.65,
            meta={"link": "lines", "every": True},
        )
    )


def _add_axes(figure: Sketch, info: ParallelInfo) -> None:
    """Vertical lines with their ticks, and where trials without a value stand if there are any."""
    places: list[tuple[float, float, str]] = []
    for column, axis in enumerate(info.axes):
        figure.add_shape(type="line", x0=column, x1=column, y0=0, y1=1, line={"color": NEUTRAL, "width": 1})
        span = axis.high - axis.low
        places += [(column, (tick.place - axis.low) / span, tick.label) for tick in _few(axis)]
        if (info.heights[:, column] < -MISSING_GAP / 2).any():
            places.append((column, -MISSING_GAP, axis.missing.label))
    for place, height, text in places:
        figure.add_annotation(
            x=place, y=height, text=escape(text), showarrow=False, xanchor="left", xshift=3, font={"size": 11}
        )


def _few(axis: Axis) -> list[Tick]:
    """The ticks of an axis, thinned when they would touch, long names shortened."""
    step = max(1, -(-len(axis.ticks) // 16))
    return [tick._replace(label=_short(tick.label)) for tick in axis.ticks[::step]]


def _short(text: str, limit: int = 16) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _broken(title: str) -> str:
    """An axis title with its scale on a second line."""
    return _short(title.replace(" (", "\n("), 40)
