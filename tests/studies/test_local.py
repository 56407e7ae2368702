"""Studies on the local SageMaker: real trials, the handle, the command line, and several drivers at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
from command_line import separate_runner
from servers import running_server

import sm_tuning as smt
from sm_tuning import studies
from sm_tuning.cli._main import main

SCRIPT = """
import json, os
rate = json.loads(os.environ["SM_HPS"])["rate"]
for epoch in range(3):
    print(f"loss={round((rate - 0.3) ** 2 + 0.25 / (epoch + 1), 4)}", flush=True)
"""


@pytest.fixture(scope="module")
def aws(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[smt.Aws]:
    with running_server(tmp_path_factory.mktemp("state")) as server:
        session = boto3.Session(server.access_key_id, server.secret_access_key, region_name=server.region)
        environ = {"SM_TUNING_CACHE_DIR": "", "SM_TUNING_ROLE": server.role_arn}
        with smt.connect(
            session=session, region=server.region, endpoint_url=server.endpoint_url, environ=environ
        ) as connection:
            yield connection


@pytest.fixture(scope="module")
def tuning(tmp_path_factory: pytest.TempPathFactory) -> smt.Tuning:
    path = tmp_path_factory.mktemp("script") / "train.py"
    path.write_text(SCRIPT)
    return smt.Tuning(
        estimator=smt.PyTorchEstimator(
            entry_point=str(path),
            framework_version="2.8",
            py_version="py312",
            instance_type="ml.m5.large",
            max_run=300,
            metric_definitions=[{"Name": "loss", "Regex": r"loss=(\S+)"}],
        ),
        objective_metric_name="loss",
        objective_type="Minimize",
        hyperparameter_ranges={"rate": smt.ContinuousParameter(0, 1)},
        strategy="Random",
        max_jobs=3,
        max_parallel_jobs=3,
        random_seed=3,
        study=smt.StudySettings(),
    )


@pytest.fixture(scope="module")
def study(aws: smt.Aws, tuning: smt.Tuning) -> smt.Study:
    """A study that has ended."""
    launched = smt.launch(tuning, name="done", aws=aws)
    assert isinstance(launched, smt.Study)
    assert launched.counts.launched == 3
    assert launched.wait(progress=False, poll=0.1)["HyperParameterTuningJobStatus"] == "Completed"
    return launched


def test_a_study_reads_as_a_tuning_job_does(study: smt.Study, tuning: smt.Tuning) -> None:
    trials = study.trials(progress=False)
    assert list(trials["TrainingJobStatus"]) == ["Completed"] * 3
    assert trials["FinalObjectiveValue"].notna().all()
    assert set(trials["TuningJobName"]) == {"done"}
    assert study.best is not None
    assert study.best.objective_value == trials["FinalObjectiveValue"].min()
    assert len(study.curves(progress=False)) == 9
    assert len(study.logs(grep="loss=", progress=False)) == 9
    assert study.errors(progress=False).empty
    assert len(study.cost(prices={"ml.m5.large": 1.0}, progress=False)) == 3
    assert len(study.diagnosis()) == 3
    spec = study.spec()
    assert (spec.study, spec.max_jobs, spec.hyperparameter_ranges) == (tuning.study, 3, tuning.hyperparameter_ranges)


def test_attach_gives_a_study_or_a_tuning_job(study: smt.Study, aws: smt.Aws) -> None:
    found = smt.attach("done", aws=aws)
    assert isinstance(found, smt.Study)
    assert (found.name, str(found.status), found.driver) == ("done", "Completed", None)
    assert [one["HyperParameterTuningJobName"] for one in smt.list_studies(aws=aws)] == ["done"]


def test_a_bayesian_study_asks_the_points_of_a_tuning_job_with_the_same_seed(aws: smt.Aws, tuning: smt.Tuning) -> None:
    both = tuning.replace(strategy="Bayesian", max_jobs=6, max_parallel_jobs=1)
    study = smt.launch(both, name="bayes", aws=aws)
    job = smt.launch(both.replace(study=None), name="bayes-job", aws=aws)
    found = []
    for handle in (study, job):
        handle.wait(progress=False, poll=0.1)
        found.append([child["TunedHyperParameters"] for child in handle.children()])
    assert found[0] == found[1]
    assert len(found[0]) == 6


def test_a_study_that_is_warm_started_asks_the_points_of_such_a_tuning_job(
    aws: smt.Aws, tuning: smt.Tuning, study: smt.Study
) -> None:
    parent = smt.launch(tuning.replace(study=None, max_jobs=4), name="parent", aws=aws)
    parent.wait(progress=False, poll=0.1)
    child = tuning.replace(
        strategy="Bayesian", max_jobs=3, max_parallel_jobs=1, warm_start=smt.WarmStart(parents=["parent"])
    )
    found = []
    for name, spec in (("child", child), ("child-job", child.replace(study=None))):
        handle = smt.launch(spec, name=name, aws=aws)
        handle.wait(progress=False, poll=0.1)
        found.append([summary["TunedHyperParameters"] for summary in handle.children()])
    assert found[0] == found[1]
    learned = smt.launch(study.next_tuning(study.advice().head(0)), name="learned", aws=aws)
    assert learned.wait(progress=False, poll=0.1)["TrainingJobStatusCounters"]["Completed"] == 3
    assert not {*learned.trials(progress=False)["rate"]} & {*study.trials(progress=False)["rate"]}


def test_hyperband_stops_trials_of_a_study_by_their_curves(aws: smt.Aws, tuning: smt.Tuning, tmp_path: Path) -> None:
    slow = tmp_path / "train.py"
    slow.write_text(SCRIPT.replace("range(3):", "range(200):\n    __import__('time').sleep(0.05)"))
    assert tuning.estimator is not None
    spec = tuning.replace(
        estimator=tuning.estimator.replace(entry_point=str(slow)),
        strategy="Hyperband",
        strategy_config=smt.HyperbandConfig(min_resource=1, max_resource=4),
    )
    study = smt.launch(spec, name="halving", aws=aws)
    study.wait(progress=False, poll=0.1)
    assert [child["TrainingJobStatus"] for child in study.children()] == ["Stopped"] * 3
    assert study.best is not None


def test_three_drivers_at_once_start_each_trial_once(aws: smt.Aws, tuning: smt.Tuning) -> None:
    """Without a lease, as if all three believed that they have it."""
    store = studies.launch(aws, tuning.replace(max_jobs=6, max_parallel_jobs=2), name="three")
    record = studies.read_study(store)
    assert record is not None
    from sm_tuning.strategies import drive
    from sm_tuning.studies._backend import SageMakerBackend

    class NoLease(studies.Lease):
        def keep(self) -> None:
            """Do not look."""

    def driver(_: int) -> object:
        trials = studies.StudyTrials(aws, store, record)
        backend = SageMakerBackend(aws, trials, NoLease(store), record.search(), poll=0.05)
        return drive(record.search(), backend)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(driver, range(3)))
    names = [
        summary["TrainingJobName"]
        for summary in aws.sagemaker.list_training_jobs(NameContains="three-", MaxResults=100)["TrainingJobSummaries"]
    ]
    assert sorted(names) == [record.training_job_name(number) for number in range(1, 7)]


@pytest.mark.long
def test_a_remote_driver_runs_a_study_and_another_continues_it(aws: smt.Aws, tuning: smt.Tuning) -> None:
    spec = tuning.replace(max_jobs=4, max_parallel_jobs=1, study=smt.StudySettings(driver="remote"))
    study = smt.launch(spec, name="remote", aws=aws)
    assert isinstance(study, smt.Study)
    first = studies.driver_job(aws, "remote")
    assert first is not None
    assert not study.step()  # it runs already
    aws.poll("remote", lambda: study.counts.completed, bool, interval=0.1, timeout=120)
    aws.sagemaker.stop_training_job(TrainingJobName=first)
    aws.poll(
        "remote", lambda: study.driver or studies.driver_job(aws, "remote"), lambda found: found is None, interval=0.1
    )
    if study.status == "InProgress":
        with pytest.raises(smt.JobFailedError, match="the study remote has no driver"):
            study.wait(progress=False, poll=0.1)
        assert study.step()
    assert study.wait(progress=False, poll=0.1)["TrainingJobStatusCounters"]["Completed"] == 4
    names = [child["TrainingJobName"] for child in study.children()]
    assert len(set(names)) == 4


def test_of_sixteen_writers_of_a_record_one_wins(aws: smt.Aws) -> None:
    store = studies.Store(aws, f"s3://{aws.s3.list_buckets()['Buckets'][0]['Name']}/race")
    for key in ("a", "b"):
        barrier = threading.Barrier(16)

        def write(number: int, key: str = key, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            return store.create(key, {"number": number})

        with ThreadPoolExecutor(16) as pool:
            won = list(pool.map(write, range(16)))
        record = store.read(key)
        assert record is not None
        assert [number for number, has_won in enumerate(won) if has_won] == [record.data["number"]]
    assert store.replace("a", {"number": 99}, '"another version"') is None


def run(aws: smt.Aws, *arguments: str) -> tuple[int, str, str]:
    result = separate_runner().invoke(main, list(arguments), obj={"connect": lambda **_: aws})
    return result.exit_code, result.stdout, result.stderr


def test_the_commands_take_a_study(aws: smt.Aws, tuning: smt.Tuning, tmp_path: Path) -> None:
    file = tuning.replace(max_jobs=4, max_parallel_jobs=2).dump(tmp_path / "spec.yaml")
    code, out, err = run(aws, "launch", str(file), "--name", "shell", "--json")
    assert (code, json.loads(out)["name"]) == (0, "shell")
    assert "sm-tuning study run shell" in err
    code, out, _ = run(aws, "study", "step", "shell", "--json")
    assert (code, json.loads(out)["name"]) == (0, "shell")
    code, out, _ = run(aws, "study", "run", "shell", "--json")
    assert (code, json.loads(out)["status"]) == (0, "Completed")
    code, out, _ = run(aws, "wait", "shell", "--json")
    assert (code, json.loads(out)["counts"]["completed"]) == (0, 4)
    code, out, _ = run(aws, "trials", "shell", "--format", "json")
    assert (code, len(json.loads(out))) == (0, 4)
    assert run(aws, "gate", "shell", "--require", "loss<=1")[0] == 0
    assert run(aws, "stop", "shell")[0] == 0
    code, out, _ = run(aws, "study", "list", "--format", "json")
    assert (code, "shell" in out) == (0, True)


def test_render_prints_the_record_of_a_study(aws: smt.Aws, tuning: smt.Tuning, tmp_path: Path) -> None:
    file = tuning.dump(tmp_path / "spec.yaml")
    code, out, _ = run(aws, "render", str(file), "--name", "shown")
    assert code == 0
    shown = json.loads(out)
    assert (shown["name"], shown["seed"], shown["format"]) == ("shown", 3, 1)
    assert shown["request"]["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 3
    code, _, err = run(aws, "render", str(file), "--as", "stepfunctions")
    assert (code, "a tuning job cannot run a study" in err) == (2, True)
