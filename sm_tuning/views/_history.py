"""The objective from trial to trial, of one job or several, and how its values are distributed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from sm_tuning.views._about import About
from sm_tuning.views._axis import Array, label
from sm_tuning.views._rows import Rows, plural, read, why_none
from sm_tuning.views._sketch import Sketch, scatter
from sm_tuning.views._theme import (
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


class Series(NamedTuple):
    """One job's trials in the order of their ends.

    Attributes:
        job: the tuning job.
        rows: their rows in the frame.
        numbers: where each stands on the axis of trials; the first is 1.
        best: the best value up to each; nan until there is one.
    """

    job: str
    rows: tuple[int, ...]
    numbers: Array
    best: Array


class HistoryInfo(NamedTuple):
    """The history of one or several jobs.

    Attributes:
        title: what is seen.
        subtitle: counts of what became of the trials.
        note: why there is nothing to see; else empty.
        rows: the trials.
        series: one a job.
        heights: where each trial is drawn: its value, or ``floor`` when it has none; nan while it runs.
        floor: below all values, the place of trials without one.
        is_log: whether the axis of the objective is logarithmic.
        is_chain: whether the jobs follow one another as one history.
        objective: the axis title.
    """

    title: str
    subtitle: str
    note: str
    rows: Rows
    series: tuple[Series, ...]
    heights: Array
    floor: float
    is_log: bool
    is_chain: bool
    objective: str


def history_info(trials: pd.DataFrame, known: About | None = None, *, chain: Sequence[str] = ()) -> HistoryInfo:
    """The objective from trial to trial with the best so far, and what failed or was stopped.

    Args:
        trials: the frame of trials, of one job or several.
        known: the facts of the job.
        chain: tuning jobs that were warm-started one from the other, the oldest first: drawn as one history, in which
            the best so far goes on from each to the next. Jobs that are not in it follow.
    """
    rows, known = read(trials, known)
    jobs = [job for job in dict.fromkeys((*chain, *rows.jobs)) if job in rows.jobs]
    series: list[Series] = []
    before, best = 0, np.nan
    for job in jobs:
        chosen = [index for index, other in enumerate(rows.jobs) if other == job]
        line = best_so_far(rows.values[chosen], known.sign, best)
        series.append(Series(job, tuple(chosen), np.arange(1.0, len(chosen) + 1) + before, line))
        if chain:
            before, best = before + len(chosen), line[-1]
    is_log = is_wide(rows.values)
    floor = _floor(rows.values, is_log)
    running = np.array([state == "running" for state in rows.states], dtype=bool)
    heights = np.where(np.isfinite(rows.values), rows.values, np.where(running, np.nan, floor))
    return HistoryInfo(
        title=f"History: {known.goal} by trial",
        subtitle=_subtitle(rows),
        note=why_none(rows),
        rows=rows,
        series=tuple(series),
        heights=heights,
        floor=floor,
        is_log=is_log,
        is_chain=bool(chain),
        objective=known.objective,
    )


def best_so_far(values: Array, sign: float, start: float = np.nan) -> Array:
    """The best value up to each; nan until there is one.

    Args:
        values: in order of time; nan where there is none.
        sign: 1 when smaller is better, -1 when greater is.
        start: the best before all of them.
    """
    return np.asarray(sign * np.fmin.accumulate(sign * np.concatenate([[start], values]))[1:])


def _floor(values: Array, is_log: bool) -> float:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0
    low, high = float(finite.min()), float(finite.max())
    if is_log:
        return float(low / (high / low) ** 0.08)
    return low - 0.08 * ((high - low) or abs(low) or 1.0)


def _subtitle(rows: Rows) -> str:
    counts = {state: rows.states.count(state) for state in dict.fromkeys(rows.states)}
    return f"{plural(len(rows.names), 'trial')}: " + ", ".join(f"{count} {state}" for state, count in counts.items())


def hover_texts(rows: Rows, objective: str, extra: Sequence[str] | None = None) -> list[str]:
    """What hovering over each trial shows, escaped: its label, state and value, and a further line for each."""
    lines = []
    for index, name in enumerate(rows.labels):
        value = rows.values[index]
        shown = f"<br>{escape(objective)} = {label(float(value))}" if np.isfinite(value) else ""
        more = f"<br>{extra[index]}" if extra is not None else ""
        lines.append(f"<b>{escape(name)}</b> {rows.states[index]}{shown}{more}")
    return lines


def draw_history(info: HistoryInfo) -> Figure:
    """Draw ``history_info``: a step line of the best so far over points, and crosses below for failed trials."""
    return figure_of(sketch_history(info))


def sketch_history(info: HistoryInfo) -> Sketch:
    """What ``draw_history`` draws, as plain data."""
    if info.note:
        return empty_sketch(info.title, info.note)
    figure = new_sketch(info.title, subtitle=info.subtitle)
    several = len(info.series) > 1
    numbers = np.zeros(len(info.rows.names))
    for position, one in enumerate(info.series):
        numbers[list(one.rows)] = one.numbers
        _add_best_line(figure, one, position if several else None)
        if info.is_chain and position:
            figure.add_vline(float(one.numbers[0]) - 0.5, {"color": NEUTRAL, "dash": "dot", "width": 1})
    looks = list(zip(info.rows.states, info.rows.is_best, strict=True))
    texts = hover_texts(info.rows, info.objective)
    add_points(figure, Points(numbers, info.heights, looks, texts))
    figure.update_xaxes(title="trial, in order of end", rangemode="tozero")
    figure.update_yaxes(title=escape(info.objective), type="log" if info.is_log else "linear")
    return figure


def _add_best_line(figure: Sketch, one: Series, position: int | None) -> None:
    named = "best so far" if position is None else f"best so far, {escape(one.job)}"
    figure.add_trace(
        scatter(
            x=one.numbers.tolist(),
            y=one.best.tolist(),
            mode="lines",
            line={"shape": "hv", "width": 2, "color": NEUTRAL if position is None else SERIES[position % len(SERIES)]},
            name=named,
            hoverinfo="skip",
        )
    )


class Share(NamedTuple):
    """One job's values, sorted so that the best come first, and the share of its trials up to each (0 to 1)."""

    job: str
    values: Array
    shares: Array


class EdfInfo(NamedTuple):
    """How the values of each job are distributed; ``note`` says why there is nothing to see."""

    title: str
    subtitle: str
    note: str
    series: tuple[Share, ...]
    is_log: bool
    objective: str


def edf_info(trials: pd.DataFrame, known: About | None = None) -> EdfInfo:
    """The share of each job's evaluated trials that are at least as good as a value.

    Args:
        trials: the frame of trials, of one job or several.
        known: the facts of the job.
    """
    rows, known = read(trials, known)
    series = []
    for job in dict.fromkeys(rows.jobs):
        values = rows.values[[index for index, other in enumerate(rows.jobs) if other == job]]
        ordered = known.sign * np.sort(known.sign * values[np.isfinite(values)])
        if len(ordered):
            series.append(Share(job, ordered, np.arange(1.0, len(ordered) + 1) / len(ordered)))
    return EdfInfo(
        title=f"Distribution: share of trials at least as good, by {known.goal}",
        subtitle="a curve further towards the good side is a better search space or strategy",
        note=why_none(rows),
        series=tuple(series),
        is_log=is_wide(rows.values),
        objective=known.objective,
    )


def draw_edf(info: EdfInfo) -> Figure:
    """Draw ``edf_info``: one step line a job."""
    return figure_of(sketch_edf(info))


def sketch_edf(info: EdfInfo) -> Sketch:
    """What ``draw_edf`` draws, as plain data."""
    if info.note:
        return empty_sketch(info.title, info.note)
    figure = new_sketch(info.title, subtitle=info.subtitle)
    for position, one in enumerate(info.series):
        figure.add_trace(
            scatter(
                x=one.values.tolist(),
                y=(100 * one.shares).tolist(),
                mode="lines+markers" if len(one.values) == 1 else "lines",
                line={"shape": "hv", "width": 2, "color": SERIES[position % len(SERIES)]},
                name=escape(one.job),
                showlegend=len(info.series) > 1,
                hovertemplate="%{y:.0f} % up to %{x}<extra></extra>",
            )
        )
    figure.update_xaxes(title=escape(info.objective), type="log" if info.is_log else "linear")
    figure.update_yaxes(title="trials (%)", range=[0, 104])
    return figure
