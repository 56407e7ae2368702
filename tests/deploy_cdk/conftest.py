"""A local SageMaker of this folder's own, and small tunings for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from servers import running_server

import sm_tuning as smt
from sm_tuning.aws import Aws
from sm_tuning.local import ServerInfo

ROLE = "arn:aws:iam::123456789012:role/Training"
NUMBER = r"=([0-9.]+);"

#: Ends as it is told: with an objective, with none, or with a crash.
SCRIPT = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--width", type=float)
parser.add_argument("--api_token")
parser.add_argument("--end")
args = parser.parse_args()
if args.end == "crash":
    raise SystemExit("out of luck")
print(f"score={0.5 + args.width / 100:.6f};", flush=True)
print(f"loss={1 - args.width / 100:.6f};", flush=True)
"""


@pytest.fixture(scope="session")
def server(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerInfo]:
    with running_server(tmp_path_factory.mktemp("machines-server")) as info:
        yield info


@pytest.fixture(scope="session")
def world(server: ServerInfo) -> Iterator[Aws]:
    session = boto3.Session(server.access_key_id, server.secret_access_key, region_name=server.region)
    environ = {**server.env(), "SM_TUNING_ROLE": server.role_arn}
    with Aws(session, region=server.region, endpoint_url=server.endpoint_url, environ=environ) as aws:
        yield aws


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    (folder / "train.py").write_text(SCRIPT, encoding="utf-8")
    return folder


@pytest.fixture
def tuning(source: Path) -> smt.Tuning:
    """Two quick trials of a script; the better one has a score just below 0.6."""
    estimator = smt.PyTorchEstimator(
        entry_point="train.py",
        source_dir=str(source),
        framework_version="2.6",
        py_version="py312",
        instance_type="ml.m5.large",
        hyperparameters={"end": "well", "api_token": "hunter2-hunter2"},
        metric_definitions=[smt.MetricDefinition(name=name, regex=name + NUMBER) for name in ("score", "loss")],
    )
    return smt.Tuning(
        estimator=estimator,
        objective_metric_name="score",
        hyperparameter_ranges={"width": smt.ContinuousParameter(1, 9)},
        strategy="Random",
        max_jobs=2,
        max_parallel_jobs=2,
        random_seed=3,
        base_tuning_job_name="machine",
    )
