"""The disk cache of finished trials' results: Parquet files, and JSON files of facts, in the user's cache folder.

An entry's key is the tuning job's ARN (which has account and region), the time of its creation, the kind of entry with
its arguments, and the version of this format. A file is written whole or not at all, and names the trials of which it
has everything. Without pyarrow (the extra ``parquet``) or without a folder there is no cache.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import json
import logging
import os
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sm_tuning._cache_folder import ARCHIVES, cache_folder
from sm_tuning._files import write_atomic
from sm_tuning.description import Job
from sm_tuning.results._columns import TIME

if TYPE_CHECKING:
    import pandas as pd

_VERSION = 6  # of the files' content; a change makes older files unknown, so that they are not misread
_LIMIT = 2**30  # bytes of all files together
_LARGEST = 2**28  # bytes of one file
_ROWS = 2**16  # of which pages are made in memory at once
_META = b"sm_tuning"
_FACTS = ".json.gz"

_log = logging.getLogger("sm_tuning.results")


class Entry(NamedTuple):
    """A cached frame, and the trials of which it has everything."""

    frame: pd.DataFrame
    trials: frozenset[str]


class Cache:
    """The files of one folder.

    Args:
        folder: made with the first file, readable by its owner only: log lines may have secrets.
        limit: bytes of all files together; the least recently used files are removed first.
    """

    def __init__(self, folder: Path, *, limit: int = _LIMIT) -> None:
        self._folder = folder
        self._limit = limit

    def load(self, key: str, dtypes: Mapping[str, str]) -> Entry | None:
        """Return the entry of a key; None if it does not exist or cannot be read."""
        import pyarrow as pa  # noqa: PLC0415  (without it there is no cache)
        import pyarrow.parquet as pq  # noqa: PLC0415

        path = self._folder / f"{key}.parquet"
        try:
            table = pq.read_table(path)
            trials = json.loads(table.schema.metadata[_META])
            frame = table.to_pandas(ignore_metadata=True)
            for name in (name for name, dtype in dtypes.items() if dtype == TIME):
                frame[name] = frame[name].dt.tz_localize("UTC")
            frame = frame.astype(dict(dtypes))
            os.utime(path)  # the time of the last use, by which files are removed
        except FileNotFoundError:
            return None
        except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
            _log.warning("the cached file %s cannot be read and is left out: %s", path, error)
            return None
        return Entry(frame[list(dtypes)], frozenset(trials))

    def save(self, key: str, frame: pd.DataFrame, trials: Iterable[str]) -> None:
        """Write an entry, unless it is too large. An error is only logged: it costs the next reading's time."""
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415

        # Parquet files of pandas 2 and 3 differ in how they keep time zones, so times are written without.
        times = {str(name): frame[name].dt.tz_convert(None) for name in frame if str(frame[name].dtype) == TIME}
        try:
            table = pa.Table.from_pandas(frame.assign(**times), preserve_index=False)
        except UnicodeEncodeError:
            return  # older pandas keep half of a surrogate pair, which Parquet cannot
        content = io.BytesIO()
        table = table.replace_schema_metadata({_META: json.dumps(sorted(trials))})
        pq.write_table(table, content, compression="zstd", row_group_size=_ROWS)
        self._write(f"{key}.parquet", content.getvalue())

    def load_facts(self, key: str) -> str | None:
        """Return the facts of a key as JSON; None if they do not exist or cannot be read."""
        path = self._folder / f"{key}{_FACTS}"
        try:
            text = gzip.decompress(path.read_bytes()).decode()
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
            _log.warning("the cached file %s cannot be read and is left out: %s", path, error)
            return None
        return text

    def save_facts(self, key: str, text: str) -> None:
        """Write facts, which are JSON, as ``save`` does."""
        self._write(f"{key}{_FACTS}", gzip.compress(text.encode(), compresslevel=1, mtime=0))

    def _write(self, name: str, content: bytes) -> None:
        if len(content) > min(_LARGEST, self._limit):
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(self._folder / name, content, private=True)
            self._shrink()
        except OSError as error:
            _log.warning("cannot keep results in %s: %s", self._folder, error)

    def clear(self) -> tuple[int, int]:
        """Remove every file, and return their number and their bytes."""
        files = self._files()
        for path, _, _ in files:
            path.unlink(missing_ok=True)
        return len(files), sum(size for _, size, _ in files)

    def _files(self) -> list[tuple[Path, int, float]]:
        """Return path, bytes and time of last use of each file, the least recently used first."""
        found = []
        for path in (path for kind in (".parquet", _FACTS) for path in self._folder.glob(f"*{kind}*")):
            with suppress(FileNotFoundError):  # another process may remove files at the same time
                status = path.stat()
                found.append((path, status.st_size, status.st_mtime))
        return sorted(found, key=lambda item: (item[2], item[0]))

    def _shrink(self) -> None:
        files = self._files()
        total = sum(size for _, size, _ in files)
        for path, size, _ in files:
            if total <= self._limit:
                return
            path.unlink(missing_ok=True)
            total -= size


def key_of(job: Job, kind: str, query: Mapping[str, Any]) -> str:
    """Return the key of an entry about a job."""
    # The creation time is a part of it, because a job may be deleted and another made under the same name.
    parts = [_VERSION, job.arn, job.created.timestamp(), kind, query]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:40]


def open_cache(environ: Mapping[str, str]) -> Cache | None:
    """Return the user's cache; None without a folder or without pyarrow."""
    folder = cache_folder(environ)
    if folder is None or importlib.util.find_spec("pyarrow") is None:
        return None
    return Cache(folder / "frames")


def clear_cache(environ: Mapping[str, str]) -> tuple[int, int]:
    """Delete the whole cache (frames, prices, script archives), and return the number of files and of bytes."""
    folder = cache_folder(environ)
    if folder is None:
        return 0, 0
    count, size = Cache(folder / "frames").clear()
    for path in (folder / "prices.json", *(folder / ARCHIVES).glob("*")):
        if path.is_file():
            count, size = count + 1, size + path.stat().st_size
            path.unlink()
    return count, size
