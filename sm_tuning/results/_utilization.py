"""The frame of how busy the instances were, its summary, and advice on the instance type.

SageMaker writes these metrics every minute to CloudWatch, by host (Developer Guide, monitoring-cloudwatch): CPU as the
sum over the virtual CPUs and GPU and GPU memory as the sum over the GPUs, memory and disk as percent of the machine.

Half a machine needs twice the percentage for the same work, so it suffices if at most 45 percent were used: that
leaves a tenth of the smaller machine free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sm_tuning._machines import cpus_of, gpus_of
from sm_tuning.aws import Aws
from sm_tuning.description import Machines, Trial, select
from sm_tuning.results._cloudwatch import Averages, read_averages, wanted
from sm_tuning.results._columns import UTILIZATION, UTILIZATION_SUMMARY
from sm_tuning.results._fetch import read_details, read_jobs
from sm_tuning.results._logs import TrialFilter
from sm_tuning.results._reader import Reader, Reading, by_trial_cached, reading_with, warn
from sm_tuning.results._schema import frame, join, repeated

METRICS = (
    "CPUUtilization",
    "MemoryUtilization",
    "DiskUtilization",
    "GPUUtilization",
    "GPUMemoryUtilization",
)

_HALVES = 45.0  # percent
_FULL = 90.0
_IDLE = 10.0
_FEWEST = 5  # minutes of measurement that advice needs


def utilization(
    aws: Aws, names: str | Sequence[str], *, trials: TrialFilter = None, reading: Reading | None = None
) -> pd.DataFrame:
    """Return how busy every instance of every trial was, in percent of the whole machine.

    Args:
        aws: the connection.
        names: tuning jobs.
        trials: only these training jobs, by name or by number.
        reading: how to read.

    Returns:
        ``TrainingJobName, Host, MetricName, Timestamp, Value``, ordered by trial, host, metric (``METRICS``) and time:
        the average over a minute; over five minutes for trials of more than 15 days ago; over an hour after 63 days.
        ``Value`` is nan, with a warning, if the number of CPUs or GPUs of the instance type is unknown. Trials shorter
        than a minute may have no rows. ``attrs["machines"]`` has instance types and counts by trial, those of most
        trials under an empty name. If AWS withholds a part, ``attrs["incomplete"]`` describes it.

    Raises:
        SpecError: there is no such trial.
        JobNotFoundError: there is no such tuning job.
    """
    with reading_with(aws, reading) as reader:
        per_job = read_jobs(reader, names)
        chosen = select(per_job, trials)
        machines = {trial.name: job.definition(trial).machines for job, members in chosen.items() for trial in members}
        # Where a definition leaves the instance type open, the description of each training job has it.
        unknown = {job: [trial for trial in members if not machines[trial.name]] for job, members in chosen.items()}
        if any(unknown.values()):
            details, _ = read_details(reader, {job: members for job, members in unknown.items() if members})
            machines |= {name: detail.machines for name, detail in details.items()}

        def read(reader: Reader, missing: Sequence[Trial]) -> pd.DataFrame:
            return _read(reader, missing, machines)

        parts = [
            by_trial_cached(reader, job, ("utilization", {}), UTILIZATION, members, read)
            for job, members in chosen.items()
        ]
        found = join(UTILIZATION, parts, [trial.name for members in chosen.values() for trial in members])
        unscaled = found.loc[found["Value"].isna(), "TrainingJobName"].unique()
        if len(unscaled):
            types = sorted({group.type for name in unscaled for group in machines[name]}) or ["an unknown type"]
            warn(
                f"the numbers of CPUs and GPUs of {', '.join(types)} are not known, so that their share of the machine "
                "is nan: update sm-tuning, or read the raw metrics from CloudWatch"
            )
        # pandas copies attrs at every step, so that those of a thousand equal trials are kept once.
        usual = Counter(machines.values()).most_common(1)[0][0] if machines else ()
        listed = {"": usual} | {name: groups for name, groups in machines.items() if groups != usual}
        found.attrs["machines"] = {
            name: [{"InstanceType": group.type, "InstanceCount": group.count} for group in groups]
            for name, groups in listed.items()
        }
        return reader.finish(found)


def _read(reader: Reader, trials: Sequence[Trial], machines: Mapping[str, tuple[Machines, ...]]) -> pd.DataFrame:
    """Read the rows of some trials."""
    now = reader.clock.now()
    queries = []
    for trial in trials:
        groups = machines[trial.name]
        types = {group.type for group in groups}
        only = types.pop() if len(types) == 1 else None  # in mixed clusters a host's type is unknown
        for number in range(1, max(sum(group.count for group in groups), 1) + 1):
            for metric, scale in _metrics(only):
                query = wanted(trial, metric, now, f"algo-{number}")
                if query is not None:
                    queries.append((query, scale))
    found = read_averages(reader, [query for query, _ in queries])
    kept = [
        (query, scale, averages)
        for query, scale in queries
        if (averages := found.get((query.trial, query.metric, query.host)))
    ]
    counts = [len(averages.values) for _, _, averages in kept]
    scales = np.repeat(np.array([scale for _, scale, _ in kept], dtype=np.float64), counts)
    none = [Averages(np.empty(0, np.int64), np.empty(0))]  # NumPy joins no empty list
    milliseconds, values = map(np.concatenate, zip(*none, *(averages for _, _, averages in kept), strict=True))
    return frame(
        UTILIZATION,
        {
            "TrainingJobName": repeated([query.trial for query, _, _ in kept], counts),
            "Host": repeated([query.host for query, _, _ in kept], counts),
            "MetricName": repeated([query.metric for query, _, _ in kept], counts),
            "Timestamp": 1000 * milliseconds,
            "Value": values / scales,
        },
    )


def _metrics(instance_type: str | None) -> Iterator[tuple[str, float]]:
    """Give the metrics that a machine can have, with the divisor of CloudWatch's number; nan if it is unknown."""
    cpus = cpus_of(instance_type) if instance_type else None
    gpus = gpus_of(instance_type) if instance_type else None
    for metric in METRICS:
        if not metric.startswith("GPU"):
            yield metric, (cpus or float("nan")) if metric == "CPUUtilization" else 1.0
        elif gpus != 0:
            yield metric, gpus or float("nan")


def utilization_summary(measured: pd.DataFrame) -> pd.DataFrame:
    """Return mean, 95th percentile and maximum of each metric of each trial, over all its hosts.

    Args:
        measured: the frame of ``utilization``.

    Returns:
        ``TrainingJobName, InstanceType, InstanceCount, MetricName, Mean, P95, Max``, in percent of the machine, in the
        order of the table. ``attrs["hints"]`` says for each instance type whether another size would suffice, with the
        measurement behind it.
    """
    groups = measured.groupby(["TrainingJobName", "MetricName"], sort=False, observed=True)["Value"]
    found = pd.DataFrame({"Mean": groups.mean(), "P95": groups.quantile(0.95), "Max": groups.max()}).reset_index()
    listed = measured.attrs.get("machines", {})
    machines = {name: listed.get(name, listed.get("", [])) for name in measured["TrainingJobName"].unique()}
    per_row = [machines[name] for name in found["TrainingJobName"]]
    summary = frame(
        UTILIZATION_SUMMARY,
        {
            "TrainingJobName": found["TrainingJobName"].tolist(),
            "InstanceType": [" + ".join(group["InstanceType"] for group in cluster) or None for cluster in per_row],
            "InstanceCount": [sum(group["InstanceCount"] for group in cluster) or None for cluster in per_row],
            "MetricName": found["MetricName"].tolist(),
            **{name: found[name].tolist() for name in ("Mean", "P95", "Max")},
        },
    )
    summary.attrs["hints"] = _hints(measured, machines)
    return summary


class Load(NamedTuple):
    """How busy all instances of a type were, in percent; None for what was not measured."""

    cpu: float | None
    memory: float | None
    disk: float | None
    gpu: float | None
    gpu_memory: float | None


def _hints(measured: pd.DataFrame, machines: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Return a sentence for each finding about an instance type.

    Args:
        measured: the frame of ``utilization``.
        machines: instance types and counts by trial.
    """
    types = {name: groups[0]["InstanceType"] for name, groups in machines.items() if len(groups) == 1}
    found: list[str] = []
    for instance_type, rows in measured.groupby(measured["TrainingJobName"].map(types), sort=True):
        values = rows.dropna(subset="Value").groupby("MetricName", observed=True)["Value"]
        if values.size().get("CPUUtilization", 0) < _FEWEST:
            continue
        p95, most = values.quantile(0.95).to_dict(), values.max().to_dict()
        # Short peaks of a processor cost time only, so its 95% count; full memory or disks end a trial.
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
    """Give the findings about the size of an instance type."""
    cpus, gpus = cpus_of(instance_type), gpus_of(instance_type)
    if load.memory is not None and load.memory > _FULL:
        yield f"memory was {load.memory:.0f}% full at most: take a type with more, before a trial dies of it"
    if load.disk is not None and load.disk > _FULL:
        yield f"the disk was {load.disk:.0f}% full at most: raise volume_size"
    if load.gpu_memory is not None and load.gpu_memory > _FULL:
        yield f"GPU memory was {load.gpu_memory:.0f}% full at most: a larger batch will not fit"
    if gpus and load.gpu is not None:
        if load.gpu < _IDLE:
            yield (
                f"GPUs were at most {load.gpu:.0f}% busy 95% of the time: a type without GPU would do, or the code "
                "uses none"
            )
        elif load.cpu is not None and load.cpu > _FULL and load.gpu < _HALVES:
            yield (
                f"CPU was {load.cpu:.0f}% busy and GPUs {load.gpu:.0f}%: they wait for data; take more CPUs for each "
                "GPU"
            )
        elif gpus > 1 and max(load.gpu, load.gpu_memory or 0.0) <= _HALVES:
            yield f"GPUs were at most {load.gpu:.0f}% busy 95% of the time: {gpus // 2} instead of {gpus} would do"
    elif gpus == 0 and cpus and cpus > 2 and load.cpu is not None and load.memory is not None:
        if max(load.cpu, load.memory) > _HALVES:
            return
        yield (
            f"CPU was at most {load.cpu:.0f}% busy 95% of the time, memory {load.memory:.0f}% full at most: "
            f"a type of the same family with {cpus // 2} instead of {cpus} CPUs would do"
        )
