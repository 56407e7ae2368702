"""What a dataset has of an account and region: the state of each job, and the time until which changes are known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Self

from sm_tuning._errors import SpecError

_VERSION = 1


class Entry(NamedTuple):
    """What is known of a tuning job.

    Attributes:
        created: when it was created; None if it could never be read.
        modified: its last change as of the last reading.
        synced: when it was read.
        is_final: whether nothing can change any more.
        has_curves: whether its final curves are in the dataset.
    """

    created: datetime | None
    modified: datetime | None
    synced: datetime
    is_final: bool
    has_curves: bool


@dataclass
class State:
    """The state of an account and region.

    Attributes:
        watermark: every job that changed up to this time has an entry; None before the first complete sync.
        jobs: the entries by name.
    """

    watermark: datetime | None = None
    jobs: dict[str, Entry] = field(default_factory=dict)

    @classmethod
    def parse(cls, content: bytes | None, source: str) -> Self:
        """Return the state in a file; an empty one without a file.

        Raises:
            SpecError: the file is damaged, or of a later version.
        """
        if content is None:
            return cls()
        try:
            data = json.loads(content)
            version = data["version"]
            if version == _VERSION:
                return cls(_time(data["watermark"]), {name: _entry(entry) for name, entry in data["jobs"].items()})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            message = f"{source} is damaged ({error}): delete this file, and the next sync reads all jobs again"
            raise SpecError(message) from error
        raise SpecError(f"{source} has version {version!r}, and this version knows {_VERSION}: update sm-tuning")

    def joined(self, other: Self) -> Self:
        """Return the state of two syncs that ran at the same time: of each job the later reading."""
        jobs = dict(self.jobs)
        for name, entry in other.jobs.items():
            if name not in jobs or jobs[name].synced <= entry.synced:
                jobs[name] = entry
        marks = [mark for mark in (self.watermark, other.watermark) if mark is not None]
        return type(self)(max(marks, default=None), jobs)

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        jobs = {name: [_text(value) for value in entry] for name, entry in sorted(self.jobs.items())}
        data = {"version": _VERSION, "watermark": _text(self.watermark), "jobs": jobs}
        return json.dumps(data, indent=0).encode()

    def unread(self, listed: Iterable[Mapping[str, Any]], *, curves: bool, refresh: bool) -> list[str]:
        """Return the names of the jobs to read: those that have changed, and those that were not final.

        Args:
            listed: summaries of jobs that may have changed.
            curves: whether jobs without curves are read again.
            refresh: whether all listed jobs are read again.
        """
        names = dict[str, None]()
        for summary in listed:
            name = str(summary["HyperParameterTuningJobName"])
            entry = self.jobs.get(name)
            found = _seconds(summary["CreationTime"], summary.get("LastModifiedTime"))
            if refresh or entry is None or _seconds(entry.created, entry.modified) != found:
                names[name] = None
        for name, entry in self.jobs.items():
            if not entry.is_final or (curves and not entry.has_curves and entry.created is not None):
                names[name] = None
        return list(names)


def _seconds(*moments: datetime | None) -> tuple[int | None, ...]:
    """Return times in whole seconds: lists and descriptions may round them differently."""
    return tuple(None if moment is None else int(moment.timestamp()) for moment in moments)


def _entry(values: Any) -> Entry:
    created, modified, synced, is_final, has_curves = values
    return Entry(_time(created), _time(modified), datetime.fromisoformat(synced), bool(is_final), bool(has_curves))


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
