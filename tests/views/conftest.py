"""A job that the local SageMaker really ran, and a connection to it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from servers import running_server

import sm_tuning as smt
from sm_tuning.aws import Aws
from sm_tuning.local import ServerInfo
from sm_tuning.results import CACHE_VARIABLE

#: Trials that get better, one that crashes with a traceback, and hostile text in a value and in the log.
SCRIPT = textwrap.dedent(
    """
    import argparse
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int)
    parser.add_argument("--mode")
    args = parser.parse_args()
    print("<script>alert('log')</script>")
    for epoch in range(6):
        print(f"train:loss={1 / (1 + epoch) / args.width:.6f};")
        print(f"validation:loss={1 / (1 + epoch) / args.width + 0.01 * args.width:.6f};", flush=True)
        if "script" in args.mode and args.width > 4:
            raise ValueError("<script>alert('trace')</script>")
    """
)


@pytest.fixture(scope="session")
def server(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerInfo]:
    with running_server(tmp_path_factory.mktemp("views-server")) as info:
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
def world(server: ServerInfo, environ: dict[str, str]) -> Iterator[Aws]:
    session = boto3.Session(server.access_key_id, server.secret_access_key, region_name=server.region)
    with Aws(session, region=server.region, endpoint_url=server.endpoint_url, environ=environ) as aws:
        yield aws


@pytest.fixture(scope="session")
def job(world: Aws, tmp_path_factory: pytest.TempPathFactory) -> smt.TuningJob:
    """A finished grid of twelve trials, of which three failed."""
    source: Path = tmp_path_factory.mktemp("source")
    (source / "train.py").write_text(SCRIPT, encoding="utf-8")
    number = r"=([0-9.]+);"
    tuning = smt.Tuning(
        estimator=smt.PyTorchEstimator(
            entry_point="train.py",
            source_dir=str(source),
            framework_version="2.6",
            py_version="py312",
            instance_type="ml.m5.large",
            metric_definitions=[
                smt.MetricDefinition(name=name, regex=name + number) for name in ("validation:loss", "train:loss")
            ],
        ),
        objective_metric_name="validation:loss",
        objective_type="Minimize",
        hyperparameter_ranges={
            "width": smt.CategoricalParameter([1, 2, 3, 4, 5, 6]),
            "mode": smt.CategoricalParameter(["plain", "<script>alert('value')</script>"]),
        },
        strategy="Grid",
        max_parallel_jobs=2,
    )
    handle = smt.launch(tuning, name="looked-at", aws=world)
    handle.wait(progress=False, timeout=120)
    return handle
