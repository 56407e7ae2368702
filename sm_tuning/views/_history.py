"""The objective from trial to trial, of one or several jobs, and the distribution of its values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from sm_tuning.views._axis import Array
from sm_tuning.views._figure import NEUTRAL, SERIES, Sketch, escape, hover_texts, is_wide, trace
from sm_tuning.views._trials import About, Rows, plural, read


class Series(NamedTuple):
    """The trials of one job in the order in which they ended.

    Attributes:
        job: the tuning job.
        rows: rows of the trials in the frame.
        numbers: position of each trial on the axis of trials; the first is 1.
        best: the best value up to each trial; NaN until there is one.
    """

    job: str
    rows: tuple[int, ...]
    numbers: Array
    best: Array


class HistoryInfo(NamedTuple):
    """The history of one or several jobs.

    Attributes:
        title: of the plot.
        subtitle: the number of trials in each state.
        note: why the plot is empty; empty if it is not.
        rows: the trials.
        series: one for each job.
        heights: where each trial is drawn: at its value, or at ``floor`` without a value; NaN while it runs.
        floor: the position of trials without a value, below all values.
        is_log: whether the objective has a logarithmic axis.
        is_chain: whether the jobs follow one another as one history.
        objective: title of the objective's axis.
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

    def sketch(self) -> Sketch:
        """Draw a step line of the best value so far over points, with crosses at the bottom for failed trials."""
        if self.note:
            return Sketch.empty(self.title, self.note)
        figure = Sketch(self.title, subtitle=self.subtitle)
        several = len(self.series) > 1
        numbers = np.zeros(len(self.rows.names))
        for position, series in enumerate(self.series):
            numbers[list(series.rows)] = series.numbers
            colour = SERIES[position % len(SERIES)] if several else NEUTRAL
            figure.add_trace(
                trace(
                    "scatter",
                    x=series.numbers.tolist(),
                    y=series.best.tolist(),
                    mode="lines",
                    line={"shape": "hv", "width": 2, "color": colour},
                    name=f"best so far, {escape(series.job)}" if several else "best so far",
                    hoverinfo="skip",
                )
            )
            if self.is_chain and position:
                figure.add_vline(float(series.numbers[0]) - 0.5, {"color": NEUTRAL, "dash": "dot", "width": 1})
        figure.add_trials(self.rows, numbers, self.heights, hover_texts(self.rows, self.objective))
        figure.update_xaxes(title="trial, in order of end", rangemode="tozero")
        figure.update_yaxes(title=escape(self.objective), type="log" if self.is_log else "linear")
        return figure


def history_info(trials: pd.DataFrame, known: About | None = None, *, chain: Sequence[str] = ()) -> HistoryInfo:
    """Return the numbers of a history: the objective of each trial in order, and the best value so far.

    Args:
        trials: the frame of trials, of one or several jobs.
        known: the facts of the job, from ``about``.
        chain: tuning jobs that were warm-started one from another, the oldest first. They are drawn as one history, in
            which the best value so far continues from job to job. Other jobs follow them.

    Raises:
        SpecError: the frame is not one of trials.
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
            # The child's search starts from the trials of its parents, so their best value is its first one.
            before, best = before + len(chosen), line[-1]
    is_log = is_wide(rows.values)
    floor = _floor(rows.values, is_log)
    # A failed trial has a place at the bottom; a running one has not failed, so it has no place yet.
    running = np.array([state == "running" for state in rows.states], dtype=bool)
    counts = {state: rows.states.count(state) for state in dict.fromkeys(rows.states)}
    return HistoryInfo(
        title=f"History: {known.goal} by trial",
        subtitle=f"{plural(len(rows.names), 'trial')}: " + ", ".join(f"{n} {state}" for state, n in counts.items()),
        note=rows.note,
        rows=rows,
        series=tuple(series),
        heights=np.where(np.isfinite(rows.values), rows.values, np.where(running, np.nan, floor)),
        floor=floor,
        is_log=is_log,
        is_chain=bool(chain),
        objective=known.objective,
    )


def best_so_far(values: Array, sign: float, start: float = np.nan) -> Array:
    """Return the best value up to each one; NaN until there is one.

    Args:
        values: in order of time; NaN for trials without a value.
        sign: 1 if smaller is better, -1 if greater is.
        start: the best value before all of them.
    """
    # fmin ignores NaN, so a failed trial leaves the best value as it is.
    return np.asarray(sign * np.fmin.accumulate(sign * np.concatenate([[start], values]))[1:])


def _floor(values: Array, is_log: bool) -> float:
    """Return a position below all values, by 8% of their span."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0
    low, high = float(finite.min()), float(finite.max())
    if is_log:
        # On a logarithmic axis the same share of the span is a factor.
        return float(low / (high / low) ** 0.08)
    return low - 0.08 * ((high - low) or abs(low) or 1.0)


class Share(NamedTuple):
    """The values of one job, the best first, and the share of its trials up to each value (0 to 1)."""

    job: str
    values: Array
    shares: Array


class EdfInfo(NamedTuple):
    """The distribution of each job's values; ``note`` gives the reason if the plot is empty."""

    title: str
    subtitle: str
    note: str
    series: tuple[Share, ...]
    is_log: bool
    objective: str

    def sketch(self) -> Sketch:
        """Draw one step line for each job."""
        if self.note:
            return Sketch.empty(self.title, self.note)
        figure = Sketch(self.title, subtitle=self.subtitle)
        for position, share in enumerate(self.series):
            figure.add_trace(
                trace(
                    "scatter",
                    x=share.values.tolist(),
                    y=(100 * share.shares).tolist(),
                    # A line through a single value has no length, so that value gets a marker.
                    mode="lines+markers" if len(share.values) == 1 else "lines",
                    line={"shape": "hv", "width": 2, "color": SERIES[position % len(SERIES)]},
                    name=escape(share.job),
                    showlegend=len(self.series) > 1,
                    hovertemplate="%{y:.0f}% up to %{x}<extra></extra>",
                )
            )
        figure.update_xaxes(title=escape(self.objective), type="log" if self.is_log else "linear")
        figure.update_yaxes(title="trials (%)", range=[0, 104])
        return figure


def edf_info(trials: pd.DataFrame, known: About | None = None) -> EdfInfo:
    """Return the share of each job's trials that are at least as good as each value.

    Args:
        trials: the frame of trials, of one or several jobs.
        known: the facts of the job.
    """
    rows, known = read(trials, known)
    series = []
    for job in dict.fromkeys(rows.jobs):
        values = rows.values[[index for index, other in enumerate(rows.jobs) if other == job]]
        # The best first, for both directions.
        ordered = known.sign * np.sort(known.sign * values[np.isfinite(values)])
        if len(ordered):
            series.append(Share(job, ordered, np.arange(1.0, len(ordered) + 1) / len(ordered)))
    return EdfInfo(
        title=f"Distribution: share of trials at least as good, by {known.goal}",
        subtitle="a curve further towards the good side is a better search space or strategy",
        note=rows.note,
        series=tuple(series),
        is_log=is_wide(rows.values),
        objective=known.objective,
    )
