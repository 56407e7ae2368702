"""Jobs at the edges, in all four formats: none finished, one trial, nan, many hyperparameters, several definitions."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from exports_made import START, described, made, number, trials_frame
from exports_tensorboard import LogDirectory
from hypothesis import given
from hypothesis import strategies as st

from sm_tuning import SpecError
from sm_tuning.description import job_of
from sm_tuning.results import ResultsWarning
from sm_tuning.views.exports._info import JobInfo, job_info
from sm_tuning.views.exports._mlflow import Mlflow, tracking_at
from sm_tuning.views.exports._optuna import Optuna
from sm_tuning.views.exports._target import OBJECTIVE, new_file, new_folder
from sm_tuning.views.exports._tensorboard import TensorBoard
from sm_tuning.views.exports._wandb import Wandb

pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
]

NAN = float("nan")
FIRST, SECOND = "made-001-00000000", "made-002-00000001"


def floats(*values: float | None) -> pd.Series:
    return pd.Series(values, dtype="float64")


def running() -> JobInfo:
    """Two trials, of which none has ended."""
    rows = [{"TrainingJobStatus": "InProgress", "ObjectiveStatus": "Pending", "TrainingEndTime": None}] * 2
    return made(
        {"lr": floats(0.1, 0.2)},
        rows,
        [(FIRST, "f1", 0, 0.25)],
        ranges={"Continuous": [number("lr", 0.1, 1)]},
        HyperParameterTuningJobStatus="InProgress",
        HyperParameterTuningEndTime=None,
    )


def one() -> JobInfo:
    row = {"FinalObjectiveValue": 0.5, "IsBest": True}
    return made({"lr": floats(0.1)}, [row], ranges={"Continuous": [number("lr", 0.1, 1)]})


def strange() -> JobInfo:
    """A value that is no number, an infinite one, a constant column, and curves with both."""
    rows: list[dict[str, Any]] = [
        {"FinalObjectiveValue": NAN},
        {"FinalObjectiveValue": math.inf},
        {"FinalObjectiveValue": 0.5, "IsBest": True},
    ]
    points = [(FIRST, "f1", 0, NAN), (FIRST, "f1", 1, math.inf), (FIRST, "f1", 2, -math.inf), (FIRST, "f1", 3, 1e300)]
    return made(
        {"lr": floats(0.1, 0.1, 0.1), "depth": pd.Series([3, 3, 3], dtype="Int64")},
        rows,
        points,
        ranges={"Continuous": [number("lr", 0.1, 0.1)], "Integer": [number("depth", 3, 3, "Logarithmic")]},
    )


def wide() -> JobInfo:
    """Forty hyperparameters."""
    names = [f"p{index:02}" for index in range(40)]
    columns = {name: floats(0.25, 0.75) for name in names}
    rows = [{"FinalObjectiveValue": 0.5, "IsBest": True}, {"FinalObjectiveValue": 0.25}]
    return made(columns, rows, ranges={"Continuous": [number(name, 0, 1) for name in names]})


def several() -> JobInfo:
    """Two definitions that share a hyperparameter with other ranges, and have one each of their own."""
    definitions = [
        {
            "DefinitionName": "boosting",
            "StaticHyperParameters": {"rounds": "10"},
            "Environment": {"STAGE": "a"},
            "TuningObjective": {"Type": "Maximize", "MetricName": "f1"},
            "HyperParameterRanges": {
                "ContinuousParameterRanges": [number("lr", 0.01, 0.1, "Logarithmic")],
                "IntegerParameterRanges": [number("depth", 2, 6)],
            },
        },
        {
            "DefinitionName": "network",
            "StaticHyperParameters": {"epochs": "5", "sagemaker_program": '"train.py"'},  # script mode
            "TuningObjective": {"Type": "Maximize", "MetricName": "score"},
            "HyperParameterRanges": {
                "ContinuousParameterRanges": [number("lr", 0.5, 1, "Linear")],
                "CategoricalParameterRanges": [{"Name": "act", "Values": ['"relu"', '"tanh"']}],
            },
        },
    ]
    return made(
        {
            "lr": floats(0.05, 0.75),
            "depth": pd.Series([4, None], dtype="Int64"),
            "act": pd.Series([None, "tanh"], dtype="string"),
        },
        [
            {"FinalObjectiveValue": 0.5, "IsBest": True, "TrainingJobDefinitionName": "boosting"},
            {"FinalObjectiveValue": 0.25, "TrainingJobDefinitionName": "network"},
        ],
        [(FIRST, "f1", 0, 0.5), (SECOND, "score", 0, 0.25)],
        TrainingJobDefinition={},
        TrainingJobDefinitions=definitions,
        WarmStartConfig={"ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "elder"}]},
    )


def nothing() -> JobInfo:
    return made({"lr": floats()}, [], ranges={"Continuous": [number("lr", 0.1, 1)]})


CASES: dict[str, Callable[[], JobInfo]] = {
    "running": running,
    "one": one,
    "strange": strange,
    "wide": wide,
    "several": several,
    "nothing": nothing,
}


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


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store of MLflow, because making one takes seconds."""
    return tmp_path_factory.mktemp("mlflow") / "store"


@pytest.mark.usefixtures("processes")
def test_mlflow_reads_them_all(store: Path) -> None:
    from mlflow.tracking import MlflowClient

    for case, make in CASES.items():
        info = make()._replace(name=case, arn=f"arn:aws:sagemaker:eu-west-1:1:hyper-parameter-tuning-job/{case}")
        exported = Mlflow(store, experiment=case).write(info)
        client = MlflowClient(tracking_uri=exported.location)
        found = client.search_runs([client.get_experiment_by_name(case).experiment_id])
        assert len(found) == 1 + len(info.trials)
        runs = {run.info.run_name: run for run in found}
        for trial in info.trials:
            data = runs[trial.name].data
            assert {key: data.params[key] for key in trial.hyperparameters} == {
                key: str(value) for key, value in trial.hyperparameters.items()
            }
            if trial.value is not None and not math.isinf(trial.value):
                np.testing.assert_equal(data.metrics[OBJECTIVE], trial.value)
        state = "RUNNING" if case == "running" else "FINISHED"
        assert {run.info.status for run in found} == {state}


@pytest.mark.usefixtures("processes")
def test_mlflow_s_limits_are_kept_and_said(store: Path) -> None:
    from mlflow.tracking import MlflowClient

    long = "x" * 7000
    metric = "f1@10%"
    definition = {
        "StaticHyperParameters": {"text": long, **{f"s{index}": str(index) for index in range(150)}},
        "TuningObjective": {"Type": "Maximize", "MetricName": metric},
    }
    row = {"FinalObjectiveValue": 0.5, "IsBest": True}
    info = made(
        {"lr": floats(0.1)},
        [row],
        [(FIRST, metric, step, 0.5) for step in range(2500)],
        TrainingJobDefinition=definition,
    )

    with pytest.warns(ResultsWarning) as said:
        exported = Mlflow(store, experiment="limits").write(info)

    texts = {str(one.message) for one in said}
    assert "MLflow does not take the name 'f1@10%': it has 'f1_10_'" in texts
    assert any("has 7000 characters, of which MLflow takes 6000" in text for text in texts)
    client = MlflowClient(tracking_uri=exported.location)
    (trial,) = client.search_runs([client.get_run(exported.name).info.experiment_id], "tags.`mlflow.parentRunId` != ''")
    assert len(trial.data.params) == 152
    assert len(trial.data.params["text"]) == 6000
    history = client.get_metric_history(trial.info.run_id, "f1_10_")
    assert sorted(one.step for one in history) == list(range(2500))


@pytest.mark.usefixtures("processes")
def test_a_failure_in_mlflow_leaves_no_run(store: Path, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    good = Mlflow(store, experiment="failures").write(one())
    worse = one()
    broken = worse._replace(trials=(worse.trials[0], worse.trials[0]._replace(curves={"f1": ("no point",)})))  # type: ignore[dict-item]
    other = broken._replace(name="other", arn=f"{broken.arn}-other")

    with pytest.raises(AttributeError):
        Mlflow(store, experiment="failures").write(other)
    with pytest.raises(AttributeError):
        Mlflow(tmp_path / "new").write(other)

    client = MlflowClient(tracking_uri=good.location)
    assert len(client.search_runs([client.get_run(good.name).info.experiment_id])) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("processes")
def test_sagemaker_s_mlflow_is_the_process_s_only_while_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its plugin asks for the process' tracking URI, whatever the client was given."""
    import mlflow

    arn = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-tracking-server/mine"
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for before in (None, "sqlite:///mine.db"):
        mlflow.set_tracking_uri(before)
        variable = os.environ.get("MLFLOW_TRACKING_URI")
        with tracking_at(arn):
            assert mlflow.get_tracking_uri() == arn
        assert mlflow.is_tracking_uri_set() is (before is not None)
        assert os.environ.get("MLFLOW_TRACKING_URI") == variable
    mlflow.set_tracking_uri(None)


@pytest.mark.usefixtures("processes")
def test_wandb_writes_them(tmp_path: Path) -> None:
    """What is uploaded is read elsewhere; here, that every trial has a run."""
    for case in ("strange", "several", "nothing"):
        info = CASES[case]()
        Wandb(tmp_path / case).write(info)
        assert len(list((tmp_path / case).glob("made/wandb/offline-run-*/run-*.wandb"))) == len(info.trials)


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


def test_tools_that_are_not_installed_are_named(tmp_path: Path) -> None:
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
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    for tool in ("mlflow", "optuna", "tensorboard", "wandb"):
        assert f"needs the extra {tool!r}: pip install 'sm-tuning[{tool}]'" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_frame_of_trials_made_here_is_like_the_real_ones() -> None:
    assert dict(trials_frame({}, [{}]).dtypes.astype(str))["IsBest"] == "bool"
