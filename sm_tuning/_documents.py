"""YAML and JSON of unknown origin: parsed within limits, so that no file exhausts time, memory or the stack."""

from __future__ import annotations

import errno
import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

#: The largest request of a tuning job needs a few hundred kilobytes and some ten levels.
MAX_BYTES = 300_000
MAX_NODES = 10_000
MAX_DEPTH = 50

#: Bits of the largest integers that a float can hold. Python refuses to print integers of more than 4,300 digits.
_MAX_BITS = 1023


class DocumentError(ValueError):
    """A document exceeds a limit, or holds a value that cannot be built, such as a date that does not exist."""


class YamlLoader(yaml.SafeLoader):
    """YAML without recursive or endless aliases, and with limits on nodes and depth."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._nodes = 0
        self._depth = 0
        self._sizes: dict[int, int] = {}

    def fetch_flow_collection_start(self, token_class: Any) -> None:
        """Read an opening bracket or brace. The scanner runs ahead of the composer, in quadratic time."""
        if self.flow_level >= MAX_DEPTH:
            raise DocumentError(f"it is nested more than {MAX_DEPTH} levels deep")
        super().fetch_flow_collection_start(token_class)

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose one node; an alias counts as many nodes as it stands for."""
        before, event = self._nodes, self.peek_event()  # type: ignore[no-untyped-call]
        is_alias = isinstance(event, yaml.AliasEvent)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise DocumentError(f"it is nested more than {MAX_DEPTH} levels deep")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and id(node) not in self._sizes:
            raise DocumentError(f"the alias *{event.anchor} refers to a value that contains it")
        self._nodes += self._sizes[id(node)] if is_alias else 1
        if self._nodes > MAX_NODES:
            raise DocumentError(f"it holds more than {MAX_NODES:,} values, aliases included")
        self._sizes.setdefault(id(node), self._nodes - before)
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Construct a value; PyYAML's own errors about values have many types."""
        try:
            return super().construct_object(node, deep=deep)
        except (yaml.YAMLError, DocumentError):
            raise
        except (ValueError, ArithmeticError, LookupError, AttributeError, TypeError) as error:
            line = node.start_mark.line + 1
            raise DocumentError(f"line {line} holds a value that is not a valid {node.tag.split(':')[-1]}") from error


def parse_yaml(text: str, loader: type[YamlLoader] = YamlLoader) -> Any:
    """Return the value of a YAML text.

    Raises:
        yaml.YAMLError: if the text is not YAML.
        DocumentError: if it exceeds a limit, or holds a value that cannot be built.
    """
    return _checked(yaml.load(text, Loader=loader))  # noqa: S506  (a subclass of SafeLoader)


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: if the text is not JSON, or an object has a key twice; ``DocumentError`` if it exceeds a limit.
    """

    def to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ValueError(f"duplicate key {key!r}")
            found[key] = value
        return found

    try:
        return _checked(json.loads(text, object_pairs_hook=to_object))
    except RecursionError as error:
        raise DocumentError(f"it is nested more than {MAX_DEPTH} levels deep") from error


def read_limited(path: Path) -> str:
    """Return the text of a file, which may be a pipe that a program writes to, of up to ``MAX_BYTES``.

    Raises:
        OSError: if the file cannot be read.
        UnicodeDecodeError: if it is not UTF-8.
        DocumentError: if it is larger.
    """
    # To open a pipe waits for a program that writes to it, maybe forever; without blocking, it is known at once.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        data = b""
        if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            with suppress(BlockingIOError):  # a program is there, but has written nothing yet
                data = os.read(file.fileno(), MAX_BYTES + 1)
                if not data:
                    raise OSError(errno.ENODATA, "it is a pipe, and no program writes to it")
        os.set_blocking(file.fileno(), True)
        data += file.read(MAX_BYTES + 1 - len(data))
    if len(data) > MAX_BYTES:
        raise DocumentError(f"it is larger than {MAX_BYTES:,} bytes")
    # As in Python's text files, so that line ends inside of texts do not depend on the editor.
    return data.decode().replace("\r\n", "\n").replace("\r", "\n")


def _checked(data: Any) -> Any:
    """Return parsed data, after a check of its depth, its size, its texts and its integers."""
    level, depth, count = [data], 0, 0
    while level:
        depth, count = depth + 1, count + len(level)
        if depth > MAX_DEPTH:
            raise DocumentError(f"it is nested more than {MAX_DEPTH} levels deep")
        if count > MAX_NODES:
            raise DocumentError(f"it holds more than {MAX_NODES:,} values, aliases included")
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value.keys()
                below += value.values()
            elif isinstance(value, list | tuple | set):
                below += value
            elif isinstance(value, int) and value.bit_length() > _MAX_BITS:
                raise DocumentError("it holds an integer of more than 308 digits")
            elif isinstance(value, str) and not value.isascii():
                _refuse_surrogates(value)
        level = below
    return data


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DocumentError(f"it holds a text with {text[error.start]!r}, which is half of a character") from error
