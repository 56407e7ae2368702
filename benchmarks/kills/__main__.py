"""kill -9 of the local SageMaker, again and again, while a tuning job runs: ``python -m benchmarks.kills --help``.

Whatever dies, the job must come to the same: each trial once, with the curve of one attempt and its log without gaps.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import random
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import boto3

import sm_tuning as smt
from benchmarks.kills import serving
from sm_tuning.local import ServerInfo, stop
from sm_tuning.local.store import Store

JOB = "storm"
SERVING = "endpoints and transforms"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8.0-cpu-py312"
GROUP = "/aws/sagemaker/TrainingJobs"


@dataclass(frozen=True)
class Scenario:
    """A kind of tuning job: members of its configuration and of its definition, and the epochs of a trial."""

    config: Mapping[str, Any] = field(default_factory=lambda: {"Strategy": "Random"})
    definition: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 3
    parallel: int = 2
    parents: int = 0

    @property
    def resumes(self) -> bool:
        """Whether a trial that is trained again continues from a checkpoint."""
        return "CheckpointConfig" in self.definition


HYPERBAND = {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 9}}
SCENARIOS: Mapping[str, Scenario] = {
    "random": Scenario(),
    "hyperband": Scenario({"Strategy": "Hyperband", "StrategyConfig": HYPERBAND}, epochs=9, parallel=3),
    "bayesian": Scenario({"Strategy": "Bayesian"}, parallel=3),
    "two hosts": Scenario(
        definition={"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}}
    ),
    "spot": Scenario(
        definition={
            "EnableManagedSpotTraining": True,
            "StoppingCondition": {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 1200},
            "CheckpointConfig": {"S3Uri": "s3://BUCKET/checkpoints"},
        },
        environment={"SM_TUNING_LOCAL_SPOT_INTERRUPT_AFTER": "1 emission"},
    ),
    "warm start": Scenario(
        more={
            "WarmStartConfig": {
                "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "parent"}],
                "WarmStartType": "IdenticalDataAndAlgorithm",
            }
        },
        parents=3,
    ),
}


@dataclass(frozen=True)
class Plan:
    """How much happens in a campaign.

    Attributes:
        trials: of the tuning job.
        seconds: that a trial takes.
        kills: of servers, unless the job ends before. Every second one is in the middle of a trial.
        shortest: seconds that the other servers live at least.
        longest: seconds that the other servers live at most.
        seed: of the moments.
    """

    trials: int = 16
    seconds: float = 1.0
    kills: int = 20
    shortest: float = 0.2
    longest: float = 2.5
    seed: int = 2026


Event = tuple[int, str, str]
"""Epoch milliseconds, message and stream of a log event."""


class Result(NamedTuple):
    """What happened in a campaign.

    Attributes:
        kills: servers that were killed.
        again: trials of which more than one attempt printed values.
        wrong: a sentence for each thing that is wrong.
    """

    kills: int
    again: int
    wrong: list[str]


Start = Callable[[Path], Callable[[], None]]
"""Starts a server on a state dir, whether it answers already or not, and returns how to kill it."""


def spawn(folder: Path) -> Callable[[], None]:
    """Start a server as a process, without waiting for its answer."""
    with (folder.parent / "spawned.log").open("ab") as log:
        command = [sys.executable, "-m", "sm_tuning.local._server", "--state-dir", str(folder)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def kill() -> None:
        process.kill()  # only if it has not ended: its process id may be another's by now
        process.wait()

    return kill


def wait_for_server(folder: Path, seconds: float = 90.0) -> None:
    """Return when the server answers, so that a client does not start another one."""
    until = time.monotonic() + seconds
    while smt.local.status(folder) is None:
        assert time.monotonic() < until, (folder / "server.log").read_text()[-2000:]
        time.sleep(0.02)


def create(name: str, scenario: Scenario, info: ServerInfo, *, trials: int, seconds: float) -> None:
    """Upload the script and create a tuning job, at the endpoint of the environment."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(Path(__file__).with_name("bowl.py"), "train.py")
    code = {"Bucket": info.bucket, "Key": "code/sourcedir.tar.gz"}
    boto3.client("s3").put_object(**code, Body=buffer.getvalue())
    definition: dict[str, Any] = {
        "StaticHyperParameters": {
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": f"s3://{info.bucket}/code/sourcedir.tar.gz",
        },
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "loss", "Regex": r"loss=(\S+)"}],
        },
        "RoleArn": info.role_arn,
        "OutputDataConfig": {"S3OutputPath": f"s3://{info.bucket}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        **scenario.definition,
        "Environment": {"SECONDS": str(seconds), "EPOCHS": str(scenario.epochs), **scenario.environment},
    }
    if scenario.resumes:
        definition["CheckpointConfig"] = {"S3Uri": f"s3://{info.bucket}/checkpoints"}
    boto3.client("sagemaker").create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "RandomSeed": 11,
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": trials, "MaxParallelTrainingJobs": scenario.parallel},
            "ParameterRanges": {
                "ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}],
                "IntegerParameterRanges": [{"Name": "n", "MinValue": "1", "MaxValue": "1000"}],
            },
            **scenario.config,
        },
        TrainingJobDefinition=definition,
        **(scenario.more if name == JOB else {}),
    )


def wait_for_end(name: str, seconds: float = 300.0) -> str:
    """Return the final status of a tuning job."""
    until = time.monotonic() + seconds
    while True:
        found = boto3.client("sagemaker").describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        status = str(found["HyperParameterTuningJobStatus"])
        if status not in ("InProgress", "Stopping") or time.monotonic() > until:
            return status
        time.sleep(0.1)


def wait_for_values(folder: Path, seconds: float = 30.0) -> None:
    """Return when a running trial has printed something since now, or when the time is up."""
    until, now = time.monotonic() + seconds, time.time()
    while time.monotonic() < until:
        for log in (folder / "jobs").glob("*/log"):
            with contextlib.suppress(FileNotFoundError):  # the trial ends
                if log.stat().st_mtime >= now:
                    return
        time.sleep(0.01)


def has_ended(folder: Path) -> bool:
    """Return whether the tuning job has ended, while no server runs."""
    with contextlib.closing(Store(folder / "sagemaker.sqlite")) as store:
        doc = store.tuning_job(JOB)
        assert doc is not None
        return doc["HyperParameterTuningJobStatus"] not in ("InProgress", "Stopping")


def campaign(folder: Path, scenario: Scenario, plan: Plan, start: Start = spawn) -> Result:
    """Kill servers while a tuning job runs, let the last one finish it, and look at the results.

    Args:
        folder: a new state dir.
        scenario: kind of the tuning job.
        plan: how much happens.
        start: starts a server.

    Returns:
        What happened, and what is wrong.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kill = start(folder)
    wait_for_server(folder)
    with smt.local.connect(folder) as connection:
        if scenario.parents:
            create("parent", scenario, connection.info, trials=scenario.parents, seconds=plan.seconds)
            wait_for_end("parent")
        create(JOB, scenario, connection.info, trials=plan.trials, seconds=plan.seconds)
    moments = random.Random(plan.seed)
    kills = 0
    while kills < plan.kills:
        if kills % 2:
            time.sleep(moments.uniform(plan.shortest, plan.longest))
        else:  # in the middle of a trial
            wait_for_values(folder)
            time.sleep(moments.uniform(0.0, plan.seconds / 2))
        kill()
        kills += 1
        if has_ended(folder):
            break
        kill = start(folder)
    else:
        kill()
    kill = start(folder)
    try:
        wait_for_server(folder)
        with smt.local.connect(folder):
            status = wait_for_end(JOB)
            wrong = [] if status == "Completed" else [f"the tuning job is {status}"]
            events = {str(name): events_of(str(name)) for name in smt.attach(JOB).trials()["TrainingJobName"]}
            again = sum(len(list(attempts_of(epochs_of(found)))) > 1 for found in events.values())
            return Result(kills, again, [*wrong, *problems(folder, scenario, plan, events)])
    finally:
        stop(folder)
        kill()


def events_of(trial: str) -> list[Event]:
    """Return the log of a trial."""
    pages = boto3.client("logs").get_paginator("filter_log_events")
    found = pages.paginate(logGroupName=GROUP, logStreamNamePrefix=f"{trial}/")
    return [
        (event["timestamp"], event["message"], event["logStreamName"]) for page in found for event in page["events"]
    ]


def epochs_of(events: Sequence[Event]) -> list[int]:
    """Return the epochs in the log of the first host."""
    first = [message for _, message, stream in events if "/algo-1-" in stream]
    return [int(message.split()[1]) for message in first if message.startswith("epoch")]


def problems(folder: Path, scenario: Scenario, plan: Plan, events: Mapping[str, Sequence[Event]]) -> Iterator[str]:
    """Yield what is wrong with a tuning job that has ended."""
    job = smt.attach(JOB)
    frame, curves = job.trials(), job.curves()
    with contextlib.closing(Store(folder / "sagemaker.sqlite")) as store:
        docs = {doc["TrainingJobName"]: doc for doc in store.training_jobs_of(JOB)}
        points = {tuple(doc["_TunedHyperParameters"].items()) for doc in docs.values()}
        if scenario.parents:
            points |= {tuple(doc["_TunedHyperParameters"].items()) for doc in store.training_jobs_of("parent")}
    if sorted(doc["_Index"] for doc in docs.values()) != list(range(1, plan.trials + 1)):
        yield f"the trials have the numbers {sorted(doc['_Index'] for doc in docs.values())}"
    if len(points) != plan.trials + scenario.parents:
        yield f"{plan.trials} trials and {scenario.parents} parents have {len(points)} different points"
    if sorted(frame["TrainingJobName"]) != sorted(docs):
        yield "the frame of trials does not have the training jobs of the store"
    for row in frame.to_dict("records"):
        name = row["TrainingJobName"]
        own = curves[curves["TrainingJobName"] == name].sort_values("Step")
        for problem in trial_problems(row, own, events[name], scenario):
            yield f"{name}: {problem}"


def trial_problems(row: Mapping[str, Any], curve: Any, events: Sequence[Event], scenario: Scenario) -> Iterator[str]:
    """Yield what is wrong with one trial: its status, its curve, and its log."""
    stopped = scenario.config["Strategy"] == "Hyperband" and row["TrainingJobStatus"] == "Stopped"
    if not stopped and row["TrainingJobStatus"] != "Completed":
        yield f"it is {row['TrainingJobStatus']}: {row.get('FailureReason')}"
        return

    def value(epoch: int) -> float:
        return float((row["x"] - 0.3) ** 2 + row["n"] / (epoch + 1))

    if len(set(events)) != len(events):
        yield "the log has an event twice"
    epochs = epochs_of(events)
    attempts = list(attempts_of(epochs))
    reached = -1
    for attempt in attempts:
        if attempt != list(range(attempt[0], attempt[0] + len(attempt))):
            yield f"an attempt has the epochs {attempt}"
        if attempt[0] > (reached + 1 if scenario.resumes else 0):
            yield f"an attempt begins with epoch {attempt[0]}, after {reached}"
        reached = attempt[-1]
    expected = epochs if scenario.resumes else attempts[-1]
    if not stopped and expected[-1] != scenario.epochs - 1:
        yield f"its last epoch is {expected[-1]}"
    if curve["Step"].tolist() != list(range(len(expected))):
        yield f"the curve has the steps {curve['Step'].tolist()} for the epochs {epochs}"
    elif any(
        abs(found - value(epoch)) > 1e-9 * abs(found) for found, epoch in zip(curve["Value"], expected, strict=True)
    ):
        yield f"the curve has the values {curve['Value'].tolist()} for the epochs {epochs}"
    if abs(row["FinalObjectiveValue"] - value(expected[-1])) > 1e-6 * abs(value(expected[-1])):
        yield f"its objective is {row['FinalObjectiveValue']} after epoch {expected[-1]}, not {value(expected[-1])}"


def attempts_of(epochs: Sequence[int]) -> Iterator[list[int]]:
    """Yield the epochs of each attempt; an attempt begins where the next epoch is not the following one."""
    begins = [0, *(place for place, (a, b) in enumerate(itertools.pairwise(epochs), start=1) if b != a + 1)]
    for begin, end in itertools.pairwise([*begins, len(epochs)]):
        yield list(epochs[begin:end])


def serve(kills: int, seeds: Sequence[int]) -> int:
    """Kill among endpoints and transforms, and return the number of campaigns in which something was wrong."""
    print("| seed | deaths | right predictions | invocations that failed | transform jobs | seconds | wrong |")
    print("|---:|---|---:|---|---|---:|---|")
    failed = 0

    def words(counts: Mapping[str, int]) -> str:
        return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"

    for seed in seeds:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="sm-tuning-kills-") as folder:
            try:
                result = serving.campaign(Path(folder) / "state", kills, seed, spawn)
            finally:
                stop(Path(folder) / "state")
        failed += bool(result.wrong)
        took, wrong = round(time.monotonic() - began), "; ".join(result.wrong) or "nothing"
        row = (
            seed,
            words(result.kills),
            result.predictions,
            words(result.refusals),
            words(result.transforms),
            took,
            wrong,
        )
        print(f"| {' | '.join(map(str, row))} |", flush=True)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    defaults = Plan()
    parser.add_argument("--scenarios", nargs="+", choices=[*SCENARIOS, SERVING], default=[*SCENARIOS, SERVING])
    parser.add_argument("--trials", type=int, default=defaults.trials)
    parser.add_argument("--seconds", type=float, default=defaults.seconds, help="that a trial takes")
    parser.add_argument("--kills", type=int, default=defaults.kills, help="of each campaign")
    parser.add_argument("--seeds", type=int, nargs="+", default=[defaults.seed], help="one campaign each")
    given = parser.parse_args()
    failed = 0
    if SERVING in given.scenarios:
        failed += serve(given.kills, given.seeds)
    tuned = [name for name in given.scenarios if name != SERVING]
    if not tuned:
        return 1 if failed else 0
    print("| scenario | seed | trials | kills | trained again | seconds | wrong |\n|---|---:|---:|---:|---:|---:|---|")
    for name, seed in itertools.product(tuned, given.seeds):
        plan = Plan(given.trials, given.seconds, given.kills, seed=seed)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="sm-tuning-kills-") as folder:
            try:
                result = campaign(Path(folder) / "state", SCENARIOS[name], plan)
            finally:
                stop(Path(folder) / "state")  # also if the campaign broke off
        failed += bool(result.wrong)
        took = round(time.monotonic() - began)
        row = (name, seed, plan.trials, result.kills, result.again, took, "; ".join(result.wrong) or "nothing")
        print(f"| {' | '.join(map(str, row))} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
