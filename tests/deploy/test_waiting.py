"""Waiting for what the service makes."""

from __future__ import annotations

from typing import Any

import pytest

import sm_tuning as smt
from sm_tuning.deploy._waiting import PATIENCE, Pace, wait_for


class Clock:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
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


def wait(service: Service, clock: Clock, timeout: float | None = None, poll: float = 5.0) -> dict[str, Any]:
    pace = Pace(poll, timeout, clock, clock.sleep)
    return wait_for("it", service, lambda description: description["Status"] == "Done", pace)


def test_the_last_answer_is_returned_after_as_many_questions_as_it_takes() -> None:
    service, clock = Service("Busy", "Busy", "Done"), Clock()
    assert wait(service, clock) == {"Status": "Done"}
    assert (service.asked, clock.now) == (3, 10.0)


def test_time_that_is_up_is_an_error_and_no_longer_slept_than_is_left() -> None:
    clock = Clock()
    with pytest.raises(smt.WaitTimeoutError, match="it had not ended after 12 s; it goes on"):
        wait(Service("Busy"), clock, timeout=12)
    assert clock.now == 12


def test_a_service_that_is_away_is_borne_for_a_while() -> None:
    away = smt.EndpointError("no answer")
    assert wait(Service("Busy", away, away, "Done"), Clock()) == {"Status": "Done"}
    clock = Clock()
    with pytest.raises(smt.EndpointError):
        wait(Service("Busy", away), clock)
    assert PATIENCE < clock.now <= PATIENCE + 10


def test_a_refusal_ends_the_wait_at_once() -> None:
    service = Service(smt.AccessDeniedError("no", code="AccessDenied"))
    with pytest.raises(smt.AccessDeniedError):
        wait(service, Clock())
    assert service.asked == 1


@pytest.mark.parametrize(("poll", "timeout"), [(0.0, None), (1.0, -1.0)])
def test_a_pace_that_makes_no_sense_is_refused(poll: float, timeout: float | None) -> None:
    with pytest.raises(smt.SpecError, match="poll must be above 0"):
        wait(Service("Done"), Clock(), timeout, poll)
