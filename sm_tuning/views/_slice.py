"""The objective against one hyperparameter at a time, and over pairs of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from sm_tuning._errors import SpecError
from sm_tuning.views._about import About
from sm_tuning.views._axis import Array, Axis, axis_of
from sm_tuning.views._history import hover_texts
from sm_tuning.views._rows import Rows, axes_of, plural, read, why_none
from sm_tuning.views._sketch import Grid, Sketch, contour
from sm_tuning.views._theme import (
    RANKED,
    Figure,
    Points,
    add_points,
    axis_layout,
    axis_values,
    empty_sketch,
    escape,
    figure_of,
    is_wide,
    new_sketch,
)

#: Points a side of a contour's grid.
GRID = 40

#: How many hyperparameters are paired when nobody says which.
_PAIRED = 4


class SliceInfo(NamedTuple):
    """The objective against each hyperparameter.

    Attributes:
        title: what is seen.
        subtitle: how many trials are.
        note: why there is nothing to see; else empty.
        rows: all trials.
        axes: the hyperparameters.
        places: place of every trial on each axis; the place for missing values where it has none.
            Shape: axes x trials.
        is_log: whether the objective's axis is logarithmic.
        objective: the objective's name.
    """

    title: str
    subtitle: str
    note: str
    rows: Rows
    axes: tuple[Axis, ...]
    places: Array
    is_log: bool
    objective: str


def slice_info(
    trials: pd.DataFrame, known: About | None = None, *, hyperparameters: Sequence[str] | None = None
) -> SliceInfo:
    """Place the trials on the axis of each hyperparameter.

    Args:
        trials: the frame of trials.
        known: the facts of the job.
        hyperparameters: only these columns.

    Raises:
        SpecError: there is no such hyperparameter.
    """
    rows, known = read(trials, known)
    chosen = _chosen(rows, hyperparameters)
    axes = tuple(axis for axis in axes_of(trials, rows, known) if axis.name in chosen)
    places = np.array([placed(axis, trials[axis.name]) for axis in axes]).reshape(len(axes), len(rows.names))
    return SliceInfo(
        title=f"Slices: {known.goal} against each hyperparameter",
        subtitle=f"{plural(len(rows.evaluated), 'trial')} with an objective",
        note=why_none(rows) or ("" if axes else "No hyperparameter was tuned."),
        rows=rows,
        axes=axes,
        places=places,
        is_log=is_wide(rows.values),
        objective=known.objective,
    )


def placed(axis: Axis, values: pd.Series) -> Array:
    """Places on an axis, with the place for missing values where there is none."""
    places = axis.places(values)
    return np.where(np.isfinite(places), places, axis.missing.place)


def _chosen(rows: Rows, wanted: Sequence[str] | None) -> tuple[str, ...]:
    missing = [name for name in wanted or () if name not in rows.hyperparameters]
    if missing:
        raise SpecError(
            f"no hyperparameter {', '.join(map(repr, missing))}; tuned are: {', '.join(rows.hyperparameters) or 'none'}"
        )
    return rows.hyperparameters if wanted is None else tuple(wanted)


def draw_slice(info: SliceInfo) -> Figure:
    """Draw ``slice_info``: one small plot a hyperparameter, all with the same vertical axis."""
    return figure_of(sketch_slice(info))


def sketch_slice(info: SliceInfo) -> Sketch:
    """What ``draw_slice`` draws, as plain data."""
    if info.note:
        return empty_sketch(info.title, info.note)
    wide = min(len(info.axes), 4 if len(info.axes) <= 12 else 6)
    high = -(-len(info.axes) // wide)
    grid = Grid(high, wide, (0.09 / wide, 0.3 / high))
    cells = len(info.axes)
    figure = new_sketch(info.title, subtitle=info.subtitle, height=140 + 240 * high, cells=cells, grid=grid)
    looks = list(zip(info.rows.states, info.rows.is_best, strict=True))
    texts = hover_texts(info.rows, info.objective)
    figure.update_yaxes(type="log" if info.is_log else "linear")
    for cell, axis in enumerate(info.axes):
        points = Points(axis_values(axis, info.places[cell]), info.rows.values, looks, texts)
        add_points(figure, points, cell=cell, legend=_named(looks, info.rows.values, cell))
        figure.update_xaxes(cell, **_with_missing(axis, info.places[cell]))
        if cell:
            figure.update_yaxes(cell, matches="y", showticklabels=cell % wide == 0)
        if cell % wide == 0:
            figure.update_yaxes(cell, title=escape(info.objective))
    return figure


def _named(looks: Sequence[tuple[str, bool]], values: Array, index: int) -> bool:
    """Whether a subplot's traces name themselves in the legend: only the first one's."""
    return index == 0 and len({look for look, value in zip(looks, values, strict=True) if np.isfinite(value)}) > 1


def _with_missing(axis: Axis, places: Array) -> dict[str, object]:
    """The settings of an axis, reaching down to the place of missing values when there are any."""
    layout = axis_layout(axis)
    if not (places <= axis.missing.place).any():
        return layout
    ticks = [axis.missing, *axis.ticks]
    margin = 0.04 * (axis.high - axis.low)
    return {
        **layout,
        "range": [axis.missing.place - margin, axis.high + margin],
        "tickvals": axis_values(axis, np.array([tick.place for tick in ticks])).tolist(),
        "ticktext": [escape(tick.label) for tick in ticks],
    }


class ContourInfo(NamedTuple):
    """The objective over a pair of hyperparameters.

    Attributes:
        title: what is seen.
        subtitle: how the surface between the trials was made.
        note: why there is nothing to see; else empty.
        rows: all trials.
        axes: the two hyperparameters, x first.
        x: place of every trial; nan where it has no value.
        y: the same on the other axis.
        grid_x: places of the grid's columns.
        grid_y: places of the grid's rows.
        surface: the objective on the grid; shape rows x columns.
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


def contour_info(
    trials: pd.DataFrame, known: About | None = None, *, x: str | None = None, y: str | None = None
) -> ContourInfo:
    """The objective over two hyperparameters, with a surface through the evaluated trials.

    Args:
        trials: the frame of trials.
        known: the facts of the job.
        x: a column; the first of ``pairs`` when left out.
        y: another column.

    Raises:
        SpecError: there is no such hyperparameter, or both are the same.
    """
    rows, known = read(trials, known)
    first, second = _pair(trials, rows, known, x, y)
    axes = (_axis(trials, known, first), _axis(trials, known, second))
    places = [axis.places(trials[axis.name]) if axis.name in trials else np.full(len(trials), np.nan) for axis in axes]
    usable = np.isfinite(rows.values) & np.isfinite(places[0]) & np.isfinite(places[1])
    grids = [_grid(axis) for axis in axes]
    surface = np.full((len(grids[1]), len(grids[0])), np.nan)
    if usable.any():
        shares = [(place[usable] - axis.low) / (axis.high - axis.low) for place, axis in zip(places, axes, strict=True)]
        nodes = [(grid - axis.low) / (axis.high - axis.low) for grid, axis in zip(grids, axes, strict=True)]
        surface = weighted_surface(shares[0], shares[1], rows.values[usable], nodes[0], nodes[1])
    few = "A surface needs two tuned hyperparameters and two trials that have both."
    return ContourInfo(
        title=f"Contour: {known.goal} over {axes[0].name} and {axes[1].name}",
        subtitle="between trials: mean of all of them, weighted by inverse squared distance",
        note=why_none(rows) or ("" if first != second and usable.sum() >= 2 else few),
        rows=rows,
        axes=axes,
        x=places[0],
        y=places[1],
        grid_x=grids[0],
        grid_y=grids[1],
        surface=surface,
        maximize=bool(known.maximize),
        objective=known.objective,
    )


def _pair(trials: pd.DataFrame, rows: Rows, known: About, x: str | None, y: str | None) -> tuple[str, str]:
    """The columns that were asked for, filled up with those that matter most."""
    _chosen(rows, [name for name in (x, y) if name is not None])
    if x is not None and x == y:
        raise SpecError(f"a contour needs two hyperparameters, but both are {x!r}")
    ranked = ranking(trials, known) if x is None or y is None else []
    first = x if x is not None else next((name for name in ranked if name != y), "")
    second = y if y is not None else next((name for name in ranked if name != first), "")
    return first, second or first


def _axis(trials: pd.DataFrame, known: About, name: str) -> Axis:
    if name not in trials:
        return Axis(name, "linear", 0.0, 1.0)
    return axis_of(name, trials[name], known.ranges.get(name.removeprefix("hyperparameter:")))


def _grid(axis: Axis) -> Array:
    """Places of the grid along an axis: each category, or ``GRID`` even steps."""
    if axis.kind == "category":
        return np.arange(len(axis.categories), dtype=np.float64)
    return np.linspace(axis.low, axis.high, GRID)


def weighted_surface(x: Array, y: Array, values: Array, grid_x: Array, grid_y: Array) -> Array:
    """Shepard's inverse-distance interpolation: exact at the points, within their extremes everywhere.

    Args:
        x: places of the points, as shares of their axis.
        y: the same on the other axis.
        values: the points' values.
        grid_x: places of the grid's columns.
        grid_y: places of its rows.

    Returns:
        Values on the grid, rows x columns.
    """
    distances = (grid_x[None, :, None] - x) ** 2 + (grid_y[:, None, None] - y) ** 2
    weights = 1.0 / np.maximum(distances, 1e-12)
    return np.asarray((weights * values).sum(axis=2) / weights.sum(axis=2))


def ranking(trials: pd.DataFrame, known: About | None = None) -> list[str]:
    """The hyperparameters that vary, those first with whose rank the objective's goes most."""
    rows, known = read(trials, known)
    strength = {}
    value_ranks = pd.Series(rows.values).rank()
    for axis in axes_of(trials, rows, known):
        places = pd.Series(axis.places(trials[axis.name]))
        usable = places.notna() & value_ranks.notna()
        if places[usable].nunique() > 1:
            strength[axis.name] = _correlation(places[usable].rank(), value_ranks[usable])
    return sorted(strength, key=lambda name: -abs(strength[name]))


def _correlation(one: pd.Series, other: pd.Series) -> float:
    """Pearson's correlation; 0 when one of the two does not vary."""
    if one.nunique() < 2 or other.nunique() < 2:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def pairs(trials: pd.DataFrame, known: About | None = None) -> list[tuple[str, str]]:
    """The pairs worth a contour: of the four hyperparameters that go most with the objective."""
    return list(combinations(ranking(trials, known)[:_PAIRED], 2))


def draw_contour(info: ContourInfo) -> Figure:
    """Draw ``contour_info``: the surface, the trials on it, and what failed."""
    return figure_of(sketch_contour(info))


def sketch_contour(info: ContourInfo) -> Sketch:
    """What ``draw_contour`` draws, as plain data."""
    if info.note:
        return empty_sketch(info.title, info.note)
    figure = new_sketch(info.title, subtitle=info.subtitle, height=460)
    colours = RANKED[::-1] if info.maximize else RANKED
    scale = [[place / (len(colours) - 1), colour] for place, colour in enumerate(colours)]
    figure.add_trace(
        contour(
            x=axis_values(info.axes[0], info.grid_x).tolist(),
            y=axis_values(info.axes[1], info.grid_y).tolist(),
            z=np.round(info.surface, 8).tolist(),
            colorscale=scale,
            opacity=0.75,
            ncontours=16,
            line={"width": 0.5},
            colorbar={"title": {"text": escape(info.objective), "side": "right"}, "thickness": 12},
            hoverinfo="skip",
        )
    )
    looks = list(zip(info.rows.states, info.rows.is_best, strict=True))
    texts = hover_texts(info.rows, info.objective)
    x, y = axis_values(info.axes[0], info.x), axis_values(info.axes[1], info.y)
    add_points(figure, Points(x, y, looks, texts), outlined=True)
    figure.update_xaxes(**axis_layout(info.axes[0]))
    figure.update_yaxes(**axis_layout(info.axes[1]))
    return figure
