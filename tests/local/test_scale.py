"""With 100 tuning jobs and 5,000 training jobs in the store; `make bench` measures how long the calls take."""

import sys
from pathlib import Path

import psutil
import pytest
from local_server import LocalServer
from servers import running_server

from sm_tuning.local._config import resolve_state_dir

ROOT = Path(__file__).parents[2]
TUNING_JOBS, TRIALS = 100, 50


@pytest.fixture(scope="module")
def full(processes, tmp_path_factory):
    """The server, and the calls that the benchmark measures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        from benchmarks.local_scale.__main__ import calls
        from benchmarks.local_scale.fill import fill_jobs, fill_logs

        folder = tmp_path_factory.mktemp("scale")
        fill_jobs(resolve_state_dir(folder), TUNING_JOBS, TRIALS, emissions=5)
        fill_logs(resolve_state_dir(folder), streams=50, lines=200)
        with running_server(folder) as info:
            yield (
                LocalServer(info),
                {name: call for name, _, call in calls(info, TUNING_JOBS, TRIALS)},
            )
    for name in [name for name in sys.modules if name.startswith("benchmarks.local_scale")]:
        del sys.modules[name]


@pytest.mark.whole
def test_the_calls_of_the_benchmark_are_answered(full):
    _, measured = full
    assert len(measured) >= 9
    for call in measured.values():
        call()


@pytest.mark.whole
def test_all_training_jobs_are_listed_page_by_page(full):
    server, _ = full
    pages = server.sagemaker.get_paginator("list_training_jobs").paginate(MaxResults=100)
    names = [one["TrainingJobName"] for page in pages for one in page["TrainingJobSummaries"]]
    assert len(names) == len(set(names)) == TUNING_JOBS * TRIALS


@pytest.mark.whole
def test_the_server_needs_little_memory(full):
    server, _ = full
    assert psutil.Process(server.info.pid).memory_info().rss < 300e6
