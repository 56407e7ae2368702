"""The frame of what went wrong in trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from sm_tuning._masking import Redactor
from sm_tuning.aws import Aws
from sm_tuning.description import Job, Trial, select
from sm_tuning.results._events import Lines, Want, read_lines, window_of
from sm_tuning.results._fetch import read_jobs
from sm_tuning.results._kept import by_trial_kept
from sm_tuning.results._reader import Reader, Reading, reading_with
from sm_tuning.results._schema import ERRORS, frame, join
from sm_tuning.results._tracebacks import Block, last_traceback


class _Found(NamedTuple):
    """A traceback of one host."""

    milliseconds: int
    host: str
    block: Block


def errors(
    aws: Aws,
    names: str | Sequence[str],
    *,
    trial: str | int | Sequence[str | int] | None = None,
    reading: Reading | None = None,
) -> pd.DataFrame:
    """Why trials failed, one row a failed trial.

    Args:
        aws: the connection.
        names: tuning jobs.
        trial: only of these training jobs, by name or by number.
        reading: how to read.

    Returns:
        ``TrainingJobName, Host, Timestamp, Message, Traceback, FailureReason, Source``. The traceback is the last one
        of a host's log, of the host that failed first, and ``Message`` the exception's own line; ``Source`` is
        ``logs`` then. A log without one gives the service's reason as ``Message`` and ``FailureReason`` as ``Source``.
        When AWS withholds a part, ``attrs["incomplete"]`` says which.

    Raises:
        SpecError: there is no such trial.
        JobNotFoundError: there is no such tuning job.
    """
    with reading_with(aws, reading) as reader:
        per_job = read_jobs(reader, names)
        parts: list[pd.DataFrame] = []
        failed = {job: [one for one in some if one.failed] for job, some in select(per_job, trial).items()}
        for job, some in failed.items():

            def read(reader: Reader, of: Sequence[Trial], job: Job = job) -> pd.DataFrame:
                lines = read_lines(reader, Want(job, per_job[job], of, window_of(of)))
                return _frame(of, lines, job.redactor)

            parts.append(by_trial_kept(reader, job, ("errors", {}), ERRORS, some, read))
        table = join(ERRORS, parts, [one.name for some in failed.values() for one in some])
        return reader.finish(table)


def _frame(of: Sequence[Trial], lines: Lines, clear: Redactor) -> pd.DataFrame:
    places = dict(lines.by_trial())
    found = {trial.name: _first(lines, places[trial.name]) for trial in of if trial.name in places}
    rows = [_row(trial, found.get(trial.name)) for trial in of]
    columns = {name: [row[name] for row in rows] for name in ERRORS}
    return frame(ERRORS, columns | {name: clear.each(columns[name]) for name in ("Message", "Traceback")})


def _row(trial: Trial, found: _Found | None) -> dict[str, Any]:
    ended = trial.ended or trial.created
    return {
        "TrainingJobName": trial.name,
        "Host": found.host if found else None,
        "Timestamp": found.milliseconds * 1000 if found else int(ended.timestamp() * 1000) * 1000,
        "Message": found.block.message if found else trial.failure,
        "Traceback": found.block.text if found else None,
        "FailureReason": trial.failure,
        "Source": "logs" if found else "FailureReason",
    }


def _first(lines: Lines, place: slice) -> _Found | None:
    """Of the last tracebacks of a trial's hosts the earliest: the others follow from it."""
    hosts: dict[str, list[int]] = {}
    for row in range(*place.indices(len(lines))):
        hosts.setdefault(lines.streams[lines.stream[row]].host, []).append(row)
    found = []
    for host, rows in hosts.items():
        block = last_traceback([lines.messages[row] for row in rows])
        if block is not None:
            found.append(_Found(int(lines.milliseconds[rows[block.place]]), host, block))
    return min(found, key=lambda one: one.milliseconds, default=None)
