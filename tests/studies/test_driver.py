"""Studies against a small AWS: what is recorded and started, whoever dies and whatever AWS answers."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from small_aws import Dead, Mortal, Refusal, SmallAws, drive, failed, launched, succeeded, tuning

import sm_tuning as smt
from sm_tuning import studies


def trials_of(service: SmallAws) -> dict[str, str]:
    """Return the hyperparameter of each training job; each must be that of its record, and recorded."""
    jobs = {name: job["HyperParameters"]["rate"] for name, job in sorted(service.jobs.items())}
    records = service.records()
    recorded = {
        int(key.removeprefix("trials/").removesuffix(".json")): data["hyperparameters"]["rate"]
        for key, data in records.items()
        if key.startswith("trials/")
    }
    assert {int(name.split("-")[1]): rate for name, rate in jobs.items()} == recorded
    return {name.split("-")[1]: rate for name, rate in jobs.items()}


def test_a_study_records_and_starts_each_trial_once_with_few_calls(service: SmallAws) -> None:
    study = launched(service, max_jobs=6)
    service.calls.clear()
    looks = []
    assert drive(service, service.connect(), on_update=looks.append).outcome is not None

    assert len(trials_of(service)) == 6
    assert study.describe()["HyperParameterTuningJobStatus"] == "Completed"
    assert study.counts.completed == 6
    assert service.calls["CreateTrainingJob"] == 6
    assert len([key for key in service.records() if key.startswith("trials/")]) == 6
    assert service.calls["ListTrainingJobs"] <= len(looks)


def test_a_trial_is_described_once_and_a_pass_lists_once(service: SmallAws) -> None:
    launched(service, max_jobs=5, max_parallel_jobs=5)
    service.looks = 5
    service.calls.clear()
    looks = []
    drive(service, service.connect(), on_update=looks.append)
    assert service.calls["DescribeTrainingJob"] == 5
    assert service.calls["ListTrainingJobs"] == len(looks) - 1  # not before the first trial


@pytest.fixture(scope="module")
def undisturbed(processes: None) -> dict[str, str]:
    with SmallAws().running() as other:
        launched(other)
        drive(other, other.connect())
        return trials_of(other)


def test_a_driver_that_dies_at_any_call_loses_doubles_and_changes_no_trial(undisturbed: dict[str, str]) -> None:
    deaths = 0
    with SmallAws().running() as service:
        aws, mortal = service.connect(), service.connect(Mortal)
        assert isinstance(mortal, Mortal)
        for call in range(2, 400, 5):  # every fifth half call: before and after the effect in turn
            service.forget()
            launched(service, aws=aws)
            mortal.left, mortal.is_after = call // 2, bool(call % 2)
            try:
                drive(service, mortal)
            except Dead:
                deaths += 1
            else:
                break
            service.now += 61  # the lease of the dead driver expires
            assert drive(service, aws).drove
            assert trials_of(service) == undisturbed
    assert deaths > 10


@pytest.mark.parametrize(
    "operation", ["CreateTrainingJob", "s3:PUT", "ListTrainingJobs", "DescribeTrainingJob", "s3:GET"]
)
@pytest.mark.parametrize("kind", ["throttled", "lost", "broken"])
def test_transient_errors_and_lost_answers_change_nothing(
    service: SmallAws, undisturbed: dict[str, str], operation: str, kind: str
) -> None:
    launched(service)
    dice = Random(1)

    def fault(called: str, _number: int, done: bool) -> None:
        if called != operation or dice.random() < 0.6:
            return
        if kind == "throttled" and not done:
            raise Refusal(400, "ThrottlingException") if ":" not in called else Refusal(503, "SlowDown")
        if kind == "broken" and not done:
            raise Refusal(500, "InternalFailure")
        if kind == "lost" and done:
            raise ConnectionError

    service.calls.clear()
    service.fault = fault
    for _ in range(20):  # what lasts longer than a driver's patience ends the driver, and the next one continues
        try:
            if drive(service, service.connect()).drove:
                break
        except smt.ServiceError:
            pass
        service.now += 61
    service.fault = lambda *_: None
    service.now += 61
    drive(service, service.connect())
    assert trials_of(service) == undisturbed
    assert service.records()["s/end.json"]["status"] == "Completed"


def test_a_quota_delays_a_start_and_fails_nothing(service: SmallAws) -> None:
    launched(service)

    def fault(called: str, number: int, done: bool) -> None:
        if called == "CreateTrainingJob" and number in (2, 3, 4) and not done:
            raise Refusal(400, "ResourceLimitExceeded", "the limit of ml.m5.large is 1")

    service.fault = fault
    drive(service, service.connect())
    assert len(trials_of(service)) == 4


def test_a_refused_trial_ends_the_driver_with_the_reason(service: SmallAws) -> None:
    launched(service)

    def fault(called: str, _number: int, done: bool) -> None:
        if called == "CreateTrainingJob" and not done:
            raise Refusal(400, "ValidationException", "the role is unknown")

    service.fault = fault
    with pytest.raises(smt.InvalidRequestError, match="the role is unknown"):
        drive(service, service.connect())
    assert studies.Lease.holder(launched_store(service)) is None


def launched_store(service: SmallAws) -> studies.Store:
    aws = service.connect()
    store = studies.find(aws, "s")
    assert store is not None
    return store


def fault_in_the_service(times: int) -> Callable[[Any], dict[str, Any]]:
    """Return the ends of training jobs: the first ``times`` fail by a fault of the service."""
    seen: list[str] = []

    def end(job: Any) -> dict[str, Any]:
        seen.append(job["TrainingJobName"])
        return failed("InternalServerError: we had a bad day") if len(seen) <= times else succeeded(job)

    return end


def test_a_fault_of_the_service_is_retried_with_the_same_values_and_checkpoints(service: SmallAws) -> None:
    launched(service, max_jobs=3, max_parallel_jobs=1, estimator={"checkpoint_s3_uri": "s3://b/ck"})
    first = next(iter(service.jobs), None)
    assert first is None
    service.end_of = fault_in_the_service(1)
    drive(service, service.connect(), once=True)
    name = next(iter(service.jobs))
    service.objects[f"b/ck/{name}/epoch-1"] = (b"state", service.now)
    drive(service, service.connect())

    records = service.records()
    assert records["trials/0002.json"]["hyperparameters"] == records["trials/0001.json"]["hyperparameters"]
    assert (records["trials/0002.json"]["parent"], records["trials/0002.json"]["why"]) == (1, "retried")
    assert len(trials_of(service)) == 3
    second = sorted(service.jobs)[1]
    assert service.objects[f"b/ck/{second}/epoch-1"][0] == b"state"
    assert service.jobs[second]["CheckpointConfig"]["S3Uri"] == f"s3://b/ck/{second}"


def test_a_fault_is_retried_as_often_as_the_settings_say(service: SmallAws) -> None:
    launched(service, max_jobs=9, max_parallel_jobs=1, study={"retries": 1, "max_failures": 2})
    service.end_of = lambda _job: failed("CapacityError: no instances")
    outcome = drive(service, service.connect()).outcome
    assert outcome is not None
    assert str(outcome.status) == "Failed"
    assert [data["why"] for key, data in sorted(service.records().items()) if key.startswith("trials/")] == [
        "new",
        "retried",
        "new",
        "retried",
    ]


def test_an_error_of_the_algorithm_is_not_retried(service: SmallAws) -> None:
    launched(service, max_jobs=9, max_parallel_jobs=1)
    service.end_of = lambda _job: failed("AlgorithmError: ValueError")
    outcome = drive(service, service.connect()).outcome
    assert outcome is not None
    assert (str(outcome.status), len(service.jobs)) == ("Failed", 5)


def test_one_driver_at_a_time_and_another_takes_over_after_a_minute(service: SmallAws) -> None:
    launched(service)
    first = service.connect(Mortal)
    assert isinstance(first, Mortal)
    first.left = 12
    with pytest.raises(Dead):
        drive(service, first)
    assert not drive(service, service.connect()).drove
    assert studies.Lease.holder(launched_store(service)) is not None
    service.now += 61
    assert drive(service, service.connect()).drove
    assert studies.Lease.holder(launched_store(service)) is None


def test_a_driver_that_was_paused_stops_driving_and_stops_no_trial(service: SmallAws) -> None:
    study = launched(service)
    service.looks = 10**9
    aws = service.connect()

    def taken_over(_description: object) -> None:
        if "other" not in service.objects:
            service.objects["other"] = (b"", 0.0)
            service.now += 61
            other = studies.Lease(launched_store(service))
            assert other.acquire()

    with pytest.raises(studies.LeaseLostError):
        drive(service, aws, on_update=taken_over)
    assert service.calls["StopTrainingJob"] == 0
    assert study.counts.in_progress == 2


def test_stop_works_without_a_driver_and_no_driver_starts_anything_after_it(service: SmallAws) -> None:
    study = launched(service)
    study.step()
    service.looks = 10**9
    study.stop()
    assert {job["TrainingJobStatus"] for job in service.jobs.values()} == {"Stopped"}
    assert study.describe()["HyperParameterTuningJobStatus"] == "Stopped"
    assert len(service.jobs) == 2
    with pytest.raises(smt.JobStoppedError, match="study s was stopped"):
        study.wait(progress=False)
    assert len(service.jobs) == 2
    assert service.records()["s/end.json"]["status"] == "Stopped"
    study.stop()


def test_a_decision_that_was_recorded_is_not_started_once_the_study_is_stopped(service: SmallAws) -> None:
    study = launched(service)
    mortal = service.connect(Mortal)
    assert isinstance(mortal, Mortal)

    def fault(called: str, _number: int, done: bool) -> None:
        if called == "CreateTrainingJob" and not done:
            mortal.left = 0
            raise ConnectionError

    service.fault = fault
    with pytest.raises(Dead):
        drive(service, mortal)
    service.fault = lambda *_: None
    assert not service.jobs
    service.now += 61
    study.stop()
    assert drive(service, service.connect()).drove
    assert not service.jobs
    assert service.records()["s/end.json"]["status"] == "Stopped"


def test_a_name_is_taken_once_and_attach_finds_the_same_spec(service: SmallAws) -> None:
    aws = service.connect()
    launched(service)
    with pytest.raises(smt.NameTakenError, match="the same spec made it"):
        studies.launch(aws, tuning(), name="s")
    assert studies.launch(aws, tuning(), name="s", if_exists="attach").uri == launched_store(service).uri
    with pytest.raises(smt.SpecError, match="another spec"):
        studies.launch(aws, tuning(max_jobs=5), name="s", if_exists="attach")


def test_a_study_with_a_store_of_its_own_is_found_by_the_tags_of_its_trials(service: SmallAws) -> None:
    launched(service, study={"store": "s3://mine/here"}).step()
    found = smt.attach("s", aws=service.connect())
    assert isinstance(found, smt.Study)
    assert found.uri == "s3://mine/here/s"
    assert smt.attach("s3://mine/here/s", aws=service.connect()).name == "s"
    with pytest.raises(smt.JobNotFoundError):
        smt.attach("none", aws=service.connect())


def test_a_study_of_a_later_format_is_refused(service: SmallAws) -> None:
    launched(service)
    key = next(key for key in service.objects if key.endswith("/study.json"))
    body, moment = service.objects[key]
    service.objects[key] = (body.replace(b'"format": 1', b'"format": 2'), moment)
    with pytest.raises(smt.SpecError, match="update sm-tuning"):
        smt.attach("s", aws=service.connect())


def test_a_trial_has_the_members_and_tags_of_the_study(service: SmallAws) -> None:
    launched(
        service,
        study={"training": {"RemoteDebugConfig": {"EnableRemoteDebug": True}}},
        estimator={"tags": {"team": "a"}, "hyperparameters": {"epochs": 3}},
    ).step()
    job = service.jobs[min(service.jobs)]
    assert job["RemoteDebugConfig"] == {"EnableRemoteDebug": True}
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 600}
    assert job["HyperParameters"]["_tuning_objective_metric"] == "loss"
    assert job["HyperParameters"]["epochs"] == "3"
    tags = {tag["Key"]: tag["Value"] for tag in service.tags[job["TrainingJobArn"]]}
    assert tags["team"] == "a"
    assert (tags["sm-tuning:study"], tags["sm-tuning:trial"], tags["sm-tuning:why"]) == ("s", "1", "new")


def test_the_target_objective_ends_a_study(service: SmallAws) -> None:
    launched(
        service,
        max_jobs=50,
        completion_criteria=smt.CompletionCriteria(target_objective_metric_value=0.2),
    )
    drive(service, service.connect())
    assert len(service.jobs) < 20


def test_a_look_for_the_same_name_that_is_refused_warns(service: SmallAws) -> None:
    def fault(called: str, _number: int, done: bool) -> None:
        if called in ("s3:GET", "DescribeHyperParameterTuningJob") and not done:
            raise Refusal(403, "AccessDenied") if called == "s3:GET" else Refusal(400, "AccessDeniedException")

    service.fault = fault
    with pytest.warns(UserWarning, match="not known whether there is a study 'n', which attach could not tell"):
        studies.refuse_study(service.connect(), "n")
    service.fault = lambda called, *given: fault(called, *given) if called != "s3:GET" else None
    with pytest.warns(UserWarning, match="not known whether there is a tuning job 's'"):
        launched(service)
    with pytest.raises(smt.NameTakenError, match="there is a study 's' already"):
        studies.refuse_study(service.connect(), "s")
