"""The GPUs of this machine: each training process has its own while it runs, and how busy they are.

CUDA shows a process the devices that ``CUDA_VISIBLE_DEVICES`` names, by number or UUID. With ``CUDA_DEVICE_ORDER`` set
to ``PCI_BUS_ID`` the numbers are those of NVML and of the device files (CUDA C++ Programming Guide, environment
variables).
"""

from __future__ import annotations

import importlib
import itertools
import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sm_tuning._machines import gpus_of

VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
_DEVICE = re.compile(r"nvidia(\d+)")
_WAIT_SECONDS = 0.1

_log = logging.getLogger(__name__)


class Gpus:
    """The GPUs that this process may use, shared out to training jobs.

    Args:
        devices: the folder of the device files.
        environ: the environment; GPUs that its ``CUDA_VISIBLE_DEVICES`` leaves out are not used.
        sleep: waits while all GPUs are taken.
    """

    def __init__(
        self,
        devices: Path = Path("/dev"),
        environ: Mapping[str, str] = os.environ,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        files = devices.iterdir() if devices.is_dir() else ()
        numbers = sorted(int(match[1]) for path in files if (match := _DEVICE.fullmatch(path.name)))
        visible = environ.get(VISIBLE_DEVICES)
        named = [name.strip() for name in (visible or "").split(",") if name.strip()]
        #: Their numbers or UUIDs; empty on a machine without GPUs.
        self.names: tuple[str, ...] = tuple(map(str, numbers) if visible is None else named if numbers else ())
        self._free: list[str] = list(self.names)
        self._sleep = sleep
        self._lock = threading.Lock()
        self._queue: deque[object] = deque()
        self._nvml: Any = None
        self._nvml_problem = ""

    @contextmanager
    def claim(self, instance_types: Sequence[str], check: Callable[[], None]) -> Iterator[list[tuple[str, ...]]]:
        """Yield GPUs for each host of a job, which no other job has meanwhile; wait until enough are free.

        A host gets as many as its instance type has, at most an equal share of this machine's; a type whose number is
        unknown gets its share. With more hosts than GPUs, several hosts have the same one. Jobs are served in turn, so
        that small jobs do not keep a large one waiting for ever.

        Args:
            instance_types: of the hosts.
            check: called while waiting; raises if the job must not continue.
        """
        total, wishes = len(self.names), list(map(gpus_of, instance_types))
        users = sum(wish != 0 for wish in wishes)
        most = max(total // users, 1) if users and total else 0
        counts = [most if wish is None else min(wish, most) for wish in wishes]
        taken = self._take(min(sum(counts), total), check)
        try:
            # Round and round, for more hosts than GPUs.
            turns = itertools.cycle(taken)
            yield [tuple(itertools.islice(turns, count)) for count in counts]
        finally:
            with self._lock:
                # In the machine's order, so that later trials get the same sets, and with them the same templates.
                self._free = [name for name in self.names if name in (*self._free, *taken)]

    def _take(self, count: int, check: Callable[[], None]) -> list[str]:
        ticket = object()
        with self._lock:
            self._queue.append(ticket)
        try:
            while True:
                with self._lock:
                    if self._queue[0] is ticket and len(self._free) >= count:
                        taken, self._free = self._free[:count], self._free[count:]
                        return taken
                check()
                self._sleep(_WAIT_SECONDS)
        finally:
            with self._lock:
                self._queue.remove(ticket)

    def load(self, names: Sequence[str]) -> tuple[float, float] | None:
        """Return the sums of use and of used memory of some GPUs in percent; None if NVML does not say."""
        nvml = self._start_nvml() if names else None
        if nvml is None:
            return None
        use = memory = 0.0
        try:
            for name in names:
                find = nvml.nvmlDeviceGetHandleByIndex if name.isdecimal() else nvml.nvmlDeviceGetHandleByUUID
                device = find(int(name) if name.isdecimal() else name)
                use += nvml.nvmlDeviceGetUtilizationRates(device).gpu
                held = nvml.nvmlDeviceGetMemoryInfo(device)
                memory += 100 * held.used / held.total
        except nvml.NVMLError as error:  # a part of a GPU (MIG) has no use of its own
            self._log_problem(f"NVML does not say how busy GPU {name} is: {error}")
            return None
        return use, memory

    def close(self) -> None:
        """Disconnect from NVML."""
        with self._lock:
            if self._nvml is not None:
                self._nvml.nvmlShutdown()
                self._nvml = None

    def _start_nvml(self) -> Any:
        with self._lock:
            if self._nvml is None and not self._nvml_problem:
                try:
                    nvml = importlib.import_module("pynvml")
                except ImportError:
                    self._log_problem("GPUs are not measured: pip install 'sm-tuning[gpu]'")
                    return None
                try:
                    nvml.nvmlInit()
                except nvml.NVMLError as error:
                    self._log_problem(f"GPUs are not measured: NVML does not start: {error}")
                else:
                    self._nvml = nvml
            return self._nvml

    def _log_problem(self, problem: str) -> None:
        if problem != self._nvml_problem:
            _log.warning("%s", problem)
        self._nvml_problem = problem
