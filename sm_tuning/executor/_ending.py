"""How a warm training process ends. Stdlib only; runs in the forks of a template (``_template.py``).

At its end, an interpreter destroys the objects of all modules. In a fork, that copies the memory of the template, and
takes longer than many a script: a third of a second after ``import torch``. A script that has succeeded therefore ends
without it, after everything that its end could show: its threads, its atexit functions, the destruction of its own
objects, and what C has in its buffers. Where more could be seen, it ends as any interpreter does.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

#: Packages whose native code writes nothing when a process ends.
QUIET_PACKAGES = frozenset(
    {
        *("numpy", "numpy.libs", "scipy", "scipy.libs", "pandas", "pandas.libs", "sklearn", "scikit_learn.libs"),
        *("torch", "xgboost", "xgboost_cpu.libs", "pyarrow", "charset_normalizer", "psutil"),
    }
)
SYSTEM_FOLDERS = ("/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/")


def of_module(name: str, known: frozenset[str] | None) -> SystemExit:
    """Return an exception whose exit status is that of a module; ``known`` are the modules of the template."""
    return _ending(lambda _: run_module(name, known))


def of_script(libc: Any, path: str, known: frozenset[str] | None) -> SystemExit:
    """Return an exception whose exit status is that of a script; ``known`` are the modules of the template."""
    return _ending(_script_runner(libc, path, known))


def _ending(code: Callable[[Any], int]) -> SystemExit:
    """Return an exception whose exit status is that of a script.

    The interpreter asks for the status when all frames of this program have ended. A script that runs then sees no
    frame under its own: not in warnings, tracebacks and ``sys._getframe``.
    """
    return type("_Ended", (SystemExit,), {"code": property(code)})()  # type: ignore[no-any-return]


def _script_runner(libc: Any, path: str, known: frozenset[str] | None) -> Callable[[Any], int]:
    """Return a function that runs a script as the interpreter itself does, without a Python frame of its own."""
    libc.fopen.restype = ctypes.c_void_p
    file = libc.fopen(os.fsencode(path), b"rb")
    run = ctypes.pythonapi.PyRun_AnyFileExFlags
    run.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]
    return partial(next, map(partial(finish, known), map(run, [file], [os.fsencode(path)], [1], [None])))


def finish(known: frozenset[str] | None, result: int) -> int:
    """Return the exit code of a script; an interrupt that it did not handle ends the process, as in any interpreter."""
    if result and getattr(sys, "last_type", None) is KeyboardInterrupt:
        die_of_interrupt()
    if not result:
        leave(known)
    return 1 if result else 0


def run_module(name: str, known: frozenset[str] | None) -> int:
    """Run a module as ``python -m`` does and return its exit code."""
    import runpy

    try:
        runpy._run_module_as_main(name)  # type: ignore[attr-defined]
    except SystemExit as e:
        if e.code is None or isinstance(e.code, int):
            return e.code or 0
        print(e.code, file=sys.stderr)  # noqa: T201
    except BaseException as e:  # noqa: BLE001 - the interpreter does the same
        e.__traceback__ = e.__traceback__ and e.__traceback__.tb_next
        sys.last_type, sys.last_value, sys.last_traceback = type(e), e, e.__traceback__
        sys.excepthook(type(e), e, e.__traceback__)
        return finish(known, 1)
    else:
        return finish(known, 0)
    return 1


def die_of_interrupt() -> None:
    """End in good order, then by SIGINT."""
    import atexit
    import threading

    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)


def leave(known: frozenset[str] | None) -> None:
    """End this process with status 0; return if the interpreter has to end it.

    Args:
        known: the modules of the template, whose objects are not destroyed; None if collections visit these objects.
    """
    if known is None or len(sys._current_frames()) > 1:
        return
    import atexit

    with suppress(Exception):  # the interpreter's own end repeats what fails
        if threading := sys.modules.get("threading"):
            threading._shutdown()
        atexit._run_exitfuncs()
        _flush()
        gc.collect()
        if _has_finalizers():
            return
        for name in [name for name in sys.modules if name == "__main__" or name not in known]:
            _empty(vars(sys.modules[name]))
        gc.collect()
        if _has_finalizers() or not all(map(is_quiet, _libraries())):
            return
        _flush()
        ctypes.CDLL(None).fflush(None)
        os._exit(0)


def _empty(names: dict[str, Any]) -> None:
    """Set the names of a module to None, private ones first, as the interpreter does: callbacks look for them."""
    for private in (True, False):
        for name in list(names):
            if name != "__builtins__" and (not private or (name[:1] == "_" and name[:2] != "__")):
                names[name] = None


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def _has_finalizers() -> bool:
    """Return whether an object that the script has made does anything at its end, such as an open file."""
    kinds = set(map(type, gc.get_objects()))
    return any("__del__" in vars(base) for kind in kinds for base in kind.__mro__)


def _libraries() -> set[str]:
    """Return the paths of the native libraries and of the devices in memory."""
    with open("/proc/self/maps") as maps:
        paths = {line.split(None, 5)[5].strip() for line in maps if line.count("/")}
    return {path for path in paths if ".so" in path.rpartition("/")[2] or path.startswith("/dev/nvidia")}


def is_quiet(path: str) -> bool:
    """Return whether a native library does nothing at the end of a process: Python's, the system's, and known ones."""
    for folder in ("/site-packages/", "/dist-packages/"):
        before, found, rest = path.rpartition(folder)
        if found:
            return bool(before) and rest.partition("/")[0] in QUIET_PACKAGES
    return path.startswith((f"{sys.base_prefix}/", f"{sys.base_exec_prefix}/", *SYSTEM_FOLDERS))
