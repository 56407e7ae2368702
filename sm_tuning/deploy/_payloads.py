"""Rows and predictions as the payloads of serving containers."""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from typing import Any

from sm_tuning._errors import SpecError

CSV, JSON = "text/csv", "application/json"


def table_of(data: Any) -> list[list[Any]]:
    """Return rows of plain values.

    Raises:
        SpecError: the data is neither a table nor one row.
    """
    if hasattr(data, "to_numpy"):  # pandas, without its index
        data = data.to_numpy()
    rows = data.tolist() if hasattr(data, "tolist") else data
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
        raise SpecError(f"data must be a DataFrame, an array, rows or one row of values, but got {type(data).__name__}")
    if not isinstance(rows[0], Sequence) or isinstance(rows[0], str):
        rows = [rows]
    widths = {len(row) for row in rows}
    if len(widths) > 1:
        raise SpecError(f"all rows need the same number of values, but they have {sorted(widths)}")
    return [list(row) for row in rows]


def csv_of(rows: Sequence[Sequence[Any]]) -> bytes:
    """Return rows as CSV without a header; a missing value is an empty field."""

    def field(value: Any) -> str:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        return str(value)

    return "".join(",".join(map(field, row)) + "\n" for row in rows).encode()


def read_predictions(body: bytes, rows: int | None) -> list[Any]:
    """Return predictions from CSV: a number a row, or a list of numbers.

    Args:
        body: a row a line; images up to XGBoost 1.2-1 answer on one line.
        rows: the number of rows that were sent, if known.
    """
    lines = [_numbers(line) for line in body.decode().splitlines() if line.strip()]
    if len(lines) == 1 and rows not in (None, 1) and len(lines[0]) == rows:
        return lines[0]
    return [line[0] if len(line) == 1 else line for line in lines]


def _numbers(line: str) -> list[Any]:
    if line.startswith("["):  # the built-in XGBoost prints Python's lists in batch transform
        return list(ast.literal_eval(line))
    return [_number(field) for field in line.split(",")]


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text.strip().strip('"')
