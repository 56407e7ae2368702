"""The channels of the built-in XGBoost as arrays.

Formats follow the Developer Guide, xgboost (Input/Output interface) and aws/sagemaker-xgboost-container
(data_utils.py): CSV without a header and libsvm, each with the label first, or Parquet with the label in the first
column. A channel without a content type is libsvm.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sm_tuning._errors import SmTuningError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Array = NDArray[np.float64]

CSV, LIBSVM, PARQUET = "csv", "libsvm", "parquet"
_CONTENT_TYPES = {
    "csv": CSV,
    "text/csv": CSV,
    "libsvm": LIBSVM,
    "text/libsvm": LIBSVM,
    "text/x-libsvm": LIBSVM,
    "parquet": PARQUET,
    "application/x-parquet": PARQUET,
}
_MAX_DEPTH = 3
_DELIMITERS = ",\t;| "


class UserError(SmTuningError):
    """Data or hyperparameters that the algorithm cannot train on; the message goes to the failure file."""


@dataclass(frozen=True)
class Data:
    """One channel: features (dense with NaN for missing values, or sparse), labels, and weights if there are any."""

    features: Array | csr_matrix
    labels: Array
    weights: Array | None = None
    groups: NDArray[np.int64] | None = None


def format_of(content_type: str | None) -> str:
    """Return ``csv``, ``libsvm`` or ``parquet`` for a ContentType, which may have parameters.

    Raises:
        UserError: the algorithm does not accept the content type.
    """
    if content_type is None or not content_type.strip():
        return LIBSVM
    kind, *parameters = [part.strip() for part in content_type.lower().split(";")]
    if kind not in _CONTENT_TYPES:
        raise UserError(f"{content_type} is not an accepted ContentType: {', '.join(_CONTENT_TYPES)}.")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if _CONTENT_TYPES[kind] == CSV and name.strip() == "label_size" and value.strip() != "1":
            raise UserError(f"{content_type} is not an accepted csv ContentType: label_size must be 1.")
    return _CONTENT_TYPES[kind]


def read(channel: Path, form: str, *, csv_weights: bool = False) -> Data | None:
    """Return all files of a channel as one data set; None if it has no data.

    Args:
        channel: folder of the channel.
        form: from :func:`format_of`.
        csv_weights: whether the second column of CSV has the weight of each row.

    Raises:
        UserError: a file does not have that form; the message has its name and line.
    """
    files: list[Path] = []
    for folder, folders, names in os.walk(channel):
        folders.sort()
        if len(Path(folder).relative_to(channel).parts) >= _MAX_DEPTH - 1:
            folders.clear()
        # Names that start with a dot or an underscore are markers, such as _SUCCESS of Spark.
        files += [Path(folder, name) for name in sorted(names) if not name.startswith((".", "_"))]
    files = [path for path in files if path.is_file() and path.stat().st_size]
    if not files:
        return None
    if form == LIBSVM:
        return _read_libsvm(files)
    parts = [_read_csv(path) if form == CSV else _read_parquet(path) for path in files]
    widths = {part.shape[1] for part in parts}
    if len(widths) > 1:
        each = ", ".join(f"{path.name}: {part.shape[1]}" for path, part in zip(files, parts, strict=True))
        raise UserError(f"The files of channel {channel.name!r} differ in their number of columns ({each}).")
    table = np.concatenate(parts)
    first = 2 if csv_weights and form == CSV else 1
    if table.shape[1] <= first:
        raise UserError(
            f"Channel {channel.name!r} has {table.shape[1]} column(s): the label"
            f"{' and the weight' if first == 2 else ''} must be followed by at least one feature."
        )
    missing = np.flatnonzero(np.isnan(table[:, 0]))
    if len(missing):
        raise UserError(f"Channel {channel.name!r} has no label in row {missing[0] + 1} (the first column).")
    return Data(table[:, first:], table[:, 0], table[:, 1] if first == 2 else None)


def _read_csv(path: Path) -> Array:
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    first = text.lstrip("\r\n").split("\n", 1)[0].rstrip("\r")
    delimiter = next((mark for mark in _DELIMITERS if mark in first), None)
    if delimiter is None:
        raise UserError(
            f"Could not determine delimiter on line {first[:50]!r} of file {path.name!r}: CSV needs the label and at"
            " least one feature in each row."
        )
    with suppress(ValueError):
        return np.loadtxt(io.StringIO(text), delimiter=delimiter, ndmin=2, comments=None, quotechar='"')
    # loadtxt is fast, but does not read empty fields as missing values, and its messages name no file.
    rows: list[list[float]] = []
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    for fields in reader:
        if not fields:
            continue
        if rows and len(fields) != len(rows[0]):
            raise UserError(
                f"Line {reader.line_num} of file {path.name!r} has {len(fields)} columns where the lines before have"
                f" {len(rows[0])}."
            )
        try:
            rows.append([float(field) if field.strip() else np.nan for field in fields])
        except ValueError as e:
            place = "First line" if not rows else f"Line {reader.line_num}"
            raise UserError(
                f"{place} {delimiter.join(fields)[:50]!r} of file {path.name!r} is not 'CSV' format of numbers ({e})."
                " The built-in XGBoost takes CSV without a header, the label in the first column."
            ) from e
    return np.array(rows)


def _read_parquet(path: Path) -> Array:
    try:
        from pyarrow import parquet  # noqa: PLC0415 - an optional package
    except ImportError as e:
        raise UserError("Parquet data needs the package pyarrow: pip install pyarrow") from e
    try:
        columns = parquet.read_table(path).columns
        return np.column_stack([column.to_numpy().astype(np.float64) for column in columns])
    except (OSError, ValueError, TypeError) as e:  # pyarrow's own errors are subclasses of these
        raise UserError(f"Failed to load parquet data from file {path.name!r}: {e}") from e


def _read_libsvm(files: Sequence[Path]) -> Data:
    def lines(path: Path) -> Iterator[str]:
        with path.open(encoding="utf-8", errors="replace") as stream:
            yield from stream

    return parse_libsvm([(path.name, lines(path)) for path in files])


def parse_libsvm(files: Iterable[tuple[str, Iterable[str]]]) -> Data:
    """Return the data of libsvm files, each as its name and its lines; the features are sparse.

    Raises:
        UserError: a line does not have the form.
    """
    from scipy.sparse import csr_matrix  # noqa: PLC0415 - only this format needs SciPy

    labels: list[float] = []
    weights: list[float] = []
    queries: list[int] = []
    values: list[float] = []
    columns: list[int] = []
    ends = [0]
    for name, stream in files:
        for number, raw in enumerate(stream, 1):
            line = raw.split("#", 1)[0].strip()
            if not line:
                continue
            head, *features = line.split()
            try:
                label, _, weight = head.partition(":")
                labels.append(float(label))
                weights.append(float(weight) if weight else 1.0)
                if features and features[0].startswith("qid:"):
                    queries.append(int(features.pop(0)[4:]))
                pairs = [feature.partition(":") for feature in features]
                columns += [int(column) for column, _, _ in pairs]
                values += [float(value) for _, _, value in pairs]
            except ValueError as e:
                place = "First line" if number == 1 else f"Line {number}"
                raise UserError(
                    f"{place} {line[:50]!r} of file {name!r} is not 'LIBSVM' format (<label>[:<weight>]"
                    " <index>:<value> ...). Set the channel's content type to text/csv if the data is CSV."
                ) from e
            ends.append(len(values))
    if not values or min(columns) < 0:
        raise UserError("The libsvm data has no features, or an index below 0.")
    if queries and len(queries) != len(labels):
        raise UserError("Some lines of the libsvm data have a qid and others do not; give all lines one, or none.")
    shape = (len(labels), max(columns) + 1)
    matrix = csr_matrix((np.array(values), np.array(columns), np.array(ends)), shape=shape)
    weighted = any(weight != 1.0 for weight in weights)
    return Data(
        matrix, np.array(labels), np.array(weights) if weighted else None, np.array(queries) if queries else None
    )
