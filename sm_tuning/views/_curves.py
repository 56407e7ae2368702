"""Metrics while the trials ran, and what they reached on training data and on held-out data."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from sm_tuning._errors import SpecError
from sm_tuning.views._axis import Array, label
from sm_tuning.views._figure import (
    GREEN,
    NEUTRAL,
    STATE_COLOURS,
    Sketch,
    escape,
    hover_texts,
    is_wide,
    joined,
    rounded_each,
    trace,
)
from sm_tuning.views._trials import STATES, About, Rows, plural, read

By = Literal["step", "time"]

#: With more points than this, curves are thinned: a screen cannot show more.
MOST_POINTS = 12_000

#: Units of time: the number of seconds from which each is used, its name and its length, the longest first.
_UNITS = ((3 * 86400.0, "days", 86400.0), (3 * 3600.0, "hours", 3600.0), (180.0, "minutes", 60.0))

_TRAIN = ("train", "training")
_HELD_OUT = ("validation", "valid", "val", "test", "eval")
_SEPARATORS = (":", "_", "-", "/", ".")


def unit_of(seconds: float) -> tuple[str, float]:
    """Return the unit for times up to this number of seconds, and its length in seconds."""
    return next(((name, length) for start, name, length in _UNITS if seconds >= start), ("seconds", 1.0))


def duration(seconds: float) -> str:
    """Return a time in three digits of a suitable unit."""
    unit, length = unit_of(seconds)
    return f"{seconds / length:.3g} {unit}"


class Curve(NamedTuple):
    """The values of a metric of one trial: its row in the frame of trials, and x and y in order of time."""

    row: int
    x: Array
    y: Array


class CurvesInfo(NamedTuple):
    """The curves of one metric.

    Attributes:
        title: of the plot.
        subtitle: the number of curves, and what was thinned or left out.
        note: why the plot is empty; empty if it is not.
        metric: its name.
        unit: of the x axis.
        rows: all trials.
        curves: one for each trial that emitted the metric.
        is_log: whether the values have a logarithmic axis.
    """

    title: str
    subtitle: str
    note: str
    metric: str
    unit: str
    rows: Rows
    curves: tuple[Curve, ...]
    is_log: bool

    def sketch(self) -> Sketch:
        """Draw completed trials in blue, stopped and failed ones dimmed, the best in green on top."""
        if self.note:
            return Sketch.empty(self.title, self.note)
        figure = Sketch(self.title, subtitle=self.subtitle)
        titles = [escape(text) for text in self.rows.titles]
        looks = ["best" if best else state for state, best in zip(self.rows.states, self.rows.is_best, strict=True)]
        # Drawn last means on top: first running and failed trials, then completed ones, then the best.
        for look in (*reversed(STATES), "best"):
            chosen = [curve for curve in self.curves if looks[curve.row] == look]
            if not chosen:
                continue
            across = rounded_each([curve.x for curve in chosen], 6)
            up = rounded_each([curve.y for curve in chosen])
            x, y, rows = joined(zip([curve.row for curve in chosen], across, up, strict=True))
            # A line through one point has no length, so single values are drawn as points.
            single = all(len(curve.x) == 1 for curve in chosen)
            figure.add_trace(
                trace(
                    "scatter",
                    x=x,
                    y=y,
                    customdata=rows,
                    text=[titles[row] for row in rows],
                    hovertemplate="%{text}: %{y} at %{x}<extra></extra>",
                    mode="markers" if single else "lines",
                    name=look,
                    line={
                        "color": GREEN if look == "best" else STATE_COLOURS[look],
                        "width": {"best": 3, "completed": 1.3}.get(look, 1.2),
                        "dash": "dot" if look in ("failed", "no objective") else "solid",
                    },
                    opacity={"best": 1.0, "completed": 0.75}.get(look, 0.4),
                    meta={"link": "points" if single else "lines"},
                )
            )
        figure.update_xaxes(title=escape(self.unit))
        figure.update_yaxes(title=escape(self.metric), type="log" if self.is_log else "linear")
        return figure


def metrics_of(curves: pd.DataFrame, known: About | None = None) -> list[str]:
    """Return the metrics that trials emitted, the objective first."""
    names = [str(name) for name in curves["MetricName"].unique()]
    first = known.objectives if known is not None else []
    return sorted(names, key=lambda name: (name not in first, names.index(name)))


def curves_info(
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    known: About | None = None,
    *,
    metric: str | None = None,
    by: By = "step",
) -> CurvesInfo:
    """Return the curves of a metric by step, or by the time since each trial's start.

    Args:
        trials: the frame of trials.
        curves: the frame of curves.
        known: the facts of the job.
        metric: its name; by default the objective, or the first metric that was emitted.
        by: step or time.

    Raises:
        SpecError: the metric was not emitted, or ``by`` is invalid.
    """
    if by not in ("step", "time"):
        raise SpecError(f"curves go by 'step' or by 'time', not by {by!r}")
    rows, known = read(trials, known)
    names = metrics_of(curves, known)
    if metric is not None and metric not in names:
        raise SpecError(f"no values of a metric {metric!r}; there are values of: {', '.join(names) or 'none'}")
    metric = metric or (names[0] if names else known.objective)
    emitted = curves.loc[curves["MetricName"] == metric, ["TrainingJobName", "Step", "ElapsedSeconds", "Value"]]
    finite = emitted[np.isfinite(emitted["Value"])]
    found, unit, thinned = _curves(rows, finite, by)
    # The direction of another metric is not known.
    direction = f" ({known.direction})" if known.direction and metric in known.objectives else ""
    omitted = len(emitted) - len(finite)
    parts = [
        plural(len(found), "trial"),
        "stopped ones dimmed" if "stopped" in rows.states else "",
        f"thinned to {plural(sum(len(curve.x) for curve in found), 'point')}" if thinned else "",
        f"{plural(omitted, 'value')} nan or infinite and not drawn" if omitted else "",
    ]
    return CurvesInfo(
        title=f"Curves: {metric}{direction} by {'step' if by == 'step' else f'time ({unit})'}",
        subtitle=", ".join(part for part in parts if part),
        note="" if found else f"No trial has emitted a finite value of {metric}.",
        metric=metric,
        unit="step" if by == "step" else f"time since the trial's start ({unit})",
        rows=rows,
        curves=tuple(found),
        is_log=is_wide(finite["Value"].to_numpy(np.float64)),
    )


def _curves(rows: Rows, finite: pd.DataFrame, by: By) -> tuple[list[Curve], str, bool]:
    """Return the curves in the order of the trials, the unit of time, and whether points were thinned."""
    row_of = {name: row for row, name in enumerate(rows.names)}
    column = "Step" if by == "step" else "ElapsedSeconds"
    finite = finite[np.isfinite(finite[column].to_numpy(np.float64))]
    unit, length = unit_of(float(finite["ElapsedSeconds"].max()) if len(finite) else 0.0)
    divisor = 1.0 if by == "step" else length
    # The same stride for every trial, so that all curves keep their shape.
    stride = -(-len(finite) // MOST_POINTS) or 1
    # One stable sort instead of groupby: a job of 500 trials has 100,000 values.
    codes, names = pd.factorize(finite["TrainingJobName"])
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes, minlength=len(names))
    ends = np.cumsum(counts)
    kept = (np.arange(len(order)) - np.repeat(ends - counts, counts)) % stride == 0
    kept[ends - 1] = True  # the last value is the one that counts
    x, y = (finite[name].to_numpy(np.float64)[order][kept] for name in (column, "Value"))
    parts = (np.split(values, np.cumsum(kept)[ends - 1][:-1]) for values in (x / divisor, y))
    found = [Curve(row_of[name], *part) for name, *part in zip(names, *parts, strict=False) if name in row_of]
    return sorted(found, key=lambda curve: curve.row), unit, stride > 1


class TrainValidationInfo(NamedTuple):
    """The last values of each trial on training data and on held-out data.

    Attributes:
        title: of the plot.
        subtitle: how to read it.
        note: why the plot is empty; empty if it is not.
        rows: all trials.
        train: the last value of each trial on training data; NaN without one.
        validation: the last value on held-out data.
        metrics: names of the two metrics.
        is_log: whether both axes are logarithmic.
    """

    title: str
    subtitle: str
    note: str
    rows: Rows
    train: Array
    validation: Array
    metrics: tuple[str, str]
    is_log: bool

    def sketch(self) -> Sketch:
        """Draw trials as points, and a dashed line where both values are equal."""
        if self.note:
            return Sketch.empty(self.title, self.note)
        figure = Sketch(self.title, subtitle=self.subtitle)
        both = np.concatenate([self.train, self.validation])
        ends = [float(np.nanmin(both)), float(np.nanmax(both))]
        line = {"color": NEUTRAL, "dash": "dash", "width": 1}
        figure.add_trace(trace("scatter", x=ends, y=ends, mode="lines", line=line, name="equal", hoverinfo="skip"))
        first, second = (escape(metric) for metric in self.metrics)
        values = [
            f"{first} = {label(float(train))}<br>{second} = {label(float(validation))}"
            for train, validation in zip(self.train, self.validation, strict=True)
        ]
        figure.add_trials(self.rows, self.train, self.validation, hover_texts(self.rows, "objective", values))
        kind = "log" if self.is_log else "linear"
        figure.update_xaxes(title=first, type=kind)
        figure.update_yaxes(title=second, type=kind)
        return figure


def train_pairs(names: list[str]) -> list[tuple[str, str]]:
    """Return pairs of a metric on training data and on held-out data, for example train:loss and validation:loss."""
    found = []
    for name in names:
        for word in _TRAIN:
            for separator in _SEPARATORS:
                if name.startswith(word + separator):
                    rest = name.removeprefix(word + separator)
                    others = (f"{other}{separator}{rest}" for other in _HELD_OUT)
                    found += [(name, other) for other in others if other in names]
    return found


def train_validation_info(
    trials: pd.DataFrame, curves: pd.DataFrame, known: About | None = None, *, metric: str | None = None
) -> TrainValidationInfo:
    """Return the last values of a metric on training data and on held-out data.

    Args:
        trials: the frame of trials.
        curves: the frame of curves.
        known: the facts of the job.
        metric: one of the two metrics; by default the objective's pair, or the first pair.

    Raises:
        SpecError: the metric has no counterpart.
    """
    rows, known = read(trials, known)
    pairs = train_pairs(metrics_of(curves, known))
    wanted = [pair for pair in pairs if metric in pair]
    if metric is not None and not wanted:
        known_pairs = ", ".join(" and ".join(pair) for pair in pairs) or "none"
        raise SpecError(f"{metric!r} is not in a pair of train and validation metrics; there are: {known_pairs}")
    # The objective itself may be the metric on held-out data.
    own = [pair for pair in pairs if set(pair) & set(known.objectives)]
    pair = (wanted or own or pairs or [("train", "validation")])[0]
    last = []
    for name in pair:
        by_trial = curves[curves["MetricName"] == name].groupby("TrainingJobName", sort=False, observed=True)
        final = by_trial["Value"].last()
        values = np.array([float(final.get(trial, np.nan)) for trial in rows.names])
        last.append(np.where(np.isfinite(values), values, np.nan))
    train, validation = last
    both = int((np.isfinite(train) & np.isfinite(validation)).sum())
    lonely = "No metric was emitted both on training and on held-out data, such as train:loss and validation:loss."
    direction = f" ({known.direction})" if known.direction and set(pair) & set(known.objectives) else ""
    return TrainValidationInfo(
        title=f"Train against validation: {pair[0]} and {pair[1]}{direction}",
        subtitle=f"last values of {plural(both, 'trial')}; far from the dashed line of equal values: overfitting",
        note=("" if both else "No trial has finite values of both metrics.") if pairs else lonely,
        rows=rows,
        train=train,
        validation=validation,
        metrics=pair,
        is_log=is_wide(np.concatenate([train, validation])),
    )
