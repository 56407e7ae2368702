"""Tuning jobs, training jobs, metric emissions and tags, in a SQLite file."""

from __future__ import annotations

from sm_tuning.local.store._query import BadTokenError, ListQuery
from sm_tuning.local.store._store import HiddenMembers, NameTaken, Store, hidden

__all__ = ["BadTokenError", "HiddenMembers", "ListQuery", "NameTaken", "Store", "hidden"]
