"""The Pareto front of a study with several objectives: frames, hypervolume, plots, report and command."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import separate_runner
from hypothesis import given
from hypothesis import strategies as st
from small_aws import SmallAws
from test_driver import drive, launched
from test_objectives import ended, several

import sm_tuning as smt
from sm_tuning import results, views
from sm_tuning.cli._main import main

COSTS = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.tuples(*[st.integers(0, 6)] * width), min_size=1, max_size=7)
)


def cells(costs: np.ndarray, reference: np.ndarray) -> float:
    """Return the hypervolume by counting the unit cells below the reference point that a row dominates."""
    ranges = [range(int(end)) for end in reference]
    return float(sum((costs <= np.array(cell)).all(axis=1).any() for cell in itertools.product(*ranges)))


@given(rows=COSTS)
def test_the_hypervolume_is_exact_and_only_the_front_counts(rows: list[tuple[int, ...]]) -> None:
    costs = np.array(rows, dtype=float)
    reference = np.full(costs.shape[1], 5.0)
    assert results.hypervolume(costs, reference) == pytest.approx(cells(costs, reference))
    is_on = results.on_front(costs)
    assert is_on.any()
    assert results.hypervolume(costs[is_on], reference) == pytest.approx(cells(costs, reference))
    grown = results.hypervolumes(costs, reference)
    assert grown[-1] == pytest.approx(cells(costs, reference))
    assert (np.diff(grown) >= 0).all()
    for row, other in itertools.product(range(len(rows)), repeat=2):
        if (costs[other] <= costs[row]).all() and (costs[other] < costs[row]).any():
            assert not is_on[row]


def test_a_missing_value_is_on_no_front() -> None:
    costs = np.array([[1.0, np.nan], [2.0, 2.0], [3.0, 3.0]])
    assert results.on_front(costs).tolist() == [False, True, False]
    assert results.reference_of(costs[:1]) is None
    assert results.hypervolumes(costs, np.array([4.0, 4.0])).tolist() == [0.0, 4.0, 4.0]


@pytest.fixture(scope="module")
def study(processes: None) -> Iterator[smt.Study]:
    """A study that has ended: size grows with the rate, loss falls, and the greatest rates break a constraint."""
    with SmallAws().running() as service:
        service.end_of = ended
        launched(service, **several(max_jobs=8))
        drive(service, service.connect())
        found = smt.attach("s", aws=service.connect())
        assert isinstance(found, smt.Study)
        yield found


def test_the_front_has_the_feasible_trials_that_none_beats(study: smt.Study) -> None:
    trials, front = study.trials(progress=False), study.front(progress=False)
    assert trials["IsOnFront"].tolist() == trials["Feasible"].tolist()  # each rate is a trade-off of its own
    assert 2 < len(front) < len(trials) == 8
    assert front["FinalObjectiveValue"].is_monotonic_increasing
    assert front["metric:size"].is_monotonic_decreasing
    assert trials["IsBest"].sum() == 1
    assert front["IsBest"].tolist() == [True] + [False] * (len(front) - 1)
    assert trials["BestSoFar"].iloc[-1] == front["FinalObjectiveValue"].iloc[0]
    assert (trials["Why"] == "new").all()
    assert trials["Parent"].isna().all()
    worst = trials.loc[trials["Feasible"], "metric:size"].max()
    assert front.attrs["reference"]["size"] > worst
    assert front.attrs["hypervolume"] > 0


def test_the_plots_show_the_front_and_how_it_grew(study: smt.Study) -> None:
    trials, known = study.trials(progress=False), views.about(study.describe())
    front = study.front(progress=False)
    drawn = {trace.name: trace for trace in study.plot("front").data}
    assert list(drawn["front"].x) == front["FinalObjectiveValue"].tolist()
    assert list(drawn["front"].y) == front["metric:size"].tolist()
    assert len(drawn["breaks a constraint"].x) == len(trials) - len(front)
    turned = {trace.name: trace for trace in study.plot("front", x="size").data}
    assert list(turned["front"].x) == front["metric:size"].tolist()[::-1]
    assert study.plot("hypervolume").data[0].y[-1] == pytest.approx(front.attrs["hypervolume"])
    with pytest.raises(smt.SpecError, match="'rate' is not an objective"):
        study.plot("front", x="rate")
    for draw in (views.front, views.hypervolume):
        assert not draw(trials.head(0), known).data
        assert not draw(trials, views.About("loss", maximize=False)).data


def test_a_tuning_job_has_no_front() -> None:
    frame = pd.DataFrame({"FinalObjectiveValue": [1.0]})
    with pytest.raises(smt.SpecError, match=r"no Pareto front: give study\.objectives"):
        results.front(frame, {"loss": "Minimize"})
    assert "IsOnFront" not in results.TRIALS


def test_the_report_has_a_section_for_the_objectives(study: smt.Study, tmp_path: Path) -> None:
    page = study.report(tmp_path / "report.html", prices={"ml.m5.large": 1.0}).read_text()
    assert 'id="front"' in page
    assert "Hypervolume of loss, size" in page


def test_the_command_prints_the_front(study: smt.Study, tmp_path: Path) -> None:
    arguments = ["study", "front", "s", "--format", "json"]
    result = separate_runner().invoke(main, arguments, obj={"connect": lambda **_: study.aws})
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)) == len(study.front(progress=False))
    assert "hypervolume" in result.stderr


def run(study: smt.Study, *arguments: str) -> tuple[int, str, str]:
    result = separate_runner().invoke(main, list(arguments), obj={"connect": lambda **_: study.aws})
    return result.exit_code, result.stdout, result.stderr


def test_a_gate_takes_any_feasible_trial_or_a_given_one(study: smt.Study) -> None:
    front, trials = study.front(progress=False), study.trials(progress=False)
    limit = front["metric:size"].iloc[:2].mean()  # the best trial is the largest one of the front
    require = ["--require", f"size<={limit}", "--require", "loss<=1", "--require", "trials==8"]
    second = front["TrainingJobName"][1]
    assert run(study, "gate", "s", *require)[0] == 1
    code, out, _ = run(study, "gate", "s", *require, "--trial", "any", "--json")
    assert (code, json.loads(out)["best"]) == (0, second)
    assert json.loads(out)["values"]["objective"] == front["FinalObjectiveValue"][1]
    assert run(study, "gate", "s", *require, "--trial", second.split("-")[1])[0] == 0
    assert run(study, "gate", "s", *require, "--trial", front["TrainingJobName"][0])[0] == 1
    code, out, _ = run(study, "gate", "s", "--trial", "any", "--require", "size<=-1", "--json")
    assert (code, json.loads(out)["best"]) == (1, front["TrainingJobName"][0])
    # Trials that break the constraint have the smallest losses.
    broken = trials.loc[~trials["Feasible"], "FinalObjectiveValue"].max()
    assert broken < front["FinalObjectiveValue"].min()
    assert run(study, "gate", "s", "--trial", "any", "--require", f"loss<={broken}")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--trial", "99"), "no trial 99 in s"),
        (("--trial", "any", "--test", "x.csv"), "name the trial that is evaluated"),
        (("--trial", "any", "--require", "sise<=1"), "did you mean 'size'"),
    ],
)
def test_a_trial_that_does_not_exist_cannot_pass(study: smt.Study, arguments: tuple[str, ...], message: str) -> None:
    code, _, err = run(study, "gate", "s", "--require", "loss<=1", *arguments)
    assert (code, message in " ".join(err.split())) == (2, True)
