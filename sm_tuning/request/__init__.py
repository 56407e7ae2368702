"""A tuning to the parameters of CreateHyperParameterTuningJob and back, and its local files to uploads; all pure."""

from sm_tuning.request._build import to_request
from sm_tuning.request._images import image_uri
from sm_tuning.request._model import Violation, has_operation, validation_message, violations
from sm_tuning.request._names import base_name, unique_name
from sm_tuning.request._read import from_description
from sm_tuning.request._resolve import resolved

__all__ = [
    "Violation",
    "base_name",
    "from_description",
    "has_operation",
    "image_uri",
    "resolved",
    "to_request",
    "unique_name",
    "validation_message",
    "violations",
]
