"""Measure `sm-tuning check` on each hostile spec file of the tests: exit code, CPU time and the largest memory."""

import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

CASES = runpy.run_path(str(Path(__file__).parents[2] / "tests" / "cli" / "test_hostile_files.py"))
#: The bars, of CPU time, since wall time depends on what else the machine does.
SECONDS, MEGABYTES = 1.0, 200.0


def measure(path: Path) -> tuple[int, float, float]:
    """Return exit code, CPU seconds and largest memory in MB of one command."""
    with subprocess.Popen(
        [Path(sys.executable).with_name("sm-tuning"), "check", path],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    files = {"plain": (CASES["SPEC"], "yaml")}
    files |= {name: (f"x: {value}\n", "yaml") for name, value in CASES["VALUES"].items()}
    files |= {name: (text, "yaml") for name, text in CASES["FILES"].items()}
    files |= {f"{name} (JSON)": (text, "json") for name, text in CASES["JSON"].items()}
    print(f"{'file':45}{'exit code':>10}{'CPU s':>8}{'MB':>7}")
    slow = wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, (text, ending) in files.items():
            path = Path(folder, f"tuning.{ending}")
            path.write_text(text)
            code, seconds, megabytes = measure(path)
            slow += seconds > SECONDS or megabytes > MEGABYTES
            wrong += code != (0 if name == "plain" else 2)
            print(f"{name:45}{code:>10}{seconds:>8.2f}{megabytes:>7.0f}")
    print(f"{slow} of {len(files)} above {SECONDS:g} s or {MEGABYTES:g} MB; {wrong} with another exit code than 2")


if __name__ == "__main__":
    main()
