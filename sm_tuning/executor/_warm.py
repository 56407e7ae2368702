"""Warm training processes: what a template imports, whether that is safe, and how a fork becomes the script.

Stdlib only; runs in a template (``_template.py``) and in its forks. Linux only.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from operator import attrgetter
from types import FrameType, ModuleType
from typing import Any

TOKEN_VARIABLE = "SM_TUNING_CONTAINER"  # noqa: S105 - the name of a marker, no secret
PER_TRIAL_PREFIXES = ("SM_", "SAGEMAKER_")
PER_TRIAL_NAMES = frozenset({"CURRENT_HOST", "PYTHONPATH", "TRAINING_JOB_ARN", "TRAINING_JOB_NAME"})
PR_SET_PDEATHSIG = 1  # prctl(2)

#: Modules that keep the working folder of their import, and where; a fork sets these to its own folder.
FOLDER_AT_IMPORT = {"multiprocessing.process": "ORIGINAL_DIR", "rich": "_IMPORT_CWD"}
#: Settings of PyTorch that name a file of the working folder unless a variable is set: the variable, and the file.
TORCH_FILES = {
    ("torch._dynamo.config", "debug_dir_root"): ("TORCH_COMPILE_DEBUG_DIR", "torch_compile_debug"),
    ("torch._inductor.config", "xpu.cutlass_dir"): ("TORCHINDUCTOR_CUTLASS_DIR", ""),
}
#: Modules whose reading of the working folder or of all variables has no effect on results: ``inspect`` makes keys of a
#: cache, ``tempfile`` tries the folder last, ``tqdm`` looks for variables of its own prefix.
HARMLESS_READERS = frozenset(
    {*FOLDER_AT_IMPORT, *(module for module, _ in TORCH_FILES), "inspect", "tempfile", "tqdm.utils"}
)
#: Random generators of modules, which the system seeds; a fork seeds them again.
SEEDED_AT_IMPORT = {"sympy.core.random": ("rng", "_assumptions_rng"), "sympy.core.symbol": ("Dummy._prng",)}
#: Files in the working folder that a module reads by a relative path when it is imported.
FILES_AT_IMPORT = {"matplotlib": "matplotlibrc"}
OPENBLAS_THREADS = tuple(
    f"{prefix}openblas_get_num_threads{suffix}" for prefix in ("", "scipy_") for suffix in ("", "64_", "_64")
)


def is_per_trial(name: str) -> bool:
    """Return whether a variable may differ between the trials of a template."""
    return name in PER_TRIAL_NAMES or name.startswith(PER_TRIAL_PREFIXES)


def reader() -> str:
    """Return the module that reads a variable, the arguments or the working folder."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name not in ("_warm", "os", "collections.abc", "_collections_abc", "posixpath", "pathlib"):
            return str(name)
        frame = frame.f_back
    return ""


class Variables(dict):  # type: ignore[type-arg]
    """The data of ``os.environ`` while modules are imported; records which variables are read."""

    reads: set[str]
    wholes: set[str]

    def _note(self, key: bytes) -> None:
        if reader() not in HARMLESS_READERS:
            self.reads.add(os.fsdecode(key))

    def __getitem__(self, key: bytes) -> bytes:
        """Return a value."""
        self._note(key)
        value: bytes = dict.__getitem__(self, key)
        return value

    def __contains__(self, key: object) -> bool:
        """Return whether a variable is set."""
        if isinstance(key, bytes):
            self._note(key)
        return dict.__contains__(self, key)

    def __iter__(self) -> Iterator[bytes]:
        """Return the names of all variables."""
        if (module := reader()) not in HARMLESS_READERS:
            self.wholes.add(module)
        return dict.__iter__(self)


class Arguments(list):  # type: ignore[type-arg]
    """``sys.argv`` while modules are imported; records which modules read it."""

    readers: set[str]

    def __getitem__(self, index: Any) -> Any:
        """Return an argument."""
        self.readers.add(reader())
        return list.__getitem__(self, index)

    def __iter__(self) -> Iterator[Any]:
        """Return the arguments."""
        self.readers.add(reader())
        return list.__iter__(self)

    def __len__(self) -> int:
        """Return their number."""
        self.readers.add(reader())
        return list.__len__(self)


class Forked:
    """A forked process: the members of ``subprocess.Popen`` that supervisors use."""

    def __init__(self, pid: int, output: int) -> None:
        self.pid = pid
        self.stdout = os.fdopen(output, "rb", buffering=0)
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or the negative number of a signal; None while the process runs."""
        return self._ask(os.WNOHANG)

    def wait(self) -> int:
        """Return the exit code, or the negative number of a signal."""
        code = self._ask(0)
        assert code is not None
        return code

    def _ask(self, options: int) -> int | None:
        if self._code is None:
            pid, status = os.waitpid(self.pid, options)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code


class Warm:
    """The state of a template: what its imports read, and what they left behind.

    Args:
        own: file descriptors of the template itself.
        endings: the module ``_ending.py``.
    """

    def __init__(self, own: set[int], endings: Any) -> None:
        self._own = {0, 1, 2, *own}
        self._endings = endings
        self._variables: dict[str, str] = {}
        self._changed: dict[str, str | None] = {}
        self._reads: set[str] = set()
        self._stats: dict[str, tuple[int, int, int] | None] = {}
        self._modules: frozenset[str] = frozenset()
        self._generators: list[Any] = []
        #: Whether collections leave out the objects of the imports.
        self.is_spared: bool = False
        libc = ctypes.CDLL(None)
        libc.getenv.restype = ctypes.c_void_p
        self._token = libc.getenv(TOKEN_VARIABLE.encode())
        if not sys.flags.safe_path:
            del sys.path[0]  # the folder of this program

    def execute(self, imports: list[str], output: int) -> str | None:
        """Execute the statements; return why no process must be forked after them, or None."""
        for fd in (1, 2, output):
            os.set_blocking(fd, False)  # a full pipe would block for ever; an error is a reason
        before = _given_variables()
        environ: Any = os.environ
        plain = environ._data
        environ._data = variables = Variables(plain)
        variables.reads, variables.wholes = self._reads, set()
        sys.argv = arguments = Arguments([""])
        arguments.readers = set()
        folders: set[str] = set()
        getcwd = os.getcwd

        def watched() -> str:
            folders.add(reader())
            return getcwd()

        os.getcwd = watched
        namespace: dict[str, Any] = {"__name__": "__main__"}
        problem = None
        try:
            for statement in imports:
                exec(statement, namespace)  # noqa: S102 - the statements of the script
        except BaseException as e:  # noqa: BLE001 - a script may import anything
            problem = f"{statement!r} raises {type(e).__name__}: {e}"
        finally:
            os.getcwd = getcwd
            plain.clear()
            plain.update(dict.items(variables))
            environ._data = plain
            sys.argv = [""]
        self._variables, after = before, dict(os.environ)
        names = before.keys() | after.keys()
        self._changed = {name: after.get(name) for name in names if before.get(name) != after.get(name)}
        # Without __main__, which no import looks for in a folder.
        self._modules = frozenset(name.partition(".")[0] for name in sys.modules) - {"__main__"}
        self._stats = {path: _stat(path) for path in self._files()}
        return (
            problem
            or _named("all environment variables are read by", variables.wholes)
            or _named("sys.argv is read by", arguments.readers)
            or _named("the working folder is read by", folders - HARMLESS_READERS)
            or _named("a variable of the job is set:", {name for name in self._changed if is_per_trial(name)})
            or self._left_behind(output)
        )

    def _left_behind(self, output: int) -> str | None:
        """Return what the imports left behind that two processes cannot both have; None if there is nothing."""
        threads, pools = _count_threads(), _openblas_threads()
        self._generators, unknown = _generators()
        descriptors = {int(name) for name in os.listdir("/proc/self/fd")}
        descriptors = {fd for fd in descriptors - self._own if _is_open(fd)}
        with open("/proc/self/maps") as maps:
            shared = sum(" rw-s " in line for line in maps)
        tempfile = sys.modules.get("tempfile")
        try:
            printed = os.read(output, 200).decode("utf-8", "replace")
        except BlockingIOError:
            printed = ""
        found = {
            f"the imports print {printed!r}": bool(printed),
            f"the imports start threads ({threads} instead of {1 + pools})": threads > 1 + pools,
            "Python threads run after the imports": len(sys._current_frames()) > 1,
            f"the imports leave files or devices open ({len(descriptors)})": bool(descriptors),
            "the imports leave memory that processes share": bool(shared),
            "the imports start a process": _has_children(),
            "the imports start a timer": any(signal.getitimer(signal.ITIMER_REAL)),
            "the imports make temporary files": getattr(tempfile, "_name_sequence", None) is not None,
            "the imports install a tracer": bool(sys.gettrace() or sys.getprofile()),
            "the imports make random generators": unknown,
        }
        return next((reason for reason, applies in found.items() if applies), None)

    def _files(self) -> set[str]:
        files = {vars(module).get("__file__") for module in list(sys.modules.values()) if hasattr(module, "__dict__")}
        return {path for path in files if isinstance(path, str) and os.path.isabs(path)} | set(sys.path)

    def stale(self) -> str | None:
        """Return which file changed since the imports; None if no file did."""
        changed = (path for path, stat in self._stats.items() if _stat(path) != stat)
        return next((f"{path} has changed" for path in changed), None)

    def problem(self, order: dict[str, Any]) -> str | None:
        """Return why an order cannot be a fork; None if it can."""
        env = order["env"]
        differing = {name for name in self._reads if self._variables.get(name) != env.get(name)}
        other = {n for n in self._variables.keys() | env.keys() if self._variables.get(n) != env.get(n)}
        other = {name for name in other - {TOKEN_VARIABLE} if not is_per_trial(name)}
        if differing or other:
            return _named("the imports would have read another value of", differing or other)
        if self._token is None or len(env.get(TOKEN_VARIABLE, "").encode()) != len(self._variables[TOKEN_VARIABLE]):
            return "the process could not be marked"
        for folder in _folders(order):
            try:
                names = os.listdir(folder)
            except OSError as e:
                return str(e)
            hidden = {name.partition(".")[0] for name in names if _is_module(folder, name)}
            hidden &= self._modules | {"sitecustomize", "usercustomize"}
            read = {name for module, name in FILES_AT_IMPORT.items() if module in self._modules}
            if hidden or read & set(names):
                return _named(f"in {folder} is a file that the imports would have read:", hidden or read)
        return None

    def fork(self, order: dict[str, Any]) -> Forked | None:
        """Return the training process of an order; None, with a line on stderr, if it must start cold.

        In the new process, raise the exception whose exit status is that of the script.
        """
        argv = order["argv"]
        if problem := self.problem(order):
            name = order["env"].get("TRAINING_JOB_NAME", argv[0])
            os.write(2, f"{name} starts cold: {problem}\n".encode())
            return None
        output, writing = os.pipe()
        supervisor = os.getpid()
        if self.is_spared:
            gc.freeze()  # those of the supervisor, too
        pid = os.fork()
        if pid:
            os.close(writing)
            return Forked(pid, output)
        try:
            ended = self._become(order, writing, supervisor)
        except BaseException:  # noqa: BLE001 - it must not go on as a supervisor
            os.write(2, traceback.format_exc().encode())
            os._exit(127)
        raise ended

    def _become(self, order: dict[str, Any], output: int, supervisor: int) -> SystemExit:
        """Take on all that a new process of the order would have."""
        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != supervisor:  # it died between fork and prctl
            os._exit(1)
        os.setsid()
        os.umask(0o022)
        null = os.open(os.devnull, os.O_RDONLY)
        for target, fd in enumerate((null, output, output)):
            os.dup2(fd, target)
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and _is_open(int(name)):
                os.close(int(name))
        os.chdir(order["cwd"])
        env = {name: value for name, value in order["env"].items() if self._changed.get(name, "") is not None}
        env |= {name: value for name, value in self._changed.items() if value is not None}
        os.environ.clear()
        os.environ.update(env)
        # What /proc shows of a process is the memory of its program's start.
        ctypes.memmove(self._token, env[TOKEN_VARIABLE].encode(), len(env[TOKEN_VARIABLE]))
        refresh_modules(os.getcwd())
        for generator in self._generators:
            generator.state = type(generator)().state
        sys.orig_argv = list(order["argv"])
        sys.path[:0] = _folders(order)
        known = frozenset(sys.modules) if self.is_spared else None
        sys.modules["__main__"] = new_main()
        words = order["argv"][2:]
        ended: SystemExit
        if words[0] == "-m":
            sys.argv = ["-m", *words[2:]]
            ended = self._endings.of_module(words[1], known)
        else:
            sys.argv = words
            ended = self._endings.of_script(libc, os.path.join(os.getcwd(), words[0]), known)
        return ended


def new_main() -> ModuleType:
    """Return an empty ``__main__``, as an interpreter has it before its program."""
    import builtins
    from importlib.machinery import BuiltinImporter

    main = ModuleType("__main__")
    vars(main).update(__annotations__={}, __builtins__=builtins, __loader__=BuiltinImporter)
    return main


def refresh_modules(folder: str) -> None:
    """Give modules the state that their import would have given them in this process."""
    import importlib
    import time

    if "importlib.metadata" in sys.modules:
        importlib.invalidate_caches()
    else:  # since Python 3.13, that imports it
        for finder in list(sys.path_importer_cache.values()):
            if finder is not None and hasattr(finder, "invalidate_caches"):
                finder.invalidate_caches()
    for name, variable in FOLDER_AT_IMPORT.items():
        if name in sys.modules:
            setattr(sys.modules[name], variable, folder)
    if logging := sys.modules.get("logging"):
        nanoseconds = isinstance(logging._startTime, int)  # since Python 3.13
        logging._startTime = time.time_ns() if nanoseconds else time.time()  # type: ignore[attr-defined]
    if processes := sys.modules.get("multiprocessing.process"):
        processes.current_process().authkey = os.urandom(32)
    if threading := sys.modules.get("threading"):
        threading.main_thread()._set_native_id()
    _refresh_pytorch(folder)


def _refresh_pytorch(folder: str) -> None:
    # Python reseeds ``random`` by itself, and ``Warm`` NumPy's generators.
    for generator in _seeded_at_import():
        generator.seed()
    if dummy := getattr(sys.modules.get("sympy.core.symbol"), "Dummy", None):
        dummy._base_dummy_index = dummy._prng.randint(10**6, 9 * 10**6)  # as sympy does
    if torch := sys.modules.get("torch"):
        torch.default_generator.seed()
    for (module, setting), (variable, name) in TORCH_FILES.items():
        settings = getattr(sys.modules.get(module), "_config", {})
        if setting in settings and variable not in os.environ:
            path = os.path.normpath(os.path.join(folder, name))
            if hasattr(settings[setting], "default"):  # since PyTorch 2.6
                settings[setting].default = path
            else:
                settings[setting] = path


def _folders(order: dict[str, Any]) -> list[str]:
    """Return the folders of sys.path that only this order has: that of its program, and the first of PYTHONPATH."""
    first = os.path.realpath(order["cwd"])
    if order["argv"][2] != "-m":
        first = os.path.dirname(os.path.realpath(os.path.join(first, order["argv"][2])))
    return [*([] if sys.flags.safe_path else [first]), *order["warm"]["path"]]


def _given_variables() -> dict[str, str]:
    """Return the variables with which this process was started; the interpreter sets LC_CTYPE itself [PEP 538]."""
    with open("/proc/self/environ", "rb") as file:
        pairs = [line.partition(b"=") for line in file.read().split(b"\0") if line]
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def _is_module(folder: str, name: str) -> bool:
    path = f"{folder}/{name}"
    return name.endswith((".py", ".pyc", ".so")) or os.path.exists(f"{path}/__init__.py")


def _named(what: str, names: set[str]) -> str | None:
    return f"{what} {', '.join(sorted(names)[:5])}" if names else None


def _stat(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:  # that of the listing itself
        return False
    return True


def _has_children() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _count_threads() -> int:
    """Return the number of threads without those of jemalloc, which handles forks and frees memory only."""
    count = 0
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/comm") as comm:
            count += comm.read().strip() != "jemalloc_bg_thd"
    return count


def _openblas_threads() -> int:
    """Return the number of threads of OpenBLAS's pools, which end before a fork and come back when they are needed."""
    with open("/proc/self/maps") as maps:
        paths = {line.split()[-1] for line in maps if "openblas" in line}
    threads = 0
    for path in paths:
        library = ctypes.CDLL(path)
        found = (getattr(library, name)() for name in OPENBLAS_THREADS if hasattr(library, name))
        threads += next(found, 1) - 1
    return threads


def _seeded_at_import() -> Iterator[Any]:
    for module, paths in SEEDED_AT_IMPORT.items():
        if module in sys.modules:
            yield from (attrgetter(path)(sys.modules[module]) for path in paths)


def _generators() -> tuple[list[Any], bool]:
    """Return NumPy's bit generators with a seed of the system, and whether there are others whose seed is not known.

    All forks would share their states. Python's own generators cannot tell where their seed is from.
    """
    import random

    tempfile, numpy = sys.modules.get("tempfile"), sys.modules.get("numpy.random")
    found = gc.get_objects()
    known = {id(random._inst), *map(id, _seeded_at_import())}
    if tempfile is not None:  # these seed themselves again in another process
        known |= {id(getattr(each, "_rng", None)) for each in found if type(each) is tempfile._RandomNameSequence}
    unknown = [
        each
        for each in found
        if issubclass(type(each), random.Random) and type(each) is not random.SystemRandom and id(each) not in known
    ]
    seeded: list[Any] = []
    for each in found:
        if numpy is None or not issubclass(type(each), numpy.BitGenerator):
            continue
        entropy = getattr(each.seed_seq, "entropy", None)
        if isinstance(entropy, int) and entropy < 1 << 64:  # given in the code: the same in each process
            continue
        fresh = repr(type(each)(numpy.SeedSequence(entropy)).state) == repr(each.state)
        (seeded if fresh else unknown).append(each)
    return seeded, bool(unknown)
