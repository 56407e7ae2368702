"""A SageMaker on this machine: it speaks the AWS wire on loopback and really runs the training scripts.

``connect()`` is the way in from Python; ``start``, ``stop`` and ``status`` manage the server from a shell.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sm_tuning.local._config import ServerInfo
    from sm_tuning.local._connect import Connection, connect
    from sm_tuning.local._daemon import start, status, stop

__all__ = ["Connection", "ServerInfo", "connect", "start", "status", "stop"]

_HOMES = {
    "Connection": "_connect",
    "ServerInfo": "_config",
    "connect": "_connect",
    "start": "_daemon",
    "status": "_daemon",
    "stop": "_daemon",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that importing the package stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
