"""One real training job: the ``/opt/ml`` contract around a process on this machine."""

from __future__ import annotations

from sm_tuning.local.runner._context import Cloud, RunnerSettings
from sm_tuning.local.runner._runner import Runner

__all__ = ["Cloud", "Runner", "RunnerSettings"]
