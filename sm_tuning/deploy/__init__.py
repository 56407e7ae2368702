"""What becomes of the best model: the Model Registry, another training, an endpoint, and the SageMaker SDK's objects.

Every name is imported when it is first used: some need the SDK, which takes seconds to load.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sm_tuning.deploy._register import ModelPackage, Registration, package_request, register
    from sm_tuning.deploy._stepfunctions import MachineOptions, stepfunctions_machine, stepfunctions_state

__all__ = [
    "MachineOptions",
    "ModelPackage",
    "Registration",
    "package_request",
    "register",
    "stepfunctions_machine",
    "stepfunctions_state",
]

_ROOMS = {
    "_register": ("ModelPackage", "Registration", "package_request", "register"),
    "_stepfunctions": ("MachineOptions", "stepfunctions_machine", "stepfunctions_state"),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
