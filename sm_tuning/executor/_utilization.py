"""What the processes of a host use of this machine, as the service measures its instances.

Developer Guide, monitoring-cloudwatch: CPUUtilization is the sum over the cores (0 to 100 times their number),
MemoryUtilization and DiskUtilization are shares of the whole (0 to 100), all in percent, each minute, with the
dimension ``Host=<training job>/algo-<n>``. The service has machines of its own for each job; here the processor time is
what the job really used, bounded by what its instance type has, and memory and disk are shares of this machine's.
GPUs are not measured.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from sm_tuning._machines import cpus_of
from sm_tuning.executor._process import Exit, Files
from sm_tuning.executor._script import count_cpus

Point = tuple[str, float, float]
"""Metric name, epoch seconds, percent."""


class Meter:
    """Measures one host, and keeps what it measured in a file, from which ``recorded`` reads it again.

    Args:
        files: the host's records, which name its process.
        folder: the host's work folder.
        started: epoch seconds at which its process is started.
        instance_type: what the job says that the host is.
    """

    def __init__(self, files: Files, folder: Path, started: float, instance_type: str) -> None:
        self._files = files
        self._folder = folder
        self._cpus = min(count_cpus(), cpus_of(instance_type) or count_cpus())
        self._at = started
        self._cpu_seconds = 0.0
        self._measured = False

    def measure(self, now: float) -> list[Point]:
        """Return what the processes use: processor time since the last point, memory and disk now.

        Shared memory counts for each process that has it.
        """
        tree = _tree(self._files.read_process())
        if not tree:
            return []
        cpu_seconds = sum(_cpu_seconds(one) for one in tree)
        memory = sum(_resident(one) for one in tree)
        return self._keep(now, cpu_seconds, {"MemoryUtilization": 100 * memory / psutil.virtual_memory().total})

    def close(self, ended: Exit) -> list[Point]:
        """Return the last point, of the time since the one before; for short jobs it is the only one.

        Memory is then the most that any one process had, if it was never measured while they ran.
        """
        peak = {"MemoryUtilization": 100 * ended.peak_bytes / psutil.virtual_memory().total}
        return self._keep(ended.ended, ended.cpu_seconds, {} if self._measured else peak)

    def _keep(self, now: float, cpu_seconds: float, memory: Mapping[str, float]) -> list[Point]:
        seconds = now - self._at
        if seconds <= 0:
            return []
        used = max(0.0, cpu_seconds - self._cpu_seconds)
        percent = {"CPUUtilization": min(100 * used / seconds, 100.0 * self._cpus), **memory}
        disk = shutil.disk_usage(self._files.folder)
        percent["DiskUtilization"] = 100 * _size(self._folder) / disk.total
        self._at, self._cpu_seconds, self._measured = now, max(cpu_seconds, self._cpu_seconds), True
        points = [
            (name, now, min(value, 100.0) if name != "CPUUtilization" else value) for name, value in percent.items()
        ]
        with self._files.utilization.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(point) + "\n" for point in points)
        return points


def recorded(files: Files) -> Iterator[Point]:
    """Yield the points that meters of earlier servers kept; a line that was cut off is passed over."""
    with suppress(FileNotFoundError):
        for line in files.utilization.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                name, when, value = json.loads(line)
                yield name, when, value


def _tree(pid: int | None) -> list[psutil.Process]:
    with suppress(psutil.Error):
        if pid is not None:
            root = psutil.Process(pid)
            return [root, *root.children(recursive=True)]
    return []


def _cpu_seconds(process: psutil.Process) -> float:
    """Return a process's time and that of its children that have ended."""
    with suppress(psutil.Error):
        times = process.cpu_times()
        return float(sum((times.user, times.system, times.children_user, times.children_system)))
    return 0.0


def _resident(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def _size(folder: Path) -> int:
    return sum(_blocks(folder.rglob("*")))


def _blocks(paths: Iterable[Path]) -> Iterator[int]:
    for path in paths:
        with suppress(OSError):
            yield path.lstat().st_size
