"""Libraries that a test file loads when one of its tests needs them, not when it is collected.

Each worker of a test run collects every file: an import at the top of a file costs all of them, and of
``make test-fast`` it would be a large part.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any


class Later:
    """A module that is imported with the first use of one of its names."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # pytest asks for such names of whatever a test file has
            raise AttributeError(name)
        return getattr(importlib.import_module(self._module), name)


def is_missing(module: str) -> bool:
    """Whether a module of a library is not installed, found out without an import."""
    library, *parts = module.split(".")
    spec = importlib.util.find_spec(library)
    found = [Path(folder, *parts) for folder in (spec.submodule_search_locations or [] if spec else [])]
    return spec is None or not any(path.exists() or path.with_suffix(".py").exists() for path in found)
