"""Durations are those of the monotonic clock: a jump of the clock, or the sleep of the machine, stops no trial."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from _training import Bench, wait_for
from hypothesis import given
from hypothesis import strategies as st

from sm_tuning.executor import SteadyClock

#: Prints a value, and ends when the test lets it.
WAITS = """
import pathlib, sys, time
print("loss=1", flush=True)
while not pathlib.Path("{gate}").exists(): time.sleep(0.01)
"""
HOURS = 7200.0


class Jumps:
    """A clock that the test sets forward or back."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def stamps(doc: dict[str, Any]) -> list[float]:
    """Every stamp of a training job, in the order in which they were set."""
    moments = [(one["StartTime"], one["EndTime"]) for one in doc["SecondaryStatusTransitions"]]
    return [doc["CreationTime"], *(stamp for moment in moments for stamp in moment), doc["TrainingEndTime"]]


@pytest.mark.parametrize("jump", [HOURS, -HOURS], ids=["forward or asleep", "back"])
@pytest.mark.usefixtures("processes")
def test_a_jump_of_the_clock_neither_stops_trials_nor_turns_their_times_round(tmp_path: Path, jump: float) -> None:
    clock, gate = Jumps(), tmp_path / "gate"
    with closing(Bench(tmp_path / "bench", clock=clock)) as bench:
        definition = bench.definition(bench.code({"train.py": WAITS.format(gate=gate)}))
        name = bench.tune(definition, MaxNumberOfTrainingJobs=2, MaxRuntimeInSeconds=600)

        def trials() -> list[dict[str, Any]]:
            return list(bench.store.training_jobs_of(name))

        def values() -> list[int]:
            return [len(bench.store.emissions(doc["TrainingJobName"], "loss")) for doc in trials()]

        wait_for(lambda: values() == [1, 1])
        clock.ahead = jump
        bench.events.clear()
        bench.engine.notify(name)  # the loop looks at its own limit, too
        gate.write_text("")
        for doc in [bench.ended(doc["TrainingJobName"]) for doc in trials()]:
            assert (doc["TrainingJobStatus"], doc["SecondaryStatus"]) == ("Completed", "Completed")
            assert stamps(doc) == sorted(stamps(doc))
            assert 0 <= doc["TrainingTimeInSeconds"] <= 600
            assert 0 <= doc["BillableTimeInSeconds"] <= 600
        wait_for(lambda: bench.store.tuning_job(name)["HyperParameterTuningJobStatus"] != "InProgress")
        job = bench.store.tuning_job(name)
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["HyperParameterTuningEndTime"] >= job["CreationTime"]
    assert 0 <= job["ConsumedResources"]["RuntimeInSeconds"] <= 600


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-HOURS, HOURS)), min_size=1, max_size=8))
def test_a_steady_clock_never_runs_backwards_and_knows_what_was_skipped(steps: list[tuple[float, float]]) -> None:
    wall = monotonic = 1000.0
    clock = SteadyClock(lambda: wall, lambda: monotonic)
    first = last = clock()
    for passed, jump in steps:
        wall, monotonic = wall + passed + jump, monotonic + passed
        now = clock()
        assert now >= last + passed - 1e-6
        assert now >= wall - 1e-6
        assert now - first - clock.skipped == pytest.approx(monotonic - 1000.0, abs=1e-6)
        last = now
