"""The supervisor of one training process, stdlib only, in place of a container runtime; a fork of ``_template.py``.

Its interface to the process that starts it (the server):

- stdin: a line with a number of bytes, and in these the order, a JSON object (see ``Order``); a later line ``stop``
  orders SIGTERM, then SIGKILL after the grace. ``freeze`` suspends the process group until ``thaw``, ``stop``, or the
  end of ten seconds without another ``freeze``. End of file means that the server has died: the process group is
  killed at once.
- stdout: a line ``started``, which ``_template.py`` writes, then a line ``log`` whenever lines were written to the log
  file, only to wake the server, and ``frozen`` when the group is suspended and all that it has printed is in the log.
  If the server reads slowly, these lines are lost and nothing else.
- the log file: one record a line, ``<epoch ms> <text>``, appended; stdout and stderr merged in the order of arrival.
- the process file: the process that was started, written before it can print anything.
- the exit file: the end of the process, replaced atomically. It is missing if the process was killed without an order
  of the server, so that the job must be run again.

Only one supervisor at a time works in a folder: it holds the lock file there.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import select
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, TypedDict

FLUSH_SECONDS = 0.2
FLUSH_BYTES = 1 << 18
LONGEST_LINE = 1 << 20  # a longer line is continued in another record, so that memory is bounded
GONE_SECONDS = 0.2  # until killed processes are reaped
PR_SET_PDEATHSIG = 1  # prctl(2)
PR_SET_CHILD_SUBREAPER = 36
DRAIN_SECONDS = 2.0  # for output that a process outside the group still holds
LOCK_SECONDS = 15.0
FREEZE_SECONDS = 10.0  # of a server that hangs, without another order to freeze
STOPPED_SECONDS = 1.0  # until a suspended process counts as one that the kernel does not suspend now


class Order(TypedDict):
    """The program to run. All paths are absolute; ``grace`` is in seconds."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    log: str
    process: str
    exit: str
    lock: str
    token: str
    grace: float
    namespaces: dict[str, Any]  # see ``_namespace.py``
    warm: dict[str, Any] | None  # ``path``: the entries of PYTHONPATH that only this process has; see ``_warm.py``


class Process(Protocol):
    """A process that was started: the part of ``subprocess.Popen`` that a supervisor uses."""

    pid: int
    stdout: Any

    def poll(self) -> int | None:
        """Return the exit code, or the negative number of a signal; None while the process runs."""

    def wait(self) -> int:
        """Return the exit code, or the negative number of a signal."""


Enter = Callable[[dict[str, Any]], None]
"""Moves this process to the namespaces of an order: ``enter`` of ``_namespace.py``."""

Fork = Callable[[Order], Process | None]
"""Returns the process of an order as a fork of this one; None if a new interpreter must run it."""


class SteadyClock:
    """Epoch seconds that never run backwards; when the clock is set back, they go on with the monotonic clock.

    Attributes:
        skipped: seconds by which the clock was set forward, or for which the machine slept, since the first call.
    """

    def __init__(self, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._offset: float | None = None
        self.skipped: float = 0.0

    def __call__(self) -> float:
        """Return the time."""
        # In this order, so that a pause between the two readings never puts the time ahead of the clock.
        now = self._clock()
        elapsed = self._monotonic()
        offset = now - elapsed
        if self._offset is None:
            self._offset = offset
        elif offset > self._offset:
            self.skipped += offset - self._offset
            self._offset = offset
        return elapsed + self._offset


class LogWriter:
    """Splits a stream of bytes into lines and appends them, with time stamps, to the log file."""

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._partial = b""
        self._records: list[bytes] = []
        self._size = 0
        self._since: float | None = None

    def feed(self, data: bytes) -> None:
        """Accept output of the process: any number of lines, or a part of one."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        stamp = b"%d " % int(self._clock() * 1000)
        for line in lines:
            self._add(stamp, line)
        while len(self._partial) > LONGEST_LINE:
            self._add(stamp, self._partial[:LONGEST_LINE])
            self._partial = self._partial[LONGEST_LINE:]

    def _add(self, stamp: bytes, line: bytes) -> None:
        text = line.decode("utf-8", "replace").encode()  # so that the file is valid UTF-8
        self._records.append(stamp + text + b"\n")
        self._size += len(text)
        if self._since is None:
            self._since = time.monotonic()

    def due_in(self) -> float | None:
        """Return the seconds until the next flush is due; None if there is nothing to write."""
        if self._since is None:
            return None
        if self._size >= FLUSH_BYTES:
            return 0.0
        return max(0.0, self._since + FLUSH_SECONDS - time.monotonic())

    def flush(self) -> None:
        """Write the pending records and wake the server."""
        if not self._records:
            return
        data = memoryview(b"".join(self._records))
        while data:
            data = data[os.write(self._fd, data) :]
        self._records, self._size, self._since = [], 0, None
        with suppress(OSError):  # the server is slow or dead: the lines are in the file
            os.write(sys.stdout.fileno(), b"log\n")

    def end(self) -> None:
        """Write all output, including a last line without a newline."""
        if self._partial:
            self._add(b"%d " % int(self._clock() * 1000), self._partial)
            self._partial = b""
        self.flush()
        os.close(self._fd)


class Supervisor:
    """Runs one order.

    Args:
        order: the program to run.
        adopts: whether orphaned descendants become children of this process.
        enter: moves this process to namespaces.
        fork: forks warm processes; None in a supervisor of cold ones.
    """

    def __init__(self, order: Order, *, adopts: bool, enter: Enter, fork: Fork | None = None) -> None:
        self._order = order
        self._enter = enter
        self._fork = fork
        self._adopts = adopts
        self._clock = SteadyClock()
        self._log = LogWriter(order["log"], self._clock)
        self._started = self._clock()
        self._ended: float | None = None
        self._stopped = False
        self._abandoned = False
        self._alone = False
        self._kill_at: float | None = None
        self._thaw_at: float | None = None
        self._ends, self._wake = os.pipe()

    def run(self) -> int:
        """Start, follow and reap the process; return the exit code of the supervisor."""
        try:
            if self._order["namespaces"]:
                self._enter(self._order["namespaces"])
            process = self._spawn()
        except (OSError, ValueError) as e:  # ValueError: text that the kernel cannot take
            self._log.feed(f"cannot start {self._order['argv'][0]}: {e}\n".encode())
            self._log.end()
            self._record(127)
            return 0
        self._follow(process)
        _signal_group(process.pid, signal.SIGKILL)  # processes that the main process left behind
        self._drain(process)
        self._log.end()
        returncode = process.wait()
        self._alone = self._adopts and _all_gone()
        # A process that ended before the kill of an abandoned group has its record, so that its job need not run again.
        if not (self._abandoned and returncode == -signal.SIGKILL):
            self._record(returncode)
        return 0

    def _spawn(self) -> Process:
        # Here and not in a thread: PR_SET_PDEATHSIG follows the parent's thread.
        process = (self._fork and self._fork(self._order)) or self._execute()
        _replace(
            self._order["process"],
            {"pid": process.pid, "started": self._started, "token": self._order["token"]},
        )
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self._kill(process.pid))
        # A selector cannot wait for the end of a process on all systems, but for the byte that a signal writes.
        for fd in (self._ends, self._wake):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        return process

    def _execute(self) -> Process:
        supervisor = os.getpid()

        def die_with_supervisor() -> None:
            # A supervisor that gets SIGKILL can kill nothing itself. The kernel then kills the script, also a frozen
            # one; the script's own children are left to kill_leftovers.
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != supervisor:  # the supervisor died between fork and prctl
                os._exit(1)

        return subprocess.Popen(
            self._order["argv"],
            env=self._order["env"],
            cwd=self._order["cwd"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,  # a group of its own, so that signals reach its children too
            umask=0o022,  # that of a container, whatever that of the server
            preexec_fn=die_with_supervisor if sys.platform == "linux" else None,  # noqa: PLW1509 - no other thread yet
        )

    def _kill(self, pid: int) -> None:
        """End with the process group, after a signal to the supervisor itself."""
        _signal_group(pid, signal.SIGKILL)
        os._exit(1)

    def _has_ended(self, process: Process) -> bool:
        """Return whether the main process has ended, and note the time if it has."""
        with suppress(BlockingIOError):
            os.read(self._ends, 4096)  # before the question, so that no later end is missed
        if process.poll() is None:  # the end of an orphan, or a suspended process
            return False
        self._ended = self._clock()
        return True

    def _follow(self, process: Process) -> None:
        """Copy the output and obey stdin until the main process has ended."""
        output = process.stdout.fileno()
        os.set_blocking(output, False)
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            selector.register(self._ends, selectors.EVENT_READ)
            selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
            if self._has_ended(process):  # before its end was a signal
                return
            while True:
                ready = [key.fd for key, _ in selector.select(self._timeout())]
                if output in ready and not self._copy(output):  # closed, but the process may go on
                    selector.unregister(output)
                if self._ends in ready and self._has_ended(process):
                    return
                if sys.stdin.fileno() in ready and not self._obey(process):
                    selector.unregister(sys.stdin.fileno())
                if self._kill_at is not None and time.monotonic() >= self._kill_at:
                    self._kill_at = None
                    _signal_group(process.pid, signal.SIGKILL)
                if self._thaw_at is not None and time.monotonic() >= self._thaw_at:
                    self._thaw(process)
                if self._log.due_in() == 0.0:
                    self._log.flush()

    def _timeout(self) -> float | None:
        moments = [moment for moment in (self._kill_at, self._thaw_at) if moment is not None]
        waits = [max(0.0, moment - time.monotonic()) for moment in moments]
        due = self._log.due_in()
        return min([*waits, *([] if due is None else [due])], default=None)

    def _copy(self, output: int) -> bool:
        """Read once; return False at the end of the output."""
        try:
            data = os.read(output, 1 << 16)
        except BlockingIOError:
            return True
        self._log.feed(data)
        return bool(data)

    def _obey(self, process: Process) -> bool:
        """Read stdin once; return False at its end."""
        data = os.read(sys.stdin.fileno(), 4096)
        if not data:
            self._abandoned = True
            _signal_group(process.pid, signal.SIGKILL)
            return False
        for word in data.split():
            if word == b"stop" and not self._stopped:
                self._stopped = True
                self._kill_at = time.monotonic() + self._order["grace"]
                _signal_group(process.pid, signal.SIGTERM)
                self._thaw(process)  # a suspended process handles no signal but SIGKILL
            elif word == b"freeze" and not self._stopped:
                self._freeze(process)
            elif word == b"thaw":
                self._thaw(process)
        return True

    def _freeze(self, process: Process) -> None:
        """Suspend the process group, and write to the log what it has printed so far."""
        if self._thaw_at is None:
            _signal_group(process.pid, signal.SIGSTOP)
            _wait_until_suspended(process.pid)
            output = process.stdout.fileno()
            while select.select([output], [], [], 0)[0] and self._copy(output):
                pass
            self._log.flush()
        self._thaw_at = time.monotonic() + FREEZE_SECONDS
        with suppress(OSError):
            os.write(sys.stdout.fileno(), b"frozen\n")

    def _thaw(self, process: Process) -> None:
        if self._thaw_at is not None:
            self._thaw_at = None
            _signal_group(process.pid, signal.SIGCONT)

    def _drain(self, process: Process) -> None:
        """Read what the killed group left in the pipe."""
        output = process.stdout.fileno()
        until = time.monotonic() + DRAIN_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while (left := until - time.monotonic()) > 0 and selector.select(left):
                if not self._copy(output):
                    return
                if self._log.due_in() == 0.0:
                    self._log.flush()

    def _record(self, returncode: int) -> None:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        _replace(
            self._order["exit"],
            {
                "exit_code": returncode if returncode >= 0 else None,
                "signal": -returncode if returncode < 0 else None,
                "started": self._started,
                "ended": self._ended or self._clock(),
                "stopped": self._stopped,
                "alone": self._alone,
                "cpu_seconds": used.ru_utime + used.ru_stime,
                "peak_bytes": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
            },
        )


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS raises PermissionError for a group of zombies
        os.killpg(group, number)


def _wait_until_suspended(pid: int) -> None:
    """Wait until SIGSTOP has reached a child, or it has ended."""
    until = time.monotonic() + STOPPED_SECONDS
    while time.monotonic() < until:
        try:
            if os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return
        except (ChildProcessError, AttributeError):  # reaped already; macOS has no waitid before Python 3.13
            return
        time.sleep(0.001)


def _prctl(option: int, value: int) -> bool:
    """Set an attribute of this process (Linux); return whether the system accepted it."""
    if sys.platform != "linux":
        return False
    import ctypes  # noqa: PLC0415 - keeps other systems' starts cheap

    return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)


def _all_gone() -> bool:
    """Return whether all descendants have ended, shortly after they were killed."""
    until = time.monotonic() + GONE_SECONDS
    while time.monotonic() < until:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.001)
        except ChildProcessError:
            return True
    return False


def _replace(path: str, value: dict[str, Any]) -> None:
    draft = f"{path}.{os.getpid()}.tmp"
    with open(draft, "wb", buffering=0) as file:  # noqa: PTH123 - a text file and a Path take longer than the rest
        file.write(json.dumps(value).encode())
    os.replace(draft, path)  # noqa: PTH105 - readers see the whole file or none


def _lock(path: str) -> bool:
    """Take the lock of the folder until this process ends; return False if another process keeps it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        else:
            return True


def _read_order() -> Order | None:
    # A line with the length, byte by byte, and then that number of bytes, so that a later ``stop`` stays in the pipe.
    length, data = b"", b""
    while not length.endswith(b"\n"):
        piece = os.read(sys.stdin.fileno(), 1)
        if not piece:
            return None
        length += piece
    while missing := int(length) - len(data):
        piece = os.read(sys.stdin.fileno(), missing)
        if not piece:
            return None
        data += piece
    order: Order = json.loads(data)
    return order


def main(enter: Enter, fork: Fork | None = None) -> int:
    """Read the order and run it; the arguments are those of ``Supervisor``."""
    os.set_blocking(sys.stdout.fileno(), False)  # a server that does not read must not stop the job
    # As a subreaper this process becomes the parent of orphaned descendants, so that none is overlooked. This is done
    # before the order comes, which may be long after this process was started.
    adopts = _prctl(PR_SET_CHILD_SUBREAPER, 1)
    order = _read_order()
    if order is None:
        return 1
    if not _lock(order["lock"]):
        print(f"another supervisor holds {order['lock']}", file=sys.stderr)  # noqa: T201
        return 1
    poll = select.poll()
    poll.register(sys.stdin.fileno(), select.POLLIN)
    # The server may have died while the lock was taken. Reading would take a ``stop`` out of the pipe.
    if any(events & select.POLLHUP for _, events in poll.poll(0)):
        return 1
    return Supervisor(order, adopts=adopts, enter=enter, fork=fork if order["warm"] else None).run()
