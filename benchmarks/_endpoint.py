"""A program that answers as AWS does, for as long as it is measured against."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def endpoint(module: str, *arguments: object) -> Iterator[str]:
    """Give the address of a program that prints its port when it answers.

    Args:
        module: of the program.
        arguments: of the program.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()
