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
from contextlib import suppress
from pathlib import Path
from typing import Any

from sm_tuning._errors import MissingExtraError, SpecError
from sm_tuning._statuses import TrainingStatus
from sm_tuning.description import Job
from sm_tuning.views.exports._info import JobInfo, TrialInfo
from sm_tuning.views.exports._target import (
    OBJECTIVE,
    Exported,
    check_folder,
    facts_of_job,
    facts_of_trial,
    new_folder,
)

_WORKER = Path(__file__).with_name("_wandb_worker.py")
_SCRATCH = ".scratch"


class Wandb:
    """A folder with a folder of offline runs for each job.

    Args:
        where: the folder.
        overwrite: replace a job that was exported before.
        project: the project that ``wandb sync`` uploads to.
        entity: the team or user that it uploads to; W&B's default if None.

    Raises:
        MissingExtraError: wandb is not installed.
    """

    def __init__(
        self,
        where: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        project: str = "sm-tuning",
        entity: str | None = None,
    ) -> None:
        if importlib.util.find_spec("wandb") is None:
            raise MissingExtraError("an export to Weights & Biases", "wandb")
        self._root = Path(where)
        self._overwrite = overwrite
        self._project = project
        self._entity = entity

    def check(self, job: Job) -> None:
        """Check that the job's folder can be made.

        Raises:
            SpecError: it cannot.
        """
        check_folder(self._root, job.name, overwrite=self._overwrite)

    def write(self, info: JobInfo) -> Exported:
        """Write a job's runs.

        Raises:
            SpecError: the folder cannot be written, or wandb fails.
        """
        target = self._root / info.name
        with new_folder(target) as part:
            if info.trials:
                _write_runs(part, [self._run(info, trial) for trial in info.trials])
                # Only the runs stay: no settings, caches, logs and links.
                shutil.rmtree(part / _SCRATCH, ignore_errors=True)
                for path in (part / "wandb").glob("*"):
                    if path.is_symlink() or not path.is_dir():
                        path.unlink()
                    else:
                        shutil.rmtree(path / "logs", ignore_errors=True)
        look = f"wandb sync {target / 'wandb'}/offline-run-*"
        return Exported(info.name, "wandb", str(self._root), info.name, len(info.trials), look)

    def _run(self, info: JobInfo, trial: TrialInfo) -> dict[str, Any]:
        """Return what the worker writes of a trial."""
        environment = info.environment.get(trial.definition) or next(iter(info.environment.values()))
        sagemaker = {
            "tuning_job": facts_of_job(info),
            "trial": facts_of_trial(trial),
            "tags": info.tags,
            "environment": environment,
        }
        # One row for each step, with the time of its last metric.
        rows: dict[int, dict[str, float]] = {}
        for metric, points in trial.curves.items():
            for point in points:
                row = rows.setdefault(point.step, {"_timestamp": point.seconds})
                row["_timestamp"] = max(row["_timestamp"], point.seconds)
                row[metric] = point.value
        return {
            "init": {
                "id": hashlib.sha256(trial.arn.encode()).hexdigest()[:16],  # syncing again updates the same run
                "name": trial.name,
                "project": self._project,
                "entity": self._entity,
                "group": info.name,
                "job_type": trial.definition or "trial",
                "tags": [trial.status, *(["best"] if trial.best else [])],
                "notes": trial.failure or None,
                "config": {**trial.static, **trial.hyperparameters, "sagemaker": sagemaker},
            },
            "history": sorted(rows.items()),
            "summary": trial.finals if trial.value is None else {OBJECTIVE: trial.value, **trial.finals},
            "exit_code": 1 if trial.status == TrainingStatus.FAILED else 0,
        }


def _write_runs(folder: Path, runs: list[dict[str, Any]]) -> None:
    """Run the worker; neither it nor the service that it starts is left afterwards.

    Raises:
        SpecError: the worker failed.
    """
    # None of the user's W&B variables: they would send the runs elsewhere. All its folders are in the new one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        environment[name] = str(folder / _SCRATCH)
    environment |= {"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}
    with subprocess.Popen(
        [sys.executable, "-P", str(_WORKER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    ) as worker:
        try:
            output, _ = worker.communicate(json.dumps({"folder": str(folder), "runs": runs}).encode())
        finally:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
    if worker.returncode != 0:
        last = output.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {worker.returncode}"]
        raise SpecError(f"wandb could not write the runs: {last[0]}")
