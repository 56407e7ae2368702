"""Measure calls with 100 tuning jobs, 5,000 training jobs and 1,000,000 log lines in the store."""

import argparse
import contextlib
import resource
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import psutil

from benchmarks.local_scale.fill import BEGIN, fill_jobs, fill_logs, size_of, trial_name, tuning_name
from sm_tuning.local import ServerInfo, start, stop
from sm_tuning.local._config import resolve_state_dir

GROUP = "/aws/sagemaker/TrainingJobs"
Call = tuple[str, float, Callable[[], Any]]
Row = tuple[str, float, str, float | None]


def client(info: ServerInfo, service: str) -> Any:
    session = boto3.Session(info.access_key_id, info.secret_access_key, region_name=info.region)
    return session.client(service, endpoint_url=info.endpoint_url)


def timed(call: Callable[[], Any], repeat: int) -> list[float]:
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - began))
    return times


def median_ms(call: Callable[[], Any], repeat: int = 20) -> float:
    return statistics.median(timed(call, repeat))


def calls(info: ServerInfo, tuning_jobs: int, trials: int) -> list[Call]:
    """Return name, limit in milliseconds and call of each measurement."""
    sagemaker, cloudwatch = client(info, "sagemaker"), client(info, "cloudwatch")
    last, job = tuning_name(tuning_jobs - 1), trial_name(tuning_jobs - 1, trials)
    dimensions = [{"Name": "TrainingJobName", "Value": job}]
    metric = {"Namespace": GROUP, "MetricName": "validation:loss", "Dimensions": dimensions}
    query = {"Id": "m", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Average"}}
    window = {"StartTime": BEGIN, "EndTime": BEGIN + 2_000_000}
    named = {"HyperParameterTuningJobName": last}
    return [
        ("DescribeHyperParameterTuningJob", 20, lambda: sagemaker.describe_hyper_parameter_tuning_job(**named)),
        ("DescribeTrainingJob", 20, lambda: sagemaker.describe_training_job(TrainingJobName=job)),
        ("ListHyperParameterTuningJobs, 100", 50, lambda: sagemaker.list_hyper_parameter_tuning_jobs(MaxResults=100)),
        (
            "ListTrainingJobsForHyperParameterTuningJob, 100, by objective",
            50,
            lambda: sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
                **named, MaxResults=100, SortBy="FinalObjectiveMetricValue"
            ),
        ),
        ("ListTrainingJobs, 100", 50, lambda: sagemaker.list_training_jobs(MaxResults=100)),
        (
            "ListTrainingJobs, 100, by name, descending",
            50,
            lambda: sagemaker.list_training_jobs(MaxResults=100, SortBy="Name", SortOrder="Descending"),
        ),
        (
            "ListTrainingJobs, 100, NameContains",
            50,
            lambda: sagemaker.list_training_jobs(MaxResults=100, NameContains="0123abcd"),
        ),
        ("GetMetricData of a trial", 50, lambda: cloudwatch.get_metric_data(MetricDataQueries=[query], **window)),
        ("ListMetrics of a trial", 50, lambda: cloudwatch.list_metrics(Namespace=GROUP, Dimensions=dimensions)),
    ]


def measure_calls(info: ServerInfo, tuning_jobs: int, trials: int) -> list[Row]:
    return [(name, median_ms(call), "ms", limit) for name, limit, call in calls(info, tuning_jobs, trials)]


def read_logs(info: ServerInfo, **chosen: Any) -> tuple[int, float]:
    logs = client(info, "logs")
    began, found, token = time.perf_counter(), 0, {}
    while True:
        page = logs.filter_log_events(logGroupName=GROUP, limit=10_000, **chosen, **token)
        found += len(page["events"])
        if "nextToken" not in page:
            return found, time.perf_counter() - began
        token = {"nextToken": page["nextToken"]}


def measure_logs(info: ServerInfo, lines: int) -> list[Row]:
    found, seconds = read_logs(info)
    assert found == lines, (found, lines)
    rows: list[Row] = [(f"FilterLogEvents, all {found:,} lines", seconds, "s", 20)]
    for what, chosen in (
        ("one tuning job", {"logStreamNamePrefix": f"{tuning_name(0)}-"}),
        ("one training job", {"logStreamNamePrefix": f"{trial_name(0, 1)}/"}),
        ("one phrase", {"filterPattern": '"of stream 7"'}),
    ):
        found, seconds = read_logs(info, **chosen)
        rows.append((f"FilterLogEvents, {what}: {found:,} lines", seconds, "s", None))
    return rows


def rate(call: Callable[[], Any], repeat: int = 300) -> float:
    began = time.perf_counter()
    for _ in range(repeat):
        call()
    return repeat / (time.perf_counter() - began)


def measure_rates(info: ServerInfo) -> list[Row]:
    sagemaker, s3 = client(info, "sagemaker"), client(info, "s3")
    name = {"Bucket": info.bucket, "Key": "rate"}
    return [
        (
            "ListHyperParameterTuningJobs, 1",
            rate(lambda: sagemaker.list_hyper_parameter_tuning_jobs(MaxResults=1)),
            "/s",
            None,
        ),
        ("PutObject of 1 kB", rate(lambda: s3.put_object(**name, Body=b"x" * 1000)), "/s", None),
        ("GetObject of 1 kB", rate(lambda: bytes(s3.get_object(**name)["Body"].read())), "/s", None),
    ]


def half_open(info: ServerInfo, count: int = 6000) -> Row:
    """Return the memory of the server with connections that send the beginning of a request with 900 kB of headers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 500), hard))
    server = urlsplit(info.endpoint_url)
    headers = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 60_000) for number in range(15))
    opened = []
    for number in range(count):
        connection = socket.create_connection((str(server.hostname), server.port or 0), timeout=10)
        with contextlib.suppress(OSError):  # the server may close it meanwhile
            connection.sendall(b"POST / HTTP/1.1\r\n" + (headers if number % 2 else b"Host: 127"))
        opened.append(connection)
    client(info, "s3").list_buckets()
    size = psutil.Process(info.pid).memory_info().rss / 1e6
    for connection in opened:
        connection.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return f"memory with {count:,} half-open connections", size, "MB", 300


def run(folder: Path, tuning_jobs: int, trials: int, streams: int, lines: int) -> list[Row]:
    state = resolve_state_dir(folder)
    began = time.perf_counter()
    fill_jobs(state, tuning_jobs, trials, emissions=20)
    made = time.perf_counter()
    fill_logs(state, streams, lines)
    rows: list[Row] = [
        (f"write {tuning_jobs * trials:,} training jobs", made - began, "s", None),
        (f"write {streams * lines:,} log lines", time.perf_counter() - made, "s", None),
        ("state dir", size_of(folder), "MB", None),
    ]
    began = time.perf_counter()
    info = start(folder)
    rows.append(("start", time.perf_counter() - began, "s", None))
    try:
        rows += measure_calls(info, tuning_jobs, trials) + measure_logs(info, streams * lines) + measure_rates(info)
        process = psutil.Process(info.pid)
        rows.append(("memory of the server", process.memory_info().rss / 1e6, "MB", 300))
        rows.append(half_open(info))
    finally:
        stop(folder)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.local_scale", description=__doc__)
    parser.add_argument("--tuning-jobs", type=int, default=100)
    parser.add_argument("--trials", type=int, default=50, help="of each tuning job")
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--lines", type=int, default=2000, help="of each stream")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = run(Path(folder), given.tuning_jobs, given.trials, given.streams, given.lines)
    print("| operation | measured | limit | |\n|---|---:|---:|---|")
    late = 0
    for name, value, unit, limit in rows:
        verdict = "" if limit is None else "ok" if value < limit else "LATE"
        late += verdict == "LATE"
        print(f"| {name} | {value:.1f} {unit} | {'' if limit is None else f'{limit:g} {unit}'} | {verdict} |")
    return 1 if late else 0


if __name__ == "__main__":
    raise SystemExit(main())
