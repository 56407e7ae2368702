"""How much each hyperparameter matters, in which direction, and which hyperparameters go together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from sm_tuning.views._axis import Array, numbers
from sm_tuning.views._figure import BLUE, NEUTRAL, ORANGE, Sketch, escape, trace
from sm_tuning.views._trials import About, Rows, axes_of, plural, read

#: Categorical hyperparameters with more values than this have no rows in the heatmap.
_MANY_VALUES = 6

#: Importance and correlation need this number of trials with an objective.
_FEWEST = 3

#: A correlation below this counts as no trend.
_WEAK = 0.1


class ImportanceInfo(NamedTuple):
    """Bars of importance.

    Attributes:
        title: of the plot.
        subtitle: how importance was measured.
        note: why the plot is empty; empty if it is not.
        names: the hyperparameters, the most important first.
        importances: shares, or absolute correlations; 0 to 1.
        lows: lower bounds; NaN if unknown.
        highs: upper bounds.
        correlations: Spearman's with the objective, -1 to 1; NaN for categories, which have no order.
        effects: the direction in words.
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

    def sketch(self) -> Sketch:
        """Draw bars, blue where the objective rises with the hyperparameter, orange where it falls."""
        if self.note:
            return Sketch.empty(self.title, self.note)
        figure = Sketch(self.title, subtitle=self.subtitle, height=150 + 30 * len(self.names))
        positions = list(range(len(self.names)))
        signs = [f"{value:+.2f}" if np.isfinite(value) else "±" for value in self.correlations]
        labels = [f"{sign}  {escape(effect)}" for sign, effect in zip(signs, self.effects, strict=True)]
        # The sign already says whether the objective rises or falls.
        shorter = [label.replace("objective falls: ", "").replace("objective rises: ", "") for label in labels]
        above = np.nan_to_num(self.highs - self.importances).clip(0)
        below = np.nan_to_num(self.importances - self.lows).clip(0)
        ends = {"array": above.tolist(), "arrayminus": below.tolist()}
        bounds = {"type": "data", **ends, "color": NEUTRAL, "thickness": 1}
        trends = [value if abs(value) >= _WEAK else np.nan for value in self.correlations]
        figure.add_trace(
            trace(
                "bar",
                x=self.importances.tolist(),
                y=positions,
                orientation="h",
                marker={"color": [NEUTRAL if np.isnan(trend) else BLUE if trend > 0 else ORANGE for trend in trends]},
                error_x=bounds if np.isfinite(self.highs).any() else None,
                hovertext=labels,
                hovertemplate="%{x:.3f}<br>%{hovertext}<extra></extra>",
                showlegend=False,
            )
        )
        figure.add_trace(
            trace(
                "scatter",
                x=(self.importances + above).tolist(),
                y=positions,
                text=[f"  {label}" for label in shorter],
                meta={"narrow": [f"  {sign}" for sign in signs]},
                mode="text",
                textposition="middle right",
                hoverinfo="skip",
                showlegend=False,
                cliponaxis=False,
            )
        )
        top = float((self.importances + above).max(initial=0.0)) or 1.0
        names = [escape(name) for name in self.names]
        figure.update_yaxes(tickvals=positions, ticktext=names, autorange="reversed", showgrid=False)
        # The texts behind the bars need about half of a bar's length.
        figure.update_xaxes(title="importance", range=[0, top * 1.55])
        return figure


def importance_info(
    trials: pd.DataFrame, known: About | None = None, *, importance: pd.DataFrame | None = None
) -> ImportanceInfo:
    """Return importance with the sign of the correlation.

    Args:
        trials: the frame of trials.
        known: the facts of the job.
        importance: the frame of ``results.analysis.importance``; without it, the absolute correlations are used.
    """
    rows, known = read(trials, known)
    correlations = _correlations(trials, rows, known)
    measured = None if importance is None else importance.dropna(subset=["Importance"])
    if measured is None or not len(measured):
        bars = {name: (abs(value), np.nan, np.nan) for name, value in correlations.items() if np.isfinite(value)}
        how = "size of Spearman's correlation with the objective"
    else:
        several = measured["TrainingJobDefinitionName"].nunique() > 1
        columns = ["TrainingJobDefinitionName", "Hyperparameter", "Importance", "ImportanceLow", "ImportanceHigh"]
        bars = {
            f"{definition}: {name}" if several else name: (float(mean), float(low), float(high))
            for definition, name, mean, low, high in measured[columns].itertuples(index=False, name=None)
        }
        how = "share of the objective's variance that each explains by itself (fANOVA), with 90% of resamples"
    names = sorted(bars, key=lambda name: -bars[name][0])
    table = np.array([bars[name] for name in names]).reshape(len(names), 3)
    # With several definitions, a bar is named DEFINITION: HYPERPARAMETER.
    signs = [correlations.get(name.rpartition(": ")[2], np.nan) for name in names]
    # Two trials always correlate by +1 or -1.
    few = f"Importance needs at least {_FEWEST} trials with an objective; there are {rows.evaluated}."
    return ImportanceInfo(
        title=f"Importance of hyperparameters for {known.goal}",
        subtitle=f"{how}; colour and sign: whether the objective rises or falls with it",
        note=rows.note or ("" if rows.evaluated >= _FEWEST else few) or ("" if names else "Nothing varied."),
        names=tuple(names),
        importances=table[:, 0],
        lows=table[:, 1],
        highs=table[:, 2],
        correlations=np.array(signs),
        effects=tuple(_effect(sign, known) for sign in signs),
    )


def _effect(correlation: float, known: About) -> str:
    """Return the direction in which the objective moves when the hyperparameter grows, and whether that is better."""
    if not np.isfinite(correlation):
        return "has no order"
    if abs(correlation) < _WEAK:
        return "no trend"
    word = "rises" if correlation > 0 else "falls"
    if known.maximize is None:
        return f"objective {word}"
    return f"objective {word}: {'better' if (correlation > 0) == known.maximize else 'worse'} with more"


def _correlations(trials: pd.DataFrame, rows: Rows, known: About) -> dict[str, float]:
    """Return Spearman's correlation of each hyperparameter with the objective; NaN for categories and constants."""
    found = {}
    for axis in axes_of(trials, rows, known):
        # Categories have no order, so they have no sign.
        values = np.full(len(trials), np.nan) if axis.kind == "category" else numbers(trials[axis.name])
        both = np.isfinite(values) & np.isfinite(rows.values)
        ranks = [pd.Series(column[both]).rank() for column in (values, rows.values)]
        varies = both.sum() >= _FEWEST and all(rank.nunique() > 1 for rank in ranks)
        found[axis.name] = float(np.corrcoef(ranks[0], ranks[1])[0, 1]) if varies else float("nan")
    return found


class CorrelationInfo(NamedTuple):
    """Correlations of the hyperparameters with each other and with the objective.

    Attributes:
        title: of the plot.
        subtitle: how they were measured.
        note: why the plot is empty; empty if it is not.
        names: rows and columns: the objective, then the hyperparameters.
        matrix: Spearman's correlations, symmetric; NaN where one of the two does not vary.
    """

    title: str
    subtitle: str
    note: str
    names: tuple[str, ...]
    matrix: Array

    def sketch(self) -> Sketch:
        """Draw a heatmap from orange (-1) to blue (+1)."""
        if self.note:
            return Sketch.empty(self.title, self.note)
        side = len(self.names)
        # In a larger heatmap the numbers do not fit into the cells, and are shown under the pointer instead.
        fits = side <= 16
        height = min(1100, 220 + 30 * side)
        figure = Sketch(self.title, subtitle=self.subtitle, height=height, least=200 + (44 if fits else 16) * side)
        positions = list(range(side))
        figure.add_trace(
            trace(
                "heatmap",
                x=positions,
                y=positions,
                z=np.round(self.matrix, 4).tolist(),
                zmin=-1,
                zmax=1,
                colorscale=[[0, ORANGE], [0.5, "#f4f4f4"], [1, BLUE]],
                text=[[f"{value:.2f}" if np.isfinite(value) else "" for value in line] for line in self.matrix],
                texttemplate="%{text}" if fits else None,
                colorbar={"thickness": 12, "title": {"text": "correlation", "side": "right", "font": {"size": 13}}},
                hoverinfo="skip" if fits else "z",
            )
        )
        names = [escape(name) for name in self.names]
        figure.update_xaxes(tickvals=positions, ticktext=names, tickangle=40 if side > 5 else 0, showgrid=False)
        figure.update_yaxes(tickvals=positions, ticktext=names, autorange="reversed", showgrid=False)
        return figure


def correlation_info(trials: pd.DataFrame, known: About | None = None) -> CorrelationInfo:
    """Return rank correlations of the objective and the hyperparameters; each value of a category has its own row.

    Args:
        trials: the frame of trials.
        known: the facts of the job.
    """
    rows, known = read(trials, known)
    columns: dict[str, Array] = {known.objective: rows.values}
    for axis in axes_of(trials, rows, known):
        if axis.kind != "category":
            columns[axis.name] = numbers(trials[axis.name])
        # A category of many values would fill the heatmap with rows of few trials each.
        elif len(axis.categories) <= _MANY_VALUES:
            positions = axis.positions(trials[axis.name])
            # Of two categories one is enough: the other has the opposite correlations.
            first = 1 if len(axis.categories) == 2 else 0
            for position, category in list(enumerate(axis.categories))[first:]:
                indicator = np.where(np.isnan(positions), np.nan, positions == position)
                columns[f"{axis.name}={category}"] = indicator
    used = pd.DataFrame(columns).astype("float64")[np.isfinite(rows.values)]
    ranks = used.where(np.isfinite(used)).rank()
    few = f"Correlations need at least {_FEWEST} trials with an objective; there are {rows.evaluated}."
    return CorrelationInfo(
        title=f"Correlation of hyperparameters and {known.goal}",
        subtitle=f"Spearman's, over {plural(len(used), 'trial')}; blank where a column does not vary",
        note=rows.note or ("" if len(used) >= _FEWEST else few),
        names=tuple(columns),
        matrix=ranks.corr(min_periods=_FEWEST).to_numpy(np.float64),
    )
