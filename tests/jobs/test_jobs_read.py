"""What the service says about jobs is read completely and typed by the job's own ranges."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs_fakes import FakeSageMaker, best, child, job, refusal

from sm_tuning import AccessDeniedError, InvalidRequestError, JobNotFoundError, SpecError, jobs
from sm_tuning._statuses import EndpointStatus, ObjectiveStatus
from sm_tuning.aws import Aws
from sm_tuning.description import job_of
from sm_tuning.jobs import Counts, TrainingStatus, TuningStatus
from sm_tuning.spec import ContainerEstimator, ContinuousParameter, Tuning


def test_the_enum_knows_every_status_of_the_service_model() -> None:
    from botocore.session import get_session

    model = get_session().get_service_model("sagemaker")

    for shape, enum in (
        ("HyperParameterTuningJobStatus", TuningStatus),
        ("TrainingJobStatus", TrainingStatus),
        ("ObjectiveStatus", jobs.ObjectiveStatus),
    ):
        assert set(model.shape_for(shape).enum) == {member.value for member in enum}


def test_only_completed_is_a_success_and_only_moving_jobs_are_not_over() -> None:
    assert [status for status in TuningStatus if status.is_success] == [TuningStatus.COMPLETED]
    assert [status.value for status in TuningStatus if not status.is_terminal] == ["InProgress", "Stopping", "Deleting"]
    assert [status for status in TrainingStatus if status.is_success] == [TrainingStatus.COMPLETED]


@pytest.mark.parametrize("kind", [TuningStatus, TrainingStatus, EndpointStatus, ObjectiveStatus])
def test_a_status_of_the_future_is_not_terminal_and_logged_once(
    kind: type[TuningStatus], caplog: pytest.LogCaptureFixture
) -> None:
    name = f"Dreaming{kind.__name__}"
    status = kind.of(name)
    assert kind.of(name) is status
    assert (str(status), status.value, status == name) == (name, name, True)
    assert (status.is_known, status.is_terminal, status.is_success) == (False, False, False)
    assert name not in list(kind)
    assert [record.getMessage() for record in caplog.records] == [
        f"'{name}' is a new {kind.__name__}, unknown to this version: update sm-tuning"
    ]


def test_status_counts_and_best_come_from_one_answer_each(aws: Aws, sagemaker: FakeSageMaker) -> None:
    counters = {"Completed": 3, "InProgress": 1, "RetryableError": 1, "NonRetryableError": 2, "Stopped": 4}
    sagemaker.put(
        counters=counters,
        ObjectiveStatusCounters={"Succeeded": 5, "Pending": 1, "Failed": 2},
        BestTrainingJob=best("t-7", 0.25, eta="0.30000000000000004", depth="8", booster='"dart"'),
    )

    description = jobs.describe(aws, "my-job")
    counts, found = jobs.counts_of(description), jobs.best_of(description)

    assert jobs.status_of(jobs.describe(aws, "my-job")) is TuningStatus.IN_PROGRESS
    assert counts == Counts(3, 1, 1, 2, 4, 5, 1, 2)
    assert (counts.errors, counts.ended, counts.launched) == (3, 10, 11)
    assert found is not None
    assert (found.training_job_name, found.metric_name, found.objective_value) == ("t-7", "rmse", 0.25)
    assert found.hyperparameters == {"eta": 0.30000000000000004, "depth": 8, "booster": "dart"}
    assert type(found.hyperparameters["depth"]) is int


@pytest.mark.parametrize("summary", [None, child("t-1")])
def test_there_is_no_best_before_there_is_an_objective(summary: dict[str, Any] | None) -> None:
    assert jobs.best_of(job(BestTrainingJob=summary)) is None


def test_the_best_of_several_algorithms_is_typed_by_its_own_ranges() -> None:
    def definition(name: str, kind: str) -> dict[str, Any]:
        ranges = {f"{kind}ParameterRanges": [{"Name": "x", "MinValue": "1", "MaxValue": "9"}]}
        return {"DefinitionName": name, "HyperParameterRanges": ranges}

    several = job(
        TrainingJobDefinitions=[definition("a", "Continuous"), definition("b", "Integer")],
        BestTrainingJob={**best("t", 1.0, x="3"), "TrainingJobDefinitionName": "b"},
    )
    found = jobs.best_of(several)

    assert found is not None
    assert (found.definition_name, repr(found.hyperparameters["x"])) == ("b", "3")


@given(st.integers(2, 9), st.floats(0.1, 0.5), st.sampled_from(["gbtree", "dart"]))
def test_typed_values_are_what_was_written(depth: int, eta: float, booster: str) -> None:
    wire = {"depth": str(depth), "eta": repr(eta), "booster": f'"{booster}"', "unknown": "plain text"}

    assert job_of(job()).definitions[0].decode_all(wire) == {
        "depth": depth,
        "eta": eta,
        "booster": booster,
        "unknown": "plain text",
    }


@pytest.mark.parametrize(
    ("text", "plain", "script"),
    [
        ("1.10", "1.10", "1.10"),
        ("1e3", "1e3", "1e3"),
        ("0.10", "0.10", "0.10"),
        ("16", 16, 16),
        ("true", True, True),
        ('"1.10"', '"1.10"', "1.10"),
        ('"a\\"b"', '"a\\"b"', 'a"b'),
    ],
)
def test_the_best_trial_s_categories_are_those_of_its_request(text: str, plain: object, script: object) -> None:
    choice = {"ParameterRanges": {"CategoricalParameterRanges": [{"Name": "c", "Values": [text, "other"]}]}}
    for static, value in (({}, plain), ({"sagemaker_program": "train.py"}, script)):
        definition = {"StaticHyperParameters": static}
        found = jobs.best_of(
            job(config=choice, TrainingJobDefinition=definition, BestTrainingJob=best("t", 1.0, c=text))
        )
        assert found is not None
        assert (type(found.hyperparameters["c"]), found.hyperparameters["c"]) == (type(value), value)


def test_a_value_that_does_not_fit_its_range_is_kept_as_it_is() -> None:
    wire = {"depth": "2.5", "eta": "auto"}
    assert job_of(job()).definitions[0].decode_all(wire) == {"depth": 2.5, "eta": "auto"}


def test_children_come_from_all_pages_a_hundred_at_a_time(aws: Aws, sagemaker: FakeSageMaker) -> None:
    sagemaker.children = [child(f"t-{n}", status="Completed" if n % 2 else "InProgress") for n in range(5)]

    names = [one["TrainingJobName"] for one in jobs.children(aws, "my-job")]
    running = jobs.children(aws, "my-job", status=TrainingStatus.IN_PROGRESS)

    assert names == ["t-0", "t-1", "t-2", "t-3", "t-4"]
    assert [one["TrainingJobName"] for one in running] == ["t-0", "t-2", "t-4"]
    asked = sagemaker.called("ListTrainingJobsForHyperParameterTuningJob")
    assert {params["MaxResults"] for params in asked} == {100}
    assert asked[0]["SortOrder"] == "Ascending"


def test_jobs_are_listed_newest_first_and_no_further_than_asked(aws: Aws, sagemaker: FakeSageMaker) -> None:
    for name in ("a", "b", "c"):
        sagemaker.put(name=name)

    listed = jobs.list_jobs(aws, name_contains="x", status="Completed", limit=2)

    assert [one["HyperParameterTuningJobName"] for one in listed] == ["a", "b"]
    assert sagemaker.called("ListHyperParameterTuningJobs") == [
        {
            "NameContains": "x",
            "StatusEquals": "Completed",
            "SortBy": "CreationTime",
            "SortOrder": "Descending",
            "MaxResults": 2,
        }
    ]


@pytest.mark.parametrize("options", [{"limit": 0}, {"status": "Done"}])
def test_what_cannot_be_listed_is_refused(aws: Aws, options: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="must be"):
        jobs.list_jobs(aws, **options)


def test_stopping_stops(aws: Aws, sagemaker: FakeSageMaker) -> None:
    sagemaker.put()

    jobs.stop(aws, "my-job")

    assert jobs.status_of(jobs.describe(aws, "my-job")) is TuningStatus.STOPPING


@pytest.mark.parametrize("status", ["Completed", "Failed", "Stopped", "Stopping"])
def test_stopping_what_is_over_or_stopping_is_no_error(aws: Aws, sagemaker: FakeSageMaker, status: str) -> None:
    sagemaker.put(status=status)

    jobs.stop(aws, "my-job")

    assert jobs.status_of(jobs.describe(aws, "my-job")) == status


def test_other_refusals_to_stop_are_errors(aws: Aws, sagemaker: FakeSageMaker) -> None:
    sagemaker.put()
    sagemaker.next["StopHyperParameterTuningJob"].extend(
        [refusal("ValidationException", "odd"), refusal("AccessDeniedException")]
    )

    with pytest.raises(InvalidRequestError, match="odd"):
        jobs.stop(aws, "my-job")
    with pytest.raises(AccessDeniedError):
        jobs.stop(aws, "my-job")
    with pytest.raises(JobNotFoundError):
        jobs.stop(aws, "nobody")


def tuning(**changes: Any) -> Tuning:
    return Tuning(
        **{
            "estimator": ContainerEstimator(
                image_uri="image", instance_type="ml.m5.large", metric_definitions={"rmse": "rmse=(.*)"}
            ),
            "inputs": "s3://b/data",
            "objective_metric_name": "rmse",
            "hyperparameter_ranges": {"eta": ContinuousParameter(0.1, 0.5)},
            **changes,
        }
    )


def test_a_warm_start_names_its_parents() -> None:
    child = jobs.warm_start(tuning(), ["a", "b"], "TransferLearning")

    assert child.warm_start is not None
    assert (child.warm_start.parents, child.warm_start.warm_start_type) == (("a", "b"), "TransferLearning")
    assert child.replace(warm_start=None) == tuning()


def test_one_parent_needs_no_list() -> None:
    child = jobs.warm_start(tuning(), "parent")

    assert child.warm_start is not None
    assert child.warm_start.parents == ("parent",)


def test_too_many_parents_are_refused() -> None:
    with pytest.raises(SpecError, match="parents"):
        jobs.warm_start(tuning(), [f"p{n}" for n in range(6)])
