"""The report of a large job: time to write it, its size, and time until a browser can show it.

python -m benchmarks.report [--trials 12 500] [--repeats 3]    prints a Markdown table of medians, and the limits

Each report is written by its own process, from a local endpoint without latency: 4 metrics of 20 epochs a trial, six
hyperparameters, machines and prices. ``first`` starts without a disk cache, ``again`` with the cache of the first run.
The browser is headless Chromium with its own profile. ``usable`` is the time until the page has loaded, its table has
rows, and the first plot is drawn after scrolling to it. CPU seconds do not depend on other load.
"""

# ruff: noqa: PLC0415  (each process imports only what it needs)

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import cached_property
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks._endpoint import endpoint
from benchmarks.results.endpoint import Answers, Handler
from benchmarks.results.world import INSTANCE, World

KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_DEFAULT_REGION": "us-east-1"}
HYPERPARAMETERS = ("lr", "dropout", "momentum", "decay", "warmup", "clip")
COLUMNS = ("seconds", "cpu", "loading", "megabytes")
SMALL, USABLE_SECONDS = 50, 0.3
LIMITS = {True: 1.7, False: 3.5}  # megabytes, by whether a job has few trials

#: Returns the milliseconds from the start of the navigation until the table has rows and the first plot is drawn.
USABLE = """
const rows = document.querySelectorAll("#table tbody tr").length, plot = document.querySelector(".plot");
if (document.readyState !== "complete" || !rows) return null;
plot.scrollIntoView({block: "center"});
return plot.dataset.drawn === "yes" ? performance.now() : null;
"""


class Wide(World):
    """The job of ``benchmarks.results`` with more hyperparameters."""

    @cached_property
    def tuning_job(self) -> dict[str, Any]:
        """Return the response of DescribeHyperParameterTuningJob."""
        job = super().tuning_job
        ranges = [
            {"Name": name, "MinValue": "0.001", "MaxValue": "1", "ScalingType": "Logarithmic"}
            for name in HYPERPARAMETERS
        ]
        config = {**job["HyperParameterTuningJobConfig"], "ParameterRanges": {"ContinuousParameterRanges": ranges}}
        return {**job, "HyperParameterTuningJobConfig": config}

    def summary(self, trial: int) -> dict[str, Any]:
        """Return a trial as listed for the tuning job."""
        share = [(trial * (2 * place + 7) % 89) / 89 for place in range(len(HYPERPARAMETERS))]
        tuned = {name: repr(0.001 + 0.999 * one) for name, one in zip(HYPERPARAMETERS, share, strict=True)}
        return {**super().summary(trial), "TunedHyperParameters": tuned}


class WithTags(Answers):
    """Further responses that a report needs."""

    def ListTags(self, body: dict[str, Any]) -> Any:  # noqa: N802
        """Return the response of ListTags."""
        del body
        return {"Tags": []}


def serve(trials: int) -> None:
    Handler.answers = WithTags(Wide(trials))
    Handler.latency = 0.0
    len(Handler.answers.world.events)  # built before the measurement
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


def write(path: str) -> None:
    """Write the report in this process; loading libraries is measured separately."""
    for name in ("boto3", "jinja2", "sm_tuning.views", "sm_tuning.views._report"):
        importlib.import_module(name)
    import boto3

    from sm_tuning import views
    from sm_tuning.aws import Aws

    loading, before = time.process_time(), time.perf_counter()
    url, cache = os.environ["AWS_ENDPOINT_URL"], os.environ["SM_TUNING_CACHE_DIR"]
    with Aws(boto3.Session(), region="us-east-1", endpoint_url=url, environ={"SM_TUNING_CACHE_DIR": cache}) as aws:
        views.report(aws, ["bench"], path, prices={INSTANCE: 0.23})
    seconds, cpu = time.perf_counter() - before, time.process_time() - loading
    print(json.dumps({"seconds": seconds, "cpu": cpu, "loading": loading}))


def written(url: str, cache: str, path: Path) -> dict[str, float]:
    environ = {**os.environ, **KEYS, "AWS_ENDPOINT_URL": url, "SM_TUNING_CACHE_DIR": cache, "OMP_NUM_THREADS": "1"}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    command = [sys.executable, "-m", "benchmarks.report", "--write", str(path)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    return {**json.loads(done.stdout.splitlines()[-1]), "megabytes": path.stat().st_size / 1e6}


def opened(path: Path, folder: str, repeats: int) -> list[float]:
    """Return the seconds until the page was usable, for each time it was opened; empty without a browser."""
    browser, driver_path = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not (browser and driver_path):
        return []
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for option in ("headless", "no-sandbox", "disable-gpu", "disable-background-networking", "disable-sync"):
        options.add_argument(f"--{option}")
    options.add_argument(f"--user-data-dir={folder}")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_path))
    try:
        return [_usable(driver, path) for _ in range(repeats + 1)][1:]  # the first time starts the browser
    finally:
        driver.quit()


def _usable(driver: Any, path: Path) -> float:
    driver.get("about:blank")
    driver.get(path.as_uri())
    deadline = time.monotonic() + 60
    while (milliseconds := driver.execute_script(USABLE)) is None:
        if time.monotonic() > deadline:
            raise RuntimeError("the report was not drawn within a minute")
        time.sleep(0.01)
    return float(milliseconds) / 1000


def compare(trials: int, repeats: int) -> None:
    with endpoint("benchmarks.report", "--serve", "--trials", trials) as url, tempfile.TemporaryDirectory() as place:
        path = Path(place) / "report.html"
        firsts = [written(url, str(Path(place) / f"cache-{number}"), path) for number in range(repeats)]
        agains = [written(url, str(Path(place) / "cache-0"), path) for _ in range(repeats)]
        shown = opened(path, str(Path(place) / "browser"), repeats)
    largest = LIMITS[trials <= SMALL]
    for name, runs in (("first", firsts), ("again", agains)):
        seconds, cpu, loading, megabytes = (statistics.median(run[key] for run in runs) for key in COLUMNS)
        usable = f"{statistics.median(shown):.2f}" if shown else "no browser"
        print(
            f"| {trials} | {name} | {seconds:.2f} | {cpu:.2f} | {loading:.2f} | {megabytes:.2f} | {largest} "
            f"| {usable} | {USABLE_SECONDS} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[12, 500])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--write", metavar="PATH", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.trials[0])
    elif given.write:
        write(given.write)
    else:
        print(f"{os.cpu_count()} processors, load before the start {os.getloadavg()[0]:.1f}\n")
        print(
            "| trials | | seconds | CPU seconds | CPU seconds for loading libraries "
            "| MB | limit | usable after, s | limit |\n"
            "|---:|---|---:|---:|---:|---:|---:|---:|---:|"
        )
        for trials in given.trials:
            compare(trials, given.repeats)


if __name__ == "__main__":
    main()
