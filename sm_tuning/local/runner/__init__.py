"""One real training job: the ``/opt/ml`` contract around a process on this machine."""

from __future__ import annotations

from sm_tuning.local.runner._runner import Runner
from sm_tuning.local.runner._workshop import Cloud, RunnerSettings

__all__ = ["Cloud", "Runner", "RunnerSettings"]
