"""Workers of a test run: what they report, and what they leave behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from workers import LONGEST

CONFTEST = """
import os
import pytest
from workers import pytest_addoption, run_in_workers as pytest_runtestloop

def pytest_runtest_logreport(report):
    if report.failed and os.environ["TEST_RUN"] == str(os.getpid()):  # the process that forked the workers knows it
        open("failed", "w").close()

@pytest.fixture(scope="session")
def log():
    yield os.environ["LOG"]
    with open(os.environ["LOG"], "a") as file:
        file.write("closed\\n")
"""

FILES = {
    "test_first": """
        import os, time, warnings
        from pathlib import Path
        import pytest

        @pytest.fixture(scope="module")
        def shared():
            return []

        @pytest.mark.parametrize("number", range(3))
        def test_one_file_is_one_worker(shared, log, number):
            shared.append(os.getpid())
            assert shared == [os.getpid()] * (number + 1)
            print("printed by", number)

        def test_warns():
            warnings.warn("of a worker", stacklevel=1)

        @pytest.mark.skip(reason="for a reason")
        def test_skipped(): ...
        """,
    "test_second": """
        def test_fails(log):
            print("printed before")
            assert 1 == 2
        """,
    "test_third": """
        import os, signal

        def test_before(log): ...

        def test_dies():
            os.kill(os.getpid(), signal.SIGKILL)

        def test_after(tmp_path):
            assert list(tmp_path.iterdir()) == []
        """,
    "test_fourth": """
        import pytest

        @pytest.fixture(scope="module")
        def broken():
            yield
            raise ValueError("on the way down")

        def test_passes_and_its_fixture_fails(broken, log): ...
        """,
}


def run(folder: Path, *options: str, **files: str) -> tuple[int, str, list[str]]:
    """Run these files with workers; return the exit code, what pytest showed, and what the fixture wrote."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "pytest.ini").write_text("[pytest]\n")
    for name, text in files.items():
        lines = text.splitlines()
        (folder / f"{name}.py").write_text("\n".join(line.removeprefix(" " * 8) for line in lines))
    log = folder / "log"
    log.touch()
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "LOG": str(log)}
    environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-ra", *options]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr, log.read_text().splitlines()


def test_everything_is_reported_as_in_one_process_and_a_death_as_a_failure(processes: None, tmp_path: Path) -> None:
    code, shown, closed = run(tmp_path, "--workers", "2", **FILES)
    assert code == 1, shown
    assert re.search(r"2 failed, 7 passed, 1 skipped, 1 warning, 1 error in", shown), shown
    assert "assert 1 == 2" in shown
    assert "printed before" in shown
    assert "printed by" not in shown
    assert "UserWarning: of a worker" in shown
    assert re.search(r"SKIPPED \[1\] test_first\.py:\d+: for a reason", shown), shown
    assert "FAILED test_third.py::test_dies - the worker that ran this test died of SIGKILL" in shown
    assert "ValueError: on the way down" in shown
    assert re.search(r"test_first\.py \.\.\.\.s", shown)
    assert 1 <= len(closed) <= 3  # a worker that was killed closes nothing


def test_the_first_failure_may_end_the_run(processes: None, tmp_path: Path) -> None:
    waits = """
        import time
        from pathlib import Path

        def test_has_passed(): ...

        def test_waits_for_the_failure(log):
            Path("started").touch()
            while not Path("failed").exists():
                time.sleep(0.01)

        def test_is_not_run(): ...
        """
    fails = """
        import time
        from pathlib import Path

        def test_fails():
            while not Path("started").exists():
                time.sleep(0.01)
            assert False
        """
    code, shown, closed = run(tmp_path, "--workers", "2", "-x", test_fails=fails, test_waits=waits)
    assert code == 1, shown
    assert "stopping after 1 failures" in shown
    assert "1 failed, 1 passed" in shown
    assert closed == ["closed"]


@pytest.mark.parametrize("options", [("-k", "nothing"), ("--collect-only",)])
def test_without_a_test_to_run_there_is_no_worker(processes: None, tmp_path: Path, options: tuple[str, ...]) -> None:
    code, shown, _ = run(tmp_path, "--workers", "2", *options, test_second=FILES["test_second"])
    assert code == (5 if "-k" in options else 0), shown
    assert "failed" not in shown


def test_the_files_that_come_first_exist() -> None:
    files = {path.stem for path in Path(__file__).parent.rglob("test_*.py")}
    assert [name for name in LONGEST if f"test_{name}" not in files] == []
    assert len(set(LONGEST)) == len(LONGEST)
