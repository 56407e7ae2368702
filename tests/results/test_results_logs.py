from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_fakes import T0, FakeSageMaker, in_pages, log_event, training_job, tuning_job

from sm_tuning import ServiceError, SpecError
from sm_tuning._wire import TRAINING_JOBS as GROUP
from sm_tuning.aws import Aws
from sm_tuning.results import LOGS, logs
from sm_tuning.results._logs import Texts, _Gathered
from sm_tuning.results._reader import _ahead

ONE, TWO = (f"job-00{number}-0000000{number}" for number in (1, 2))


@pytest.fixture(autouse=True)
def _two_trials(sagemaker: FakeSageMaker) -> None:
    sagemaker.put("job", [training_job("job", 1, 0.5), training_job("job", 2, 0.25)])


@pytest.fixture
def group(aws: Aws) -> Any:
    aws.logs.create_log_group(logGroupName=GROUP)
    yield
    aws.logs.delete_log_group(logGroupName=GROUP)


def write(aws: Aws, stream: str, *lines: tuple[float, str]) -> None:
    aws.logs.create_log_stream(logGroupName=GROUP, logStreamName=stream)
    events = [{"timestamp": round((T0 + seconds) * 1000), "message": message} for seconds, message in lines]
    aws.logs.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=events)


def asked(fake: FakeSageMaker) -> list[dict[str, Any]]:
    return [body for operation, body in fake.asked if operation == "FilterLogEvents"]


@pytest.mark.usefixtures("group")
def test_lines_come_by_trial_host_and_time_as_cloudwatch_keeps_them(aws: Aws) -> None:
    write(aws, f"{TWO}/algo-1-1700000200", (201, "two"))
    write(aws, f"{ONE}/algo-10-1700000100", (101, "tenth host"))
    write(aws, f"{ONE}/algo-2-1700000100", (101, "second host"))
    write(aws, f"{ONE}/algo-1-1700000100", (101, "[0]#011rmse:1"), (101, "again"), (102.25, "later"))
    write(aws, f"{ONE}/algo-1-1700000150", (150, "after an interruption"))
    write(aws, "job-2-001-00000001/algo-1-1700000100", (101, "another job, with a name that begins alike"))
    table = logs(aws, "job")
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == LOGS
    assert table["Message"].tolist() == [
        "[0]#011rmse:1",
        "again",
        "later",
        "after an interruption",
        "second host",
        "tenth host",
        "two",
    ]
    assert table["Host"].tolist() == ["algo-1"] * 4 + ["algo-2", "algo-10", "algo-1"]
    assert table["TrainingJobName"].tolist() == [ONE] * 6 + [TWO]
    assert table["Timestamp"].iloc[2] == pd.Timestamp(T0 * 1000 + 102250, unit="ms", tz="UTC")


def test_without_a_log_group_there_are_no_rows(aws: Aws) -> None:
    table = logs(aws, "job")
    assert len(table) == 0
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == LOGS


def test_all_trials_are_read_together_between_their_times(sagemaker: FakeSageMaker, aws: Aws) -> None:
    logs(aws, "job")
    (body,) = asked(sagemaker)
    assert body["logStreamNamePrefix"] == "job-"
    assert body["startTime"] <= (T0 + 70) * 1000
    assert body["endTime"] >= (T0 + 260) * 1000
    assert "filterPattern" not in body


def test_while_a_trial_runs_the_end_is_open(sagemaker: FakeSageMaker, aws: Aws) -> None:
    running = training_job("job", 3, TrainingJobStatus="InProgress", TrainingEndTime=None)
    sagemaker.trials["job"].append(running)
    logs(aws, "job")
    assert "endTime" not in asked(sagemaker)[0]


def test_a_job_without_trials_asks_for_no_lines(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put("new", [])
    assert len(logs(aws, "new")) == 0
    assert not asked(sagemaker)


def test_one_trial_of_many_is_read_by_its_own_streams(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put("many", [training_job("many", number, 0.5) for number in range(1, 11)])
    by_name = sagemaker.trials["many"][6]["TrainingJobName"]
    for trial in (7, by_name, [7], [by_name]):
        sagemaker.asked.clear()
        logs(aws, "many", trial=trial)
        assert [body["logStreamNamePrefix"] for body in asked(sagemaker)] == [f"{by_name}/"]


def test_a_trial_of_several_jobs_is_found_in_its_own(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put("other", [training_job("other", 1, 0.5)])
    sagemaker.log_pages = in_pages([log_event(f"{TWO}/algo-1-1", 200, "two")], [])
    assert logs(aws, ["other", "job"], trial=TWO)["TrainingJobName"].tolist() == [TWO]


@pytest.mark.parametrize("trial", ["nobody", 9, [1, "nobody"]])
def test_an_unknown_trial_is_an_error_that_names_it(aws: Aws, trial: Any) -> None:
    with pytest.raises(SpecError, match=r"no trial ('nobody'|9) in job"):
        logs(aws, "job", trial=trial)


def test_grep_is_a_python_expression_and_cloudwatch_sees_only_what_it_can_carry(
    sagemaker: FakeSageMaker, aws: Aws
) -> None:
    lines = ["val_loss: 1.5", "val_loss: nan", "preval_loss: 2", "Epoch 3"]
    sagemaker.log_pages = in_pages([log_event(f"{ONE}/algo-1-1", 100, line) for line in lines], [])
    assert logs(aws, "job", grep=r"val_loss: \d")["Message"].tolist() == ["val_loss: 1.5", "preval_loss: 2"]
    assert asked(sagemaker)[0]["filterPattern"] == "%val_loss%"
    assert logs(aws, "job", grep=r"(?i)epoch")["Message"].tolist() == ["Epoch 3"]
    assert "filterPattern" not in asked(sagemaker)[1]


@pytest.mark.usefixtures("group")
def test_start_and_end_bound_the_lines_both_included(aws: Aws) -> None:
    write(aws, f"{ONE}/algo-1-1700000100", *((100 + second, str(second)) for second in range(5)))
    zero = datetime.fromtimestamp(T0 + 100, UTC)
    naive = (zero + timedelta(seconds=3)).replace(tzinfo=None)
    table = logs(aws, "job", start=zero + timedelta(seconds=1), end=naive)
    assert table["Message"].tolist() == ["1", "2", "3"]
    assert len(logs(aws, "job", start=(zero + timedelta(seconds=4)).isoformat())) == 1


@pytest.mark.parametrize("arguments", [{"grep": "(["}, {"start": "soon"}, {"end": 7}])
def test_arguments_that_cannot_be_read_are_errors_before_any_call(
    sagemaker: FakeSageMaker, aws: Aws, arguments: dict[str, Any]
) -> None:
    with pytest.raises(SpecError, match=next(iter(arguments))):
        logs(aws, "job", **arguments)
    assert not sagemaker.calls


def test_a_token_that_comes_back_is_an_error_and_not_an_endless_loop(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.log_pages = lambda _: {"events": [], "nextToken": "again"}
    with pytest.raises(ServiceError, match="twice"):
        logs(aws, "job")
    assert sagemaker.calls["FilterLogEvents"] == 2


@given(sizes=st.lists(st.integers(0, 9), max_size=12), count=st.integers(0, 30))
def test_pages_of_any_size_and_empty_ones_give_the_same_frame(
    sagemaker: FakeSageMaker, aws: Aws, sizes: list[int], count: int
) -> None:
    events = [log_event(f"{(ONE, TWO)[n % 2]}/algo-{n % 3 + 1}-1", 100 + n // 7, f"line {n}") for n in range(count)]
    sagemaker.log_pages = in_pages(events, [])
    whole = logs(aws, "job")
    sagemaker.log_pages = in_pages(events, sizes)
    pd.testing.assert_frame_equal(logs(aws, "job"), whole)
    assert len(whole) == count
    numbers = whole["Message"].str[5:].astype(int)
    for _, group in numbers.groupby([whole["TrainingJobName"], whole["Host"]]):
        assert group.is_monotonic_increasing


def test_a_hundred_thousand_lines_lose_none(sagemaker: FakeSageMaker, aws: Aws) -> None:
    events = [log_event(f"{ONE}/algo-1-1", 100, f"line {number}") for number in range(100_000)]
    sagemaker.log_pages = in_pages(events, [10_000] * 9)
    assert logs(aws, "job")["Message"].tolist() == [event["message"] for event in events]


def test_lines_that_are_gathered_take_little_more_memory_than_their_texts() -> None:
    gathered, length = _Gathered([ONE], None), 0
    tracemalloc.start()
    try:
        for page in range(20):
            events = [log_event(f"{ONE}/algo-1-1", 100, f"line {number} of page {page}: é") for number in range(1_000)]
            length += sum(len(event["message"].encode()) for event in events)
            gathered.add(events)
            del events
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Four numbers of eight bytes for each line, and an eighth of all as room to grow; a str has 50 bytes more.
    assert taken < (length + 20_000 * 32) * 1.25


@given(texts=st.lists(st.text(st.characters(categories=("L", "N", "Cs", "So")))), split=st.integers(0, 9))
def test_texts_of_all_kinds_come_back_as_they_were(texts: list[str], split: int) -> None:
    found = Texts()
    found.extend(texts[:split])
    found.extend(texts[split:])
    order = np.arange(len(texts))[::-1]
    assert found.at(order) == texts[::-1]


def test_the_name_that_the_service_gives_is_the_one_whose_streams_are_read(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.jobs["JOB"] = tuning_job("job")  # names are not case sensitive
    logs(aws, "JOB")
    assert asked(sagemaker)[0]["logStreamNamePrefix"] == "job-"


def test_the_next_page_is_read_while_one_is_worked_on() -> None:
    begun = threading.Event()

    def pages() -> Iterator[int]:
        yield 1
        begun.set()
        yield 2

    found = _ahead(pages())

    assert next(found) == 1
    assert begun.wait(10)
    assert list(found) == [2]


def test_the_error_of_a_page_comes_after_the_pages_before_it() -> None:
    def pages() -> Iterator[int]:
        yield 1
        raise ServiceError("the second page is withheld")

    found = _ahead(pages())

    assert next(found) == 1
    with pytest.raises(ServiceError, match="the second page"):
        next(found)
