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

#: Drives or stops a study as ``sm-tuning study run`` and ``sm-tuning stop`` do, with a lease that expires soon.
PROGRAM = """
import sys
import sm_tuning as smt
import sm_tuning.studies._store as store
store.RENEWAL, store.EXPIRY = 0.5, 2.5
study = smt.attach(sys.argv[1])
study.stop() if sys.argv[2] == "stop" else study.wait(progress=False, poll=0.1)
"""

#: The strategies of the campaigns. Trials continue others in the last two.
KINDS = ("Random", "Bayesian", "Optuna", "Promotion", "Population")
_MEMBERS = 4  # of the population

#: Seconds until a driver that was started has the lease, on a machine with other work.
_PATIENCE = 60.0

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
    """Return the study of a campaign, of this many trials; a trial trains so many seconds an epoch."""
    configs: Mapping[str, Any] = {
        "Optuna": {"options": {"n_startup_trials": 4}},
        "Promotion": {"max_resource": 9},
        "Population": {"size": _MEMBERS, "max_resource": max(2, trials // _MEMBERS)},
    }
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
        strategy_config=configs.get(kind),
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
        drivers: how many drive at once; one of them has the lease, and all are killed.
        longest: seconds that a driver lives at most once it drives.
        start: starts a driver.
    """
    launched = smt.launch(spec, name=name, aws=aws)
    assert isinstance(launched, smt.Study)
    moments, kills, driver = random.Random(seed), 0, None

    def drive() -> list[Any]:
        return [start(program(name), {**os.environ, **env}) for _ in range(drivers)]

    running = drive()
    while kills < deaths and any(process.poll() is None for process in running):
        # Most deaths are those of drivers that have begun; a few happen at any moment since the start.
        if moments.random() < 0.9:
            driver = driving(launched, driver, running)
        if all(process.poll() is not None for process in running):
            break  # the study has ended: drivers that are started now end at once, and never count as killed
        time.sleep(moments.uniform(0.0, longest))
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


def program(study: str, verb: str = "wait") -> list[str]:
    """Return the command that drives a study, or stops it."""
    return [sys.executable, "-c", PROGRAM, study, verb]


def driving(study: smt.Study, before: str | None, running: Sequence[Any]) -> str | None:
    """Wait until another driver than the one before drives, or no process is left; return the driver."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and any(process.poll() is None for process in running):
        found = study.driver
        if found not in (None, before):
            return found
        time.sleep(0.05)
    return before


def stops(
    aws: smt.Aws,
    env: Mapping[str, str],
    spec: smt.Tuning,
    name: str,
    *,
    count: int,
    seed: int = 2026,
    start: Start = start,
) -> list[str]:
    """Stop studies at random moments, half of them just after the death of their driver; return what is wrong.

    Args:
        aws: a connection to a local SageMaker.
        env: the environment in which a program reaches it.
        spec: the studies.
        name: the beginning of their names.
        count: how many.
        seed: of the moments.
        start: starts a program.
    """
    moments, wrong = random.Random(seed), []
    for number in range(count):
        study = smt.launch(spec, name=f"{name}-{number}", aws=aws)
        assert isinstance(study, smt.Study)
        driver = start(program(study.name), {**os.environ, **env})
        driving(study, None, [driver])
        time.sleep(moments.uniform(0.0, 2.0))
        if number % 2:
            driver.kill()
        stopping = start(program(study.name, "stop"), {**os.environ, **env})
        output, _ = stopping.communicate(timeout=120)
        if stopping.returncode:
            wrong.append(f"the stop of {study.name} failed: {output[-2000:]}")
        begun = _listed(aws, study.name)
        # The status is Stopped once no trial runs any more; a driver that lives ends then.
        aws.poll(study.name, lambda study=study: str(study.status), lambda status: status == "Stopped", timeout=120)
        driver.communicate(timeout=120)
        study.step()
        ended = _listed(aws, study.name)
        if ended.keys() != begun.keys():
            wrong.append(f"{study.name} started {sorted(ended.keys() - begun.keys())} after it was stopped")
        running = [job for job, status in ended.items() if status in ("InProgress", "Stopping")]
        if running:
            wrong.append(f"{', '.join(running)} run after the end of {study.name}")
    return wrong


def _listed(aws: smt.Aws, study: str) -> dict[str, str]:
    """Return the status of each training job of a study."""
    pages = aws.pages("sagemaker", "list_training_jobs", NameContains=f"{study}-", MaxResults=100)
    found = (summary for page in pages for summary in page["TrainingJobSummaries"])
    return {summary["TrainingJobName"]: summary["TrainingJobStatus"] for summary in found}


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
    listed = _listed(aws, study.name)
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
