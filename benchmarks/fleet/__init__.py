"""Calls and times of syncs of many tuning jobs."""
