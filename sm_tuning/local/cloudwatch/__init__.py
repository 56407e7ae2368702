"""Log events and metric values of the training jobs, stored on disk and read page by page."""

from __future__ import annotations

from sm_tuning.local.cloudwatch._database import METRIC_NAMESPACE, Database, MetricStore
from sm_tuning.local.cloudwatch._events import Cursor, Event, LogStore, Position, Stream
from sm_tuning.local.cloudwatch._logs import LOG_GROUP, LogsService, PatternError, matcher

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
    "Position",
    "Stream",
    "matcher",
]
