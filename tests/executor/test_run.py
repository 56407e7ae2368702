"""A run of the executor without a server: its files, log, checkpoints and outputs."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from forks import wait_for

from sm_tuning.executor import (
    Environments,
    Files,
    LogReader,
    MetricScanner,
    Namespaces,
    Run,
    RunSettings,
    ScanProcesses,
    Supervisors,
)

# Prints an epoch after each checkpoint, of which the number in the file is the proof.
SCRIPT = """
import argparse, os, pathlib, signal, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
parser.add_argument("--pause", type=float, default=0.0)
parser.add_argument("--fail", type=int, default=0)
args = parser.parse_args()
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
checkpoints = base / "checkpoints"
checkpoints.mkdir(exist_ok=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
done = sorted(int(path.name) for path in checkpoints.iterdir())
for epoch in range(done[-1] + 1 if done else 1, args.epochs + 1):
    (checkpoints / str(epoch)).write_text("x")
    print(f"epoch {epoch} loss={1 / epoch};", flush=True)
    if epoch == args.fail:
        raise ValueError(f"no epoch {epoch}")
    time.sleep(args.pause)
(base / "model" / "model.txt").write_text("trained")
"""


class FolderObjects:
    """An object store in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _path(self, uri: str) -> Path:
        return self._root / uri.removeprefix("s3://")

    def list_objects(self, uri: str) -> list[str]:
        found = [f"s3://{path.relative_to(self._root)}" for path in self._root.rglob("*") if path.is_file()]
        return sorted(item for item in found if item.startswith(uri))

    def download(self, uri: str, path: Path) -> None:
        shutil.copyfile(self._path(uri), path)

    def upload(self, path: Path, uri: str) -> None:
        self._path(uri).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, self._path(uri))

    def delete(self, uri: str) -> None:
        self._path(uri).unlink(missing_ok=True)


@pytest.fixture(scope="module")
def shared(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunSettings, ScanProcesses]]:
    supervisors, scans = Supervisors(), ScanProcesses()
    environments = Environments(tmp_path_factory.mktemp("envs"))
    yield RunSettings("us-east-1", environments, Namespaces(), supervisors, grace=5.0), scans
    supervisors.close()
    scans.close()


class Place:
    """The folder of a training job, its object store, and what it needs."""

    def __init__(self, folder: Path, shared: tuple[RunSettings, ScanProcesses]) -> None:
        self.folder = folder
        self.objects = FolderObjects(folder / "s3")
        self._settings, self._scans = shared
        self.scanners: list[MetricScanner] = []
        archive = folder / "s3" / "bucket" / "code.tar.gz"
        archive.parent.mkdir(parents=True)
        with tarfile.open(archive, "w:gz") as tar:
            member = tarfile.TarInfo("train.py")
            member.size = len(SCRIPT.encode())
            tar.addfile(member, io.BytesIO(SCRIPT.encode()))

    def run(self, **hyperparameters: Any) -> Run:
        definitions = [{"Name": "loss", "Regex": "loss=(.*?);"}]
        job = {
            "TrainingJobName": "job",
            "TrainingJobArn": "arn:aws:sagemaker:us-east-1:000000000000:training-job/job",
            "HyperParameters": {
                "sagemaker_program": '"train.py"',
                "sagemaker_submit_directory": '"s3://bucket/code.tar.gz"',
                "_tuning_objective_metric": "loss",
                **{name: json.dumps(value) for name, value in hyperparameters.items()},
            },
            "AlgorithmSpecification": {"TrainingImage": "x", "MetricDefinitions": definitions},
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        }
        folder = self.folder / "jobs" / f"attempt-{len(self.scanners)}"
        scanner = MetricScanner(definitions, 5.0, self._scans)
        self.scanners.append(scanner)
        logs = LogReader([Files(folder).log], scanner)
        run = Run(job, folder, self.objects, self._settings, logs=logs)
        run.clear()
        return run

    @property
    def outputs(self) -> list[str]:
        return self.objects.list_objects("s3://bucket/out")


@pytest.fixture
def place(tmp_path: Path, shared: tuple[RunSettings, ScanProcesses]) -> Iterator[Place]:
    found = Place(tmp_path, shared)
    yield found
    for scanner in found.scanners:
        scanner.close()


def read(run: Run, until: int | None = None) -> list[float]:
    """Return the values of the objective until there are this many, or the run has ended."""
    values: list[float] = []
    while run.alive and (until is None or len(values) < until):
        values += [emission.value for news in run.events(5.0) for emission in news.emissions]
    return values + [emission.value for news in run.events(0.0) for emission in news.emissions]


def test_a_run_trains_and_uploads_its_model(place: Place) -> None:
    with place.run(epochs=3) as run:
        run.prepare()
        run.start()
        assert read(run) == [1, 1 / 2, 1 / 3]
        ended = run.finish()
    assert (ended.failure, ended.artifacts) == (None, "s3://bucket/out/job/output/model.tar.gz")
    assert place.outputs == [ended.artifacts]


def test_a_failure_has_the_words_of_the_script_and_leaves_no_output(place: Place) -> None:
    with place.run(epochs=3, fail=2) as run:
        run.prepare()
        run.start()
        assert read(run) == [1, 1 / 2]
        ended = run.finish()
    assert "ValueError: no epoch 2" in str(ended.failure)
    assert ended.artifacts is None
    assert place.outputs == []


def test_a_snapshot_has_the_checkpoints_of_as_many_epochs_as_it_says_and_another_run_continues_it(
    place: Place, tmp_path: Path
) -> None:
    counts = []
    with place.run(epochs=10_000, pause=0.001) as run:
        run.prepare()
        run.start()
        read(run, until=3)
        for number in range(5):
            count = run.snapshot(tmp_path / f"snapshot-{number}")
            # The script saves before it prints: it may be stopped in between.
            assert len(list((tmp_path / f"snapshot-{number}").iterdir())) - count in (0, 1)
            counts.append(count)
            seen = read(run, until=1)
            assert len(seen) >= 1  # what the snapshot has read is not lost
        run.stop()
        read(run)
        assert run.finish().failure is None  # a script may exit as it likes after SIGTERM
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]
    saved = len(list((tmp_path / "snapshot-4").iterdir()))
    with place.run(epochs=saved + 2) as run:
        run.prepare(checkpoint=tmp_path / "snapshot-4")
        run.start()
        assert read(run) == [1 / (saved + 1), 1 / (saved + 2)]


def test_a_suspended_script_obeys_a_stop(place: Place) -> None:
    with place.run(epochs=10_000, pause=0.01) as run:
        run.prepare()
        run.start()
        read(run, until=1)
        assert run._fleet is not None
        assert run._fleet.freeze(5.0)
        run.stop()
        read(run)
        [ended] = run.end()
    assert (ended.exit_code, ended.stopped) == (0, True)  # by itself, not by SIGKILL


def test_an_abandoned_run_leaves_no_process_and_no_record(place: Place) -> None:
    with place.run(epochs=10_000, pause=0.01) as run:
        run.prepare()
        run.start()
        read(run, until=1)
        pid = run.files[0].read_process()
        run.abandon()
        read(run)
    assert pid is not None
    wait_for(lambda: not psutil.pid_exists(pid))
    assert run.files[0].read_exit("train") is None


def test_a_run_that_is_stopped_before_it_starts_ends_at_once(place: Place) -> None:
    with place.run(epochs=10_000, pause=0.01) as run:
        run.prepare()
        run.stop()
        run.start()
        read(run)
        assert run.finish().failure is None
