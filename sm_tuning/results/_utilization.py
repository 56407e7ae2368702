"""The frame of how busy the instances were, and its summary.

SageMaker writes these every minute to CloudWatch, by host (Developer Guide, monitoring-cloudwatch): CPU as the sum
over the virtual CPUs and GPU and GPU memory as the sum over the GPUs, memory and disk as percent of the machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from sm_tuning._machines import cpus_of, gpus_of
from sm_tuning.aws import Aws
from sm_tuning.description import Job, Machines, Trial, select
from sm_tuning.results import _cloudwatch
from sm_tuning.results._details import read_details
from sm_tuning.results._fetch import read_jobs
from sm_tuning.results._kept import by_trial_kept
from sm_tuning.results._reader import Reader, Reading, reading_with, warn
from sm_tuning.results._schema import UTILIZATION, UTILIZATION_SUMMARY, frame, join
from sm_tuning.results._sizing import hints

METRICS = (
    "CPUUtilization",
    "MemoryUtilization",
    "DiskUtilization",
    "GPUUtilization",
    "GPUMemoryUtilization",
)

TrialFilter = str | int | Sequence[str | int] | None


def utilization(
    aws: Aws, names: str | Sequence[str], *, trials: TrialFilter = None, reading: Reading | None = None
) -> pd.DataFrame:
    """How busy every instance of every trial was, in percent of the whole machine.

    Args:
        aws: the connection.
        names: tuning jobs.
        trials: only of these training jobs, by name or by number.
        reading: how to read.

    Returns:
        ``TrainingJobName, Host, MetricName, Timestamp, Value``, ordered by trial, host, metric (``METRICS``) and time:
        the average over a minute, over five minutes for trials of more than 15 days ago, over an hour after 63.
        ``Value`` is nan, with a warning, where the number of CPUs or GPUs of the instance type is not known. Shorter
        trials than a minute may have no rows. ``attrs["machines"]`` has instance types and counts by trial, those of
        most trials under an empty name. When AWS withholds a part, ``attrs["incomplete"]`` says which.

    Raises:
        SpecError: there is no such trial.
        JobNotFoundError: there is no such tuning job.
    """
    with reading_with(aws, reading) as reader:
        per_job = read_jobs(reader, names)
        chosen = select(per_job, trials)
        machines = {
            name: found for job, some in chosen.items() for name, found in machines_of_trials(reader, job, some).items()
        }
        parts = [
            by_trial_kept(reader, job, ("utilization", {}), UTILIZATION, some, _reading_of(machines))
            for job, some in chosen.items()
        ]
        table = join(UTILIZATION, parts, [one.name for some in chosen.values() for one in some])
        _warn_of_unknown(table, machines)
        table.attrs["machines"] = _in_attrs(machines)
        return reader.finish(table)


def _in_attrs(machines: Mapping[str, tuple[Machines, ...]]) -> dict[str, list[dict[str, Any]]]:
    """Instances by trial, those that most have under an empty name: pandas copies attrs at every turn."""
    usual = Counter(machines.values()).most_common(1)[0][0] if machines else ()
    told = {"": usual} | {name: found for name, found in machines.items() if found != usual}
    return {
        name: [{"InstanceType": one.type, "InstanceCount": one.count} for one in found] for name, found in told.items()
    }


def machines_of_trials(reader: Reader, job: Job, trials: Sequence[Trial]) -> dict[str, tuple[Machines, ...]]:
    """The instances of each trial: as its definition says, else as its own description does."""
    found = {trial.name: job.definition(trial).machines for trial in trials}
    open_ones = [trial for trial in trials if not found[trial.name]]
    if open_ones:
        details, _ = read_details(reader, {job: open_ones})
        found |= {name: detail.machines for name, detail in details.items()}
    return found


def _reading_of(machines: Mapping[str, tuple[Machines, ...]]) -> Any:
    def read(reader: Reader, of: Sequence[Trial]) -> pd.DataFrame:
        now = reader.clock.now()
        asked = [
            (trial.name, host, number, metric, scale, query)
            for trial in of
            for host, number, machine in _hosts(machines[trial.name])
            for metric, scale in _metrics(machine)
            if (query := _cloudwatch.wanted(trial, metric, now, host)) is not None
        ]
        found = _cloudwatch.read_averages(reader, [query for *_, query in asked])
        rows = [
            (name, host, metric, milliseconds * 1000, value / scale)
            for name, host, _, metric, scale, _ in asked
            for milliseconds, value in found.get((name, metric, host), ())
        ]
        columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in UTILIZATION]
        return frame(UTILIZATION, dict(zip(UTILIZATION, columns, strict=True)))

    return read


def _hosts(machines: tuple[Machines, ...]) -> Iterator[tuple[str, int, str | None]]:
    """The hosts ``algo-1``, … of a trial and the type of each; which host has which is unknown in mixed clusters."""
    types = {machine.type for machine in machines}
    only = types.pop() if len(types) == 1 else None
    for number in range(1, max(sum(machine.count for machine in machines), 1) + 1):
        yield f"algo-{number}", number, only


def _metrics(machine: str | None) -> Iterator[tuple[str, float]]:
    """The metrics that such a machine can have, with what CloudWatch's number is to be divided by."""
    cpus = cpus_of(machine) if machine else None
    gpus = gpus_of(machine) if machine else None
    for metric in METRICS:
        if metric.startswith("GPU"):
            if gpus != 0:
                yield metric, gpus or float("nan")
        else:
            yield metric, (cpus or float("nan")) if metric == "CPUUtilization" else 1.0


def _warn_of_unknown(table: pd.DataFrame, machines: Mapping[str, tuple[Machines, ...]]) -> None:
    unknown = table.loc[table["Value"].isna(), "TrainingJobName"].unique()
    types = sorted({machine.type for name in unknown for machine in machines[name]}) or ["an unknown type"]
    if len(unknown):
        warn(
            f"the numbers of CPUs and GPUs of {', '.join(types)} are not known, so that their share of the machine is "
            "nan: update sm-tuning, or read the raw metrics from CloudWatch"
        )


def utilization_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean, 95th percentile and maximum of each metric of each trial, over all its hosts.

    Args:
        table: what ``utilization`` gave.

    Returns:
        ``TrainingJobName, InstanceType, InstanceCount, MetricName, Mean, P95, Max``, in percent of the machine, in the
        order of the table. ``attrs["hints"]`` says for each instance type whether another size would do, with the
        measurement that says so.
    """
    groups = table.groupby(["TrainingJobName", "MetricName"], sort=False, observed=True)["Value"]
    found = pd.DataFrame({"Mean": groups.mean(), "P95": groups.quantile(0.95), "Max": groups.max()}).reset_index()
    told = table.attrs.get("machines", {})
    machines = {name: told.get(name, told.get("", [])) for name in table["TrainingJobName"].unique()}
    of = [machines[name] for name in found["TrainingJobName"]]
    summary = frame(
        UTILIZATION_SUMMARY,
        {
            "TrainingJobName": found["TrainingJobName"].tolist(),
            "InstanceType": [" + ".join(entry["InstanceType"] for entry in some) or None for some in of],
            "InstanceCount": [sum(entry["InstanceCount"] for entry in some) or None for some in of],
            "MetricName": found["MetricName"].tolist(),
            **{name: found[name].tolist() for name in ("Mean", "P95", "Max")},
        },
    )
    summary.attrs["hints"] = hints(table, machines)
    return summary
