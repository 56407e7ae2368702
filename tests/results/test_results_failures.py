"""Why trials failed, and lines while they are written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_fakes import T0, FakeSageMaker, RefusalError, in_pages, log_event, training_job, tuning_job

from sm_tuning import JobFailedError, JobNotFoundError, ServiceError, SpecError
from sm_tuning.aws import Aws
from sm_tuning.results import (
    ERRORS,
    Clock,
    Reading,
    ResultsWarning,
    errors,
    explained,
    follow_logs,
    same_failures,
    trials,
)
from sm_tuning.results._failures import last_traceback

ONE, TWO = (f"job-00{number}-0000000{number}" for number in (1, 2))
START = "Traceback (most recent call last):"
FRAME = '  File "train.py", line 3, in <module>'


def lines(trial: str, host: str, begin: float, *messages: str) -> list[dict[str, Any]]:
    return [log_event(f"{trial}/{host}-1", begin + n, message) for n, message in enumerate(messages)]


# --- tracebacks


def test_the_last_traceback_is_found_between_other_lines() -> None:
    found = last_traceback(
        [
            "epoch 1",
            START,
            FRAME,
            "KeyError: 'old'",
            "retrying",
            START,
            FRAME,
            "    fit()",
            "ValueError: nan in x",
            "bye",
        ]
    )
    assert found == (5, "ValueError: nan in x", f"{START}\n{FRAME}\n    fit()\nValueError: nan in x")


def test_a_chain_of_exceptions_is_one_block_whose_message_is_the_last() -> None:
    chained = "During handling of the above exception, another exception occurred:"
    found = last_traceback([START, FRAME, "KeyError: 1", "", chained, "", START, FRAME, "app.UserError: bad data"])
    assert found is not None
    assert found.place == 0
    assert found.message == "app.UserError: bad data"
    assert found.text.count(START) == 2


def test_what_a_launcher_writes_before_each_line_is_taken_off() -> None:
    found = last_traceback([f"[rank1]: {line}" for line in (START, FRAME, "RuntimeError: CUDA out of memory")])
    assert found == (0, "RuntimeError: CUDA out of memory", f"{START}\n{FRAME}\nRuntimeError: CUDA out of memory")


@pytest.mark.parametrize("messages", [[], ["all is well"], ["Error: but no traceback"]])
def test_without_a_traceback_there_is_none(messages: list[str]) -> None:
    assert last_traceback(messages) is None


def test_a_traceback_in_one_message_or_cut_off_is_read_as_far_as_it_goes() -> None:
    whole = f"{START}\n{FRAME}\nOSError: gone"
    assert last_traceback(["x", whole]) == (1, "OSError: gone", whole)
    found = last_traceback([START, FRAME])
    assert found is not None
    assert found.text == f"{START}\n{FRAME}"


def test_an_endless_traceback_is_shortened_in_its_middle() -> None:
    found = last_traceback([START, *[FRAME] * 3000, "RecursionError: too deep"])
    assert found is not None
    assert found.text.count("\n") == 500
    assert found.text.endswith("RecursionError: too deep")


SYNTAX = ['  File "/opt/ml/code/train.py", line 3', "    def f(:", "          ^", "SyntaxError: invalid syntax"]
PLACED = "SyntaxError: invalid syntax (train.py, line 3)"


def test_a_syntax_error_of_the_script_keeps_its_file_and_line_without_a_header() -> None:
    assert last_traceback(["hello", *SYNTAX, "bye"]) == (1, PLACED, "\n".join(SYNTAX))
    assert last_traceback([f"[rank0]: {line}" for line in SYNTAX]) == (0, PLACED, "\n".join(SYNTAX))
    encoding = ['  File "a.py", line 1', "SyntaxError: (unicode error) 'utf-8' codec can't decode byte 0xff"]
    found = last_traceback(encoding)
    assert found is not None
    assert found.message.endswith("(a.py, line 1)")


def test_a_syntax_error_of_an_import_keeps_its_frames_file_and_line() -> None:
    found = last_traceback([START, FRAME, "    import helper", *SYNTAX])
    assert found == (0, PLACED, "\n".join([START, FRAME, "    import helper", *SYNTAX]))


def test_of_a_traceback_and_a_syntax_error_the_later_one_counts() -> None:
    caught = [START, FRAME, "KeyError: 'old'"]
    first = last_traceback([*caught, *SYNTAX])
    assert first is not None
    assert first.message == PLACED
    last = last_traceback([*SYNTAX, *caught])
    assert last is not None
    assert (last.place, last.message) == (4, "KeyError: 'old'")


def test_a_line_that_names_a_file_is_no_syntax_error() -> None:
    assert last_traceback(['  File "train.py", line 3', "all is well"]) is None


# --- errors


def test_each_failed_trial_is_a_row_with_its_traceback_or_the_service_s_reason(
    sagemaker: FakeSageMaker, aws: Aws
) -> None:
    sagemaker.put("job", [training_job("job", 1), training_job("job", 2), training_job("job", 3, 0.5)])
    third = sagemaker.trials["job"][2]["TrainingJobName"]
    sagemaker.log_pages = in_pages(
        [
            *lines(ONE, "algo-2", 150, START, FRAME, "TimeoutError: rank 0 is gone"),
            *lines(ONE, "algo-1", 140, "hello", START, FRAME, "MemoryError: 8 GB"),
            *lines(TWO, "algo-1", 240, "Killed"),
            *lines(third, "algo-1", 340, START, FRAME, "ValueError: was caught"),
        ],
        [2, 0],
    )
    table = errors(aws, "job")
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == ERRORS
    assert table["TrainingJobName"].tolist() == [ONE, TWO]
    assert table["Message"].tolist() == ["MemoryError: 8 GB", "AlgorithmError: , exit code: 1"]
    assert table["Host"].tolist()[0] == "algo-1"
    assert table["Timestamp"].iloc[0] == datetime.fromtimestamp(T0 + 141, UTC)
    assert table["Source"].tolist() == ["logs", "FailureReason"]
    assert table["Traceback"].isna().tolist() == [False, True]
    assert errors(aws, "job", trial=2)["TrainingJobName"].tolist() == [TWO]


def test_a_job_in_which_nothing_failed_asks_for_no_lines(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put("job", [training_job("job", 1, 0.5)])
    table = errors(aws, "job")
    assert len(table) == 0
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == ERRORS
    assert sagemaker.calls["FilterLogEvents"] == 0


# --- failures that trials share


def failed(number: int, reason: str = "AlgorithmError: , exit code: 1") -> dict[str, Any]:
    return training_job("job", number, FailureReason=reason)


def names(*numbers: int) -> tuple[str, ...]:
    return tuple(f"job-{number:03d}-{number:08x}" for number in numbers)


def test_trials_that_failed_alike_are_one_failure_and_most_come_first(sagemaker: FakeSageMaker, aws: Aws) -> None:
    def reason(rate: float) -> str:
        command = f'Command "/usr/bin/python3 train.py --lr {rate}", exit code: 1'
        return f'AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "epoch 1\nno GPU"\n{command}'

    sagemaker.put("job", [failed(1), *(failed(n, reason(n / 10)) for n in (2, 3, 4)), failed(5)])
    raised = [START, FRAME, "ValueError: <object at 0x7f00> is bad"]
    again = [line.replace("7f00", "7fff") for line in raised]
    events = [*lines(names(1)[0], "algo-1", 140, *raised), *lines(names(5)[0], "algo-1", 540, *again)]
    sagemaker.log_pages = in_pages(events, [])
    first, second = same_failures(errors(aws, "job"))
    assert (first.message, first.trials, first.host) == ("no GPU", names(2, 3, 4), None)
    assert (second.message, second.trials, second.host) == (raised[-1], names(1, 5), "algo-1")
    assert second.text == "\n".join(raised)
    assert second.when == datetime.fromtimestamp(T0 + 140, UTC)


def explanation(aws: Aws) -> str:
    error = JobFailedError("the job failed", job_name="job", status="Failed", reason="why")
    found = explained(aws, error)
    assert (found.job_name, found.status, found.reason) == ("job", "Failed", "why")
    return str(found)


def test_a_failed_job_names_the_error_of_its_first_failed_trial(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put("job", [training_job("job", 1, 0.5), *(failed(n) for n in (2, 3, 4))])
    events = [
        event
        for n, message in ((2, "ValueError: nan"), (3, "MemoryError"), (4, "ValueError: nan"))
        for event in lines(names(n)[0], "algo-1", 100 * n, START, FRAME, message)
    ]
    sagemaker.log_pages = in_pages(events, [])
    assert explanation(aws) == "the job failed; 2 of 3 failed trials ended with: ValueError: nan"
    sagemaker.put("job", [failed(2)])
    assert explanation(aws) == "the job failed; the failed trial ended with: ValueError: nan"
    sagemaker.put("job", [failed(n) for n in range(2, 32)])
    assert "2 of the first 20 of 30 failed trials ended with: ValueError: nan" in explanation(aws)
    sagemaker.put("job", [failed(1, "x" * 1000)])
    assert explanation(aws).endswith(f"the failed trial ended with: {'x' * 300}…")


def test_a_failed_job_without_failed_trials_names_the_objective(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put("job", [training_job("job", 1, TrainingJobStatus="Completed", FailureReason=None)])
    assert explanation(aws).startswith("the job failed; no trial emitted a value of the objective 'validation:rmse': ")


@pytest.mark.parametrize("withheld", ["ListTrainingJobsForHyperParameterTuningJob", "DescribeHyperParameterTuningJob"])
def test_a_failed_job_is_reported_without_what_cannot_be_read(
    sagemaker: FakeSageMaker, aws: Aws, withheld: str
) -> None:
    sagemaker.put("job", [failed(1)])
    sagemaker.refusals[withheld] = RefusalError("AccessDeniedException", "not allowed")
    assert explanation(aws) == "the job failed"


# --- following


class Play:
    """A job that goes on: at each sleep the next scene is put up; what was written stays."""

    def __init__(self, fake: FakeSageMaker, scenes: list[Callable[[], None]]) -> None:
        self.fake, self.scenes, self.slept = fake, scenes, 0.0
        self.written: list[dict[str, Any]] = []
        self.fake.log_pages = self.pages

    def write(self, *events: dict[str, Any]) -> None:
        self.written += events

    def pages(self, body: dict[str, Any]) -> dict[str, Any]:
        shown = [event for event in self.written if event["timestamp"] >= body.get("startTime", 0)]
        return in_pages(sorted(shown, key=lambda event: event["timestamp"]), [2, 0, 3])(body)

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        assert self.slept < 10_000
        if self.scenes:
            self.scenes.pop(0)()

    @property
    def reading(self) -> Reading:
        return Reading(clock=Clock(sleep=self.sleep))


def running(fake: FakeSageMaker, name: str = "job") -> None:
    trial = training_job(name, 1, TrainingJobStatus="InProgress", TrainingEndTime=None, FailureReason=None)
    fake.put(name, [trial], HyperParameterTuningJobStatus="InProgress")


def end(fake: FakeSageMaker) -> None:
    fake.jobs["job"]["HyperParameterTuningJobStatus"] = "Completed"
    fake.trials["job"] = [
        training_job("job", number + 1, 0.5, name=trial["TrainingJobName"])
        for number, trial in enumerate(fake.trials["job"])
    ]


def test_lines_come_once_each_in_order_and_it_ends_with_the_job(sagemaker: FakeSageMaker, aws: Aws) -> None:
    running(sagemaker)
    late = log_event(f"{ONE}/algo-2-1", 101.5, "late")

    def second_trial() -> None:
        sagemaker.trials["job"].append(
            training_job("job", 2, TrainingJobStatus="InProgress", TrainingEndTime=None, FailureReason=None)
        )
        play.write(late, *lines(TWO, "algo-1", 200, "two"), log_event("job-2-001-1/algo-1-1", 201, "of another job"))

    def last() -> None:
        play.write(*lines(TWO, "algo-1", 205, "three"))
        end(sagemaker)

    play = Play(sagemaker, [lambda: None, second_trial, last])
    play.write(*lines(ONE, "algo-1", 100, "zero", "one", "same time"))
    found = list(follow_logs(aws, "job", reading=play.reading))
    assert [line.message for line in found] == ["zero", "one", "same time", "late", "two", "three"]
    assert [line.training_job_name for line in found] == [ONE] * 4 + [TWO] * 2
    assert found[3].host == "algo-2"
    assert found[0].timestamp == datetime.fromtimestamp(T0 + 100, UTC)
    assert not play.scenes


def test_throttling_is_waited_out_without_losing_or_repeating_a_line(sagemaker: FakeSageMaker, aws: Aws) -> None:
    running(sagemaker)
    refusal = RefusalError("InternalFailure", "oops", 500)

    def trouble() -> None:
        sagemaker.refusals["DescribeHyperParameterTuningJob"] = refusal
        play.write(*lines(ONE, "algo-1", 110, "two"))

    def done() -> None:
        sagemaker.refusals.clear()
        end(sagemaker)

    play = Play(sagemaker, [trouble, *[lambda: None] * 20, done])
    play.write(*lines(ONE, "algo-1", 100, "one"))
    assert [line.message for line in follow_logs(aws, "job", reading=play.reading)] == ["one", "two"]


def test_a_service_that_stays_away_ends_it_with_an_error(sagemaker: FakeSageMaker, aws: Aws) -> None:
    running(sagemaker)
    play = Play(sagemaker, [])

    def trouble(seconds: float) -> None:
        sagemaker.refusals["DescribeHyperParameterTuningJob"] = RefusalError("InternalFailure", "oops", 500)

    with pytest.raises(ServiceError, match="oops"):
        list(follow_logs(aws, "job", reading=Reading(clock=Clock(sleep=trouble))))
    del play


@given(
    data=st.lists(
        st.lists(st.tuples(st.integers(0, 50), st.integers(1, 2), st.text("ab", max_size=2)), max_size=6), max_size=5
    )
)
def test_whatever_is_written_between_looks_comes_once(
    sagemaker: FakeSageMaker, aws: Aws, data: list[list[tuple[int, int, str]]]
) -> None:
    running(sagemaker)
    scenes = [[log_event(f"{ONE}/algo-{host}-1", 100 + second, text) for second, host, text in batch] for batch in data]
    play = Play(sagemaker, [lambda batch=batch: play.write(*batch) for batch in scenes])  # type: ignore[misc]
    play.scenes.append(lambda: end(sagemaker))
    found = [(line.host, line.message) for line in follow_logs(aws, "job", reading=play.reading)]
    expected = [(event["logStreamName"].split("/")[1][:6], event["message"]) for batch in scenes for event in batch]
    assert sorted(found) == sorted(expected)


def test_trials_and_expressions_narrow_what_is_followed(sagemaker: FakeSageMaker, aws: Aws) -> None:
    running(sagemaker)
    sagemaker.trials["job"].append(training_job("job", 2, 0.5))
    end(sagemaker)
    play = Play(sagemaker, [])
    play.write(*lines(ONE, "algo-1", 100, "loss 1", "noise"), *lines(TWO, "algo-1", 200, "loss 2"))
    follow = {"reading": play.reading}
    assert [line.message for line in follow_logs(aws, "job", grep=r"loss \d", **follow)] == ["loss 1", "loss 2"]
    assert [line.message for line in follow_logs(aws, "job", trial=2, **follow)] == ["loss 2"]


@pytest.mark.parametrize("arguments", [{"grep": "(["}, {"start": "soon"}, {"poll": 0}, {"poll": -1}])
def test_what_cannot_be_followed_is_an_error_before_any_call(
    sagemaker: FakeSageMaker, aws: Aws, arguments: dict[str, Any]
) -> None:
    with pytest.raises(SpecError, match=next(iter(arguments))):
        follow_logs(aws, "job", **arguments)
    assert not sagemaker.calls


# --- warm-started jobs


def warm(fake: FakeSageMaker, name: str, *parents: str) -> None:
    config = {"ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": parent} for parent in parents]}
    trial = training_job(name, 1, 0.5)
    fake.put(name, [trial], WarmStartConfig={**config, "WarmStartType": "TransferLearning"} if parents else None)


def test_parents_trials_come_before_their_children_s_once_each(sagemaker: FakeSageMaker, aws: Aws) -> None:
    warm(sagemaker, "old")
    warm(sagemaker, "left", "old")
    warm(sagemaker, "right", "old")
    warm(sagemaker, "new", "left", "right")
    assert trials(aws, "new")["TuningJobName"].tolist() == ["new"]
    assert trials(aws, "new", include_parents=True)["TuningJobName"].tolist() == ["old", "left", "right", "new"]
    assert sagemaker.calls["DescribeHyperParameterTuningJob"] == 5


def test_a_parent_that_is_gone_is_left_out_with_a_warning(sagemaker: FakeSageMaker, aws: Aws) -> None:
    warm(sagemaker, "new", "gone")
    with pytest.warns(ResultsWarning, match="'gone', a parent of 'new'"):
        assert trials(aws, "new", include_parents=True)["TuningJobName"].tolist() == ["new"]
    with pytest.raises(JobNotFoundError):
        trials(aws, "gone")


def test_a_stopped_job_gives_the_full_frame(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put("job", [training_job("job", 1, 0.5), training_job("job", 2, TrainingJobStatus="Stopped")])
    sagemaker.jobs["job"] = tuning_job("job", HyperParameterTuningJobStatus="Stopped")
    assert trials(aws, "job")["TrainingJobStatus"].tolist() == ["Completed", "Stopped"]
    assert len(errors(aws, "job")) == 0
