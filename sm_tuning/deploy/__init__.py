"""The best model in use: the Model Registry, endpoints, another training, infrastructure as code, the SDK's objects.

Every name is imported on first use: some need the SDK, which takes seconds to load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sm_tuning._lazy import lazy_names

if TYPE_CHECKING:
    from sm_tuning.deploy._cloudformation import cloudformation_template
    from sm_tuning.deploy._endpoint import Deployment, Endpoint, deploy, deploy_requests
    from sm_tuning.deploy._evaluate import Evaluation, EvaluationOptions, evaluate, held_out_metrics
    from sm_tuning.deploy._from_sdk import from_sdk
    from sm_tuning.deploy._model import BestModel, best_model
    from sm_tuning.deploy._register import ModelPackage, Registration, package_request, register
    from sm_tuning.deploy._stack import StackOptions
    from sm_tuning.deploy._stepfunctions import MachineOptions, stepfunctions_machine, stepfunctions_state
    from sm_tuning.deploy._terraform import terraform_configuration
    from sm_tuning.deploy._to_sdk import to_model_trainer, to_sdk_tuner, tuning_step
    from sm_tuning.deploy._train import Retraining, retrain, retrain_request
else:
    _HOMES = {
        "._cloudformation": ("cloudformation_template",),
        "._endpoint": ("Deployment", "Endpoint", "deploy", "deploy_requests"),
        "._evaluate": ("Evaluation", "EvaluationOptions", "evaluate", "held_out_metrics"),
        "._from_sdk": ("from_sdk",),
        "._model": ("BestModel", "best_model"),
        "._register": ("ModelPackage", "Registration", "package_request", "register"),
        "._stack": ("StackOptions",),
        "._stepfunctions": ("MachineOptions", "stepfunctions_machine", "stepfunctions_state"),
        "._terraform": ("terraform_configuration",),
        "._to_sdk": ("to_model_trainer", "to_sdk_tuner", "tuning_step"),
        "._train": ("Retraining", "retrain", "retrain_request"),
    }
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = [
    "BestModel",
    "Deployment",
    "Endpoint",
    "Evaluation",
    "EvaluationOptions",
    "MachineOptions",
    "ModelPackage",
    "Registration",
    "Retraining",
    "StackOptions",
    "best_model",
    "cloudformation_template",
    "deploy",
    "deploy_requests",
    "evaluate",
    "from_sdk",
    "held_out_metrics",
    "package_request",
    "register",
    "retrain",
    "retrain_request",
    "stepfunctions_machine",
    "stepfunctions_state",
    "terraform_configuration",
    "to_model_trainer",
    "to_sdk_tuner",
    "tuning_step",
]
