"""Where supervisors come from: templates, which fork them, and the warm training processes with them."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sm_tuning.executor._warm import TOKEN_VARIABLE, is_per_trial

_log = logging.getLogger(__name__)

_ANSWER_SECONDS = 30.0  # until a template that does not fork counts as dead
_MOST_GROUPS = 200
_LEAN_ATTEMPTS = 3
#: Variables of the interpreter that a fork has as its template has them. All others change how a script starts or ends.
_INTERPRETER_VARIABLES = frozenset(
    {
        "PYTHONBREAKPOINT",  # read at each breakpoint(); Ray sets it in its workers
        *("PYTHONDONTWRITEBYTECODE", "PYTHONFAULTHANDLER", "PYTHONHASHSEED", "PYTHONIOENCODING", "PYTHONNOUSERSITE"),
        *("PYTHONPATH", "PYTHONPYCACHEPREFIX", "PYTHONSAFEPATH", "PYTHONUNBUFFERED", "PYTHONUTF8", "PYTHONWARNINGS"),
    }
)


@dataclass(frozen=True)
class Preload:
    """What a template imports, and what the trials that are forked from it have in common.

    Attributes:
        group: the tuning job, so that a change of settings files counts from the next one on; or what forks of it
            are, if their imports read no settings files.
        python: the interpreter.
        variables: the environment variables that all trials of the group share.
        imports: statements with which the script begins.
        later: statements of imports that its packages make later. If no process can be forked after these, they are
            left out.
    """

    group: str
    python: str
    variables: tuple[tuple[str, str], ...]
    imports: tuple[str, ...]
    later: tuple[str, ...] = ()


class Link:
    """The pipes of a supervisor: its stdin and its stdout."""

    def __init__(self, order: int, news: int) -> None:
        self._order: int | None = order
        self._news = news

    def fileno(self) -> int:
        """Return the file descriptor that becomes readable when there is news."""
        return self._news

    def write(self, data: bytes) -> None:
        """Write to its stdin.

        Raises:
            OSError: the supervisor has ended.
        """
        view = memoryview(data)
        while view and self._order is not None:
            view = view[os.write(self._order, view) :]

    def close_order(self) -> None:
        """End its stdin, so that it kills its processes and ends."""
        if self._order is not None:
            os.close(self._order)
            self._order = None

    def close(self) -> None:
        """Wait until it has ended."""
        self.close_order()
        while os.read(self._news, 1 << 16):
            pass
        os.close(self._news)


class Template:
    """A process of ``_template.py``.

    Args:
        preload: what it imports; None for supervisors of cold processes only.
    """

    def __init__(self, preload: Preload | None = None) -> None:
        self.preload: Preload | None = preload
        self._channel, theirs = socket.socketpair()
        settings: dict[str, Any] = {"channel": theirs.fileno(), "log": None, "output": None, "imports": None}
        kwargs: dict[str, Any] = {"stdout": subprocess.DEVNULL}
        flags, passed, opened = ["-I", "-S"], [theirs.fileno()], []
        python = sys.executable
        if preload is not None:
            # Pipes as a training process has them: the interpreter chooses its buffers when it starts.
            output, writing = os.pipe()
            log = os.dup(2)
            opened = [output, writing, log]
            settings |= {"log": log, "output": output, "imports": [*preload.imports, *preload.later]}
            # A marker as long as a token; a fork replaces it.
            kwargs = {
                "stdout": writing,
                "stderr": writing,
                "env": {**dict(preload.variables), TOKEN_VARIABLE: "0" * 32},
            }
            flags, python = ["-u"], preload.python
            passed += [output, log]
        try:
            self._popen = subprocess.Popen(
                [python, *flags, str(Path(__file__).with_name("_template.py")), json.dumps(settings)],
                stdin=subprocess.DEVNULL,
                pass_fds=passed,
                cwd="/",
                start_new_session=True,  # Ctrl-C in the server's terminal must not reach it
                **kwargs,
            )
        finally:
            theirs.close()
            for fd in opened:
                os.close(fd)
        self._lock = threading.Lock()
        self._answer = b"" if preload is not None else b"ready\n"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def answer(self, seconds: float = 0.0) -> str | None:
        """Return ``ready``, or why it forks no processes; None if it imports for longer than the given seconds."""
        with self._lock:
            while not self._answer.endswith(b"\n"):
                if not _is_readable(self._channel.fileno(), seconds):
                    return None
                try:
                    piece = self._channel.recv(4096)
                except OSError:
                    piece = b""
                self._answer += piece or b"the template was killed\n"
            return self._answer.decode("utf-8", "replace").strip()

    def fork(self) -> Link | None:
        """Return a new supervisor; None if this process has ended."""
        order, writing = os.pipe()
        reading, news = os.pipe()
        started = False
        try:
            socket.send_fds(self._channel, [b"."], [order, news])
        except OSError:
            os.close(news)
        else:
            os.close(news)  # so that the death of the template is seen
            line = b""
            while not line.endswith(b"started\n") and _is_readable(reading, _ANSWER_SECONDS):
                piece = os.read(reading, len(b"started\n") - len(line))
                if not piece:
                    break
                line += piece
            started = line == b"started\n"
        finally:
            os.close(order)
        if started:
            return Link(writing, reading)
        os.close(writing)  # a supervisor that starts later ends at once
        os.close(reading)
        return None

    def close(self, *, imported: bool = False) -> None:
        """End the process; its supervisors go on.

        Args:
            imported: also end what its imports have started. It must not have any supervisors.
        """
        with suppress(OSError):
            self._channel.close()
        if imported:
            with suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.kill()
        self._popen.wait()


class Supervisors:
    """Starts supervisors, as forks of templates: a process takes milliseconds less, or seconds, if it imports much.

    Templates end with ``close``, or with this process.

    Args:
        warm: whether training processes may be forked, too.
        templates: the most templates of training processes at a time.
        patience: seconds that a process waits for the imports of its template, so that the first of a kind is forked,
            too. With 0 that one starts cold, and a template begins with the second.
    """

    def __init__(self, *, warm: bool = False, templates: int = 4, patience: float = 0.0) -> None:
        self._most_templates = templates
        self._patience = patience
        self._warm = warm and sys.platform == "linux"
        self._lock = threading.Lock()
        self._lean: Template | None = None
        self._templates: OrderedDict[Preload, Template | str] = OrderedDict()
        self._seen: OrderedDict[Preload, None] = OrderedDict()

    def take(self, preload: Preload | None = None, name: str = "") -> Link:
        """Return a supervisor that waits for its order.

        Args:
            preload: of a process that may be forked.
            name: of its job, for the log.

        Raises:
            OSError: no process can be started.
        """
        link = None if preload is None or not self._warm else self._take_warm(preload, name)
        for _ in range(_LEAN_ATTEMPTS):
            if link is not None:
                return link
            with self._lock:
                if self._lean is None:
                    self._lean = Template()
                lean = self._lean
            link = lean.fork()
            if link is None:
                self._drop_lean(lean)
        if link is None:
            raise OSError("the template of the supervisors ends as soon as it is started")
        return link

    def close(self) -> None:
        """End the templates."""
        with self._lock:
            templates: Sequence[Template | str | None] = [self._lean, *self._templates.values()]
            self._lean = None
            self._templates.clear()
        for template in templates:
            if isinstance(template, Template):
                template.close()

    def _take_warm(self, preload: Preload, name: str) -> Link | None:
        template = self._template(preload)
        reason: str | None = template if isinstance(template, str) else template.answer(self._patience)
        if not isinstance(template, str) and reason == "ready":
            link = template.fork()
            if link is not None:
                return link
            reason = "its template has ended"
        if reason is not None and not isinstance(template, str):
            self._drop(preload, template, reason)
        _log.info("%s starts cold: %s", name, reason or "its template still imports")
        return None

    def _template(self, preload: Preload) -> Template | str:
        """Return the template of a group, or the reason why it cannot have one."""
        variables = {variable for variable, _ in preload.variables if variable.startswith("PYTHON")}
        if odd := sorted(variables - _INTERPRETER_VARIABLES):
            return f"{', '.join(odd)} is set, which changes how the interpreter starts or ends"
        entries = filter(None, dict(preload.variables).get("PYTHONPATH", "").split(os.pathsep))
        if relative := [entry for entry in entries if not Path(entry).is_absolute()]:
            return f"PYTHONPATH has {', '.join(relative)}, which depends on the working folder"
        with self._lock:
            found = self._templates.get(preload)
            if found is not None:
                self._templates.move_to_end(preload)
                return found
            if preload not in self._seen and not self._patience:
                self._seen[preload] = None
                while len(self._seen) > _MOST_GROUPS:
                    self._seen.popitem(last=False)
                return "it is the first of its kind"
            found = self._templates[preload] = Template(preload)
            alive = [key for key, template in self._templates.items() if isinstance(template, Template)]
            ended = [self._templates.pop(key) for key in alive[: -self._most_templates]]
            while len(self._templates) > _MOST_GROUPS:
                self._templates.popitem(last=False)
        for template in ended:
            assert isinstance(template, Template)
            template.close()
        return found

    def _drop(self, preload: Preload, template: Template, reason: str) -> None:
        """Forget a template: for ever if its imports are the reason, otherwise until the next process."""
        is_refused = not reason.startswith(("its template", "the template"))
        used = template.preload
        with self._lock:
            if self._templates.get(preload) is template:
                del self._templates[preload]
                if is_refused and used is not None and used.later:
                    self._templates[preload] = Template(replace(used, later=()))
                elif is_refused:
                    self._templates[preload] = reason
        template.close(imported=is_refused)

    def _drop_lean(self, lean: Template) -> None:
        with self._lock:
            if self._lean is lean:
                self._lean = None
        lean.close()


def _is_readable(fd: int, seconds: float) -> bool:
    poll = select.poll()  # select() knows no file descriptor beyond 1,023, and a server has many connections
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(1000 * seconds))


def shared_variables(env: Mapping[str, str], own_path: Sequence[str]) -> tuple[tuple[str, str], ...] | None:
    """Return the variables that a trial shares with the others of its tuning job.

    Args:
        env: the environment of the trial.
        own_path: entries of PYTHONPATH that only this trial has.

    Returns:
        None if entries of other trials stand before these.
    """
    shared = {name: value for name, value in env.items() if not is_per_trial(name)}
    entries = list(filter(None, env.get("PYTHONPATH", "").split(os.pathsep)))
    if entries[: len(own_path)] != list(own_path):
        return None
    if rest := entries[len(own_path) :]:
        shared["PYTHONPATH"] = os.pathsep.join(rest)
    return tuple(shared.items())
