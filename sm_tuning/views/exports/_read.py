"""Reading a tuning job for its exports: what the frames read, its tags, and where its models are."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import pandas as pd

from sm_tuning import results
from sm_tuning._errors import ServiceError
from sm_tuning._wire import LARGEST_PAGE
from sm_tuning.aws import Aws
from sm_tuning.results import Reading, ResultsWarning
from sm_tuning.views.exports._info import JobInfo, job_info


def read_info(aws: Aws, description: Mapping[str, Any], reading: Reading | None = None) -> JobInfo:
    """Read everything about a job that exports write; what AWS withholds is left out with a warning.

    Args:
        aws: the connection.
        description: DescribeHyperParameterTuningJob's answer.
        reading: how to read.

    Raises:
        ServiceError: not even the trials can be read.
    """
    name = str(description["HyperParameterTuningJobName"])
    trials = results.trials(aws, name, reading=reading)
    return job_info(
        description,
        trials,
        _curves(aws, name, reading),
        tags=_tags(aws, str(description["HyperParameterTuningJobArn"])),
        models=_models(aws, str(description["HyperParameterTuningJobArn"])) if len(trials) else {},
    )


def _curves(aws: Aws, name: str, reading: Reading | None) -> pd.DataFrame:
    try:
        return results.curves(aws, name, reading=reading)
    except ServiceError as error:
        _lacks("curves", error)
        return pd.DataFrame({column: pd.Series(dtype=dtype) for column, dtype in results.CURVES.items()})


def _tags(aws: Aws, arn: str) -> dict[str, str]:
    try:
        return aws.tags(arn)
    except ServiceError as error:
        _lacks("tags", error)
        return {}


def _models(aws: Aws, arn: str) -> dict[str, str]:
    """S3 URI of every trial's model by training job; a hundred trials a call."""
    expression = {"Filters": [{"Name": "TuningJobArn", "Operator": "Equals", "Value": arn}]}
    found: dict[str, str] = {}
    try:
        for page in aws.pages(
            "sagemaker", "search", Resource="TrainingJob", SearchExpression=expression, MaxResults=LARGEST_PAGE
        ):
            jobs = [result.get("TrainingJob", {}) for result in page.get("Results", ())]
            found |= {job["TrainingJobName"]: job.get("ModelArtifacts", {}).get("S3ModelArtifacts") for job in jobs}
    except ServiceError as error:
        _lacks("models", error)
    return {name: uri for name, uri in found.items() if uri}


def _lacks(what: str, error: ServiceError) -> None:
    warnings.warn(f"the export has no {what}, because AWS withheld them: {error}", ResultsWarning, stacklevel=2)
