"""Structures of the API, read member by member, so that none is dropped silently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sm_tuning._errors import Problem


class Reader:
    """A structure of the API whose members are taken one by one; a member that is left over is a problem.

    Closing the outermost reader closes those of inner structures too, and leaves all problems in it, so that the error
    about a job that cannot be read names them all at once.
    """

    def __init__(self, data: Any, where: str = "") -> None:
        self._data: dict[str, Any] = dict(data) if isinstance(data, Mapping) else {}
        self._where = where
        self._inner: list[Reader] = []
        self.problems: list[Problem] = []

    def take(self, name: str, fallback: Any = None) -> Any:
        """Take a member; the fallback if it is absent or null."""
        value = self._data.pop(name, None)
        return fallback if value is None else value

    def text(self, name: str) -> str | None:
        """Take a text; the service writes an empty one for a key that is not set."""
        value = self.take(name)
        return str(value) if value not in (None, "") else None

    def inner(self, name: str, data: Any = None) -> Reader:
        """Take a structure, or read ``data`` in its place; an empty reader if it is absent."""
        value = self.take(name, data)
        if value is not None and not isinstance(value, Mapping):
            self.refuse(name, value, "must be a structure")
        self._inner.append(Reader(value, self._path(name)))
        return self._inner[-1]

    def items(self, name: str) -> list[Reader]:
        """Take a list of structures; anything else in its place is a problem."""
        value = self.take(name, ())
        if not isinstance(value, list | tuple) or not all(isinstance(item, Mapping) for item in value):
            self.refuse(name, value, "must be a list of structures")
            return []
        found = [Reader(item, f"{self._path(name)}[{number}]") for number, item in enumerate(value)]
        self._inner += found
        return found

    def refuse(self, name: str, value: Any, why: str) -> None:
        """Add a problem about a member that a spec cannot hold."""
        self.problems.append(Problem("", self._path(name), f"{why}, but got {value!r}"))

    def close(self) -> None:
        """Add a problem for each member that is left over, unless its value is how the service writes "not set"."""
        for name, value in self._data.items():
            # A zero is a value; False and what is empty are not.
            is_empty = isinstance(value, str | Mapping | list | tuple) and not value
            if value is not None and value is not False and not is_empty:
                self.refuse(name, value, "a spec has no field for this")
        self._data.clear()
        for reader in self._inner:
            reader.close()
            self.problems += reader.problems
        self._inner.clear()

    def _path(self, name: str) -> str:
        return f"{self._where}.{name}" if self._where else name


def given(**members: Any) -> dict[str, Any]:
    """Return the members that have a value."""
    return {name: value for name, value in members.items() if value is not None}


def thawed(value: Any) -> Any:
    """Return plain dicts and lists in place of frozen ones."""
    if isinstance(value, Mapping):
        return {key: thawed(item) for key, item in value.items()}
    return [thawed(item) for item in value] if isinstance(value, list | tuple) else value
