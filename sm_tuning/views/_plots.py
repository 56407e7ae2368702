"""Every plot by its name, as a function of frames and for tuning jobs on SageMaker, and the comparison of jobs."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sm_tuning import jobs, results
from sm_tuning._errors import ServiceError, SpecError
from sm_tuning._prices import Prices
from sm_tuning.aws import Aws
from sm_tuning.description import Job, job_of
from sm_tuning.results import analysis
from sm_tuning.views._content import chain_of
from sm_tuning.views._curves import (
    By,
    curves_info,
    train_validation_info,
)
from sm_tuning.views._figure import Figure, Theme, figure_of
from sm_tuning.views._front import front_info, hypervolume_info
from sm_tuning.views._history import edf_info, history_info
from sm_tuning.views._importance import correlation_info, importance_info
from sm_tuning.views._lineage import lineage_info, schedule_info
from sm_tuning.views._machines import (
    cost_info,
    timeline_info,
    utilization_info,
)
from sm_tuning.views._search import (
    contour_info,
    parallel_info,
    slice_info,
)
from sm_tuning.views._trials import About, about, rows_of


def history(
    trials: pd.DataFrame, known: About | None = None, *, chain: Sequence[str] = (), theme: Theme = "light"
) -> Figure:
    """Draw the objective from trial to trial, with the best value so far.

    Args:
        trials: the frame of ``job.trials()``, of one or several jobs.
        known: the facts of the jobs, from ``about``.
        chain: tuning jobs that were warm-started one from another, the oldest first, to draw as one history.
        theme: light or dark.
    """
    return figure_of(history_info(trials, known, chain=chain).sketch(), theme)


def edf(trials: pd.DataFrame, known: About | None = None, *, theme: Theme = "light") -> Figure:
    """Draw the distribution of each job's objective values."""
    return figure_of(edf_info(trials, known).sketch(), theme)


def parallel_coordinates(trials: pd.DataFrame, known: About | None = None, *, theme: Theme = "light") -> Figure:
    """Draw each trial as a line through its hyperparameters to its objective."""
    return figure_of(parallel_info(trials, known).sketch(), theme)


def slices(
    trials: pd.DataFrame,
    known: About | None = None,
    *,
    hyperparameters: Sequence[str] | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw the objective against each hyperparameter, or against the given ones."""
    return figure_of(slice_info(trials, known, hyperparameters=hyperparameters).sketch(), theme)


def contour(
    trials: pd.DataFrame,
    known: About | None = None,
    *,
    x: str | None = None,
    y: str | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw the objective over two hyperparameters; by default those most correlated with the objective."""
    return figure_of(contour_info(trials, known, x=x, y=y).sketch(), theme)


def importance(
    trials: pd.DataFrame, known: About | None = None, *, frame: pd.DataFrame | None = None, theme: Theme = "light"
) -> Figure:
    """Draw the importance of each hyperparameter, from the frame of ``job.importance()`` or else by correlation."""
    return figure_of(importance_info(trials, known, importance=frame).sketch(), theme)


def correlation(trials: pd.DataFrame, known: About | None = None, *, theme: Theme = "light") -> Figure:
    """Draw the correlations of the hyperparameters with each other and with the objective."""
    return figure_of(correlation_info(trials, known).sketch(), theme)


def curves(
    trials: pd.DataFrame,
    values: pd.DataFrame,
    known: About | None = None,
    *,
    metric: str | None = None,
    by: By = "step",
    theme: Theme = "light",
) -> Figure:
    """Draw a metric of each trial by step or by time, from the frame of ``job.curves()``."""
    return figure_of(curves_info(trials, values, known, metric=metric, by=by).sketch(), theme)


def train_validation(
    trials: pd.DataFrame,
    values: pd.DataFrame,
    known: About | None = None,
    *,
    metric: str | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw the last values on training data against those on held-out data, from the frame of ``job.curves()``."""
    return figure_of(train_validation_info(trials, values, known, metric=metric).sketch(), theme)


def timeline(trials: pd.DataFrame, known: About | None = None, *, theme: Theme = "light") -> Figure:
    """Draw when each trial ran."""
    return figure_of(timeline_info(trials, known).sketch(), theme)


def utilization(
    trials: pd.DataFrame, percents: pd.DataFrame, known: About | None = None, *, theme: Theme = "light"
) -> Figure:
    """Draw how busy the machines were, from the frame of ``job.utilization()``."""
    return figure_of(utilization_info(trials, percents, known).sketch(), theme)


def cost(
    trials: pd.DataFrame, prices: pd.DataFrame | None = None, known: About | None = None, *, theme: Theme = "light"
) -> Figure:
    """Draw the cost of each trial against its objective, from the frame of ``job.cost()``."""
    return figure_of(cost_info(trials, prices, known).sketch(), theme)


def front(
    trials: pd.DataFrame,
    known: About | None = None,
    *,
    x: str | None = None,
    y: str | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw two objectives of a study against each other, with the Pareto front."""
    return figure_of(front_info(trials, known, x=x, y=y).sketch(), theme)


def hypervolume(trials: pd.DataFrame, known: About | None = None, *, theme: Theme = "light") -> Figure:
    """Draw the hypervolume of a study with several objectives, from trial to trial."""
    return figure_of(hypervolume_info(trials, known).sketch(), theme)


def lineage(trials: pd.DataFrame, known: About | None = None, *, by: By = "step", theme: Theme = "light") -> Figure:
    """Draw which trial of a study continued which, by epoch or by the time at which it ran."""
    return figure_of(lineage_info(trials, known, by=by).sketch(), theme)


def schedule(
    trials: pd.DataFrame,
    known: About | None = None,
    *,
    hyperparameters: Sequence[str] | None = None,
    theme: Theme = "light",
) -> Figure:
    """Draw the hyperparameters of the members of a population over the epochs, all or the given ones."""
    return figure_of(schedule_info(trials, known, hyperparameters=hyperparameters).sketch(), theme)


#: Plots of the frame of trials, by name.
_OF_TRIALS: Mapping[str, Callable[..., Figure]] = {
    "contour": contour,
    "correlation": correlation,
    "edf": edf,
    "front": front,
    "history": history,
    "hypervolume": hypervolume,
    "importance": importance,
    "lineage": lineage,
    "parallel": parallel_coordinates,
    "schedule": schedule,
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

#: Keyword arguments for which ``plot`` reads the value itself.
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
        hyperparameters: slice, schedule: only these hyperparameters.
        x: contour: the hyperparameter of the horizontal axis; front: the objective.
        y: contour: the hyperparameter of the vertical axis; front: the objective.
        metric: curves, train_validation: the metric; the objective by default.
        by: curves, lineage: the horizontal axis, step or time.

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
    keywords = [name for name, p in inspect.signature(function).parameters.items() if p.kind is p.KEYWORD_ONLY]
    allowed = [name for name in keywords if name not in _SUPPLIED]
    wrong = [name for name in options if name not in allowed]
    if wrong:
        raise SpecError(f"plot {kind!r} takes {', '.join(allowed)}, and not {', '.join(wrong)}")
    found = [job_of(jobs.describe(aws, name)) for name in dict.fromkeys(names)]
    known = about(*found)
    # Only a history shows the trials of the jobs that a job was warm-started from.
    trials = results.trials(aws, names, include_parents=kind == "history")
    # Plots show masked values; importance, which is only numbers, is computed from the real ones.
    frames = [results.shown(trials)]
    if kind in _OF_TWO:
        frames.append(_OF_TWO[kind][1](aws, names))
    elif kind == "history":
        parents = set(trials["TuningJobName"]) - set(names)
        options["chain"] = chain_of([*found, *(job_of(jobs.describe(aws, name)) for name in parents)])
    elif kind == "importance" and len(found) == 1:
        # The importance of several jobs would need one search space; without a frame, correlation is drawn.
        options["frame"] = analysis.importance(trials, analysis.facts_of(found[0]))
    return function(*frames, known, **options)


#: Columns of ``compare`` and their dtypes.
_COMPARISON: Mapping[str, str] = {
    "TuningJobName": "string",
    "TuningJobStatus": "string",
    "Strategy": "string",
    "Objective": "string",
    "ObjectiveType": "string",
    "BestObjectiveValue": "float64",
    "MedianObjectiveValue": "float64",
    "TrialsToBest": "Int64",
    "Trials": "int64",
    "Completed": "int64",  # not a status: a column
    "Stopped": "int64",  # not a status: a column
    "Failed": "int64",  # not a status: a column
    "TrainingElapsedTimeSeconds": "float64",
    "BillableTimeInSeconds": "Int64",
    "Cost": "float64",
    "Parents": "string",
}


def compare(aws: Aws, names: Sequence[str], *, prices: Prices = None) -> pd.DataFrame:
    """Return a table of what each tuning job reached and what it took.

    Args:
        aws: the connection.
        names: the tuning jobs; they may have different objectives.
        prices: as for ``results.cost``.

    Returns:
        One row for each job. ``TrialsToBest`` is the number of trials that had ended when the best one had; ``Cost``
        is in US dollars, NaN if prices cannot be read or a trial has none; ``Parents`` are the jobs that it was
        warm-started from.

    Raises:
        JobNotFoundError: a tuning job does not exist.
    """
    names = list(dict.fromkeys(names))
    trials = results.trials(aws, names)
    try:
        frame = results.cost(aws, names, prices=prices)
        costs = dict(frame.groupby("TrainingJobName")["Cost"].agg(lambda costs: costs.sum(skipna=False)))
    except ServiceError as error:
        warnings.warn(f"costs are unknown: {error}", results.ResultsWarning, stacklevel=2)
        costs = {}
    found = [job_of(jobs.describe(aws, name)) for name in names]
    rows = [_comparison(job, trials[trials["TuningJobName"] == job.name], costs) for job in found]
    return pd.DataFrame(
        {name: pd.Series([row[name] for row in rows], dtype=dtype) for name, dtype in _COMPARISON.items()}
    )


def _comparison(job: Job, trials: pd.DataFrame, costs: Mapping[str, float]) -> dict[str, Any]:
    """Return the row of one job."""
    rows = rows_of(trials)
    known = about(job)
    best = [row for row, is_best in enumerate(rows.is_best) if is_best]
    # Unknown for a job of which no trial has ended, which differs from 0 seconds.
    billable = trials["BillableTimeInSeconds"].dropna()
    return {
        "TuningJobName": job.name,
        "TuningJobStatus": job.status,
        "Strategy": job.strategy or None,
        "Objective": known.objective,
        "ObjectiveType": None if known.maximize is None else "Maximize" if known.maximize else "Minimize",
        "BestObjectiveValue": rows.values[best[0]] if best else np.nan,
        "MedianObjectiveValue": float(np.nanmedian(rows.values)) if rows.evaluated else np.nan,
        "TrialsToBest": best[0] + 1 if best else None,  # the frame is in the order in which trials ended
        "Trials": len(rows.names),
        "Completed": rows.states.count("completed"),  # not a status: a column
        "Stopped": rows.states.count("stopped"),  # not a status: a column
        "Failed": rows.states.count("failed"),  # not a status: a column
        "TrainingElapsedTimeSeconds": float(trials["TrainingElapsedTimeSeconds"].sum()),
        "BillableTimeInSeconds": int(billable.sum()) if len(billable) else None,
        "Cost": sum(costs.get(name, np.nan) for name in rows.names) if rows.names else np.nan,
        "Parents": ", ".join(job.parents) or None,
    }
