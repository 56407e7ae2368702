"""How costs grow with the trials of one job: ``python -m benchmarks.orchestration.growth --help``.

``ask`` is one draw of Random beside all trials; ``next trial`` is the engine's whole work for one more trial, from ask
to the record of its end, with nothing to train. Describe and List are medians over HTTP from a local SageMaker. The
report is a cold process that reads the job of ``benchmarks.report``. Only the HTTP calls are wall time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3

from benchmarks._endpoint import endpoint
from benchmarks.local_scale.fill import tuning_name
from benchmarks.orchestration.bookkeeping import seconds_of_more
from benchmarks.reading.__main__ import KEYS, fill, run, server
from sm_tuning.strategies import Trial, make, space_of

MORE = 20


def ask(trials: int) -> float:
    """Return the processor seconds of one draw, the lowest of five."""
    ranges = [{"Name": name, "MinValue": "0", "MaxValue": "1", "ScalingType": "Linear"} for name in "abc"]
    strategy = make("Random", space_of({"ContinuousParameterRanges": ranges}), seed=1, maximize=False)
    seen: list[Trial] = []
    for number in range(trials):
        values = {name: repr((number + place) / (trials + 3)) for place, name in enumerate("abc")}
        seen.append(Trial(number + 1, values, float(number % 7), finished=True))
    times = []
    for _ in range(5):
        began = time.process_time()
        strategy.ask(seen)
        times.append(time.process_time() - began)
    return min(times)


def median_ms(call: Callable[[], Any]) -> float:
    times = []
    for _ in range(11):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def calls(trials: int) -> tuple[float, float, float]:
    """Return milliseconds of Describe, of a page of 100 trials by objective, and of the last page."""
    with tempfile.TemporaryDirectory() as folder:
        fill(folder, trials, 0)
        with server(sys.executable, folder) as info:
            session = boto3.Session(info["access_key_id"], info["secret_access_key"], region_name=info["region"])
            client = session.client("sagemaker", endpoint_url=info["endpoint_url"])
            named = {"HyperParameterTuningJobName": tuning_name(0)}
            listing = client.list_training_jobs_for_hyper_parameter_tuning_job
            pages = {"MaxResults": 100, "SortBy": "FinalObjectiveMetricValue"}
            token: dict[str, str] = {}
            while "NextToken" in (page := listing(**named, **pages, **token)):
                token = {"NextToken": page["NextToken"]}
            return (
                median_ms(lambda: client.describe_hyper_parameter_tuning_job(**named)),
                median_ms(lambda: listing(**named, **pages)),
                median_ms(lambda: listing(**named, **pages, **token)),
            )


def report(trials: int) -> float:
    with endpoint("benchmarks.report", "--serve", "--trials", trials) as url:
        arguments = ["report", "bench", "-o", "report.html", "--prices", "prices.yaml"]
        return run(sys.executable, arguments, {**KEYS, "AWS_ENDPOINT_URL": url}).cpu


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.orchestration.growth", description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--without-report", action="store_true")
    given = parser.parse_args()
    print(f"{os.cpu_count()} processors, load before the start {os.getloadavg()[0]:.1f}\n")
    print("| trials | ask, ms | next trial, ms | Describe, ms | List, first page, ms | last page, ms | report, CPU s |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for trials in given.trials:
        with tempfile.TemporaryDirectory() as folder:
            following = 1000 * seconds_of_more(Path(folder), trials=trials, more=MORE) / MORE
        written = "" if given.without_report else f"{report(trials):.2f}"
        described = " | ".join(f"{figure:.1f}" for figure in calls(trials))
        print(f"| {trials:,} | {1000 * ask(trials):.2f} | {following:.1f} | {described} | {written} |", flush=True)


if __name__ == "__main__":
    main()
