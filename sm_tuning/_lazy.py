"""Packages whose public names are imported on first use [PEP 562]."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a package that imports its modules on demand.

    Args:
        package: the package's ``__name__``.
        homes: module -> the public names that it defines; ``._read`` is relative to the package, and an empty list
            stands for a public submodule.
    """
    home_of = {name: module for module, names in homes.items() for name in names or [module.removeprefix(".")]}

    def load(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(home_of[name], package)
        value = getattr(module, name) if homes[home_of[name]] else module
        # With the name in the package's namespace, Python does not call __getattr__ for it again.
        setattr(sys.modules[package], name, value)
        return value

    return load, lambda: sorted(home_of)
