"""What ran when, and where time went that bought nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from sm_tuning.views._about import About
from sm_tuning.views._axis import Array
from sm_tuning.views._curves import duration, unit_of
from sm_tuning.views._history import hover_texts
from sm_tuning.views._rows import STATES, Rows, plural, read
from sm_tuning.views._sketch import Sketch, bar
from sm_tuning.views._theme import GREEN, NEUTRAL, STATE_COLOURS, Figure, empty_sketch, escape, figure_of, new_sketch


class TimelineInfo(NamedTuple):
    """When each trial ran, and in which of the slots that run at once.

    Attributes:
        title: what is seen.
        subtitle: how much time went into what.
        note: why there is nothing to see; else empty.
        rows: all trials.
        start: seconds from the first start to each trial's; nan while it has none.
        seconds: how long each ran; up to the last known moment when it still runs.
        slot: where it ran, counted from 0 over all jobs; -1 while it has not started.
        slots: the names of the slots.
        idle: gaps between trials, as (slot, start, seconds).
        wasted: seconds of trials that failed or gave no objective.
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


def timeline_info(trials: pd.DataFrame, known: About | None = None) -> TimelineInfo:
    """Place the trials in as few slots as could have run them; what a slot did not use before its last trial is idle.

    Times are those of training as the service reports them: waiting for an instance shows as idle.

    Args:
        trials: the frame of trials.
        known: the facts of the job.
    """
    rows, known = read(trials, known)
    begun, ended = (_seconds(trials[name]) for name in ("TrainingStartTime", "TrainingEndTime"))
    first = float(np.nanmin(begun)) if np.isfinite(begun).any() else np.nan
    moments = np.concatenate([begun, ended])
    last = float(np.nanmax(moments)) if np.isfinite(moments).any() else np.nan
    start = begun - first
    seconds = np.maximum(np.where(np.isfinite(ended), ended, last) - begun, 0.0)
    slot, slots = _slots(rows, start, seconds)
    idle = _idle(start, seconds, slot, len(slots))
    lost = [one for one, state in zip(seconds, rows.states, strict=True) if state in ("failed", "no objective")]
    wasted = float(np.nansum(lost)) if lost else 0.0
    used = float(np.nansum(seconds))
    parts = [f"{duration(used)} of training in {plural(len(slots), 'slot')}"]
    parts += [f"{duration(wasted)} in trials without a result"] if wasted else []
    parts += [f"{duration(sum(gap for _, _, gap in idle))} idle between trials"]
    return TimelineInfo(
        title=f"Timeline: what ran when, for {known.goal}",
        subtitle="; ".join(parts),
        note="" if slots else "No trial has started.",
        rows=rows,
        start=start,
        seconds=seconds,
        slot=slot,
        slots=slots,
        idle=idle,
        wasted=wasted,
        origin=datetime.fromtimestamp(first, UTC) if np.isfinite(first) else None,
        objective=known.objective,
    )


def _seconds(times: pd.Series) -> Array:
    """Times as seconds since 1970; nan where there is none."""
    elapsed = (pd.to_datetime(times, utc=True) - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    return np.asarray(elapsed.to_numpy(np.float64))


def _slots(rows: Rows, start: Array, seconds: Array) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """A slot for each trial: of its job's the one that has been free for the shortest time, else a new one."""
    free: dict[tuple[str, int], float] = {}
    chosen: dict[int, tuple[str, int]] = {}
    for row in np.argsort(start, kind="stable"):
        if not np.isfinite(start[row]):
            continue
        job = rows.jobs[row]
        idle = [key for key, until in free.items() if key[0] == job and until <= start[row]]
        key = max(idle, key=lambda one: free[one]) if idle else (job, sum(one[0] == job for one in free))
        free[key] = start[row] + seconds[row]
        chosen[int(row)] = key
    order = sorted(free, key=lambda key: (rows.jobs.index(key[0]), key[1]))
    several = len(set(rows.jobs)) > 1
    names = tuple(f"{job} {number + 1}" if several else f"{number + 1}" for job, number in order)
    return tuple(order.index(chosen[row]) if row in chosen else -1 for row in range(len(rows.names))), names


def _idle(start: Array, seconds: Array, slot: tuple[int, ...], count: int) -> tuple[tuple[int, float, float], ...]:
    """The gaps between the trials of each slot, as (slot, start, seconds)."""
    gaps = []
    for one in range(count):
        inside = sorted((start[row], start[row] + seconds[row]) for row, other in enumerate(slot) if other == one)
        pairs = pairwise(inside)
        gaps += [(one, float(end), float(begin - end)) for (_, end), (begin, _) in pairs if begin > end]
    return tuple(gaps)


def draw_timeline(info: TimelineInfo) -> Figure:
    """Draw ``timeline_info``: a bar a trial, in rows of slots, with idle time hollow."""
    return figure_of(sketch_timeline(info))


def sketch_timeline(info: TimelineInfo) -> Sketch:
    """What ``draw_timeline`` draws, as plain data."""
    if info.note:
        return empty_sketch(info.title, info.note)
    figure = new_sketch(info.title, subtitle=info.subtitle, height=min(900, 190 + 34 * len(info.slots)))
    span = float(np.nanmax(info.start + info.seconds))
    unit, factor = unit_of(span)
    texts = hover_texts(info.rows, info.objective)
    for state in STATES:
        chosen = [row for row, other in enumerate(info.rows.states) if other == state and info.slot[row] >= 0]
        _add_bars(figure, info, [row for row in chosen if not info.rows.is_best[row]], state, texts, factor)
        _add_bars(figure, info, [row for row in chosen if info.rows.is_best[row]], "best", texts, factor)
    if info.idle:
        figure.add_trace(
            bar(
                base=[begin / factor for _, begin, _ in info.idle],
                x=[gap / factor for _, _, gap in info.idle],
                y=[slot for slot, _, _ in info.idle],
                orientation="h",
                name="idle",
                width=0.25,
                marker={"color": NEUTRAL, "opacity": 0.35},
                hovertemplate="idle for %{x:.3g} " + unit + "<extra></extra>",
            )
        )
    origin = f"{info.origin:%Y-%m-%d %H:%M:%S} UTC" if info.origin else ""
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(title=f"{unit} since {origin}", zeroline=False)
    names = [escape(name) for name in info.slots]
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names)
    figure.update_yaxes(title="slot", autorange="reversed", showgrid=False)
    return figure


def _add_bars(
    figure: Sketch, info: TimelineInfo, chosen: list[int], name: str, texts: list[str], factor: float
) -> None:
    if not chosen:
        return
    figure.add_trace(
        bar(
            base=[float(info.start[row]) / factor for row in chosen],
            x=[max(float(info.seconds[row]) / factor, 1e-9) for row in chosen],
            y=[info.slot[row] for row in chosen],
            customdata=chosen,
            text=[escape(info.rows.labels[row]) for row in chosen] if len(info.slot) <= 60 else None,
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
    )
