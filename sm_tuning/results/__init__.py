"""Tuning jobs as DataFrames: their trials, metrics' curves, logs, errors, utilization and cost.

Every frame has the columns and dtypes that ``_columns`` declares, with rows or without. Results of finished trials are
cached on disk. A warning (``ResultsWarning``) and the frame's ``attrs`` describe what AWS withheld.

Every name is imported on first use, so that pandas loads only when a frame is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sm_tuning._lazy import lazy_names

if TYPE_CHECKING:
    from sm_tuning._cache_folder import CACHE_VARIABLE, cache_folder
    from sm_tuning._prices import PRICES_VARIABLE
    from sm_tuning.aws import Clock
    from sm_tuning.results._cache import clear_cache
    from sm_tuning.results._columns import (
        COST,
        CURVES,
        ERRORS,
        LEADERBOARD,
        LINEAGE,
        LOGS,
        NO_TIME,
        TRIALS,
        UTILIZATION,
        UTILIZATION_SUMMARY,
    )
    from sm_tuning.results._cost import cost, price_gap, warn_of_prices, without_price
    from sm_tuning.results._curves import curves
    from sm_tuning.results._failures import Failure, errors, explained, same_failures
    from sm_tuning.results._front import (
        costs_in,
        costs_of,
        feasible_of,
        front,
        hypervolume,
        hypervolumes,
        on_front,
        reference_of,
        values_of,
    )
    from sm_tuning.results._leaderboard import leaderboard
    from sm_tuning.results._lineage import lineage
    from sm_tuning.results._live import LiveTrial, LiveTrials, LogLine, ObjectiveValues, Seen, final_values, follow_logs
    from sm_tuning.results._logs import logs, moment_of
    from sm_tuning.results._reader import IncompleteWarning, Reader, Reading, ResultsWarning, Step, reading_with, warn
    from sm_tuning.results._schema import microseconds_of, rows_by
    from sm_tuning.results._snapshot import Snapshot, changed_jobs, described_jobs, snapshot
    from sm_tuning.results._table import Table
    from sm_tuning.results._trials import shown, trial_table, trials
    from sm_tuning.results._utilization import utilization, utilization_summary
else:
    _HOMES = {
        "sm_tuning._cache_folder": ("CACHE_VARIABLE", "cache_folder"),
        "sm_tuning._prices": ("PRICES_VARIABLE",),
        "sm_tuning.aws": ("Clock",),
        "._cache": ("clear_cache",),
        "._columns": (
            "COST",
            "CURVES",
            "ERRORS",
            "LEADERBOARD",
            "LINEAGE",
            "LOGS",
            "NO_TIME",
            "TRIALS",
            "UTILIZATION",
            "UTILIZATION_SUMMARY",
        ),
        "._cost": ("cost", "price_gap", "warn_of_prices", "without_price"),
        "._curves": ("curves",),
        "._failures": ("Failure", "errors", "explained", "same_failures"),
        "._front": (
            "costs_in",
            "costs_of",
            "feasible_of",
            "front",
            "hypervolume",
            "hypervolumes",
            "on_front",
            "reference_of",
            "values_of",
        ),
        "._lineage": ("lineage",),
        "._leaderboard": ("leaderboard",),
        "._live": ("LiveTrial", "LiveTrials", "LogLine", "ObjectiveValues", "Seen", "final_values", "follow_logs"),
        "._logs": ("logs", "moment_of"),
        "._reader": ("IncompleteWarning", "Reader", "Reading", "ResultsWarning", "Step", "reading_with", "warn"),
        "._schema": ("microseconds_of", "rows_by"),
        "._snapshot": ("Snapshot", "changed_jobs", "described_jobs", "snapshot"),
        "._table": ("Table",),
        "._trials": ("shown", "trial_table", "trials"),
        "._utilization": ("utilization", "utilization_summary"),
    }
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = [
    "CACHE_VARIABLE",
    "COST",
    "CURVES",
    "ERRORS",
    "LEADERBOARD",
    "LINEAGE",
    "LOGS",
    "NO_TIME",
    "PRICES_VARIABLE",
    "TRIALS",
    "UTILIZATION",
    "UTILIZATION_SUMMARY",
    "Clock",
    "Failure",
    "IncompleteWarning",
    "LiveTrial",
    "LiveTrials",
    "LogLine",
    "ObjectiveValues",
    "Reader",
    "Reading",
    "ResultsWarning",
    "Seen",
    "Snapshot",
    "Step",
    "Table",
    "cache_folder",
    "changed_jobs",
    "clear_cache",
    "cost",
    "costs_in",
    "costs_of",
    "curves",
    "described_jobs",
    "errors",
    "explained",
    "feasible_of",
    "final_values",
    "follow_logs",
    "front",
    "hypervolume",
    "hypervolumes",
    "leaderboard",
    "lineage",
    "logs",
    "microseconds_of",
    "moment_of",
    "on_front",
    "price_gap",
    "reading_with",
    "reference_of",
    "rows_by",
    "same_failures",
    "shown",
    "snapshot",
    "trial_table",
    "trials",
    "utilization",
    "utilization_summary",
    "values_of",
    "warn",
    "warn_of_prices",
    "without_price",
]
