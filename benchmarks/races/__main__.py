"""Races between processes, round after round, as tables: ``python -m benchmarks.races --help``."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sm_tuning.local import stop

#: A command line as a process; it waits for its standard input to close, so that all commands begin at once.
_PROGRAM = "import sys; from sm_tuning.cli import main; sys.stdin.read(); main()"
_SPEC: Mapping[str, object] = {
    "estimator": {
        "type": "pytorch",
        "framework_version": "2.6",
        "py_version": "py312",
        "entry_point": "train.py",
        "instance_type": "ml.m5.large",
        "metric_definitions": {"score": "score=([0-9.]+);"},
    },
    "objective_metric_name": "score",
    "objective_type": "Maximize",
    "hyperparameter_ranges": {"x": {"type": "continuous", "min_value": 0.1, "max_value": 0.5}},
    "strategy": "Random",
    "max_jobs": 1,
}


class Ended(NamedTuple):
    """The end of a process: its exit code, and what it wrote to its outputs."""

    code: int
    out: str
    err: str


def at_once(commands: Sequence[Sequence[str]], state_dir: Path) -> list[Ended]:
    """Run commands of ``sm-tuning``, each in a process of its own, all beginning at the same time."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SM_TUNING_"))}
    environ["SM_TUNING_STATE_DIR"] = str(state_dir)
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *words], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environ
        )
        for words in commands
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    ended = [process.communicate() for process in running]
    return [Ended(process.returncode, *texts) for process, texts in zip(running, ended, strict=True)]


def cold_start(folder: Path, processes: int, command: Sequence[str] = ("list", "--local")) -> list[Ended]:
    """Let processes that need the server begin at once on a state dir that does not exist; then stop the server."""
    state_dir = folder / "cold"
    ended = at_once([command] * processes, state_dir)
    stop(state_dir)
    shutil.rmtree(state_dir)
    return ended


def launch_twice(folder: Path, state_dir: Path, name: str) -> list[Ended]:
    """Let two processes launch different specs under one name at once."""
    (folder / "train.py").write_text("print('score=1;')\n")
    specs = [folder / f"{number}.json" for number in (1, 2)]
    for number, path in enumerate(specs, start=1):
        path.write_text(json.dumps({**_SPEC, "max_jobs": number}))
    return at_once([["launch", str(path), "--name", name, "--local"] for path in specs], state_dir)


def has_one_winner(ended: Sequence[Ended], name: str) -> bool:
    """Return whether one launch succeeded, and the other one was told whose job has the name."""
    losers = [process for process in ended if process.code]
    return len(losers) == len(ended) - 1 and all(
        process.code == 3
        and f"there is a tuning job '{name}' (" in process.err
        and "another spec made it" in process.err
        for process in losers
    )


def main() -> None:
    """Run the rounds and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.races", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="rounds of each race")
    parser.add_argument("--processes", type=int, default=3, help="processes that start the server at once")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds, failed = [], []
        for _ in range(options.rounds):
            began = time.perf_counter()
            failed += [process for process in cold_start(folder, options.processes) if process.code]
            seconds.append(time.perf_counter() - began)
        total = options.rounds * options.processes
        print(f"cold starts: {total - len(failed)} of {total} succeeded; a round took {max(seconds):.1f} s at most")
        state_dir = folder / "state"
        rounds = {
            f"race-{number}": launch_twice(folder, state_dir, f"race-{number}") for number in range(options.rounds)
        }
        right = [ended for job, ended in rounds.items() if has_one_winner(ended, job)]
        print(f"launches of one name: one winner, and a loser that knows whose, in {len(right)} of {options.rounds}")
        stop(state_dir)
        failed += [process for ended in rounds.values() if ended not in right for process in ended]
        for process in failed:
            print(f"exit code {process.code}: {process.err.strip()}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
