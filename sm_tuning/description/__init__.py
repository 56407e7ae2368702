"""Answers of the API as values, parsed once: jobs, their definitions and trials, and typed hyperparameters. Pure.

Everything that reads a tuning job takes these values: results, analyses, plots, the gate, and deployment.
"""

from typing import TYPE_CHECKING

from sm_tuning._lazy import lazy_names
from sm_tuning.description._job import Counts, Definition, Job, Kind, Limits, Metric, Range, job_of
from sm_tuning.description._metric_name import MetricName
from sm_tuning.description._training_job import SETTINGS, as_tuning_job, left_out, trial_summary, tuning_of
from sm_tuning.description._trial import (
    OBJECTIVE_ALIAS,
    Machines,
    Training,
    Trial,
    machines_of,
    select,
    training_of,
    trial_of,
    values_of,
)
from sm_tuning.description._values import Column, Value, column_type, column_value, distinct, encode

if TYPE_CHECKING:
    from sm_tuning.description._automl import Candidate, candidate_of, recommended_ranges
else:  # its ranges are those of specs, whose pydantic takes longer to load than to read a job
    _HOMES = {"._automl": ("Candidate", "candidate_of", "recommended_ranges")}
    __getattr__, _ = lazy_names(__name__, _HOMES)

__all__ = [
    "OBJECTIVE_ALIAS",
    "SETTINGS",
    "Candidate",
    "Column",
    "Counts",
    "Definition",
    "Job",
    "Kind",
    "Limits",
    "Machines",
    "Metric",
    "MetricName",
    "Range",
    "Training",
    "Trial",
    "Value",
    "as_tuning_job",
    "candidate_of",
    "column_type",
    "column_value",
    "distinct",
    "encode",
    "job_of",
    "left_out",
    "machines_of",
    "recommended_ranges",
    "select",
    "training_of",
    "trial_of",
    "trial_summary",
    "tuning_of",
    "values_of",
]
