"""A job that the local SageMaker really ran: several metrics an epoch, some trials stopped early, some failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from exports_script import SCRIPT, SECRET
from servers import running_server

import sm_tuning as smt
from sm_tuning.description import job_of
from sm_tuning.local import ServerInfo
from sm_tuning.results import CACHE_VARIABLE
from sm_tuning.views.exports._export import read_info
from sm_tuning.views.exports._info import JobInfo


@pytest.fixture(scope="session")
def server(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerInfo]:
    with running_server(tmp_path_factory.mktemp("exports-server")) as info:
        yield info


@pytest.fixture(scope="session")
def environ(server: ServerInfo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables with which a program reaches the server, and a cache of its own."""
    return {
        **server.env(),
        "SM_TUNING_ROLE": server.role_arn,
        CACHE_VARIABLE: str(tmp_path_factory.mktemp("cache")),
    }


@pytest.fixture(scope="session")
def world(server: ServerInfo, environ: dict[str, str]) -> Iterator[smt.Aws]:
    session = boto3.Session(server.access_key_id, server.secret_access_key, region_name=server.region)
    with smt.Aws(session, region=server.region, endpoint_url=server.endpoint_url, environ=environ) as aws:
        yield aws


@pytest.fixture(scope="session")
def job(world: smt.Aws, tmp_path_factory: pytest.TempPathFactory) -> smt.TuningJob:
    """A finished job of ten: the third crashed, and the service stopped the eighth and tenth early."""
    source: Path = tmp_path_factory.mktemp("source")
    (source / "train.py").write_text(SCRIPT, encoding="utf-8")
    number = r"=([-+0-9.e]+);"
    tuning = smt.Tuning(
        estimator=smt.PyTorchEstimator(
            entry_point="train.py",
            source_dir=str(source),
            framework_version="2.6",
            py_version="py312",
            instance_type="ml.m5.large",
            hyperparameters={"optimizer": "adam", "momentum": 0.9, "api_token": SECRET},
            tags={"team": "vision"},
            environment={"HUB_PASSWORD": SECRET + "-env", "STAGE": "test"},
            metric_definitions=[
                smt.MetricDefinition(name=name, regex=name + number)
                for name in ("validation:loss", "train:loss", "accuracy")
            ],
        ),
        objective_metric_name="validation:loss",
        objective_type="Minimize",
        hyperparameter_ranges={
            "lr": smt.ContinuousParameter(1e-4, 1e-1, scaling_type="Logarithmic"),
            "width": smt.IntegerParameter(1, 8),
            "act": smt.CategoricalParameter(["relu", "tanh"]),
        },
        strategy="Random",
        random_seed=5,
        max_jobs=10,
        max_parallel_jobs=1,
        early_stopping_type="Auto",
    )
    handle = smt.launch(tuning, name="exported", aws=world)
    handle.wait(progress=False, timeout=120)
    return handle


@pytest.fixture(scope="session")
def info(job: smt.TuningJob) -> JobInfo:
    return read_info(job.aws, job_of(job.describe()))
