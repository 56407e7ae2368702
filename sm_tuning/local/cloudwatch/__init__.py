"""Log events and metric values of the training jobs, kept on disk and read page by page."""

from __future__ import annotations

from sm_tuning.local.cloudwatch._database import Database
from sm_tuning.local.cloudwatch._events import Cursor, Event, LogStore, Stream
from sm_tuning.local.cloudwatch._logs import LOG_GROUP, LogsService, PatternError, matcher
from sm_tuning.local.cloudwatch._metrics import METRIC_NAMESPACE, MetricStore

__all__ = [
    "LOG_GROUP",
    "METRIC_NAMESPACE",
    "Cursor",
    "Database",
    "Event",
    "LogStore",
    "LogsService",
    "MetricStore",
    "PatternError",
    "Stream",
    "matcher",
]
