"""A program of its own that writes Weights & Biases' offline runs by its public API; reads them as JSON from stdin.

A process of its own, because the package keeps state for the whole process and starts a service that lives as long.
It imports nothing of sm_tuning.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import wandb


def main() -> None:
    """Write every run."""
    given = json.load(sys.stdin)
    for run in given["runs"]:
        _write(given["folder"], run)
    wandb.teardown()


def _write(folder: str, run: dict[str, Any]) -> None:
    settings = wandb.Settings(
        mode="offline",
        root_dir=folder,
        silent=True,
        console="off",
        disable_git=True,
        save_code=False,
        host="",
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
    )
    made = wandb.init(settings=settings, **run["init"])
    for step, row in run["history"]:
        made.log(row, step=step)
    made.summary.update(run["summary"])
    made.finish(exit_code=run["exit_code"])


if __name__ == "__main__":
    main()
