"""kill -9 of the driver of a study, again and again: no trial is lost, doubled or started with other values."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sm_tuning as smt
from sm_tuning import studies

#: Drives a study as ``sm-tuning study run`` does, with a lease that expires soon.
DRIVER = """
import sys
import sm_tuning as smt
import sm_tuning.studies._store as store
store.RENEWAL, store.EXPIRY = 0.5, 2.5
smt.attach(sys.argv[1]).wait(progress=False, poll=0.1)
"""

#: What differs between the studies of a campaign. Trials continue others in the last two.
KINDS: Mapping[str, Mapping[str, Any]] = {
    "Random": {},
    "Bayesian": {},
    "Promotion": {"strategy_config": {"max_resource": 9}},
    "Population": {"strategy_config": {"size": 4, "max_resource": 8}},
}

Start = Callable[[Sequence[str], Mapping[str, str]], Any]
"""Starts a program with an environment, and returns its process."""


class Result(NamedTuple):
    """What happened in a campaign.

    Attributes:
        kills: of drivers that had not ended.
        trials: of the study.
        continued: trials that continue the epochs of their parents.
        wrong: a sentence for each thing that is wrong.
    """

    kills: int
    trials: int
    continued: int
    wrong: list[str]


def start(words: Sequence[str], env: Mapping[str, str]) -> Any:
    """Start a program."""
    return subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def study_of(kind: str, *, role: str, bucket: str, trials: int, seconds: float) -> smt.Tuning:
    """Return the study of a campaign."""
    estimator = smt.PyTorchEstimator(
        entry_point=str(Path(__file__).with_name("trial.py")),
        framework_version="2.8",
        py_version="py312",
        instance_type="ml.m5.large",
        role=role,
        max_run=300,
        metric_definitions=[{"Name": "loss", "Regex": r"loss=(\S+)"}],
        environment={"SECONDS_AN_EPOCH": str(seconds)},
        checkpoint_s3_uri=f"s3://{bucket}/checkpoints",
    )
    return smt.Tuning(
        estimator=estimator,
        objective_metric_name="loss",
        objective_type="Minimize",
        hyperparameter_ranges={"rate": smt.ContinuousParameter(0.01, 1, scaling_type="Logarithmic")},
        strategy=kind,
        max_jobs=trials,
        max_parallel_jobs=3,
        random_seed=5,
        study=smt.StudySettings(),
        **KINDS[kind],
    )


def campaign(
    aws: smt.Aws,
    env: Mapping[str, str],
    spec: smt.Tuning,
    name: str,
    *,
    deaths: int,
    seed: int = 2026,
    drivers: int = 1,
    longest: float = 4.0,
    start: Start = start,
) -> Result:
    """Kill drivers while a study runs, let the last ones finish it, and look at the trials.

    Args:
        aws: a connection to a local SageMaker.
        env: the environment in which a driver reaches it.
        spec: the study.
        name: of the study.
        deaths: drivers to kill, unless the study ends before.
        seed: of the moments.
        drivers: how many drive at once; one of them has the lease.
        longest: seconds that a driver lives at most.
        start: starts a driver.
    """
    launched = smt.launch(spec, name=name, aws=aws)
    assert isinstance(launched, smt.Study)
    moments, kills = random.Random(seed), 0

    def drive() -> list[Any]:
        return [start([sys.executable, "-c", DRIVER, name], {**os.environ, **env}) for _ in range(drivers)]

    running = drive()
    while kills < deaths and any(process.poll() is None for process in running):
        time.sleep(moments.uniform(0.3, longest))
        for process in running:
            kills += process.poll() is None
            process.kill()
            process.communicate()
        running = drive()
    for process in running:
        output, _ = process.communicate(timeout=300)
        if process.returncode:
            return Result(kills, 0, 0, [f"a driver failed: {output[-2000:]}"])
    return judged(aws, launched, kills)


def judged(aws: smt.Aws, study: smt.Study, kills: int) -> Result:
    """Compare records, training jobs and checkpoints of a study that has ended."""
    store = studies.Store(aws, study.uri)
    record = studies.read_study(store)
    assert record is not None
    trials = studies.StudyTrials(aws, store, record)
    trials.read()
    wrong = [] if study.status == "Completed" else [f"the study is {study.status}"]
    jobs = {job.suggestion.number: job for job in trials.jobs}
    if sorted(jobs) != list(range(1, len(jobs) + 1)):
        wrong.append(f"the numbers of the trials are {sorted(jobs)}")
    listed = [
        summary["TrainingJobName"]
        for page in aws.pages("sagemaker", "list_training_jobs", NameContains=f"{study.name}-", MaxResults=100)
        for summary in page["TrainingJobSummaries"]
    ]
    if sorted(listed) != sorted(job.name for job in jobs.values()):
        wrong.append(f"{len(listed)} training jobs belong to {len(jobs)} records")
    histories, continued = {number: _history(aws, job.training or {}) for number, job in jobs.items()}, 0
    for number, job in jobs.items():
        given = (job.training or {}).get("HyperParameters", {})
        if any(given.get(name) != value for name, value in job.suggestion.hyperparameters.items()):
            wrong.append(f"{job.name} was started with {given}, but recorded {dict(job.suggestion.hyperparameters)}")
        if str(job.status) != "Completed":
            wrong.append(f"{job.name} is {job.status}")
        parent, own = job.suggestion.parent, histories[number]
        if parent is not None:
            before = histories[parent]
            is_continued = own[: len(before)] == before and {entry["job"] for entry in own[len(before) :]} == {job.name}
            continued += is_continued
            if not is_continued:
                wrong.append(f"{job.name} does not continue the {len(before)} epochs of trial {parent}")
    return Result(kills, len(jobs), continued, wrong)


def _history(aws: smt.Aws, training: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the epochs that led to a trial's checkpoint."""
    bucket, _, key = training["CheckpointConfig"]["S3Uri"].removeprefix("s3://").partition("/")
    body = aws.s3.get_object(Bucket=bucket, Key=f"{key}/history.json")["Body"].read()
    history: list[dict[str, Any]] = json.loads(body)
    return history
