"""A server of the Model Context Protocol (MCP): an AI assistant reads tuning jobs with the tools of this package.

All names are imported on first use: the protocol's SDK takes a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sm_tuning._lazy import lazy_names

if TYPE_CHECKING:
    from sm_tuning.mcp._server import Settings, serve
else:
    __getattr__, __dir__ = lazy_names(__name__, {"._server": ("Settings", "serve")})

__all__ = ["Settings", "serve"]
