"""Tune on SageMaker with a spec you can read, on AWS or on this machine, and get every answer as a DataFrame.

Every public name is imported when it is first used, so that importing the package stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sm_tuning import deploy, local, views
    from sm_tuning._best import BestTrial
    from sm_tuning._errors import (
        AccessDeniedError,
        CredentialsError,
        EndpointError,
        InvalidRequestError,
        JobError,
        JobFailedError,
        JobNotFoundError,
        JobStoppedError,
        LocalServerError,
        MissingExtraError,
        NameTakenError,
        QuotaError,
        SdkLossWarning,
        ServiceError,
        SmTuningError,
        SpecError,
        ThrottledError,
        WaitTimeoutError,
    )
    from sm_tuning._job import TuningJob, attach, launch, list_jobs
    from sm_tuning.aws import Aws, connect
    from sm_tuning.deploy import from_sdk
    from sm_tuning.jobs import Counts, TrainingStatus, TuningStatus
    from sm_tuning.preflight import Finding, check
    from sm_tuning.spec import (
        CategoricalParameter,
        CompletionCriteria,
        ContainerEstimator,
        ContinuousParameter,
        DatasetInput,
        FileSystemInput,
        HyperbandConfig,
        Input,
        InstanceConfig,
        IntegerParameter,
        MetricDefinition,
        PyTorchEstimator,
        TrainingDefinition,
        Tuning,
        WarmStart,
        XGBoostEstimator,
        dump,
        from_wandb_sweep,
        load,
        schema,
    )

    __version__: str

__all__ = [
    "AccessDeniedError",
    "Aws",
    "BestTrial",
    "CategoricalParameter",
    "CompletionCriteria",
    "ContainerEstimator",
    "ContinuousParameter",
    "Counts",
    "CredentialsError",
    "DatasetInput",
    "EndpointError",
    "FileSystemInput",
    "Finding",
    "HyperbandConfig",
    "Input",
    "InstanceConfig",
    "IntegerParameter",
    "InvalidRequestError",
    "JobError",
    "JobFailedError",
    "JobNotFoundError",
    "JobStoppedError",
    "LocalServerError",
    "MetricDefinition",
    "MissingExtraError",
    "NameTakenError",
    "PyTorchEstimator",
    "QuotaError",
    "SdkLossWarning",
    "ServiceError",
    "SmTuningError",
    "SpecError",
    "ThrottledError",
    "TrainingDefinition",
    "TrainingStatus",
    "Tuning",
    "TuningJob",
    "TuningStatus",
    "WaitTimeoutError",
    "WarmStart",
    "XGBoostEstimator",
    "__version__",
    "attach",
    "check",
    "connect",
    "deploy",
    "dump",
    "from_sdk",
    "from_wandb_sweep",
    "launch",
    "list_jobs",
    "load",
    "local",
    "schema",
    "views",
]

_ROOMS = {
    "_best": ("BestTrial",),
    "_job": ("TuningJob", "attach", "launch", "list_jobs"),
    "aws": ("Aws", "connect"),
    "deploy": ("from_sdk",),
    "jobs": ("Counts", "TrainingStatus", "TuningStatus"),
    "preflight": ("Finding", "check"),
    "spec": (
        "CategoricalParameter",
        "CompletionCriteria",
        "ContainerEstimator",
        "ContinuousParameter",
        "DatasetInput",
        "FileSystemInput",
        "HyperbandConfig",
        "Input",
        "InstanceConfig",
        "IntegerParameter",
        "MetricDefinition",
        "PyTorchEstimator",
        "TrainingDefinition",
        "Tuning",
        "WarmStart",
        "XGBoostEstimator",
        "dump",
        "from_wandb_sweep",
        "load",
        "schema",
    ),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("sm-tuning")
    if name in ("deploy", "local", "views"):
        return importlib.import_module(f"{__name__}.{name}")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, '_errors')}"), name)


def __dir__() -> list[str]:
    return list(__all__)
