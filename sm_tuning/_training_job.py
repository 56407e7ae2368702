"""The handle of one training job, which reads as a tuning job with a single trial."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Literal

from sm_tuning import jobs
from sm_tuning._errors import JobNotFoundError, SpecError
from sm_tuning._handle import Handle
from sm_tuning.aws import Aws
from sm_tuning.description import as_tuning_job, job_of, left_out, training_of, tuning_of
from sm_tuning.jobs import TrainingStatus
from sm_tuning.spec import ParameterRange, Tuning


class TrainingJob(Handle):
    """One training job of this account and region, created by this or any other tool.

    It reads as a tuning job with a single trial: the same frames, logs, curves, plots, cost and report.
    ``attach_training`` and ``retrain`` return it; creating one makes no API call.

    Args:
        name: of the training job.
        aws: the connection.
        description: the last response of DescribeTrainingJob, for ``repr``.
        objective_metric_name: the metric that ranks the job and that ``watch`` draws; by default that of its tuning
            job, its only metric, or its only metric on held-out data.
    """

    def __init__(
        self,
        name: str,
        aws: Aws,
        description: Mapping[str, Any] | None = None,
        *,
        objective_metric_name: str | None = None,
    ) -> None:
        described = None if description is None else as_tuning_job(description, objective=objective_metric_name)
        super().__init__(name, jobs.with_single_trial(aws, name, objective=objective_metric_name), described)
        self._connection = aws

    @property
    def aws(self) -> Aws:
        """The connection, for calls that have no method here."""
        return self._connection

    def describe(self) -> dict[str, Any]:
        """Return the response of DescribeTrainingJob.

        Raises:
            JobNotFoundError: the job does not exist, or not any more.
        """
        return jobs.describe_training(self._connection, self._name)

    def _own(self, described: dict[str, Any]) -> dict[str, Any]:
        del described
        return self.describe()

    @property
    def status(self) -> TrainingStatus:
        """The current status."""
        return TrainingStatus.of(self._described()["HyperParameterTuningJobStatus"])

    @property
    def model_uri(self) -> str | None:
        """The S3 URI of the model; None as long as there is no model."""
        return training_of(self.describe()).model_uri

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric."""
        return dict(training_of(self.describe()).metrics)

    def spec(self) -> Tuning:
        """Raise an error: a training job has no ranges; ``tuning`` takes them.

        Raises:
            SpecError: always.
        """
        raise SpecError(
            f"the training job {self._name} has no hyperparameter ranges: give them to tuning(), or to "
            "Tuning.from_training_job()"
        )

    def tuning(
        self,
        hyperparameter_ranges: Mapping[str, ParameterRange],
        *,
        objective_metric_name: str | None = None,
        objective_type: Literal["Maximize", "Minimize"] | None = None,
        entry_point: str | None = None,
        source_dir: str | None = None,
        max_jobs: int | None = None,
        max_parallel_jobs: int | None = None,
    ) -> Tuning:
        """Return a spec that tunes what this job trained; ``launch`` starts it.

        The estimator has the job's image, script, channels, machines, metric definitions and hyperparameters; the
        ranges replace hyperparameters of the same names. ``replace`` sets further fields of the spec.

        Args:
            hyperparameter_ranges: hyperparameter name -> range.
            objective_metric_name: the metric that is optimised; by default that of the job's own tuning job, its only
                metric, or its only metric on held-out data.
            objective_type: the direction; by default that of the job's own tuning job, or what the metric's name shows.
            entry_point: the script of a job whose request has an entrypoint, which a tuning job cannot have, as those
                of the SDK v3's ``ModelTrainer`` have it.
            source_dir: the folder, or the archive in S3, of that script.
            max_jobs: number of training jobs.
            max_parallel_jobs: how many run at once.

        Raises:
            SpecError: a tuning job cannot have one of the job's settings, or the objective is not known.
        """
        training = self.describe()
        if objective_type is None and objective_metric_name is None and training.get("TuningJobArn"):
            objective_type = self._direction(str(training["TuningJobArn"]))
        unused = left_out(training)
        if unused:
            text = f"a tuning job cannot have {', '.join(unused)}, so that the spec leaves this out"
            warnings.warn(text, stacklevel=2)
        fields = {
            "objective_metric_name": objective_metric_name,
            "objective_type": objective_type,
            "max_jobs": max_jobs,
            "max_parallel_jobs": max_parallel_jobs,
        }
        tags = self._connection.tags(training["TrainingJobArn"])
        tags.pop(jobs.SPEC_HASH_TAG, None)
        return tuning_of(
            training, hyperparameter_ranges, entry_point=entry_point, source_dir=source_dir, fields=fields, tags=tags
        )

    def _direction(self, tuning_job_arn: str) -> Literal["Maximize", "Minimize"] | None:
        """Return the direction of the tuning job that this job is a trial of; None if it was deleted."""
        try:
            job = job_of(jobs.describe(self._connection, tuning_job_arn.rpartition("/")[2]))
        except JobNotFoundError:
            return None
        found = {definition.direction for definition in job.definitions} - {""}
        return found.pop() if len(found) == 1 else None  # type: ignore[return-value]
