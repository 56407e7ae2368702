"""Reading tuning jobs with sm_tuning, with the SageMaker SDK's analytics, and with a loop over the trials.

python -m benchmarks.results [--trials 20 100 500] [--scale]    prints the Markdown tables of docs/benchmarks.md

Each reader is a process of its own against a local endpoint with AWS's page sizes and 50 ms for each call.
``ours`` is sm_tuning with AWS's quotas, which it would not apply to an endpoint that it recognises as local.
"""

# ruff: noqa: ARG001, PLC0415  (each reader is a process that imports only what it needs)

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from benchmarks._endpoint import endpoint

PROGRAM = "benchmarks.results.endpoint"
LATENCY = 0.05
KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_DEFAULT_REGION": "us-east-1"}
PRICES = {"ml.m5.xlarge": 0.23}


# --- the readers: each gets the endpoint and returns the number of rows that it read


def ours(url: str, cache: str) -> dict[str, int]:
    """Read trials with billable seconds, curves, utilization and cost."""
    import sm_tuning as smt

    with _aws(url.replace("127.0.0.1", "127.1"), cache) as aws:
        job = smt.attach("bench", aws=aws)
        frames = {
            "trials": job.trials(),
            "curves": job.curves(),
            "utilization": job.utilization(),
            "cost": job.cost(prices=PRICES),
        }
    return {name: len(frame) for name, frame in frames.items()}


def our_logs(url: str, cache: str) -> dict[str, int]:
    """Read all log lines."""
    from sm_tuning import results

    with _aws(url.replace("127.0.0.1", "127.1"), cache) as aws:
        return {"logs": len(results.logs(aws, "bench"))}


def our_scale(url: str, cache: str) -> dict[str, int]:
    """Read the trials and all log lines, without quotas."""
    from sm_tuning import results

    with _aws(url, cache) as aws:
        return {"trials": len(results.trials(aws, "bench")), "logs": len(results.logs(aws, "bench"))}


def _aws(url: str, cache: str) -> Any:
    import boto3

    from sm_tuning.aws import Aws

    return Aws(boto3.Session(), region="us-east-1", endpoint_url=url, environ={"SM_TUNING_CACHE_DIR": cache})


def sdk(url: str, cache: str) -> dict[str, int]:
    """Read with the SDK's analytics: trials, and curves trial by trial; no utilization and no billable seconds."""
    import boto3
    from sagemaker.core.analytics import HyperparameterTuningJobAnalytics, TrainingJobAnalytics
    from sagemaker.core.helper.session_helper import Session

    session = Session(boto_session=boto3.Session(), default_bucket="bench")
    table = HyperparameterTuningJobAnalytics("bench", sagemaker_session=session).dataframe()
    curves = [TrainingJobAnalytics(name, sagemaker_session=session).dataframe() for name in table["TrainingJobName"]]
    return {"trials": len(table), "curves": sum(map(len, curves))}


def loop(url: str, cache: str) -> dict[str, int]:
    """Read as a user's loop would: list the trials, then describe each and read each of its metrics."""
    import boto3

    sagemaker, cloudwatch = boto3.client("sagemaker"), boto3.client("cloudwatch")
    job = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="bench")
    metrics = job["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"]
    pages = sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
        HyperParameterTuningJobName="bench", MaxResults=100
    )
    rows = {"trials": 0, "curves": 0, "utilization": 0}
    for summary in (summary for page in pages for summary in page["TrainingJobSummaries"]):
        trial = sagemaker.describe_training_job(TrainingJobName=summary["TrainingJobName"])
        rows["trials"] += bool(trial["BillableTimeInSeconds"])
        for kind, dimension, names in (
            ("curves", ("TrainingJobName", trial["TrainingJobName"]), [metric["Name"] for metric in metrics]),
            ("utilization", ("Host", f"{trial['TrainingJobName']}/algo-1"), _LOADS),
        ):
            for name in names:
                found = cloudwatch.get_metric_statistics(
                    Namespace="/aws/sagemaker/TrainingJobs",
                    MetricName=name,
                    Dimensions=[{"Name": dimension[0], "Value": dimension[1]}],
                    StartTime=trial["TrainingStartTime"],
                    EndTime=trial["TrainingEndTime"],
                    Period=60,
                    Statistics=["Average"],
                )
                rows[kind] += len(found["Datapoints"])
    return rows


_LOADS = ("CPUUtilization", "MemoryUtilization", "DiskUtilization")


def loop_logs(url: str, cache: str) -> dict[str, int]:
    """Read logs as a user's loop would: the stream of each trial, page by page until the token repeats."""
    import boto3

    sagemaker, logs = boto3.client("sagemaker"), boto3.client("logs")
    pages = sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
        HyperParameterTuningJobName="bench", MaxResults=100
    )
    group, lines = "/aws/sagemaker/TrainingJobs", []
    for name in [summary["TrainingJobName"] for page in pages for summary in page["TrainingJobSummaries"]]:
        for stream in logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]:
            asked = {"logGroupName": group, "logStreamName": stream["logStreamName"], "startFromHead": True}
            page = logs.get_log_events(**asked)
            while page["events"]:
                lines += page["events"]
                page = logs.get_log_events(**asked, nextToken=page["nextForwardToken"])
    return {"logs": len(lines)}


READERS: dict[str, Callable[[str, str], dict[str, int]]] = {
    f.__name__: f for f in (ours, our_logs, our_scale, sdk, loop, loop_logs)
}


# --- measuring


def measure(reader: str, url: str, cache: str) -> dict[str, Any]:
    """Run a reader in its own process; return calls (counted by the endpoint), seconds, megabytes and rows."""
    _calls(url)
    environ = {**os.environ, **KEYS, "AWS_ENDPOINT_URL": url, "SAGEMAKER_VALIDATE_ROLE": "false"}
    command = [sys.executable, "-m", "benchmarks.results", "--read", reader, url, cache]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"missing": done.stderr.strip().splitlines()[-1]}
    return {**json.loads(done.stdout.splitlines()[-1]), "calls": sum(_calls(url).values())}


def _calls(url: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{url}/calls") as answer:
        return json.loads(answer.read())


def read(reader: str, url: str, cache: str) -> None:
    """Read in this process; loading libraries is not measured."""
    import boto3
    import pandas as pd

    pd.DataFrame({"a": ["b"]}, dtype="string")
    boto3.client("sagemaker"), boto3.client("cloudwatch"), boto3.client("logs")
    if reader == "sdk":
        importlib.import_module("sagemaker.core.helper.session_helper")
    before, worked = time.perf_counter(), time.process_time()
    rows = READERS[reader](url, cache)
    seconds, cpu = time.perf_counter() - before, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(json.dumps({"seconds": seconds, "cpu": cpu, "megabytes": peak, "rows": rows}))


# --- tables


def row(name: str, trials: int, found: dict[str, Any], base: dict[str, Any]) -> str:
    if "missing" in found:
        return f"| {trials} | {name} | not measured: {found['missing']} | | | | |"
    calls, seconds = found["calls"], found["seconds"]
    rows = ", ".join(f"{count:,} {what}" for what, count in found["rows"].items())
    times = f"{calls / base['calls']:.0f}x | {seconds / base['seconds']:.0f}x" if found is not base else "| "
    return f"| {trials} | {name} | {calls:,} | {seconds:.2f} | {times} | {rows} |"


HEAD = (
    "| trials | reader | calls | seconds | calls, relative | time, relative | rows |\n"
    "|---:|---|---:|---:|---:|---:|---|"
)


def compare(sizes: list[int]) -> None:
    print(f"Trials, curves, utilization, billable seconds ({LATENCY * 1000:.0f} ms a call):\n\n{HEAD}")
    for trials in sizes:
        with endpoint(PROGRAM, trials, 20, 20, LATENCY) as url, tempfile.TemporaryDirectory() as cache:
            base = measure("ours", url, cache)
            print(row("sm_tuning", trials, base, base))
            print(row("sm_tuning, second read", trials, measure("ours", url, cache), base))
            print(row("sm_tuning, without a disk cache", trials, measure("ours", url, ""), base))
            print(
                row("SDK v3 analytics (no utilization, no billable seconds)", trials, measure("sdk", url, cache), base)
            )
            print(row("loop over the trials", trials, measure("loop", url, cache), base), flush=True)


def compare_logs(trials: int, lines: int) -> None:
    from benchmarks.results.endpoint import MEGABYTE
    from benchmarks.results.world import World

    events = World(trials, lines=lines).events
    least = max(-(-len(events) // 10_000), -(-sum(len(event["message"]) for event in events) // MEGABYTE))
    del events
    print(f"\nAll log lines, {lines:,} a trial; the lowest possible number of pages is {least}:\n\n{HEAD}")
    with endpoint(PROGRAM, trials, lines, 20, LATENCY) as url:
        base = measure("our_logs", url, "")
        print(row("sm_tuning", trials, base, base))
        print(row("loop over the trials", trials, measure("loop_logs", url, ""), base), flush=True)


def scale(trials: int, lines: int) -> None:
    print(f"\n{trials:,} trials and {trials * lines:,} log lines, no latency:\n")
    print("| reading | calls | seconds | CPU seconds | peak MB | rows |\n|---|---:|---:|---:|---:|---|")
    with endpoint(PROGRAM, trials, lines, 10, 0.0) as url, tempfile.TemporaryDirectory() as cache:
        for name, folder in (("first", cache), ("second, from the disk cache", cache), ("without a disk cache", "")):
            found = measure("our_scale", url, folder)
            rows = ", ".join(f"{count:,} {what}" for what, count in found["rows"].items())
            calls, seconds, cpu, peak = (found[key] for key in ("calls", "seconds", "cpu", "megabytes"))
            print(f"| {name} | {calls:,} | {seconds:.1f} | {cpu:.1f} | {peak:.0f} | {rows} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--trials",
        type=int,
        nargs="*",
        default=[20, 100, 500],
        help="numbers of trials to compare; none skips the comparison",
    )
    parser.add_argument("--logs", type=int, nargs=2, metavar=("TRIALS", "LINES"), default=[500, 2000])
    parser.add_argument("--scale", type=int, nargs=2, metavar=("TRIALS", "LINES"), default=[10_000, 100])
    parser.add_argument("--read", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read:
        read(*given.read)
        return
    if given.trials:
        compare(given.trials)
    if given.logs[0]:
        compare_logs(*given.logs)
    if given.scale[0]:
        scale(*given.scale)


if __name__ == "__main__":
    main()
