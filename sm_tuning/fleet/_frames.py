"""The dataset as DataFrames."""

from __future__ import annotations

import os
from typing import NamedTuple

import pandas as pd

from sm_tuning._errors import SpecError
from sm_tuning.aws import Aws
from sm_tuning.fleet._arrow import arrow, read_table, schema_of
from sm_tuning.fleet._store import open_store


class Fleet(NamedTuple):
    """The tables of a dataset: rows of jobs by creation, and of trials by job and creation.

    Attributes:
        jobs: a row a tuning job.
        trials: a row a trial.
    """

    jobs: pd.DataFrame
    trials: pd.DataFrame


def read_fleet(dest: str | os.PathLike[str], aws: Aws | None = None) -> Fleet:
    """Return the jobs and trials of a dataset. Text is ``string``; maps are dicts, lists are lists.

    Args:
        dest: the folder, or ``s3://bucket/prefix``.
        aws: a connection, for S3.

    Raises:
        SpecError: there is no dataset, or a file of it cannot be read.
        MissingExtraError: pyarrow is not installed.
        ServiceError: S3 refused or could not be reached.
    """
    pa, store = arrow(), open_store(dest, aws)
    frames = []
    for name in ("jobs", "trials"):
        keys = [key for key in store.keys(name) if key.endswith(".parquet")]
        if name == "jobs" and not keys:
            raise SpecError(f"there is no dataset in {store.uri!r}: run sm-tuning sync {store.uri}")
        contents = [(content, key) for key in keys if (content := store.read(key)) is not None]
        parts = [read_table(content, name, f"{store.uri}/{key}") for content, key in contents]
        table = pa.concat_tables(parts) if parts else schema_of(name).empty_table()
        table = table.sort_by([("CreationTime", "ascending")])
        types = {pa.string(): pd.StringDtype(), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
        frames.append(table.to_pandas(types_mapper=types.get, maps_as_pydicts="strict", date_as_object=False))
    return Fleet(*frames)
