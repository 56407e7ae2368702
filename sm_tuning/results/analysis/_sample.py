"""The trials of one algorithm that count, as arrays for statistics. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sm_tuning._statuses import UNSUCCESSFUL
from sm_tuning.results._columns import TRIALS
from sm_tuning.results.analysis._space import Algorithm, Facts, Floats, index_of, key_of, units
from sm_tuning.spec import CategoricalParameter


@dataclass(frozen=True)
class Sample:
    """Trials with a finite objective and all of these hyperparameters.

    Attributes:
        algorithm: the algorithm of the trials.
        rows: their rows of the frame.
        names: the hyperparameters that they have. A hyperparameter that most trials lack is left out, for example one
            that was static in a warm-start parent.
        places: one column a hyperparameter: 0 … 1 on the scale of its range (values beyond a bound, which parents may
            have, lie on it); for a categorical one, the index of its value.
        loss: the objective, in the direction in which smaller is better.
        left_out: number of the algorithm's trials that do not count: failed, running, or without a finite objective.
    """

    algorithm: Algorithm
    rows: pd.DataFrame
    names: tuple[str, ...]
    places: Floats
    loss: Floats
    left_out: int

    def __len__(self) -> int:
        return len(self.loss)

    def column(self, name: str) -> Floats:
        """Return the places of one hyperparameter."""
        return np.asarray(self.places[:, self.names.index(name)])

    def values(self, name: str) -> Floats:
        """Return the values of one numeric hyperparameter."""
        return numbers(self.rows[column_of(name)])

    @property
    def order(self) -> NDArray[np.intp]:
        """Indices of the trials, the best first."""
        return np.argsort(self.loss, kind="stable")


def column_of(name: str) -> str:
    """Return the column of the trials frame that has a hyperparameter."""
    return f"hyperparameter:{name}" if name in TRIALS else name


def rows_of(trials: pd.DataFrame, facts: Facts, algorithm: Algorithm) -> pd.DataFrame:
    """Return the rows of the trials frame that belong to an algorithm."""
    if not facts.several:
        return trials
    return trials[(trials["TrainingJobDefinitionName"] == (algorithm.name or "")).fillna(value=False).to_numpy(bool)]


def counted(rows: pd.DataFrame, loss: Floats) -> NDArray[np.bool_]:
    """Return which trials count: the tuning job counts their objective, and it is finite.

    Trials that were stopped early count, with the last value that they emitted.
    """
    return np.asarray(np.isfinite(loss) & ~rows["ObjectiveStatus"].isin(UNSUCCESSFUL).to_numpy(bool))


def sample_of(trials: pd.DataFrame, facts: Facts, algorithm: Algorithm) -> Sample:
    """Return the trials of an algorithm that count, in the order of the frame."""
    rows = rows_of(trials, facts, algorithm)
    loss = algorithm.sign * numbers(rows["FinalObjectiveValue"])
    counts = counted(rows, loss)
    columns = {name: places_of(rows, algorithm, name) for name in algorithm.ranges}
    known = {name: place for name, place in columns.items() if 2 * np.isfinite(place[counts]).sum() >= counts.sum() > 0}
    for place in known.values():
        counts = counts & np.isfinite(place)
    places = [place[counts] for place in known.values()]
    loss = loss[counts]
    # Sums of squares of a diverged loss would overflow. Ratios, on which everything rests, stay the same.
    largest = float(np.max(np.abs(loss), initial=0.0))
    return Sample(
        algorithm=algorithm,
        rows=rows[counts],
        names=tuple(known),
        places=np.column_stack(places) if places else np.empty((int(counts.sum()), 0)),
        loss=loss / largest if largest > 1e100 else loss,
        left_out=int((~counts).sum()),
    )


def places_of(rows: pd.DataFrame, algorithm: Algorithm, name: str) -> Floats:
    """Return the places of a hyperparameter in rows of the trials frame; nan where it is missing."""
    column, range_ = column_of(name), algorithm.ranges[name]
    if column not in rows:
        return np.full(len(rows), np.nan)
    if isinstance(range_, CategoricalParameter):
        index = index_of(range_.values)
        places = [np.nan if pd.isna(value) else index.get(key_of(value), np.nan) for value in rows[column]]
        return np.array(places, dtype=np.float64)
    return np.clip(units(range_, numbers(rows[column])), 0.0, 1.0)


def numbers(column: pd.Series) -> Floats:
    """Return a column as float64, nan where it has no number."""
    return np.asarray(pd.to_numeric(column, errors="coerce").to_numpy(dtype="float64", na_value=np.nan))


def without_outliers(loss: Floats) -> Floats:
    """Return the loss with its worst values moved to three interquartile ranges above the upper quartile.

    Otherwise one diverged trial would be nearly all of the variance that is to be explained.
    """
    if not len(loss):
        return loss
    lower, upper = np.quantile(loss, [0.25, 0.75])
    return np.minimum(loss, upper + 3 * (upper - lower)) if upper > lower else loss


def ranks(values: Floats) -> Floats:
    """Return ranks from 1; equal values get the mean of their ranks."""
    return np.asarray(pd.Series(values).rank().to_numpy(dtype="float64"), dtype=np.float64)


def pearson(first: Floats, second: Floats) -> float:
    """Return the linear correlation; nan if one of the two is constant."""
    if not len(first):
        return float("nan")
    x, y = first - first.mean(), second - second.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(np.clip((x @ y) / size, -1.0, 1.0)) if size > 0 else float("nan")


def separation(loss: Floats, inside: NDArray[np.bool_]) -> float:
    """Return the chance that a trial inside beats one outside (Mann-Whitney's U as a share); nan for an empty set."""
    count, others = int(inside.sum()), int((~inside).sum())
    if not count or not others:
        return float("nan")
    wins = ranks(-loss)[inside].sum() - count * (count + 1) / 2
    return float(wins / (count * others))
