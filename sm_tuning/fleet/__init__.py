"""The tuning jobs of an account as a dataset: Parquet files in a folder or in S3, which each sync brings up to date.

``sync`` reads what has changed and writes it, ``read_fleet`` returns the tables as DataFrames, and ``ddl`` the SQL with
which Athena and DuckDB see them. Every name is imported on first use: pyarrow loads only with files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sm_tuning._lazy import lazy_names

if TYPE_CHECKING:
    from sm_tuning.fleet._ddl import ENGINES, ddl
    from sm_tuning.fleet._frames import Fleet, read_fleet
    from sm_tuning.fleet._sync import Synced, sync
    from sm_tuning.fleet._tables import TABLES, Column
else:
    _HOMES = {
        "._ddl": ("ENGINES", "ddl"),
        "._frames": ("Fleet", "read_fleet"),
        "._sync": ("Synced", "sync"),
        "._tables": ("TABLES", "Column"),
    }
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = ["ENGINES", "TABLES", "Column", "Fleet", "Synced", "ddl", "read_fleet", "sync"]
