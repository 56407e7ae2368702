"""Syncs of many tuning jobs: calls and times of the first one, of one without changes, and of one with a few.

python -m benchmarks.fleet [--jobs 200] [--trials 50]    prints the Markdown table of docs/benchmarks.md

The endpoint has AWS's page sizes and 50 ms for each call. The query is over all trials, in DuckDB.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import urllib.request
from pathlib import Path

import boto3
import duckdb

import sm_tuning as smt
from benchmarks._endpoint import endpoint
from benchmarks.results.world import INSTANCE, REGION
from sm_tuning.aws import Aws
from sm_tuning.fleet import ddl

LATENCY = 0.05
CHANGED = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--trials", type=int, default=50)
    given = parser.parse_args()
    boto3.client("sagemaker", REGION)  # loading botocore's model is not measured
    print("| sync | jobs read | calls | seconds | CPU seconds |\n|---|---:|---:|---:|---:|")
    with (
        endpoint("benchmarks.fleet.endpoint", given.jobs, given.trials, LATENCY) as url,
        tempfile.TemporaryDirectory() as folder,
    ):
        session = boto3.Session("bench", "bench", region_name=REGION)
        # 127.1 is the same machine, but is not taken for the local SageMaker, which has no quotas and delays.
        with Aws(session, region=REGION, endpoint_url=url.replace("127.0.0.1", "127.1"), environ={}) as aws:
            _calls(url)
            for what in ("first", "without a change", f"{CHANGED} jobs have changed"):
                if what.startswith(str(CHANGED)):
                    urllib.request.urlopen(urllib.request.Request(f"{url}/{CHANGED}", method="PUT")).close()
                before, worked = time.perf_counter(), time.process_time()
                done = smt.sync(folder, aws=aws, prices={INSTANCE: 0.23}, progress=False)
                seconds, cpu = time.perf_counter() - before, time.process_time() - worked
                print(f"| {what} | {done.jobs} | {_calls(url)} | {seconds:.1f} | {cpu:.1f} |", flush=True)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
        with duckdb.connect() as database:
            database.execute(ddl(folder, "duckdb"))
            before = time.perf_counter()
            query = "SELECT Tags['team'], count(*), sum(t.Cost) FROM trials t JOIN jobs USING (JobId) GROUP BY 1"
            ((_, count, dollars),) = database.execute(query).fetchall()
            took = time.perf_counter() - before
    print(f"\n{count:,} trials for {dollars:,.0f} dollars in {took * 1000:.0f} ms; {size / 1e6:.1f} MB of Parquet")


def _calls(url: str) -> int:
    with urllib.request.urlopen(f"{url}/calls") as answer:
        return sum(json.loads(answer.read()).values())


if __name__ == "__main__":
    main()
