"""TensorBoard: a folder of event files for its HParams and Time Series views.

``WHERE`` holds the experiment's columns, ``WHERE/JOB`` the job's facts and ``WHERE/JOB/TRIAL`` a session each. HParams
reads one experiment a folder (tensorboard's ``backend_context.py`` takes the first that it finds), so jobs that are
written to the same folder share it: it has the union of their columns.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sm_tuning._errors import SpecError
from sm_tuning.views.exports._events import Dated, Events
from sm_tuning.views.exports._info import JobInfo
from sm_tuning.views.exports._places import new_file, new_folder, refuse_taken
from sm_tuning.views.exports._target import Exported, name_of

#: TensorBoard reads every file whose name has ``tfevents`` in it, and one of the same name only once: a job that is
#: written again gets new names, so that a TensorBoard that is open sees it.
_FILE = "events.out.tfevents.{seconds}.sm-tuning.{unique}"
_EXPERIMENT = "events.out.tfevents.0.sm-tuning"


class TensorBoard:
    """A log directory.

    Args:
        where: the folder.
        overwrite: replaces a job that is there already.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """

    def __init__(self, where: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        self._root = Path(where)
        self._overwrite = overwrite
        self._events = Events()

    def refuse(self, description: Mapping[str, Any]) -> None:
        """Say that the job's folder is there.

        Raises:
            SpecError: it is.
        """
        if self._root.exists() and not self._root.is_dir():
            raise SpecError(f"{str(self._root)!r} is a file, and TensorBoard reads a folder: give another place")
        refuse_taken(self._root / name_of(description), overwrite=self._overwrite)

    def write(self, info: JobInfo) -> Exported:
        """Write a job's folder, and its columns to the experiment.

        Raises:
            SpecError: a folder cannot be written, or another job's hyperparameter of the same name has another type.
        """
        experiment = self._events.experiment(info, self._others(info.name))
        with new_file(self._root / _EXPERIMENT) as columns, new_folder(self._root / info.name) as folder:
            self._events.write(columns, info.created.timestamp(), experiment)
            self._write(folder, info.created.timestamp(), self._events.facts(info))
            for trial in info.trials:
                began = (trial.started or info.created).timestamp()
                self._write(folder / trial.name, began, self._events.session(trial, began))
        return Exported(
            job=info.name,
            to="tensorboard",
            location=str(self._root),
            name=info.name,
            trials=len(info.trials),
            look=f"tensorboard --logdir {self._root}",
        )

    def _others(self, name: str) -> Path | None:
        """The experiment's file, if other jobs than this one are in the folder."""
        path = self._root / _EXPERIMENT
        if not path.is_file():
            return None
        others = [one for one in self._root.iterdir() if one.is_dir() and one.name not in (name, "")]
        return path if any(not one.name.startswith(".") for one in others) else None

    def _write(self, folder: Path, seconds: float, events: list[Dated]) -> None:
        folder.mkdir(exist_ok=True)
        name = _FILE.format(seconds=int(seconds), unique=uuid.uuid4().hex[:12])
        self._events.write(folder / name, seconds, events)
