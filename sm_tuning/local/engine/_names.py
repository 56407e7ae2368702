"""Names that the service itself gives."""

from __future__ import annotations

OBJECTIVE_KEY = "_tuning_objective_metric"
"""The hyperparameter in which every training job of a tuning job is told its objective metric."""
