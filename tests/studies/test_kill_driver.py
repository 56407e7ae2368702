"""kill -9 of the driver of a study, in processes of its own; ``make test-long`` has more deaths."""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import pytest
from forks import start_program
from servers import running_server

import sm_tuning as smt
from sm_tuning import studies

SCRIPT = """
import json, os, time
rate = json.loads(os.environ["SM_HPS"])["rate"]
time.sleep(0.3)
print(f"loss={(rate - 0.3) ** 2}", flush=True)
"""

#: Drives a study as ``sm-tuning study run`` does, with a lease that expires within the test.
DRIVER = """
import sys
import sm_tuning as smt
import sm_tuning.studies._store as store
store.RENEWAL, store.EXPIRY = 0.5, 2.5
smt.attach(sys.argv[1]).wait(progress=False, poll=0.1)
"""


@pytest.mark.timeout(280)
@pytest.mark.parametrize("deaths", [2, pytest.param(20, marks=pytest.mark.long)])
def test_deaths_of_the_driver_lose_double_and_change_no_trial(processes: None, tmp_path: Path, deaths: int) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    moments = random.Random(2026)
    with running_server(tmp_path / "state") as server:
        session = boto3.Session(server.access_key_id, server.secret_access_key, region_name=server.region)
        aws = smt.connect(session=session, endpoint_url=server.endpoint_url, environ={"SM_TUNING_CACHE_DIR": ""})
        spec = smt.Tuning(
            estimator=smt.PyTorchEstimator(
                entry_point=str(tmp_path / "train.py"),
                framework_version="2.8",
                py_version="py312",
                instance_type="ml.m5.large",
                role=server.role_arn,
                max_run=300,
                metric_definitions=[{"Name": "loss", "Regex": r"loss=(\S+)"}],
            ),
            objective_metric_name="loss",
            objective_type="Minimize",
            hyperparameter_ranges={"rate": smt.ContinuousParameter(0, 1)},
            strategy="Random",
            max_jobs=4 * deaths,
            max_parallel_jobs=2,
            random_seed=5,
            study=smt.StudySettings(),
        )
        launched = smt.launch(spec, name="mortal", aws=aws)
        assert isinstance(launched, smt.Study)
        env = {**os.environ, **server.env(), "SM_TUNING_CACHE_DIR": ""}

        def driver() -> Any:
            words = [sys.executable, "-c", DRIVER, "mortal"]
            return start_program(words, preload="client", cwd=tmp_path, env=env)

        for _ in range(deaths):
            process = driver()
            time.sleep(moments.uniform(0.5, 4.0))
            process.kill()
            process.communicate()
        last = driver()
        output, _ = last.communicate(timeout=200)
        assert last.returncode == 0, output

        record = studies.read_study(studies.Store(aws, launched.uri))
        assert record is not None
        children = launched.children()
        names = [record.training_job_name(number) for number in range(1, 4 * deaths + 1)]
        assert [child["TrainingJobName"] for child in children] == names
        for child in children:
            described = aws.sagemaker.describe_training_job(TrainingJobName=child["TrainingJobName"])
            assert described["HyperParameters"]["rate"] == child["TunedHyperParameters"]["rate"]
            assert described["TrainingJobStatus"] == "Completed"
        listed = aws.sagemaker.list_training_jobs(NameContains="mortal-", MaxResults=100)["TrainingJobSummaries"]
        assert len(listed) == len(names)
        assert launched.status == "Completed"
