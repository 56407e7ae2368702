"""Programs that must come to the same in a cold and in a warm process."""

WHAT_A_SCRIPT_SEES = """
import json, logging, os, resource, signal, sys, threading, time, warnings
print(sys.argv, sys.orig_argv, sys.path, sys.flags, sys.executable, sys.prefix, os.getcwd())
print(__name__, __file__, __spec__, __package__, __doc__, type(__loader__), sorted(globals()), __builtins__)
print(os.listdir("/proc/self/fd"), os.umask(0), os.getpgid(0) == os.getsid(0) == os.getpid())
print({**os.environ, "SM_TUNING_CONTAINER": "", "SM_HPS": ""}, list(os.environ))
print([resource.getrlimit(number) for number in range(16)], os.sched_getaffinity(0), os.nice(0))
print([str(signal.getsignal(n)) for n in range(1, 65)], signal.pthread_sigmask(signal.SIG_BLOCK, ()))
print(repr(sys.stdin.read()), sys.stdout, sys.stderr, sys.stdin, sys.stdout.line_buffering, type(sys.stdout.buffer))
print(sys._getframe().f_back, sys.exc_info(), sys.gettrace(), hasattr(sys, "last_type"), warnings.filters)
print(threading.main_thread().native_id == os.getpid(), threading.active_count(), time.process_time() < 5)
print("importlib.metadata" in sys.modules)
print(abs(logging._startTime - time.time()) < 60, len(os.environ["SM_TUNING_CONTAINER"]))
print(os.environ["SM_TUNING_CONTAINER"].encode() in open("/proc/self/environ", "rb").read())
warnings.warn("deep", stacklevel=3)
"""

ENDINGS = """
import atexit, ctypes, gc, sys, weakref
class Kept:
    pass
def generator():
    try:
        yield 1
    finally:
        print("generator ends")
kept, values, cycle = Kept(), generator(), [Kept()]
next(values)
cycle.append(cycle)
weakref.finalize(kept, print, "finalized")
references = [weakref.ref(one, lambda _: print("gone")) for one in (kept, cycle[0])]
text = open("written.txt", "w")
text.write("not flushed")
atexit.register(lambda: print(open("written.txt").read() or "empty"))
sys.stdout.write("no newline")
ctypes.CDLL(None).printf(b"from C")
"""

KEPT_BY_A_LIBRARY = """
import json, sys
class Kept:
    def __del__(self):
        print("deleted", sys is None)
json.kept = Kept()
json.text = open("written.txt", "w")
json.text.write("not flushed")
"""

MODULE = """
import sys
print(__spec__.name, __spec__.origin, __name__, sys.argv, sys.path, sys._getframe().f_back.f_code.co_name)
print(sorted(globals()))
"""

START_METHODS = """
import multiprocessing, os, sys
def square(x):
    print("child", x, __name__, sys.argv, os.getcwd())
    return x * x
if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(method, pool.map(square, [1, 2]))
"""

TRACEBACK = """
import atexit, sys
class Kept:
    def __del__(self):
        print("deleted")
kept = Kept()
atexit.register(print, "at exit")
def fails():
    raise ValueError("the reason")
fails()
"""

THREADS = """
import threading, time
threading.Thread(target=lambda: (time.sleep(0.05), print("thread"))).start()
print("main", [thread.name for thread in threading.enumerate()])
"""

NUMPY = """
import numpy as np
from numpy import linalg
matrix = np.random.default_rng(0).normal(size=(60, 60))
print((matrix @ matrix).tobytes().hex()[:2000], linalg.svd(matrix)[1].tobytes().hex())
np.random.seed(3)
print(np.random.rand())
open("made.txt", "w").write("x")
"""

BATTERY = {
    "surroundings": (WHAT_A_SCRIPT_SEES, ("train.py", "--x", "1.5", "")),
    "module": (MODULE, ("-m", "train", "--x", "1")),
    "module that fails": (f"{MODULE}\nraise KeyError('no')", ("-m", "train")),
    "module that exits": ("import sys\nsys.exit('message')", ("-m", "train")),
    "traceback, atexit, finalizers": (TRACEBACK, ("train.py",)),
    "exit code": ("import sys\nsys.exit(3)", ("train.py",)),
    "exit message": ("raise SystemExit('message')", ("train.py",)),
    "thread after main": (THREADS, ("train.py",)),
    "SIGKILL": ("import os\nos.kill(os.getpid(), 9)", ("train.py",)),
    "SIGTERM, unbuffered": ("import os\nprint('x', end='')\nos.kill(os.getpid(), 15)", ("train.py",)),
    "interrupt": ("import atexit, signal\natexit.register(print, 'bye')\nsignal.raise_signal(2)", ("train.py",)),
    "broken pipe": ("import os\nr, w = os.pipe()\nos.close(r)\nos.write(w, b'x')", ("train.py",)),
    "syntax error": ("import os\nx = = 3", ("train.py",)),
    "start methods": (START_METHODS, ("train.py",)),
    "faulthandler": ("import faulthandler, os\nfaulthandler.enable()\nprint(os.close)\nos.abort()", ("train.py",)),
    "numpy": (NUMPY, ("train.py",)),
    "the end of what stays in globals": (ENDINGS, ("train.py",)),
    "the end of what a library keeps": (KEPT_BY_A_LIBRARY, ("train.py",)),
    "the end of a library with callbacks": ("if True:\n    import logging\nlogging.getLogger()", ("train.py",)),
    "the end of a module of the script": ("import helper\nprint('main')", ("train.py",)),
}
