"""The surroundings of a training process: Linux namespaces and virtual environments.

EnableNetworkIsolation of the service allows no calls in or out, "except for calls between peers within a training
cluster". Accordingly, the hosts of an isolated job share one network that has only a loopback interface.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import re
import shutil
import site
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sm_tuning.executor._data import Check, files_in
from sm_tuning.executor._hosts import TrainingFailedError

Order = Mapping[str, Any]
"""The namespaces of a process, see ``_namespace.py``."""

_PROBE_SECONDS = 20.0
#: Lines of requirements.txt whose meaning depends on other files: options such as ``-r other.txt``, and paths.
_LOCAL_LINE = re.compile(r"^\s*(-|\.|/|file:)|@\s*file:", re.MULTILINE)


class Namespaces:
    """The namespaces that this system allows, found by one attempt for each kind.

    Args:
        wanted: False to use no namespaces.
    """

    def __init__(self, *, wanted: bool = True) -> None:
        self._wanted = wanted
        self._lock = threading.Lock()
        self._problems: dict[str, str | None] = {}

    def problem(self, order: Order) -> str | None:
        """Return why this kind of order is not possible here; None if it is."""
        if not self._wanted:
            return "namespaces are disabled by a setting of the server"
        # Paths and process ids do not matter: an order with the same keys succeeds or fails alike.
        kind = ",".join(sorted(key for key, value in order.items() if value))
        with self._lock:
            if kind not in self._problems:
                self._problems[kind] = self._try(order)
            return self._problems[kind]

    def _try(self, order: Order) -> str | None:
        if sys.platform != "linux":
            return f"namespaces require Linux; this is {sys.platform}"
        command = _launched([sys.executable, "-I", "-S", "-c", ""], order)
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return f"the attempt took longer than {_PROBE_SECONDS:g} s"
        return None if ended.returncode == 0 else ended.stderr.strip() or f"exit code {ended.returncode}"


def _launched(argv: list[str], order: Order) -> list[str]:
    return [sys.executable, "-I", "-S", str(Path(__file__).with_name("_namespace.py")), json.dumps(dict(order)), *argv]


@contextmanager
def shared_network() -> Iterator[int]:
    """Hold a network namespace for several programs, and yield the process id to join.

    The holder ends with this process, even if this process is killed.

    Raises:
        TrainingFailedError: the holder did not start.
    """
    with subprocess.Popen(
        _launched(["hold"], {"net": True}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stderr is not None
        assert holder.stdin is not None
        try:
            if holder.stdout.readline() != "ready\n":
                raise TrainingFailedError(f"InternalServerError: no network for the hosts: {holder.stderr.read()}")
            yield holder.pid
        finally:
            with suppress(OSError):
                holder.stdin.close()


def requirements_of(code: Path) -> Path | None:
    """Return the requirements.txt of a code folder; None if it is missing, empty, or has only comments."""
    path = code / "requirements.txt"
    if not path.is_file():
        return None
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return path if any(line.split("#", 1)[0].strip() for line in lines) else None


class Environments:
    """The virtual environments under one folder: one for each content of requirements.txt, shared by all trials.

    An environment sees the packages of this interpreter, as a framework image has its own, and pip installs only those
    that are missing or differ. Several processes may share the folder: a lock file beside it is held meanwhile.

    Args:
        folder: created with the first environment.
        sleep: waits while another trial installs the same requirements.
    """

    def __init__(self, folder: Path, sleep: Callable[[float], None] = time.sleep) -> None:
        self._folder = folder
        self._sleep = sleep
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def claim(self, code: Path, check: Check, *, package: bool = False) -> Iterator[Environment]:
        """Yield the environment of a code folder's requirements, which no other trial uses before it is installed.

        Args:
            code: the folder.
            check: called while waiting; raises if the job must not continue.
            package: whether the folder itself is installed too.
        """
        key = self._key(code, package=package)
        while True:
            with self._lock:
                if key not in self._busy:
                    self._busy.add(key)
                    break
            check()
            self._sleep(0.1)
        environment = Environment(self._folder / key)
        try:
            with self._locked(key, check):
                yield environment
        finally:
            if environment.complete:
                environment.finish()  # its time is that of its last use
            with self._lock:
                self._busy.discard(key)

    @contextmanager
    def _locked(self, key: str, check: Check) -> Iterator[None]:
        locks = self._folder.with_name(f"{self._folder.name}-locks")
        locks.mkdir(parents=True, exist_ok=True)
        with (locks / key).open("a") as lock:  # closing it ends the lock, as does the death of this process
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    check()
                    self._sleep(0.1)
            yield

    def delete_unused(self, before: float) -> tuple[int, int]:
        """Delete the environments that were last used before a time.

        Args:
            before: epoch seconds.

        Returns:
            Their number, and their size in bytes.
        """
        count = freed = 0
        for folder in self._folder.iterdir() if self._folder.is_dir() else ():
            mark = folder / "complete"
            if (mark if mark.exists() else folder).stat().st_mtime < before:
                freed += sum(path.lstat().st_size for path in folder.rglob("*"))
                shutil.rmtree(folder, ignore_errors=True)
                count += 1
        return count, freed

    def _key(self, code: Path, *, package: bool) -> str:
        requirements = requirements_of(code)
        content = requirements.read_bytes() if requirements is not None else b""
        digest = hashlib.sha256(content)
        digest.update(f"{sys.version}{_site_folders()}".encode())
        if package or _LOCAL_LINE.search(content.decode("utf-8", "replace")):
            for path in files_in(code):
                digest.update(path.relative_to(code).as_posix().encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()[:24]


class Environment:
    """A virtual environment; complete after ``finish``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def python(self) -> str:
        """The path of its interpreter."""
        return str(self._path / "bin" / "python")

    @property
    def complete(self) -> bool:
        """Whether everything is installed."""
        return (self._path / "complete").is_file()

    def make(self) -> None:
        """Create the environment anew, without the requirements."""
        shutil.rmtree(self._path, ignore_errors=True)
        # Without pip in the environment, ``python -m pip`` is that of this interpreter, which takes seconds less.
        with_pip = importlib.util.find_spec("pip") is None
        venv.EnvBuilder(with_pip=with_pip, symlinks=True).create(self._path)
        lib = next((self._path / "lib").glob("python*/site-packages"))
        lines = [f"import site; site.addsitedir({folder!r})" for folder in _site_folders()]
        (lib / "_server_packages.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def finish(self) -> None:
        """Record that the requirements are installed, or used now."""
        (self._path / "complete").touch()


def _site_folders() -> list[str]:
    folders = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    return [folder for folder in folders if Path(folder).is_dir()]
