"""Where in the search space the good trials are: parallel coordinates, slices and contours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from sm_tuning._errors import SpecError
from sm_tuning.views._axis import MISSING_GAP, Array, Axis, axis_of
from sm_tuning.views._figure import (
    NEUTRAL,
    RANKED,
    Grid,
    Sketch,
    axis_layout,
    axis_values,
    escape,
    hover_texts,
    is_wide,
    joined,
    trace,
)
from sm_tuning.views._trials import About, Rows, axes_of, plural, read

#: Upper bounds of the groups by rank, as shares of the trials with an objective, and the names of the groups.
_RANKS = (0.1, 0.25, 0.5, 0.75, 1.0)
_RANK_NAMES = ("best 10%", "to 25%", "to 50%", "to 75%", "worst 25%")

#: From this number of trials on, the lines of a category are spread, because they would all lie on one.
_SPREAD_FROM = 8

#: With more points, parallel coordinates have no hover texts: they would be most of the report's size.
_MOST_HOVER_POINTS = 20_000

#: Number of points along each side of a contour's grid.
_GRID = 40

#: A surface through fewer trials shows circles around each of them, and no shape.
_FEWEST_POINTS = 10

#: Number of hyperparameters that are paired by default.
_PAIRED = 4


class ParallelInfo(NamedTuple):
    """The lines of a parallel-coordinates plot.

    Attributes:
        title: of the plot.
        subtitle: the number of trials.
        note: why the plot is empty; empty if it is not.
        rows: all trials.
        shown: rows of the trials with an objective, the worst first.
        axes: the hyperparameters, then the objective.
        heights: position of each shown trial on each axis, 0 at its lower end and 1 at its upper end; -MISSING_GAP
            without a value. Shape: shown x axes.
        ranks: the group of each shown trial, 0 for the best.
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

    def sketch(self) -> Sketch:
        """Draw lines by groups of rank, the best group on top."""
        if self.note:
            return Sketch.empty(self.title, self.note)
        figure = Sketch(self.title, subtitle=self.subtitle, height=460, least=95 * len(self.axes) + 60)
        texts = hover_texts(self.rows, self.objective)
        for rank in reversed(range(len(_RANKS))):
            chosen = [index for index, other in enumerate(self.ranks) if other == rank]
            if not chosen:
                continue
            heights = [[round(float(height), 4) for height in self.heights[index]] for index in chosen]
            across = range(len(self.axes))
            lines = ((self.shown[index], across, height) for index, height in zip(chosen, heights, strict=True))
            x, y, rows = joined(lines)
            hover = len(rows) < _MOST_HOVER_POINTS
            figure.add_trace(
                trace(
                    "scatter",
                    x=x,
                    y=y,
                    customdata=rows,
                    text=[texts[row] for row in rows] if hover else None,
                    hovertemplate="%{text}<extra></extra>" if hover else None,
                    mode="lines",
                    name=_RANK_NAMES[rank],
                    line={"color": RANKED[rank], "width": 2.5 if rank == 0 else 1.2},
                    opacity=1.0 if rank == 0 else 0.65,
                    meta={"link": "lines", "every": True},
                )
            )
        self._add_axes(figure)
        return figure

    def _add_axes(self, figure: Sketch) -> None:
        """Draw a vertical line with ticks for each axis, with the position of missing values if there are any."""

        def cut(text: str, limit: int) -> str:
            return text if len(text) <= limit else f"{text[: limit - 1]}…"

        labels: list[tuple[int, float, str]] = []
        for column, axis in enumerate(self.axes):
            figure.add_shape(type="line", x0=column, x1=column, y0=0, y1=1, line={"color": NEUTRAL, "width": 1})
            span = axis.high - axis.low
            step = max(1, -(-len(axis.ticks) // 16))  # more than 16 labels would touch
            labels += [(column, (tick.position - axis.low) / span, cut(tick.label, 16)) for tick in axis.ticks[::step]]
            if (self.heights[:, column] < -MISSING_GAP / 2).any():
                labels.append((column, -MISSING_GAP, axis.missing.label))
        for column, height, text in labels:
            figure.add_annotation(
                x=column, y=height, text=escape(text), showarrow=False, xanchor="left", xshift=3, font={"size": 12}
            )
        last = len(self.axes) - 1
        figure.update_xaxes(
            tickvals=list(range(last + 1)),
            ticktext=[escape(cut(axis.title.replace(" (", "\n("), 40)) for axis in self.axes],
            range=[-0.35, last + 0.45],
            showgrid=False,
            zeroline=False,
            tickangle=0 if last < 12 else 40,
        )
        if last >= 14:
            # More axes than fit a page make the figure wider instead of narrower columns.
            figure.update_layout(width=75 * (last + 2))
        # The best group was drawn last, but belongs at the top of the legend.
        figure.update_layout(legend={"traceorder": "reversed"})
        figure.update_yaxes(visible=False, range=[-MISSING_GAP - 0.06, 1.06])


def parallel_info(trials: pd.DataFrame, known: About | None = None) -> ParallelInfo:
    """Return the positions of the trials on an axis for each hyperparameter and one for the objective.

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
    # One position below all axes for missing values, so that the line of the trial is not interrupted.
    heights = np.where(np.isfinite(heights), heights, -MISSING_GAP).reshape(len(shown), len(axes))
    if len(heights) >= _SPREAD_FROM:
        # In the order of rank, within a third of the space of the category.
        offsets = np.linspace(0.5, -0.5, len(heights)) / 3
        for column, axis in enumerate(axes):
            if axis.kind == "category":
                heights[:, column] += np.where(heights[:, column] >= 0, offsets / max(len(axis.categories), 1), 0)
    ranks = np.searchsorted(_RANKS, np.arange(len(shown)) / max(len(shown), 1), side="right")
    return ParallelInfo(
        title=f"Parallel coordinates: {known.goal}",
        subtitle=f"{plural(len(shown), 'trial')} of {len(rows.names)} with an objective, coloured by rank",
        note=rows.note,
        rows=rows,
        # Plotly draws in this order, so the best lines are on top.
        shown=tuple(int(index) for index in shown[::-1]),
        axes=tuple(axes),
        heights=heights[::-1],
        ranks=tuple(int(rank) for rank in ranks[::-1]),
        objective=known.objective,
    )


class SliceInfo(NamedTuple):
    """The objective against each hyperparameter.

    Attributes:
        title: of the plot.
        subtitle: the number of trials.
        note: why the plot is empty; empty if it is not.
        rows: all trials.
        axes: the hyperparameters.
        positions: position of each trial on each axis; that of missing values without a value. Shape: axes x trials.
        is_log: whether the objective has a logarithmic axis.
        objective: the objective's name.
    """

    title: str
    subtitle: str
    note: str
    rows: Rows
    axes: tuple[Axis, ...]
    positions: Array
    is_log: bool
    objective: str

    def sketch(self) -> Sketch:
        """Draw a small plot for each hyperparameter, all with the same vertical axis."""
        if self.note:
            return Sketch.empty(self.title, self.note)
        cells = len(self.axes)
        grid = Grid(cells, 4 if cells <= 12 else 6, (0.09, 0.3), shared=True)
        columns, height = grid.columns, 140 + 240 * grid.rows
        figure = Sketch(self.title, subtitle=self.subtitle, height=height, cells=cells, grid=grid)
        rows = self.rows
        drawn = np.flatnonzero(np.isfinite(rows.values)).tolist()
        looks = {(rows.states[row], rows.is_best[row]) for row in drawn}
        texts = hover_texts(rows, self.objective)
        figure.update_yaxes(type="log" if self.is_log else "linear")
        for cell, axis in enumerate(self.axes):
            positions = self.positions[cell]
            # The legend names the states once, and only if there is more than one.
            legend = cell == 0 and len(looks) > 1
            figure.add_trials(rows, axis_values(axis, positions), rows.values, texts, cell=cell, legend=legend)
            missing = bool((positions <= axis.missing.position).any())
            figure.update_xaxes(cell, **axis_layout(axis, missing=missing))
            if cell:
                # One scale for all slices: otherwise a flat one looks like a steep one.
                figure.update_yaxes(cell, matches="y", showticklabels=cell % columns == 0)
            if cell % columns == 0:
                figure.update_yaxes(cell, title=escape(self.objective))
        return figure


def slice_info(
    trials: pd.DataFrame, known: About | None = None, *, hyperparameters: Sequence[str] | None = None
) -> SliceInfo:
    """Return the position of each trial on the axis of each hyperparameter.

    Args:
        trials: the frame of trials.
        known: the facts of the job.
        hyperparameters: only these columns.

    Raises:
        SpecError: a hyperparameter is not in the frame.
    """
    rows, known = read(trials, known)
    _check_names(rows, hyperparameters or ())
    chosen = rows.hyperparameters if hyperparameters is None else tuple(hyperparameters)
    axes = tuple(axis for axis in axes_of(trials, rows, known) if axis.name in chosen)
    found = [axis.positions(trials[axis.name]) for axis in axes]
    placed = [np.where(np.isfinite(row), row, axis.missing.position) for axis, row in zip(axes, found, strict=True)]
    return SliceInfo(
        title=f"Slices: {known.goal} against each hyperparameter",
        subtitle=f"{plural(rows.evaluated, 'trial')} with an objective",
        note=rows.note or ("" if axes else "No hyperparameter was tuned."),
        rows=rows,
        axes=axes,
        positions=np.array(placed).reshape(len(axes), len(rows.names)),
        is_log=is_wide(rows.values),
        objective=known.objective,
    )


def _check_names(rows: Rows, names: Sequence[str]) -> None:
    """Check that the frame has these hyperparameters.

    Raises:
        SpecError: it lacks one.
    """
    missing = [name for name in names if name not in rows.hyperparameters]
    if missing:
        raise SpecError(
            f"no hyperparameter {', '.join(map(repr, missing))}; tuned are: {', '.join(rows.hyperparameters) or 'none'}"
        )


class ContourInfo(NamedTuple):
    """The objective over two hyperparameters.

    Attributes:
        title: of the plot.
        subtitle: how the surface between the trials is interpolated.
        note: why the plot is empty; empty if it is not.
        rows: all trials.
        axes: the two hyperparameters, x first.
        x: position of each trial; NaN without a value.
        y: the same on the other axis.
        grid_x: positions of the grid's columns.
        grid_y: positions of the grid's rows.
        surface: the objective on the grid. Shape: rows x columns.
        maximize: whether higher is better.
        objective: the objective's name.
    """

    title: str
    subtitle: str
    note: str
    rows: Rows
    axes: tuple[Axis, Axis]
    x: Array
    y: Array
    grid_x: Array
    grid_y: Array
    surface: Array
    maximize: bool
    objective: str

    def sketch(self) -> Sketch:
        """Draw the surface with the trials on it."""
        if self.note:
            return Sketch.empty(self.title, self.note)
        figure = Sketch(self.title, subtitle=self.subtitle, height=460)
        # Blue is the good end in every plot.
        colours = RANKED[::-1] if self.maximize else RANKED
        figure.add_trace(
            trace(
                "contour",
                x=axis_values(self.axes[0], self.grid_x).tolist(),
                y=axis_values(self.axes[1], self.grid_y).tolist(),
                z=_rounded(self.surface).tolist(),
                colorscale=[[number / (len(colours) - 1), colour] for number, colour in enumerate(colours)],
                opacity=0.75,
                ncontours=16,
                line={"width": 0.5},
                colorbar={
                    "title": {"text": escape(self.objective), "side": "right", "font": {"size": 13}},
                    "thickness": 12,
                },
                hoverinfo="skip",
            )
        )
        x, y = axis_values(self.axes[0], self.x), axis_values(self.axes[1], self.y)
        figure.add_trials(self.rows, x, y, hover_texts(self.rows, self.objective), outlined=True)
        figure.update_xaxes(**axis_layout(self.axes[0]))
        figure.update_yaxes(**axis_layout(self.axes[1]))
        return figure


def contour_info(
    trials: pd.DataFrame, known: About | None = None, *, x: str | None = None, y: str | None = None
) -> ContourInfo:
    """Return the objective over two hyperparameters, with a surface through the trials.

    Args:
        trials: the frame of trials.
        known: the facts of the job.
        x: a column; by default one of the two that are most correlated with the objective.
        y: another column.

    Raises:
        SpecError: a hyperparameter is not in the frame, or both are the same.
    """
    rows, known = read(trials, known)
    _check_names(rows, [name for name in (x, y) if name is not None])
    if x is not None and x == y:
        raise SpecError(f"a contour needs two hyperparameters, but both are {x!r}")
    ranked = ranking(trials, known) if x is None or y is None else []
    # One given hyperparameter is paired with the strongest other one.
    first = x if x is not None else next((name for name in ranked if name != y), "")
    second = (y if y is not None else next((name for name in ranked if name != first), "")) or first
    known_axes = {axis.name: axis for axis in axes_of(trials, rows, known)}
    axes = tuple(known_axes.get(name, Axis(name, "linear", 0.0, 1.0)) for name in (first, second))
    absent = np.full(len(trials), np.nan)
    positions = [axis.positions(trials[axis.name]) if axis.name in trials else absent for axis in axes]
    usable = np.isfinite(rows.values) & np.isfinite(positions[0]) & np.isfinite(positions[1])
    grids = [
        np.arange(len(axis.categories), dtype=np.float64)
        if axis.kind == "category"
        else np.linspace(axis.low, axis.high, _GRID)
        for axis in axes
    ]
    surface = np.full((len(grids[1]), len(grids[0])), np.nan)
    if usable.any():
        # Distances are measured in shares, so that both axes count alike.
        ends = [(axis.low, axis.high - axis.low) for axis in axes]
        shares = [(row[usable] - low) / span for row, (low, span) in zip(positions, ends, strict=True)]
        nodes = [(grid - low) / span for grid, (low, span) in zip(grids, ends, strict=True)]
        surface = weighted_surface(shares[0], shares[1], rows.values[usable], nodes[0], nodes[1])
    few = (
        f"A surface needs two tuned hyperparameters and {_FEWEST_POINTS} trials with both and an objective; there are "
        f"{usable.sum()}."
    )
    return ContourInfo(
        title=f"Contour: {known.goal} over {first} and {second}",
        subtitle="between trials: mean of all of them, weighted by inverse squared distance",
        note=rows.note or ("" if first != second and usable.sum() >= _FEWEST_POINTS else few),
        rows=rows,
        axes=(axes[0], axes[1]),
        x=positions[0],
        y=positions[1],
        grid_x=grids[0],
        grid_y=grids[1],
        surface=surface,
        maximize=bool(known.maximize),
        objective=known.objective,
    )


def _rounded(surface: Array) -> Array:
    """Return a surface in steps of at most a two-thousandth of its span: the report holds several of them."""
    span = float(np.nanmax(surface) - np.nanmin(surface))
    return np.round(surface, max(0, math.ceil(-math.log10(span / 2000)))) if span > 0 else surface


def weighted_surface(x: Array, y: Array, values: Array, grid_x: Array, grid_y: Array) -> Array:
    """Interpolate by inverse distance (Shepard): exact at the points, and nowhere beyond their extremes.

    Args:
        x: positions of the points, as shares of their axis.
        y: the same on the other axis.
        values: the points' values.
        grid_x: positions of the grid's columns.
        grid_y: positions of the grid's rows.

    Returns:
        Values on the grid. Shape: rows x columns.
    """
    across = (grid_x[:, None] - x) ** 2
    surface = np.empty((len(grid_y), len(grid_x)))
    # Row by row, so that the weights stay in the processor's cache.
    for row, place in enumerate(grid_y):
        # A point of the grid on a trial would divide by zero; 1e-12 makes the trial's weight decide.
        weights = 1.0 / np.maximum(across + (place - y) ** 2, 1e-12)
        surface[row] = weights @ values / weights.sum(axis=1)
    return surface


def ranking(trials: pd.DataFrame, known: About | None = None) -> list[str]:
    """Return the hyperparameters that vary, those with the strongest rank correlation with the objective first."""
    rows, known = read(trials, known)
    strength = {}
    value_ranks = pd.Series(rows.values).rank()
    for axis in axes_of(trials, rows, known):
        positions = pd.Series(axis.positions(trials[axis.name]))
        usable = positions.notna() & value_ranks.notna()
        if positions[usable].nunique() > 1:
            ranks, values = positions[usable].rank(), value_ranks[usable]
            # Of positions, so that also categories are ranked, and a logarithmic range counts as it was searched.
            strength[axis.name] = float(np.corrcoef(ranks, values)[0, 1]) if values.nunique() > 1 else 0.0
    return sorted(strength, key=lambda name: -abs(strength[name]))


def pairs(trials: pd.DataFrame, known: About | None = None) -> list[tuple[str, str]]:
    """Return the pairs of the four hyperparameters that are most correlated with the objective."""
    return list(combinations(ranking(trials, known)[:_PAIRED], 2))
