"""Utilization of a host, in the form in which the service publishes it.

Developer Guide, monitoring-cloudwatch: CPUUtilization is the sum over the cores (0 to 100 times their number),
MemoryUtilization and DiskUtilization are shares of the whole (0 to 100), all in percent, each minute, with the
dimension ``Host=<training job>/algo-<n>``. The service has a machine for each host. Here the processor time is that of
the job, limited to the cores of its instance type; memory and disk are shares of this machine's. GPUUtilization and
GPUMemoryUtilization are sums over the GPUs of the host (0 to 100 times their number), means of samples of NVML.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

from sm_tuning._machines import cpus_of
from sm_tuning.executor._process import Exit, Files, count_cpus

_GPU_SECONDS = 1.0

Point = tuple[str, float, float]
"""Metric name, epoch seconds, percent."""


class Meter:
    """Measures a host and records the points in a file.

    Args:
        files: records of the host, which name its process.
        folder: work folder of the host.
        started: epoch seconds at which its process is started.
        instance_type: instance type of the host.
        gpu_load: returns the use and the used memory of the host's GPUs in percent; None if they are unknown.
    """

    def __init__(
        self,
        files: Files,
        folder: Path,
        started: float,
        instance_type: str,
        gpu_load: Callable[[], tuple[float, float] | None] = lambda: None,
    ) -> None:
        self._files = files
        self._folder = folder
        self._cpus = min(count_cpus(), cpus_of(instance_type) or count_cpus())
        self._at = started
        self._cpu_seconds = 0.0
        self._measured = False
        self._gpu_load = gpu_load
        self._gpu_loads: list[tuple[float, float]] = []
        self._gpu_at = started

    def sample(self, now: float) -> None:
        """Take a sample of the GPUs, at most one a second: NVML says how busy a GPU has just been, not since when."""
        if now - self._gpu_at >= _GPU_SECONDS and (load := self._gpu_load()) is not None:
            self._gpu_at = now
            self._gpu_loads.append(load)

    def measure(self, now: float) -> list[Point]:
        """Return the points of now: processor time since the last point, memory and disk.

        Shared memory counts for each process that has it.
        """
        pid = self._files.read_process()
        tree: list[psutil.Process] = []
        with suppress(psutil.Error):
            if pid is not None:
                root = psutil.Process(pid)
                tree = [root, *root.children(recursive=True)]
        if not tree:
            return []
        cpu_seconds, memory = 0.0, 0
        for process in tree:
            with suppress(psutil.Error):  # it has ended since
                times = process.cpu_times()
                # The children_ fields hold the time of children that have ended.
                cpu_seconds += times.user + times.system + times.children_user + times.children_system
                memory += process.memory_info().rss
        return self._record(now, cpu_seconds, {"MemoryUtilization": 100 * memory / _total_memory()})

    def close(self, ended: Exit) -> list[Point]:
        """Return the points at the end of the process; for short jobs they are the only ones.

        Memory is then the peak of any one process, if it was not measured before.
        """
        peak = {"MemoryUtilization": 100 * ended.peak_bytes / _total_memory()}
        return self._record(ended.ended, ended.cpu_seconds, {} if self._measured else peak)

    def _record(self, now: float, cpu_seconds: float, memory: Mapping[str, float]) -> list[Point]:
        seconds = now - self._at
        if seconds <= 0:
            return []
        used = max(0.0, cpu_seconds - self._cpu_seconds)
        size = _size_of(self._folder)
        loads, self._gpu_loads = self._gpu_loads, []
        means = [sum(column) / len(loads) for column in zip(*loads, strict=True)]
        percent = {
            "CPUUtilization": min(100 * used / seconds, 100.0 * self._cpus),
            **{name: min(value, 100.0) for name, value in memory.items()},
            "DiskUtilization": min(100 * size / shutil.disk_usage(self._files.folder).total, 100.0),
            **dict(zip(("GPUUtilization", "GPUMemoryUtilization"), means, strict=False)),
        }
        self._at, self._cpu_seconds, self._measured = now, max(cpu_seconds, self._cpu_seconds), True
        points = [(name, now, value) for name, value in percent.items()]
        with self._files.utilization.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(point) + "\n" for point in points)
        return points


@cache
def _total_memory() -> int:
    return int(psutil.virtual_memory().total)


def _size_of(folder: str | Path) -> int:
    """Return the bytes of all entries below a folder; the script may delete some meanwhile."""
    size = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                size += entry.stat(follow_symlinks=False).st_size
                if entry.is_dir(follow_symlinks=False):
                    size += _size_of(entry.path)
    return size


def recorded(files: Files) -> Iterator[Point]:
    """Yield the points that meters of earlier servers recorded; a truncated line is skipped."""
    with suppress(FileNotFoundError):
        for line in files.utilization.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                name, when, value = json.loads(line)
                yield name, when, value
