"""``requirements.txt`` of a script: a virtual environment for each content, shared by all trials.

The environment sees the packages of the server's interpreter (as a framework image has its own), and pip
installs only what is missing or differs. Installing happens once for each content.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import site
import sys
import threading
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sm_tuning.executor._archive import files_in

Check = Callable[[], None]

_LOCAL_LINE = re.compile(r"^\s*(-|\.|/|file:)|@\s*file:", re.MULTILINE)
"""Lines whose meaning depends on other files: options such as ``-r other.txt``, and paths."""


def wanted(code: Path) -> Path | None:
    """Return the requirements file, or None when it is absent or has nothing but comments."""
    path = code / "requirements.txt"
    if not path.is_file():
        return None
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return path if any(line.split("#", 1)[0].strip() for line in lines) else None


class Environments:
    """The virtual environments under one folder.

    Args:
        folder: made when the first one is.
        sleep: how to wait for another trial that installs the same.
    """

    def __init__(self, folder: Path, sleep: Callable[[float], None] = time.sleep) -> None:
        self._folder = folder
        self._sleep = sleep
        self._busy: set[str] = set()
        self._guard = threading.Lock()

    @contextmanager
    def claim(self, requirements: Path, check: Check) -> Iterator[Environment]:
        """Hold the environment of these requirements, alone, until it is installed.

        Args:
            requirements: the file.
            check: called while waiting; raises when the job is to stop.
        """
        key = _key(requirements)
        while not self._take(key):
            check()
            self._sleep(0.1)
        try:
            yield Environment(self._folder / key)
        finally:
            with self._guard:
                self._busy.discard(key)

    def _take(self, key: str) -> bool:
        with self._guard:
            if key in self._busy:
                return False
            self._busy.add(key)
            return True


class Environment:
    """One virtual environment; complete once ``finish`` was called."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self._path / "bin" / "python")

    @property
    def complete(self) -> bool:
        """Whether everything is installed."""
        return (self._path / "complete").is_file()

    def make(self) -> None:
        """Make it anew, without the requirements."""
        shutil.rmtree(self._path, ignore_errors=True)
        with_pip = importlib.util.find_spec("pip") is None
        venv.EnvBuilder(with_pip=with_pip, symlinks=True).create(self._path)
        lib = next((self._path / "lib").glob("python*/site-packages"))
        lines = [f"import site; site.addsitedir({folder!r})" for folder in site_folders()]
        (lib / "_server_packages.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def finish(self) -> None:
        """Say that the requirements are in."""
        (self._path / "complete").touch()


def site_folders() -> list[str]:
    """Return the folders from which the server's interpreter takes installed packages."""
    folders = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    return [folder for folder in folders if Path(folder).is_dir()]


def _key(requirements: Path) -> str:
    content = requirements.read_bytes()
    digest = hashlib.sha256(content)
    digest.update(f"{sys.version}{site_folders()}".encode())
    if _LOCAL_LINE.search(content.decode("utf-8", "replace")):
        for path in files_in(requirements.parent):
            digest.update(path.relative_to(requirements.parent).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:24]
