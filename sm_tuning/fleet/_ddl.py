"""The SQL with which Athena and DuckDB see the dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from sm_tuning._errors import SpecError, did_you_mean
from sm_tuning.aws import split_uri
from sm_tuning.fleet._tables import TABLES, Column

ENGINES = ("athena", "duckdb")

_DUCKDB_ON_S3 = """\
-- DuckDB reads S3 by its extension httpfs, with the credentials of the AWS SDK.
-- The view curves needs a dataset with curves.
INSTALL httpfs;
LOAD httpfs;
CREATE OR REPLACE SECRET sm_tuning (TYPE s3, PROVIDER credential_chain);
"""

#: SageMaker began in this month, so that no partition is older.
_FIRST_MONTH = "2017-11"


def ddl(dest: str | os.PathLike[str], engine: str) -> str:
    """Return the statements that define the tables ``jobs``, ``trials`` and ``curves`` over a dataset; makes no call.

    Athena finds the months by partition projection, so that no statement is needed after a sync. DuckDB cannot define
    a view over files that do not exist: of a folder without curves, the view ``curves`` is left out.

    Args:
        dest: the folder or ``s3://bucket/prefix`` of the dataset.
        engine: ``athena`` or ``duckdb``.

    Raises:
        SpecError: the engine is unknown, or ``dest`` cannot be read by it.
    """
    text = os.fspath(dest)
    if text.startswith("s3://"):
        split_uri(text)
    text = text.rstrip("/")
    if engine == "duckdb":
        if not _has(text, "jobs"):
            raise SpecError(f"there is no dataset in {text!r}: run sm-tuning sync {text}")
        views = [_duckdb(text, name) for name in reversed(list(TABLES)) if name != "curves" or _has(text, name)]
        return "\n".join([_DUCKDB_ON_S3, *views] if text.startswith("s3://") else views)
    if engine != "athena":
        raise SpecError(f"there is no DDL for {engine!r}: {did_you_mean(engine, ENGINES)}")
    if not text.startswith("s3://"):
        raise SpecError(f"Athena reads from S3 only, but the dataset is in {text!r}: sync to s3://bucket/prefix")
    return "\n".join(_athena(text, name, TABLES[name]) for name in reversed(list(TABLES)))


def _has(dest: str, table: str) -> bool:
    """Return whether a folder has files of a table; of S3, where no call is made, they are assumed."""
    return dest.startswith("s3://") or any((Path(dest).expanduser() / table).glob("*/*.parquet"))


def _duckdb(dest: str, table: str) -> str:
    folder = dest if dest.startswith("s3://") else str(Path(dest).expanduser().absolute())
    files = f"{folder}/{table}/*/*.parquet".replace("'", "''")
    options = "hive_partitioning = true, hive_types_autocast = false, union_by_name = true"
    return f"CREATE OR REPLACE VIEW {table} AS\nSELECT * FROM read_parquet('{files}', {options});\n"


def _athena(dest: str, table: str, columns: Mapping[str, Column]) -> str:
    lines = ",\n".join(f"  `{name.lower()}` {column.type}" for name, column in columns.items())
    location = f"{dest}/{table}".replace("'", "''")
    properties = {
        "projection.enabled": "true",
        "projection.month.type": "date",
        "projection.month.format": "yyyy-MM",
        "projection.month.range": f"{_FIRST_MONTH},NOW",
        "projection.month.interval": "1",
        "projection.month.interval.unit": "MONTHS",
        "storage.location.template": f"{location}/month=${{month}}/",
    }
    shown = ",\n".join(f"  '{name}' = '{value}'" for name, value in properties.items())
    return (
        f"CREATE EXTERNAL TABLE IF NOT EXISTS {table} (\n{lines}\n)\nPARTITIONED BY (`month` string)\n"
        f"STORED AS PARQUET\nLOCATION '{location}/'\nTBLPROPERTIES (\n{shown}\n);\n"
    )
