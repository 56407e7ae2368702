"""Warm training processes: each script of the battery comes to the same, cold and warm; and what must start cold."""

import json
import os
import signal
import subprocess
import sys
import uuid
from dataclasses import replace
from typing import NamedTuple

import psutil
import pytest
from _training import wait_for
from _warm_programs import BATTERY

from sm_tuning.executor import _ending
from sm_tuning.executor._imports import later_imports, leading_imports
from sm_tuning.executor._metrics import LogFollower
from sm_tuning.executor._process import Command, Container, Files, kill_leftovers
from sm_tuning.executor._supervisors import Preload, Supervisors, Template, shared_variables

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")


class Result(NamedTuple):
    """The end of a process, its lines, and the files of its folder."""

    exit_code: int | None
    signal: int | None
    lines: list[str]
    files: list[str]


class Workshop:
    """Runs scripts in a folder, cold and warm."""

    def __init__(self, folder):
        self.supervisors = Supervisors(warm=True)
        self.folder = folder
        self.code = folder / "code"
        self.records = None

    def command(self, source, argv, env):
        self.code.mkdir(exist_ok=True)
        (self.code / "train.py").write_text(source)
        variables = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
            "SM_HPS": json.dumps({"x": uuid.uuid4().hex}),
            "TRAINING_JOB_NAME": "job",
            "PYTHONPATH": str(self.code),
            **env,
        }
        return Command([sys.executable, "-u", *argv], variables, self.code)

    def warm(self, command):
        own = [str(self.code)]
        imports = leading_imports(self.code / "train.py")
        later = later_imports(self.code / "train.py", imports)
        preload = Preload("group", command.argv[0], shared_variables(command.env, own), imports, later)
        return replace(command, preload=preload, own_path=own)

    def start(self, command):
        self.records = Files(self.folder / uuid.uuid4().hex)
        self.records.folder.mkdir()
        token = uuid.uuid4().hex
        return Container(command, self.records, step="train", grace=1, token=token, supervisors=self.supervisors)

    def run(self, command):
        with self.start(command) as container:
            while container.wait(10):
                pass
        follower, lines = LogFollower(self.records.log), []
        while more := follower.read():
            lines += [text for _, text in more]
        ended = self.records.read_exit("train")
        made = sorted(
            f"{path.name}, {path.stat().st_size} bytes"
            for path in self.code.iterdir()
            if path.name not in ("train.py", "__pycache__")
        )
        return Result(ended.exit_code, ended.signal, lines, made)

    def settle(self, command):
        """Wait until a template, which the second trial would start, has imported; return its answer."""
        self.supervisors._template(command.preload)
        template = self.supervisors._template(command.preload)
        return template if isinstance(template, str) else wait_for(template.answer, 60)

    def both(self, source, argv=("train.py",), **env):
        """Return the results of a cold and a warm process, and the template's answer."""
        command = self.command(source, argv, env)
        answer = self.settle(self.warm(command))
        return self.run(command), self.run(self.warm(command)), answer


@pytest.fixture(scope="module")
def lean():
    """A list with the template of cold processes, which one workshop hands to the next."""
    kept = []
    yield kept
    for template in kept:
        template.close()


@pytest.fixture
def workshop(processes, lean, tmp_path):
    made = Workshop(tmp_path.resolve())
    made.supervisors._lean = lean.pop() if lean else None
    yield made
    left, made.supervisors._lean = made.supervisors._lean, None
    lean.extend([] if left is None else [left])
    made.supervisors.close()


@pytest.mark.parametrize("name", BATTERY)
def test_a_script_comes_to_the_same_cold_and_warm(workshop, name, capfd):
    workshop.code.mkdir()
    (workshop.code / "helper.py").write_text(
        "class Kept:\n    def __del__(self): print('helper ends')\nkept = Kept()\n"
    )
    source, argv = BATTERY[name]
    cold, warm, answer = workshop.both(source, argv)
    assert answer == "ready"
    assert "starts cold" not in capfd.readouterr().err

    def without_addresses(result):
        return result._replace(lines=[line for line in result.lines if not line.startswith("Current thread 0x")])

    assert without_addresses(warm) == without_addresses(cold)


#: Programs, and whether they end without the interpreter's own end.
ENDS_AT_ONCE = {
    "x = [1]; x.append(x)": True,
    "import atexit; atexit.register(print, 'at exit')": True,
    "import ctypes; ctypes.CDLL(None).printf(b'from C')": True,
    "import csv; kept = csv.reader([])": True,
    "text = open('/dev/null', 'w')": False,
    "values = (x for x in '12'); next(values)": False,
    "import json; json.kept = type('Kept', (), {'__del__': print})()": False,
    "import sys; sys.stdout.close()": False,
    "import threading, time; threading.Thread(target=time.sleep, args=(5,), daemon=True).start()": False,
}


def test_a_script_ends_at_once_if_its_end_shows_nothing_more(processes, tmp_path):
    program = f"""
import gc, json, os, sys
from importlib.machinery import SourceFileLoader
from types import ModuleType
ending = ModuleType("ending")
SourceFileLoader("ending", {_ending.__file__!r}).exec_module(ending)
gc.collect()
gc.freeze()
known, found = frozenset(sys.modules), {{}}
for source in {list(ENDS_AT_ONCE)!r}:
    pid = os.fork()
    if pid == 0:
        sys.modules["__main__"] = ModuleType("__main__")
        exec(source, vars(sys.modules["__main__"]))
        ending.leave(known)
        os._exit(7)
    found[source] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
print(json.dumps(found), flush=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    *printed, found = done.stdout.splitlines()
    assert json.loads(found.removeprefix("from C")) == ENDS_AT_ONCE
    assert printed == ["at exit"]
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("path", "is_quiet"),
    [
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", True),
        ("/env/lib/python3.12/site-packages/numpy/_core/_multiarray_umath.so", True),
        ("/env/lib/python3.12/site-packages/h5py/defs.so", False),
        ("/usr/lib/python3/dist-packages/h5py/defs.so", False),
        ("/opt/ml/code/own.so", False),
        ("/dev/nvidia0", False),
    ],
)
def test_only_known_native_code_is_left_out_of_an_end(path, is_quiet):
    assert _ending.is_quiet(path) == is_quiet


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONHASHSEED": "7"},
        {"PYTHONWARNINGS": "error"},
        {"PYTHONSAFEPATH": "1"},
        {"PYTHONBREAKPOINT": "0"},
        {"PYTHONPATH": "CODE:/somewhere"},
    ],
)
def test_variables_of_the_interpreter_mean_the_same(workshop, variables):
    variables = {name: value.replace("CODE", str(workshop.code)) for name, value in variables.items()}
    source = "import sys\nimport warnings\nprint(hash('a') if sys.flags.hash_randomization else 0, sys.path, sys.flags)"
    if "PYTHONHASHSEED" in variables:
        source += "\nprint(list({'a', 'b', 'c', 'd'}))"
    cold, warm, answer = workshop.both(source.replace("hash('a') if", "1 if"), **variables)
    assert answer == "ready"
    assert warm == cold


def test_collections_of_a_warm_trial_visit_only_what_it_has_made(workshop):
    _, warm, answer = workshop.both("import json\nimport gc\nprint(len(gc.get_objects()))")
    assert answer == "ready"
    assert int(warm.lines[0]) < 200, "those of the template and the supervisor are thousands"


def test_a_relative_folder_of_imports_is_that_of_the_trial(workshop):
    (workshop.code / "lib").mkdir(parents=True)
    (workshop.code / "lib" / "package_x.py").write_text("value = 'of the trial'")
    path = f"{workshop.code}:lib"
    cold, warm, answer = workshop.both("import json\nimport package_x\nprint(package_x.value)", PYTHONPATH=path)
    assert answer == "PYTHONPATH has lib, which depends on the working folder"
    assert warm == cold
    assert cold.lines == ["of the trial"]


def test_random_states_are_not_those_of_another_trial(workshop):
    source = """
import random
import multiprocessing
import numpy as np
print(random.random(), np.random.rand(), np.random.default_rng().random(), multiprocessing.current_process().authkey)
"""
    _, first, answer = workshop.both(source)
    second = workshop.run(workshop.warm(workshop.command(source, ["train.py"], {})))
    assert answer == "ready"
    assert not set(first.lines[0].split(" ", 3)) & set(second.lines[0].split(" ", 3))


PACKAGES = {
    "prints": ("print('hello')", "print 'hello"),
    "threads": ("import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()", "thread"),
    "files": ("kept = open('/etc/hostname')", "leave files"),
    "process": (
        (
            "import subprocess\nkept = subprocess.Popen(['sleep', '60'])\n"
            "print(kept.pid, file=open(__file__ + '.pids', 'a'))"
        ),
        "start a process",
    ),
    "variables": ("import os\nkept = dict(os.environ)", "all environment variables are read by package_x"),
    "arguments": ("import sys\nkept = sys.argv[0]", "sys.argv is read by package_x"),
    "folder": ("import os\nkept = os.getcwd()", "the working folder is read by package_x"),
    "random": ("import random\nkept = random.Random()", "random generators"),
    "shared memory": ("import multiprocessing\nkept = multiprocessing.Lock()", "memory that processes share"),
    "temporary": ("import tempfile\nkept = tempfile.mkdtemp()", "temporary files"),
    "timer": ("import signal\nsignal.setitimer(signal.ITIMER_REAL, 1000)", "timer"),
    "error": ("raise ImportError('not here')", "raises ImportError: not here"),
}


def lives(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("name", PACKAGES)
def test_imports_that_processes_cannot_share_start_cold(workshop, tmp_path, name):
    source, reason = PACKAGES[name]
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "package_x.py").write_text(source)
    path = f"{workshop.code}:{packages}"
    cold, warm, answer = workshop.both("import package_x\nprint('trained')", PYTHONPATH=path)
    assert reason in answer
    assert warm == cold
    if name == "process":  # neither the template nor the trials leave it behind
        pids = [int(pid) for pid in (packages / "package_x.py.pids").read_text().split()]
        assert len(pids) == 3
        wait_for(lambda: not any(map(lives, pids)))


def test_a_package_that_reads_a_variable_of_the_job_starts_cold(workshop, tmp_path, capfd):
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "package_x.py").write_text("import os\nvalue = os.environ.get('SM_HPS')")
    source = "import package_x\nprint(package_x.value is not None)"
    _, warm, answer = workshop.both(source, PYTHONPATH=f"{workshop.code}:{packages}")
    assert answer == "ready"
    assert warm.lines == ["True"]
    assert "job starts cold: the imports would have read another value of SM_HPS" in capfd.readouterr().err


@pytest.mark.parametrize("finalizer", ["", "    def __del__(self): print('deleted')\n"])
def test_a_cycle_that_an_import_makes_ends_like_in_a_new_interpreter(workshop, tmp_path, finalizer):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "rings.py").write_text(f"class Ring:\n    x = 1\n{finalizer}ring = Ring()\nring.own = ring\n")
    path = os.pathsep.join((str(workshop.code), str(tmp_path / "site")))
    source = "import rings\nimport gc\nprint(rings.ring.x, gc.isenabled(), gc.get_threshold())\n"

    cold, warm, answer = workshop.both(source, PYTHONPATH=path)

    assert answer == "ready"
    assert warm == cold
    assert cold.lines[1:] == (["deleted"] if finalizer else [])


def test_what_packages_import_later_is_left_out_if_no_process_can_be_forked_after_it(workshop, tmp_path):
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "package_x.py").write_text(PACKAGES["threads"][0])
    command = workshop.command(
        "import json\nprint('trained')", ["train.py"], {"PYTHONPATH": f"{workshop.code}:{packages}"}
    )
    command = workshop.warm(command)
    command = replace(command, preload=replace(command.preload, later=("import package_x",)))
    assert "thread" in workshop.settle(command)
    assert workshop.run(command).lines == ["trained"]  # cold, and starts another template
    assert wait_for(workshop.supervisors._template(command.preload).answer, 60) == "ready"
    assert workshop.run(command).lines == ["trained"]


PYTORCH = """
import sys
import torch
print("torch._dynamo" in sys.modules)
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
import sympy, torch._inductor.config
print(torch._dynamo.config.debug_dir_root, torch._inductor.config.xpu.cutlass_dir, torch.get_num_threads())
torch.manual_seed(1)
print(torch.rand(3), model(torch.ones(3)).shape, len(torch._logging._internal.log_registry.log_alias_to_log_qnames))
print(sympy.core.random.random(), sympy.core.random._assumptions_rng.random(), sympy.Dummy().dummy_index)
"""


@pytest.mark.long
def test_what_pytorch_imports_for_an_optimizer_is_that_of_the_trial(workshop):
    pytest.importorskip("torch")
    cold, warm, answer = workshop.both(PYTORCH)
    again = workshop.run(workshop.warm(workshop.command(PYTORCH, ["train.py"], {})))
    assert answer == "ready"
    assert (cold.lines[0], warm.lines[0]) == ("False", "True")
    assert cold.lines[1:-1] == warm.lines[1:-1] == again.lines[1:-1]
    assert (cold.exit_code, warm.exit_code) == (0, 0)
    assert not set(warm.lines[-1].split()) & set(again.lines[-1].split())


def test_a_changed_package_is_imported_again(workshop, tmp_path):
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "package_x.py").write_text("value = 1")
    source, path = "import package_x\nprint(package_x.value)", f"{workshop.code}:{packages}"
    _, warm, answer = workshop.both(source, PYTHONPATH=path)
    assert (warm.lines, answer) == (["1"], "ready")
    (packages / "package_x.py").write_text("value = 1000")
    again = workshop.run(workshop.warm(workshop.command(source, ["train.py"], {"PYTHONPATH": path})))
    assert again.lines == ["1000"]


def test_a_module_of_the_script_that_hides_another_one_starts_cold(workshop, capfd):
    source = "import os\nprint('x')\nimport colorsys\nprint(colorsys.__file__)"
    _, _, answer = workshop.both(source)
    (workshop.code / "selectors.py").write_text("hidden = True")
    source += "\nimport selectors\nprint(hasattr(selectors, 'hidden'))"
    _, warm, answer = workshop.both(source)
    assert answer == "ready"
    assert warm.lines[-1] == "True"
    assert "selectors" in capfd.readouterr().err


def test_the_template_may_be_killed_at_any_time(workshop):
    command = workshop.warm(workshop.command("import os\nprint('x')", ["train.py"], {}))
    assert workshop.settle(command) == "ready"
    for victims in ("warm", "lean", "both"):
        templates = {"warm": workshop.supervisors._templates.get(command.preload), "lean": workshop.supervisors._lean}
        for name, template in templates.items():
            if victims in (name, "both") and isinstance(template, Template):
                os.kill(template.pid, signal.SIGKILL)
        assert workshop.run(command).lines == ["x"]


def test_a_trial_goes_on_when_its_template_is_killed(workshop):
    source = "import os, time\nprint('begun')\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('ended')"
    command = workshop.warm(workshop.command(source, ["train.py"], {}))
    (workshop.code / "go").touch()
    assert workshop.settle(command) == "ready"
    (workshop.code / "go").unlink()
    with workshop.start(command) as container:
        pid = wait_for(workshop.records.read_process)
        template = psutil.Process(pid).parent().parent()
        assert template.pid == workshop.supervisors._templates[command.preload].pid
        template.kill()
        (workshop.code / "go").touch()
        while container.wait(10):
            pass
    assert workshop.records.read_exit("train").code == 0


def test_what_a_killed_supervisor_of_a_warm_trial_leaves_behind_is_found_by_its_token(workshop):
    source = """
import os
import time
if os.path.exists("quick"):
    raise SystemExit
pid = os.fork()
if pid == 0:
    os.setsid()
else:
    open("child", "w").write(str(pid))
time.sleep(300)
"""
    command = workshop.warm(workshop.command(source, ["train.py"], {}))
    (workshop.code / "quick").touch()
    assert workshop.settle(command) == "ready"
    (workshop.code / "quick").unlink()
    with workshop.start(command):
        child = int(wait_for(lambda: (workshop.code / "child").exists() and (workshop.code / "child").read_text()))
        pid = wait_for(workshop.records.read_process)
        psutil.Process(pid).parent().kill()
        wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    assert kill_leftovers(workshop.records) == 1
    wait_for(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_templates_end_with_the_server(workshop):
    command = workshop.warm(workshop.command("import os\nprint('x')", ["train.py"], {}))
    workshop.run(command)  # cold
    assert workshop.settle(command) == "ready"
    pids = [workshop.supervisors._lean.pid, workshop.supervisors._templates[command.preload].pid]
    for template in (workshop.supervisors._lean, workshop.supervisors._templates[command.preload]):
        template._channel.close()  # as the kernel does when the server dies
    wait_for(lambda: all(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE for pid in pids))


def test_a_template_ends_with_the_server_while_it_still_imports(processes, tmp_path):
    (tmp_path / "slow_x.py").write_text("import time\ntime.sleep(300)")
    variables = (("PATH", os.environ["PATH"]), ("PYTHONPATH", str(tmp_path)))
    template = Template(Preload("group", sys.executable, variables, ("import slow_x",)))
    assert template.answer() is None
    template._channel.close()
    wait_for(lambda: psutil.Process(template.pid).status() == psutil.STATUS_ZOMBIE)
    template.close()
