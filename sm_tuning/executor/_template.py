"""A process that forks supervisors, and warm training processes with them: ``python _template.py <settings>``.

Stdlib only. The settings are a JSON object:

- ``channel``: a socket. Each byte with two file descriptors orders a supervisor with these as stdin and stdout. A line
  answers ``imports``: ``ready``, or why no process can be forked. At its end the template ends; its supervisors go on.
- ``imports``: statements that are executed before the first fork; null for supervisors of cold processes only.
- ``output``: the read end of stdout and stderr while these statements run.
- ``log``: stderr of the supervisors.

A warm process is a fork that has executed the first statements of its script before it had the script's arguments, its
variables, its working folder. ``Warm`` therefore watches what these statements read and leave behind, and refuses where
a process of its own could have come to anything else. ``docs/adr/0019-warm-workers.md`` has the reasons.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from importlib.machinery import SourceFileLoader
from types import FunctionType, ModuleType
from typing import Any

IDLE_SECONDS = 300.0  # until a template with imports ends by itself
REAP_SECONDS = 1.0
#: Classes with finalizers whose objects live until the end of the process anyway, and then change nothing.
HARMLESS_FINALIZERS = frozenset(
    f"{module}.ResourceTracker"
    for module in ("multiprocessing.resource_tracker", "joblib.externals.loky.backend.resource_tracker")
)
FOLDER = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - importing pathlib is left to the script


def load(name: str) -> ModuleType:
    """Return a module of this folder, which no other module can import: the script may have one of the same name."""
    module = ModuleType(name)
    SourceFileLoader(name, f"{FOLDER}/{name}.py").exec_module(module)
    return module


def prevent_orphan(channel: socket.socket) -> None:
    """End with the channel, also in the middle of an import: SIGIO ends a process that does not handle it.

    PR_SET_PDEATHSIG would end this process with the thread that has started it.
    """
    import fcntl  # noqa: PLC0415

    fcntl.fcntl(channel, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(channel, fcntl.F_SETFL, fcntl.fcntl(channel, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([channel], [], [], 0)[0]:  # the server died before
        os._exit(0)


def release_orphan(channel: socket.socket) -> None:
    """Receive no more signals for the channel."""
    import fcntl  # noqa: PLC0415

    fcntl.fcntl(channel, fcntl.F_SETFL, fcntl.fcntl(channel, fcntl.F_GETFL) & ~os.O_ASYNC)


def spare_collections() -> bool:
    """Leave the objects of the imports out of all collections of the forks, and return whether they are left out.

    A collection visits each of them, and so copies their memory: a fork does that twice at its end, which takes half of
    its processor time. If an object has a finalizer in Python, nothing is left out, since that can be seen.
    """
    import gc  # noqa: PLC0415

    gc.collect()
    kinds = {type(each) for each in gc.get_objects()}
    found = {f"{kind.__module__}.{kind.__qualname__}" for kind in kinds if has_finalizer(kind)}
    is_spared = found <= HARMLESS_FINALIZERS
    if is_spared:
        gc.freeze()
    return is_spared


def has_finalizer(kind: type) -> bool:
    """Return whether a class has a finalizer that is written in Python."""
    found = next((vars(base)["__del__"] for base in kind.__mro__ if "__del__" in vars(base)), None)
    return isinstance(found, FunctionType)


def serve(channel: socket.socket, log: int | None, warm: Any) -> None:
    """Fork supervisors until the channel ends."""
    container, enter = load("_container"), load("_namespace").enter
    is_spared = spare_collections()
    if warm is not None:
        warm.is_spared = is_spared
    children, used = 0, time.monotonic()
    while True:
        ready = select.select([channel], [], [], REAP_SECONDS if children else IDLE_SECONDS)[0]
        while children and os.waitpid(-1, os.WNOHANG)[0]:
            children -= 1
        if not ready:
            if warm is not None and not children and time.monotonic() - used > IDLE_SECONDS / 2:
                return
            continue
        data, received, _, _ = socket.recv_fds(channel, 1, 2)
        if not data:
            return
        if warm is not None and (problem := warm.stale()):
            os.write(log or 2, f"a template for warm training processes ends: {problem}\n".encode())
            return
        if os.fork() == 0:
            os.close(channel.detach())
            supervise(received, log, partial(container.main, enter, None if warm is None else warm.fork))
        children, used = children + 1, time.monotonic()
        for fd in received:
            os.close(fd)


def supervise(received: list[int], log: int | None, run: Callable[[], int]) -> None:
    """Be a supervisor, and end; in a warm training process, raise the exception that runs its script."""
    os.setsid()  # Ctrl-C in the server's terminal must not reach it
    for target, fd in enumerate(received):
        os.dup2(fd, target)
    for fd in received:
        if fd > 1:
            os.close(fd)
    if log is not None:
        os.dup2(log, 2)
    os.write(1, b"started\n")
    try:
        code = run()
    except Exception:  # noqa: BLE001 - it must not go on as a template
        os.write(2, traceback.format_exc().encode())
        code = 1
    os._exit(code)


def main() -> int:
    """Import and serve."""
    settings = json.loads(sys.argv[1])
    channel = socket.socket(fileno=settings["channel"])
    channel.set_inheritable(False)
    warm = None
    if settings["imports"] is not None:
        prevent_orphan(channel)
        warm = load("_warm").Warm({channel.fileno(), settings["log"], settings["output"]}, load("_ending"))
        problem = warm.execute(settings["imports"], settings["output"])
        release_orphan(channel)
        channel.sendall(f"{problem or 'ready'}\n".encode())
        if problem:
            return 0
        os.close(settings["output"])
    serve(channel, settings["log"], warm)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # what the imports would do at their end is for the training processes
