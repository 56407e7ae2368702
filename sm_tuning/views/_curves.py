"""Metrics as they went while the trials ran, and what was reached on training data against held-out data."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from sm_tuning._errors import SpecError
from sm_tuning.views._about import About
from sm_tuning.views._axis import Array, label
from sm_tuning.views._history import hover_texts
from sm_tuning.views._rows import STATES, Rows, plural, read
from sm_tuning.views._sketch import Sketch, scatter
from sm_tuning.views._theme import (
    GREEN,
    NEUTRAL,
    STATE_COLOURS,
    Figure,
    Points,
    add_points,
    empty_sketch,
    escape,
    figure_of,
    is_wide,
    new_sketch,
)

By = Literal["step", "time"]

#: More points than this are thinned: no screen shows them.
MOST_POINTS = 12_000

#: Units of time by the seconds from which they are used, the longest first.
UNITS = ((3 * 86400.0, "days", 86400.0), (3 * 3600.0, "hours", 3600.0), (180.0, "minutes", 60.0), (0.0, "seconds", 1.0))


class Curve(NamedTuple):
    """One trial's values of the metric: its row in the frame of trials, and x and y without gaps in time."""

    row: int
    x: Array
    y: Array


class CurvesInfo(NamedTuple):
    """The curves of one metric.

    Attributes:
        title: what is seen.
        subtitle: how many curves are, what was thinned or left out.
        note: why there is nothing to see; else empty.
        metric: its name.
        unit: of the x axis.
        rows: all trials.
        curves: one a trial that emitted the metric.
        is_log: whether the axis of values is logarithmic.
    """

    title: str
    subtitle: str
    note: str
    metric: str
    unit: str
    rows: Rows
    curves: tuple[Curve, ...]
    is_log: bool


def metrics_of(curves: pd.DataFrame, known: About | None = None) -> list[str]:
    """The metrics that were emitted, the objective first."""
    names = [str(name) for name in curves["MetricName"].unique()]
    first = known.objective.split(" / ") if known is not None else []
    return sorted(names, key=lambda name: (name not in first, names.index(name)))


def curves_info(
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    known: About | None = None,
    *,
    metric: str | None = None,
    by: By = "step",
) -> CurvesInfo:
    """The curves of a metric by step, or by the time since each trial's start.

    Args:
        trials: the frame of trials.
        curves: the frame of curves.
        known: the facts of the job.
        metric: its name; the objective when left out, or the first that there is.
        by: ``step``, or ``time``.

    Raises:
        SpecError: there is no such metric, or ``by`` is neither.
    """
    if by not in ("step", "time"):
        raise SpecError(f"curves go by 'step' or by 'time', not by {by!r}")
    rows, known = read(trials, known)
    names = metrics_of(curves, known)
    if metric is not None and metric not in names:
        raise SpecError(f"no values of a metric {metric!r}; there are some of: {', '.join(names) or 'none'}")
    metric = metric or (names[0] if names else known.objective)
    chosen = curves[(curves["MetricName"] == metric) & np.isfinite(curves["Value"])]
    astray = int((curves["MetricName"] == metric).sum()) - len(chosen)
    found, unit, thinned = _curves(rows, chosen, by)
    direction = f" ({known.direction})" if known.direction and metric in known.objective.split(" / ") else ""
    parts = [plural(len(found), "trial"), "stopped ones dimmed" if "stopped" in rows.states else ""]
    parts += [f"thinned to {plural(sum(len(one.x) for one in found), 'point')}" if thinned else ""]
    parts += [f"{plural(astray, 'value')} nan or infinite and not drawn" if astray else ""]
    return CurvesInfo(
        title=f"Curves: {metric}{direction} by {'step' if by == 'step' else f'time ({unit})'}",
        subtitle=", ".join(part for part in parts if part),
        note="" if found else f"No trial has emitted a finite value of {metric}.",
        metric=metric,
        unit="step" if by == "step" else f"time since the trial's start ({unit})",
        rows=rows,
        curves=tuple(found),
        is_log=is_wide(chosen["Value"].to_numpy(np.float64)),
    )


def _curves(rows: Rows, chosen: pd.DataFrame, by: By) -> tuple[list[Curve], str, bool]:
    """The curves in the order of trials, the unit of time, and whether points were left out."""
    places = {name: row for row, name in enumerate(rows.names)}
    column = "Step" if by == "step" else "ElapsedSeconds"
    chosen = chosen[np.isfinite(chosen[column].to_numpy(np.float64))]
    seconds = float(chosen["ElapsedSeconds"].max()) if len(chosen) else 0.0
    unit, factor = unit_of(seconds)
    divisor = 1.0 if by == "step" else factor
    stride = -(-len(chosen) // MOST_POINTS) or 1
    codes, names = pd.factorize(chosen["TrainingJobName"])
    order = np.argsort(codes, kind="stable")
    x, y = (chosen[one].to_numpy(np.float64)[order] for one in (column, "Value"))
    ends = np.cumsum(np.bincount(codes, minlength=len(names)))
    starts = np.concatenate([[0], ends])[: len(names)]
    found = []
    for name, start, end in zip(names, starts, ends, strict=True):
        if name in places:
            kept = _thinned(int(end - start), stride)
            found.append(Curve(places[str(name)], x[start:end][kept] / divisor, y[start:end][kept]))
    return sorted(found, key=lambda one: one.row), unit, stride > 1


def _thinned(count: int, stride: int) -> list[int]:
    """Every so many positions, and always the last."""
    kept = list(range(0, count, stride))
    return kept if kept[-1] == count - 1 else [*kept, count - 1]


def unit_of(seconds: float) -> tuple[str, float]:
    """The unit for times up to so many seconds, and its length in seconds."""
    return next((name, factor) for start, name, factor in UNITS if seconds >= start or start == 0.0)


def draw_curves(info: CurvesInfo) -> Figure:
    """Draw ``curves_info``: completed trials in blue, stopped and failed ones dimmed, the best in green."""
    return figure_of(sketch_curves(info))


def duration(seconds: float) -> str:
    """A time in three digits of the unit that suits it."""
    unit, factor = unit_of(seconds)
    return f"{seconds / factor:.3g} {unit}"


def sketch_curves(info: CurvesInfo) -> Sketch:
    """What ``draw_curves`` draws, as plain data."""
    if info.note:
        return empty_sketch(info.title, info.note)
    figure = new_sketch(info.title, subtitle=info.subtitle)
    for state in reversed(STATES):
        chosen = [one for one in info.curves if info.rows.states[one.row] == state and not info.rows.is_best[one.row]]
        _add_lines(figure, info, chosen, state)
    _add_lines(figure, info, [one for one in info.curves if info.rows.is_best[one.row]], "best")
    figure.update_xaxes(title=escape(info.unit))
    figure.update_yaxes(title=escape(info.metric), type="log" if info.is_log else "linear")
    return figure


def _add_lines(figure: Sketch, info: CurvesInfo, chosen: list[Curve], state: str) -> None:
    """Curves as one trace with gaps between them."""
    if not chosen:
        return
    x: list[float | None] = []
    y: list[float | None] = []
    rows: list[int] = []
    for one in chosen:
        x += [*(float(f"{value:.6g}") for value in one.x), None]
        y += [*(float(f"{value:.7g}") for value in one.y), None]
        rows += [one.row] * (len(one.x) + 1)
    single = all(len(one.x) == 1 for one in chosen)
    figure.add_trace(
        scatter(
            x=x,
            y=y,
            customdata=rows,
            text=[escape(info.rows.labels[row]) for row in rows],
            hovertemplate="%{text}: %{y} at %{x}<extra></extra>",
            mode="markers" if single else "lines",
            name=state,
            line={
                "color": GREEN if state == "best" else STATE_COLOURS[state],
                "width": {"best": 3, "completed": 1.3}.get(state, 1.2),
                "dash": "dot" if state in ("failed", "no objective") else "solid",
            },
            opacity={"best": 1.0, "completed": 0.75}.get(state, 0.4),
            meta={"link": "points" if single else "lines"},
        )
    )


class TrainValidationInfo(NamedTuple):
    """What each trial reached at its end on training data and on held-out data.

    Attributes:
        title: what is seen.
        subtitle: how to read it.
        note: why there is nothing to see; else empty.
        rows: all trials.
        train: the last value of each trial on training data; nan where there is none.
        validation: the same on held-out data.
        metrics: the two metrics' names.
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


_TRAIN = ("train", "training")
_HELD_OUT = ("validation", "valid", "val", "test", "eval")
_SEPARATORS = (":", "_", "-", "/", ".")


def train_pairs(names: list[str]) -> list[tuple[str, str]]:
    """Pairs of a training metric and the same on held-out data, such as train:loss and validation:loss."""
    found = []
    for name in names:
        for word in _TRAIN:
            for mark in _SEPARATORS:
                if name.startswith(word + mark):
                    rest = name.removeprefix(word + mark)
                    found += [(name, held) for held in (f"{other}{mark}{rest}" for other in _HELD_OUT) if held in names]
    return found


def train_validation_info(
    trials: pd.DataFrame, curves: pd.DataFrame, known: About | None = None, *, metric: str | None = None
) -> TrainValidationInfo:
    """The last values of a metric on training data against those on held-out data.

    Args:
        trials: the frame of trials.
        curves: the frame of curves.
        known: the facts of the job.
        metric: one of the two metrics; when left out the objective's pair, or the first that there is.

    Raises:
        SpecError: the metric is in no such pair.
    """
    rows, known = read(trials, known)
    pairs = train_pairs(metrics_of(curves, known))
    wanted = [pair for pair in pairs if metric in pair]
    if metric is not None and not wanted:
        known_pairs = ", ".join(" and ".join(pair) for pair in pairs) or "none"
        raise SpecError(f"{metric!r} is not in a pair of train and validation metrics; there are: {known_pairs}")
    objective = [pair for pair in pairs if set(pair) & set(known.objective.split(" / "))]
    pair = (wanted or objective or pairs or [("train", "validation")])[0]
    train, validation = (_last(rows, curves, name) for name in pair)
    both = int((np.isfinite(train) & np.isfinite(validation)).sum())
    lonely = "No metric was emitted both on training and on held-out data, such as train:loss and validation:loss."
    direction = f" ({known.direction})" if set(pair) & set(known.objective.split(" / ")) and known.direction else ""
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


def _last(rows: Rows, curves: pd.DataFrame, metric: str) -> Array:
    """The last value of a metric of each trial; nan where there is none or it is not finite."""
    chosen = curves[curves["MetricName"] == metric]
    last = chosen.groupby("TrainingJobName", sort=False, observed=True)["Value"].last()
    values = np.array([float(last.get(name, np.nan)) for name in rows.names])
    return np.where(np.isfinite(values), values, np.nan)


def draw_train_validation(info: TrainValidationInfo) -> Figure:
    """Draw ``train_validation_info``: trials as points, and the line where both values are equal."""
    return figure_of(sketch_train_validation(info))


def sketch_train_validation(info: TrainValidationInfo) -> Sketch:
    """What ``draw_train_validation`` draws, as plain data."""
    if info.note:
        return empty_sketch(info.title, info.note)
    figure = new_sketch(info.title, subtitle=info.subtitle)
    both = np.concatenate([info.train, info.validation])
    ends = [float(np.nanmin(both)), float(np.nanmax(both))]
    line = {"color": NEUTRAL, "dash": "dash", "width": 1}
    figure.add_trace(scatter(x=ends, y=ends, mode="lines", line=line, name="equal", hoverinfo="skip"))
    pairs = [
        f"{escape(info.metrics[0])} = {label(float(one))}<br>{escape(info.metrics[1])} = {label(float(other))}"
        for one, other in zip(info.train, info.validation, strict=True)
    ]
    texts = [f"{text}<br>{pair}" for text, pair in zip(hover_texts(info.rows, "objective"), pairs, strict=True)]
    looks = list(zip(info.rows.states, info.rows.is_best, strict=True))
    add_points(figure, Points(info.train, info.validation, looks, texts))
    kind = "log" if info.is_log else "linear"
    figure.update_xaxes(title=escape(info.metrics[0]), type=kind)
    figure.update_yaxes(title=escape(info.metrics[1]), type=kind)
    return figure
