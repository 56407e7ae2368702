"""What becomes of the best model: the Model Registry, another training, an endpoint, and the SageMaker SDK's objects.

Every name is imported when it is first used: some need the SDK, which takes seconds to load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sm_tuning._lazy import lazy_names

if TYPE_CHECKING:
    from sm_tuning.deploy._best import BestModel, best_model
    from sm_tuning.deploy._endpoint import Deployment, Endpoint, deploy, deploy_requests
    from sm_tuning.deploy._pipelines import tuning_step
    from sm_tuning.deploy._register import ModelPackage, Registration, package_request, register
    from sm_tuning.deploy._retrain import Retraining, retrain, retrain_request
    from sm_tuning.deploy._sdk_in import from_sdk
    from sm_tuning.deploy._sdk_out import to_model_trainer, to_sdk_tuner
    from sm_tuning.deploy._stepfunctions import MachineOptions, stepfunctions_machine, stepfunctions_state
    from sm_tuning.deploy._training import TrainingJob
else:
    _HOMES = {
        "._best": ("BestModel", "best_model"),
        "._endpoint": ("Deployment", "Endpoint", "deploy", "deploy_requests"),
        "._pipelines": ("tuning_step",),
        "._register": ("ModelPackage", "Registration", "package_request", "register"),
        "._retrain": ("Retraining", "retrain", "retrain_request"),
        "._sdk_in": ("from_sdk",),
        "._sdk_out": ("to_model_trainer", "to_sdk_tuner"),
        "._stepfunctions": ("MachineOptions", "stepfunctions_machine", "stepfunctions_state"),
        "._training": ("TrainingJob",),
    }
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = [
    "BestModel",
    "Deployment",
    "Endpoint",
    "MachineOptions",
    "ModelPackage",
    "Registration",
    "Retraining",
    "TrainingJob",
    "best_model",
    "deploy",
    "deploy_requests",
    "from_sdk",
    "package_request",
    "register",
    "retrain",
    "retrain_request",
    "stepfunctions_machine",
    "stepfunctions_state",
    "to_model_trainer",
    "to_sdk_tuner",
    "tuning_step",
]
