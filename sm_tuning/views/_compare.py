"""Several tuning jobs beside each other, one row each."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sm_tuning import jobs, results
from sm_tuning._errors import ServiceError
from sm_tuning.aws import Aws
from sm_tuning.views._about import About, about
from sm_tuning.views._gather import Prices, parents_of
from sm_tuning.views._rows import rows_of

COMPARISON: Mapping[str, str] = {
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


def compare(aws: Aws, names: Sequence[str], *, prices: Prices | None = None) -> pd.DataFrame:
    """What each tuning job reached, and what it took.

    Args:
        aws: the connection.
        names: the tuning jobs; they need not have the same objective.
        prices: as for ``results.cost``.

    Returns:
        One row a job. ``TrialsToBest`` is how many trials had ended when the best one had; ``Cost`` is in US dollars,
        nan where prices cannot be read or a trial has none; ``Parents`` are the jobs it was warm-started from.

    Raises:
        JobNotFoundError: there is no such tuning job.
    """
    names = list(dict.fromkeys(names))
    trials = results.trials(aws, names)
    costs = _costs(aws, names, prices)
    found = [_row(jobs.describe(aws, name), trials[trials["TuningJobName"] == name], costs) for name in names]
    return pd.DataFrame(
        {name: pd.Series([row[name] for row in found], dtype=kind) for name, kind in COMPARISON.items()}
    )


def _costs(aws: Aws, names: Sequence[str], prices: Prices | None) -> Mapping[str, float]:
    """The cost of each trial; none when AWS tells no prices, which then is a warning."""
    try:
        frame = results.cost(aws, names, prices=prices)
    except ServiceError as error:
        warnings.warn(f"costs are not known: {error}", results.ResultsWarning, stacklevel=3)
        return {}
    return dict(frame.groupby("TrainingJobName")["Cost"].agg(lambda costs: costs.sum(skipna=False)))


def _row(description: Mapping[str, Any], trials: pd.DataFrame, costs: Mapping[str, float]) -> dict[str, Any]:
    rows = rows_of(trials)
    known = about(description)
    best = [place for place, is_best in enumerate(rows.is_best) if is_best]
    billable = trials["BillableTimeInSeconds"].dropna()
    return {
        "TuningJobName": description["HyperParameterTuningJobName"],
        "TuningJobStatus": description["HyperParameterTuningJobStatus"],
        "Strategy": description.get("HyperParameterTuningJobConfig", {}).get("Strategy"),
        "Objective": known.objective,
        "ObjectiveType": _type(known),
        "BestObjectiveValue": rows.values[best[0]] if best else np.nan,
        "MedianObjectiveValue": float(np.nanmedian(rows.values)) if len(rows.evaluated) else np.nan,
        "TrialsToBest": best[0] + 1 if best else None,
        "Trials": len(rows.names),
        "Completed": rows.states.count("completed"),  # not a status: a column
        "Stopped": rows.states.count("stopped"),  # not a status: a column
        "Failed": rows.states.count("failed"),  # not a status: a column
        "TrainingElapsedTimeSeconds": float(trials["TrainingElapsedTimeSeconds"].sum()),
        "BillableTimeInSeconds": int(billable.sum()) if len(billable) else None,
        "Cost": sum(costs.get(name, np.nan) for name in rows.names) if rows.names else np.nan,
        "Parents": ", ".join(parents_of(description)) or None,
    }


def _type(known: About) -> str | None:
    return {True: "Maximize", False: "Minimize"}.get(known.maximize)  # type: ignore[arg-type]
