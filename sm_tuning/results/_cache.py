"""What will not change any more, kept on disk: Parquet files in the user's cache folder.

A file is found by what it answers (the tuning job's ARN, which carries account and region, the time of its creation,
the question, and the version of this format), is written whole or not at all, and says of which trials
it holds everything. Without pyarrow (the extra ``parquet``), or without a folder, nothing is kept and all is read anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from sm_tuning._cache_folder import cache_folder
from sm_tuning._files import replacing
from sm_tuning.description import Job
from sm_tuning.results._schema import TIME

_VERSION = 3  # of what is in the files: another number makes all older ones unknown
_LIMIT = 2**30  # bytes of all files together
_LARGEST = 2**28  # bytes of one
_META = b"sm_tuning"

_log = logging.getLogger("sm_tuning.results")


class Entry(NamedTuple):
    """A frame from the cache, and the trials of which it holds everything."""

    frame: pd.DataFrame
    trials: frozenset[str]


class Cache:
    """The files of one folder.

    Args:
        folder: where they are; made when the first is written, for nobody else to read: log lines may hold secrets.
        limit: bytes of all files together; those that were not used for longest go first.
    """

    def __init__(self, folder: Path, *, limit: int = _LIMIT) -> None:
        self._folder = folder
        self._limit = limit

    def load(self, key: str, dtypes: Mapping[str, str]) -> Entry | None:
        """What was kept under a key; None when there is nothing, or nothing that can be read."""
        import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415  (without it there is no cache)
        import pyarrow.parquet as pq  # type: ignore[import-untyped]  # noqa: PLC0415

        path = self._path(key)
        try:
            table = pq.read_table(path)
            trials = json.loads(table.schema.metadata[_META])
            frame = table.to_pandas(ignore_metadata=True)
            for name in (name for name, dtype in dtypes.items() if dtype == TIME):
                frame[name] = frame[name].dt.tz_localize("UTC")
            frame = frame.astype(dict(dtypes))
            os.utime(path)
        except FileNotFoundError:
            return None
        except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
            _log.warning("the cached file %s cannot be read and is left out: %s", path, error)
            return None
        return Entry(frame[list(dtypes)], frozenset(trials))

    def save(self, key: str, frame: pd.DataFrame, trials: Iterable[str]) -> None:
        """Keep a frame; a folder that cannot be written to is logged and costs only the next reading's time."""
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415

        times = {str(name): frame[name].dt.tz_convert(None) for name in frame if str(frame[name].dtype) == TIME}
        table = pa.Table.from_pandas(frame.assign(**times), preserve_index=False)
        table = table.replace_schema_metadata({_META: json.dumps(sorted(trials))})
        path = self._path(key)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with replacing(path) as draft:
                with open(draft, "xb", opener=_private) as file:
                    pq.write_table(table, file, compression="zstd")
                if draft.stat().st_size > min(_LARGEST, self._limit):
                    draft.unlink()
            self._shrink()
        except OSError as error:
            _log.warning("cannot keep results in %s: %s", self._folder, error)

    def clear(self) -> tuple[int, int]:
        """Remove every file; how many there were, and their bytes."""
        removed = [size for path, size, _ in self._files() if _remove(path)]
        return len(removed), sum(removed)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.parquet"

    def _files(self) -> list[tuple[Path, int, float]]:
        """Path, bytes and time of last use of each file, the one used longest ago first."""
        found = []
        for path in [*self._folder.glob("*.parquet"), *self._folder.glob("*.parquet.*.part")]:
            try:
                status = path.stat()
            except FileNotFoundError:  # another process has removed it
                continue
            found.append((path, status.st_size, status.st_mtime))
        return sorted(found, key=lambda item: (item[2], item[0]))

    def _shrink(self) -> None:
        files = self._files()
        total = sum(size for _, size, _ in files)
        for path, size, _ in files:
            if total <= self._limit:
                return
            _remove(path)
            total -= size


def key_of(job: Job, kind: str, query: Mapping[str, Any]) -> str:
    """The name under which an answer about a job is kept."""
    asked = [_VERSION, job.arn, job.created.timestamp(), kind, query]
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:40]


def open_cache(environ: Mapping[str, str]) -> Cache | None:
    """The cache of this user; None without a folder or without pyarrow."""
    folder = cache_folder(environ)
    if folder is None or not _has_pyarrow():
        return None
    return Cache(folder / "frames")


def clear_cache(environ: Mapping[str, str]) -> tuple[int, int]:
    """Remove all that is kept on disk, prices included; how many files there were, and their bytes."""
    folder = cache_folder(environ)
    if folder is None:
        return 0, 0
    count, size = Cache(folder / "frames").clear()
    prices = folder / "prices.json"
    if prices.exists():
        count, size = count + 1, size + prices.stat().st_size
        prices.unlink()
    return count, size


def _has_pyarrow() -> bool:
    import importlib.util  # noqa: PLC0415

    return importlib.util.find_spec("pyarrow") is not None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
