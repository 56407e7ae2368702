"""A tuning to the parameters of CreateHyperParameterTuningJob and back, and its local files to uploads; all pure."""

from sm_tuning.request._build import base_name, resolved, to_request, unique_name, write_definition
from sm_tuning.request._images import image_uri, inference_image
from sm_tuning.request._members import write_channels, write_ranges
from sm_tuning.request._model import Violation, has_operation, service_model, validation_message, violations
from sm_tuning.request._read import from_description
from sm_tuning.request._stage import Staged, Upload, is_uploaded_as, pack_source, source_files, stage, stage_training
from sm_tuning.request._training import checkpoint_config, resource_config, training_request

__all__ = [
    "Staged",
    "Upload",
    "Violation",
    "base_name",
    "checkpoint_config",
    "from_description",
    "has_operation",
    "image_uri",
    "inference_image",
    "is_uploaded_as",
    "pack_source",
    "resolved",
    "resource_config",
    "service_model",
    "source_files",
    "stage",
    "stage_training",
    "to_request",
    "training_request",
    "unique_name",
    "validation_message",
    "violations",
    "write_channels",
    "write_definition",
    "write_ranges",
]
