"""How busy the machines were, and what the results cost."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from sm_tuning.views._about import About
from sm_tuning.views._axis import Array, numbers
from sm_tuning.views._curves import MOST_POINTS, unit_of
from sm_tuning.views._history import hover_texts
from sm_tuning.views._rows import Rows, plural, read, why_none
from sm_tuning.views._sketch import Grid, Sketch, Trace, scatter
from sm_tuning.views._theme import (
    GREEN,
    NEUTRAL,
    SERIES,
    Figure,
    Points,
    add_points,
    empty_sketch,
    escape,
    figure_of,
    is_wide,
    new_sketch,
)


class Usage(NamedTuple):
    """One metric of the machines.

    Attributes:
        metric: such as CPUUtilization.
        lines: for each trial and host its row, seconds since the trial's start, and percent of the machine.
        mean: over all values; nan without any.
        peak: the 95th percentile of all values.
    """

    metric: str
    lines: tuple[tuple[int, Array, Array], ...]
    mean: float
    peak: float


class UtilizationInfo(NamedTuple):
    """How busy the machines of the trials were; ``note`` says why there is nothing to see."""

    title: str
    subtitle: str
    note: str
    rows: Rows
    usages: tuple[Usage, ...]
    unit: str
    seconds_per_unit: float


def utilization_info(trials: pd.DataFrame, utilization: pd.DataFrame, known: About | None = None) -> UtilizationInfo:
    """Percent of the machine that each trial used of its CPUs, memory, disk and GPUs, since its start.

    Args:
        trials: the frame of trials.
        utilization: the frame of utilization.
        known: the facts of the job, which is not needed here.
    """
    rows, _ = read(trials, known)
    places = {name: row for row, name in enumerate(rows.names)}
    starts = dict(zip(rows.names, trials["TrainingStartTime"], strict=True))
    finite = utilization[np.isfinite(utilization["Value"].to_numpy(np.float64))]
    stride = -(-len(finite) // MOST_POINTS) or 1
    usages, longest = [], 0.0
    for metric, of_metric in finite.groupby("MetricName", sort=False, observed=True):
        lines = []
        for key, group in of_metric.groupby(["TrainingJobName", "Host"], sort=False, observed=True):
            name = str(key[0])
            if name not in places or pd.isna(starts[name]):
                continue
            seconds = (group["Timestamp"] - starts[name]).dt.total_seconds().to_numpy(np.float64)[::stride]
            lines.append((places[name], seconds, group["Value"].to_numpy(np.float64)[::stride]))
            longest = max(longest, float(seconds.max()))
        if lines:
            values = np.concatenate([percent for _, _, percent in lines])
            usages.append(Usage(str(metric), tuple(lines), float(values.mean()), float(np.quantile(values, 0.95))))
    unit, factor = unit_of(longest)
    return UtilizationInfo(
        title="Utilization: percent of the whole machine by time in each trial",
        subtitle="; ".join(f"{one.metric}: mean {one.mean:.0f} %, 95th percentile {one.peak:.0f} %" for one in usages),
        note="" if usages else "No utilization was published: CloudWatch has one value a minute, short trials none.",
        rows=rows,
        usages=tuple(usages),
        unit=unit,
        seconds_per_unit=factor,
    )


def draw_utilization(info: UtilizationInfo) -> Figure:
    """Draw ``utilization_info``: one small plot a metric, each trial a line, with the mean as a dashed line."""
    return figure_of(sketch_utilization(info))


def sketch_utilization(info: UtilizationInfo) -> Sketch:
    """What ``draw_utilization`` draws, as plain data."""
    if info.note:
        return empty_sketch(info.title, info.note)
    count = len(info.usages)
    wide = min(count, 2)
    high = -(-count // wide)
    grid = Grid(high, wide, (0.07, 0.24 / high))
    figure = new_sketch(info.title, subtitle=info.subtitle, height=140 + 230 * high, cells=count, grid=grid)
    for cell, one in enumerate(info.usages):
        figure.add_trace(_usage_trace(info, one, SERIES[cell % len(SERIES)]), cell)
        figure.add_hline(one.mean, {"color": NEUTRAL, "dash": "dash", "width": 1}, cell)
        figure.update_yaxes(cell, title=escape(one.metric))
    figure.update_xaxes(title=f"{info.unit} since the trial's start", matches="x")
    figure.update_yaxes(range=[0, 104], ticksuffix=" %")
    return figure


def _usage_trace(info: UtilizationInfo, one: Usage, colour: str) -> Trace:
    x: list[float | None] = []
    y: list[float | None] = []
    rows: list[int] = []
    for row, seconds, percent in one.lines:
        x += [*(float(f"{value:.5g}") for value in seconds / info.seconds_per_unit), None]
        y += [*(float(f"{value:.4g}") for value in percent), None]
        rows += [row] * (len(seconds) + 1)
    return scatter(
        x=x,
        y=y,
        customdata=rows,
        text=[escape(info.rows.labels[row]) for row in rows],
        hovertemplate="%{text}: %{y} at %{x}<extra></extra>",
        mode="lines+markers" if len(one.lines) <= 40 else "lines",
        marker={"size": 4},
        line={"color": colour, "width": 1.2},
        opacity=0.7,
        name=escape(one.metric),
        showlegend=False,
        meta={"link": "lines"},
    )


class CostInfo(NamedTuple):
    """What each trial cost against what it reached.

    Attributes:
        title: what is seen.
        subtitle: the sum, and of how many trials it is.
        note: why there is nothing to see; else empty.
        rows: all trials.
        costs: of each trial in ``unit``; nan where it is not known.
        front: rows of the trials that nobody beat at their price, the cheapest first.
        unit: USD, or seconds where prices are not known.
        is_log: whether the objective's axis is logarithmic.
        objective: the objective's name.
    """

    title: str
    subtitle: str
    note: str
    rows: Rows
    costs: Array
    front: tuple[int, ...]
    unit: str
    is_log: bool
    objective: str


def cost_info(trials: pd.DataFrame, cost: pd.DataFrame | None = None, known: About | None = None) -> CostInfo:
    """Cost against objective, with the trials that were worth their money.

    Args:
        trials: the frame of trials.
        cost: the frame of cost; without one, or without prices in it, billable seconds stand for money.
        known: the facts of the job.
    """
    rows, known = read(trials, known)
    costs = np.full(len(rows.names), np.nan)
    if cost is not None:  # a row for each instance group
        priced = cost.groupby("TrainingJobName")["Cost"].agg(lambda costs: costs.sum(skipna=False))
        costs = np.array([float(priced.get(name, np.nan)) for name in rows.names])
    unit = "USD"
    if not np.isfinite(costs).any():
        costs, unit = numbers(trials["BillableTimeInSeconds"]), "billable seconds"
        if not np.isfinite(costs).any():
            costs, unit = numbers(trials["TrainingElapsedTimeSeconds"]), "seconds of training"
    total = f"{np.nansum(costs):.4g} {unit} for {plural(int(np.isfinite(costs).sum()), 'trial')}"
    both = np.isfinite(costs) & np.isfinite(rows.values)
    return CostInfo(
        title=f"Cost ({unit}) against {known.goal}",
        subtitle=f"{total}; the line joins trials that no cheaper one beat",
        note=why_none(rows) or ("" if both.any() else "Neither cost nor time of the trials is known."),
        rows=rows,
        costs=costs,
        front=_front(costs, rows.values * known.sign),
        unit=unit,
        is_log=is_wide(rows.values),
        objective=known.objective,
    )


def _front(costs: Array, losses: Array) -> tuple[int, ...]:
    """Rows that are better than every cheaper one (Pareto's front of cost and loss), the cheapest first."""
    front: list[int] = []
    best = np.inf
    for row in np.lexsort((losses, costs)):
        if np.isfinite(costs[row]) and losses[row] < best:
            front.append(int(row))
            best = losses[row]
    return tuple(front)


def draw_cost(info: CostInfo) -> Figure:
    """Draw ``cost_info``: trials as points, and the front as a step line."""
    return figure_of(sketch_cost(info))


def sketch_cost(info: CostInfo) -> Sketch:
    """What ``draw_cost`` draws, as plain data."""
    if info.note:
        return empty_sketch(info.title, info.note)
    figure = new_sketch(info.title, subtitle=info.subtitle)
    front = list(info.front)
    figure.add_trace(
        scatter(
            x=info.costs[front].tolist(),
            y=info.rows.values[front].tolist(),
            mode="lines",
            line={"shape": "hv", "color": GREEN, "width": 1.5},
            name="best for its price",
            hoverinfo="skip",
        )
    )
    extra = [f"{cost:.4g} {info.unit}" if np.isfinite(cost) else "" for cost in info.costs]
    looks = list(zip(info.rows.states, info.rows.is_best, strict=True))
    texts = hover_texts(info.rows, info.objective, extra)
    add_points(figure, Points(info.costs, info.rows.values, looks, texts))
    figure.update_xaxes(title=info.unit, rangemode="tozero")
    figure.update_yaxes(title=escape(info.objective), type="log" if info.is_log else "linear")
    return figure
