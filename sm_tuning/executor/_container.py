"""The supervisor of one training process: started by the server as ``python -I _container.py``, stdlib only.

It stands where the container runtime stands on the service. Between it and the server:

- stdin: the first line is the order, a JSON object (see ``Order``); a later line ``stop`` asks for
  SIGTERM, the grace, SIGKILL. End of file means that the server is gone: the process group is killed at once.
- stdout: a line ``log`` whenever lines were written to the log file, only to wake the server. A reader that
  is slow loses such lines and nothing else.
- the log file: one record a line, ``<epoch ms> <text>``, appended; stdout and stderr merged as they arrived.
- the process file: who was started, written before anything can be printed.
- the exit file: how the process ended, replaced in one step. It is missing when the process did not end by
  itself or by an order of the server, so that the job is to be run again.

One supervisor at a time works in a job's folder: it holds a lock on ``lock`` there.
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
import threading
import time
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, TypedDict

FLUSH_SECONDS = 0.2
FLUSH_BYTES = 1 << 18
LONGEST_LINE = 1 << 20  # a longer one is continued in a further record, so that memory stays bounded
GONE_SECONDS = 0.2  # for what was killed to be reaped
PR_SET_PDEATHSIG = 1  # prctl(2)
PR_SET_CHILD_SUBREAPER = 36
DRAIN_SECONDS = 2.0  # for output still held back by a process that left the group
LOCK_SECONDS = 15.0


class Order(TypedDict):
    """What to run: all paths absolute; ``grace`` in seconds between SIGTERM and SIGKILL."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    log: str
    process: str
    exit: str
    lock: str
    token: str
    grace: float
    namespaces: dict[str, Any]  # see ``_namespace.py``; empty for none


class LogWriter:
    """Splits a stream of bytes into lines and appends them, stamped, to the log file."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._partial = b""
        self._records: list[bytes] = []
        self._size = 0
        self._since: float | None = None

    def feed(self, data: bytes) -> None:
        """Take what the process wrote, any number of lines or a part of one."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        stamp = b"%d " % int(time.time() * 1000)
        for line in lines:
            self._add(stamp, line)
        while len(self._partial) > LONGEST_LINE:
            self._add(stamp, self._partial[:LONGEST_LINE])
            self._partial = self._partial[LONGEST_LINE:]

    def _add(self, stamp: bytes, line: bytes) -> None:
        text = line.removesuffix(b"\r").decode("utf-8", "replace").encode()
        self._records.append(stamp + text + b"\n")
        self._size += len(text)
        if self._since is None:
            self._since = time.monotonic()

    def due_in(self) -> float | None:
        """Seconds until the next flush is due; None when nothing waits."""
        if self._since is None:
            return None
        if self._size >= FLUSH_BYTES:
            return 0.0
        return max(0.0, self._since + FLUSH_SECONDS - time.monotonic())

    def flush(self) -> None:
        """Write what waits, and wake the server."""
        if not self._records:
            return
        data = memoryview(b"".join(self._records))
        while data:
            data = data[os.write(self._fd, data) :]
        self._records, self._size, self._since = [], 0, None
        with suppress(OSError):  # the server is slow or gone: it finds the lines in the file
            os.write(sys.stdout.fileno(), b"log\n")

    def end(self) -> None:
        """Write everything, the last line without its newline included."""
        if self._partial:
            self._add(b"%d " % int(time.time() * 1000), self._partial)
            self._partial = b""
        self.flush()
        os.close(self._fd)


class Supervisor:
    """Runs one order to its end.

    Args:
        order: what to run.
        adopts: whether every process that is left over becomes a child of this one.
    """

    def __init__(self, order: Order, *, adopts: bool) -> None:
        self._order = order
        self._adopts = adopts
        self._log = LogWriter(order["log"])
        self._started = time.time()
        self._ended: float | None = None
        self._stopped = False
        self._abandoned = False
        self._alone = False
        self._kill_at: float | None = None
        self._wake_read, self._wake_write = os.pipe()

    def run(self) -> int:
        """Start, follow and reap the process; return the supervisor's own exit code."""
        try:
            if self._order["namespaces"]:
                _namespace_module().enter(self._order["namespaces"])
            process = self._spawn()
        except OSError as e:
            self._log.feed(f"cannot start {self._order['argv'][0]}: {e}\n".encode())
            self._log.end()
            self._record(127)
            return 0
        threading.Thread(target=self._reap, args=(process,), daemon=True).start()
        self._follow(process)
        _signal_group(process.pid, signal.SIGKILL)  # what the main process left behind
        self._drain(process)
        self._log.end()
        returncode = process.wait()
        self._alone = self._adopts and _all_gone()
        if not (self._abandoned and returncode == -signal.SIGKILL):
            self._record(returncode)
        return 0

    def _spawn(self) -> subprocess.Popen[bytes]:
        supervisor = os.getpid()

        def die_with_supervisor() -> None:
            # A supervisor that gets SIGKILL can kill nothing itself. The kernel then kills the script, also a frozen
            # one; the script's own children are left to kill_leftovers.
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != supervisor:  # the supervisor died between fork and prctl
                os._exit(1)

        process = subprocess.Popen(
            self._order["argv"],
            env=self._order["env"],
            cwd=self._order["cwd"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
            preexec_fn=die_with_supervisor if sys.platform == "linux" else None,  # noqa: PLW1509 - no other thread yet
        )
        _replace(
            self._order["process"],
            {"pid": process.pid, "started": self._started, "token": self._order["token"]},
        )
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self._kill(process.pid))
        return process

    def _kill(self, pid: int) -> None:
        """The supervisor itself is told to end: nothing may stay behind."""
        _signal_group(pid, signal.SIGKILL)
        os._exit(1)

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        self._ended = time.time()
        os.write(self._wake_write, b".")

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        """Copy output and obey stdin until the main process has ended."""
        assert process.stdout is not None
        output = process.stdout.fileno()
        os.set_blocking(output, False)
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            selector.register(self._wake_read, selectors.EVENT_READ)
            selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
            while True:
                ready = [key.fd for key, _ in selector.select(self._timeout())]
                if output in ready and not self._copy(output):
                    selector.unregister(output)
                if self._wake_read in ready:
                    return
                if sys.stdin.fileno() in ready and not self._obey(process):
                    selector.unregister(sys.stdin.fileno())
                if self._kill_at is not None and time.monotonic() >= self._kill_at:
                    self._kill_at = None
                    _signal_group(process.pid, signal.SIGKILL)
                if self._log.due_in() == 0.0:
                    self._log.flush()

    def _timeout(self) -> float | None:
        kill_in = None if self._kill_at is None else max(0.0, self._kill_at - time.monotonic())
        waits = [wait for wait in (kill_in, self._log.due_in()) if wait is not None]
        return min(waits) if waits else None

    def _copy(self, output: int) -> bool:
        """Read once; False at the end of the output."""
        try:
            data = os.read(output, 1 << 16)
        except BlockingIOError:
            return True
        self._log.feed(data)
        return bool(data)

    def _obey(self, process: subprocess.Popen[bytes]) -> bool:
        """Read stdin once; False when it is not to be read again."""
        data = os.read(sys.stdin.fileno(), 4096)
        if not data:
            self._abandoned = True
            _signal_group(process.pid, signal.SIGKILL)
            return False
        if b"stop" in data and not self._stopped:
            self._stopped = True
            self._kill_at = time.monotonic() + self._order["grace"]
            _signal_group(process.pid, signal.SIGTERM)
        return True

    def _drain(self, process: subprocess.Popen[bytes]) -> None:
        """Read what the ended group still had in the pipe."""
        assert process.stdout is not None
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
                "ended": self._ended or time.time(),
                "stopped": self._stopped,
                "alone": self._alone,
                "cpu_seconds": used.ru_utime + used.ru_stime,
                "peak_bytes": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
            },
        )


def _signal_group(group: int, number: signal.Signals) -> None:
    """Signal a process group; PermissionError is what macOS says of a group of zombies."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _prctl(option: int, value: int) -> bool:
    """Set an attribute of this process (Linux); return whether the system took it."""
    if sys.platform != "linux":
        return False
    import ctypes  # noqa: PLC0415 - only where it is needed

    return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)


def _namespace_module() -> ModuleType:
    """Load ``_namespace.py``, which lies beside this file; an isolated interpreter has no path to it."""
    loader = SourceFileLoader("_namespace", str(Path(__file__).with_name("_namespace.py")))
    module = ModuleType(loader.name)
    loader.exec_module(module)
    return module


def _all_gone() -> bool:
    """Whether no process below this one is left, once those that were killed have ended."""
    until = time.monotonic() + GONE_SECONDS
    while time.monotonic() < until:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.001)
        except ChildProcessError:
            return True
    return False


def _replace(path: str, value: dict[str, Any]) -> None:
    """Write a JSON file such that a reader sees all of it or nothing."""
    draft = Path(f"{path}.{os.getpid()}.tmp")
    draft.write_text(json.dumps(value), encoding="utf-8")
    draft.replace(path)


def _lock(path: str) -> bool:
    """Take the folder's lock for as long as this process lives; False when another keeps it."""
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


def _server_is_there() -> bool:
    """Whether stdin has not ended; what it may have to say already, such as ``stop``, stays in the pipe."""
    poll = select.poll()
    poll.register(sys.stdin.fileno(), select.POLLIN)
    return not any(events & select.POLLHUP for _, events in poll.poll(0))


def _read_order() -> Order | None:
    """Read the first line of stdin byte-exactly, so that a later ``stop`` stays in the pipe."""
    data = bytearray()
    while not data.endswith(b"\n"):
        piece = os.read(sys.stdin.fileno(), 1)
        if not piece:
            return None
        data += piece
    order: Order = json.loads(data)
    return order


def main() -> int:
    """Take the order and carry it out."""
    os.set_blocking(sys.stdout.fileno(), False)
    # As a subreaper this process becomes the parent of every descendant that loses its own, so that none goes
    # unnoticed. It is set before the order comes, which may be long after this process was started.
    adopts = _prctl(PR_SET_CHILD_SUBREAPER, 1)
    order = _read_order()
    if order is None:
        return 1
    if not _lock(order["lock"]):
        print(f"another supervisor keeps {order['lock']}", file=sys.stderr)  # noqa: T201
        return 1
    if not _server_is_there():
        return 1
    return Supervisor(order, adopts=adopts).run()


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # everything is written; taking the interpreter down in good order would keep the job waiting
