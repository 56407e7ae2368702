"""The frame of failed trials, the last traceback of their logs, and failures that several trials share.

A traceback is what Python prints: ``Traceback (most recent call last):``, its indented frames, and the exception's
line; with chained exceptions, all of the chain. Launchers put a prefix in front of each line (``[rank0]: ``), which
may differ from traceback to traceback and is removed. For a syntax error of the script itself Python prints no header:
the traceback then begins with the line that names the file.
"""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import PurePath
from typing import NamedTuple

import pandas as pd

from sm_tuning._errors import JobFailedError, ServiceError, SpecError, WaitTimeoutError
from sm_tuning.aws import Aws
from sm_tuning.description import Job, Trial, select
from sm_tuning.results._columns import ERRORS, microseconds
from sm_tuning.results._fetch import read_job, read_jobs, read_last_attempts, read_trials
from sm_tuning.results._logs import Lines, TrialFilter, Want, read_lines, window_of
from sm_tuning.results._reader import Reader, Reading, by_trial_cached, reading_with
from sm_tuning.results._schema import frame, join

_log = logging.getLogger(__name__)

#: Failures with their tracebacks in a notebook's cell.
_MOST_SHOWN = 20

_START = "Traceback (most recent call last):"
_CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(?:: |:$|$)")
#: The line of a traceback that names a file and a line, but no function: it belongs to a syntax error.
_SYNTAX_PLACE = re.compile(r"(?P<prefix>.*?)  File \"(?P<file>[^\"]+)\", line (?P<line>\d+)\s*")
_SYNTAX_ERROR = re.compile(r"(?:SyntaxError|IndentationError|TabError)\b")
_SYNTAX_LINES = 5  # from that place to the exception: the code, a marker below it, and for encodings neither
#: The toolkit's reason of a failed script; the last line of the message is the error.
_TOOLKIT = re.compile(r"ErrorMessage \"(?P<message>.*?)\"(?=\n|$)", re.DOTALL)
#: What differs between trials that failed alike: the command line with its hyperparameters, and addresses.
_VARYING = re.compile(r"(?<=Command \")[^\n]*|0x[0-9a-fA-F]+")
_PATIENCE = 30.0  # seconds for which the report of a failed job waits for its explanation
_LOOKED_AT = 20  # failed trials whose logs are read to explain a failed job
_LONGEST_MESSAGE = 300  # characters of an error in another message
_LONGEST = 500  # lines of a traceback; Python prints three lines for a thousand frames of a recursion


class Traceback(NamedTuple):
    """A traceback: the place of its first line, the exception's own line, and the whole text."""

    place: int
    message: str
    text: str


class Failure(NamedTuple):
    """A failure of one trial, or of several that failed alike.

    Attributes:
        message: the error in one line.
        text: the traceback, or else the service's reason.
        trials: the training jobs, the first one first.
        host: of the first traceback; None without a traceback.
        when: time of the first failure.
    """

    message: str
    text: str
    trials: tuple[str, ...]
    host: str | None
    when: datetime


class _Found(NamedTuple):
    """A traceback of one host."""

    milliseconds: int
    host: str
    traceback: Traceback


class ErrorsFrame(pd.DataFrame):
    """A frame of errors, whose tracebacks a notebook's cell shows as text instead of one cut line; slices are plain."""

    def _repr_html_(self) -> str:
        if not len(self) or not {"TrainingJobName", "Message", "Traceback", "FailureReason"} <= set(self.columns):
            return self.to_html()
        parts = list[str]()
        for row in self.head(_MOST_SHOWN).astype(object).where(self.notna(), "").to_dict("records"):
            head = f"<b>{html.escape(row['TrainingJobName'])}</b> {html.escape(row['Message'])}"
            text = html.escape(row["Traceback"] or row["FailureReason"])
            parts.append(f"<details{' open' if not parts else ''}><summary>{head}</summary><pre>{text}</pre></details>")
        more = len(self) - len(parts)
        return "".join(parts) + (f"<p>and {more} more</p>" if more else "")


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
        chosen = select(per_job, trial)
        failed = {job: [item for item in trials if item.failed] for job, trials in chosen.items()}
        return ErrorsFrame(reader.finish(_read_errors(reader, per_job, failed)))


def _read_errors(
    reader: Reader, per_job: Mapping[Job, Sequence[Trial]], failed: Mapping[Job, Sequence[Trial]]
) -> pd.DataFrame:
    parts: list[pd.DataFrame] = []
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
    return join(ERRORS, parts, [item.name for trials in failed.values() for item in trials])


def same_failures(errors: pd.DataFrame) -> list[Failure]:
    """Return the failures of a frame of errors, those of the most trials first.

    Trials failed alike if their tracebacks are equal, or without a traceback their reasons, except for the command line
    and for addresses.
    """
    found: dict[str, Failure] = {}
    for row in errors.astype(object).where(errors.notna(), None).to_dict("records"):
        text = row["Traceback"] or row["FailureReason"] or "no reason is known"
        # On the local SageMaker, paths of scripts have the trial's name.
        key = _VARYING.sub("", text.replace(row["TrainingJobName"], ""))
        message = row["Message"] if row["Source"] == "logs" else _essence(text)
        first = found.setdefault(key, Failure(message, text, (), row["Host"], row["Timestamp"]))
        found[key] = first._replace(trials=(*first.trials, row["TrainingJobName"]))
    return sorted(found.values(), key=lambda failure: -len(failure.trials))


def _essence(reason: str) -> str:
    """Return the error in the service's reason of a failure, as one line."""
    match = _TOOLKIT.search(reason)
    lines = [line.strip() for line in (match["message"] if match else reason).splitlines() if line.strip()]
    return lines[-1] if match and lines else " ".join(reason.split())


def explained(aws: Aws, error: JobFailedError) -> JobFailedError:
    """Return the error of a failed tuning job with the failure of its trials in the message.

    Logs of up to 20 failed trials are read. What cannot be read is left out: the job's failure is reported in any case.
    """
    try:
        with aws.time_limit(_PATIENCE), reading_with(aws, Reading(progress=False)) as reader:
            job = read_job(reader, error.job_name)
            trials = read_trials(reader, job)
            failed = [trial for trial in trials if trial.failed]
            first = failed[:_LOOKED_AT]
            failures = same_failures(_read_errors(reader, {job: trials}, {job: first})) if first else []
    except (ServiceError, SpecError, WaitTimeoutError) as problem:
        _log.info("why the trials of %s failed is not known: %s", error.job_name, problem)
        return error
    # In order of their creation, so that the first failure stands for the job.
    named = next((failure for failure in failures if first[0].name in failure.trials), None)
    if named is not None:
        looked = f"the first {len(first)} of {len(failed)}" if len(first) < len(failed) else str(len(failed))
        who = "the failed trial" if len(failed) == 1 else f"{len(named.trials)} of {looked} failed trials"
        message = named.message[:_LONGEST_MESSAGE] + "…" * (len(named.message) > _LONGEST_MESSAGE)
        text = f"{who} ended with: {message}"
    elif trials and all(trial.terminal for trial in trials) and not any(trial.evaluated for trial in trials):
        metric = job.definitions[0].objective
        text = f"no trial emitted a value of the objective {metric!r}: compare its regex with the lines of the logs"
    else:
        return error
    return JobFailedError(f"{error}; {text}", job_name=error.job_name, status=error.status, reason=error.reason)


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
        traceback = last_traceback(lines.messages(rows))
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
    syntax = _last_syntax_error(texts)
    if start is None:
        return None if syntax is None else syntax._replace(place=flat[syntax.place][0])
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
    if syntax is not None and syntax.place > end:
        return syntax._replace(place=flat[syntax.place][0])
    if syntax is not None and syntax.place > start:  # of an import
        message = syntax.message
    first = _first_of_chain(bare, start)
    block = bare[first : end + 1]
    if len(block) > _LONGEST:
        block = [*block[: _LONGEST // 2], "...", *block[-_LONGEST // 2 :]]
    return Traceback(flat[first][0], message, "\n".join(block).rstrip())


def _last_syntax_error(texts: Sequence[str]) -> Traceback | None:
    """Return the last syntax error, from the line that names its file on, or None."""
    for place in reversed(range(len(texts))):
        match = _SYNTAX_PLACE.fullmatch(texts[place])
        if match is None:
            continue
        below = [text.removeprefix(match["prefix"]) for text in texts[place : place + 1 + _SYNTAX_LINES]]
        end = next((row for row, text in enumerate(below) if row and text and not text[0].isspace()), None)
        if end is not None and _SYNTAX_ERROR.match(below[end]):
            message = f"{below[end].strip()} ({PurePath(match['file']).name}, line {match['line']})"
            return Traceback(place, message, "\n".join(below[: end + 1]).rstrip())
    return None


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
