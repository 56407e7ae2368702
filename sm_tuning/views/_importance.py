"""How much each hyperparameter matters and which way it goes, and which go together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from sm_tuning.views._about import About
from sm_tuning.views._axis import Array, numbers, texts
from sm_tuning.views._rows import Rows, axes_of, plural, read, why_none
from sm_tuning.views._sketch import Sketch, bar, heatmap, scatter
from sm_tuning.views._theme import BLUE, NEUTRAL, ORANGE, Figure, empty_sketch, escape, figure_of, new_sketch

#: A categorical hyperparameter has one row a value in the heatmap, as long as it has no more values than this.
_MANY_VALUES = 6

#: Fewer evaluated trials say nothing about importance or correlation.
FEWEST = 3


class ImportanceInfo(NamedTuple):
    """Bars of importance.

    Attributes:
        title: what is seen.
        subtitle: how importance was measured.
        note: why there is nothing to see; else empty.
        names: the hyperparameters, the most important first.
        importances: shares, or absolute correlations; 0 to 1.
        lows: the lower bound of each; nan where none is known.
        highs: the upper bound of each.
        correlations: Spearman's with the objective, -1 to 1; nan where there is no order, as of categories.
        effects: in words, which way the objective goes.
    """

    title: str
    subtitle: str
    note: str
    names: tuple[str, ...]
    importances: Array
    lows: Array
    highs: Array
    correlations: Array
    effects: tuple[str, ...]


def importance_info(
    trials: pd.DataFrame, known: About | None = None, *, importance: pd.DataFrame | None = None
) -> ImportanceInfo:
    """Importance with the sign of the correlation.

    Args:
        trials: the frame of trials.
        known: the facts of the job.
        importance: the frame of ``results.importance``; when it is left out, the correlations' sizes stand in.
    """
    rows, known = read(trials, known)
    found = correlations(trials, rows, known)
    told = None if importance is None else importance.dropna(subset=["Importance"])
    if told is None or not len(told):
        bars = {name: (abs(value), np.nan, np.nan) for name, value in found.items() if np.isfinite(value)}
        how = "size of Spearman's correlation with the objective"
    else:
        bars = _bars(told)
        how = "share of the objective's variance that each explains by itself (fANOVA), with 90 % of resamples"
    names = sorted(bars, key=lambda name: -bars[name][0])
    table = np.array([bars[name] for name in names]).reshape(len(names), 3)
    few = f"Importance needs at least {FEWEST} trials with an objective; there are {len(rows.evaluated)}."
    return ImportanceInfo(
        title=f"Importance of hyperparameters for {known.goal}",
        subtitle=f"{how}; colour and sign: whether the objective rises or falls with it",
        note=why_none(rows) or ("" if len(rows.evaluated) >= FEWEST else few) or ("" if names else "Nothing varied."),
        names=tuple(names),
        importances=table[:, 0],
        lows=table[:, 1],
        highs=table[:, 2],
        correlations=np.array([found.get(name.rpartition(": ")[2], np.nan) for name in names]),
        effects=tuple(_effect(found.get(name.rpartition(": ")[2], np.nan), known) for name in names),
    )


def _bars(importance: pd.DataFrame) -> dict[str, tuple[float, float, float]]:
    """Importance and its bounds by hyperparameter, with the algorithm in front when there are several."""
    several = importance["TrainingJobDefinitionName"].nunique() > 1
    columns = ["TrainingJobDefinitionName", "Hyperparameter", "Importance", "ImportanceLow", "ImportanceHigh"]
    return {
        f"{definition}: {name}" if several else name: (float(mean), float(low), float(high))
        for definition, name, mean, low, high in importance[columns].itertuples(index=False, name=None)
    }


def _effect(correlation: float, known: About) -> str:
    """Which way the objective goes when the hyperparameter grows, and whether that is good."""
    if not np.isfinite(correlation):
        return "has no order"
    if abs(correlation) < 0.1:
        return "no trend"
    word = "rises" if correlation > 0 else "falls"
    if known.maximize is None:
        return f"objective {word}"
    return f"objective {word}: {'better' if (correlation > 0) == known.maximize else 'worse'} with more"


def correlations(trials: pd.DataFrame, rows: Rows, known: About) -> dict[str, float]:
    """Spearman's correlation of each numeric hyperparameter with the objective; nan for categories and constants."""
    objective = pd.Series(rows.values)
    found = {}
    for axis in axes_of(trials, rows, known):
        ordered = axis.kind != "category"
        column = pd.Series(numbers(trials[axis.name])) if ordered else pd.Series(np.full(len(trials), np.nan))
        found[axis.name] = spearman(column, objective)
    return found


def spearman(one: pd.Series, other: pd.Series) -> float:
    """Spearman's rank correlation over the rows where both are finite; nan when it has no meaning there."""
    both = np.isfinite(one.to_numpy(np.float64)) & np.isfinite(other.to_numpy(np.float64))
    ranks = one[both].rank(), other[both].rank()
    if both.sum() < FEWEST or any(rank.nunique() < 2 for rank in ranks):
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


def draw_importance(info: ImportanceInfo) -> Figure:
    """Draw ``importance_info``: bars, blue where the objective rises with the hyperparameter, orange where it falls."""
    return figure_of(sketch_importance(info))


def sketch_importance(info: ImportanceInfo) -> Sketch:
    """What ``draw_importance`` draws, as plain data."""
    if info.note:
        return empty_sketch(info.title, info.note)
    figure = new_sketch(info.title, subtitle=info.subtitle, height=150 + 30 * len(info.names))
    colours = [_colour(value) for value in info.correlations]
    signs = [f"{value:+.2f}" if np.isfinite(value) else "±" for value in info.correlations]
    labels = [f"{sign}  {escape(effect)}" for sign, effect in zip(signs, info.effects, strict=True)]
    above = np.nan_to_num(info.highs - info.importances).clip(0)
    below = np.nan_to_num(info.importances - info.lows).clip(0)
    bounds = {"type": "data", "array": above.tolist(), "arrayminus": below.tolist(), "color": NEUTRAL, "thickness": 1}
    figure.add_trace(
        bar(
            x=info.importances.tolist(),
            y=list(range(len(info.names))),
            orientation="h",
            marker={"color": colours},
            error_x=bounds if np.isfinite(info.highs).any() else None,
            hovertext=labels,
            hovertemplate="%{x:.3f}<br>%{hovertext}<extra></extra>",
            showlegend=False,
        )
    )
    figure.add_trace(
        scatter(
            x=(info.importances + above).tolist(),
            y=list(range(len(info.names))),
            text=[f"  {text}" for text in labels],
            mode="text",
            textposition="middle right",
            hoverinfo="skip",
            showlegend=False,
            cliponaxis=False,
        )
    )
    top = float((info.importances + above).max(initial=0.0)) or 1.0
    names = [escape(name) for name in info.names]
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, autorange="reversed", showgrid=False)
    figure.update_xaxes(title="importance", range=[0, top * 1.55])
    return figure


def _colour(correlation: float) -> str:
    if not np.isfinite(correlation) or abs(correlation) < 0.1:
        return NEUTRAL
    return BLUE if correlation > 0 else ORANGE


class CorrelationInfo(NamedTuple):
    """Which hyperparameters went together, and with the objective.

    Attributes:
        title: what is seen.
        subtitle: how it was measured.
        note: why there is nothing to see; else empty.
        names: rows and columns: the objective, then the hyperparameters.
        matrix: Spearman's correlations; nan where one of the two does not vary. Symmetric.
    """

    title: str
    subtitle: str
    note: str
    names: tuple[str, ...]
    matrix: Array


def correlation_info(trials: pd.DataFrame, known: About | None = None) -> CorrelationInfo:
    """Rank correlations among the objective and the hyperparameters; a category's values have a row each.

    Args:
        trials: the frame of trials.
        known: the facts of the job.
    """
    rows, known = read(trials, known)
    columns: dict[str, pd.Series] = {known.objective: pd.Series(rows.values)}
    for axis in axes_of(trials, rows, known):
        if axis.kind != "category":
            columns[axis.name] = pd.Series(numbers(trials[axis.name]))
        elif len(axis.categories) <= _MANY_VALUES:
            columns.update(_indicators(axis.name, trials[axis.name], axis.categories))
    used = pd.DataFrame(columns).astype("float64")[np.isfinite(rows.values)]
    ranks = used.where(np.isfinite(used)).rank()
    matrix = ranks.corr(min_periods=FEWEST).to_numpy(np.float64)
    few = f"Correlations need at least {FEWEST} trials with an objective; there are {len(rows.evaluated)}."
    return CorrelationInfo(
        title=f"Correlation of hyperparameters and {known.goal}",
        subtitle=f"Spearman's, over {plural(len(used), 'trial')}; blank where a column does not vary",
        note=why_none(rows) or ("" if len(used) >= FEWEST else few),
        names=tuple(columns),
        matrix=matrix,
    )


def _indicators(name: str, values: pd.Series, categories: Sequence[str]) -> dict[str, pd.Series]:
    """A column of 0 and 1 for each category; for two of them one is enough."""
    found = texts(values)
    wanted = categories[1:] if len(categories) == 2 else categories
    return {
        f"{name}={category}": pd.Series([np.nan if text is None else float(text == category) for text in found])
        for category in wanted
    }


def draw_correlation(info: CorrelationInfo) -> Figure:
    """Draw ``correlation_info`` as a heatmap from orange (-1) to blue (+1)."""
    return figure_of(sketch_correlation(info))


def sketch_correlation(info: CorrelationInfo) -> Sketch:
    """What ``draw_correlation`` draws, as plain data."""
    if info.note:
        return empty_sketch(info.title, info.note)
    side = len(info.names)
    figure = new_sketch(info.title, subtitle=info.subtitle, height=min(1100, 220 + 30 * side))
    places = list(range(side))
    shown = [[f"{value:.2f}" if np.isfinite(value) else "" for value in line] for line in info.matrix]
    figure.add_trace(
        heatmap(
            x=places,
            y=places,
            z=np.round(info.matrix, 4).tolist(),
            zmin=-1,
            zmax=1,
            colorscale=[[0, ORANGE], [0.5, "#f4f4f4"], [1, BLUE]],
            text=shown,
            texttemplate="%{text}" if side <= 16 else None,
            colorbar={"thickness": 12, "title": {"text": "correlation", "side": "right"}},
            hoverinfo="skip" if side <= 16 else "z",
        )
    )
    names = [escape(name) for name in info.names]
    figure.update_xaxes(tickvals=places, ticktext=names, tickangle=40 if side > 5 else 0, showgrid=False)
    figure.update_yaxes(tickvals=places, ticktext=names, autorange="reversed", showgrid=False)
    return figure
