"""Replays of studies: their own trials with other settings, and what a study's trials cannot say."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from small_aws import SmallAws, drive, launched, saving, succeeded
from test_continuing import CONTINUED

import sm_tuning as smt


def printing(service: SmallAws) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Return the end of a training job that printed a loss each second from its creation, eight in all."""

    def end(job: Mapping[str, Any]) -> dict[str, Any]:
        level, began = (float(job["HyperParameters"]["rate"]) - 0.3) ** 2, job["CreationTime"]
        lines = [(began + step, f"loss={level + math.exp(-step)}") for step in range(1, 9)]
        service.lines[job["TrainingJobName"]] = lines
        return succeeded(job)

    return end


@pytest.fixture
def study(service: SmallAws) -> smt.Study:
    service.end_of = printing(service)
    made = launched(service, max_jobs=12, max_parallel_jobs=2)
    assert drive(service, service.connect()).outcome is not None
    return made


def test_the_trials_of_a_study_are_replayed_as_those_of_a_job(study: smt.Study) -> None:
    found = study.replay(max_parallel_jobs=6, prices={"ml.m5.large": 3.6}, progress=False)
    assert (found.job, found.happened.trials, found.happened.epochs) == ("s", 12, 96)
    assert (found.replayed.trials, found.replayed.epochs) == (12, 96)
    assert (found.saving("hours") or 0) > 0.2
    assert found.replayed.cost == pytest.approx(found.happened.billable_seconds * 0.001)
    assert found.unknown == ()
    stopped = study.replay(strategy="Hyperband", progress=False)
    assert stopped.changed == {"strategy": "Hyperband"}
    assert "no stop of this job shows it: 10 s are assumed" in " ".join(stopped.unknown)
    early = study.replay(early_stopping="Auto", progress=False)
    assert early.replayed.trials == 12


def test_a_study_has_no_other_points(study: smt.Study) -> None:
    with pytest.raises(smt.SpecError, match="s is a study: its own trials can be replayed, and no other points"):
        study.replay(strategy="Bayesian", progress=False)


@pytest.mark.parametrize("changes", [{}, {"strategy": "Random", "max_parallel_jobs": 1}])
def test_trials_that_continue_others_are_not_replayed(service: SmallAws, changes: dict[str, Any]) -> None:
    service.end_of = saving(service, {})
    population = launched(service, **CONTINUED)
    assert drive(service, service.connect()).outcome is not None
    before = dict(service.calls)
    with pytest.raises(
        smt.SpecError, match="s cannot be replayed: each trial of Population begins at the checkpoint of"
    ):
        population.replay(**changes, progress=False)
    assert service.calls["FilterLogEvents"] == before.get("FilterLogEvents", 0)  # said before anything is read
