"""Jobs at the edges: none finished, one trial, nan, many hyperparameters, several definitions.

Their runs in MLflow are tested with those of the real job, since MLflow takes seconds to load and to make a store.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from exports_made import (
    CASES,
    START,
    described,
    floats,
    made,
    nothing,
    number,
    one,
    running,
    several,
    strange,
    trials_frame,
    wide,
)
from exports_tensorboard import LogDirectory
from forks import run_program
from hypothesis import given
from hypothesis import strategies as st
from later import Later

from sm_tuning import SpecError
from sm_tuning.description import job_of
from sm_tuning.views.exports._info import job_info
from sm_tuning.views.exports._optuna import Optuna
from sm_tuning.views.exports._target import OBJECTIVE, new_file, new_folder
from sm_tuning.views.exports._tensorboard import TensorBoard
from sm_tuning.views.exports._wandb import Wandb

optuna = Later("optuna")

pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
]


@pytest.mark.parametrize("case", CASES)
def test_tensorboard_reads_it(case: str, tmp_path: Path) -> None:
    info = CASES[case]()
    TensorBoard(tmp_path / "runs").write(info)

    board = LogDirectory(tmp_path / "runs")
    assert {column.name for column in board.experiment.hparam_infos} == {one.name for one in info.hyperparameters}
    assert {session.name for session in board.sessions()} == {trial.name for trial in info.trials}
    for trial in info.trials:
        if trial.value is not None:
            ((_, _, value),) = board.curve(f"made/{trial.name}", OBJECTIVE)
            np.testing.assert_equal(value, float(np.float32(trial.value)))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("processes")  # the first use of optuna's plots starts a process
def test_optuna_reads_it(case: str) -> None:
    info = CASES[case]()
    study = Optuna(None).study(info)

    assert len(study.trials) == len(info.trials)
    best = info.best
    if best is not None and case != "strange":  # of an infinite value Optuna thinks more
        assert study.best_value == best.value
    for trial, expected in zip(study.trials, info.trials, strict=True):
        assert trial.params == expected.hyperparameters
        np.testing.assert_equal(
            trial.intermediate_values,
            {point.step: point.value for point in expected.curves.get(expected.objective, ())},
        )
    optuna.visualization.plot_optimization_history(study)
    optuna.visualization.plot_parallel_coordinate(study)
    optuna.visualization.plot_slice(study)


def test_optuna_s_states_are_those_of_the_trials() -> None:
    assert [trial.state.name for trial in Optuna(None).study(running()).trials] == ["RUNNING", "RUNNING"]
    assert [trial.state.name for trial in Optuna(None).study(strange()).trials] == ["FAIL", "COMPLETE", "COMPLETE"]


def test_several_ranges_of_a_hyperparameter_become_one_distribution() -> None:
    first, second = Optuna(None).study(several()).trials

    shared = optuna.distributions.FloatDistribution(0.01, 1)
    assert first.distributions == {"lr": shared, "depth": optuna.distributions.IntDistribution(2, 6)}
    assert second.distributions == {
        "lr": shared,
        "act": optuna.distributions.CategoricalDistribution(("relu", "tanh")),
    }
    assert second.intermediate_values == {0: 0.25}
    assert (first.user_attrs["definition"], second.user_attrs["definition"]) == ("boosting", "network")


@pytest.mark.usefixtures("processes")
def test_wandb_writes_them(tmp_path: Path) -> None:
    """What is uploaded is read elsewhere; here, that every trial has a run. A job with trials starts a program."""
    odd = [trial._replace(arn=f"{trial.arn}-odd") for trial in strange().trials]  # a run's ID comes from the ARN
    for name, info in {"odd": several()._replace(trials=(*several().trials, *odd)), "nothing": nothing()}.items():
        Wandb(tmp_path / name).write(info)
        assert len(list((tmp_path / name).glob("made/wandb/offline-run-*/run-*.wandb"))) == len(info.trials)


def test_jobs_in_one_folder_of_tensorboard_share_their_columns(tmp_path: Path) -> None:
    TensorBoard(tmp_path).write(one())
    TensorBoard(tmp_path).write(wide()._replace(name="wide"))

    board = LogDirectory(tmp_path)
    assert {column.name for column in board.experiment.hparam_infos} >= {"lr", "p00", "p39"}
    assert sum(len(group.sessions) for group in board.sessions()) == 3

    other = made({"lr": pd.Series(["high"], dtype="string")}, [{"FinalObjectiveValue": 0.5}])
    with pytest.raises(SpecError, match=r"hyperparameter 'lr' is of another type .* export to another folder"):
        TensorBoard(tmp_path).write(other._replace(name="other"))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["made", "wide"]


def test_an_exported_job_names_its_parents() -> None:
    assert several().parents == ("elder",)
    assert Optuna(None).study(several()).user_attrs["warm_start_parents"] == "elder"


def test_secrets_are_masked_everywhere() -> None:
    definition = {
        "StaticHyperParameters": {"api_key": "static-secret", "max_tokens": "512"},
        "Environment": {"DB_PASSWORD": "env-secret"},
        "TuningObjective": {"Type": "Maximize", "MetricName": "f1"},
    }
    row = {"TrainingJobStatus": "Failed", "FailureReason": "cannot log in with env-secret or tuned-secret"}
    info = made({"hub_token": pd.Series(["tuned-secret"], dtype="string")}, [row], TrainingJobDefinition=definition)

    assert "secret" not in repr(info)
    assert info.trials[0].static == {"api_key": "****", "max_tokens": 512}
    assert info.trials[0].hyperparameters == {"hub_token": "****"}
    assert info.trials[0].failure == "cannot log in with **** or ****"


def test_what_a_running_trial_has_is_exported() -> None:
    first, second = running().trials

    assert [point.value for point in first.curves["f1"]] == [0.25]
    assert (first.ended, first.value, second.curves) == (None, None, {})
    assert first.last == (0, round(START.timestamp() * 1e6))


def test_a_bare_frame_is_refused() -> None:
    with pytest.raises(SpecError, match="this is not a frame of trials"):
        job_info(job_of(described()), pd.DataFrame({"lr": [0.1]}), pd.DataFrame())


def test_trials_come_in_order_of_their_start() -> None:
    rows = [
        {"TrainingStartTime": None, "TrainingEndTime": None, "TrainingJobStatus": "InProgress"},
        {"TrainingStartTime": START + timedelta(minutes=9)},
        {"TrainingStartTime": START},
    ]
    info = made({"lr": floats(0.1, 0.2, 0.3)}, rows)

    assert [trial.hyperparameters["lr"] for trial in info.trials] == [0.3, 0.2, 0.1]


@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64), min_size=1, max_size=5),
    ends=st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)).map(sorted),
    scaling=st.sampled_from(["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"]),
)
def test_optuna_takes_every_value_that_was_tried(values: list[float], ends: list[float], scaling: str) -> None:
    """Also one outside of the range, as a trial of another tool may have it."""
    info = made(
        {"x": floats(*values)},
        [{"FinalObjectiveValue": 0.5}] * len(values),
        ranges={"Continuous": [number("x", *ends, scaling)]},
    )

    study = Optuna(None).study(info)

    assert [trial.params["x"] for trial in study.trials] == values


def test_a_place_is_whole_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "kept").write_text("kept", encoding="utf-8")

    def fail(make: Callable[[Path], Any], target: Path) -> None:
        with make(target) as part:
            (part / "half" if part.is_dir() else part).write_text("half", encoding="utf-8")
            raise RuntimeError

    for make, target in ((new_folder, "a/b/new"), (new_folder, "old"), (new_file, "a/file")):
        with pytest.raises(RuntimeError):
            fail(make, tmp_path / target)

    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["old", "old/kept"]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(SpecError, match="cannot write to"), new_folder(tmp_path / "file" / "deep" / "new"):
        pass


def test_tools_that_are_not_installed_are_named(processes: None, tmp_path: Path) -> None:
    """In a process of its own, in which they cannot be imported."""
    program = f"""
import sys
tools = ("mlflow", "optuna", "tensorboard", "wandb")
sys.modules.update(dict.fromkeys(tools))
from sm_tuning import MissingExtraError
from sm_tuning.views.exports import export
for tool in tools:
    try:
        export(None, ["job"], tool, {str(tmp_path / "x")!r})
    except MissingExtraError as error:
        print(error)
"""
    done = run_program([sys.executable, "-c", program], preload="client", cwd=tmp_path, env=os.environ)

    for tool in ("mlflow", "optuna", "tensorboard", "wandb"):
        assert f"needs the extra {tool!r}: pip install 'sm-tuning[{tool}]'" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_frame_of_trials_made_here_is_like_the_real_ones() -> None:
    assert dict(trials_frame({}, [{}]).dtypes.astype(str))["IsBest"] == "bool"
