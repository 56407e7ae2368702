"""Every plot by its name, as functions over frames and for a job by its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from sm_tuning import jobs, results
from sm_tuning._errors import SpecError
from sm_tuning.aws import Aws
from sm_tuning.results import analysis
from sm_tuning.views._about import About, about
from sm_tuning.views._curves import By, curves_info, draw_curves, draw_train_validation, train_validation_info
from sm_tuning.views._gather import chain_of
from sm_tuning.views._history import draw_edf, draw_history, edf_info, history_info
from sm_tuning.views._importance import correlation_info, draw_correlation, draw_importance, importance_info
from sm_tuning.views._machines import cost_info, draw_cost, draw_utilization, utilization_info
from sm_tuning.views._parallel import draw_parallel, parallel_info
from sm_tuning.views._slice import contour_info, draw_contour, draw_slice, slice_info
from sm_tuning.views._theme import Figure, Theme, themed
from sm_tuning.views._timeline import draw_timeline, timeline_info


def history(
    trials: pd.DataFrame, known: About | None = None, *, chain: Sequence[str] = (), theme: Theme = "light"
) -> Figure:
    """The objective from trial to trial, with the best so far; see ``history_info``."""
    return themed(draw_history(history_info(trials, known, chain=chain)), theme)


def edf(trials: pd.DataFrame, known: About | None = None, *, theme: Theme = "light") -> Figure:
    """How the objective's values are distributed, job by job; see ``edf_info``."""
    return themed(draw_edf(edf_info(trials, known)), theme)


def parallel_coordinates(trials: pd.DataFrame, known: About | None = None, *, theme: Theme = "light") -> Figure:
    """Each trial a line through its hyperparameters to its objective; see ``parallel_info``."""
    return themed(draw_parallel(parallel_info(trials, known)), theme)


def slices(
    trials: pd.DataFrame,
    known: About | None = None,
    *,
    hyperparameters: Sequence[str] | None = None,
    theme: Theme = "light",
) -> Figure:
    """The objective against each hyperparameter; see ``slice_info``."""
    return themed(draw_slice(slice_info(trials, known, hyperparameters=hyperparameters)), theme)


def contour(
    trials: pd.DataFrame,
    known: About | None = None,
    *,
    x: str | None = None,
    y: str | None = None,
    theme: Theme = "light",
) -> Figure:
    """The objective over two hyperparameters; see ``contour_info``."""
    return themed(draw_contour(contour_info(trials, known, x=x, y=y)), theme)


def importance(
    trials: pd.DataFrame, known: About | None = None, *, frame: pd.DataFrame | None = None, theme: Theme = "light"
) -> Figure:
    """How much each hyperparameter matters, by the frame of importance or else by correlation."""
    return themed(draw_importance(importance_info(trials, known, importance=frame)), theme)


def correlation(trials: pd.DataFrame, known: About | None = None, *, theme: Theme = "light") -> Figure:
    """Which hyperparameters went together, and with the objective; see ``correlation_info``."""
    return themed(draw_correlation(correlation_info(trials, known)), theme)


def curves(
    trials: pd.DataFrame,
    values: pd.DataFrame,
    known: About | None = None,
    *,
    metric: str | None = None,
    by: By = "step",
    theme: Theme = "light",
) -> Figure:
    """A metric of each trial as it ran, from the frame of curves; see ``curves_info``."""
    return themed(draw_curves(curves_info(trials, values, known, metric=metric, by=by)), theme)


def train_validation(
    trials: pd.DataFrame,
    values: pd.DataFrame,
    known: About | None = None,
    *,
    metric: str | None = None,
    theme: Theme = "light",
) -> Figure:
    """What was reached on training data against held-out data; see ``train_validation_info``."""
    return themed(draw_train_validation(train_validation_info(trials, values, known, metric=metric)), theme)


def timeline(trials: pd.DataFrame, known: About | None = None, *, theme: Theme = "light") -> Figure:
    """What ran when; see ``timeline_info``."""
    return themed(draw_timeline(timeline_info(trials, known)), theme)


def utilization(
    trials: pd.DataFrame, percents: pd.DataFrame, known: About | None = None, *, theme: Theme = "light"
) -> Figure:
    """How busy the machines were, from the frame of utilization; see ``utilization_info``."""
    return themed(draw_utilization(utilization_info(trials, percents, known)), theme)


def cost(
    trials: pd.DataFrame, prices: pd.DataFrame | None = None, known: About | None = None, *, theme: Theme = "light"
) -> Figure:
    """What the trials cost against what they reached, from the frame of cost; see ``cost_info``."""
    return themed(draw_cost(cost_info(trials, prices, known)), theme)


#: Plots of the frame of trials, by name.
_OF_TRIALS: Mapping[str, Callable[..., Figure]] = {
    "contour": contour,
    "correlation": correlation,
    "edf": edf,
    "history": history,
    "importance": importance,
    "parallel": parallel_coordinates,
    "slice": slices,
    "timeline": timeline,
}
#: Plots that need a second frame, by name, and the function that reads it.
_OF_TWO: Mapping[str, tuple[Callable[..., Figure], Callable[[Aws, Sequence[str]], pd.DataFrame]]] = {
    "cost": (cost, results.cost),
    "curves": (curves, results.curves),
    "train_validation": (train_validation, results.curves),
    "utilization": (utilization, results.utilization),
}

#: Keyword arguments that ``plot`` reads from the service.
_SUPPLIED = frozenset({"chain", "frame"})

KINDS = tuple(sorted([*_OF_TRIALS, *_OF_TWO]))


def plot(  # noqa: PLR0913  (keyword-only options, the same as of the handle's method)
    aws: Aws,
    names: Sequence[str],
    kind: str,
    *,
    theme: Theme = "light",
    hyperparameters: Sequence[str] | None = None,
    x: str | None = None,
    y: str | None = None,
    metric: str | None = None,
    by: By | None = None,
) -> Figure:
    """Draw one or several tuning jobs; only the data that the plot needs is read.

    Args:
        aws: the connection.
        names: the tuning jobs.
        kind: one of ``KINDS``.
        theme: light or dark.
        hyperparameters: slice: only these hyperparameters.
        x: contour: the hyperparameter of the horizontal axis.
        y: contour: the hyperparameter of the vertical axis.
        metric: curves, train_validation: the metric; the objective by default.
        by: curves: the horizontal axis, step or time.

    Raises:
        SpecError: the kind is unknown, or an option is invalid or belongs to another kind of plot.
        JobNotFoundError: a tuning job does not exist.
        MissingExtraError: plotly is not installed.
    """
    if kind not in KINDS:
        raise SpecError(f"there is no plot {kind!r}; there are: {', '.join(KINDS)}")
    values = {"hyperparameters": hyperparameters, "x": x, "y": y, "metric": metric, "by": by}
    options: dict[str, Any] = {"theme": theme, **{name: value for name, value in values.items() if value is not None}}
    function = _OF_TWO[kind][0] if kind in _OF_TWO else _OF_TRIALS[kind]
    _check_options(kind, function, options)
    descriptions = {name: jobs.describe(aws, name) for name in names}
    known = about(*descriptions.values())
    if kind == "importance":
        trials = results.trials(aws, names)
        return function(results.shown(trials), known, frame=_importance(trials, descriptions), **options)
    if kind in _OF_TWO:
        read = _OF_TWO[kind][1]
        return function(results.shown(results.trials(aws, names)), read(aws, names), known, **options)
    trials = results.trials(aws, names, include_parents=kind == "history")
    if kind == "history":
        parents = set(trials["TuningJobName"]) - set(names)
        descriptions |= {name: jobs.describe(aws, name) for name in parents}
        options["chain"] = chain_of(descriptions)
    return function(results.shown(trials), known, **options)


def _check_options(kind: str, function: Callable[..., Figure], options: Mapping[str, Any]) -> None:
    """Refuse an option that another kind of plot has.

    Raises:
        SpecError: the plot does not take one of the options.
    """
    parameters = inspect.signature(function).parameters.values()
    allowed = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.name not in _SUPPLIED]
    wrong = [name for name in options if name not in allowed]
    if wrong:
        raise SpecError(f"plot {kind!r} takes {', '.join(allowed)}, and not {', '.join(wrong)}")


def _importance(trials: pd.DataFrame, descriptions: dict[str, dict[str, Any]]) -> pd.DataFrame | None:
    """The frame of importance of a single job; several jobs are told apart by correlation alone."""
    if len(descriptions) != 1:
        return None
    (description,) = descriptions.values()
    return analysis.importance(trials, analysis.facts_of(description))
