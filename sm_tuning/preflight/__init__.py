"""Rules over a spec before money is spent: what the service refuses, good practice, cost, and a trial run.

Each finding has a stable code; docs/preflight.md lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sm_tuning._lazy import lazy_names

if TYPE_CHECKING:
    from sm_tuning.preflight._check import check, prices_for
    from sm_tuning.preflight._finding import Finding, Severity, in_order, unreadable
    from sm_tuning.preflight._rules import CostBound, cost_bound
    from sm_tuning.preflight._script import for_this_machine, refuse_missing_imports
    from sm_tuning.preflight._smoke import SmokeOptions, SmokeReport, smoke
else:
    _HOMES = {
        "._check": ("check", "prices_for"),
        "._finding": ("Finding", "Severity", "in_order", "unreadable"),
        "._rules": ("CostBound", "cost_bound"),
        "._script": ("for_this_machine", "refuse_missing_imports"),
        "._smoke": ("SmokeOptions", "SmokeReport", "smoke"),
    }
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = [
    "CostBound",
    "Finding",
    "Severity",
    "SmokeOptions",
    "SmokeReport",
    "check",
    "cost_bound",
    "for_this_machine",
    "in_order",
    "prices_for",
    "refuse_missing_imports",
    "smoke",
    "unreadable",
]
