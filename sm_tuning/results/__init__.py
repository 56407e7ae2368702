"""Tuning jobs as DataFrames: their trials, their metrics' curves, their logs.

Every frame has the columns and dtypes that ``_schema`` declares, with rows or without.
"""

from sm_tuning.results._curves import curves
from sm_tuning.results._logs import logs
from sm_tuning.results._schema import CURVES, LOGS, TRIALS
from sm_tuning.results._trials import trials

__all__ = ["CURVES", "LOGS", "TRIALS", "curves", "logs", "trials"]
