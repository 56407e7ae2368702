"""Program that writes Weights & Biases' offline runs by its public API; it reads them as JSON from stdin.

It is a process of its own, because the package keeps state for the whole process and starts a service that lives as
long as the process. It imports nothing of sm_tuning.
"""

from __future__ import annotations

import json
import sys

import wandb


def main() -> None:
    """Write every run."""
    given = json.load(sys.stdin)
    for run in given["runs"]:
        settings = wandb.Settings(
            mode="offline",
            root_dir=given["folder"],
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
    wandb.teardown()


if __name__ == "__main__":
    main()
