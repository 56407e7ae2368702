"""The frame of log lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from sm_tuning._errors import SpecError
from sm_tuning.aws import Aws
from sm_tuning.results._events import Event, read_events, window_of
from sm_tuning.results._facts import select
from sm_tuning.results._fetch import read_jobs
from sm_tuning.results._literals import server_pattern
from sm_tuning.results._schema import LOGS, frame

Moment = str | datetime
"""A time: a datetime, or text such as ``2026-11-20T17:15``; without a time zone it is taken as UTC."""


def logs(
    aws: Aws,
    names: str | Sequence[str],
    *,
    trial: str | int | Sequence[str | int] | None = None,
    grep: str | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
) -> pd.DataFrame:
    """Log lines of the trials of tuning jobs, as CloudWatch keeps them: a tab in a line is ``#011``.

    Args:
        aws: the connection.
        names: tuning jobs.
        trial: only of these training jobs, by name or by number.
        grep: only lines in which this regular expression is found.
        start: only lines from then on.
        end: only lines until then.

    Returns:
        ``TrainingJobName, Host, Timestamp, Message``, ordered by trial (job by job, as they were created), host and
        time; lines of one moment in the order in which they came.

    Raises:
        SpecError: there is no such trial, or ``grep``, ``start`` or ``end`` cannot be read.
        JobNotFoundError: there is no such tuning job.
    """
    wanted = _compiled(grep)
    since, until = _moment("start", start), _moment("end", end)
    per_job = read_jobs(aws, names)
    events: list[Event] = []
    pattern = None if grep is None else server_pattern([grep])
    for job, chosen in select(per_job, trial).items():
        if chosen:
            window = window_of(chosen, since, until)
            events += read_events(aws, job, per_job[job], chosen, window, pattern)
    return logs_frame([event for event in events if wanted is None or wanted.search(event.message)])


def logs_frame(events: Sequence[Event]) -> pd.DataFrame:
    """The frame of these lines, in their order."""
    columns: dict[str, list[Any]] = {
        "TrainingJobName": [event.trial for event in events],
        "Host": [event.host for event in events],
        "Timestamp": [event.milliseconds * 1000 for event in events],
        "Message": [event.message for event in events],
    }
    return frame(LOGS, columns)


def _compiled(grep: str | None) -> re.Pattern[str] | None:
    try:
        return None if grep is None else re.compile(grep)
    except re.error as error:
        raise SpecError(f"grep must be a regular expression, but {grep!r} is not: {error}") from error


def _moment(name: str, value: Moment | None) -> datetime | None:
    if value is None:
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (ValueError, TypeError) as error:
        raise SpecError(f"{name} must be a time such as 2026-11-20T17:15, but got {value!r}: {error}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
