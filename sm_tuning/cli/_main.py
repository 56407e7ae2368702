"""The command ``sm-tuning``: the table of its commands, and how each of them ends."""

from __future__ import annotations

import logging
import sys
from typing import Any

import click

from sm_tuning.cli._exit import EXPECTED, MEANINGS, complain, exit_code
from sm_tuning.cli._lazy import Entry, LazyGroup

_HERE = "sm_tuning.cli"

#: Every command, in the order of use.
COMMANDS = {
    "check": Entry(f"{_HERE}._check:check", "Check a spec file before a dollar is spent."),
    "render": Entry(f"{_HERE}._render:render", "Print the request that a spec file makes."),
    "launch": Entry(f"{_HERE}._launch:launch", "Start the tuning job of a spec file."),
    "list": Entry(f"{_HERE}._follow:list_", "List the tuning jobs, the newest first."),
    "status": Entry(f"{_HERE}._follow:status", "Say how far a tuning job is."),
    "wait": Entry(f"{_HERE}._follow:wait", "Wait until a tuning job ends, showing its progress."),
    "stop": Entry(f"{_HERE}._follow:stop", "Stop a tuning job and its running trials."),
    "trials": Entry(f"{_HERE}._frames:trials", "The trials of tuning jobs, one row each."),
    "curves": Entry(f"{_HERE}._frames:curves", "The metrics of all trials over time."),
    "logs": Entry(f"{_HERE}._frames:logs", "The log lines of the trials."),
    "errors": Entry(f"{_HERE}._frames:errors", "Why trials failed."),
    "utilization": Entry(f"{_HERE}._frames:utilization", "How busy the machines were."),
    "cost": Entry(f"{_HERE}._frames:cost", "What the trials cost."),
    "report": Entry(f"{_HERE}._look:report", "Write everything about tuning jobs to one HTML file."),
    "compare": Entry(f"{_HERE}._look:compare", "Tuning jobs beside each other, one row each."),
    "export": Entry(f"{_HERE}._export:export", "Write tuning jobs for TensorBoard, MLflow, W&B or Optuna."),
    "advise": Entry(f"{_HERE}._advise:advise", "What to change in the next tuning job, and what in this one says so."),
    "cache": Entry(f"{_HERE}._cache:cache", "Results of finished trials, kept on disk."),
    "gate": Entry(f"{_HERE}._gate:gate", "Fail a pipeline when the best model is not good enough."),
    "import": Entry(f"{_HERE}._import:import_", "Write a spec file from a Weights & Biases sweep."),
    "register": Entry(f"{_HERE}._register:register", "Register the best model of a tuning job in the Model Registry."),
    "schema": Entry(f"{_HERE}._schema:schema", "Print the JSON Schema of a spec file."),
    "local": Entry(f"{_HERE}._local:local", "The SageMaker on this machine."),
}


class Program(LazyGroup):
    """The outermost group: turns errors into one sentence and an exit code; a bug keeps its traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command line and leave with its exit code."""
        settings: dict[str, bool] = {}
        kwargs = {**kwargs, "standalone_mode": False, "obj": settings, "prog_name": "sm-tuning"}
        try:
            code = super().main(*args, **kwargs)
        except EXPECTED as error:
            complain(error, verbose=settings.get("verbose", False))
            code = exit_code(error)
        sys.exit(code or 0)


def _codes() -> str:
    return "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in MEANINGS.items()) + "."


@click.group(cls=Program, name="sm-tuning", entries=COMMANDS, epilog=_codes())
@click.option("-v", "--verbose", is_flag=True, help="Log on stderr what is done, and show the traceback of an error.")
@click.version_option(package_name="sm-tuning", prog_name="sm-tuning")
@click.pass_obj
def main(settings: dict[str, bool], *, verbose: bool) -> None:
    """Tune hyperparameters on SageMaker, on AWS or on this machine.

    A spec file says what to tune; answers come as tables, CSV, JSON or Parquet on stdout, words on stderr.
    """
    settings["verbose"] = verbose
    if verbose:
        logging.basicConfig(stream=sys.stderr, format="%(relativeCreated)6.0f ms %(name)s: %(message)s")
        logging.getLogger("sm_tuning").setLevel(logging.DEBUG)
