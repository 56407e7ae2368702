"""Rules over a spec before money is spent: what the service refuses, good practice, cost, and a trial run.

Each finding has a stable code; docs/preflight.md lists them.
"""

from sm_tuning.preflight._check import check, prices_for
from sm_tuning.preflight._cost import CostBound, cost_bound
from sm_tuning.preflight._files import problems_of
from sm_tuning.preflight._finding import Finding, Severity
from sm_tuning.preflight._finding import ordered as in_order
from sm_tuning.preflight._raw import unreadable
from sm_tuning.preflight._smoke import SmokeOptions, SmokeReport, smoke
from sm_tuning.preflight._smoke_run import Clock

__all__ = [
    "Clock",
    "CostBound",
    "Finding",
    "Severity",
    "SmokeOptions",
    "SmokeReport",
    "check",
    "cost_bound",
    "in_order",
    "prices_for",
    "problems_of",
    "smoke",
    "unreadable",
]
