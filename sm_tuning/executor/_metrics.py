"""The log of a host: from the supervisor's file to lines, CloudWatch events, and metric values."""

from __future__ import annotations

import json
import math
import re
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from sm_tuning._wire import to_float32

#: Bytes of one CloudWatch Logs message: an event of 256 KB less 26 bytes of its own [PutLogEvents].
LONGEST_MESSAGE = 256 * 1024 - 26

_LATE_MS = 1000  # a supervisor writes a line well within this time after its arrival
_BATCH_LINES = 2000
_BATCH_CHARACTERS = 1 << 20

#: Control characters as CloudWatch shows them in the logs of training jobs: TAB as ``#011``, ESC as ``#033``.
_CONTROL = {code: f"#{code:03o}" for code in range(32) if code != ord("\n")}

Line = tuple[int, str]
"""Epoch milliseconds of arrival, and the text in the form of CloudWatch (TAB as ``#011``)."""


@dataclass(frozen=True, order=True)
class Emission:
    """One value of a metric that a training job printed.

    Attributes:
        metric: name of the metric definition.
        step: 0-based index among the values of the metric in the training job.
        timestamp: epoch seconds at which the line arrived.
        value: as parsed from the log, in double precision.
        line: number of its line among those that were scanned; values of one line belong together.
    """

    metric: str
    step: int
    timestamp: float
    value: float
    line: int = field(default=0, compare=False)


def final_metrics(emissions: Iterable[Emission]) -> list[dict[str, Any]]:
    """Return FinalMetricDataList: the last value of each metric, as a 32-bit float, at whole seconds."""
    last = {emission.metric: emission for emission in emissions}
    return [
        {"MetricName": name, "Value": to_float32(emission.value), "Timestamp": float(int(emission.timestamp))}
        for name, emission in sorted(last.items())
    ]


class LogFollower:
    """Reads the lines that were added to a log file since the last time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        #: Epoch milliseconds of the first line; None before there is one.
        self.first_ms: int | None = None

    def read(self, limit: int = 1 << 22) -> list[Line]:
        """Return the next complete lines, about ``limit`` bytes at most; an empty list without new lines.

        Control characters become ``#011`` and so on, the form in which the service shows and searches lines.
        """
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(limit)
                if b"\n" not in data:
                    data += file.readline()
        except FileNotFoundError:
            return []
        end = data.rfind(b"\n") + 1
        self._offset += end
        records = [record.partition(b" ") for record in data[:end].split(b"\n")[:-1]]
        lines = [(int(stamp), text.decode("utf-8", "replace").translate(_CONTROL)) for stamp, _, text in records]
        if lines and self.first_ms is None:
            self.first_ms = lines[0][0]
        return lines


def events(lines: Iterable[Line]) -> Iterator[tuple[int, str]]:
    """Yield CloudWatch Logs events as (epoch milliseconds, message); a line that is too long becomes several."""
    for stamp, text in lines:
        if len(text) * 4 <= LONGEST_MESSAGE:
            yield stamp, text or " "  # CloudWatch accepts no empty message
            continue
        data = text.encode()
        while data:
            end = min(len(data), LONGEST_MESSAGE)
            while end < len(data) and (data[end] & 0xC0) == 0x80:  # not between the bytes of a character
                end -= 1
            yield stamp, data[:end].decode()
            data = data[end:]


def last_error(path: Path, tail: int = 1 << 16) -> str:
    """Return the last line of the last traceback at the end of a log; without a traceback, the last line.

    ``sys.exit("message")`` and programs that are not Python print no traceback, but end with their message.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - tail))
            records = file.read().split(b"\n")
    except FileNotFoundError:
        return ""
    texts = [record.partition(b" ")[2].decode("utf-8", "replace").rstrip() for record in records]
    starts = [number for number, text in enumerate(texts) if text.startswith("Traceback (most recent call")]
    for text in texts[starts[-1] + 1 :] if starts else ():
        if text and not text.startswith(" "):
            return text
    return next((text for text in reversed(texts) if text), "")


def read_value(text: str | None) -> float | None:
    """Return the metric value in a regex's group 1, or None if the text is not a value.

    The service keeps finite 32-bit floats: lines with ``nan``, ``inf`` or larger numbers have no metric value.
    """
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(to_float32(value)) else None


class MetricScanner:
    """Finds metric values in lines, in a process of its own that starts with the first lines.

    The regex is searched anywhere in the line; the first match counts; group 1 is the value. A regex that takes too
    long is not searched for again in this job.

    Args:
        definitions: MetricDefinitions of the job.
        limit: seconds that a regex may take over a batch of lines.
        processes: provides the process.
    """

    def __init__(
        self, definitions: Sequence[Mapping[str, str]], limit: float, processes: ScanProcesses | None = None
    ) -> None:
        self._processes = processes or ScanProcesses(spare=0)
        self._definitions = list(definitions)
        self._limit = limit
        self._steps = dict.fromkeys((definition["Name"] for definition in definitions), 0)
        self._scanned = 0
        self._process: ScanProcess | None = None
        self._given_up: set[int] = set()
        #: Messages for the user; the reader empties the list.
        self.problems: list[str] = []
        for index, definition in enumerate(self._definitions):
            try:
                re.compile(definition["Regex"])
            except re.error as e:
                self._give_up(index, f"is not a regular expression of Python: {e}")

    def scan(self, lines: Sequence[Line]) -> list[Emission]:
        """Return the values in these lines, ordered by metric and line; steps continue from the last call."""
        batches: list[list[Line]] = []
        size = 0
        for line in lines:
            if not batches or len(batches[-1]) >= _BATCH_LINES or size > _BATCH_CHARACTERS:
                batches.append([])
                size = 0
            batches[-1].append(line)
            size += len(line[1])
        emissions: list[Emission] = []
        for batch in batches:
            for index in range(len(self._definitions)):
                if index not in self._given_up:
                    emissions += self._search(index, batch)
            self._scanned += len(batch)
        return emissions

    def _search(self, index: int, batch: Sequence[Line]) -> list[Emission]:
        if self._process is None:
            self._process = self._processes.take()
            self._process.learn(["" if n in self._given_up else d["Regex"] for n, d in enumerate(self._definitions)])
        found = self._process.search(index, [text for _, text in batch], self._limit)
        if found is None:
            self._process.close()
            self._process = None
            self._give_up(index, f"took longer than {self._limit:g} s over one batch of lines")
            return []
        name = self._definitions[index]["Name"]
        emissions = []
        for number, text in found:
            value = read_value(text)
            if value is not None:
                line = self._scanned + number
                emissions.append(Emission(name, self._steps[name], batch[number][0] / 1000, value, line))
                self._steps[name] += 1
        return emissions

    def _give_up(self, index: int, reason: str) -> None:
        self._given_up.add(index)
        definition = self._definitions[index]
        self.problems.append(
            f"the regex of metric {definition['Name']!r}, {definition['Regex']!r}, {reason}; "
            "this job has no further values of the metric."
        )

    def close(self) -> None:
        """Return the process to its pool."""
        if self._process is not None:
            self._processes.give_back(self._process)
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class News:
    """A part of a training job's logs.

    Attributes:
        lines: rank of the host, and the line; those of one host are in order.
        emissions: values of metrics, also of lines of an earlier part, ordered by metric and line.
        problems: messages for the user about regexes, each with the epoch seconds of the last line scanned.
    """

    lines: Sequence[tuple[int, Line]] = ()
    emissions: Sequence[Emission] = ()
    problems: Sequence[tuple[float, str]] = ()


class LogReader:
    """Reads the logs of a training job's hosts, and finds the metric values.

    Values from several hosts are numbered in the order in which their lines arrived. Lines are searched only when no
    earlier line can follow, so that another reader, which reads the files from the beginning, numbers them alike.

    Args:
        logs: the log file of each host, by rank.
        scanner: finds the metric values.
    """

    def __init__(self, logs: Sequence[Path], scanner: MetricScanner) -> None:
        self._followers = [LogFollower(path) for path in logs]
        self._scanner = scanner
        self._waiting: list[tuple[int, int, str]] = []
        #: Number of values of each metric so far.
        self.emitted: dict[str, int] = {}

    def first_ms(self, rank: int) -> int | None:
        """Return the epoch milliseconds of a host's first line; None before there is one."""
        return self._followers[rank].first_ms

    def read(self, now: float | None = None) -> Iterator[News]:
        """Yield what is new, in parts of a few megabytes.

        Args:
            now: epoch seconds; None if no host writes any more.
        """
        while lines := self._read():
            # The lines of one host are in order already, and are scanned at once, which keeps memory bounded.
            yield self._news(lines, None if len(self._followers) == 1 else -1)
        if self._waiting:
            yield self._news([], None if now is None else int(now * 1000) - _LATE_MS)

    def _read(self) -> list[tuple[int, Line]]:
        found = [(rank, line) for rank, follower in enumerate(self._followers) for line in follower.read()]
        self._waiting += [(stamp, rank, text) for rank, (stamp, text) in found]
        return found

    def _news(self, lines: Sequence[tuple[int, Line]], horizon: int | None) -> News:
        """Return new lines, with the values of the lines until a time in epoch milliseconds."""
        if len(self._followers) > 1:
            self._waiting.sort(key=lambda line: line[:2])
        ready = [line for line in self._waiting if horizon is None or line[0] <= horizon]
        if not ready:
            return News(lines)
        self._waiting = self._waiting[len(ready) :]
        emissions = self._scanner.scan([(stamp, text) for stamp, _, text in ready])
        for emission in emissions:
            self.emitted[emission.metric] = self.emitted.get(emission.metric, 0) + 1
        problems, self._scanner.problems[:] = list(self._scanner.problems), []
        return News(lines, emissions, [(ready[-1][0] / 1000, problem) for problem in problems])


class ScanProcesses:
    """A pool of scanning processes, so that few jobs wait for a process to start.

    Args:
        spare: largest number of idle processes.
    """

    def __init__(self, spare: int = 4) -> None:
        self._lock = threading.Lock()
        self._idle: list[ScanProcess] = []
        self._spare = spare

    def take(self) -> ScanProcess:
        """Return a process that no other job uses."""
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.is_alive:
                    return process
                process.close()
        return ScanProcess()

    def give_back(self, process: ScanProcess) -> None:
        """Return a process that has answered all its requests."""
        with self._lock:
            if len(self._idle) < self._spare:
                self._idle.append(process)
                return
        process.close()

    def close(self) -> None:
        """End the idle processes, and keep none from now on."""
        with self._lock:
            self._spare = 0
            idle, self._idle = self._idle, []
        for process in idle:
            process.close()


class ScanProcess:
    """A process of ``_scan.py``."""

    def __init__(self) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("_scan.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._popen.poll() is None

    def learn(self, regexes: list[str]) -> None:
        """Set the regexes of the following searches."""
        with suppress(OSError):  # the process has died: the search reports it
            self._send(regexes)

    def search(self, index: int, lines: list[str], limit: float) -> list[tuple[int, str | None]] | None:
        """Return (line number, group 1) of each match; None if it took too long or the process died."""
        try:
            self._send({"regex": index, "lines": lines})
        except OSError:
            return None
        answer = bytearray()
        assert self._popen.stdout is not None
        until = time.monotonic() + limit
        with selectors.DefaultSelector() as selector:
            selector.register(self._popen.stdout, selectors.EVENT_READ)
            while not answer.endswith(b"\n"):
                if not selector.select(max(0.0, until - time.monotonic())):
                    return None
                piece = self._popen.stdout.read(1 << 16)
                if not piece:
                    return None
                answer += piece
        return [(number, text) for number, text in json.loads(answer)]

    def _send(self, value: object) -> None:
        assert self._popen.stdin is not None
        view = memoryview(json.dumps(value).encode() + b"\n")
        while view:
            view = view[self._popen.stdin.write(view) or 0 :]

    def close(self) -> None:
        """Kill the process, which has no state to save."""
        self._popen.kill()
        self._popen.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()
