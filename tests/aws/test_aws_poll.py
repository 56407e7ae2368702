"""One polling loop, one retry policy."""

from __future__ import annotations

from typing import Any

import pytest

import sm_tuning as smt
from sm_tuning.aws import PATIENCE, Clock, Retry, connect


class Time:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.clock = Clock(sleep=self.sleep, monotonic=lambda: self.now)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Service:
    """Answers that come one after the other, errors among them; the last one stays."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self) -> dict[str, Any]:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {"Status": answer}


def wait(
    service: Service,
    time: Time,
    timeout: float | None = None,
    poll: float | None = None,
    *,
    endpoint_url: str | None = None,
) -> dict[str, Any]:
    aws = connect(region="eu-west-1", endpoint_url=endpoint_url, environ={})
    return aws.poll(
        "it",
        service,
        lambda description: description["Status"] == "Done",
        interval=poll,
        timeout=timeout,
        clock=time.clock,
    )


def test_the_last_answer_is_returned_after_as_many_questions_as_it_takes() -> None:
    service, clock = Service("Busy", "Busy", "Done"), Time()
    assert wait(service, clock) == {"Status": "Done"}
    assert (service.asked, clock.now) == (3, 10.0)


def test_time_that_is_up_is_an_error_and_no_longer_slept_than_is_left() -> None:
    clock = Time()
    with pytest.raises(smt.WaitTimeoutError, match="it had not ended after 12 s; it goes on"):
        wait(Service("Busy"), clock, timeout=12)
    assert clock.now == 12


def test_a_service_that_is_away_is_borne_for_a_while() -> None:
    away = smt.EndpointError("no answer")
    assert wait(Service("Busy", away, away, "Done"), Time()) == {"Status": "Done"}
    clock = Time()
    with pytest.raises(smt.EndpointError):
        wait(Service("Busy", away), clock)
    assert PATIENCE <= clock.now <= PATIENCE + 10


def test_a_refusal_ends_the_wait_at_once() -> None:
    service = Service(smt.AccessDeniedError("no", code="AccessDenied"))
    with pytest.raises(smt.AccessDeniedError):
        wait(service, Time())
    assert service.asked == 1


@pytest.mark.parametrize(("poll", "timeout"), [(0.0, None), (1.0, -1.0)])
def test_a_pace_that_makes_no_sense_is_refused(poll: float, timeout: float | None) -> None:
    with pytest.raises(smt.SpecError, match="poll must be above 0"):
        wait(Service("Done"), Time(), timeout, poll)


def test_a_server_on_this_machine_is_polled_more_often_than_aws() -> None:
    service, near, far = Service("Busy", "Done"), Time(), Time()
    wait(Service("Busy", "Done"), near, endpoint_url="http://localhost:8000")
    wait(service, far)
    assert (near.slept, far.slept) == ([0.05], [5.0])


def test_pauses_grow_with_a_job_of_a_server_on_this_machine_and_not_with_an_interval_that_is_given() -> None:
    long, given = Time(), Time()
    with pytest.raises(smt.WaitTimeoutError):
        wait(Service("Busy"), long, timeout=60, endpoint_url="http://localhost:8000")
    assert long.slept[:10] == [0.05] * 10
    assert long.slept[-2] == 0.5
    assert all(pause <= max(0.05, sum(long.slept[:number]) / 10) for number, pause in enumerate(long.slept))
    wait(Service("Busy", "Busy", "Done"), given, poll=3, endpoint_url="http://localhost:8000")
    assert given.slept == [3, 3]


def test_pauses_grow_while_the_service_is_away_and_shrink_when_it_is_back() -> None:
    away, time = smt.ThrottledError("slow down"), Time()
    wait(Service(away, away, away, away, "Busy", away, "Done"), time, poll=2)
    assert time.slept == [2, 2, 4, 8, 2, 2]


def test_an_error_of_the_condition_itself_is_not_retried() -> None:
    def until(_: object) -> bool:
        raise smt.EndpointError("from a callback")

    time = Time()
    with pytest.raises(smt.EndpointError), connect(region="eu-west-1", environ={}) as aws:
        aws.poll("it", Service("Done"), until, clock=time.clock)
    assert time.slept == []


def test_a_retry_policy_ends_by_attempts_by_patience_and_at_once_for_other_errors() -> None:
    away, refused = smt.ThrottledError("slow down"), smt.InvalidRequestError("no")
    assert [Retry(attempts=3).pause(away, failures) for failures in (1, 2, 3)] == [1.0, 2.0, None]
    assert Retry(patience=10, first=8).pause(away, 3, elapsed=4) == 6
    assert Retry(patience=10).pause(away, 3, elapsed=10) is None
    assert Retry(longest=120).pause(away, 5000) == 120
    assert Retry().pause(refused, 1) is None
