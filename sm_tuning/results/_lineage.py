"""The lineage of a study: which trial continued which, from where to where, and what it changed. Pure."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from sm_tuning._errors import SpecError
from sm_tuning.results._columns import LINEAGE, TRIALS

#: The counter in the name of a study's training job.
_NUMBER = re.compile(r"-(\d{3,})-[0-9a-f]{8}$")


def lineage(trials: pd.DataFrame, resource: str) -> pd.DataFrame:
    """Return the trials of a study by number, each with the part that it trained and what its parent had.

    Args:
        trials: the frame of trials of a study.
        resource: the hyperparameter that says up to where a trial trains.

    Returns:
        The columns of ``LINEAGE``, then for each tuned hyperparameter its value and, as ``before:<name>``, that of the
        parent, missing without one. A trial trained from ``ResourceFrom`` to ``ResourceTo``.

    Raises:
        SpecError: the study continues no trials.
    """
    if not resource or "Member" not in trials:
        raise SpecError(
            "no trial of this study continues another one, so that it has no lineage: strategies Population and "
            "Promotion have one"
        )
    column = f"hyperparameter:{resource}" if resource in TRIALS else resource
    tuned = [str(name) for name in trials.columns[: list(trials.columns).index("TrainingJobName")] if name != column]
    found = [_NUMBER.search(str(name)) for name in trials["TrainingJobName"]]
    order = np.argsort([int(number[1]) if number else 0 for number in found], kind="stable")
    rows = trials.iloc[order].reset_index(drop=True)
    place = {name: row for row, name in enumerate(rows["TrainingJobName"])}
    # -1 is no row, which reindex fills with missing values.
    parents = [place.get(name, -1) if isinstance(name, str) else -1 for name in rows["Parent"]]
    reached = pd.to_numeric(rows[column], errors="coerce") if column in rows else pd.Series(np.nan, rows.index)
    begun = reached.reindex(parents).to_numpy(np.float64, na_value=np.nan)
    for row, (parent, why) in enumerate(zip(parents, rows["Why"], strict=True)):
        if parent < 0:
            begun[row] = 0
        elif why == "retried":  # it repeats its parent, which may have got anywhere
            begun[row] = begun[parent]
    columns = {
        **{name: rows[name] for name in ("TrainingJobName", "Member", "Why", "Parent")},
        "ResourceFrom": pd.Series(begun).astype("Int64"),
        "ResourceTo": reached.astype("Int64"),
        "ParentObjectiveValue": rows["FinalObjectiveValue"].reindex(parents).reset_index(drop=True),
        "FinalObjectiveValue": rows["FinalObjectiveValue"],
    }
    columns = {name: columns[name] for name in LINEAGE}
    for name in tuned:
        columns |= {name: rows[name], f"before:{name}": rows[name].reindex(parents).reset_index(drop=True)}
    table = pd.DataFrame(columns)
    table.attrs = dict(trials.attrs)
    return table
