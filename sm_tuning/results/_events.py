"""The calls that read log lines of trials.

All trials of a job are read together: their streams ``<trial>/algo-<n>-<epoch>`` begin with the job's name, so that
one family of FilterLogEvents pages (10,000 lines or 1 MB each) does for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sm_tuning._errors import InvalidRequestError
from sm_tuning.aws import Aws, is_missing
from sm_tuning.results._facts import Job, Trial
from sm_tuning.results._schema import microseconds

GROUP = "/aws/sagemaker/TrainingJobs"

_HOST = re.compile(r"(?P<host>.+-(?P<number>\d+))-\d+")
_MARGIN = timedelta(hours=1)  # between the service's times and the clock of a container's host
_FEW = 5  # a call family a trial is cheaper than all trials when less than a fifth of them are asked for


class Event(NamedTuple):
    """One log line."""

    trial: str
    host: str
    milliseconds: int
    message: str


class Window(NamedTuple):
    """The times between which lines are read, in epoch milliseconds, both included; None is open."""

    start: int | None
    end: int | None


def window_of(trials: Sequence[Trial], start: datetime | None = None, end: datetime | None = None) -> Window:
    """The time in which these trials can have written, or the part of it that was asked for.

    It begins before the first was created and is open at its end while one is running (or does not say when it ended).
    """
    first = start or min(trial.created for trial in trials) - _MARGIN
    ends = [trial.ended for trial in trials if trial.terminal and trial.ended is not None]
    last = end or (max(ends) + _MARGIN if len(ends) == len(trials) else None)
    return Window(-(-microseconds(first) // 1000), None if last is None else microseconds(last) // 1000)


def read_events(
    aws: Aws, job: Job, trials: Sequence[Trial], of: Sequence[Trial], window: Window, pattern: str | None = None
) -> list[Event]:
    """The log lines of some of a job's trials, by trial, host and time, lines of one moment as they came.

    Args:
        aws: the connection.
        job: the tuning job.
        trials: all its trials.
        of: those whose lines are wanted.
        window: from when to when.
        pattern: a filter pattern that CloudWatch applies.
    """
    few = len(of) * _FEW <= len(trials)
    prefixes = [f"{trial.name}/" for trial in of] if few else [f"{job.name}-"]
    raw = (event for prefix in prefixes for event in _filtered(aws, prefix, window, pattern))
    return in_order(raw, [trial.name for trial in of])


def in_order(raw: Iterable[dict[str, Any]], trials: Sequence[str]) -> list[Event]:
    """The events of these trials' streams, ordered; those of other streams are left out.

    Jobs whose names begin alike share a prefix: the streams of ``job-2`` are found with those of ``job``.
    """
    place = {name: index for index, name in enumerate(trials)}
    streams: dict[str, tuple[tuple[int, int, str], str, str] | None] = {}
    keyed = []
    for event in raw:
        name, moment = event["logStreamName"], event["timestamp"]
        if name not in streams:
            streams[name] = _stream(name, place)
        if (stream := streams[name]) is not None:
            order, trial, host = stream
            keyed.append((order, moment, Event(trial, host, moment, event["message"])))
    keyed.sort(key=lambda item: item[:2])
    return [event for _, _, event in keyed]


def _stream(name: str, place: Mapping[str, int]) -> tuple[tuple[int, int, str], str, str] | None:
    """Where the lines of a stream come, its trial and its host; None when it is of no trial that is wanted."""
    trial, _, tail = name.partition("/")
    if trial not in place:
        return None
    host, number = _host(tail)
    return (place[trial], number, host), trial, host


def _host(tail: str) -> tuple[str, int]:
    """``algo-1`` and 1 of ``algo-1-1574293123``; a stream named otherwise is its own host, and comes last."""
    match = _HOST.fullmatch(tail)
    return (match["host"], int(match["number"])) if match else (tail, 2**31)


def _filtered(aws: Aws, prefix: str, window: Window, pattern: str | None) -> Iterator[dict[str, Any]]:
    """Every event of the streams with this prefix; none when there is no log group yet."""
    found = aws.pages(
        "logs",
        "filter_log_events",
        token="nextToken",  # noqa: S106 - the member's name
        logGroupName=GROUP,
        logStreamNamePrefix=prefix,
        startTime=window.start,
        endTime=window.end,
        filterPattern=pattern,
        limit=10_000,
    )
    try:
        for page in found:
            yield from page.get("events", ())
    except InvalidRequestError as error:
        if not is_missing(error):
            raise
