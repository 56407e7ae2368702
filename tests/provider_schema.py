"""The schema of Terraform's AWS provider, read from the types of its bindings for the CDK Terrain.

The bindings are generated from the provider's own schema: an interface for each resource and block, whose members name
the argument in the link to its documentation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

#: Arguments of Terraform itself, which every resource has, and comments.
_META = {"//", "count", "depends_on", "for_each", "lifecycle", "provider", "provisioner"}

_INTERFACE = re.compile(r"^export interface (\w+)(?: extends [\w.]+)? \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_MEMBER = re.compile(r"#(\w+) \w+#\w+\}.*?\*/\s+readonly \w+(\??): (.*?);\n(?=\s*(?:/\*\*|\Z))", re.DOTALL)

#: The types of the bindings, without the union with a value that is known later.
_PLAIN = {"string": (str,), "number": (int, float), "boolean": (bool,)}


class Argument(NamedTuple):
    """An argument or a block."""

    is_required: bool
    type: str


class Schemas:
    """The resources, each read when it is first needed.

    Args:
        environment: the folder with the package of the bindings.
    """

    def __init__(self, environment: Path) -> None:
        self._package = environment / "package"
        about = json.loads((self._package / "package.json").read_text("utf-8"))
        self.version: str = about["cdktn"]["provider"]["version"]
        self.read: dict[str, dict[str, dict[str, Argument]]] = {}

    def problems(self, kind: str, arguments: Mapping[str, Any]) -> Iterator[str]:
        """Yield what a resource has and its schema has not, and what it lacks."""
        if kind not in self.read:
            folder = self._package / "lib" / kind.removeprefix("aws_").replace("_", "-")
            if not folder.is_dir():
                yield "the provider has no such resource"
                return
            self.read[kind] = interfaces((folder / "index.d.ts").read_text("utf-8"))
        main = next(name for name in self.read[kind] if name.endswith("Config"))
        yield from self._misfits(self.read[kind], main, arguments, "")

    def _misfits(
        self, known: Mapping[str, Mapping[str, Argument]], name: str, given: Mapping[str, Any], place: str
    ) -> Iterator[str]:
        arguments = known[name]
        for key in sorted(set(given) - set(arguments) - _META):
            yield f"{place}{key}: there is no such argument"
        for key, argument in arguments.items():
            if argument.is_required and key not in given:
                yield f"{place}{key}: is required"
            if key in given:
                yield from self._of_type(known, argument.type, given[key], f"{place}{key}")

    def _of_type(
        self, known: Mapping[str, Mapping[str, Argument]], type_: str, value: Any, place: str
    ) -> Iterator[str]:
        type_ = type_.removesuffix(" | cdktn.IResolvable")
        block = type_.removesuffix("[]")
        if block in known:
            # In Terraform's JSON syntax a single block is an object, or a list of one.
            for item in value if isinstance(value, list) else [value]:
                yield from self._misfits(known, block, item, f"{place}.")
        elif type_.endswith("[]"):
            if not isinstance(value, list) or not all(isinstance(item, _PLAIN[block]) for item in value):
                yield f"{place}: must be a list of {block}, but is {value!r}"
        elif type_.startswith("{"):
            if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
                yield f"{place}: must be a map of strings, but is {value!r}"
        elif not isinstance(value, _PLAIN[type_]) or (isinstance(value, bool) and type_ != "boolean"):
            yield f"{place}: must be a {type_}, but is {value!r}"


def interfaces(text: str) -> dict[str, dict[str, Argument]]:
    """Return the arguments of each interface of a file, by their names in Terraform. The first is the resource."""
    return {
        name: {key: Argument(not optional, " ".join(kind.split())) for key, optional, kind in _MEMBER.findall(body)}
        for name, body in _INTERFACE.findall(text)
    }
