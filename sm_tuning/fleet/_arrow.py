"""The tables of the dataset in Parquet: their schemas, and the change of a month's file."""

from __future__ import annotations

import importlib
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from sm_tuning._errors import MissingExtraError, SpecError
from sm_tuning.fleet._rows import Row, printable_rows
from sm_tuning.fleet._tables import TABLES, Type

Table = Any
"""A ``pyarrow.Table``."""


def arrow() -> Any:
    """Return the package pyarrow, with its modules for Parquet and for columns.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        package = importlib.import_module("pyarrow")
        for module in ("parquet", "compute"):
            importlib.import_module(f"pyarrow.{module}")
    except ImportError as error:
        raise MissingExtraError("the dataset of all tuning jobs", "parquet") from error
    return package


def schema_of(table: str) -> Any:
    """Return the schema of a table; the order of its columns is that of the documentation."""
    pa = arrow()
    types: Mapping[Type, Any] = {
        "string": pa.string(),
        "bigint": pa.int64(),
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "timestamp": pa.timestamp("us", "UTC"),
        "array<string>": pa.list_(pa.string()),
        "map<string,string>": pa.map_(pa.string(), pa.string()),
        "map<string,double>": pa.map_(pa.string(), pa.float64()),
    }
    return pa.schema([(name, types[column.type]) for name, column in TABLES[table].items()])


def table_of(name: str, rows: Sequence[Row] | pd.DataFrame) -> Table:
    """Return rows, or a frame with the columns of the table, as a table of pyarrow."""
    pa, schema = arrow(), schema_of(name)
    if isinstance(rows, pd.DataFrame):
        return pa.Table.from_arrays([_array(rows[field.name], field.type) for field in schema], schema=schema)
    clean = printable_rows(rows)
    columns = []
    for field in schema:
        values = [row[field.name] for row in clean]
        # pyarrow takes the entries of a map as pairs.
        columns.append([list(v.items()) for v in values] if pa.types.is_map(field.type) else values)
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: pd.Series[Any], kind: Any) -> Any:
    """Return a column of a frame as an array; nan and NaT become null."""
    pa = arrow()
    if pa.types.is_timestamp(kind):
        return pa.array(values.dt.tz_convert(None).to_numpy("datetime64[us]")).cast(kind)
    if pa.types.is_string(kind):
        return pa.array(values.astype(object).where(values.notna(), None).tolist(), type=kind)
    return pa.array(values.to_numpy(), type=kind, from_pandas=True)


def read_table(content: bytes, name: str, source: str) -> Table:
    """Return the table in a file, with the columns of today: a file of an earlier version lacks some.

    Raises:
        SpecError: it is not a Parquet file of this table.
    """
    pa, schema = arrow(), schema_of(name)
    try:
        found = pa.parquet.read_table(io.BytesIO(content))
        lacking = [field for field in schema if field.name not in found.column_names]
        for field in lacking:
            found = found.append_column(field, pa.nulls(len(found), field.type))
        return found.select(schema.names).cast(schema)
    except (pa.ArrowException, ValueError) as error:
        message = f"{source} is not a file of sm-tuning sync ({error}): move it away, and sync with refresh"
        raise SpecError(message) from error


def changed(before: Table | None, new: Table) -> Table:
    """Return a table with the rows of some jobs replaced; the rows of a job that were read later stay as they are.

    Args:
        before: the table; None without one.
        new: all rows of some jobs, each job read at one time.
    """
    if before is None:
        return new
    pa = arrow()
    is_replaced = pa.compute.is_in(before["JobId"], pa.compute.unique(new["JobId"]))
    old, newest = _times(before.filter(is_replaced)), _times(new)
    later = pa.array([job for job, moment in newest.items() if job in old and old[job] > moment], pa.string())
    stays = pa.compute.or_(pa.compute.invert(is_replaced), pa.compute.is_in(before["JobId"], later))
    kept = new.filter(pa.compute.invert(pa.compute.is_in(new["JobId"], later)))
    return pa.concat_tables([before.filter(stays), kept])


def to_bytes(table: Table) -> bytes:
    """Return the content of a Parquet file."""
    content = io.BytesIO()
    arrow().parquet.write_table(table, content, compression="zstd", coerce_timestamps="us")
    return content.getvalue()


def with_deleted(before: Table | None, jobs: Sequence[str]) -> Table | None:
    """Return the table of jobs with some of them marked as deleted; None without a table."""
    pa = arrow()
    if before is None:
        return None
    place = before.schema.get_field_index("IsDeleted")
    is_gone = pa.compute.is_in(before["JobId"], pa.array(jobs, pa.string()))
    return before.set_column(place, before.schema.field(place), pa.compute.or_(before["IsDeleted"], is_gone))


def _times(table: Table) -> dict[str, datetime]:
    """Return when each job of a table was read."""
    groups = table.group_by("JobId").aggregate([("SyncedAt", "max")]).to_pydict()
    return dict(zip(groups["JobId"], groups["SyncedAt_max"], strict=True))
