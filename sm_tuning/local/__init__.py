"""A SageMaker on this machine: a server with the AWS API on the loopback interface that runs the training scripts.

``connect()`` is the entry from Python; ``start``, ``stop`` and ``status`` manage the server. All names are imported on
first use, so that importing the package stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sm_tuning._lazy import lazy_names

if TYPE_CHECKING:
    from sm_tuning.local._config import ServerInfo
    from sm_tuning.local._connect import Connection, connect
    from sm_tuning.local._daemon import start, status, stop
    from sm_tuning.local._prune import Pruned, prune
    from sm_tuning.local._redirect import client_environment
else:
    _HOMES = {
        "._config": ("ServerInfo",),
        "._connect": ("Connection", "connect"),
        "._daemon": ("start", "status", "stop"),
        "._prune": ("Pruned", "prune"),
        "._redirect": ("client_environment",),
    }
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = ["Connection", "Pruned", "ServerInfo", "client_environment", "connect", "prune", "start", "status", "stop"]
