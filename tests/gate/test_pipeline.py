"""From check to register as separate processes that share nothing but the job's name, against a local SageMaker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from forks import run_program, start_program, wait_for
from servers import start_server, stop_server

import sm_tuning as smt

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-c", "from sm_tuning.cli import main; main()"]
SMALL = ["--set", "max_jobs=2", "--set", "max_parallel_jobs=1"]
SPEC = str(ROOT / "estimators" / "xgboost-diabetes.yaml")

pytestmark = [pytest.mark.usefixtures("processes"), pytest.mark.timeout(300)]


class Pipeline:
    """The steps of a pipeline, each a program that is started anew."""

    def __init__(self, job: str, environ: dict[str, str], *, limit: str) -> None:
        self.job, self.environ = job, environ
        self.steps = {
            "check": ["check", SPEC, *SMALL, "--strict"],
            "smoke": ["check", SPEC, "--smoke"],
            "launch": ["launch", SPEC, *SMALL, "--name", job, "--if-exists", "attach"],
            "wait": ["wait", job, "--json"],
            "gate": ["gate", job, "--require", limit, "--json"],
            "register": ["register", job, "--group", job, "--json"],
        }

    def begin(self, step: str) -> Any:
        return start_program([*PROGRAM, *self.steps[step]], preload="client", cwd=ROOT, env=self.environ)

    def run(self, step: str) -> tuple[int, str]:
        done = run_program([*PROGRAM, *self.steps[step]], preload="client", cwd=ROOT, env=self.environ)
        assert done.returncode in (0, 1), done.stderr
        return done.returncode, done.stdout

    def kill(self, step: str, after: float) -> None:
        process = self.begin(step)
        try:
            process.wait(timeout=after)
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def environ(near: smt.Aws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What a runner knows of the cloud; its smoke runs on a local SageMaker of its own."""
    smoke = tmp_path_factory.mktemp("smoke")
    start_server(smoke)  # a program would start a whole interpreter for it
    keys = near.sagemaker._request_signer._credentials
    yield {
        **os.environ,
        "AWS_ENDPOINT_URL": near.sagemaker.meta.endpoint_url,
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_DEFAULT_REGION": near.region,
        "SM_TUNING_ROLE": near.environ["SM_TUNING_ROLE"],
        "SM_TUNING_STATE_DIR": str(smoke),
        "OMP_NUM_THREADS": "1",
    }
    stop_server(smoke)


def packages(near: smt.Aws, group: str) -> list[str]:
    try:
        answer = near.call("sagemaker", "list_model_packages", ModelPackageGroupName=group)
    except smt.ServiceError as error:
        if "does not exist" not in str(error):
            raise
        return []  # the step was killed before it made the group
    return [one["ModelPackageArn"] for one in answer["ModelPackageSummaryList"]]


@pytest.mark.whole
def test_six_processes_bring_a_spec_to_a_registered_model(near, environ) -> None:
    pipeline = Pipeline("pipe-good", environ, limit="validation:rmse<=200")
    said = {step: pipeline.run(step) for step in pipeline.steps}
    assert {step: code for step, (code, _) in said.items()} == dict.fromkeys(pipeline.steps, 0)

    package = json.loads(said["register"][1])
    best = json.loads(said["wait"][1])["best"]
    assert packages(near, "pipe-good") == [package["arn"]]
    assert (package["created"], package["approval"]) == (True, "PendingManualApproval")
    assert (package["training_job_name"], package["model_uri"]) == (best["name"], best["model_uri"])
    metadata = near.call("sagemaker", "describe_model_package", ModelPackageName=package["arn"])
    assert metadata["CustomerMetadataProperties"]["sm-tuning:objective"] == "validation:rmse"


@pytest.mark.long
def test_a_gate_that_does_not_hold_ends_the_pipeline_and_registers_nothing(near, environ) -> None:
    pipeline = Pipeline("pipe-bad", environ, limit="validation:rmse<=1")
    done = {}
    for step in ("launch", "wait", "gate", "register"):
        done[step], _ = pipeline.run(step)
        if done[step]:
            break
    assert done == {"launch": 0, "wait": 0, "gate": 1}
    command = [*PROGRAM, "gate", "pipe-bad", "--require", "cost<=20"]
    unknown = run_program(command, preload="client", cwd=ROOT, env=environ)
    assert unknown.returncode == 1
    assert "pipe-bad: cost <= 20 cannot be judged: there is no price of ml.m5.large" in unknown.stderr

    pipeline.steps["register"] += ["--require", "validation:rmse<=1"]  # the gate in the same step
    assert pipeline.run("register")[0] == 1
    with pytest.raises(smt.ServiceError, match="does not exist"):
        near.call("sagemaker", "describe_model_package_group", ModelPackageGroupName="pipe-bad")


#: When each step is killed, in seconds after it began.
MOMENTS = {"check": (0.4,), "smoke": (2.0,), "launch": (0.5, 1.2), "wait": (0.5, 1.2), "gate": (0.5, 1.2)}


@pytest.mark.parametrize(
    "moments",
    [pytest.param({"launch": (0.5,)}, marks=pytest.mark.whole), pytest.param(MOMENTS, marks=pytest.mark.long)],
    ids=len,
)
def test_killed_and_run_again_at_each_step_there_is_one_job_and_one_package(near, environ, moments) -> None:
    name = f"pipe-kill-{len(moments)}"
    pipeline = Pipeline(name, environ, limit="validation:rmse<=200")
    for step in ("check", "smoke", "launch", "wait", "gate") if len(moments) > 1 else ("launch", "wait"):
        for moment in moments.get(step, ()):
            pipeline.kill(step, moment)
        assert pipeline.run(step)[0] == 0, step
    for moment in (0.5, 0.9)[: len(moments)]:
        pipeline.kill("register", moment)

    # Once more, and killed as soon as the package is there: before the step can say so.
    process = pipeline.begin("register")
    wait_for(lambda: process.poll() is not None or packages(near, name))
    process.kill()
    process.communicate()

    first, again = (json.loads(pipeline.run("register")[1]) for _ in range(2))
    assert first["arn"] == again["arn"]
    assert again["created"] is False
    assert packages(near, name) == [first["arn"]]
    jobs = smt.list_jobs(name_contains=name, aws=near)
    assert [(job["HyperParameterTuningJobName"], job["HyperParameterTuningJobStatus"]) for job in jobs] == [
        (name, "Completed")
    ]
