"""Filters, orders and pages of the three List operations."""

import pytest
from service_requests import NOW, create, refusal

STATUSES = ["Completed", "Failed", "Completed", "InProgress", "Stopped"]
VALUES = [3.0, None, 1.0, None, 2.0]


@pytest.fixture
def jobs(service, store):
    """Tuning jobs alpha-0 to alpha-4 and training jobs of alpha-0, created in that order, changed in reverse."""
    for index in range(5):
        create(service, f"alpha-{index}")
        now = NOW + 10 * index
        store.update_tuning_job(f"alpha-{index}", {"CreationTime": now, "LastModifiedTime": NOW + 100 - index})
    for index, (status, value) in enumerate(zip(STATUSES, VALUES, strict=True)):
        name = f"Alpha-0-{index:03}-beef"
        doc = {
            "TrainingJobName": name,
            "TrainingJobArn": f"arn:aws:sagemaker:us-east-1:123456789012:training-job/{name.lower()}",
            "TrainingJobStatus": status,
            "SecondaryStatus": status,
            "CreationTime": NOW + 10 * index,
            "LastModifiedTime": NOW + 100 - index,
            "HyperParameters": {},
            "_Index": index + 1,
            "_TunedHyperParameters": {},
            **({} if value is None else {"_ObjectiveValue": value, "_ObjectiveStatus": "Succeeded"}),
        }
        store.create_training_job(doc, tuning_job="alpha-0", index=index + 1, tags=[])
    return service


def tuning(service, **asked):
    page = service.call("ListHyperParameterTuningJobs", asked)
    return [int(one["HyperParameterTuningJobName"][-1]) for one in page["HyperParameterTuningJobSummaries"]]


def training(service, **asked):
    page = service.call("ListTrainingJobs", asked)
    return [int(one["TrainingJobName"][8:11]) for one in page["TrainingJobSummaries"]]


def trials(service, **asked):
    page = service.call(
        "ListTrainingJobsForHyperParameterTuningJob", {"HyperParameterTuningJobName": "alpha-0", **asked}
    )
    return [int(one["TrainingJobName"][8:11]) for one in page["TrainingJobSummaries"]]


TIMES = {
    "CreationTimeAfter": (NOW + 20, [3, 4]),
    "CreationTimeBefore": (NOW + 20, [0, 1]),
    "LastModifiedTimeAfter": (NOW + 97.5, [0, 1, 2]),
    "LastModifiedTimeBefore": (NOW + 97.5, [3, 4]),
}


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("listed", [tuning, training])
def test_times_bound_a_list(jobs, listed, name):
    bound, found = TIMES[name]
    assert listed(jobs, **{name: bound}) == found


def test_two_times_make_a_window(jobs):
    assert tuning(jobs, CreationTimeAfter=NOW + 5, CreationTimeBefore=NOW + 25) == [1, 2]


@pytest.mark.parametrize("listed", [tuning, training])
@pytest.mark.parametrize(("part", "count"), [("alpha", 5), ("ALPHA-0", None), ("none", 0)])
def test_a_name_contains_a_part_in_whatever_case(jobs, listed, part, count):
    expected = {tuning: 1, training: 5}[listed] if count is None else count
    assert len(listed(jobs, NameContains=part)) == expected


def test_one_status_is_listed(jobs, store):
    store.update_tuning_job("alpha-3", {"HyperParameterTuningJobStatus": "Stopped"})
    assert tuning(jobs, StatusEquals="Stopped") == [3]
    assert training(jobs, StatusEquals="Completed") == [0, 2]
    assert trials(jobs, StatusEquals="Completed") == [0, 2]
    assert trials(jobs, StatusEquals="Stopping") == []


ORDERS = {
    ("Name", "Ascending"): [0, 1, 2, 3, 4],
    ("Name", "Descending"): [4, 3, 2, 1, 0],
    ("CreationTime", "Ascending"): [0, 1, 2, 3, 4],
    ("CreationTime", "Descending"): [4, 3, 2, 1, 0],
    ("Status", "Ascending"): [0, 2, 1, 3, 4],
    ("Status", "Descending"): [4, 3, 1, 2, 0],
}


@pytest.mark.parametrize(("by", "order"), ORDERS)
@pytest.mark.parametrize("listed", [training, trials])
def test_training_jobs_are_in_order(jobs, listed, by, order):
    assert listed(jobs, SortBy=by, SortOrder=order) == ORDERS[by, order]


@pytest.mark.parametrize(("by", "order"), [key for key in ORDERS if key[0] != "Status"])
def test_tuning_jobs_are_in_order(jobs, by, order):
    assert tuning(jobs, SortBy=by, SortOrder=order) == ORDERS[by, order]


def test_tuning_jobs_are_in_the_order_of_their_status(jobs, store):
    store.update_tuning_job("alpha-4", {"HyperParameterTuningJobStatus": "Completed"})
    assert tuning(jobs, SortBy="Status")[0] == 4


def test_the_order_of_the_objective_leaves_out_who_has_none(jobs):
    assert trials(jobs, SortBy="FinalObjectiveMetricValue") == [2, 4, 0]
    assert trials(jobs, SortBy="FinalObjectiveMetricValue", SortOrder="Descending") == [0, 4, 2]


@pytest.mark.parametrize("asked", [{}, {"SortBy": "Status", "SortOrder": "Descending"}, {"NameContains": "pha"}])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_pages_are_the_list_cut_up(jobs, asked, size):
    pages, token = [], {}
    while True:
        page = jobs.call("ListTrainingJobs", {**asked, "MaxResults": size, **token})
        pages += [int(one["TrainingJobName"][8:11]) for one in page["TrainingJobSummaries"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert pages == training(jobs, **asked)


def test_a_token_goes_with_the_list_that_gave_it(jobs):
    token = jobs.call("ListTrainingJobs", {"MaxResults": 1})["NextToken"]
    for other in ({"SortOrder": "Descending"}, {"NameContains": "a"}, {"CreationTimeAfter": NOW}):
        fault = refusal(jobs, "ListTrainingJobs", {"MaxResults": 1, "NextToken": token, **other})
        assert "other filters or order" in fault.message


@pytest.mark.parametrize("size", [0, 101])
def test_a_page_has_one_to_a_hundred(jobs, size):
    assert refusal(jobs, "ListHyperParameterTuningJobs", {"MaxResults": size}).code == "ValidationException"
