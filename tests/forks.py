"""Programs and servers for the tests, forked from a process that has loaded what they import.

Most of what a short Python program costs is its imports: half a second for the client, three for PyTorch or the
SageMaker SDK. A nursery imports once; each program is a fork of it, with a working directory, an environment,
arguments and pipes of its own, and dies with the process of the tests. ``SM_TUNING_TEST_FORKS=0`` starts whole
interpreters instead, as ``make test-long`` does.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

#: What each nursery has loaded before it forks; what is not installed is left out.
PRELOADED = {
    "server": (
        "sm_tuning.local._server",
        "sm_tuning.local.engine",
        "sm_tuning.local.http",
        "sm_tuning.local.runner",
        "sm_tuning.local.service",
        "moto.iam.responses",
        "moto.s3.responses",
        "moto.sts.responses",
    ),
    "client": (
        "boto3",
        "pandas",
        "plotly.graph_objects",
        "jinja2",
        "rich.console",
        "sm_tuning.cli",
        "sm_tuning.views",
        "sm_tuning.results",
    ),
    "nothing": (),
    "training": ("torch", "xgboost", "sklearn.datasets"),
    # Not sagemaker.mlops, which makes a client, with the region of that moment, when it is imported.
    "sdk": ("sagemaker.train.tuner", "sagemaker.core.resources", "sm_tuning.results"),
}

_PR_SET_PDEATHSIG = 1  # prctl(2)

#: The workers of one run find by it the nurseries that they share.
RUN_VARIABLE = "TEST_RUN"

REAL = os.environ.get("SM_TUNING_TEST_FORKS") == "0"


class Fork:
    """A forked program: the part of ``subprocess.Popen`` that tests use."""

    def __init__(self, pid: int, args: Sequence[str], exit_code: IO[bytes], stdout: IO[str] | None) -> None:
        self.pid, self.args, self.stdout, self.returncode = pid, args, stdout, None
        self._exit_code = exit_code
        self._signal = signal.SIGKILL

    def poll(self) -> int | None:
        """Return the exit code of a program that has ended."""
        return self._ended(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(list(self.args), timeout or 0.0)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Read the rest of the output, and wait for the end."""
        output = "" if self.stdout is None or self.stdout.closed else self.stdout.read()
        self.wait(timeout)
        if self.stdout is not None:
            self.stdout.close()
        return output, None

    def send_signal(self, number: int) -> None:
        """Send a signal to a program that has not ended."""
        if self.poll() is None:
            self._signal = signal.Signals(number)
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the program at once."""
        self.send_signal(signal.SIGKILL)

    def __del__(self) -> None:
        self._exit_code.close()  # of a program that nothing waits for

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._exit_code], [], [], timeout)[0]:
            said = os.read(self._exit_code.fileno(), 8)  # nothing where a signal ended the program
            self.returncode = int(said) if said else -self._signal
            self._exit_code.close()
        return self.returncode


class Nursery:
    """A process without threads that has loaded some modules, and forks programs and servers on request.

    It ends with the last of the processes that use it: the workers of a test run share one.
    """

    def __init__(self, name: str, address: str) -> None:
        self.address = address
        try:
            self._life = self._join()
        except OSError:  # there is none yet, or it is about to end
            self._life = self._start(name)

    def fork(self, order: Mapping[str, Any], descriptors: Sequence[int]) -> int:
        """Fork a process that has these descriptors; return its id."""
        with self._send({**order, "descriptors": len(descriptors)}) as channel:
            socket.send_fds(channel, [b"."], descriptors)
            return int(_received(channel, 12))

    def close(self) -> None:
        """Leave the process; if no other test uses it, it ends, and with it what it has forked."""
        self._life.close()

    def _join(self) -> socket.socket:
        life = self._send({})
        if life.recv(1) != b".":
            life.close()
            raise ConnectionResetError
        return life

    def _send(self, order: Mapping[str, Any]) -> socket.socket:
        channel = socket.socket(socket.AF_UNIX)
        try:
            channel.connect(self.address)
            message = json.dumps(order).encode()
            channel.sendall(f"{len(message):12d}".encode() + message)
        except OSError:
            channel.close()
            raise
        return channel

    def _start(self, name: str) -> socket.socket:
        Path(self.address).unlink(missing_ok=True)
        life, its_life = socket.socketpair()
        with socket.socket(socket.AF_UNIX) as listening, its_life:
            listening.bind(self.address)
            listening.listen(64)
            started = subprocess.Popen(
                [sys.executable, __file__, name, str(listening.fileno()), str(its_life.fileno())],
                pass_fds=[listening.fileno(), its_life.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                # Variables of a user's AWS are the programs' affair, not that of their imports.
                env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
                | {"OMP_NUM_THREADS": "1"},
            )
        started.returncode = 0  # it may outlive this process: nothing waits for it
        return life


@functools.cache
def nursery(name: str) -> Nursery:
    """Return the nursery that has loaded ``PRELOADED[name]``; it lives at least as long as this process."""
    run = os.environ.get(RUN_VARIABLE) or str(os.getpid())
    folder = Path(tempfile.gettempdir(), f"forks-{run}")
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = Nursery(name, str(folder / name))
    atexit.register(found.close)
    return found


def start_program(
    args: Sequence[str | Path],
    *,
    preload: str,
    cwd: Path,
    env: Mapping[str, str],
    stdout: Any = None,
    stderr: Any = None,
) -> Any:
    """Start ``[python, file, …]``, ``[python, "-c", code, …]`` or ``[python, "-m", module, …]``.

    Standard output is a pipe unless it is given.
    """
    words = list(map(str, args))
    if REAL or words[0] != sys.executable:
        pipe = {"stdout": stdout or subprocess.PIPE, "stderr": stderr or subprocess.STDOUT}
        return subprocess.Popen(words, cwd=cwd, env=dict(env), text=True, **pipe)
    reading, writing = os.pipe()
    ended, end = os.pipe()
    out = stdout.fileno() if stdout else writing
    null = os.open(os.devnull, os.O_RDONLY)
    umask = os.umask(0)
    os.umask(umask)
    order = {"args": words[1:], "cwd": str(cwd), "environ": dict(env), "umask": umask}
    pid = nursery(preload).fork(order, [null, out, stderr.fileno() if stderr else out, end])
    for descriptor in (null, writing, end):
        os.close(descriptor)
    if stdout:
        os.close(reading)
    return Fork(pid, words, os.fdopen(ended, "rb"), None if stdout else os.fdopen(reading, "r", encoding="utf-8"))


def run_program(
    args: Sequence[str | Path], *, preload: str, cwd: Path, env: Mapping[str, str], timeout: float = 240.0
) -> subprocess.CompletedProcess[str]:
    """Run ``[python, file, …]`` or ``[python, "-c", code, …]`` to its end, in a fork; any other program as it is."""
    words = list(map(str, args))
    if REAL or words[0] != sys.executable:
        return subprocess.run(
            words, cwd=cwd, env=dict(env), capture_output=True, text=True, timeout=timeout, check=False
        )
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out, tempfile.TemporaryFile("w+", encoding="utf-8") as err:
        process = start_program(words, preload=preload, cwd=cwd, env=env, stdout=out, stderr=err)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(words, code, out.read(), err.read())


def command_line(folder: Path) -> Path:
    """Make a program ``sm-tuning`` for the PATH of shell scripts; a fork of the client does its work."""
    program = folder / "sm-tuning"
    if REAL:
        program.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'from sm_tuning.cli import main; main()' \"$@\"\n")
    else:
        source = Path(__file__).with_name("fork_stand_in.py").read_text(encoding="utf-8")
        address = f"ADDRESS = {nursery('client').address!r}"
        program.write_text(f"#!{sys.executable} -IS\n{source.replace('ADDRESS = None', address)}")
    program.chmod(0o755)
    return program


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Poll until the condition gives something true, and return that; the limit is there to end a test that hangs.

    A condition may cost as much as a request to a server, so that the pauses grow with the time waited.
    """
    begun = time.monotonic()
    while not (result := condition()):
        waited = time.monotonic() - begun
        if waited > seconds:
            raise AssertionError(f"the condition did not hold within {seconds:g} s")
        time.sleep(min(0.2, max(0.02, waited / 20)))
    return result


def _received(channel: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = channel.recv(size - len(found))
        if not part:
            raise EOFError
        found += part
    return found


def _serve_orders(name: str, listening: socket.socket, life: socket.socket) -> None:
    """Be the nursery: answer each order with a process id, until ``life`` and those that joined it are closed."""
    gc.disable()  # until all is loaded
    if name == "server":
        # moto reads the environment when it is imported; the folder is each server's own again after the fork.
        from sm_tuning.local._moto import configure_process

        configure_process(Path(tempfile.gettempdir()))
    for module in PRELOADED[name]:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(module)
    if name in ("server", "client"):
        _read_service_models()
    gc.collect()
    gc.freeze()  # what is here stays shared with the forks
    gc.enable()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # programs that end are not waited for
    lives = [life]
    while lives:
        for ready in select.select([listening, *lives], [], [])[0]:
            if ready is not listening:  # a worker of the test run has ended
                lives.remove(ready)
                ready.close()
                continue
            channel, _ = listening.accept()
            with contextlib.suppress(EOFError):
                order = json.loads(_received(channel, int(_received(channel, 12))))
                if not order:  # to live as long as the sender
                    lives.append(channel)
                    channel.sendall(b".")
                    continue
                _fork(order, channel, [listening, *lives])
            channel.close()
    address = Path(listening.getsockname())
    for path in (address, address.with_suffix(".lock")):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        address.parent.rmdir()  # not while another nursery uses it


def _fork(order: dict[str, Any], channel: socket.socket, unused: Sequence[socket.socket]) -> None:
    _, descriptors, _, _ = socket.recv_fds(channel, 1, order["descriptors"])
    nursery_pid, pid = os.getpid(), os.fork()
    if pid == 0:
        if sys.platform == "linux":  # elsewhere, what a killed run has started is left
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != nursery_pid:
            os._exit(1)
        for open_here in (channel, *unused):
            open_here.close()
        _run(order, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    channel.sendall(f"{pid:12d}".encode())


def _read_service_models() -> None:
    """Read the models of botocore that every server and client reads."""
    from moto.core.base_backend import AccountSpecificBackend

    from sm_tuning.request import violations

    violations("ListTrainingJobs", {})
    for service in ("cloudwatch", "logs"):
        AccountSpecificBackend.get_session().get_available_regions(service)


def _run(order: dict[str, Any], descriptors: Sequence[int]) -> None:
    """Be the program, and end.

    The descriptors are standard input, output and error; then where the exit code is written, and, if a stand-in on the
    PATH started the program, a pipe that closes when the stand-in dies.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    os.setsid()
    standard, more = descriptors[:3], descriptors[3:]
    for descriptor in more:
        os.set_inheritable(descriptor, False)
    for target, descriptor in enumerate(standard):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.chdir(order["cwd"])
    os.umask(order["umask"])
    tempfile.tempdir = None  # that of the environment, as in a new interpreter
    os.environ.clear()
    os.environ.update(order["environ"])
    if more[1:]:
        threading.Thread(target=_die_with, args=more[1:], daemon=True).start()
    code = 1
    try:
        code = _execute(order["args"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for end in more[:1]:
            os.write(end, str(code).encode())
        os._exit(code)


def _die_with(life: int) -> None:
    os.read(life, 1)
    os.kill(os.getpid(), signal.SIGKILL)


def _execute(words: Sequence[str]) -> int:
    """Run a file or a text as ``__main__``, or a module; then what Python runs at its end. Return the exit code."""
    try:
        try:
            if words[0] == "-m":
                sys.argv = list(words[1:])
                if not hasattr(sys.modules.get(words[1]), "__path__"):
                    sys.modules.pop(words[1], None)  # it runs as __main__
                runpy.run_module(words[1], run_name="__main__", alter_sys=True)
                return 0
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            if words[0] == "-c":
                sys.argv, sys.path[0] = ["-c", *words[2:]], ""
                program = compile(words[1], "<string>", "exec")
            else:
                sys.argv, sys.path[0], main.__file__ = list(words), str(Path(words[0]).parent), words[0]
                program = compile(Path(words[0]).read_bytes(), words[0], "exec")
            exec(program, main.__dict__)
        except SystemExit as e:
            if isinstance(e.code, str):
                print(e.code, file=sys.stderr)
            return e.code if isinstance(e.code, int) else int(e.code is not None)
        except BaseException:  # noqa: BLE001  (the interpreter does the same)
            traceback.print_exc()
            return 1
        return 0
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()


if __name__ == "__main__":
    _serve_orders(sys.argv[1], *(socket.socket(fileno=int(number)) for number in sys.argv[2:]))
