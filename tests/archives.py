"""The folder of a tuning job, as an executor writes it, from the answers of a service about a job that it ran."""

from __future__ import annotations

from pathlib import Path

from sm_tuning.archive import Files, FolderFiles, write_job, write_log, write_training_job
from sm_tuning.aws import Aws


def save(aws: Aws, name: str, folder: Path) -> Path:
    """Write the documents and the logs of a tuning job, and return the folder."""
    files: Files = FolderFiles(folder / name)
    write_job(files, _answer(aws, "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName=name))
    listed = aws.call(
        "sagemaker",
        "list_training_jobs_for_hyper_parameter_tuning_job",
        HyperParameterTuningJobName=name,
        MaxResults=100,
    )
    for trial in (summary["TrainingJobName"] for summary in listed["TrainingJobSummaries"]):
        write_training_job(files, _answer(aws, "describe_training_job", TrainingJobName=trial))
        pages = aws.pages(
            "logs",
            "filter_log_events",
            token="nextToken",
            logGroupName="/aws/sagemaker/TrainingJobs",
            logStreamNamePrefix=f"{trial}/",
        )
        write_log(files, trial, [(event["timestamp"], event["message"]) for page in pages for event in page["events"]])
    return folder / name


def _answer(aws: Aws, method: str, **params: str) -> dict[str, object]:
    answer = aws.call("sagemaker", method, **params)
    return {member: value for member, value in answer.items() if member != "ResponseMetadata"}
