"""A labelled test set: read, checked, and divided into labels and features."""

from __future__ import annotations

import csv
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sm_tuning._errors import SpecError
from sm_tuning.aws import Aws, mapped, split_uri
from sm_tuning.deploy._payloads import csv_of, table_of

TestData = str | Path | Any
"""A CSV file, local or ``s3://``, or a DataFrame or array; the label is in the first column."""


@dataclass(frozen=True)
class TestSet:
    """A test set.

    Attributes:
        labels: the first column.
        features: the other columns as CSV, a row a line.
    """

    __test__ = False  # for pytest, which takes the name for that of a test

    labels: tuple[float, ...]
    features: bytes

    @property
    def digest(self) -> str:
        """A hash of the features."""
        return hashlib.sha256(self.features).hexdigest()[:16]


def read_test_set(aws: Aws, test: TestData) -> TestSet:
    """Read a test set.

    Raises:
        SpecError: the file cannot be read, or is not CSV with numeric labels in the first column and no header.
        ServiceError: S3 refused.
    """
    if isinstance(test, str | Path):
        where = str(test)
        if where.startswith("s3://"):
            bucket, key = split_uri(where)
            body = aws.call("s3", "get_object", Bucket=bucket, Key=key)["Body"]
            with mapped("GetObject", where):
                data = body.read()
        else:
            try:
                data = Path(where).expanduser().read_bytes()
            except OSError as error:
                raise SpecError(f"test: cannot read {where!r}: {error.strerror or error}") from error
    else:
        where, data = f"a {type(test).__name__}", csv_of(table_of(test))
    return parse_test_set(data, where)


def parse_test_set(data: bytes, where: str) -> TestSet:
    """Divide CSV into labels and features; each row keeps the text of its features.

    Args:
        data: the file.
        where: name of the file, for errors.

    Raises:
        SpecError: the data is not CSV with numeric labels in the first column and no header.
    """
    try:
        lines = [line for line in data.decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise SpecError(f"test: {where} is not CSV in UTF-8: {error}") from error
    if not lines:
        raise SpecError(f"test: {where} has no rows")
    labels: list[float] = []
    features: list[str] = []
    widths: set[int] = set()
    for number, line in enumerate(lines, 1):
        label, comma, rest = line.partition(",")
        try:
            value = float(label.strip().strip('"'))
        except ValueError:
            value = math.nan
        if not comma or math.isnan(value):
            raise SpecError(
                f"test: row {number} of {where} begins with {label[:40]!r}: a test set is CSV without a header, with a "
                "number in the first column, the label, and the features after it"
            )
        labels.append(value)
        features.append(rest)
        widths.add(len(next(csv.reader([line]))))
    if len(widths) > 1:
        raise SpecError(f"test: the rows of {where} differ in their number of columns: {sorted(widths)}")
    return TestSet(tuple(labels), "".join(line + "\n" for line in features).encode())
