"""Several objectives against each other, with the Pareto front, and the hypervolume from trial to trial."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from sm_tuning._errors import SpecError, did_you_mean
from sm_tuning.results import costs_in, costs_of, feasible_of, hypervolumes, on_front, reference_of, values_of
from sm_tuning.views._axis import Array, label
from sm_tuning.views._figure import GREEN, NEUTRAL, Sketch, escape, hover_texts, is_wide, trace
from sm_tuning.views._trials import About, Rows, plural, read

_NO_FRONT = "There is one objective; a study with further objectives has a Pareto front."


class FrontInfo(NamedTuple):
    """Two objectives of each trial, and the Pareto front.

    Attributes:
        title: of the plot.
        subtitle: the number of trials on the front.
        note: why the plot is empty; empty if it is not.
        rows: the trials.
        x: values of the first objective; NaN where one is missing.
        y: values of the second objective.
        feasible: whether each trial keeps to the constraints; all do without constraints.
        front: rows of the trials on the front of these two objectives, by the first one.
        names: of the two objectives.
    """

    title: str
    subtitle: str
    note: str
    rows: Rows
    x: Array
    y: Array
    feasible: tuple[bool, ...]
    front: tuple[int, ...]
    names: tuple[str, str]

    def sketch(self) -> Sketch:
        """Draw the trials as points, and the front as a line of steps; trials that break a constraint are circled."""
        if self.note:
            return Sketch.empty(self.title, self.note)
        figure = Sketch(self.title, subtitle=self.subtitle)
        x, y = self.x[list(self.front)].tolist(), self.y[list(self.front)].tolist()
        line = {"shape": "hv", "width": 2, "color": GREEN}
        figure.add_trace(trace("scatter", x=x, y=y, mode="lines", line=line, name="front", hoverinfo="skip"))
        if not all(self.feasible):
            broken = [row for row, is_feasible in enumerate(self.feasible) if not is_feasible]
            marker = {"symbol": "circle-open", "size": 14, "color": NEUTRAL}
            x, y = self.x[broken].tolist(), self.y[broken].tolist()
            name = "breaks a constraint"
            figure.add_trace(trace("scatter", x=x, y=y, mode="markers", marker=marker, name=name, hoverinfo="skip"))
        extra = [f"{escape(self.names[1])} = {label(float(v))}" if np.isfinite(v) else "" for v in self.y]
        figure.add_trials(self.rows, self.x, self.y, hover_texts(self.rows, self.names[0], extra))
        figure.update_xaxes(title=escape(self.names[0]), type="log" if is_wide(self.x) else "linear")
        figure.update_yaxes(title=escape(self.names[1]), type="log" if is_wide(self.y) else "linear")
        return figure


class HypervolumeInfo(NamedTuple):
    """The hypervolume of the trials up to each one.

    Attributes:
        title: of the plot.
        subtitle: the reference point.
        note: why the plot is empty; empty if it is not.
        values: the hypervolume after each trial, in order of end.
    """

    title: str
    subtitle: str
    note: str
    values: Array

    def sketch(self) -> Sketch:
        """Draw a line of steps."""
        if self.note:
            return Sketch.empty(self.title, self.note)
        figure = Sketch(self.title, subtitle=self.subtitle)
        numbers = list(range(1, len(self.values) + 1))
        line = {"shape": "hv", "width": 2, "color": GREEN}
        values = self.values.tolist()
        figure.add_trace(trace("scatter", x=numbers, y=values, mode="lines", line=line, name="hypervolume"))
        figure.update_xaxes(title="trial, in order of end", rangemode="tozero")
        figure.update_yaxes(title="hypervolume", rangemode="tozero")
        return figure


def front_info(
    trials: pd.DataFrame, known: About | None = None, *, x: str | None = None, y: str | None = None
) -> FrontInfo:
    """Return two objectives of each trial, and the trials on the Pareto front of the two.

    Args:
        trials: the frame of trials of a study.
        known: the facts of the study, from ``about``.
        x: the objective of the horizontal axis; the first one by default.
        y: the objective of the vertical axis; the first other one by default.

    Raises:
        SpecError: x or y is not an objective.
    """
    rows, known = read(trials, known)
    directions = known.directions
    for given in (x, y):
        if given is not None and given not in directions:
            raise SpecError(f"{given!r} is not an objective; {did_you_mean(given, set(directions), kind='objectives')}")
    first = x or next(name for name in directions if name != y)
    second = y or next((name for name in directions if name != first), first)
    values = {name: values_of(trials, known.directions, name) for name in (first, second)}
    costs = costs_in(trials, known.directions)[:, [list(directions).index(first), list(directions).index(second)]]
    chosen = np.flatnonzero(on_front(costs))
    front = tuple(int(row) for row in chosen[np.argsort(values[first][chosen], kind="stable")])
    return FrontInfo(
        title=f"{first} ({_words(directions[first])}) against {second} ({_words(directions[second])})",
        subtitle=f"{plural(len(front), 'trial')} on the front",
        note=_NO_FRONT if first == second else rows.note,
        rows=rows,
        x=values[first],
        y=values[second],
        feasible=tuple(feasible_of(trials)),
        front=front,
        names=(first, second),
    )


def hypervolume_info(trials: pd.DataFrame, known: About | None = None) -> HypervolumeInfo:
    """Return the hypervolume of the feasible trials up to each one.

    Args:
        trials: the frame of trials of a study, in order of end.
        known: the facts of the study, from ``about``.
    """
    rows, known = read(trials, known)
    costs = costs_in(trials, known.directions)
    reference = reference_of(costs)
    title = f"Hypervolume of {', '.join(known.directions)}"
    if len(known.directions) < 2 or reference is None:
        return HypervolumeInfo(title, "", _NO_FRONT if len(known.directions) < 2 else rows.note or "No trial.", costs)
    signs = costs_of([1.0] * len(reference), list(known.directions.values()))
    point = ", ".join(f"{n} = {label(float(v))}" for n, v in zip(known.directions, reference * signs, strict=True))
    return HypervolumeInfo(title, f"up to {point}", "", hypervolumes(costs, reference))


def _words(direction: str) -> str:
    return "higher is better" if direction == "Maximize" else "lower is better"
