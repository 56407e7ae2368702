"""The supervisor of a training process: output without loss, ends in good order, nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from _training import wait_for
from hypothesis import given
from hypothesis import strategies as st

from sm_tuning.executor._container import LogWriter
from sm_tuning.executor._metrics import LONGEST_MESSAGE, LogFollower, events, last_error
from sm_tuning.executor._process import Command, Container, Files, kill_leftovers, wait_until_free
from sm_tuning.executor._supervisors import Supervisors


@pytest.fixture
def files(processes, tmp_path):
    return Files(tmp_path)


@pytest.fixture(scope="module", autouse=True)
def supervisors():
    """Yield where all supervisors of the module come from."""
    global SUPERVISORS  # noqa: PLW0603
    SUPERVISORS = Supervisors()
    yield SUPERVISORS
    SUPERVISORS.close()


def container(files, source, grace=0.5, **env):
    command = Command([sys.executable, "-c", source], {"PATH": os.environ["PATH"], **env}, files.folder)
    return Container(
        command, files, step="train", grace=grace, token="token-" + files.folder.name, supervisors=SUPERVISORS
    )


def run(files, source, **options):
    with container(files, source, **options) as one:
        while one.wait(5):
            pass
    return files.read_exit("train")


def lines_of(files):
    follower = LogFollower(files.log)
    found = []
    while more := follower.read():
        found += more
    return [text for _, text in found]


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_hundred_thousand_lines_arrive_in_order(files):
    ended = run(files, "for i in range(100_000): print(f'line {i}')")
    assert ended.code == 0
    assert lines_of(files) == [f"line {i}" for i in range(100_000)]


def test_output_of_every_odd_kind_is_kept(files):
    source = r"""
import sys
out = sys.stdout.buffer
out.write(b"a\tb\n\n" + b"bad \xff byte\n" + b"crlf\r\n" + "é\n".encode() + b"x" * 3_000_000 + b"\nno newline")
"""
    assert run(files, source).code == 0
    found = lines_of(files)
    assert found[:5] == ["a#011b", "", "bad \ufffd byte", "crlf#015", "é"]
    assert "".join(found[5:-1]) == "x" * 3_000_000
    assert found[-1] == "no newline"


def test_lines_are_stamped_when_they_arrive(files):
    source = "import os, time\nprint('a', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('b')"
    before = time.time() * 1000
    with container(files, source) as supervised:
        wait_for(lambda: files.log.exists() and lines_of(files) == ["a"], 5)
        between = time.time() * 1000
        (files.folder / "go").touch()
        while supervised.wait(5):
            pass
    (first, _), (second, _) = LogFollower(files.log).read()
    assert before - 1 <= first <= between
    assert between - 1 <= second


def test_lines_are_in_the_file_while_the_process_still_runs(files):
    with container(files, "import time; print('now', flush=True); time.sleep(60)"):
        wait_for(lambda: files.log.exists() and lines_of(files) == ["now"], 5)


@pytest.mark.parametrize(("source", "code"), [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_the_exit_record_tells_how_it_ended(files, source, code):
    ended = run(files, source)
    assert ended.code == code
    assert ended.started <= ended.ended


def test_a_program_that_cannot_be_started_ends_with_127(files):
    command = Command(["/no/such/program"], {}, files.folder)
    with Container(command, files, step="train", grace=1, token="t", supervisors=SUPERVISORS) as one:
        while one.wait(5):
            pass
    assert files.read_exit("train").code == 127
    assert "cannot start /no/such/program" in lines_of(files)[0]


def test_a_script_has_the_umask_of_a_container_whatever_that_of_the_server(files):
    before = os.umask(0o077)
    try:
        run(files, "import os; print(oct(os.umask(0)))")
    finally:
        os.umask(before)
    assert lines_of(files) == ["0o22"]


IGNORES_TERM = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print('not yet', flush=True))
print('ready', flush=True)
while True: time.sleep(0.05)
"""


def test_stop_is_sigterm_then_after_the_grace_sigkill(files):
    with container(files, IGNORES_TERM, grace=0.3) as one:
        wait_for(lambda: files.log.exists() and lines_of(files), 5)
        one.stop()
        while one.wait(5):
            pass
    assert files.read_exit("train").signal == signal.SIGKILL
    assert lines_of(files) == ["ready", "not yet"]


def test_a_stop_that_comes_before_the_process_is_started_ends_it_in_good_order(files):
    with container(files, "import time; time.sleep(300)") as one:
        one.stop()
        while one.wait(5):
            pass
    ended = files.read_exit("train")
    assert (ended.stopped, ended.signal) == (True, signal.SIGTERM)


def test_children_that_outlive_the_main_process_are_killed(files):
    source = "import subprocess, sys; p = subprocess.Popen(['sleep', '300']); print(p.pid)"
    ended = run(files, source)
    assert ended.code == 0
    assert not alive(int(lines_of(files)[0]))


def test_a_child_that_left_the_group_is_found_by_its_token(files):
    source = (
        "import subprocess; p = subprocess.Popen(['sleep', '300'], start_new_session=True,"
        " stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); print(p.pid)"
    )
    run(files, source)
    pid = int(lines_of(files)[0])
    assert alive(pid)
    assert kill_leftovers(files) == 1
    wait_for(lambda: not alive(pid), 5)


def test_processes_of_others_are_left_alone(files):
    run(files, "pass")
    with subprocess.Popen(["sleep", "300"]) as other:
        record = json.loads(files.process.read_text())
        time_of_other = psutil.Process(other.pid).create_time()
        files.process.write_text(  # as if the system had used the id again
            json.dumps({**record, "pid": other.pid, "started": time_of_other - 3600, "token": "gone"})
        )
        assert kill_leftovers(files) == 0
        assert other.poll() is None
        other.kill()


def test_when_the_server_is_gone_the_group_dies_and_there_is_no_exit_record(files):
    source = "import os, time; print(os.getpid(), flush=True); time.sleep(300)"
    with container(files, source) as one:
        pid = int(wait_for(lambda: files.log.exists() and lines_of(files), 5)[0])
        one.abandon()
        assert wait_until_free(files, 5)
    assert not alive(pid)
    assert files.read_exit("train") is None


SLEEPS = "import os, time; print(os.getpid(), flush=True); time.sleep(300)"


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
def test_a_script_dies_with_its_killed_supervisor(files, frozen):
    with container(files, SLEEPS):
        pid = int(wait_for(lambda: files.log.exists() and lines_of(files), 5)[0])
        if frozen:
            os.kill(pid, signal.SIGSTOP)
            wait_for(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, 5)
        psutil.Process(pid).parent().kill()
        wait_for(lambda: not alive(pid), 5)
    assert files.read_exit("train") is None


def test_what_a_killed_supervisor_leaves_behind_is_killed_as_a_leftover(files):
    source = "import subprocess, time; print(subprocess.Popen(['sleep', '300']).pid, flush=True); time.sleep(300)"
    with container(files, source):
        pid = int(wait_for(lambda: files.log.exists() and lines_of(files), 5)[0])
        psutil.Process(files.read_process()).parent().kill()
        assert wait_until_free(files, 5)
        assert kill_leftovers(files) >= 1
    wait_for(lambda: not alive(pid), 5)


@given(st.binary(max_size=400), st.lists(st.integers(1, 50), max_size=20))
def test_however_output_is_cut_into_pieces_the_lines_are_the_same(tmp_path_factory, data, sizes):
    path = tmp_path_factory.mktemp("log") / "log"
    writer = LogWriter(str(path))
    rest = data
    for size in sizes:
        writer.feed(rest[:size])
        rest = rest[size:]
    writer.feed(rest)
    writer.end()
    expected = data.split(b"\n")
    expected = expected if expected[-1] else expected[:-1]
    found = [text for _, text in LogFollower(path).read()]
    shown = {number: f"#{number:03o}" for number in range(32)}
    assert found == [line.decode("utf-8", "replace").translate(shown) for line in expected]


@given(st.text(alphabet="aé€😀", min_size=1, max_size=60))
def test_long_lines_are_split_between_characters_and_nothing_is_lost(unit):
    text = unit * (LONGEST_MESSAGE // len(unit) + 1)
    parts = [message for _, message in events([(1, text)])]
    assert "".join(parts) == text
    assert all(len(part.encode()) <= LONGEST_MESSAGE for part in parts)


def test_the_last_error_is_the_end_of_the_last_traceback(tmp_path):
    path: Path = tmp_path / "log"
    body = [
        "Traceback (most recent call last):",
        '  File "x.py", line 1',
        "KeyError: 'a'",
        "",
        "During handling of the above exception, another exception occurred:",
        "",
        "Traceback (most recent call last):",
        '  File "x.py", line 2',
        "ValueError: real reason",
        "cleaning up",
    ]
    path.write_text("".join(f"1 {line}\n" for line in body))
    assert last_error(path) == "ValueError: real reason"
