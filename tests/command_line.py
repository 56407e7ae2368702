"""Click's test runner, the same for all releases of click that work."""

from __future__ import annotations

import inspect

from click.testing import CliRunner


def separate_runner() -> CliRunner:
    """Return a runner whose results have stderr apart, which click 8.1 has to be told."""
    options = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}
    return CliRunner(**options)  # type: ignore[arg-type]
