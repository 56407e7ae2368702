"""Bad answers of AWS to the commands: no traceback, the right exit code, and nothing wrong in the cache."""

from __future__ import annotations

import itertools
import os
import random
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import botocore.retries.standard
import pandas as pd
import pytest
from _aws_answers import JOB, REGION, ROLE, Call, arn
from _bad_answers import KINDS
from _fake_aws import FakeAws
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from sm_tuning import results
from sm_tuning.aws import Aws, Clock, Policy, Retry, connect
from sm_tuning.cli import main

AT_ONCE = Retry(attempts=3, first=0.0)
SHORT = Policy(
    attempts=2,
    mode="standard",
    read_timeout=20.0,
    broken=Retry(attempts=2, first=0.0),
    reading=AT_ONCE,
    waiting=AT_ONCE,
    interval=0.01,
)

#: The calls of each command, of which a fault disturbs one.
OPERATIONS = {
    "wait": ("DescribeHyperParameterTuningJob", "DescribeTrainingJob"),
    "trials": ("DescribeHyperParameterTuningJob", "ListTrainingJobsForHyperParameterTuningJob", "Search"),
    "logs": ("DescribeHyperParameterTuningJob", "ListTrainingJobsForHyperParameterTuningJob", "FilterLogEvents"),
    "gate": (
        "DescribeHyperParameterTuningJob",
        "DescribeTrainingJob",
        "ListTrainingJobsForHyperParameterTuningJob",
        "Search",
        "GetProducts",
    ),
    "launch": (
        "DescribeHyperParameterTuningJob",
        "GetCallerIdentity",
        "GetObject",
        "HeadBucket",
        "HeadObject",
        "PutObject",
        "CreateHyperParameterTuningJob",
    ),
    "sync": (
        "ListHyperParameterTuningJobs",
        "DescribeHyperParameterTuningJob",
        "ListTrainingJobsForHyperParameterTuningJob",
        "Search",
        "ListTags",
        "GetCallerIdentity",
        "GetProducts",
    ),
    "report": (
        "DescribeHyperParameterTuningJob",
        "ListTrainingJobsForHyperParameterTuningJob",
        "Search",
        "FilterLogEvents",
        "GetMetricData",
        "GetProducts",
        "ListTags",
    ),
}

#: Kinds after which the same call may be answered well, and those whose answer counts.
PASSING = [name for name, kind in KINDS.items() if kind.outcome in ("broken", "right") and name != "a hang"]

#: Calls in whose place another one answers, and those of a launch that look for a study of its name.
_REPLACEABLE = ("Search", "HeadObject", "CreateHyperParameterTuningJob", "GetCallerIdentity", "GetObject")

ALL = tuple(itertools.product(KINDS, OPERATIONS))


def sample() -> Iterator[tuple[str, str, str]]:
    """Give half of the kinds and commands, with one call of each; a report takes time, so that few are among them."""
    for number, (kind, command) in enumerate(ALL):
        operations = OPERATIONS[command]
        row, column = divmod(number, len(OPERATIONS))
        if (row + column) % 2 == 0 and (command != "report" or row % 8 == 1):
            yield kind, command, operations[row // 2 % len(operations)]


class Run(NamedTuple):
    """What a command came to."""

    code: int
    stdout: str
    stderr: str
    page: str


class Desk:
    """Runs commands with a fake AWS and a cache folder of their own."""

    def __init__(self, fake: FakeAws, folder: Path) -> None:
        self.fake = fake
        self.environ: dict[str, str] = {}
        self._folder = folder
        self._numbers = itertools.count()
        self._session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name=REGION)
        script = folder / "train.py"
        script.write_text("print('rmse=1')\n")
        self._spec = folder / "spec.yaml"
        self._spec.write_text(
            f"estimator: {{type: pytorch, framework_version: '2.8', py_version: py312,\n"
            f"  entry_point: {script}, instance_type: ml.m5.large, role: '{ROLE}',\n"
            "  metric_definitions: [{Name: rmse, Regex: 'rmse=(.*)'}]}\n"
            "inputs: {train: s3://bucket/train}\n"
            "objective_metric_name: rmse\n"
            "objective_type: Minimize\n"
            "hyperparameter_ranges: {eta: {type: continuous, min_value: 0.1, max_value: 1}}\n"
            "strategy: Random\n"
            "max_jobs: 2\n"
            "max_parallel_jobs: 1\n"
        )
        self.new_cache()
        self.undisturbed = {}
        for command, operations in OPERATIONS.items():
            fake.forget()
            with self.connected() as aws:
                self.undisturbed[command] = self.run(command, aws)
            assert set(fake.calls) == set(operations), self.undisturbed[command].stderr
            self.new_cache()

    def connected(self, policy: Policy = SHORT, *, url: str = "") -> Aws:
        """Return a connection with a quota of retries of its own, which botocore keeps with each client."""
        return connect(session=self._session, endpoint_url=url or self.fake.url, environ=self.environ, policy=policy)

    def new_cache(self) -> None:
        """Begin with an empty cache, and without a dataset."""
        self.environ["SM_TUNING_CACHE_DIR"] = str(self._folder / f"cache-{next(self._numbers)}")
        self._dataset = self._folder / f"dataset-{next(self._numbers)}"

    def run(self, command: str, aws: Aws) -> Run:
        page = self._folder / "report.html"
        arguments: dict[str, list[Any]] = {
            "wait": [JOB],
            "trials": [JOB, "--format", "csv"],
            "logs": [JOB, "--format", "csv"],
            "gate": [JOB, "--require", "objective<=1", "--require", "cost<=20", "--json"],
            "launch": [self._spec, "--name", "mine", "--if-exists", "attach"],
            "report": [JOB, "-o", page],
            "sync": [self._dataset],
        }
        page.unlink(missing_ok=True)
        run = self.call([command, *map(str, arguments[command])], aws, page)
        return run._replace(page=self._rows()) if command == "sync" else run

    def _rows(self) -> str:
        """Return the rows of the dataset, without when they were read."""
        tables = [pd.read_parquet(path) for path in sorted(self._dataset.rglob("*.parquet"))]
        return "\n".join(table[[c for c in table if "sync" not in c.lower()]].to_csv(index=False) for table in tables)

    def call(self, words: list[str], aws: Aws, page: Path = Path(os.devnull)) -> Run:
        result = CliRunner().invoke(main, words, obj={"connect": lambda **_: aws})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        text = page.read_text() if page.exists() else ""
        # The one thing that two reports of the same answers do not share.
        text = re.sub(r"report written</dt><dd[^>]*>[^<]*", "", text)
        return Run(result.exit_code, result.stdout, result.stderr, text)


@contextmanager
def serving() -> Iterator[FakeAws]:
    server = FakeAws()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.calm.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def desk(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with serving() as fake, pytest.MonkeyPatch.context() as patch:
        # botocore waits up to a second before it repeats a call.
        patch.setattr(botocore.retries.standard.ExponentialBackoff, "delay_amount", lambda *_: 0.0)
        yield Desk(fake, tmp_path_factory.mktemp("desk"))


def check_case(desk: Desk, kind: str, command: str, operation: str) -> None:
    """Run a command while one of its calls is answered badly, and then once more."""
    desk.new_cache()
    with desk.connected(replace(SHORT, read_timeout=0.5) if kind == "a hang" else SHORT) as aws:
        _check_case(desk, aws, kind, command, operation)


def _check_case(desk: Desk, aws: Aws, kind_name: str, command: str, operation: str) -> None:
    kind, fake = KINDS[kind_name], desk.fake
    right = desk.undisturbed[command]._replace(stderr="")
    with fake.fault(lambda call, _: kind.send if call.operation == operation else None):
        run = desk.run(command, aws)
    is_disturbed = bool(fake.disturbed[operation])
    assert len(fake.aws.created) <= 1
    if kind.outcome == "changed":
        assert run.code in (0, 1), run
        return
    if run.code == 3:
        # S3 says no more than 403 to HeadBucket.
        assert f"{operation} " in run.stderr or (operation == "HeadBucket" and "the bucket" in run.stderr)
        assert set(re.findall("^sm-tuning: (error|warning): ", run.stderr, re.MULTILINE))
    elif command == "report" and operation == "GetProducts" and kind_name == "access denied":
        # A role that may not read prices is common, and is noted in the page alone.
        assert "GetProducts was denied" in run.page
    elif command == "sync" and operation == "GetProducts" and kind_name == "access denied":
        # The next sync does not read the job again: --refresh does, once prices are given.
        assert "there is no price of ml.m5.large" in run.stderr
        return
    else:
        # Only an answer that counts, or one in whose place another call answers, may leave the outcome as it is.
        assert kind.outcome == "right" or not is_disturbed or operation in _REPLACEABLE, run
        assert run._replace(stderr="") == right
    # The next run finds what this one has cached and created, and meets a fault that passes once more.
    passes = kind.outcome == "broken" and not fake.aws.created
    with fake.fault(
        lambda call, n: kind.send if passes and call.operation == operation and n == 1 else None, keep=True
    ):
        again = desk.run(command, aws)
    assert again._replace(stderr="") == right, again.stderr


@pytest.mark.parametrize(("kind", "command", "operation"), list(sample()))
def test_a_bad_answer_is_no_answer(kind: str, command: str, operation: str, desk: Desk) -> None:
    check_case(desk, kind, command, operation)


@pytest.mark.long
@pytest.mark.parametrize(("kind", "command"), ALL)
def test_a_bad_answer_to_any_call_is_no_answer(kind: str, command: str, desk: Desk) -> None:
    for operation in OPERATIONS[command]:
        check_case(desk, kind, command, operation)


def test_there_are_enough_kinds() -> None:
    assert len(KINDS) >= 26


@pytest.mark.parametrize("command", OPERATIONS)
def test_a_refused_connection_is_an_error(command: str, desk: Desk) -> None:
    desk.new_cache()
    with socket.socket() as closed:
        closed.bind(("127.0.0.2", 0))
        with desk.connected(url=f"http://127.0.0.2:{closed.getsockname()[1]}") as aws:
            run = desk.run(command, aws)
    assert (run.code, run.stdout, run.page) == (3, "", "")
    assert "Could not connect to the endpoint URL" in run.stderr


def test_a_gate_does_not_pass_because_billable_seconds_are_withheld(desk: Desk) -> None:
    first = {"Search": 1, "DescribeTrainingJob": 2}  # the best trial's metrics are read before
    send = KINDS["ThrottlingException"].send
    desk.new_cache()
    with (
        desk.connected() as aws,
        desk.fake.fault(lambda call, number: send if number >= first.get(call.operation, number + 1) else None),
    ):
        run = desk.call(["gate", JOB, "--require", "billable_seconds<=100"], aws)
    assert run.code == 3
    assert "the requirements cannot be judged: " in run.stderr


FRAMES = (
    results.trials,
    results.logs,
    results.curves,
    results.errors,
    results.utilization,
    # The Price List is another endpoint, to which the first call may be refused at once.
    partial(results.cost, prices={"ml.m5.large": 0.1}),
)


def frames_of(aws: Aws) -> list[pd.DataFrame]:
    reading = results.Reading(progress=False, clock=Clock(sleep=lambda _: None))
    return [read(aws, JOB, reading=reading) for read in FRAMES]


@pytest.fixture
def patient(desk: Desk) -> Iterator[Aws]:
    """A connection that repeats calls without an end, and that has been answered once."""
    always = Retry(first=0.0)
    with desk.connected(replace(SHORT, attempts=1, broken=always, reading=always, waiting=always)) as aws:
        aws.tags(arn(JOB))
        yield aws


@pytest.fixture
def right(desk: Desk, patient: Aws) -> list[pd.DataFrame]:
    desk.new_cache()
    return frames_of(patient)


@given(seed=st.integers(0, 2**32 - 1))
def test_frames_are_the_same_if_a_third_of_the_calls_is_disturbed(
    seed: int, desk: Desk, patient: Aws, right: list[pd.DataFrame]
) -> None:
    chance = random.Random(seed)
    desk.new_cache()
    with desk.fake.fault(lambda *_: KINDS[chance.choice(PASSING)].send if chance.random() < 0.3 else None):
        found = frames_of(patient)
    assert desk.fake.disturbed.total() > 0
    for frame, expected in zip(found, right, strict=True):
        pd.testing.assert_frame_equal(frame, expected)
        assert "incomplete" not in frame.attrs


@pytest.mark.parametrize("command", ["wait", "trials"])
def test_long_throttling_ends_no_wait_and_no_reading(command: str, desk: Desk, patient: Aws) -> None:
    def is_repeated(call: Call) -> bool:
        return command != "wait" or call.operation == "DescribeHyperParameterTuningJob"

    desk.new_cache()
    send = KINDS["ThrottlingException"].send
    with desk.fake.fault(lambda call, number: send if number < 100 and is_repeated(call) else None):
        run = desk.run(command, patient)
    assert desk.fake.disturbed.total() >= 99
    assert run._replace(stderr="") == desk.undisturbed[command]._replace(stderr="")


def with_the_policy_of_aws(kind: str) -> subprocess.CompletedProcess[str]:
    """Run ``trials`` as a user does, where each of its calls meets a kind of bad answers once."""
    environ = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": REGION,
        "SM_TUNING_CACHE_DIR": "",
        "PATH": os.environ["PATH"],
    }
    program = [sys.executable, "-c", "from sm_tuning.cli import main; main()", "trials", JOB, "--format", "csv"]
    with serving() as server, server.fault(lambda _, number: KINDS[kind].send if number == 1 else None):
        environ["AWS_ENDPOINT_URL"] = server.url
        return subprocess.run(program, capture_output=True, text=True, check=False, env=environ)


@pytest.fixture(scope="module")
def programs(processes: None) -> Iterator[Mapping[str, Future[subprocess.CompletedProcess[str]]]]:
    """One program for each kind, side by side: a hang takes a minute a call."""
    with ThreadPoolExecutor(len(KINDS)) as pool:
        yield {kind: pool.submit(with_the_policy_of_aws, kind) for kind in KINDS}


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_with_the_policy_of_aws_a_fault_that_passes_changes_nothing(
    kind: str, programs: Mapping[str, Future[subprocess.CompletedProcess[str]]], desk: Desk
) -> None:
    run = programs[kind].result()
    if KINDS[kind].outcome in ("broken", "right"):
        assert (run.returncode, run.stdout) == (0, desk.undisturbed["trials"].stdout), run.stderr
    else:
        assert run.returncode in (0, 3)
        assert "Traceback" not in run.stderr
