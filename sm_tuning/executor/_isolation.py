"""The server's side of namespaces: whether the system allows them, and commands that start in them.

EnableNetworkIsolation of the service lets no call in or out, "except for calls between peers within a training
cluster": the hosts of an isolated job share one network that holds a loopback interface and nothing else.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sm_tuning.executor._errors import TrainingFailedError

Order = Mapping[str, Any]
"""See ``_namespace.py``."""

_PROBE_SECONDS = 20.0


class Namespaces:
    """What this system allows, found out once for each kind by trying.

    Args:
        wanted: False does without namespaces even where the system allows them.
    """

    def __init__(self, *, wanted: bool = True) -> None:
        self._wanted = wanted
        self._lock = threading.Lock()
        self._problems: dict[str, str | None] = {}

    def problem(self, order: Order) -> str | None:
        """Return why orders of this kind cannot be carried out here; None when they can."""
        if not self._wanted:
            return "the server was told to use no namespaces"
        kind = ",".join(sorted(key for key, value in order.items() if value))
        with self._lock:
            if kind not in self._problems:
                self._problems[kind] = _try(order)
            return self._problems[kind]


def _try(order: Order) -> str | None:
    if sys.platform != "linux":
        return f"namespaces are of Linux, and this is {sys.platform}"
    command = launched([sys.executable, "-I", "-S", "-c", ""], order)
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"the attempt took longer than {_PROBE_SECONDS:g} s"
    return None if ended.returncode == 0 else ended.stderr.strip() or f"exit code {ended.returncode}"


def launched(argv: list[str], order: Order) -> list[str]:
    """Return the arguments that start a program as an order says."""
    return [sys.executable, "-I", "-S", str(Path(__file__).with_name("_namespace.py")), json.dumps(dict(order)), *argv]


@contextmanager
def shared_network() -> Iterator[int]:
    """Hold a network of its own for several programs, and give the process id to join.

    The holder ends with this server, however that ends.

    Raises:
        TrainingFailedError: it did not start.
    """
    with subprocess.Popen(
        launched(["hold"], {"net": True}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stderr is not None
        assert holder.stdin is not None
        try:
            if holder.stdout.readline() != "ready\n":
                raise TrainingFailedError(f"InternalServerError: no network for the hosts: {holder.stderr.read()}")
            yield holder.pid
        finally:
            with suppress(OSError):
                holder.stdin.close()
