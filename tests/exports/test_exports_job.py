"""One real job in the formats of four tools, read back by the tools themselves."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from click.testing import CliRunner, Result
from exports_made import CASES, FIRST, floats, made, one
from exports_script import SECRET
from exports_tensorboard import LogDirectory
from exports_wandb import Uploads, synced
from later import Later

import sm_tuning as smt
from sm_tuning.cli import main
from sm_tuning.results import ResultsWarning
from sm_tuning.views.exports import Exported, export
from sm_tuning.views.exports._info import JobInfo
from sm_tuning.views.exports._mlflow import Mlflow, tracking_at
from sm_tuning.views.exports._target import OBJECTIVE

optuna = Later("optuna")

pytestmark = [
    pytest.mark.whole,  # the other files of this folder have a sample
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
]

METRICS = ("validation:loss", "train:loss", "accuracy")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def board(job: smt.TuningJob, place: Path) -> LogDirectory:
    job.export("tensorboard", place / "runs")
    return LogDirectory(place / "runs")


@pytest.fixture(scope="module")
def study(job: smt.TuningJob, place: Path) -> optuna.Study:
    exported = job.export("optuna", place / "optuna")
    assert exported.location == f"sqlite:///{place / 'optuna' / 'optuna.db'}"
    return optuna.load_study(study_name=exported.name, storage=exported.location)


@pytest.fixture(scope="module")
def tracking(job: smt.TuningJob, place: Path) -> tuple[Any, Exported]:
    from mlflow.tracking import MlflowClient

    exported = job.export("mlflow", place / "mlflow")
    return MlflowClient(tracking_uri=exported.location), exported


@pytest.fixture(scope="module")
def uploads(job: smt.TuningJob, place: Path) -> Uploads:
    job.export("wandb", place / "wandb", project="tuning")
    home = place / "home"
    home.mkdir()
    return synced(place / "wandb" / job.name / "wandb", home)


def children(tracking: tuple[Any, Exported]) -> dict[str, Any]:
    client, exported = tracking
    parent = client.get_run(exported.name)
    runs = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{exported.name}'")
    return {run.info.run_name: run for run in runs}


def run_ids(uploads: Uploads) -> dict[str, str]:
    return {told["displayName"]: run for run, told in uploads.runs.items()}


def test_the_job_has_what_exports_must_carry(info: JobInfo, job: smt.TuningJob) -> None:
    by_status = [trial.status for trial in info.trials]
    assert len(info.trials) == 10
    assert by_status.count("Failed") == 1
    assert by_status.count("Stopped") >= 1
    assert info.best is not None
    assert info.best.name == job.best.training_job_name  # type: ignore[union-attr]
    assert info.best.model_uri == job.best.model_uri  # type: ignore[union-attr]
    assert [trial.started for trial in info.trials] == sorted(trial.started for trial in info.trials if trial.started)
    shapes = {len(points) for trial in info.trials for points in trial.curves.values()}
    assert 8 in shapes
    assert min(shapes) < 8
    curves = job.curves()
    assert sum(len(points) for trial in info.trials for points in trial.curves.values()) == len(curves)
    assert info.trials[0].static == {"optimizer": "adam", "momentum": 0.9, "api_token": "****"}
    assert info.tags["team"] == "vision"


def test_all_four_have_the_same_trials(
    info: JobInfo,
    board: LogDirectory,
    study: optuna.Study,
    tracking: tuple[Any, Exported],
    uploads: Uploads,
) -> None:
    names = {trial.name for trial in info.trials}

    assert {session.name for session in board.sessions()} == names
    assert {trial.user_attrs["training_job_name"] for trial in study.trials} == names
    assert set(children(tracking)) == names
    assert set(run_ids(uploads)) == names


def test_all_four_have_the_same_best_value(
    info: JobInfo,
    board: LogDirectory,
    study: optuna.Study,
    tracking: tuple[Any, Exported],
    uploads: Uploads,
) -> None:
    assert info.best is not None
    best, name = info.best.value, info.best.name

    first = board.sessions(sort_by=OBJECTIVE)[0]
    assert first.name == name
    assert [one.value for one in first.metric_values if one.name.tag == OBJECTIVE] == [best]
    assert study.best_value == best
    assert study.best_trial.user_attrs["training_job_name"] == name
    client, exported = tracking
    parent = client.get_run(exported.name).data
    assert parent.metrics[info.objective] == best
    assert parent.tags["sm_tuning.best_training_job"] == name
    assert parent.tags["sm_tuning.best_model_uri"] == info.best.model_uri
    objectives = {run: run_.data.metrics.get(OBJECTIVE, math.inf) for run, run_ in children(tracking).items()}
    assert min(objectives, key=objectives.__getitem__) == name
    assert objectives[name] == best
    summaries = {name: uploads.summary[run].get(OBJECTIVE, math.inf) for name, run in run_ids(uploads).items()}
    assert min(summaries, key=summaries.__getitem__) == name
    assert summaries[name] == best


def test_all_four_have_the_same_curves(
    info: JobInfo,
    board: LogDirectory,
    study: optuna.Study,
    tracking: tuple[Any, Exported],
    uploads: Uploads,
) -> None:
    """Bit for bit; TensorBoard's are of single precision, and its times seconds as float64."""
    client, _ = tracking
    runs, ids = children(tracking), run_ids(uploads)
    studied = {trial.user_attrs["training_job_name"]: trial for trial in study.trials}
    for trial in info.trials:
        for metric, points in trial.curves.items():
            values = {point.step: point.value for point in points}
            assert board.curve(f"{info.name}/{trial.name}", metric) == [
                (point.step, point.seconds, float(np.float32(point.value))) for point in points
            ]
            logged = client.get_metric_history(runs[trial.name].info.run_id, metric)
            assert {(one.step, one.timestamp, one.value) for one in logged} == {
                (point.step, point.milliseconds, point.value) for point in points
            }
            rows = uploads.history[ids[trial.name]].values()
            assert {row["_step"]: row[metric] for row in rows if metric in row} == values
            if metric == info.objective:
                assert studied[trial.name].intermediate_values == values


def test_tensorboard_has_columns_of_one_type_with_their_domains(info: JobInfo, board: LogDirectory) -> None:
    columns = {one.name: one for one in board.experiment.hparam_infos}

    assert set(columns) == {"lr", "width", "act"}
    assert (columns["lr"].domain_interval.min_value, columns["lr"].domain_interval.max_value) == (1e-4, 1e-1)
    assert [value.string_value for value in columns["act"].domain_discrete.values] == ["relu", "tanh"]
    assert [one.name.tag for one in board.experiment.metric_infos] == [OBJECTIVE, *METRICS]
    by_name = {session.name: session for session in board.sessions()}
    for trial in info.trials:
        session = by_name[trial.name]
        shown = {name: getattr(value, value.WhichOneof("kind")) for name, value in session.hparams.items()}
        assert shown == trial.hyperparameters
        one = session.sessions[0]
        expected = {"Failed": 2}.get(trial.status, 1)
        assert one.status == expected
        assert one.model_uri == trial.model_uri
        assert trial.ended is not None
        assert one.end_time_secs == trial.ended.timestamp()
    assert board.tags(info.name) == ["tuning_job"]


def test_mlflow_has_parameters_tags_times_and_states(info: JobInfo, tracking: tuple[Any, Exported]) -> None:
    client, exported = tracking
    parent = client.get_run(exported.name)

    assert parent.info.run_name == info.name
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["sm_tuning.tuning_job_arn"] == info.arn
    assert parent.data.params["range.lr"] == "Continuous from 0.0001 to 0.1, scale Logarithmic"
    assert parent.data.params["static.api_token"] == "****"
    assert parent.data.params["environment.HUB_PASSWORD"] == "****"
    states = {"Completed": "FINISHED", "Stopped": "KILLED", "Failed": "FAILED"}
    for trial in info.trials:
        run = children(tracking)[trial.name]
        assert run.info.status == states[trial.status]
        assert trial.started is not None
        assert run.info.start_time == round(trial.started.timestamp() * 1000)
        assert run.data.params == {key: str(value) for key, value in (trial.static | trial.hyperparameters).items()}
        assert run.data.tags["sm_tuning.training_job_arn"] == trial.arn
        assert run.data.tags.get("sm_tuning.failure_reason", "") == trial.failure
    assert "crashes" in next(trial.failure for trial in info.trials if trial.status == "Failed")


def test_mlflow_reads_them_all(tracking: tuple[Any, Exported], place: Path) -> None:
    client, _ = tracking
    for case, make in CASES.items():
        info = make()._replace(name=case, arn=f"arn:aws:sagemaker:eu-west-1:1:hyper-parameter-tuning-job/{case}")
        Mlflow(place / "mlflow", experiment=case).write(info)
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


def test_mlflow_s_limits_are_kept_and_said(tracking: tuple[Any, Exported], place: Path) -> None:
    client, _ = tracking
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
        exported = Mlflow(place / "mlflow", experiment="limits").write(info)

    texts = {str(one.message) for one in said}
    assert "MLflow does not take the name 'f1@10%': it has 'f1_10_'" in texts
    assert any("has 7000 characters, of which MLflow takes 6000" in text for text in texts)
    (trial,) = client.search_runs([client.get_run(exported.name).info.experiment_id], "tags.`mlflow.parentRunId` != ''")
    assert len(trial.data.params) == 152
    assert len(trial.data.params["text"]) == 6000
    history = client.get_metric_history(trial.info.run_id, "f1_10_")
    assert sorted(one.step for one in history) == list(range(2500))


def test_a_failure_in_mlflow_leaves_no_run(tracking: tuple[Any, Exported], place: Path, tmp_path: Path) -> None:
    client, _ = tracking
    good = Mlflow(place / "mlflow", experiment="failures").write(one())
    worse = one()
    broken = worse._replace(trials=(worse.trials[0], worse.trials[0]._replace(curves={"f1": ("no point",)})))  # type: ignore[dict-item]
    other = broken._replace(name="other", arn=f"{broken.arn}-other")

    with pytest.raises(AttributeError):
        Mlflow(place / "mlflow", experiment="failures").write(other)
    with pytest.raises(AttributeError):
        Mlflow(tmp_path / "new").write(other)

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


def test_wandb_has_config_group_and_states(info: JobInfo, uploads: Uploads) -> None:
    ids = run_ids(uploads)
    for trial in info.trials:
        told = uploads.runs[ids[trial.name]]
        config = {name: one["value"] for name, one in json.loads(told["config"]).items() if name != "_wandb"}
        about = config.pop("sagemaker")
        assert config == trial.static | trial.hyperparameters
        assert about["trial"]["training_job_arn"] == trial.arn
        assert about["tuning_job"]["tuning_job_arn"] == info.arn
        assert (told["groupName"], told["project"], told["jobType"]) == (info.name, "tuning", "trial")
        assert trial.status in told["tags"]
        assert ("best" in told["tags"]) is trial.best
        assert uploads.exit_codes[ids[trial.name]] == (1 if trial.status == "Failed" else 0)


def test_optuna_has_distributions_states_and_times(info: JobInfo, study: optuna.Study) -> None:
    assert study.direction == optuna.study.StudyDirection.MINIMIZE
    assert study.metric_names == ["validation:loss"]
    first = study.trials[0]
    assert first.distributions == {
        "lr": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True),
        "width": optuna.distributions.IntDistribution(1, 8),
        "act": optuna.distributions.CategoricalDistribution(("relu", "tanh")),
    }
    states = {"Completed": "COMPLETE", "Stopped": "PRUNED", "Failed": "FAIL"}
    for studied, trial in zip(study.trials, info.trials, strict=True):
        assert studied.state.name == states[trial.status]
        assert studied.params == trial.hyperparameters
        assert studied.value == trial.value
        assert trial.ended is not None
        assert studied.datetime_complete is not None
        assert studied.datetime_complete.astimezone() == trial.ended
    assert study.user_attrs["best_training_job"] == info.best.name  # type: ignore[union-attr]


@pytest.mark.long
def test_every_plot_of_optuna_draws_the_study(study: optuna.Study) -> None:
    options: dict[str, dict[str, Any]] = {
        "plot_pareto_front": {
            "targets": lambda trial: (trial.value, trial.duration.total_seconds()),
            "target_names": ["a", "b"],
        },
        "plot_terminator_improvement": {"plot_error": False},
    }
    # The hypervolume is of several objectives, which no tuning job has.
    plots = {name for name in optuna.visualization.__all__ if name.startswith("plot_")} - {"plot_hypervolume_history"}

    without = [plot for plot in plots if not getattr(optuna.visualization, plot)(study, **options.get(plot, {})).data]

    assert plots
    assert without == []


def test_no_secret_is_in_any_export(
    place: Path, board: LogDirectory, study: optuna.Study, tracking: tuple[Any, Exported], uploads: Uploads
) -> None:
    del board, study, tracking, uploads
    files = [path for path in place.rglob("*") if path.is_file()]

    assert len(files) > 20
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


@pytest.mark.parametrize("to", ["tensorboard", "mlflow", "wandb", "optuna"])
def test_what_is_there_is_refused_and_then_replaced(
    job: smt.TuningJob,
    place: Path,
    to: str,
    board: LogDirectory,
    study: optuna.Study,
    tracking: tuple[Any, Exported],
    uploads: Uploads,
) -> None:
    del board, study, uploads
    where = place / ("runs" if to == "tensorboard" else to)

    with pytest.raises(smt.SpecError, match=r"already.*overwrite"):
        job.export(to, where)
    before = dict(os.environ)
    exported = job.export(to, where, overwrite=True)

    assert exported.trials == 10
    assert dict(os.environ) == before
    if to == "mlflow":
        client, _ = tracking
        found = client.search_runs([client.get_run(exported.name).info.experiment_id])
        assert len(found) == 11
    if to == "optuna":
        (only,) = optuna.get_all_study_summaries(exported.location)
        assert only.n_trials == 10
    if to == "tensorboard":
        assert len(LogDirectory(where).sessions()) == 10
    if to == "wandb":  # which writes in a process of its own
        kept = [path.name for path in (where / job.name / "wandb").iterdir()]
        assert len(kept) == 10
        assert all(name.startswith("offline-run-") for name in kept)
        assert "wandb" not in sys.modules
        found = [process.info for process in psutil.process_iter(["name", "environ"])]
        assert [one for one in found if str(where) in (one["environ"] or {}).get("WANDB_DATA_DIR", "")] == []


def test_a_study_in_memory_and_one_by_another_metric(job: smt.TuningJob, info: JobInfo) -> None:
    study = job.to_optuna(study_name="mine", metric="accuracy")

    assert study.study_name == "mine"
    assert study.trials[0].intermediate_values == {
        point.step: point.value for point in info.trials[0].curves["accuracy"]
    }
    with pytest.raises(smt.SpecError, match="no trial has a metric 'f1'; there are: validation:loss, train:loss"):
        job.to_optuna(metric="f1")


def test_what_is_asked_wrongly_is_said(job: smt.TuningJob, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("", encoding="utf-8")
    with pytest.raises(smt.SpecError, match="no export to 'comet'; there are: mlflow, optuna, tensorboard, wandb"):
        job.export("comet", tmp_path)
    with pytest.raises(smt.SpecError, match="an export to tensorboard takes overwrite, and not project"):
        job.export("tensorboard", tmp_path / "runs", project="x")
    for to in ("mlflow", "optuna", "tensorboard", "wandb"):
        with pytest.raises(smt.SpecError, match=r"file\.txt' is a file"):
            job.export(to, tmp_path / "file.txt")
    (tmp_path / "notes.db").write_text("no database", encoding="utf-8")
    for to in ("mlflow", "optuna"):
        with pytest.raises(smt.SpecError, match=r"notes\.db' is not a SQLite database"):
            job.export(to, tmp_path / "notes.db")
    with pytest.raises(smt.SpecError, match="MLflow no longer writes plain folders"):
        job.export("mlflow", "file:///tmp/mlruns")
    with pytest.raises(smt.EndpointError, match=r"no MLflow server answers at http://127\.0\.0\.1:9"):
        job.export("mlflow", "http://127.0.0.1:9")
    with pytest.raises(smt.SpecError, match="Optuna cannot use the storage nosuchdb://"):
        job.export("optuna", "nosuchdb://me:secret@127.0.0.1/studies")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.txt", "notes.db"]


def test_a_job_that_is_not_there_leaves_nothing(job: smt.TuningJob, tmp_path: Path) -> None:
    for to in ("mlflow", "optuna", "tensorboard", "wandb"):
        with pytest.raises(smt.JobNotFoundError):
            export(job.aws, ["nobody"], to, tmp_path / "deep" / to)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def run(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command line, reaching the server of the job."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return lambda *arguments: CliRunner().invoke(main, [str(one) for one in arguments])


def test_the_command_line_exports(job: smt.TuningJob, tmp_path: Path, run: Callable[..., Result]) -> None:
    done = run("export", job.name, "--to", "tensorboard", tmp_path / "runs")
    again = run("export", job.name, "--to", "tensorboard", tmp_path / "runs")
    wrong = run("export", job.name, "--to", "tensorboard", tmp_path / "other", "--project", "x")

    assert done.exit_code == 0, done.output
    assert f"{job.name}: 10 trials are written to" in done.stderr
    assert f"tensorboard --logdir {tmp_path / 'runs'}" in done.stderr
    assert again.exit_code == 2
    assert "is there already" in again.stderr
    assert wrong.exit_code == 2
    assert "not project" in wrong.stderr
    assert len(LogDirectory(tmp_path / "runs").sessions()) == 10
