"""Search over training and tuning jobs: filters, expressions, order, pages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from service_requests import NOW, create, refusal

from sm_tuning.local.service._search import compile_expression, number_of
from sm_tuning.request import service_model

ARN = "arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/job-1"


def training(store, name, tuning="Job-1", status="Completed", tags=(), **members):
    index = len(store.all_training_jobs()) + 1
    doc = {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:aws:sagemaker:us-east-1:123456789012:training-job/{name.lower()}",
        "TrainingJobStatus": status,
        "SecondaryStatus": status,
        "CreationTime": NOW + index,
        "LastModifiedTime": NOW + index,
        "HyperParameters": {"eta": str(index / 10), "depth": str(index), "opt": '"adam"' if index % 2 else "sgd"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "EnableManagedSpotTraining": False,
        "FinalMetricDataList": [{"MetricName": "validation:rmse", "Value": float(index), "Timestamp": NOW}],
        "InputDataConfig": [
            {
                "ChannelName": channel,
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://b/{index}/{channel}"}},
            }
            for channel in ("train", "validation")
        ],
        "BillableTimeInSeconds": index,
        "_Index": index,
        **({"TuningJobArn": ARN.replace("job-1", tuning.lower())} if tuning else {}),
        **members,
    }
    doc = {member: value for member, value in doc.items() if value is not None}
    store.create_training_job(
        doc, tuning_job=tuning, index=index, tags=[{"Key": key, "Value": value} for key, value in tags]
    )


@pytest.fixture
def jobs(service, store):
    """Three training jobs of Job-1, one of Job-2, one of its own; indexes 1 to 5."""
    create(service, "Job-1")
    create(service, "Job-2")
    training(store, "Job-1-001-a", tags=[("team", "vision")])
    training(store, "Job-1-002-b", status="Failed", FinalMetricDataList=None)
    training(store, "Job-1-003-c", tags=[("team", "speech")])
    training(store, "Job-2-001-d", tuning="Job-2")
    training(store, "alone", tuning=None)
    return service


def find(service, *filters, **more):
    """The last letters of the names that are found."""
    expression = {"SearchExpression": {"Filters": list(filters)}} if filters else {}
    answer = service.call("Search", {"Resource": "TrainingJob", **expression, **more})
    return "".join(result["TrainingJob"]["TrainingJobName"][-1] for result in answer["Results"])


def where(name, operator=None, value=None):
    return {
        "Name": name,
        **({} if operator is None else {"Operator": operator}),
        **({} if value is None else {"Value": value}),
    }


FILTERS = {
    "equals is the default": (where("TuningJobArn", None, ARN), "cba"),
    "an arn that is no tuning job": (where("TuningJobArn", "Equals", "arn:aws:x"), ""),
    "not equals counts those without": (where("TuningJobArn", "NotEquals", ARN), "ed"),
    "contains": (where("TrainingJobName", "Contains", "ob-1-00"), "cba"),
    "in": (where("TrainingJobName", "In", "alone, Job-2-001-d,other"), "ed"),
    "exists": (where("TuningJobArn", "Exists"), "dcba"),
    "not exists": (where("TuningJobArn", "NotExists"), "e"),
    "status": (where("TrainingJobStatus", "Equals", "Failed"), "b"),
    "number": (where("BillableTimeInSeconds", "GreaterThanOrEqualTo", "4"), "ed"),
    "truth value": (where("EnableManagedSpotTraining", "Equals", "true"), ""),
    "time before": (where("CreationTime", "LessThan", "2023-11-14T22:13:23"), "ba"),
    "time with a zone": (where("CreationTime", "LessThan", "2023-11-14T23:13:23+01:00"), "ba"),
    "nested member": (where("ResourceConfig.InstanceType", "Equals", "ml.m5.large"), "edcba"),
    "a member of a list": (where("InputDataConfig.DataSource.S3DataSource.S3Uri", "Contains", "/3/val"), "c"),
    "tag": (where("Tags.team", "Equals", "vision"), "a"),
    "tag of whatever value": (where("Tags.team", "Exists"), "ca"),
    "decimal hyperparameter": (where("HyperParameters.eta", "GreaterThan", "0.35"), "ed"),
    "a whole number cuts decimals": (where("HyperParameters.eta", "Equals", "0"), "edcba"),
    "text hyperparameter": (where("HyperParameters.opt", "Equals", "sgd"), "db"),
    "quoted hyperparameter": (where("HyperParameters.opt", "Equals", '"adam"'), "eca"),
    "hyperparameter that none has": (where("HyperParameters.x", "Exists"), ""),
    "metric": (where("Metrics.validation:rmse", "LessThan", "3.5"), "ca"),
    "no metric": (where("Metrics.validation:rmse", "NotExists"), "b"),
}


@pytest.mark.parametrize("case", FILTERS)
def test_a_filter_finds_what_it_says(jobs, case):
    wanted, names = FILTERS[case]
    assert find(jobs, wanted) == names


def test_and_or_and_subexpressions_combine_filters(jobs):
    failed, cheap = where("TrainingJobStatus", "Equals", "Failed"), where("BillableTimeInSeconds", "LessThan", "2")
    alone = where("TrainingJobName", "Equals", "alone")

    def found(expression):
        answer = jobs.call("Search", {"Resource": "TrainingJob", "SearchExpression": expression})
        return "".join(one["TrainingJob"]["TrainingJobName"][-1] for one in answer["Results"])

    assert found({"Filters": [failed, cheap]}) == ""
    assert found({"Filters": [failed, cheap], "Operator": "Or"}) == "ba"
    both = {"Filters": [failed, cheap], "Operator": "Or"}
    mine = where("TuningJobArn", "Equals", ARN)
    assert found({"SubExpressions": [both], "Filters": [mine]}) == "ba"
    assert found({"SubExpressions": [both], "Filters": [alone], "Operator": "Or"}) == "eba"
    # a tuning job that is named under Or is no bound
    assert found({"Filters": [mine, alone], "Operator": "Or"}) == "ecba"


def test_a_nested_filter_needs_one_item_that_satisfies_all(jobs):
    def nested(channel, uri):
        return {
            "NestedFilters": [
                {
                    "NestedPropertyName": "InputDataConfig",
                    "Filters": [
                        where("InputDataConfig.ChannelName", "Equals", channel),
                        where("InputDataConfig.DataSource.S3DataSource.S3Uri", "Equals", uri),
                    ],
                }
            ]
        }

    def found(expression):
        return len(jobs.call("Search", {"Resource": "TrainingJob", "SearchExpression": expression})["Results"])

    assert found(nested("train", "s3://b/1/train")) == 1
    assert found(nested("train", "s3://b/1/validation")) == 0


def test_records_are_whole_public_and_fit_the_model(jobs, store):
    store.update_training_job("Job-1-001-a", {"_ObjectiveValue": 0.1})
    answer = jobs.call(
        "Search",
        {"Resource": "TrainingJob", "SearchExpression": {"Filters": [where("TrainingJobName", None, "Job-1-001-a")]}},
    )
    record = answer["Results"][0]["TrainingJob"]
    assert set(record) <= set(service_model().shape_for("TrainingJob").members)
    assert record["Tags"] == [{"Key": "team", "Value": "vision"}]
    assert record["BillableTimeInSeconds"] == 1
    assert record["FinalMetricDataList"][0]["Value"] == 1.0
    assert record["ResourceConfig"]["InstanceType"] == "ml.m5.large"


def test_the_newest_change_comes_first_unless_sorted_otherwise(jobs, store):
    assert find(jobs) == "edcba"
    assert find(jobs, SortOrder="Ascending") == "abcde"
    assert find(jobs, SortBy="TrainingJobName", SortOrder="Ascending") == "abcde"
    assert find(jobs, SortBy="HyperParameters.eta", SortOrder="Descending") == "edcba"
    # jobs without the property come last in either order
    assert find(jobs, SortBy="Metrics.validation:rmse", SortOrder="Ascending") == "acdeb"
    assert find(jobs, SortBy="Metrics.validation:rmse") == "edcab"


@pytest.mark.parametrize(
    "asked",
    [{}, {"SortOrder": "Ascending"}, {"SortBy": "Metrics.validation:rmse"}, {"SortBy": "ResourceConfig.InstanceType"}],
)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_pages_give_every_record_once_in_order(jobs, asked, size):
    request = {"Resource": "TrainingJob", **asked, "MaxResults": size}
    pages, token = [], None
    while True:
        answer = jobs.call("Search", {**request, **({} if token is None else {"NextToken": token})})
        pages += [one["TrainingJob"]["TrainingJobName"] for one in answer["Results"]]
        token = answer.get("NextToken")
        if token is None:
            break
    whole = jobs.call("Search", {"Resource": "TrainingJob", **asked, "MaxResults": 100})
    assert pages == [one["TrainingJob"]["TrainingJobName"] for one in whole["Results"]]
    assert len(set(pages)) == 5


def test_a_page_is_ten_records_by_default(service, store):
    create(service, "Job-1")
    for number in range(12):
        training(store, f"Job-1-{number:03}")
    assert len(service.call("Search", {"Resource": "TrainingJob"})["Results"]) == 10


def test_the_training_jobs_of_a_deleted_tuning_job_are_still_found(jobs, store):
    store.update_tuning_job("Job-1", {"HyperParameterTuningJobStatus": "Completed"})
    jobs.call("DeleteHyperParameterTuningJob", {"HyperParameterTuningJobName": "Job-1"})
    assert find(jobs, where("TuningJobArn", "Equals", ARN)) == "cba"


def test_tuning_jobs_are_searched_too(jobs):
    asked = {"Resource": "HyperParameterTuningJob", "SearchExpression": {"Filters": []}}
    asked["SearchExpression"]["Filters"] = [where("TrainingJobStatusCounters.Completed", "GreaterThan", "1")]
    answer = jobs.call("Search", asked)
    [record] = [one["HyperParameterTuningJob"] for one in answer["Results"]]
    assert record["HyperParameterTuningJobName"] == "Job-1"
    assert set(record) <= set(service_model().shape_for("HyperParameterTuningJobSearchEntity").members)


REFUSED = {
    "unknown property": ([where("TrainingJobNam", None, "x")], "Did you mean TrainingJobName?"),
    "unknown member": ([where("ResourceConfig.Colour", None, "x")], "Unknown property name"),
    "order of texts": ([where("TrainingJobName", "GreaterThan", "x")], "GreaterThan is not supported"),
    "order of hyperparameters by text": ([where("HyperParameters.opt", "LessThan", "x")], "LessThan is not supported"),
    "part of a number": ([where("BillableTimeInSeconds", "Contains", "1")], "Contains is not supported"),
    "no number": ([where("BillableTimeInSeconds", "Equals", "x")], "must be a number, but it is 'x'"),
    "no time": ([where("CreationTime", "Equals", "monday")], "must be a time as YYYY-mm-ddTHH:MM:SS"),
    "no truth value": ([where("EnableManagedSpotTraining", "Equals", "1")], "must be a truth value"),
    "a structure": ([where("ResourceConfig", "Equals", "x")], "name one of them"),
    "no value": ([where("TrainingJobName", "Equals")], "needs a Value"),
    "a value for exists": ([where("TrainingJobName", "Exists", "x")], "takes no Value"),
    "contains twice": (
        [where("TrainingJobName", "Contains", "x"), where("TrainingJobArn", "Contains", "x")],
        "'CONTAINS' operator usage limit of 1 exceeded.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_filter_that_cannot_be_is_a_validation_exception(jobs, case):
    filters, sentence = REFUSED[case]
    fault = refusal(jobs, "Search", {"Resource": "TrainingJob", "SearchExpression": {"Filters": filters}})
    assert fault.code == "ValidationException"
    assert sentence in fault.message


def test_empty_and_large_expressions_and_foreign_tokens_are_refused(jobs):
    def refused(**asked):
        return refusal(jobs, "Search", {"Resource": "TrainingJob", **asked}).message

    assert "at least one" in refused(SearchExpression={})
    many = {"SubExpressions": [{"Filters": [where("TuningJobArn", "Exists")] * 20}] * 3}
    assert "can have 50 filters, but this one has 60" in refused(SearchExpression=many)
    token = jobs.call("Search", {"Resource": "TrainingJob", "MaxResults": 1})["NextToken"]
    assert "another search" in refused(NextToken=token, SortOrder="Ascending")
    assert "Invalid NextToken" in refused(NextToken="x")
    assert "VisibilityConditions" in refused(VisibilityConditions=[{"Key": "a", "Value": "b"}])
    foreign = {"Resource": "TrainingJob", "CrossAccountFilterOption": "CrossAccount"}
    assert jobs.call("Search", foreign) == {"Results": []}


@given(
    st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: not float(x).is_integer()),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_decimals_are_compared_as_numbers(wanted, given_value):
    shape = service_model().shape_for("TrainingJob")
    for operator, holds in (("LessThan", given_value < wanted), ("Equals", given_value == wanted)):
        test = compile_expression(shape, {"Filters": [where("HyperParameters.x", operator, repr(wanted))]})
        assert test({"HyperParameters": {"x": repr(given_value)}}) == holds


@given(st.text())
def test_any_text_is_a_number_or_not(text):
    number = number_of(text)
    assert number is None or isinstance(number, float)
