"""The error that a built-in algorithm reports to its user."""

from __future__ import annotations

from sm_tuning._errors import SmTuningError


class UserError(SmTuningError):
    """Data or hyperparameters that the algorithm cannot train on; the message goes to the failure file."""
