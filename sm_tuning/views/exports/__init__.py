"""Tuning jobs in the formats of other tools: TensorBoard, MLflow, Weights & Biases, Optuna."""

from sm_tuning.views.exports._export import TARGETS, export, to_optuna
from sm_tuning.views.exports._info import Hyperparameter, JobInfo, Point, TrialInfo, job_info
from sm_tuning.views.exports._read import read_info
from sm_tuning.views.exports._target import OBJECTIVE, Exported

__all__ = [
    "OBJECTIVE",
    "TARGETS",
    "Exported",
    "Hyperparameter",
    "JobInfo",
    "Point",
    "TrialInfo",
    "export",
    "job_info",
    "read_info",
    "to_optuna",
]
