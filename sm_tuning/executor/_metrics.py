"""From log lines to metric values, by the regexes of MetricDefinitions."""

from __future__ import annotations

import json
import math
import re
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sm_tuning._wire import to_float32

_BATCH_LINES = 2000
_BATCH_CHARACTERS = 1 << 20

Line = tuple[int, str]
"""Epoch milliseconds of arrival, and the text in the form of CloudWatch (TAB as ``#011``)."""


@dataclass(frozen=True, order=True)
class Emission:
    """One value of one metric that a training job printed.

    Attributes:
        metric: name of the metric definition.
        step: 0-based index of this emission among those of the metric within the training job.
        timestamp: epoch seconds at which the line arrived.
        value: as parsed from the log, double precision.
    """

    metric: str
    step: int
    timestamp: float
    value: float


def read_value(text: str | None) -> float | None:
    """Return the metric value in a regex's group 1, or None when it is not one.

    The service keeps finite numbers in single precision: ``nan``, ``inf``, and what single precision cannot
    hold are lines in the log but no metric values.
    """
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(to_float32(value)) else None


class MetricScanner:
    """Finds metric values in lines, in a process of its own that is started when the first lines come.

    The regex is searched anywhere in the line; the first match counts; group 1 is the value. A regex that
    takes longer than ``limit`` seconds over a batch of lines is given up for the rest of the job.

    Args:
        definitions: MetricDefinitions of the job.
        limit: seconds.
        processes: where its process comes from and goes to.
    """

    def __init__(
        self, definitions: Sequence[Mapping[str, str]], limit: float, processes: ScanProcesses | None = None
    ) -> None:
        self._processes = processes or ScanProcesses(spare=0)
        self._definitions = list(definitions)
        self._limit = limit
        self._steps = dict.fromkeys((one["Name"] for one in definitions), 0)
        self._process: _ScanProcess | None = None
        self._given_up: set[int] = set()
        self.problems: list[str] = []
        """What the user should know; whoever reads it empties it."""
        self._drop_invalid()

    def _drop_invalid(self) -> None:
        for index, one in enumerate(self._definitions):
            try:
                re.compile(one["Regex"])
            except re.error as e:
                self._give_up(index, f"is not a regular expression of Python: {e}")

    def scan(self, lines: Sequence[Line]) -> list[Emission]:
        """Return the values in these lines, in the order of metric and line; steps go on counting."""
        emissions: list[Emission] = []
        for batch in _batches(lines):
            for index in range(len(self._definitions)):
                if index not in self._given_up:
                    emissions += self._search(index, batch)
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
                emissions.append(Emission(name, self._steps[name], batch[number][0] / 1000, value))
                self._steps[name] += 1
        return emissions

    def _give_up(self, index: int, why: str) -> None:
        self._given_up.add(index)
        one = self._definitions[index]
        self.problems.append(
            f"the regex of metric {one['Name']!r}, {one['Regex']!r}, {why}; this metric is not looked for any more."
        )

    def close(self) -> None:
        """Give the process back."""
        if self._process is not None:
            self._processes.give_back(self._process)
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ScanProcesses:
    """Scanning processes that go from job to job, so that few jobs wait for one to start.

    Args:
        spare: how many are kept while no job needs them.
    """

    def __init__(self, spare: int = 4) -> None:
        self._lock = threading.Lock()
        self._idle: list[_ScanProcess] = []
        self._spare = spare

    def take(self) -> _ScanProcess:
        """Return one that no other job has."""
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.lives:
                    return process
                process.close()
        return _ScanProcess()

    def give_back(self, process: _ScanProcess) -> None:
        """Keep one that has answered all it was asked."""
        with self._lock:
            if len(self._idle) < self._spare:
                self._idle.append(process)
                return
        process.close()

    def close(self) -> None:
        """End them, and keep none from now on."""
        with self._lock:
            self._spare = 0
            idle, self._idle = self._idle, []
        for process in idle:
            process.close()


class _ScanProcess:
    """One process of ``_scan.py``."""

    def __init__(self) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("_scan.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )

    @property
    def lives(self) -> bool:
        """Whether it is there to be asked."""
        return self._popen.poll() is None

    def learn(self, regexes: list[str]) -> None:
        """Take these for what is searched from now on."""
        with suppress(OSError):  # it has died: the search will say so
            self._send(regexes)

    def search(self, index: int, lines: list[str], limit: float) -> list[tuple[int, str | None]] | None:
        """Return (line number, group 1) of each match; None when it took too long or the process died."""
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
        """Kill it; it holds nothing."""
        self._popen.kill()
        self._popen.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()


def _batches(lines: Sequence[Line]) -> list[list[Line]]:
    """Cut lines into batches of bounded count and size."""
    batches: list[list[Line]] = []
    size = 0
    for line in lines:
        if not batches or len(batches[-1]) >= _BATCH_LINES or size > _BATCH_CHARACTERS:
            batches.append([])
            size = 0
        batches[-1].append(line)
        size += len(line[1])
    return batches
