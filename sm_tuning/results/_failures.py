"""The frame of failed trials, and the last traceback of their logs.

A traceback is what Python prints: ``Traceback (most recent call last):``, its indented frames, and the exception's
line; with chained exceptions, all of the chain. Launchers put a prefix in front of each line (``[rank0]: ``), which
may differ from traceback to traceback and is removed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from sm_tuning.aws import Aws
from sm_tuning.description import Job, Trial, select
from sm_tuning.results._fetch import read_jobs, read_last_attempts
from sm_tuning.results._logs import Lines, TrialFilter, Want, read_lines, window_of
from sm_tuning.results._reader import Reader, Reading, by_trial_cached, reading_with
from sm_tuning.results._schema import ERRORS, frame, join, microseconds

_START = "Traceback (most recent call last):"
_CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(?:: |:$|$)")
_LONGEST = 500  # lines of a traceback; Python prints three lines for a thousand frames of a recursion


class Traceback(NamedTuple):
    """A traceback: the place of its first line, the exception's own line, and the whole text."""

    place: int
    message: str
    text: str


class _Found(NamedTuple):
    """A traceback of one host."""

    milliseconds: int
    host: str
    traceback: Traceback


def errors(
    aws: Aws, names: str | Sequence[str], *, trial: TrialFilter = None, reading: Reading | None = None
) -> pd.DataFrame:
    """Return why trials failed, one row a failed trial.

    Args:
        aws: the connection.
        names: tuning jobs.
        trial: only these training jobs, by name or by number.
        reading: how to read.

    Returns:
        ``TrainingJobName, Host, Timestamp, Message, Traceback, FailureReason, Source``. The traceback is the last one
        in the log of the host that failed first, and ``Message`` the exception's own line; ``Source`` is ``logs``
        then. For a log without a traceback, ``Message`` is the service's reason and ``Source`` is ``FailureReason``.
        If AWS withholds a part, ``attrs["incomplete"]`` describes it.

    Raises:
        SpecError: there is no such trial.
        JobNotFoundError: there is no such tuning job.
    """
    with reading_with(aws, reading) as reader:
        per_job = read_jobs(reader, names)
        parts: list[pd.DataFrame] = []
        failed = {job: [item for item in chosen if item.failed] for job, chosen in select(per_job, trial).items()}
        for job, trials in failed.items():

            def read(reader: Reader, missing: Sequence[Trial], job: Job = job) -> pd.DataFrame:
                lines = read_lines(reader, Want(job, per_job[job], missing, window_of(missing)))
                # A traceback of an earlier attempt says nothing about why the last one failed.
                begins = read_last_attempts(reader, job, missing)
                places = dict(lines.by_trial())
                found = [
                    _first(lines, places[item.name], begins.get(item.name, 0)) if item.name in places else None
                    for item in missing
                ]
                return _frame(job, list(zip(missing, found, strict=True)))

            parts.append(by_trial_cached(reader, job, ("errors", {}), ERRORS, trials, read))
        table = join(ERRORS, parts, [item.name for trials in failed.values() for item in trials])
        return reader.finish(table)


def _frame(job: Job, rows: Sequence[tuple[Trial, _Found | None]]) -> pd.DataFrame:
    redact = job.redactor
    # Without a traceback, the end of the trial stands in, in whole milliseconds like the times of log lines.
    milliseconds = [
        found.milliseconds if found else microseconds(trial.ended or trial.created) // 1000 for trial, found in rows
    ]
    return frame(
        ERRORS,
        {
            "TrainingJobName": [trial.name for trial, _ in rows],
            "Host": [found and found.host for _, found in rows],
            "Timestamp": [1000 * moment for moment in milliseconds],
            "Message": redact.each([found.traceback.message if found else trial.failure for trial, found in rows]),
            "Traceback": redact.each([found and found.traceback.text for _, found in rows]),
            "FailureReason": [trial.failure for trial, _ in rows],
            "Source": ["logs" if found else "FailureReason" for _, found in rows],
        },
    )


def _first(lines: Lines, place: slice, begin: int) -> _Found | None:
    """Return the earliest of the last tracebacks of a trial's hosts: the other hosts fail because that one did.

    Args:
        lines: of all trials.
        place: of the trial's lines.
        begin: epoch milliseconds before which lines do not count.
    """
    hosts: dict[str, list[int]] = {}
    for row in range(*place.indices(len(lines))):
        if lines.milliseconds[row] >= begin:
            hosts.setdefault(lines.streams[lines.stream[row]].host, []).append(row)
    found = []
    for host, rows in hosts.items():
        traceback = last_traceback([lines.messages[row] for row in rows])
        if traceback is not None:
            found.append(_Found(int(lines.milliseconds[rows[traceback.place]]), host, traceback))
    return min(found, key=lambda item: item.milliseconds, default=None)


def last_traceback(lines: Sequence[str]) -> Traceback | None:
    """Return the last traceback of some lines, with the exceptions that it is chained to, or None.

    A line may hold a whole traceback, when the program wrote it at once.
    """
    flat = [(place, part) for place, line in enumerate(lines) for part in line.replace("#011", "\t").splitlines()]
    texts = [text for _, text in flat]
    start = next((place for place in reversed(range(len(texts))) if _START in texts[place]), None)
    if start is None:
        return None
    prefix = texts[start].partition(_START)[0]
    bare = [text.removeprefix(prefix) for text in texts]
    # Frames are indented. The first line that is not indented is the exception, or belongs to something else.
    end, message = len(bare) - 1, bare[-1].strip()
    for place in range(start + 1, len(bare)):
        text = bare[place]
        if text and not text[0].isspace():
            end = place if _EXCEPTION.match(text) else place - 1
            message = bare[end].strip()
            break
    first = _first_of_chain(bare, start)
    block = bare[first : end + 1]
    if len(block) > _LONGEST:
        block = [*block[: _LONGEST // 2], "...", *block[-_LONGEST // 2 :]]
    return Traceback(flat[first][0], message, "\n".join(block).rstrip())


def _first_of_chain(bare: Sequence[str], start: int) -> int:
    """Return the first line of the first traceback in the chain that ends with this one."""
    while True:
        above = start - 1
        while above >= 0 and not bare[above].strip():
            above -= 1
        if above < 0 or bare[above].strip() not in _CHAINED:
            return start
        earlier = next((place for place in reversed(range(above)) if bare[place].startswith(_START)), None)
        if earlier is None:
            return start
        start = earlier
