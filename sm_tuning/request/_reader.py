"""Read a service response so that nothing in it is passed over in silence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sm_tuning._errors import SpecError


class Reader:
    """A structure of the API whose members are taken one by one; what nobody took is reported at the end.

    Readers of inner structures share the list of problems with the outermost one, so that a job that cannot be
    read says everything that stands in the way at once.
    """

    def __init__(self, data: Any, where: str = "", problems: list[str] | None = None) -> None:
        self._data: dict[str, Any] = dict(data) if isinstance(data, Mapping) else {}
        self.where = where
        self.problems: list[str] = [] if problems is None else problems

    def take(self, name: str, fallback: Any = None) -> Any:
        """Take a member; the fallback when it is absent or null."""
        value = self._data.pop(name, None)
        return fallback if value is None else value

    def text(self, name: str) -> str | None:
        """Take a text; the service writes an empty one for a key that is not set."""
        value = self.take(name)
        return str(value) if value not in (None, "") else None

    def inner(self, name: str) -> Reader:
        """Take a structure; an empty reader when it is absent."""
        return Reader(self.take(name), self.path(name), self.problems)

    def items(self, name: str) -> list[Reader]:
        """Take a list of structures."""
        found = self.take(name, ())
        return [Reader(item, f"{self.path(name)}[{number}]", self.problems) for number, item in enumerate(found)]

    def path(self, name: str) -> str:
        """Where a member stands, for a message."""
        return f"{self.where}.{name}" if self.where else name

    def refuse(self, name: str, value: Any, why: str) -> None:
        """Note a member that a spec cannot hold."""
        self.problems.append(f"{self.path(name)}: {why}, but got {value!r}")

    def close(self) -> None:
        """Note every member that nobody took and that says something."""
        for name, value in self._data.items():
            if not _says_nothing(value):
                self.problems.append(f"{self.path(name)}: a spec has no field for this, but got {value!r}")
        self._data.clear()

    def raise_problems(self) -> None:
        """Close, and raise what was noted.

        Raises:
            SpecError: naming each member that a spec cannot hold.
        """
        self.close()
        if self.problems:
            raise SpecError(self.problems)


def _says_nothing(value: Any) -> bool:
    """Whether a member holds what the service writes for "not set"; a zero is a value."""
    return value is None or value is False or (isinstance(value, str | Mapping | list | tuple) and not value)
