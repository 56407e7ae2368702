"""Functions that make frames of plain values, and group their rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sm_tuning.results._columns import NO_TIME, TIME, microseconds

_Array = pd.api.extensions.ExtensionArray


def frame(dtypes: Mapping[str, str], columns: Mapping[str, Sequence[Any] | _Array | npt.NDArray[Any]]) -> pd.DataFrame:
    """Return a frame with these columns in this order and of these dtypes, with rows or without.

    Args:
        dtypes: column -> dtype.
        columns: column -> values, one a row; ``None`` where a value is missing. Times are microseconds since 1970.
            Arrays of pandas are not converted.
    """
    return pd.DataFrame({name: _series(columns[name], dtype) for name, dtype in dtypes.items()})


def _series(values: Sequence[Any] | _Array | npt.NDArray[Any], dtype: str) -> pd.Series[Any]:
    if isinstance(values, _Array):
        return pd.Series(values)
    is_array = isinstance(values, np.ndarray)
    if dtype == TIME:
        if not is_array:
            moments = [microseconds(value) if isinstance(value, datetime) else value for value in values]
            values = [NO_TIME if moment is None else moment for moment in moments]
        numbers = np.array(values, dtype=np.int64)
        # A view and not a conversion: pandas 2 would read the integers as nanoseconds.
        return pd.Series(numbers.view("datetime64[us]")).dt.tz_localize("UTC")
    if dtype == "float64":
        return pd.Series(values if is_array else [np.nan if value is None else value for value in values], dtype=dtype)
    try:
        return pd.Series(list(values), dtype=dtype)
    except UnicodeEncodeError:
        # Half of a surrogate pair, which JSON can hold and Arrow cannot, becomes text such as \ud83d.
        whole = [v.encode(errors="backslashreplace").decode() if isinstance(v, str) else v for v in values]
        return pd.Series(whole, dtype=dtype)


def repeated(texts: Sequence[str | None], counts: Sequence[int]) -> _Array:
    """Return a column of text in which each of some texts stands as often as its count says, one after the other."""
    # A hundred thousand rows have a few thousand texts, which are converted once each.
    column: _Array = _series(texts, "string").array
    return column.take(np.repeat(np.arange(len(texts)), counts))


def rows_by(rows: pd.DataFrame, *columns: str) -> Iterator[tuple[tuple[Any, ...], npt.NDArray[np.intp]]]:
    """Give each different combination of some columns' values, by first appearance, and the positions of its rows.

    A frame for each of a thousand groups, as ``groupby`` makes them, takes a hundred times as long. Rows in which one
    of the values is missing belong to no group.
    """
    whole = np.zeros(len(rows), dtype=np.intp)
    for column in columns:
        codes, values = pd.factorize(rows[column])
        whole = np.where((codes < 0) | (whole < 0), -1, whole * (len(values) + 1) + codes)
    codes, _ = pd.factorize(np.where(whole < 0, np.nan, whole))
    order = np.argsort(codes, kind="stable")
    order = order[codes[order] >= 0]
    if not len(order):
        return
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    firsts = rows[list(columns)].iloc[order[starts]].itertuples(index=False, name=None)
    yield from zip(firsts, np.split(order, starts[1:]), strict=True)


def microseconds_of(times: pd.Series[Any]) -> npt.NDArray[np.int64]:
    """Return times as microseconds since 1970, ``NO_TIME`` where one is missing."""
    return np.asarray(times.dt.tz_convert(None).to_numpy("datetime64[us]")).astype(np.int64)


def table(dtypes: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> pd.DataFrame:
    """Return a frame of rows, each with a value for each column in the declared order."""
    listed = [tuple(row) for row in rows]
    columns = dict(zip(dtypes, zip(*listed, strict=True), strict=True)) if listed else dict.fromkeys(dtypes, ())
    return frame(dtypes, columns)


def join(dtypes: Mapping[str, str], parts: Sequence[pd.DataFrame], trials: Sequence[str]) -> pd.DataFrame:
    """Return frames of different trials as one, in the order of these trials and without rows of other trials."""
    filled = [part for part in parts if len(part)]
    if not filled:
        return frame(dtypes, {name: [] for name in dtypes})
    whole = filled[0] if len(filled) == 1 else pd.concat(filled, ignore_index=True)
    codes, names = pd.factorize(whole["TrainingJobName"])
    place = np.append(pd.Index(trials).get_indexer(pd.Index(list(names), dtype=object)), -1)[codes]
    if len(place) and place[0] >= 0 and (np.diff(place) >= 0).all():
        return whole.copy(deep=False).reset_index(drop=True)  # a million log lines take 150 MB
    order = np.argsort(place, kind="stable")
    return whole.take(order[place[order] >= 0]).reset_index(drop=True)
