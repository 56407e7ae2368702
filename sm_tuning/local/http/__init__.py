"""The HTTP server: the AWS protocols on the loopback interface, with signed requests only."""

from __future__ import annotations

from sm_tuning.local.http._app import Application
from sm_tuning.local.http._callers import Callers
from sm_tuning.local.http._http import make_http_server
from sm_tuning.local.http._signature import Verifier

__all__ = ["Application", "Callers", "Verifier", "make_http_server"]
