"""Which operation is whose, and how one is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sm_tuning.local.service import _tags, _training, _tuning
from sm_tuning.local.service._context import Context, Doc, Request
from sm_tuning.local.service._fault import Fault, invalid
from sm_tuning.local.store import BadTokenError
from sm_tuning.request._model import has_operation, validation_message, violations

Operation = Callable[[Context, Request], Doc]

_OPERATIONS: Mapping[str, Operation] = {
    "CreateHyperParameterTuningJob": _tuning.create_tuning_job,
    "DescribeHyperParameterTuningJob": _tuning.describe_tuning_job,
    "ListHyperParameterTuningJobs": _tuning.list_tuning_jobs,
    "StopHyperParameterTuningJob": _tuning.stop_tuning_job,
    "DeleteHyperParameterTuningJob": _tuning.delete_tuning_job,
    "ListTrainingJobsForHyperParameterTuningJob": _tuning.list_trials,
    "DescribeTrainingJob": _training.describe_training_job,
    "ListTrainingJobs": _training.list_training_jobs,
    "StopTrainingJob": _training.stop_training_job,
}
_TAG_OPERATIONS: Mapping[str, Operation] = {
    "AddTags": _tags.add_tags,
    "ListTags": _tags.list_tags,
    "DeleteTags": _tags.delete_tags,
}
# Work that moto would only pretend to do, and searches over what moto does not know.
_NOT_DONE = (
    "CreateAutoMLJob",
    "CreateAutoMLJobV2",
    "CreateProcessingJob",
    "CreateTrainingJob",
    "CreateTransformJob",
    "DeleteTrainingJob",
    "UpdateTrainingJob",
)
_NOT_SEARCHED = ("HyperParameterTuningJob", "TrainingJob")


class SageMakerService:
    """SageMaker's tuning and training operations on this machine."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def handles(self, operation: str, params: Mapping[str, Any]) -> bool:
        """Whether an operation is this service's to answer, be it with a refusal."""
        if operation in _TAG_OPERATIONS:
            return _tags.is_ours(params)
        searched = operation == "Search" and params.get("Resource") in _NOT_SEARCHED
        return operation in _OPERATIONS or operation in _NOT_DONE or searched or not has_operation(operation)

    def call(self, operation: str, params: Mapping[str, Any]) -> Doc:
        """Check a request against the model and carry it out.

        Raises:
            Fault: the answer is an error.
        """
        if not has_operation(operation):
            raise Fault("UnknownOperationException", f"SageMaker has no operation {operation}.", 404)
        carry_out = _OPERATIONS.get(operation) or _TAG_OPERATIONS.get(operation)
        if carry_out is None:
            what = f"{operation} of {params['Resource']}" if operation == "Search" else operation
            raise invalid(f"The local SageMaker does not support {what}: it runs hyperparameter tuning jobs.")
        found = violations(operation, params)
        if found:
            raise invalid(validation_message(found))
        try:
            return carry_out(self._context, params)
        except BadTokenError as e:
            raise invalid(str(e)) from e
