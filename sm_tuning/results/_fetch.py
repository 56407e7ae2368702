"""The calls that find a tuning job and its trials."""

from __future__ import annotations

from collections.abc import Sequence

from sm_tuning.aws import Aws
from sm_tuning.results._facts import Job, Trial, job_of, trial_of

_PAGE = 100  # the most that ListTrainingJobsForHyperParameterTuningJob gives; without it, it gives 10


def read_jobs(aws: Aws, names: str | Sequence[str]) -> dict[Job, list[Trial]]:
    """Tuning jobs in the order asked for, each once, with their trials in order of creation.

    Raises:
        JobNotFoundError: when one does not exist.
    """
    unique = dict.fromkeys([names] if isinstance(names, str) else names)
    jobs = [read_job(aws, name) for name in unique]
    return {job: read_trials(aws, job) for job in jobs}


def read_job(aws: Aws, name: str) -> Job:
    """One tuning job: one call."""
    answer = aws.call("sagemaker", "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName=name)
    return job_of(answer)


def read_trials(aws: Aws, job: Job) -> list[Trial]:
    """Every trial of a job: one call a hundred."""
    listing = aws.pages(
        "sagemaker",
        "list_training_jobs_for_hyper_parameter_tuning_job",
        HyperParameterTuningJobName=job.name,
        MaxResults=_PAGE,
        SortBy="CreationTime",
        SortOrder="Ascending",
    )
    trials = {
        summary["TrainingJobName"]: trial_of(summary) for page in listing for summary in page["TrainingJobSummaries"]
    }
    return sorted(trials.values(), key=lambda trial: (trial.created, trial.name))
