"""Training jobs: the executor's processes, with the documents, logs and metrics of the local SageMaker."""

from __future__ import annotations

from sm_tuning.local.runner._context import Cloud, RunnerContext, RunnerSettings
from sm_tuning.local.runner._runner import Runner

__all__ = ["Cloud", "Runner", "RunnerContext", "RunnerSettings"]
