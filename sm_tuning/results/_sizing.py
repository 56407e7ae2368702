"""Whether instances of another size would do, from how busy they were. Pure.

Halving a machine doubles what the same work takes of it, so that it fits while at most 45 percent are used, which
leaves a tenth of the smaller machine free.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from sm_tuning._machines import cpus_of, gpus_of

_HALVES = 45.0
_FULL = 90.0
_IDLE = 10.0
_FEWEST = 5  # minutes of measurement, below which nothing is said


class Load(NamedTuple):
    """How busy all instances of a type were, in percent; None where nothing was measured."""

    cpu: float | None
    memory: float | None
    disk: float | None
    gpu: float | None
    gpu_memory: float | None


def hints(table: pd.DataFrame, machines: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """One sentence for each thing that the measurements say about an instance type; none when its size is right.

    Args:
        table: what ``utilization`` gives.
        machines: instance types and counts by trial.
    """
    types = {name: entries[0]["InstanceType"] for name, entries in machines.items() if len(entries) == 1}
    of = table["TrainingJobName"].map(types)
    found: list[str] = []
    for instance_type, rows in table.groupby(of, sort=True):
        measured = rows.dropna(subset="Value").groupby("MetricName", observed=True)["Value"]
        if measured.size().get("CPUUtilization", 0) < _FEWEST:
            continue
        p95, most = measured.quantile(0.95).to_dict(), measured.max().to_dict()
        load = Load(
            cpu=p95.get("CPUUtilization"),
            memory=most.get("MemoryUtilization"),
            disk=most.get("DiskUtilization"),
            gpu=p95.get("GPUUtilization"),
            gpu_memory=most.get("GPUMemoryUtilization"),
        )
        found += [f"{instance_type}: {sentence}" for sentence in sentences(str(instance_type), load)]
    return found


def sentences(instance_type: str, load: Load) -> Iterator[str]:
    """What the load of a type says about its size."""
    cpus, gpus = cpus_of(instance_type), gpus_of(instance_type)
    if load.memory is not None and load.memory > _FULL:
        yield f"memory was {load.memory:.0f} % full at most: take a type with more, before a trial dies of it"
    if load.disk is not None and load.disk > _FULL:
        yield f"the disk was {load.disk:.0f} % full at most: raise volume_size"
    if load.gpu_memory is not None and load.gpu_memory > _FULL:
        yield f"GPU memory was {load.gpu_memory:.0f} % full at most: a larger batch will not fit"
    if gpus and load.gpu is not None:
        yield from _about_gpus(load, gpus)
    elif gpus == 0 and cpus and load.cpu is not None and load.memory is not None:
        yield from _about_cpus(load.cpu, load.memory, cpus)


def _about_cpus(cpu: float, memory: float, cpus: int) -> Iterator[str]:
    if cpus > 2 and max(cpu, memory) <= _HALVES:
        yield (
            f"CPU was at most {cpu:.0f} % busy 95 % of the time, memory {memory:.0f} % full at most: "
            f"a type of the same family with {cpus // 2} instead of {cpus} CPUs would do"
        )


def _about_gpus(load: Load, gpus: int) -> Iterator[str]:
    gpu = load.gpu or 0.0
    if gpu < _IDLE:
        yield f"GPUs were at most {gpu:.0f} % busy 95 % of the time: a type without GPU would do, or the code uses none"
    elif load.cpu is not None and load.cpu > _FULL and gpu < _HALVES:
        yield f"CPU was {load.cpu:.0f} % busy and GPUs {gpu:.0f} %: they wait for data; take more CPUs for each GPU"
    elif gpus > 1 and max(gpu, load.gpu_memory or 0.0) <= _HALVES:
        yield f"GPUs were at most {gpu:.0f} % busy 95 % of the time: {gpus // 2} instead of {gpus} would do"
