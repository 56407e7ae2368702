"""What commands that read cost, each in a process of its own that starts without a cache.

python -m benchmarks.reading [--beside PYTHON ...]    prints a Markdown table of medians

``report`` reads the job of ``benchmarks.report`` from an endpoint without latency. ``logs`` and ``trials`` read a
finished job of 120 trials and 1,000,000 log lines from a local SageMaker of its own. Processor time counts loading the
libraries. ``--beside`` measures other installations in turn with this one, so that both see the same load.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks._endpoint import endpoint

KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_DEFAULT_REGION": "us-east-1"}
JOB = "tuning-000"  # of benchmarks.local_scale.fill
LIMITS = {
    "report of 500 trials": "3 s",
    "report of 2,000 trials": "6 s",
    "trials": "0.8 CPU s",
    "logs": "15 s, 400 MB",
}
_PACKAGE = ("-m", "sm_tuning")
HEAD = (
    "| command | of | CPU s | wall s | peak MB | limit | CPU s of the server | its peak MB |\n"
    "|---|---|---:|---:|---:|---|---:|---:|"
)


class Cost(NamedTuple):
    """What a command took; the server's part is nan where it is no part of the package."""

    cpu: float
    wall: float
    megabytes: float
    server_cpu: float = float("nan")
    server_megabytes: float = float("nan")


def run(python: str, arguments: list[str], environ: Mapping[str, str], *, program: Sequence[str] = _PACKAGE) -> Cost:
    """Run a command of the package, or of another program for Python, as a cold process."""
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "output").open("wb") as output:
        (Path(folder) / "prices.yaml").write_text("ml.m5.xlarge: 0.23\n")
        given = {**os.environ, **environ, "SM_TUNING_CACHE_DIR": str(Path(folder) / "cache"), "OMP_NUM_THREADS": "1"}
        given.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
        began = time.perf_counter()
        process = subprocess.Popen(
            [python, *program, *arguments], cwd=folder, env=given, stdout=output, stderr=subprocess.PIPE
        )
        assert process.stderr is not None
        errors = process.stderr.read().decode()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed: {errors}")
    peak = used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return Cost(used.ru_utime + used.ru_stime, wall, peak)


@contextmanager
def server(python: str, folder: str) -> Iterator[dict[str, Any]]:
    """Run the local SageMaker of an installation on a state dir."""
    base = [python, "-m", "sm_tuning", "local"]
    started = subprocess.run(
        [*base, "start", "--state-dir", folder], cwd=folder, capture_output=True, text=True, check=True
    )
    try:
        yield json.loads(started.stdout)
    finally:
        subprocess.run([*base, "stop", "--state-dir", folder], cwd=folder, capture_output=True, check=True)


def used_by(pid: int) -> tuple[float, float]:
    """Return the processor time of a running process, and its peak memory in megabytes; nan on other systems."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return float("nan"), float("nan")
    peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), int(peak) / 2**10


def local(python: str, folder: str, arguments: list[str]) -> Cost:
    """Run a command against a local SageMaker that has just been started."""
    with server(python, folder) as info:
        environ = {
            "AWS_ENDPOINT_URL": info["endpoint_url"],
            "AWS_ACCESS_KEY_ID": info["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": info["secret_access_key"],
            "AWS_DEFAULT_REGION": info["region"],
        }
        before, _ = used_by(info["pid"])
        cost = run(python, arguments, environ)
        after, peak = used_by(info["pid"])
    return cost._replace(server_cpu=after - before, server_megabytes=peak)


def fill(folder: str, trials: int, lines: int) -> None:
    from benchmarks.local_scale.fill import fill_jobs, fill_logs  # noqa: PLC0415  (in a process of its own)
    from sm_tuning.local._config import resolve_state_dir  # noqa: PLC0415

    state = resolve_state_dir(folder)
    fill_jobs(state, 1, trials, emissions=20)
    if lines:
        fill_logs(state, trials, lines // trials, of_a_job=trials)


def show(name: str, costs: Mapping[str, list[Cost]]) -> None:
    for place, found in costs.items():
        median = Cost(*(statistics.median(column) for column in zip(*found, strict=True)))
        print(
            f"| {name} | {place} | {median.cpu:.2f} | {median.wall:.1f} | {median.megabytes:.0f} "
            f"| {LIMITS.get(name, '')} | {median.server_cpu:.2f} | {median.server_megabytes:.0f} |".replace("nan", ""),
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reports", type=int, nargs="*", default=[500, 2000], metavar="TRIALS")
    parser.add_argument("--trials", type=int, default=120, help="of the local job")
    parser.add_argument("--lines", type=int, default=1_000_000, help="log lines of the local job; 0 leaves logs out")
    parser.add_argument("--beside", nargs="*", default=[], metavar="PYTHON", help="interpreters of other installations")
    parser.add_argument("--fill", metavar="FOLDER", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.fill:
        fill(given.fill, given.trials, given.lines)
        return
    pythons = {"this": sys.executable, **{python: python for python in given.beside}}
    print(f"{os.cpu_count()} processors, load before the start {os.getloadavg()[0]:.1f}\n\n{HEAD}", flush=True)
    # Loading pandas alone: on a machine that does other work, the figures below are to be compared with it.
    show("import pandas", {"this": [run(sys.executable, ["import pandas"], {}, program=("-c",))]})
    for trials in given.reports:
        costs: dict[str, list[Cost]] = {place: [] for place in pythons}
        with endpoint("benchmarks.report", "--serve", "--trials", trials) as url:
            for _ in range(given.rounds):
                for place, python in pythons.items():
                    arguments = ["report", "bench", "-o", "report.html", "--prices", "prices.yaml"]
                    costs[place].append(run(python, arguments, {**KEYS, "AWS_ENDPOINT_URL": url}))
        show(f"report of {trials:,} trials", costs)
    commands = {"trials": ["trials", JOB], **({"logs": ["logs", JOB]} if given.lines else {})}
    with tempfile.TemporaryDirectory() as folder:
        counts = ["--trials", str(given.trials), "--lines", str(given.lines)]
        subprocess.run([sys.executable, "-m", "benchmarks.reading", "--fill", folder, *counts], check=True)
        for name, arguments in commands.items():
            costs = {place: [] for place in pythons}
            for _ in range(given.rounds):
                for place, python in pythons.items():
                    costs[place].append(local(python, folder, arguments))
            show(name, costs)


if __name__ == "__main__":
    main()
