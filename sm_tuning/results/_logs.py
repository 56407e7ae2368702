"""The frame of log lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from sm_tuning._errors import SpecError
from sm_tuning._masking import Redactor
from sm_tuning.aws import Aws
from sm_tuning.description import Job, Trial, select
from sm_tuning.results._events import Lines, Want, read_lines, window_of
from sm_tuning.results._fetch import read_jobs
from sm_tuning.results._kept import by_trial_kept
from sm_tuning.results._literals import server_pattern
from sm_tuning.results._reader import Reader, Reading, reading_with
from sm_tuning.results._schema import LOGS, frame, join

Moment = str | datetime
"""A time: a datetime, or text such as ``2026-11-20T17:15``; without a time zone it is taken as UTC."""

TrialFilter = str | int | Sequence[str | int] | None
"""Training jobs, by name or by number; None for all."""


def logs(
    aws: Aws,
    names: str | Sequence[str],
    *,
    trial: str | int | Sequence[str | int] | None = None,
    grep: str | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    reading: Reading | None = None,
) -> pd.DataFrame:
    """Log lines of the trials of tuning jobs, as CloudWatch keeps them: a tab in a line is ``#011``.

    The value of an environment variable or hyperparameter whose name looks like a secret's is ``****`` in them.

    Args:
        aws: the connection.
        names: tuning jobs.
        trial: only of these training jobs, by name or by number.
        grep: only lines in which this regular expression is found.
        start: only lines from then on.
        end: only lines until then.
        reading: how to read.

    Returns:
        ``TrainingJobName, Host, Timestamp, Message``, ordered by trial (job by job, as they were created), host and
        time; lines of one moment in the order in which they came. Without ``grep``, ``start`` and ``end``,
        ``attrs["trials_without_lines"]`` names the trials that ran and have none: they wrote nothing, or the log
        group's retention has taken it. When AWS withholds a part, ``attrs["incomplete"]`` says which.

    Raises:
        SpecError: there is no such trial, or ``grep``, ``start`` or ``end`` cannot be read.
        JobNotFoundError: there is no such tuning job.
    """
    wanted = compiled(grep)
    since, until = moment_of("start", start), moment_of("end", end)
    query = {"grep": grep, "start": since and since.isoformat(), "end": until and until.isoformat()}
    pattern = None if grep is None else server_pattern([grep])
    with reading_with(aws, reading) as reader:
        per_job = read_jobs(reader, names)
        parts: list[pd.DataFrame] = []
        chosen = select(per_job, trial)
        for job, some in chosen.items():

            def read(reader: Reader, of: Sequence[Trial], job: Job = job) -> pd.DataFrame:
                window = window_of(of, since, until)
                search = None if wanted is None else wanted.search
                lines = read_lines(reader, Want(job, per_job[job], of, window, pattern, search))
                return lines_frame(lines, job.redactor)

            parts.append(by_trial_kept(reader, job, ("logs", query), LOGS, some, read))
        table = join(LOGS, parts, [one.name for some in chosen.values() for one in some])
        if not any(query.values()):
            table.attrs["trials_without_lines"] = _without_lines(table, chosen.values())
        return reader.finish(table)


def lines_frame(lines: Lines, clear: Redactor) -> pd.DataFrame:
    """The frame of these lines, in their order, without secrets."""
    hosts = pd.array([stream.host for stream in lines.streams], dtype="string")
    columns: dict[str, Any] = {
        "TrainingJobName": pd.array(lines.names, dtype="string").take(lines.trial),
        "Host": hosts.take(lines.stream) if len(hosts) else hosts,
        "Timestamp": lines.milliseconds * 1000,
        "Message": clear.each(lines.messages),
    }
    return frame(LOGS, columns)


def _without_lines(table: pd.DataFrame, chosen: Any) -> list[str]:
    """The trials that started and have no line."""
    having = set(table["TrainingJobName"].unique())
    return [one.name for some in chosen for one in some if one.started is not None and one.name not in having]


def compiled(grep: str | None) -> re.Pattern[str] | None:
    """The expression.

    Raises:
        SpecError: it is none.
    """
    try:
        return None if grep is None else re.compile(grep)
    except re.error as error:
        raise SpecError(f"grep must be a regular expression, but {grep!r} is not: {error}") from error


def moment_of(name: str, value: Moment | None) -> datetime | None:
    """The aware time that an argument says.

    Raises:
        SpecError: it says none.
    """
    if value is None:
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (ValueError, TypeError) as error:
        raise SpecError(f"{name} must be a time such as 2026-11-20T17:15, but got {value!r}: {error}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
