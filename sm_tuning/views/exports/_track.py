"""Tracking: the export to MLflow made again and again while a job runs, each time with what is new."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sm_tuning._errors import SmTuningError, SpecError, WaitTimeoutError
from sm_tuning.aws import Aws, Clock
from sm_tuning.description import Job, job_of
from sm_tuning.results import Reading, ResultsWarning
from sm_tuning.views.exports._export import read_info
from sm_tuning.views.exports._mlflow import Mlflow

_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 60.0  # seconds without a pass, after passes that failed
_LAST_PAUSES = (1.0, 2.0, 4.0)  # between the last passes, after the end of the job


class Tracker:
    """Brings the runs of a job in MLflow up to date. A second tracker after the first one adds nothing.

    Errors of AWS and of MLflow are warnings, once per outage: the next pass writes what is missing.

    Args:
        to: a folder, a tracking URI, or the ARN of a tracking server or app of SageMaker, as for an export.
        experiment: the name of the experiment; it is created if it does not exist.
        clock: the clock; tests pass their own.

    Raises:
        MissingExtraError: mlflow is not installed.
        SpecError: the place is invalid, or the plugin for SageMaker's MLflow is not installed.
        EndpointError: the server does not answer.

    Attributes:
        error: what prevented the last pass from writing all; None if the runs are up to date.
    """

    def __init__(
        self, to: str | os.PathLike[str], *, experiment: str | None = None, clock: Clock | None = None
    ) -> None:
        if not os.fspath(to):
            raise SpecError("the place to track to is empty: give a folder or a tracking URI of MLflow")
        self._store = Mlflow(to) if experiment is None else Mlflow(to, experiment=experiment)
        self._store.reach()
        self._clock = clock or Clock()
        self._failures = 0
        self._next = -math.inf
        self._said: set[str] = set()
        self.error: SmTuningError | None = None

    def update(self, aws: Aws, description: Mapping[str, Any]) -> None:
        """Read the job and write what is new, if the last pass was long enough ago, or if the job has ended.

        There are two poll intervals between passes: 10 seconds with AWS. After errors the pauses grow to a minute.

        Args:
            aws: the connection.
            description: a fresh response of DescribeHyperParameterTuningJob.

        Raises:
            WaitTimeoutError: the time limit of the connection has passed.
        """
        job = job_of(description)
        if not job.ended and self._clock.monotonic() < self._next:
            return
        error = self._pass(aws, job)
        for pause in _LAST_PAUSES if job.ended else ():
            if error is None:
                break
            self._clock.sleep(pause)
            error = self._pass(aws, job)
        self.error = error
        if error is None:
            self._failures = 0
            self._next = self._clock.monotonic() + 2 * aws.poll_interval
            return
        self._failures += 1
        self._next = self._clock.monotonic() + min(_FIRST_PAUSE * 2 ** (self._failures - 1), _LONGEST_PAUSE)
        if job.ended:
            text = f"the runs of {job.name} in MLflow are not complete: {error}; track it again to add what is missing"
            warnings.warn(text, ResultsWarning, stacklevel=2)
        elif self._failures == 1:
            text = f"{job.name} is not tracked at the moment: {error}; it is tried again, and nothing is lost"
            warnings.warn(text, ResultsWarning, stacklevel=2)

    def _pass(self, aws: Aws, job: Job) -> SmTuningError | None:
        """Write what is new, and return the error that prevented it."""
        try:
            with self._new_warnings():
                self._store.update(read_info(aws, job, Reading(progress=False, clock=self._clock)))
        except WaitTimeoutError:
            raise
        except SmTuningError as error:
            return error
        return None

    @contextmanager
    def _new_warnings(self) -> Iterator[None]:
        """Let each warning through once; a gap in what was read is no error, because a later pass may fill it."""
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always", ResultsWarning)
            try:
                yield
            finally:
                new = {str(item.message): item.category for item in found if str(item.message) not in self._said}
        self._said |= set(new)
        for text, category in new.items():
            warnings.warn(text, ResultsWarning if issubclass(category, ResultsWarning) else category, stacklevel=3)
