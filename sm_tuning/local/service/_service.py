"""Which operation is whose, and how one is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sm_tuning.local.service import _tags, _training, _tuning
from sm_tuning.local.service._context import Context, Doc, Fault, Request, invalid
from sm_tuning.local.service._search import RESOURCES, search
from sm_tuning.local.service._training import create_training_job
from sm_tuning.local.store import BadTokenError
from sm_tuning.request import has_operation, validation_message, violations

Operation = Callable[[Context, Request], Doc]

_OPERATIONS: Mapping[str, Operation] = {
    "CreateHyperParameterTuningJob": _tuning.create_tuning_job,
    "DescribeHyperParameterTuningJob": _tuning.describe_tuning_job,
    "ListHyperParameterTuningJobs": _tuning.list_tuning_jobs,
    "StopHyperParameterTuningJob": _tuning.stop_tuning_job,
    "DeleteHyperParameterTuningJob": _tuning.delete_tuning_job,
    "ListTrainingJobsForHyperParameterTuningJob": _tuning.list_trials,
    "CreateTrainingJob": create_training_job,
    "DeleteTrainingJob": _training.delete_training_job,
    "DescribeTrainingJob": _training.describe_training_job,
    "ListTrainingJobs": _training.list_training_jobs,
    "StopTrainingJob": _training.stop_training_job,
    "Search": search,
}
_TAG_OPERATIONS: Mapping[str, Operation] = {
    "AddTags": _tags.add_tags,
    "ListTags": _tags.list_tags,
    "DeleteTags": _tags.delete_tags,
}
# Work that moto would only pretend to do.
_NOT_DONE: Mapping[str, str] = {
    **dict.fromkeys(
        ("CreateAutoMLJob", "CreateAutoMLJobV2", "CreateProcessingJob", "CreateTransformJob"),
        "it runs training and hyperparameter tuning jobs",
    ),
    "UpdateTrainingJob": "it has no profiler, no warm pools and no remote debugging to update",
}


class SageMakerService:
    """SageMaker's tuning and training operations on this machine."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def handles(self, operation: str, params: Mapping[str, Any]) -> bool:
        """Whether an operation is this service's to answer, be it with a refusal."""
        if operation in _TAG_OPERATIONS:
            return _tags.is_ours(params)
        if operation == "Search":
            resource = params.get("Resource")
            return not isinstance(resource, str) or resource in RESOURCES
        return operation in _OPERATIONS or operation in _NOT_DONE or not has_operation(operation)

    def call(self, operation: str, params: Mapping[str, Any]) -> Doc:
        """Check a request against the model and carry it out.

        Raises:
            Fault: the answer is an error.
        """
        if not has_operation(operation):
            raise Fault("UnknownOperationException", f"SageMaker has no operation {operation}.", 404)
        carry_out = _OPERATIONS.get(operation) or _TAG_OPERATIONS.get(operation)
        if carry_out is None:
            raise invalid(f"The local SageMaker does not support {operation}: {_NOT_DONE[operation]}.")
        found = violations(operation, params)
        if found:
            raise invalid(validation_message(found))
        try:
            return carry_out(self._context, params)
        except BadTokenError as e:
            raise invalid(str(e)) from e
