"""How costs grow with the trials of one job: ``python -m benchmarks.orchestration.growth --help``.

``next trial`` is the engine's whole work for one more trial, from the draw to the record of its end, with nothing to
train; ``draw`` is one of Random beside all trials. Describe and List, in pages of 100 trials, are medians over HTTP
from a local SageMaker. The report is a cold process that reads the job of ``benchmarks.report``. Only the HTTP calls
are wall time. The last line compares the largest number of trials with the smallest.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import boto3

from benchmarks._endpoint import endpoint
from benchmarks.local_scale.fill import fill_jobs, tuning_name
from benchmarks.orchestration.bookkeeping import seconds_of_more
from benchmarks.reading.__main__ import KEYS, run, server
from sm_tuning.local._config import resolve_state_dir
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


def calls(trials: int) -> tuple[float, ...]:
    """Return milliseconds of Describe, of the first and the last page by time, and of a page by objective."""
    with tempfile.TemporaryDirectory() as folder:
        fill_jobs(resolve_state_dir(folder), 1, trials, emissions=1)
        with server(sys.executable, folder) as info:
            session = boto3.Session(info["access_key_id"], info["secret_access_key"], region_name=info["region"])
            client = session.client("sagemaker", endpoint_url=info["endpoint_url"])
            named = {"HyperParameterTuningJobName": tuning_name(0)}
            listing = client.list_training_jobs_for_hyper_parameter_tuning_job
            pages = {"MaxResults": 100, "SortBy": "CreationTime"}
            best = {"MaxResults": 100, "SortBy": "FinalObjectiveMetricValue"}
            token: dict[str, str] = {}
            while "NextToken" in (page := listing(**named, **pages, **token)):
                token = {"NextToken": page["NextToken"]}
            return (
                median_ms(lambda: client.describe_hyper_parameter_tuning_job(**named)),
                median_ms(lambda: listing(**named, **pages)),
                median_ms(lambda: listing(**named, **pages, **token)),
                median_ms(lambda: listing(**named, **best)),
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
    print(
        "| trials | next trial, CPU ms | draw, CPU ms | Describe, ms | first page, ms | last page, ms "
        "| page by objective, ms | report, CPU s |\n" + "|" + 8 * "---:|"
    )
    rows = []
    for trials in given.trials:
        with tempfile.TemporaryDirectory() as folder:
            following = 1000 * seconds_of_more(Path(folder), trials=trials, more=MORE) / MORE
        written = float("nan") if given.without_report else report(trials)
        rows.append((following, 1000 * ask(trials), *calls(trials), written))
        print(_line(f"{trials:,}", rows[-1]), flush=True)
    if len(rows) > 1:
        ratio = max(given.trials) / min(given.trials)
        print(_line(f"{ratio:,.0f} times", [last / first for first, last in zip(rows[0], rows[-1], strict=True)]))


def _line(head: str, figures: Sequence[float]) -> str:
    return f"| {head} | {' | '.join(f'{figure:.2f}' for figure in figures)} |".replace("nan", "")


if __name__ == "__main__":
    main()
