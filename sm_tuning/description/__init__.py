"""Answers of the API as values, parsed once: jobs, their definitions and trials, and typed hyperparameters. Pure.

Everything that reads a tuning job takes these values: results, analyses, plots, the gate, and deployment.
"""

from sm_tuning.description._job import Counts, Definition, Job, Kind, Limits, Metric, Range, job_of
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

__all__ = [
    "OBJECTIVE_ALIAS",
    "Column",
    "Counts",
    "Definition",
    "Job",
    "Kind",
    "Limits",
    "Machines",
    "Metric",
    "Range",
    "Training",
    "Trial",
    "Value",
    "column_type",
    "column_value",
    "distinct",
    "encode",
    "job_of",
    "machines_of",
    "select",
    "training_of",
    "trial_of",
    "values_of",
]
