"""Jobs that are written to MLflow while they run: read back by MLflow's own client."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner
from exports_made import CASES, FIRST, NAN, SECOND, curves_frame, described, floats, number, trials_frame

import sm_tuning as smt
from sm_tuning.cli import main
from sm_tuning.description import job_of
from sm_tuning.results import Clock, ResultsWarning
from sm_tuning.views.exports import Tracker, _track
from sm_tuning.views.exports._info import JobInfo, job_info
from sm_tuning.views.exports._mlflow import Mlflow
from sm_tuning.views.exports._target import OBJECTIVE

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

#: Writes two values, and the third one when a file is there.
SCRIPT = """
import argparse, os, time
parser = argparse.ArgumentParser()
parser.add_argument("--gate")
args, _ = parser.parse_known_args()
for epoch in range(3):
    while epoch == 2 and not os.path.exists(args.gate):
        time.sleep(0.02)
    print(f"loss={1 / (1 + epoch)!r};", flush=True)
open(os.path.join(os.environ["SM_MODEL_DIR"], "model.json"), "w").write("{}")
"""


@pytest.fixture(scope="module")
def store(processes: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A new store takes MLflow seconds, so that the tests share one, each with an experiment of its own."""
    return f"sqlite:///{tmp_path_factory.mktemp('track')}/mlflow.db"


@pytest.fixture(scope="module")
def client(store: str) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=store)


def runs(client: Any, experiment: str) -> list[Any]:
    return list(client.search_runs([client.get_experiment_by_name(experiment).experiment_id]))


def history(client: Any, run: Any, metric: str) -> list[tuple[int, int, float]]:
    return sorted((one.step, one.timestamp, one.value) for one in client.get_metric_history(run.info.run_id, metric))


def content(client: Any, experiment: str) -> dict[str, Any]:
    """Everything that the runs have, by name, without the IDs; every metric with its whole history."""
    found = runs(client, experiment)
    names = {run.info.run_id: run.info.run_name for run in found}
    assert len(set(names.values())) == len(found)
    return {
        run.info.run_name: (
            run.info.status,
            run.info.start_time,
            run.info.end_time,
            {key: names.get(text, text) for key, text in run.data.tags.items()},
            run.data.params,
            # As text, because NaN is not equal to itself.
            {metric: repr(history(client, run, metric)) for metric in run.data.metrics},
        )
        for run in found
    }


def stage(points: int, *, ended: bool = False, again: bool = False) -> JobInfo:
    """A job of two trials: the second begins after the first value, and ends later than the first."""
    over = {"FinalObjectiveValue": 0.5, "IsBest": True}
    going = {"TrainingJobStatus": "InProgress", "ObjectiveStatus": "Pending", "TrainingEndTime": None}
    waiting = {**going, "TrainingStartTime": None}
    rows = [over if points > 2 else going, {"FinalObjectiveValue": NAN} if ended else going if points > 1 else waiting]
    values = [0.125 if again else 0.25, NAN, math.inf]
    written = [(FIRST, "f1", step, values[step]) for step in range(min(points, 3))]
    written += [(SECOND, "f1", step, 0.0625) for step in range(points - 1)]
    status = {} if ended else {"HyperParameterTuningJobStatus": "InProgress", "HyperParameterTuningEndTime": None}
    job = described({"Continuous": [number("lr", 0.1, 1)]}, **status)
    return job_info(job_of(job), trials_frame({"lr": floats(0.1, 0.2)}, rows), curves_frame(written))


STAGES = (stage(1), stage(2), stage(3), stage(4, ended=True))


def test_values_are_added_as_they_come_and_the_end_is_an_export(store: str, client: Any) -> None:
    target = Mlflow(store, experiment="stages")
    target.update(STAGES[0])
    parent, first = sorted(runs(client, "stages"), key=lambda run: run.info.run_name)
    assert (parent.info.status, first.info.status) == ("RUNNING", "RUNNING")
    assert (parent.data.metrics, first.data.metrics) == ({}, {"f1": 0.25})
    kept = {run.info.run_id for run in (parent, first)}
    for info in STAGES[1:]:
        target.update(info)

    assert kept < {run.info.run_id for run in runs(client, "stages")}
    Mlflow(store, experiment="exported").write(STAGES[-1])
    assert content(client, "stages") == content(client, "exported")


@pytest.mark.parametrize("case", CASES)
def test_a_second_update_writes_nothing(store: str, client: Any, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    info = CASES[case]()
    Mlflow(store, experiment=f"twice-{case}").update(info)
    before = content(client, f"twice-{case}")
    for method in ("create_run", "log_batch", "set_terminated", "delete_tag", "delete_run"):
        monkeypatch.delattr(type(client), method)

    Mlflow(store, experiment=f"twice-{case}").update(info)

    assert content(client, f"twice-{case}") == before
    with pytest.raises(smt.SpecError, match="is in the experiment"):
        Mlflow(store, experiment=f"twice-{case}").check(job_of(described()))


def disturbed(client: Any, monkeypatch: pytest.MonkeyPatch, last: int) -> None:
    """Let the program be interrupted right after its write of this number."""
    count = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def write(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            result = real(*args, **kwargs)
            count += 1
            if count == last:
                raise KeyboardInterrupt
            return result

        return write

    for method in ("create_run", "log_batch", "set_terminated", "delete_tag"):
        monkeypatch.setattr(type(client), method, counted(getattr(type(client), method)))


def test_an_interrupted_update_is_continued_without_doubles(
    store: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every second of its writes: the next tracker has the same result as one that was never interrupted."""
    Mlflow(store, experiment="whole").update(STAGES[-1])
    whole = content(client, "whole")
    for last in range(1, 100, 2):
        experiment = f"interrupted-{last}"
        with monkeypatch.context() as patched:
            disturbed(client, patched, last)
            try:
                Mlflow(store, experiment=experiment).update(STAGES[-1])
            except KeyboardInterrupt:
                pass
            else:
                break
        Mlflow(store, experiment=experiment).update(STAGES[-1])
        assert content(client, experiment) == whole
    assert last > 8


def test_a_trial_that_is_trained_again_has_the_values_of_its_last_attempt(store: str, client: Any) -> None:
    target = Mlflow(store, experiment="again")
    target.update(stage(2))
    target.update(stage(1, again=True))
    (first,) = [run for run in runs(client, "again") if run.info.run_name == FIRST]
    assert [value for *_, value in history(client, first, "f1")] == [0.125]


def values(frame: Any) -> dict[str, dict[str, list[tuple[int, int, float]]]]:
    """The curves by trial and metric: step, milliseconds, value."""
    found: dict[str, dict[str, list[tuple[int, int, float]]]] = {}
    for row in frame.itertuples():
        point = (row.Step, int(row.Timestamp.timestamp() * 1000), row.Value)
        found.setdefault(row.TrainingJobName, {}).setdefault(row.MetricName, []).append(point)
    return found


def test_a_real_job_has_its_values_in_mlflow_while_it_runs(
    world: smt.Aws, store: str, client: Any, tmp_path: Path
) -> None:
    """The script goes on when its first values are in MLflow, so that the job would not end without tracking."""
    (tmp_path / "train.py").write_text(SCRIPT, encoding="utf-8")
    gate = tmp_path / "gate"
    tuning = smt.Tuning(
        estimator=smt.PyTorchEstimator(
            entry_point="train.py",
            source_dir=str(tmp_path),
            framework_version="2.6",
            py_version="py312",
            instance_type="ml.m5.large",
            hyperparameters={"gate": str(gate)},
            metric_definitions=[smt.MetricDefinition(name="loss", regex=r"loss=([-+0-9.e]+);")],
        ),
        objective_metric_name="loss",
        objective_type="Minimize",
        hyperparameter_ranges={"lr": smt.ContinuousParameter(0.1, 1)},
        strategy="Random",
        max_jobs=2,
        max_parallel_jobs=2,
    )
    seen: list[Mapping[str, Any]] = []

    def look(description: Mapping[str, Any]) -> None:
        trials = [run for run in runs(client, "sm-tuning") if "mlflow.parentRunId" in run.data.tags]
        if len(trials) == 2 and all(len(history(client, run, "loss")) == 2 for run in trials):
            seen.append(description)
            gate.touch()

    job = smt.launch(tuning, name="live", track=store, aws=world)
    assert [run.info.run_name for run in runs(client, "sm-tuning") if run.info.run_name == "live"] == ["live"]
    job.wait(progress=look, timeout=60)

    assert seen[0]["HyperParameterTuningJobStatus"] == "InProgress"
    found = runs(client, "sm-tuning")
    assert {run.info.status for run in found} == {"FINISHED"}
    curves = values(job.curves(progress=False))
    for run in found:
        if run.info.run_name != "live":
            assert history(client, run, "loss") == curves[run.info.run_name]["loss"]
            assert run.data.metrics[OBJECTIVE] == pytest.approx(1 / 3)


@pytest.mark.whole
def test_the_command_tracks_a_job_that_has_ended(
    job: smt.TuningJob, environ: dict[str, str], store: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    arguments = ["track", job.name, "--to", store, "--experiment", "command", "--json"]

    first = CliRunner().invoke(main, arguments)
    before = content(client, "command")
    second = CliRunner().invoke(main, arguments)

    assert (first.exit_code, second.exit_code) == (0, 0), first.stderr
    assert json.loads(first.stdout)["name"] == job.name
    assert content(client, "command") == before
    assert len(before) == 11
    curves = values(job.curves(progress=False))
    for run in runs(client, "command"):
        for metric, points in curves.get(run.info.run_name, {}).items():
            assert history(client, run, metric) == points


def test_a_place_that_does_not_work_is_an_error_before_the_launch(
    world: smt.Aws, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    before = smt.list_jobs(aws=world)
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "estimator: {type: xgboost, version: 1.7-1, instance_type: ml.m5.large}\n"
        "inputs: {train: s3://bucket/train}\nobjective_metric_name: 'validation:rmse'\n"
        "hyperparameter_ranges: {eta: {type: continuous, min_value: 0.1, max_value: 1}}\n"
        "max_jobs: 1\nmax_parallel_jobs: 1\n"
    )

    lost = CliRunner().invoke(main, ["launch", str(spec), "--track", "http://127.0.0.1:9"])
    plain = CliRunner().invoke(main, ["launch", str(spec), "--track", "file:///tmp/mlruns"])
    other = CliRunner().invoke(main, ["launch", str(spec), "--track", "ftp://x"])
    assert (other.exit_code, "MLflow has no store for ftp://x: give a folder" in other.stderr) == (2, True)
    ray = CliRunner().invoke(main, ["launch", str(spec), "--track", "runs", "--ray", "local", "--wait"])

    assert (lost.exit_code, plain.exit_code, ray.exit_code) == (3, 2, 2), lost.stderr
    assert "no MLflow server answers at http://127.0.0.1:9" in lost.stderr
    assert "--track follows a job of SageMaker" in ray.stderr
    assert smt.list_jobs(aws=world) == before


@pytest.fixture
def health() -> Iterator[str]:
    """A server that answers one request, and is gone then."""

    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Healthy) as server:

        def answer_once() -> None:
            server.handle_request()
            server.server_close()

        thread = Thread(target=answer_once)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        thread.join()


def test_a_server_that_is_lost_is_said_once_and_ends_no_wait(job: smt.TuningJob, health: str) -> None:
    time, pauses = [0.0], list[float]()
    tracker = Tracker(health, clock=Clock(sleep=pauses.append, monotonic=lambda: time[0]))
    with pytest.raises(smt.EndpointError):  # the server is gone
        Tracker(health)
    ended = job.describe()
    running = {**ended, "HyperParameterTuningJobStatus": "InProgress"}
    running.pop("HyperParameterTuningEndTime")

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ResultsWarning)
        for moment in (0, 1, 10, 30):
            time[0] = moment
            tracker.update(job.aws, running)
        tracker.update(job.aws, ended)

    texts = [str(item.message) for item in said]
    assert len(texts) == 2
    assert texts[0].startswith(f"{job.name} is not tracked at the moment: no MLflow server answers at {health}")
    assert texts[1].startswith(f"the runs of {job.name} in MLflow are not complete: no MLflow server answers")
    assert pauses == [1.0, 2.0, 4.0]
    assert isinstance(tracker.error, smt.EndpointError)


def test_the_command_exits_with_3_if_the_runs_are_not_complete(
    job: smt.TuningJob, environ: dict[str, str], health: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(_track, "_LAST_PAUSES", ())
    found = CliRunner().invoke(main, ["track", job.name, "--to", health])  # the server answers once
    assert found.exit_code == 3
    assert found.stderr.count(f"the runs of {job.name} in MLflow are not complete") == 1


def test_a_job_that_has_ended_is_tracked_in_one_pass_also_if_it_is_waited_for(job: smt.TuningJob, health: str) -> None:
    pauses: list[float] = []
    handle = smt.attach(job.name, aws=job.aws)
    assert isinstance(handle, smt.TuningJob)
    tracker = Tracker(health, clock=Clock(sleep=pauses.append, monotonic=lambda: 0.0))  # the server answers once

    with pytest.warns(ResultsWarning, match="not complete") as said:
        handle.track(tracker).wait(progress=False)

    assert (len(said), pauses) == (1, [1.0, 2.0, 4.0])
