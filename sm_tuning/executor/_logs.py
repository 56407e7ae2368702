"""The log of a training job: from the supervisor's file to lines and CloudWatch events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from sm_tuning.executor._metrics import Line

LONGEST_MESSAGE = 256 * 1024 - 26
"""Bytes of one CloudWatch Logs message: an event of 256 KB less 26 bytes of its own (PutLogEvents)."""


class LogFollower:
    """Reads the lines that were added to a log file since the last time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.first_ms: int | None = None
        """When the first line arrived; None before there is one."""

    def read(self, limit: int = 1 << 22) -> list[Line]:
        """Return the next complete lines, about ``limit`` bytes at most; [] when there are none.

        TAB is rewritten as ``#011``, the form in which the service shows and searches lines.
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
        lines = [_line(record) for record in data[:end].split(b"\n")[:-1]]
        if lines and self.first_ms is None:
            self.first_ms = lines[0][0]
        return lines


def _line(record: bytes) -> Line:
    stamp, _, text = record.partition(b" ")
    return int(stamp), text.decode("utf-8", "replace").replace("\t", "#011")


def stream_name(training_job: str, host: str, first_ms: int) -> str:
    """Return the log stream of a job's host, named by the second in which it first wrote."""
    return f"{training_job}/{host}-{first_ms // 1000}"


def events(lines: Iterable[Line]) -> Iterator[tuple[int, str]]:
    """Yield CloudWatch Logs events; a line that is too long for one becomes several.

    CloudWatch takes no empty message: an empty line becomes a space.
    """
    for stamp, text in lines:
        if len(text) * 4 <= LONGEST_MESSAGE:
            yield stamp, text or " "
            continue
        data = text.encode()
        while data:
            end = min(len(data), LONGEST_MESSAGE)
            while end < len(data) and (data[end] & 0xC0) == 0x80:  # not between the bytes of one character
                end -= 1
            yield stamp, data[:end].decode()
            data = data[end:]


def last_error(path: Path, tail: int = 1 << 16) -> str:
    """Return the last line of the last traceback at the end of a log, or else its last line.

    ``sys.exit("message")`` and programs that are not Python print no traceback, but what they say last.
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
