"""Events of log groups in moto, which ignores prefixes of streams and most filter patterns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sm_tuning.local.cloudwatch import LOG_GROUP, Cursor, Event, Position


class Groups:
    """The log groups in moto.

    The training jobs' group is empty there, but is listed, tagged and deleted there.

    Args:
        backend: moto's backend of an account and region.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def exists(self) -> bool:
        """Return whether the training jobs' group exists."""
        return LOG_GROUP in self._backend.groups

    def ensure(self) -> None:
        """Create the training jobs' group, if it does not exist."""
        if not self.exists():
            self._backend.create_log_group(LOG_GROUP, {})

    def remove(self) -> None:
        """Delete the training jobs' group."""
        self._backend.delete_log_group(LOG_GROUP)

    def other(self, name: str) -> OtherGroup | None:
        """Return another group; None if it does not exist."""
        group = self._backend.groups.get(name)
        return None if group is None else OtherGroup(group)


class OtherGroup:
    """The events of a log group in moto, read as those of a LogStore.

    Args:
        group: moto's group.
    """

    def __init__(self, group: Any) -> None:
        self._streams = group.streams

    def stream(self, name: str) -> Any:
        """Return a stream by its name; None if it does not exist."""
        return self._streams.get(name)

    def read_group(
        self,
        streams: Sequence[str] | str,
        cursor: Cursor,
        limit: int,
        matches: Callable[[str], bool] | None = None,
    ) -> tuple[list[Event], Position | None]:
        """Return a page of several streams, and the position of the next page if there is one."""
        found = sorted(
            (
                Event(event.event_id, name, event.timestamp, event.ingestion_time, event.message)
                for name, stream in list(self._streams.items())
                if (name.startswith(streams) if isinstance(streams, str) else name in streams)
                for event in list(stream.events)
                if (cursor.start is None or event.timestamp >= cursor.start)
                and (cursor.end is None or event.timestamp < cursor.end)
                and (matches is None or matches(event.message))
            ),
            key=lambda event: event.position,
            reverse=cursor.backwards,
        )
        if cursor.position is not None:
            after = cursor.position
            found = [one for one in found if (one.position < after if cursor.backwards else one.position > after)]
        page = found[:limit]
        return page, page[-1].position if len(found) > limit else None
