"""A trial's training job on a node, without Ray: results, documents, checkpoints, and what is never trained twice."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")
from pyarrow import fs
from servers import running_server

import sm_tuning as smt
from benchmarks.ray.runs import tuning_of
from sm_tuning.archive import read_log, training_job_file
from sm_tuning.executor import TrainingFailedError
from sm_tuning.ray._job import INDEX, LINEAGE, RayJob
from sm_tuning.ray._storage import Storage, filesystem_of
from sm_tuning.ray._training import CHECKPOINT_FILE, Node, TrainingJobRun
from sm_tuning.ray._tuner import to_ray

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def node(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    found = Node(tmp_path_factory.mktemp("node"))
    yield found
    found.close()


class Bench:
    """The folder of a run, and the training jobs that a test starts in it."""

    def __init__(self, folder: Path, node: Node, place: str | None = None, **changes: Any) -> None:
        self.folder = folder
        place = place or str(folder / "storage")
        to_ray(tuning_of(folder / "code", **changes), storage_path=place, name="run")
        self.storage = Storage(*filesystem_of(f"{place}/run"))
        self.job = RayJob.of(self.storage.files.read("sm/job.json"), self.storage.uri)
        self._node = node
        self.runs: list[TrainingJobRun] = []

    def trial(self, rate: float = 0.5, index: int = 1, **further: Any) -> TrainingJobRun:
        lineage = {LINEAGE: further.pop("lineage")} if "lineage" in further else {}
        config = {"rate": rate, "kind": "a", INDEX: index, **further, **lineage}
        self.runs.append(TrainingJobRun(self.job, self.storage, self._node, config, trial_folder=f"trial-{index}"))
        return self.runs[-1]

    def document(self, run: TrainingJobRun) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.storage.files.read(training_job_file(run.name)) or b"")
        return found

    def texts(self, run: TrainingJobRun) -> list[str]:
        return [text for _, text in read_log(self.storage.files, run.name)]


def results(run: TrainingJobRun) -> list[tuple[int, float]]:
    found = []
    while (result := run.next()) is not None:
        found.append((result["training_iteration"], result["loss"]))
    return found


@pytest.fixture
def bench(tmp_path: Path, node: Node, request: pytest.FixtureRequest) -> Iterator[Bench]:
    found = Bench(tmp_path, node, **getattr(request, "param", {}))
    yield found
    for run in found.runs:
        run.close()


def test_a_training_job_reports_each_value_of_the_objective_and_is_not_trained_again(bench: Bench) -> None:
    first = bench.trial()
    assert results(first) == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    document, texts = bench.document(first), bench.texts(first)
    assert (document["TrainingJobStatus"], document["SecondaryStatus"]) == ("Completed", "Completed")
    assert document["ModelArtifacts"]["S3ModelArtifacts"].startswith("file:///")
    assert Path(document["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("file://")).is_file()
    assert {m["MetricName"]: m["Value"] for m in document["FinalMetricDataList"]}["loss"] == pytest.approx(1 / 3)
    again = bench.trial()
    assert results(again) == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert (bench.document(again), bench.texts(again)) == (document, texts)


def test_a_failure_is_recorded_and_raised_again_without_a_second_run(bench: Bench) -> None:
    for _ in range(2):
        run = bench.trial(rate=3.0)
        assert [run.next() is not None for _ in range(2)] == [True, True]
        with pytest.raises(TrainingFailedError, match="the rate is above 2"):
            run.next()
        assert sum(text.startswith("epoch=1") for text in bench.texts(run)) == 1
    assert bench.document(run)["TrainingJobStatus"] == "Failed"


def test_trials_start_as_forks_in_spite_of_the_variables_that_ray_sets_in_its_workers(
    bench: Bench, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONBREAKPOINT", "ray.util.rpdb.set_trace")
    results(bench.trial())
    arn = bench.document(bench.runs[-1])["TuningJobArn"]
    own = [template for preload, template in node.supervisors._templates.items() if preload.group == arn]
    assert [isinstance(template, str) for template in own] == [False]  # no reason against one


ENDLESS = pytest.mark.parametrize("bench", [{"hyperparameters": {"epochs": 10_000, "pause": 0.02}}], indirect=True)


def take(run: TrainingJobRun, count: int) -> list[dict[str, Any]]:
    found = [run.next() for _ in range(count)]
    assert None not in found
    return [result for result in found if result is not None]


@ENDLESS
def test_a_stopped_training_job_goes_on_from_its_checkpoint_in_another_worker(bench: Bench, tmp_path: Path) -> None:
    first = bench.trial()
    take(first, 3)
    first.save(tmp_path / "checkpoint")
    first.close()
    assert bench.document(first)["TrainingJobStatus"] == "Stopped"
    values = json.loads((tmp_path / "checkpoint" / CHECKPOINT_FILE).read_text())["values"]
    saved = int((tmp_path / "checkpoint" / "epoch").read_text())
    assert saved - values in (0, 1)  # the script saves before it prints
    second = bench.trial()
    second.restore(tmp_path / "checkpoint")
    found = take(second, 3)
    second.close()
    assert [result["loss"] for result in found] == [1 / epoch for epoch in range(saved + 1, saved + 4)]
    assert [result["training_iteration"] for result in found] == list(range(values + 1, values + 4))
    epochs = [int(text[6:].partition(";")[0]) for text in bench.texts(second) if text.startswith("epoch=")]
    assert epochs == sorted(set(epochs))  # without what the first one printed after its checkpoint
    assert len(set(range(1, epochs[-1] + 1)) - set(epochs)) <= 1
    assert f"resuming after epoch {saved}, parent none" in bench.texts(second)


@ENDLESS
def test_a_training_job_that_is_paused_again_and_again_keeps_its_curve(bench: Bench, tmp_path: Path) -> None:
    for number in range(3):
        run = bench.trial()
        if number:
            run.restore(tmp_path / str(number - 1))
        last = take(run, 2)[-1]["training_iteration"]
        run.save(tmp_path / str(number))
        run.close()
    epochs = [int(text[6:].partition(";")[0]) for text in bench.texts(run) if text.startswith("epoch=")]
    assert epochs == sorted(set(epochs))
    assert epochs[0] == 1
    assert len(epochs) >= last - 2  # a script may save an epoch, and be stopped before it prints it
    final = bench.trial()
    final.restore(tmp_path / "2")
    final._begin()
    assert {metric["MetricName"] for metric in bench.document(final)["FinalMetricDataList"]} == {"accuracy", "loss"}


MEMBERS = pytest.mark.parametrize("bench", [{"ray": {"pbt": {"interval": 2, "max_resource": 4}}}], indirect=True)


@MEMBERS
def test_an_interval_continues_the_checkpoint_of_the_member_that_it_copies(bench: Bench) -> None:
    source = bench.trial(rate=0.1, epochs=2, lineage={"parent": None, "why": "new", "attrs": {"member": 1}})
    assert results(source) == [(1, 1.0), (2, 0.5)]
    lineage = {"parent": 1, "why": "exploited", "attrs": {"member": 2}}
    copy = bench.trial(rate=0.2, index=2, epochs=4, lineage=lineage)
    assert results(copy) == [(3, 1 / 3), (4, 0.25)]
    assert bench.document(copy)["StudyTrial"] == {"Parent": source.name, "Why": "exploited", "Member": 2}
    assert f"resuming after epoch 2, parent {source.name}" in bench.texts(copy)
    again = bench.trial(rate=0.2, index=2, epochs=4, lineage=lineage)
    assert results(again) == [(3, 1 / 3), (4, 0.25)]  # from its records
    job = smt.attach(str(bench.storage.path))
    trials = job.trials().sort_values("TrainingJobName")
    columns = ["epochs", "Parent", "Why", "Member"]
    assert trials[columns].astype(object).where(trials[columns].notna(), None).to_numpy().tolist() == [
        [2, None, "new", 1],
        [4, source.name, "exploited", 2],
    ]
    assert "lineage" in job.report(bench.folder / "report.html").read_text().split('"')


@MEMBERS
def test_an_interval_that_was_killed_goes_on_and_then_leaves_its_checkpoint(bench: Bench, tmp_path: Path) -> None:
    new = {"parent": None, "why": "new", "attrs": {"member": 1}}
    results(bench.trial(epochs=2, lineage=new))
    lineage = {"parent": 1, "why": "continued", "attrs": {"member": 1}}
    killed = bench.trial(index=2, epochs=10_000, lineage=lineage)
    take(killed, 1)
    killed.close()  # before Ray has a checkpoint of it: it begins again where its parent ended
    assert results(bench.trial(index=2, epochs=4, lineage=lineage)) == [(3, 1 / 3), (4, 0.25)]
    assert results(bench.trial(index=3, epochs=5, lineage={**lineage, "parent": 2})) == [(5, 0.2)]


@MEMBERS
def test_a_member_without_a_checkpoint_fails_instead_of_beginning_anew(bench: Bench) -> None:
    [code] = Path(bench.storage.path).rglob("sourcedir.tar.gz")
    script = bench.folder / "train.py"
    script.write_text("print('epoch=1; accuracy=0.5; loss=1;', flush=True)")
    with tarfile.open(code, "w:gz") as archive:
        archive.add(script, "train.py")
    run = bench.trial(epochs=2, lineage={"parent": None, "why": "new", "attrs": {"member": 1}})
    with pytest.raises(TrainingFailedError, match="has left no checkpoint"):
        results(run)


@ENDLESS
def test_a_trial_that_ray_has_forgotten_takes_the_newest_whole_checkpoint_of_its_folder(bench: Bench) -> None:
    first = bench.trial()
    trial = Path(bench.storage.path) / "trial-1"
    for number in range(2):
        take(first, 1)
        first.save(trial / f"checkpoint_{number:06d}")
    first.close()
    shutil.copytree(trial / "checkpoint_000001", trial / "checkpoint_000002")
    (trial / "checkpoint_000002" / "epoch").unlink()  # as a kill may leave it
    second = bench.trial()
    take(second, 1)
    second.close()
    saved = int((trial / "checkpoint_000001" / "epoch").read_text())
    assert f"resuming after epoch {saved}, parent none" in bench.texts(second)


@pytest.mark.parametrize(
    "bench", [{"hyperparameters": {"epochs": 10_000, "pause": 0.02}, "estimator": {"max_run": 1}}], indirect=True
)
def test_the_time_limit_stops_a_training_job_which_then_has_ended_for_good(bench: Bench) -> None:
    first = bench.trial()
    found = results(first)
    document = bench.document(first)
    assert (document["TrainingJobStatus"], document["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert results(bench.trial()) == found


def test_a_script_without_gpus_sees_none_and_one_with_a_share_sees_its_own(bench: Bench) -> None:
    run = bench.trial()
    run._gpus = ("1",)
    assert run.next() is not None
    run.close()
    assert "gpus '1'" in bench.texts(run)


def test_a_run_in_s3_has_its_code_documents_checkpoints_and_models_there(
    processes: None, node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_server(tmp_path / "state") as info:
        for name, value in info.env().items():
            monkeypatch.setenv(name, value)
        bench = Bench(tmp_path, node, f"s3://{info.bucket}/ray", hyperparameters={"epochs": 10_000, "pause": 0.02})
        first = bench.trial()
        take(first, 2)
        first.save(tmp_path / "checkpoint")
        fs.copy_files(
            str(tmp_path / "checkpoint"),
            f"{bench.storage.path}/trial-1/checkpoint_000000",
            destination_filesystem=bench.storage.filesystem,
        )
        first.close()
        saved = int((tmp_path / "checkpoint" / "epoch").read_text())
        second = bench.trial()  # finds the checkpoint in S3
        take(second, 1)
        second.close()
        assert f"resuming after epoch {saved}, parent none" in bench.texts(second)
        job = smt.attach(f"s3://{info.bucket}/ray/run")
        assert list(job.trials()["TrainingJobStatus"]) == ["Stopped"]
        names = bench.storage.list_objects(f"{bench.storage.object_uri}/sm/")
        assert any(name.endswith("/output/model.tar.gz") for name in names)
        assert any(name.endswith("/sourcedir.tar.gz") for name in names)
