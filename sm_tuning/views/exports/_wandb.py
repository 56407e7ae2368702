"""Weights & Biases: a folder of offline runs, one for each trial, that ``wandb sync`` uploads."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sm_tuning._errors import MissingExtraError, SpecError
from sm_tuning._statuses import TrainingStatus
from sm_tuning.views.exports._info import JobInfo, TrialInfo
from sm_tuning.views.exports._places import new_folder, refuse_taken
from sm_tuning.views.exports._target import OBJECTIVE, Exported, facts_of_job, facts_of_trial, name_of

DEFAULT_PROJECT = "sm-tuning"
_WORKER = Path(__file__).with_name("_wandb_worker.py")
_FACTS, _SCRATCH = "sagemaker", ".scratch"


class Wandb:
    """A folder with a folder of offline runs for each job.

    Args:
        where: the folder.
        overwrite: replaces a job that is there already.
        project: the project that ``wandb sync`` uploads to.
        entity: the team or user that it uploads to; W&B's default when left out.

    Raises:
        MissingExtraError: wandb is not installed.
    """

    def __init__(
        self,
        where: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        project: str = DEFAULT_PROJECT,
        entity: str | None = None,
    ) -> None:
        if importlib.util.find_spec("wandb") is None:
            raise MissingExtraError("an export to Weights & Biases", "wandb")
        self._root = Path(where)
        self._overwrite = overwrite
        self._project = project
        self._entity = entity

    def refuse(self, description: Mapping[str, Any]) -> None:
        """Say that the job's folder is there.

        Raises:
            SpecError: it is.
        """
        if self._root.exists() and not self._root.is_dir():
            raise SpecError(f"{str(self._root)!r} is a file, and a folder is to be made there: give another place")
        refuse_taken(self._root / name_of(description), overwrite=self._overwrite)

    def write(self, info: JobInfo) -> Exported:
        """Write a job's runs.

        Raises:
            SpecError: the folder cannot be written, or wandb does not write.
        """
        target = self._root / info.name
        with new_folder(target) as part:
            runs = [self._run(info, trial) for trial in info.trials]
            if runs:
                _work(part, runs)
                _tidy(part)
        return Exported(
            info.name,
            "wandb",
            str(self._root),
            info.name,
            len(info.trials),
            f"wandb sync {target / 'wandb'}/offline-run-*",
        )

    def _run(self, info: JobInfo, trial: TrialInfo) -> dict[str, Any]:
        """What the worker writes of a trial."""
        about = {"tuning_job": facts_of_job(info), "trial": facts_of_trial(trial), "tags": info.tags}
        environment = info.environment.get(trial.definition) or next(iter(info.environment.values()))
        return {
            "init": {
                "id": hashlib.sha256(trial.arn.encode()).hexdigest()[:16],  # the same run, however often it is synced
                "name": trial.name,
                "project": self._project,
                "entity": self._entity,
                "group": info.name,
                "job_type": trial.definition or "trial",
                "tags": [trial.status, *(["best"] if trial.best else [])],
                "notes": trial.failure or None,
                "config": {**trial.static, **trial.hyperparameters, _FACTS: {**about, "environment": environment}},
            },
            "history": _history(trial),
            "summary": trial.finals if trial.value is None else {OBJECTIVE: trial.value, **trial.finals},
            "exit_code": 1 if trial.status == TrainingStatus.FAILED else 0,
        }


def _history(trial: TrialInfo) -> list[tuple[int, dict[str, float]]]:
    """A row for each step with the metrics of that step, and the time of the last of them."""
    rows: dict[int, dict[str, float]] = {}
    for metric, points in trial.curves.items():
        for point in points:
            row = rows.setdefault(point.step, {"_timestamp": point.seconds})
            row["_timestamp"] = max(row["_timestamp"], point.seconds)
            row[metric] = point.value
    return sorted(rows.items())


def _work(folder: Path, runs: list[dict[str, Any]]) -> None:
    """Run the worker; neither it nor the service that it starts is left when this returns.

    Raises:
        SpecError: it failed.
    """
    command = [sys.executable, "-P", str(_WORKER)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, env=_environment(folder), start_new_session=True
    ) as worker:
        try:
            said, _ = worker.communicate(json.dumps({"folder": str(folder), "runs": runs}).encode())
        finally:
            _end(worker.pid)
    if worker.returncode != 0:
        last = said.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {worker.returncode}"]
        raise SpecError(f"wandb does not write the runs: {last[0]}")


def _end(group: int) -> None:
    """End what is left of the worker's own process group."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def _environment(folder: Path) -> dict[str, str]:
    """The worker's variables: none of W&B's own, and every folder of it within the one that is written."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    places = {name: str(folder / _SCRATCH) for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR")}
    return {**own, **places, "WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}


def _tidy(folder: Path) -> None:
    """Leave the runs alone: no settings, caches, logs and links."""
    shutil.rmtree(folder / _SCRATCH, ignore_errors=True)
    for path in (folder / "wandb").glob("*"):
        if path.is_symlink() or not path.is_dir():
            path.unlink()
        else:
            shutil.rmtree(path / "logs", ignore_errors=True)
