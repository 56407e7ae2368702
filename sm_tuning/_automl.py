"""The handle of an Autopilot job (AutoML), and of its candidates. They are read; nothing is started."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from sm_tuning import results
from sm_tuning._errors import SpecError
from sm_tuning._statuses import JobStatus
from sm_tuning._training_job import TrainingJob
from sm_tuning._wire import LARGEST_PAGE
from sm_tuning.aws import Aws
from sm_tuning.description import Candidate, candidate_of, recommended_ranges
from sm_tuning.spec import ParameterRange, Tuning

if TYPE_CHECKING:
    import pandas as pd


class AutoMLCandidate:
    """A candidate of an Autopilot job: a pipeline of jobs, and the model that they made.

    Args:
        candidate: as the service lists it.
        aws: the connection.
    """

    def __init__(self, candidate: Candidate, aws: Aws) -> None:
        self._candidate = candidate
        self._aws = aws

    def __repr__(self) -> str:
        value = "" if self.objective_value is None else f", {self._candidate.metric}={self.objective_value:.6g}"
        return f"AutoMLCandidate({self.name!r}, status={self._candidate.status!r}{value})"

    @property
    def name(self) -> str:
        """The name."""
        return self._candidate.name

    @property
    def status(self) -> JobStatus:
        """The status when it was read."""
        return JobStatus.of(self._candidate.status)

    @property
    def objective_value(self) -> float | None:
        """The objective; None without one."""
        return self._candidate.value

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics, such as ``validation:F1``."""
        return dict(self._candidate.metrics)

    @property
    def steps(self) -> list[tuple[str, str]]:
        """Kind and name of the jobs that made it, such as ``("TrainingJob", "…")``, in their order."""
        return [(step.kind, step.name) for step in self._candidate.steps]

    @property
    def inference_images(self) -> list[str]:
        """The images of the inference containers, in their order."""
        return list(self._candidate.images)

    @property
    def explainability_uri(self) -> str | None:
        """The S3 prefix of the explainability report; None without a report."""
        return self._candidate.explainability

    @property
    def insights_uri(self) -> str | None:
        """The S3 prefix of the model insights; None without them."""
        return self._candidate.insights

    @property
    def training_job(self) -> TrainingJob | None:
        """The job that trained the model; None if no step is a training job. Makes no API call."""
        name = self._candidate.training_job_name
        return None if name is None else TrainingJob(name, self._aws)

    def to_tuning(
        self,
        hyperparameter_ranges: Mapping[str, ParameterRange] | None = None,
        *,
        objective_metric_name: str | None = None,
        objective_type: Literal["Maximize", "Minimize"] | None = None,
        max_jobs: int | None = None,
        max_parallel_jobs: int | None = None,
    ) -> Tuning:
        """Return a spec that tunes what the candidate's last training job trained, on the data that Autopilot prepared.

        Args:
            hyperparameter_ranges: hyperparameter name -> range; by default those that AWS recommends for the built-in
                XGBoost and linear learner.
            objective_metric_name: as for ``TrainingJob.tuning``.
            objective_type: as for ``TrainingJob.tuning``.
            max_jobs: number of training jobs.
            max_parallel_jobs: how many run at once.

        Raises:
            SpecError: no step is a training job, or its image is not one of these algorithms and no ranges are given,
                or a tuning job cannot have one of the job's settings.
            ServiceError: AWS refused or could not be reached.
        """
        job = self.training_job
        if job is None:
            steps = ", ".join(f"{kind} {name}" for kind, name in self.steps) or "none"
            raise SpecError(f"the candidate {self.name} has no training job that could be tuned: its steps are {steps}")
        ranges = hyperparameter_ranges
        if ranges is None:
            training = job.describe()
            ranges = recommended_ranges(training)
            if ranges is None:
                image = (training.get("AlgorithmSpecification") or {}).get("TrainingImage")
                raise SpecError(
                    f"{job.name}, which trained the candidate {self.name}, ran {image}: there are recommended ranges "
                    "for the built-in XGBoost and linear learner only, so give hyperparameter_ranges"
                )
        return job.tuning(
            ranges,
            objective_metric_name=objective_metric_name,
            objective_type=objective_type,
            max_jobs=max_jobs,
            max_parallel_jobs=max_parallel_jobs,
        )


class AutoMLJob:
    """An Autopilot job of this account and region, created by any tool. ``attach_automl`` returns it.

    Args:
        name: its name.
        aws: the connection.
        description: the last answer of DescribeAutoMLJobV2, for ``repr``.
    """

    def __init__(self, name: str, aws: Aws, description: Mapping[str, Any] | None = None) -> None:
        self._name = name
        self._aws = aws
        self._last = description

    def __repr__(self) -> str:
        status = None if self._last is None else self._last["AutoMLJobStatus"]
        return f"AutoMLJob({self._name!r}, region={self._aws.region!r}, status={status!r})"

    @property
    def name(self) -> str:
        """The name."""
        return self._name

    def describe(self) -> dict[str, Any]:
        """Return the response of DescribeAutoMLJobV2, which describes the jobs of both versions of the API.

        Raises:
            JobNotFoundError: there is no such job.
        """
        answer = self._aws.call("sagemaker", "describe_auto_ml_job_v2", AutoMLJobName=self._name)
        self._last = {member: value for member, value in answer.items() if member != "ResponseMetadata"}
        return dict(self._last)

    @property
    def status(self) -> JobStatus:
        """The current status."""
        return JobStatus.of(self.describe()["AutoMLJobStatus"])

    @property
    def phase(self) -> str:
        """The current phase, ``AutoMLJobSecondaryStatus``, such as ``FeatureEngineering``."""
        return str(self.describe()["AutoMLJobSecondaryStatus"])

    @property
    def ended(self) -> datetime | None:
        """When the job ended; None before."""
        moment: datetime | None = self.describe().get("EndTime")
        return moment

    @property
    def best(self) -> AutoMLCandidate | None:
        """The best candidate; None before there is one."""
        best = self.describe().get("BestCandidate")
        return None if not best else AutoMLCandidate(candidate_of(best), self._aws)

    @property
    def explainability_uri(self) -> str | None:
        """The S3 prefix of the best candidate's explainability report; None without a report."""
        best = self.best
        return None if best is None else best.explainability_uri

    def candidates(self) -> list[AutoMLCandidate]:
        """Return all candidates in order of creation; a call for each hundred of them."""
        return [AutoMLCandidate(candidate, self._aws) for candidate in self._candidates()]

    def leaderboard(self) -> pd.DataFrame:
        """Return one row per candidate, the best first; one call, and another for each hundred candidates.

        The columns are ``Rank``, ``CandidateName``, ``CandidateStatus``, ``ObjectiveStatus``, ``ObjectiveMetricName``,
        ``FinalObjectiveValue``, ``IsBest``, ``CreationTime``, ``EndTime``, ``TrainingJobName``, ``Steps``,
        ``InferenceImages``, ``FailureReason``, and ``metric:<set>:<name>`` for each metric. ``attrs`` has ``status``,
        ``phase``, ``best`` and ``explainability_uri``.
        """
        description = self.describe()
        found = description.get("BestCandidate")
        best = candidate_of(found) if found else None
        table = results.leaderboard(self._candidates(), None if best is None else best.name)
        table.attrs |= {
            "status": str(description["AutoMLJobStatus"]),
            "phase": str(description["AutoMLJobSecondaryStatus"]),
            "best": best and best.name,
            "explainability_uri": best and best.explainability,
        }
        return table

    def _candidates(self) -> list[Candidate]:
        pages = self._aws.pages(
            "sagemaker",
            "list_candidates_for_auto_ml_job",
            AutoMLJobName=self._name,
            SortBy="CreationTime",
            SortOrder="Ascending",
            MaxResults=LARGEST_PAGE,
        )
        return [candidate_of(entry) for page in pages for entry in page["Candidates"]]
