"""Serve one model as a process of this machine: the container contract for inference, without a server and without AWS.

``_host`` starts and calls the process; ``server`` is the program in it, with a handler for each kind of image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sm_tuning._lazy import lazy_names

if TYPE_CHECKING:
    from sm_tuning.executor.serving._host import HostGoneError, ModelHost
    from sm_tuning.executor.serving._images import ServingImage, serving_image
    from sm_tuning.executor.serving._prepare import ServingError, fetch_program, model_command, unpack_model
    from sm_tuning.executor.serving._types import Answer, Invocation
else:
    _HOMES = {
        "._host": ("HostGoneError", "ModelHost"),
        "._images": ("ServingImage", "serving_image"),
        "._prepare": ("ServingError", "fetch_program", "model_command", "unpack_model"),
        "._types": ("Answer", "Invocation"),
    }
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = [
    "Answer",
    "HostGoneError",
    "Invocation",
    "ModelHost",
    "ServingError",
    "ServingImage",
    "fetch_program",
    "model_command",
    "serving_image",
    "unpack_model",
]
