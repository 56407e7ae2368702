"""Rules over a spec before money is spent: what the service refuses, good practice, cost, and a trial run.

Each finding has a stable code; docs/preflight.md lists them.
"""

from sm_tuning.preflight._check import check, prices_for
from sm_tuning.preflight._finding import Finding, Severity, in_order, unreadable
from sm_tuning.preflight._rules import CostBound, cost_bound
from sm_tuning.preflight._smoke import SmokeOptions, SmokeReport, smoke

__all__ = [
    "CostBound",
    "Finding",
    "Severity",
    "SmokeOptions",
    "SmokeReport",
    "check",
    "cost_bound",
    "in_order",
    "prices_for",
    "smoke",
    "unreadable",
]
