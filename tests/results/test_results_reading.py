"""Reading that is throttled, cut off, repeated, paced, kept on disk."""

from __future__ import annotations

import json
import os
import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pandas as pd
import pyarrow.parquet as pq
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError
from hypothesis import given
from hypothesis import strategies as st
from results_fakes import REGION, T0, FakeSageMaker, RefusalError, answer, in_pages, log_event, training_job

from sm_tuning import EndpointError, ServiceError, attach
from sm_tuning.aws import Aws, is_transient
from sm_tuning.results import (
    LOGS,
    Clock,
    Reading,
    ResultsWarning,
    Step,
    cache_folder,
    clear_cache,
    curves,
    errors,
    logs,
    trials,
)
from sm_tuning.results._cache import Cache
from sm_tuning.results._reader import Pace, Quota


class FakeTime:
    """A clock whose sleeps take no time but are seen."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds

    @property
    def clock(self) -> Clock:
        return Clock(self.sleep, lambda: self.seconds, lambda: datetime.now(UTC))


class OneTry:
    """A session whose clients try once, so that each refusal reaches our own patience at once."""

    def __init__(self, session: boto3.Session) -> None:
        self._session = session
        self.region_name = session.region_name

    def client(self, name: str, *, config: Config, **place: Any) -> Any:
        once = config.merge(Config(retries={"mode": "standard", "total_max_attempts": 1}))
        return self._session.client(name, config=once, **place)


class Trouble:
    """Stands before the fakes and spoils calls as told, by their number."""

    def __init__(self) -> None:
        self.spoil: Callable[[int, str], str | None] = lambda number, operation: None
        self.calls: Counter[str] = Counter()

    def __call__(self, request: Any, **_: Any) -> AWSResponse | None:
        header = request.headers["X-Amz-Target"]
        operation = (header.decode() if isinstance(header, bytes) else header).split(".")[1]
        what = self.spoil(sum(self.calls.values()), operation)
        self.calls[operation] += 1
        if what == "throttled":
            return answer(400, {"__type": "ThrottlingException", "message": "Rate exceeded"})
        if what == "failed":
            return answer(500, {"__type": "InternalFailure", "message": "oops"})
        if what == "dropped":
            raise ConnectionClosedError(endpoint_url=request.url)
        return None


@pytest.fixture(scope="module")
def troubled() -> Iterator[tuple[Trouble, FakeSageMaker, Aws]]:
    trouble, fake = Trouble(), FakeSageMaker()
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    for service in ("sagemaker", "cloudwatch-logs"):
        session.events.register_first(f"before-send.{service}", trouble)
    fake.register(session)
    environ = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    with Aws(OneTry(session), region=REGION, endpoint_url=None, environ=environ) as aws:
        yield trouble, fake, aws


@pytest.fixture
def spoiled(troubled: tuple[Trouble, FakeSageMaker, Aws]) -> tuple[Trouble, FakeSageMaker, Aws]:
    trouble, fake, _ = troubled
    vars(trouble).update(vars(Trouble()))
    vars(fake).update(vars(FakeSageMaker()))
    return troubled


def events(count: int, trials: int = 3) -> list[dict[str, Any]]:
    """Lines of all trials in order of time, as FilterLogEvents has them."""
    names = [f"job-{n:03d}-{n:08x}" for n in range(1, trials + 1)]
    return [
        log_event(
            f"{names[n % trials]}/algo-{n % 2 + 1}-1",
            100 + n // 4,
            f"[{n}]#011train-rmse:{n / 7!r}#011validation-rmse:{n}",
        )
        for n in range(count)
    ]


def put(fake: FakeSageMaker, pages: Callable[[dict[str, Any]], dict[str, Any]], count: int = 3) -> None:
    fake.put("job", [training_job("job", n, n / 4) for n in range(1, count + 1)])
    fake.log_pages = pages
    fake.page_size = 2


@given(seed=st.integers(0, 10**6), sizes=st.lists(st.integers(0, 9), max_size=6), repeated=st.booleans())
def test_calls_that_fail_and_pages_that_come_twice_change_no_frame(
    spoiled: tuple[Trouble, FakeSageMaker, Aws], seed: int, sizes: list[int], repeated: bool
) -> None:
    trouble, fake, aws = spoiled
    lines = events(40)
    pages = in_pages(lines, sizes)
    put(fake, pages)
    trouble.spoil = lambda number, operation: None
    whole = [trials(aws, "job"), curves(aws, "job"), logs(aws, "job"), errors(aws, "job")]
    chance, rate = random.Random(seed), 0.3

    def spoil(number: int, operation: str) -> str | None:
        # The very first answer decides whether there is an endpoint at all.
        return chance.choice(["throttled", "failed", "dropped"]) if number and chance.random() < rate else None

    if repeated:
        put(fake, each_twice(pages))
    reading = Reading(clock=FakeTime().clock)
    trouble.spoil = spoil
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            again = [read(aws, "job", reading=first(trouble, reading)) for read in (trials, curves, logs, errors)]
        except ServiceError as error:
            again, failure = [], error
        else:
            failure = None
    if failure is not None:
        assert is_transient(failure)
        return
    for table, expected in zip(again, whole, strict=True):
        if "incomplete" in table.attrs:
            assert any(issubclass(one.category, ResultsWarning) for one in caught)
        else:
            pd.testing.assert_frame_equal(table, expected)


def first(trouble: Trouble, reading: Reading) -> Reading:
    trouble.calls.clear()
    return reading


def each_twice(pages: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The same pages, each given a second time under a token of its own."""

    def answered(body: dict[str, Any]) -> dict[str, Any]:
        token = body.get("nextToken", "")
        asked = (
            {**body, "nextToken": token.removeprefix("again:")}
            if token.removeprefix("again:")
            else {name: value for name, value in body.items() if name != "nextToken"}
        )
        page = pages(asked)
        if not token.startswith("again:"):
            return {**page, "nextToken": f"again:{token}"}
        return page

    return answered


def test_a_token_that_never_ends_is_an_error(spoiled: tuple[Trouble, FakeSageMaker, Aws]) -> None:
    _, fake, aws = spoiled
    put(fake, lambda body: {"events": [], "nextToken": "round" if body.get("nextToken") == "and" else "and"})
    with pytest.raises(ServiceError, match="twice"):
        logs(aws, "job")


def test_an_endpoint_that_never_answered_is_not_asked_again_and_again(
    spoiled: tuple[Trouble, FakeSageMaker, Aws],
) -> None:
    trouble, fake, aws = spoiled
    put(fake, in_pages([], []))
    trouble.spoil = lambda number, operation: "dropped"
    time = FakeTime()
    environ = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    with (
        Aws(aws.session, region=REGION, endpoint_url=None, environ=environ) as fresh,
        pytest.raises(EndpointError),
    ):
        trials(fresh, "job", reading=Reading(clock=time.clock))
    assert sum(trouble.calls.values()) == 1
    assert not time.slept


def test_what_is_withheld_is_said_and_reading_on_gives_each_line_once(
    spoiled: tuple[Trouble, FakeSageMaker, Aws],
) -> None:
    trouble, fake, aws = spoiled
    lines = events(40)
    put(fake, in_pages(lines, [10, 10]))
    whole = logs(aws, "job")
    before = trouble.calls["FilterLogEvents"]
    trouble.spoil = lambda _, operation: (
        "throttled" if operation == "FilterLogEvents" and trouble.calls[operation] - before >= 2 else None
    )
    time = FakeTime()
    with pytest.warns(ResultsWarning, match="log lines of 3 trials could not be read .* logs from start="):
        part = logs(aws, "job", reading=Reading(clock=time.clock))
    assert time.slept == [0.2, 0.4, 0.8, 1.6, 3.2]
    (gap,) = part.attrs["incomplete"]
    assert json.loads(json.dumps(gap)) == gap
    assert 0 < len(part) < len(whole)
    trouble.spoil = lambda number, operation: None
    fake.log_pages = lambda body: {"events": [line for line in lines if line["timestamp"] >= body["startTime"]]}
    rest = logs(aws, "job", start=gap["since"])
    joined = pd.concat([part, rest]).sort_values(["TrainingJobName", "Host", "Timestamp"], kind="stable")
    pd.testing.assert_frame_equal(joined.reset_index(drop=True), whole)


def test_curves_that_are_cut_off_name_the_trials_to_ask_for_again(spoiled: tuple[Trouble, FakeSageMaker, Aws]) -> None:
    trouble, fake, aws = spoiled
    put(fake, in_pages(events(40), [10]))
    trouble.spoil = lambda _, operation: (
        "failed" if operation == "FilterLogEvents" and trouble.calls[operation] >= 1 else None
    )
    with pytest.warns(ResultsWarning):
        table = curves(aws, "job", reading=Reading(clock=FakeTime().clock))
    assert table.attrs["incomplete"][0]["trials"] == sorted(trial["TrainingJobName"] for trial in fake.trials["job"])
    assert "cloudwatch" not in set(table["Source"])


def test_a_refusal_that_will_not_pass_is_an_error_at_once(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put("job", [training_job("job", 1, 0.5)])
    sagemaker.refusals["ListTrainingJobsForHyperParameterTuningJob"] = RefusalError("AccessDeniedException", "no")
    with pytest.raises(ServiceError, match="denied"):
        trials(aws, "job")
    assert sagemaker.calls["ListTrainingJobsForHyperParameterTuningJob"] == 1


@given(
    amounts=st.lists(st.floats(0.1, 50), min_size=1, max_size=60),
    waits=st.lists(st.floats(0, 3), min_size=60, max_size=60),
    rate=st.floats(0.5, 20),
)
def test_no_stretch_of_time_holds_more_than_the_quota(amounts: list[float], waits: list[float], rate: float) -> None:
    time = FakeTime()
    pace = Pace(time.clock)
    taken = []
    for amount, wait in zip(amounts, waits, strict=False):
        time.seconds += wait
        pace.wait(Quota("q", rate), amount)
        taken.append((time.seconds, amount))
    for begin in range(len(taken)):
        for end in range(begin + 1, len(taken)):
            span = taken[end][0] - taken[begin][0]
            assert sum(amount for _, amount in taken[begin:end]) <= rate * span + 1e-6 * (1 + span)


def test_progress_is_told_step_by_step(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put("job", [training_job("job", n, 0.5) for n in range(1, 6)])
    sagemaker.page_size = 2
    steps: list[Step] = []
    trials(aws, "job", reading=Reading(progress=steps.append))
    assert [step.done for step in steps if step.what == "trials"] == [2, 4, 5]


# --- what is kept on disk


@pytest.fixture
def keeping(sagemaker: FakeSageMaker, tmp_path: Path) -> Iterator[tuple[FakeSageMaker, Aws, Path]]:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    sagemaker.register(session)
    folder = tmp_path / "cache"
    environ = {"SM_TUNING_CACHE_DIR": str(folder), "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    with Aws(session, region=REGION, endpoint_url=None, environ=environ) as aws:
        yield sagemaker, aws, folder


FRAMES = (trials, curves, logs, errors)


def test_a_second_look_at_a_finished_job_makes_one_describe_and_gives_the_same(
    keeping: tuple[FakeSageMaker, Aws, Path],
) -> None:
    fake, aws, _ = keeping
    fake.put("job", [training_job("job", 1, 0.1), training_job("job", 2), training_job("job", 3, 0.3)])
    fake.log_pages = in_pages(events(40), [7])
    one = [read(aws, "job") for read in FRAMES]
    for read, table in zip(FRAMES, one, strict=True):
        fake.calls.clear()
        again = read(aws, "job")
        assert dict(fake.calls) == {"DescribeHyperParameterTuningJob": 1}
        pd.testing.assert_frame_equal(again, table, check_exact=True)
        assert again.attrs == table.attrs
    logs_of_one = logs(aws, "job", trial=2)
    assert set(logs_of_one["TrainingJobName"]) == {fake.trials["job"][1]["TrainingJobName"]}
    fake.calls.clear()
    trials(aws, "job", reading=Reading(refresh=True))
    assert fake.calls["ListTrainingJobsForHyperParameterTuningJob"] == 1


def test_of_a_running_job_only_what_has_ended_is_kept(keeping: tuple[FakeSageMaker, Aws, Path]) -> None:
    fake, aws, _ = keeping
    running = training_job("job", 3, TrainingJobStatus="InProgress", TrainingEndTime=None)
    fake.put("job", [training_job("job", 1, 0.1), running], HyperParameterTuningJobStatus="InProgress")
    lines = events(40)
    fake.log_pages = in_pages(lines[:20], [])
    logs(aws, "job")
    fake.log_pages = in_pages(lines, [])
    fake.asked.clear()
    table = logs(aws, "job")
    third = running["TrainingJobName"]
    asked = [body for operation, body in fake.asked if operation == "FilterLogEvents"]
    assert len(table[table["TrainingJobName"] == third]) == len(
        [one for one in lines if one["logStreamName"].startswith(third)]
    )
    assert asked[0]["startTime"] > (T0 + 300 - 30 - 3601) * 1000


def test_a_job_that_was_made_anew_under_its_name_is_another(keeping: tuple[FakeSageMaker, Aws, Path]) -> None:
    fake, aws, _ = keeping
    fake.put("job", [training_job("job", 1, 0.1)])
    trials(aws, "job")
    fake.put("job", [training_job("job", 1, 0.9)], CreationTime=float(T0 + 1))
    assert trials(aws, "job")["FinalObjectiveValue"].tolist() == [0.9]


def test_a_broken_file_is_read_anew_and_other_people_cannot_read_any(
    keeping: tuple[FakeSageMaker, Aws, Path],
) -> None:
    fake, aws, folder = keeping
    fake.put("job", [training_job("job", 1, 0.1)])
    whole = trials(aws, "job")
    files = sorted((folder / "frames").iterdir())
    assert files
    for path in files:
        assert path.stat().st_mode & 0o077 == 0
        path.write_bytes(b"PAR1 broken")
    pd.testing.assert_frame_equal(trials(aws, "job"), whole)
    fake.calls.clear()
    trials(aws, "job")
    assert dict(fake.calls) == {"DescribeHyperParameterTuningJob": 1}


def test_a_long_frame_is_cached_in_parts_that_need_little_memory_each(tmp_path: Path) -> None:
    table = pd.DataFrame({"TrainingJobName": ["a"] * 100_000}).astype("string")
    cache = Cache(tmp_path)
    cache.save("long", table, ["a"])
    assert pq.ParquetFile(tmp_path / "long.parquet").num_row_groups == 2
    entry = cache.load("long", {"TrainingJobName": "string"})
    assert entry is not None
    pd.testing.assert_frame_equal(entry.frame, table)


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    table = pd.DataFrame({"TrainingJobName": ["a"] * 100}).astype("string")
    cache = Cache(tmp_path)
    cache.save("size", table, ["a"])
    size = (tmp_path / "size.parquet").stat().st_size
    cache.clear()
    cache = Cache(tmp_path, limit=3 * size)
    for name in "abc":
        cache.save(name, table, ["a"])
    for age, name in enumerate("cba"):
        stamp = T0 + age
        os.utime(tmp_path / f"{name}.parquet", (stamp, stamp))
    cache.load("c", {"TrainingJobName": "string"})
    cache.save("d", table, ["a"])
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["a", "c", "d"]


def test_clearing_removes_every_file(keeping: tuple[FakeSageMaker, Aws, Path]) -> None:
    fake, aws, folder = keeping
    fake.put("job", [training_job("job", 1, 0.1)])
    trials(aws, "job")
    count, size = clear_cache(aws.environ)
    assert count > 0
    assert size > 0
    assert not list((folder / "frames").iterdir())
    assert clear_cache(aws.environ) == (0, 0)


def test_the_folder_is_the_user_s_cache_folder_unless_named() -> None:
    assert cache_folder({"SM_TUNING_CACHE_DIR": "/x", "HOME": "/h"}) == Path("/x")
    assert cache_folder({"SM_TUNING_CACHE_DIR": "", "HOME": "/h"}) is None
    assert cache_folder({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == Path("/c/sm_tuning")
    assert cache_folder({"HOME": "/h"}, "linux") == Path("/h/.cache/sm_tuning")
    assert cache_folder({"HOME": "/h"}, "darwin") == Path("/h/Library/Caches/sm_tuning")
    assert cache_folder({}) is None


def test_trials_that_just_ended_are_kept_later_on_aws(sagemaker: FakeSageMaker, tmp_path: Path) -> None:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    sagemaker.register(session)
    ended = datetime.fromtimestamp(T0 + 160, UTC)
    sagemaker.put("job", [training_job("job", 1, 0.1)])
    with Aws(session, region=REGION, endpoint_url=None, environ={"SM_TUNING_CACHE_DIR": str(tmp_path)}) as aws:
        for minutes, calls in ((1, 1), (11, 1), (12, 0)):
            sagemaker.calls.clear()
            clock = Clock(now=lambda minutes=minutes: ended + timedelta(minutes=minutes))
            trials(aws, "job", reading=Reading(clock=clock))
            assert sagemaker.calls["Search"] == calls


def test_the_frame_of_lines_has_its_dtypes_from_disk_too(keeping: tuple[FakeSageMaker, Aws, Path]) -> None:
    fake, aws, _ = keeping
    fake.put("job", [training_job("job", 1, 0.1)])
    fake.log_pages = in_pages([], [])
    for _ in range(2):
        table = logs(aws, "job")
        assert {name: str(dtype) for name, dtype in table.dtypes.items()} == LOGS
        assert table.attrs["trials_without_lines"] == [fake.trials["job"][0]["TrainingJobName"]]


def test_the_handle_of_a_finished_job_lists_its_trials_once_also_without_a_disk(
    sagemaker: FakeSageMaker, aws: Aws
) -> None:
    sagemaker.put("job", [training_job("job", 1, 0.1), training_job("job", 2)])
    sagemaker.log_pages = in_pages([], [])
    job = attach("job", aws=aws)
    job.trials()
    job.curves()
    job.errors()
    job.utilization()
    with pytest.warns(ResultsWarning, match="instances of 2 trials"):
        job.cost(prices={})
    assert sagemaker.calls["ListTrainingJobsForHyperParameterTuningJob"] == 1
    assert sagemaker.calls["Search"] == 1
    job.trials(refresh=True)
    assert sagemaker.calls["ListTrainingJobsForHyperParameterTuningJob"] == 2
