"""The server's side of supervisors (``_container.py``), and processes whose supervisor has died."""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import signal
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

from sm_tuning.executor._supervisors import Preload, Supervisors
from sm_tuning.executor._warm import TOKEN_VARIABLE

_CLOCK_SLACK_SECONDS = 2.0  # psutil's creation times come from boot time and ticks


@dataclass(frozen=True)
class Exit:
    """The end of a training process.

    Attributes:
        exit_code: None if a signal ended the process.
        signal: that signal.
        started: epoch seconds.
        ended: epoch seconds.
        stopped: whether the server had ordered a stop.
        alone: whether none of its descendants was left, so that a search for them is unnecessary.
        cpu_seconds: used by the process and by its descendants that were waited for.
        peak_bytes: largest memory of any one of these processes.
    """

    exit_code: int | None
    signal: int | None
    started: float
    ended: float
    stopped: bool = False
    alone: bool = False
    cpu_seconds: float = 0.0
    peak_bytes: int = 0

    @property
    def code(self) -> int:
        """The exit code of the container: 128 + n for signal n."""
        return self.exit_code if self.exit_code is not None else 128 + (self.signal or 0)


@dataclass(frozen=True)
class Command:
    """A program to run.

    Attributes:
        argv: its arguments.
        env: its complete environment.
        cwd: its working folder.
        namespaces: see ``_namespace.py``.
        preload: of a process that may be forked from a template; None for one that always gets an interpreter.
        own_path: entries of PYTHONPATH that only this process has.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    namespaces: Mapping[str, Any] = field(default_factory=dict)
    preload: Preload | None = None
    own_path: Sequence[str] = ()


@dataclass(frozen=True)
class Files:
    """The records that a host's supervisor writes."""

    folder: Path

    @property
    def log(self) -> Path:
        """The lines that the processes of the host printed."""
        return self.folder / "log"

    @property
    def process(self) -> Path:
        """The process that runs, or ran last."""
        return self.folder / "process.json"

    def exit(self, step: str) -> Path:
        """Return the file with the end of a step's process; steps are ``install`` and ``train``."""
        return self.folder / f"{step}.exit.json"

    @property
    def utilization(self) -> Path:
        """The measurements of the host, one JSON array a line."""
        return self.folder / "utilization"

    def read_exit(self, step: str) -> Exit | None:
        """Return the end of a step's process; None if it has not ended, or its supervisor was killed."""
        record = _read(self.exit(step))
        return None if record is None else Exit(**record)

    def read_process(self) -> int | None:
        """Return the id of the process that was started last, whether it is alive or not."""
        record = _read(self.process)
        return None if record is None else int(record["pid"])


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return record


def count_cpus() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Container:
    """A running supervisor. ``close`` kills the training process, without an exit record."""

    def __init__(
        self,
        command: Command,
        files: Files,
        *,
        step: str,
        grace: float,
        token: str,
        supervisors: Supervisors,
    ) -> None:
        self._lock = threading.Lock()
        self._news = b""
        self._link = supervisors.take(command.preload, files.folder.name)
        # The order goes through stdin, whose end tells the supervisor that this process has died.
        order = {
            "argv": list(command.argv),
            "env": {**command.env, TOKEN_VARIABLE: token},
            "cwd": str(command.cwd),
            "log": str(files.log),
            "process": str(files.process),
            "exit": str(files.exit(step)),
            "lock": str(files.folder / "lock"),
            "token": token,
            "grace": grace,
            "namespaces": dict(command.namespaces),
            "warm": None if command.preload is None else {"path": list(command.own_path)},
        }
        data = json.dumps(order).encode()
        self._write(b"%d\n" % len(data) + data)

    def fileno(self) -> int:
        """Return the file descriptor that becomes readable when there is news."""
        return self._link.fileno()

    def take_news(self) -> bool:
        """Read the news, which only ``is_frozen`` shows; return False if the supervisor has ended."""
        found = os.read(self.fileno(), 1 << 16)
        self._news = (self._news + found)[-64:]
        return bool(found)

    def wait(self, timeout: float) -> bool:
        """Wait for news, ``timeout`` seconds at most; return False if the supervisor has ended."""
        return not wait_any([self], timeout)

    def stop(self) -> None:
        """Order SIGTERM, then SIGKILL after the grace."""
        self._write(b"stop\n")

    def freeze(self) -> None:
        """Order to suspend the processes, or to keep them suspended for another ten seconds."""
        self._news = b""
        self._write(b"freeze\n")

    @property
    def is_frozen(self) -> bool:
        """Whether the news show that the last order to suspend is carried out."""
        return b"frozen" in self._news

    def thaw(self) -> None:
        """Let suspended processes go on."""
        self._news = b""
        self._write(b"thaw\n")

    def abandon(self) -> None:
        """Kill the process group at once, as if this process had died."""
        with self._lock:
            self._link.close_order()

    def close(self) -> None:
        """Kill the processes, and wait until the supervisor has ended."""
        self.abandon()
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, data: bytes) -> None:
        # A supervisor that has ended closes its stdout, which its reader notices: no error is needed here.
        with self._lock, suppress(OSError):
            self._link.write(data)


def wait_any(containers: Sequence[Container], timeout: float) -> list[Container]:
    """Wait for news of any container, ``timeout`` seconds at most; return those whose supervisor has ended."""
    with selectors.DefaultSelector() as selector:
        for container in containers:
            selector.register(container, selectors.EVENT_READ, container)
        return [key.data for key, _ in selector.select(timeout) if not key.data.take_news()]


def kill_leftovers(files: Files) -> int:
    """Kill the processes that are left of a host's last container, and return their number."""
    record = _read(files.process)
    if record is None:
        return 0

    def belongs(process: psutil.Process) -> bool:
        # By the container's token in its environment, which also finds processes that left the group, or by its group.
        # Creation times tell these processes from others to which the system gave the same ids in the meantime.
        try:
            if process.create_time() < record["started"] - _CLOCK_SLACK_SECONDS:
                return False
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            if process.environ().get(TOKEN_VARIABLE) == record["token"]:
                return True
            leader = psutil.Process(record["pid"])
            same_leader = abs(leader.create_time() - record["started"]) < _CLOCK_SLACK_SECONDS
            return same_leader and bool(os.getpgid(process.pid) == record["pid"])
        except (psutil.Error, OSError):
            return False

    killed = 0
    for process in psutil.process_iter():
        if process.pid != os.getpid() and belongs(process):
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)  # psutil compares the creation time once more
                killed += 1
    return killed


def wait_until_free(files: Files, timeout: float, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Wait until no supervisor works in the folder; return False if one still does after ``timeout`` seconds.

    After the death of a server, its supervisors live until they have killed their groups and written the last lines.
    """
    files.folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + timeout
    with (files.folder / "lock").open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    return False
                sleep(0.02)
            else:
                return True


Tick = Callable[[], float]
"""Called at all news; returns the largest number of seconds to wait for the next."""


class Fleet:
    """The processes of one step of a job: one command on each host. ``stop`` and ``abandon`` are for any thread.

    Args:
        step: name of the step, which names the exit records.
        grace: seconds between SIGTERM and SIGKILL.
        supervisors: starts the supervisors.
    """

    def __init__(self, step: str, grace: float, supervisors: Supervisors) -> None:
        self._step = step
        self._grace = grace
        self._supervisors = supervisors
        self._lock = threading.Lock()
        self._containers: list[Container] = []
        self._running: list[tuple[Container, Files]] = []
        self._files: list[Files] = []
        self._stopping = False
        self._abandoned = False

    def run(self, work: Sequence[tuple[Command, Files]], tick: Tick) -> list[Exit | None]:
        """Run the commands and return the end of each, as ``start``, ``wait`` and ``end`` do."""
        try:
            self.start(work)
            while self.alive:
                self.wait(tick())
            return self.end()
        finally:
            self.close()

    def start(self, work: Sequence[tuple[Command, Files]]) -> None:
        """Start the commands. ``close`` must follow, also after an error.

        Raises:
            OSError: no process can be started.
        """
        self._files = [files for _, files in work]
        for command, files in work:
            self._running.append((self._begin(command, files), files))

    @property
    def alive(self) -> bool:
        """Whether a host still runs."""
        return bool(self._running)

    def wait(self, timeout: float) -> None:
        """Wait for news, ``timeout`` seconds at most. If a host has failed, stop the others: the job ends with any."""
        ended = wait_any([container for container, _ in self._running], timeout)
        for container, files in [pair for pair in self._running if pair[0] in ended]:
            self._running.remove((container, files))
            how = files.read_exit(self._step)
            if how is None or how.code != 0:
                self.stop()

    def end(self) -> list[Exit | None]:
        """Return the end of each host's process; None for one whose supervisor was killed, or that still ran."""
        self.close()
        exits = [files.read_exit(self._step) for files in self._files]
        for ended, files in zip(exits, self._files, strict=True):
            # The search reads the environments of all processes of the machine, so it is left out if it is unnecessary.
            if ended is None or not ended.alone:
                kill_leftovers(files)
        return exits

    def close(self) -> None:
        """Kill what still runs."""
        with self._lock:
            containers, self._containers = self._containers, []
        self._running = []
        for container in containers:
            container.close()

    def stop(self) -> None:
        """Stop all hosts, also those that start later: SIGTERM, then SIGKILL after the grace."""
        with self._lock:
            self._stopping = True
            for container in self._containers:
                container.stop()

    def abandon(self) -> None:
        """Kill all hosts at once, without exit records."""
        with self._lock:
            self._abandoned = True
            for container in self._containers:
                container.abandon()

    def freeze(self, timeout: float) -> bool:
        """Suspend all hosts; return whether one is suspended, and its log complete, within ``timeout`` seconds.

        Processes of a suspended host go on after ``thaw``, or ten seconds without another ``freeze``.
        """
        for container, _ in self._running:
            container.freeze()
        until = time.monotonic() + timeout
        while not all(container.is_frozen for container, _ in self._running):
            if (left := until - time.monotonic()) <= 0:
                self.thaw()
                return False
            self.wait(left)
        return self.alive

    def thaw(self) -> None:
        """Let suspended hosts go on."""
        for container, _ in self._running:
            container.thaw()

    def _begin(self, command: Command, files: Files) -> Container:
        container = Container(
            command,
            files,
            step=self._step,
            grace=self._grace,
            token=uuid.uuid4().hex,
            supervisors=self._supervisors,
        )
        with self._lock:
            self._containers.append(container)
            if self._abandoned:
                container.abandon()
            elif self._stopping:
                container.stop()
        return container
