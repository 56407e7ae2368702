"""When the trials ran, how busy the machines were, and what the results cost."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from sm_tuning.results import NO_TIME, microseconds_of, rows_by
from sm_tuning.views._axis import Array, numbers
from sm_tuning.views._curves import MOST_POINTS, duration, unit_of
from sm_tuning.views._figure import (
    GREEN,
    NEUTRAL,
    SERIES,
    STATE_COLOURS,
    Grid,
    Sketch,
    escape,
    hover_texts,
    is_wide,
    joined,
    rounded_each,
    trace,
)
from sm_tuning.views._trials import STATES, About, Rows, plural, read


class TimelineInfo(NamedTuple):
    """When each trial ran, and in which of the slots of parallel trials.

    Attributes:
        title: of the plot.
        subtitle: how the time was spent.
        note: why the plot is empty; empty if it is not.
        rows: all trials.
        start: seconds from the first start to each trial's start; NaN before it starts.
        seconds: duration of each trial; up to the last known time while it runs.
        slot: slot of each trial, counted from 0 over all jobs; -1 before it starts.
        slots: the names of the slots.
        idle: gaps between trials, as (slot, start, seconds).
        wasted: seconds of trials that failed or have no objective.
        origin: the first start.
        objective: the objective's name.
    """

    title: str
    subtitle: str
    note: str
    rows: Rows
    start: Array
    seconds: Array
    slot: tuple[int, ...]
    slots: tuple[str, ...]
    idle: tuple[tuple[int, float, float], ...]
    wasted: float
    origin: datetime | None
    objective: str

    def sketch(self) -> Sketch:
        """Draw a bar for each trial, one row for each slot, with idle time hollow."""
        if self.note:
            return Sketch.empty(self.title, self.note)
        figure = Sketch(self.title, subtitle=self.subtitle, height=min(900, 190 + 34 * len(self.slots)))
        unit, length = unit_of(float(np.nanmax(self.start + self.seconds)))
        texts = hover_texts(self.rows, self.objective)
        for state, best in [(state, best) for state in STATES for best in (False, True)]:
            look = (state, best)
            chosen = [
                row
                for row, slot in enumerate(self.slot)
                if slot >= 0 and (self.rows.states[row], self.rows.is_best[row]) == look
            ]
            if chosen:
                figure.add_trace(self._bars(chosen, "best" if best else state, texts, length))
        if self.idle:
            figure.add_trace(
                trace(
                    "bar",
                    base=[begin / length for _, begin, _ in self.idle],
                    x=[gap / length for _, _, gap in self.idle],
                    y=[slot for slot, _, _ in self.idle],
                    orientation="h",
                    name="idle",
                    width=0.25,
                    marker={"color": NEUTRAL, "opacity": 0.35},
                    hovertemplate="idle for %{x:.3g} " + unit + "<extra></extra>",
                )
            )
        origin = f"{self.origin:%Y-%m-%d %H:%M:%S} UTC" if self.origin else ""
        names = [escape(name) for name in self.slots]
        figure.update_layout(barmode="overlay")
        figure.update_xaxes(title=f"{unit} since {origin}", zeroline=False)
        figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names)
        figure.update_yaxes(title="slot", autorange="reversed", showgrid=False)
        return figure

    def _bars(self, chosen: list[int], name: str, texts: list[str], length: float) -> dict[str, object]:
        """Return the bars of some trials as one trace; ``length`` is that of the unit of time in seconds."""
        return trace(
            "bar",
            base=[float(self.start[row]) / length for row in chosen],
            # Plotly draws no bar for a trial of no length, so that it could not be selected.
            x=[max(float(self.seconds[row]) / length, 1e-9) for row in chosen],
            y=[self.slot[row] for row in chosen],
            customdata=chosen,
            # Labels of more bars would be too small to read.
            text=[escape(self.rows.labels[row]) for row in chosen] if len(self.slot) <= 60 else None,
            textposition="inside",
            insidetextanchor="middle",
            constraintext="inside",
            hovertext=[texts[row] for row in chosen],
            hovertemplate="%{hovertext}<extra></extra>",
            orientation="h",
            name=name,
            width=0.8,
            marker={
                "color": GREEN if name == "best" else STATE_COLOURS[name],
                "pattern": {"shape": "/" if name in ("failed", "no objective") else ""},
                "line": {"color": "rgba(255,255,255,0.6)", "width": 1},
            },
            meta={"link": "points"},
        )


def timeline_info(trials: pd.DataFrame, known: About | None = None) -> TimelineInfo:
    """Return the trials in the smallest number of slots that could have run them, with the gaps between them.

    Times are those of training as the service reports them, so waiting for an instance is a gap.

    Args:
        trials: the frame of trials.
        known: the facts of the job.
    """
    rows, known = read(trials, known)
    begun, ended = (
        np.asarray((pd.to_datetime(trials[name], utc=True) - pd.Timestamp(0, tz="UTC")).dt.total_seconds())
        for name in ("TrainingStartTime", "TrainingEndTime")
    )
    # nanmin warns about an empty array, so it is not called before a trial has started.
    first = float(np.nanmin(begun)) if np.isfinite(begun).any() else np.nan
    times = np.concatenate([begun, ended])
    last = float(np.nanmax(times)) if np.isfinite(times).any() else np.nan
    start = begun - first
    # A running trial is drawn up to the last known time of any trial.
    seconds = np.maximum(np.where(np.isfinite(ended), ended, last) - begun, 0.0)
    slot, slots = _slots(rows, start, seconds)
    idle: list[tuple[int, float, float]] = []
    for number in range(len(slots)):
        spans = sorted((start[row], start[row] + seconds[row]) for row, other in enumerate(slot) if other == number)
        idle += [(number, float(end), float(begin - end)) for (_, end), (begin, _) in pairwise(spans) if begin > end]
    lost = [time for time, state in zip(seconds, rows.states, strict=True) if state in ("failed", "no objective")]
    wasted = float(np.nansum(lost)) if lost else 0.0
    parts = [
        f"{duration(float(np.nansum(seconds)))} of training in {plural(len(slots), 'slot')}",
        *([f"{duration(wasted)} in trials without a result"] if wasted else []),
        f"{duration(sum(gap for _, _, gap in idle))} idle between trials",
    ]
    return TimelineInfo(
        title=f"Timeline: what ran when, for {known.goal}",
        subtitle="; ".join(parts),
        note="" if slots else "No trial has started.",
        rows=rows,
        start=start,
        seconds=seconds,
        slot=slot,
        slots=slots,
        idle=tuple(idle),
        wasted=wasted,
        origin=datetime.fromtimestamp(first, UTC) if np.isfinite(first) else None,
        objective=known.objective,
    )


def _slots(rows: Rows, start: Array, seconds: Array) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the slot of each trial and the names of the slots.

    A trial gets the slot of its job that has been free for the shortest time, or a new one: the service starts the
    next trial as soon as one ends.
    """
    free: dict[tuple[str, int], float] = {}
    chosen: dict[int, tuple[str, int]] = {}
    for row in np.argsort(start, kind="stable"):
        if not np.isfinite(start[row]):
            continue
        job = rows.jobs[row]
        idle = [key for key, until in free.items() if key[0] == job and until <= start[row]]
        key = max(idle, key=lambda slot: free[slot]) if idle else (job, sum(slot[0] == job for slot in free))
        free[key] = start[row] + seconds[row]
        chosen[int(row)] = key
    order = sorted(free, key=lambda key: (rows.jobs.index(key[0]), key[1]))
    several = len(set(rows.jobs)) > 1
    names = tuple(f"{job} {number + 1}" if several else f"{number + 1}" for job, number in order)
    return tuple(order.index(chosen[row]) if row in chosen else -1 for row in range(len(rows.names))), names


class Usage(NamedTuple):
    """The values of one metric of the machines.

    Attributes:
        metric: for example CPUUtilization.
        lines: for each trial and host its row, seconds since the trial's start, and percent of the machine.
        mean: over all values.
        peak: the 95th percentile of all values.
    """

    metric: str
    lines: tuple[tuple[int, Array, Array], ...]
    mean: float
    peak: float


class UtilizationInfo(NamedTuple):
    """How busy the machines of the trials were; ``note`` gives the reason if the plot is empty."""

    title: str
    subtitle: str
    note: str
    rows: Rows
    usages: tuple[Usage, ...]
    unit: str
    seconds_per_unit: float

    def sketch(self) -> Sketch:
        """Draw a small plot for each metric, each trial a line, with the mean as a dashed line."""
        if self.note:
            return Sketch.empty(self.title, self.note)
        count = len(self.usages)
        grid = Grid(count, 2, (0.14, 0.24))
        figure = Sketch(self.title, subtitle=self.subtitle, height=140 + 230 * grid.rows, cells=count, grid=grid)
        titles = [escape(text) for text in self.rows.titles]
        for cell, usage in enumerate(self.usages):
            lines, seconds, percent = zip(*usage.lines, strict=True)
            across = rounded_each([part / self.seconds_per_unit for part in seconds], 5)
            x, y, trials = joined(zip(lines, across, rounded_each(percent, 4), strict=True))
            line = trace(
                "scatter",
                x=x,
                y=y,
                customdata=trials,
                text=[titles[row] for row in trials],
                hovertemplate="%{text}: %{y} at %{x}<extra></extra>",
                # A line of one value is seen only by its marker.
                mode="lines+markers" if len(usage.lines) <= 40 or min(map(len, seconds)) == 1 else "lines",
                marker={"size": 4},
                line={"color": SERIES[cell % len(SERIES)], "width": 1.2},
                opacity=0.7,
                name=escape(usage.metric),
                showlegend=False,
                meta={"link": "lines"},
            )
            figure.add_trace(line, cell)
            figure.add_hline(usage.mean, {"color": NEUTRAL, "dash": "dash", "width": 1}, cell)
            figure.update_yaxes(cell, title=escape(usage.metric))
        # One horizontal axis for all metrics, so that zooming shows the same time in each.
        figure.update_xaxes(title=f"{self.unit} since the trial's start")
        for cell in range(1, count):
            figure.update_xaxes(cell, matches="x")
        figure.update_yaxes(range=[0, 104], ticksuffix=" %")
        return figure


def utilization_info(trials: pd.DataFrame, utilization: pd.DataFrame, known: About | None = None) -> UtilizationInfo:
    """Return the share of the machine's CPUs, memory, disk and GPUs that each trial used, since its start.

    Args:
        trials: the frame of trials.
        utilization: the frame of utilization.
        known: the facts of the job; not needed here.
    """
    rows, _ = read(trials, known)
    row_of = {name: row for row, name in enumerate(rows.names)}
    starts = dict(zip(rows.names, microseconds_of(trials["TrainingStartTime"]).tolist(), strict=True))
    finite = utilization[np.isfinite(utilization["Value"].to_numpy(np.float64))]
    stride = -(-len(finite) // MOST_POINTS) or 1
    usages, longest = [], 0.0
    for metric, of_metric in finite.groupby("MetricName", sort=False, observed=True):
        lines = []
        moments, values = microseconds_of(of_metric["Timestamp"]), of_metric["Value"].to_numpy(np.float64)
        for (name, _), places in rows_by(of_metric, "TrainingJobName", "Host"):
            # Without a start there is no zero; a row of another job has no line.
            if (start := starts.get(name, NO_TIME)) == NO_TIME:
                continue
            kept = places[::stride]
            # CloudWatch names the begin of a minute, which may be before the trial's.
            seconds = np.maximum((moments[kept] - start) / 1e6, 0.0)
            lines.append((row_of[name], seconds, values[kept]))
            longest = max(longest, float(seconds.max()))
        if lines:
            values = np.concatenate([percent for _, _, percent in lines])
            usages.append(Usage(str(metric), tuple(lines), float(values.mean()), float(np.quantile(values, 0.95))))
    unit, length = unit_of(longest)
    shares = [f"{usage.metric}: mean {usage.mean:.0f}%, 95th percentile {usage.peak:.0f}%" for usage in usages]
    return UtilizationInfo(
        title="Utilization: percent of the whole machine by time in each trial",
        subtitle="; ".join(shares),
        note=""
        if usages
        else "No utilization was published: CloudWatch has one value a minute, so short trials have none.",
        rows=rows,
        usages=tuple(usages),
        unit=unit,
        seconds_per_unit=length,
    )


class CostInfo(NamedTuple):
    """The cost of each trial against its objective.

    Attributes:
        title: of the plot.
        subtitle: the total, and the number of trials in it.
        note: why the plot is empty; empty if it is not.
        rows: all trials.
        costs: of each trial in ``unit``; NaN if unknown.
        front: rows of the trials that no cheaper trial beats, the cheapest first.
        unit: USD, or seconds if prices are unknown.
        is_log: whether the objective has a logarithmic axis.
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

    def sketch(self) -> Sketch:
        """Draw trials as points, and the front as a step line."""
        if self.note:
            return Sketch.empty(self.title, self.note)
        figure = Sketch(self.title, subtitle=self.subtitle)
        front = list(self.front)
        figure.add_trace(
            trace(
                "scatter",
                x=self.costs[front].tolist(),
                y=self.rows.values[front].tolist(),
                mode="lines",
                line={"shape": "hv", "color": GREEN, "width": 1.5},
                name="best for its price",
                hoverinfo="skip",
            )
        )
        extra = [f"{cost:.4g} {self.unit}" if np.isfinite(cost) else "" for cost in self.costs]
        figure.add_trials(self.rows, self.costs, self.rows.values, hover_texts(self.rows, self.objective, extra))
        figure.update_xaxes(title=self.unit, rangemode="tozero")
        figure.update_yaxes(title=escape(self.objective), type="log" if self.is_log else "linear")
        return figure


def cost_info(trials: pd.DataFrame, cost: pd.DataFrame | None = None, known: About | None = None) -> CostInfo:
    """Return the cost and the objective of each trial, and the trials that no cheaper trial beats (Pareto front).

    Args:
        trials: the frame of trials.
        cost: the frame of cost; without it, or without prices, billable seconds are used instead of money.
        known: the facts of the job.
    """
    rows, known = read(trials, known)
    costs = np.full(len(rows.names), np.nan)
    if cost is not None:
        # A trial has one row for each instance group; without the price of one, its cost is unknown.
        codes, names = pd.factorize(cost["TrainingJobName"])
        sums = np.bincount(codes, weights=cost["Cost"].to_numpy(np.float64), minlength=len(names)).tolist()
        priced = dict(zip(names, sums, strict=True))
        costs = np.array([priced.get(name, np.nan) for name in rows.names])
    unit = "USD"
    if not np.isfinite(costs).any():
        costs, unit = numbers(trials["BillableTimeInSeconds"]), "billable seconds"
    if not np.isfinite(costs).any():
        costs, unit = numbers(trials["TrainingElapsedTimeSeconds"]), "seconds of training"
    front: list[int] = []
    losses, best = rows.values * known.sign, np.inf
    # Sorted by cost, then by loss: of two trials at the same price only the better one is on the front.
    for row in np.lexsort((losses, costs)):
        if np.isfinite(costs[row]) and losses[row] < best:
            front.append(int(row))
            best = losses[row]
    total = f"{np.nansum(costs):.4g} {unit} for {plural(int(np.isfinite(costs).sum()), 'trial')}"
    both = np.isfinite(costs) & np.isfinite(rows.values)
    return CostInfo(
        title=f"Cost ({unit}) against {known.goal}",
        subtitle=f"{total}; the line joins trials that no cheaper one beat",
        note=rows.note or ("" if both.any() else "Neither cost nor time of the trials is known."),
        rows=rows,
        costs=costs,
        front=tuple(front),
        unit=unit,
        is_log=is_wide(rows.values),
        objective=known.objective,
    )
