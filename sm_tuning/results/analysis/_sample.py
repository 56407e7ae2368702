"""The trials of one algorithm that count, as arrays for statistics. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sm_tuning._statuses import UNSUCCESSFUL
from sm_tuning.results._schema import TRIALS
from sm_tuning.results.analysis._facts import Algorithm, Facts
from sm_tuning.results.analysis._scale import Floats, index_of, key_of, units
from sm_tuning.spec import CategoricalParameter


@dataclass(frozen=True)
class Sample:
    """Trials with a finite objective and all of these hyperparameters.

    Attributes:
        algorithm: what they are trials of.
        rows: their rows of the frame.
        names: the hyperparameters that they have; others, such as one that was static in a warm-start parent, are
            left out when most trials lack them.
        places: one column a hyperparameter: 0 … 1 on the scale of its range (values beyond a bound, which parents
            may have, lie on it); of a categorical one, the index of its value.
        loss: the objective, in the direction in which smaller is better.
        left_out: how many trials of the algorithm do not count: failed, still running, without a finite objective.
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
        """The places of one hyperparameter."""
        return np.asarray(self.places[:, self.names.index(name)])

    def is_categorical(self, name: str) -> bool:
        """Whether it has values without order."""
        return isinstance(self.algorithm.ranges[name], CategoricalParameter)

    @property
    def order(self) -> NDArray[np.intp]:
        """Indices of the trials, the best first."""
        return np.argsort(self.loss, kind="stable")


def column_of(name: str) -> str:
    """The column of the trials frame that a hyperparameter is in."""
    return f"hyperparameter:{name}" if name in TRIALS else name


def rows_of(trials: pd.DataFrame, facts: Facts, algorithm: Algorithm) -> pd.DataFrame:
    """The rows of the trials frame that belong to an algorithm."""
    if not facts.several:
        return trials
    return trials[(trials["TrainingJobDefinitionName"] == (algorithm.name or "")).fillna(value=False).to_numpy(bool)]


def sample_of(trials: pd.DataFrame, facts: Facts, algorithm: Algorithm) -> Sample:
    """The trials of an algorithm that count, in the order of the frame.

    A trial counts when the tuning job counts its objective (``ObjectiveStatus`` is not ``Failed``) and that is finite;
    early-stopped ones do, with the last value that they emitted.
    """
    rows = rows_of(trials, facts, algorithm)
    loss = algorithm.sign * numbers(rows["FinalObjectiveValue"])
    counts = np.isfinite(loss) & ~rows["ObjectiveStatus"].isin(UNSUCCESSFUL).to_numpy(bool)
    columns = {name: _places(rows, algorithm, name) for name in algorithm.ranges}
    known = {name: place for name, place in columns.items() if 2 * np.isfinite(place[counts]).sum() >= counts.sum() > 0}
    for place in known.values():
        counts = counts & np.isfinite(place)
    places = [place[counts] for place in known.values()]
    return Sample(
        algorithm=algorithm,
        rows=rows[counts],
        names=tuple(known),
        places=np.column_stack(places) if places else np.empty((int(counts.sum()), 0)),
        loss=_tamed(loss[counts]),
        left_out=int((~counts).sum()),
    )


def places_of(rows: pd.DataFrame, algorithm: Algorithm, name: str) -> Floats:
    """Places of a hyperparameter for any rows of the trials frame; nan where it is missing."""
    return _places(rows, algorithm, name)


def _places(rows: pd.DataFrame, algorithm: Algorithm, name: str) -> Floats:
    column, range_ = column_of(name), algorithm.ranges[name]
    if column not in rows:
        return np.full(len(rows), np.nan)
    if isinstance(range_, CategoricalParameter):
        index = index_of(range_.values)
        places = [np.nan if pd.isna(value) else index.get(key_of(value), np.nan) for value in rows[column]]
        return np.array(places, dtype=np.float64)
    return np.clip(units(range_, numbers(rows[column])), 0.0, 1.0)


def numbers(column: pd.Series) -> Floats:
    """A column as float64, nan where it has no number."""
    return np.asarray(pd.to_numeric(column, errors="coerce").to_numpy(dtype="float64", na_value=np.nan))


def _tamed(loss: Floats) -> Floats:
    """The loss on a scale on which sums of squares are still floats; ratios stay as they are."""
    largest = float(np.max(np.abs(loss), initial=0.0))
    return loss / largest if largest > 1e100 else loss


def without_outliers(loss: Floats) -> Floats:
    """The loss with its worst values drawn in to three interquartile ranges beyond the upper quartile.

    One diverged trial would otherwise own all of the variance that is to be explained.
    """
    if not len(loss):
        return loss
    lower, upper = np.quantile(loss, [0.25, 0.75])
    return np.minimum(loss, upper + 3 * (upper - lower)) if upper > lower else loss


def ranks(values: Floats) -> Floats:
    """Ranks from 1, equal values sharing the mean of theirs."""
    return np.asarray(pd.Series(values).rank().to_numpy(dtype="float64"), dtype=np.float64)


def pearson(first: Floats, second: Floats) -> float:
    """The linear correlation; nan when one of the two is constant."""
    one, two = first - first.mean() if len(first) else first, second - second.mean() if len(second) else second
    size = float(np.sqrt((one @ one) * (two @ two)))
    return float(np.clip((one @ two) / size, -1.0, 1.0)) if size > 0 else float("nan")


def separation(loss: Floats, inside: NDArray[np.bool_]) -> float:
    """How likely a trial inside is better than one outside (Mann-Whitney's U as a share); nan when one is empty."""
    count, others = int(inside.sum()), int((~inside).sum())
    if not count or not others:
        return float("nan")
    wins = ranks(-loss)[inside].sum() - count * (count + 1) / 2
    return float(wins / (count * others))
