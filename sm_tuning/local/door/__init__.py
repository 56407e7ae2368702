"""The front door: the AWS wire on loopback, for the holder of the keys alone."""

from __future__ import annotations

from sm_tuning.local.door._app import FrontDoor
from sm_tuning.local.door._http import make_http_server
from sm_tuning.local.door._signature import Verifier

__all__ = ["FrontDoor", "Verifier", "make_http_server"]
