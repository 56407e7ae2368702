"""Models in use: endpoints and their processes."""

from __future__ import annotations

from sm_tuning.local.serving._endpoints import EndpointServing
from sm_tuning.local.serving._invoke import Invoker
from sm_tuning.local.serving._start import NO_PING, Starter, is_served

__all__ = ["NO_PING", "EndpointServing", "Invoker", "Starter", "is_served"]
