"""Ray takes seconds to import: a run that leaves its tests out does not collect them."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    del collection_path
    return True if "not ray" in config.option.markexpr else None
