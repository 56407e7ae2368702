"""The Wisconsin breast cancer data: 30 measurements of a cell nucleus; label 0 is malignant, 1 benign."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np


class Table(NamedTuple):
    """Features of shape (n, columns) and labels of shape (n,)."""

    features: np.ndarray
    labels: np.ndarray


class DataError(ValueError):
    """The channels' files are not a table of labels and features."""


def load(train: Path | None, validation: Path | None) -> tuple[Table, Table]:
    """Return the training and validation tables.

    Without a validation source, a fifth of the training rows is held out, the same rows in every trial. The default
    source is scikit-learn's copy.

    Raises:
        DataError: if a source has no CSV file, or the tables do not fit together.
    """
    if train is None:
        from sklearn.datasets import load_breast_cancer  # noqa: PLC0415 - slow; needed only without a channel

        features, labels = load_breast_cancer(return_X_y=True)
        parts = _split(Table(features, labels))
    elif validation is None:
        parts = _split(_read(train))
    else:
        parts = _read(train), _read(validation)
    for name, part in {"train": parts[0], "validation": parts[1]}.items():
        if set(np.unique(part.labels)) != {0.0, 1.0}:
            raise DataError(f"the {name} labels, in the first column, must be 0 and 1, both of them")
    columns = [part.features.shape[1] for part in parts]
    if columns[0] != columns[1]:
        raise DataError(f"train has {columns[0]} features, but validation has {columns[1]}")
    return parts


def _split(table: Table) -> tuple[Table, Table]:
    # RandomState's stream is frozen (NEP 19), so the rows are the same with any NumPy.
    order = np.random.RandomState(20240229).permutation(len(table.labels))
    held_out = max(1, round(len(order) * 0.2))
    rows, held = order[held_out:], order[:held_out]
    return Table(table.features[rows], table.labels[rows]), Table(table.features[held], table.labels[held])


def _read(source: Path) -> Table:
    tables: list[np.ndarray] = []
    for path in [source] if source.is_file() else sorted(source.rglob("*.csv")):
        try:
            tables.append(np.loadtxt(str(path), delimiter=",", ndmin=2))
        except ValueError as e:
            raise DataError(f"{path} is not a CSV of numbers without a header: {e}") from e
    if not tables:
        raise DataError(f"no .csv file in {str(source)!r}; put the table there, label first")
    if len({table.shape[1] for table in tables}) > 1 or tables[0].shape[1] < 2:
        raise DataError(f"the files in {str(source)!r} must have the same number of columns, at least 2")
    table = np.concatenate(tables)
    return Table(features=table[:, 1:], labels=table[:, 0])
