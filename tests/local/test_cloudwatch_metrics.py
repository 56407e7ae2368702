"""CloudWatch metrics of the training jobs, in whole periods."""

from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.exceptions import ClientError
from local_server import LocalServer
from servers import running_server

from sm_tuning.local._config import Identity, resolve_state_dir
from sm_tuning.local._moto import AwsLocal

NAMESPACE = "/aws/sagemaker/TrainingJobs"
IDENTITY = Identity("us-east-1", "123456789012", "arn:aws:iam::123456789012:role/R", "bucket")
BEGIN = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
JOB = [{"Name": "TrainingJobName", "Value": "job-1"}]


@pytest.fixture(scope="module")
def cloudwatch(processes, tmp_path_factory):
    state_dir = tmp_path_factory.mktemp("metrics")
    aws = AwsLocal(IDENTITY, resolve_state_dir(state_dir).s3)
    second = BEGIN.timestamp()
    aws.put_metric_data(
        {"TrainingJobName": "job-1"},
        [("loss", second + at, value) for at, value in ((5, 1.0), (50, 3.0), (65, 5.0), (200, 7.0))]
        + [("loss", second + 10, float("nan")), ("accuracy", second, 0.5)],
    )
    aws.put_metric_data({"TrainingJobName": "job-2"}, [("loss", second, 100.0)])
    aws.put_metric_data({"Host": "job-1/algo-1"}, [("CPUUtilization", second, 80.0)])
    aws.close()
    with running_server(state_dir) as info:
        yield LocalServer(info).client("cloudwatch")


def query(metric="loss", stat="Average", period=60, dimensions=JOB, number=0, **more):
    measured = {"Namespace": NAMESPACE, "MetricName": metric, "Dimensions": dimensions}
    return {"Id": f"m{number}", "MetricStat": {"Metric": measured, "Period": period, "Stat": stat}, **more}


def data(cloudwatch, *queries, start=BEGIN, end=BEGIN + timedelta(hours=1), **more):
    answer = cloudwatch.get_metric_data(MetricDataQueries=queries, StartTime=start, EndTime=end, **more)
    return answer["MetricDataResults"]


def minutes(result):
    return [int((moment - BEGIN).total_seconds() // 60) for moment in result["Timestamps"]]


def test_values_of_a_minute_are_one_point_at_its_beginning(cloudwatch):
    [result] = data(cloudwatch, query(), ScanBy="TimestampAscending")
    assert (minutes(result), result["Values"]) == ([0, 1, 3], [2.0, 5.0, 7.0])


def test_points_come_newest_first_unless_asked_otherwise(cloudwatch):
    [result] = data(cloudwatch, query(), ScanBy="TimestampDescending")
    assert (minutes(result), result["Values"]) == ([3, 1, 0], [7.0, 5.0, 2.0])


@pytest.mark.parametrize(
    ("stat", "first"), [("Sum", 4.0), ("Minimum", 1.0), ("Maximum", 3.0), ("SampleCount", 2.0), ("p50", 2.0)]
)
def test_every_statistic_is_computed(cloudwatch, stat, first):
    [result] = data(cloudwatch, query(stat=stat), ScanBy="TimestampAscending")
    assert result["Values"][0] == first


def test_several_metrics_and_jobs_are_answered_in_one_call_in_the_order_asked(cloudwatch):
    other = [{"Name": "TrainingJobName", "Value": "job-2"}]
    host = [{"Name": "Host", "Value": "job-1/algo-1"}]
    results = data(
        cloudwatch,
        query("accuracy", number=1),
        query(dimensions=other, number=2),
        query("CPUUtilization", dimensions=host, number=3),
        query("nothing", number=4, Label="mine"),
    )
    assert [(one["Id"], one["Label"], one["Values"]) for one in results] == [
        ("m1", "accuracy", [0.5]),
        ("m2", "loss", [100.0]),
        ("m3", "CPUUtilization", [80.0]),
        ("m4", "mine", []),
    ]


def test_the_window_leaves_its_end_out(cloudwatch):
    [result] = data(cloudwatch, query(), start=BEGIN + timedelta(seconds=60), end=BEGIN + timedelta(seconds=200))
    assert result["Values"] == [5.0]


def test_what_cannot_be_computed_is_refused(cloudwatch):
    search = f"SEARCH('{{{NAMESPACE},TrainingJobName}} loss', 'Average', 60)"
    for queries in (
        [query(stat="TM(10%:90%)")],
        [query(), {"Id": "e", "Expression": "m0 * 2"}],
        [{"Id": "e", "Expression": search}],
    ):
        with pytest.raises(ClientError, match="The local SageMaker computes"):
            data(cloudwatch, *queries)


def test_statistics_of_a_job_are_what_the_sdks_analytics_ask_for(cloudwatch):
    points = cloudwatch.get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName="loss",
        Dimensions=JOB,
        StartTime=BEGIN,
        EndTime=BEGIN + timedelta(minutes=4),
        Period=60,
        Statistics=["Average", "SampleCount"],
    )["Datapoints"]
    assert sorted((point["Timestamp"], point["Average"], point["SampleCount"]) for point in points) == [
        (BEGIN, 2.0, 2.0),
        (BEGIN + timedelta(minutes=1), 5.0, 1.0),
        (BEGIN + timedelta(minutes=3), 7.0, 1.0),
    ]


def test_metrics_are_listed_by_job_host_and_name(cloudwatch):
    def listed(**params):
        found = cloudwatch.list_metrics(**params)["Metrics"]
        return sorted((one["MetricName"], one["Dimensions"][0]["Value"]) for one in found)

    assert listed(Namespace=NAMESPACE) == [
        ("CPUUtilization", "job-1/algo-1"),
        ("accuracy", "job-1"),
        ("loss", "job-1"),
        ("loss", "job-2"),
    ]
    assert listed(Namespace=NAMESPACE, Dimensions=JOB) == [("accuracy", "job-1"), ("loss", "job-1")]
    assert listed(Namespace=NAMESPACE, MetricName="loss", Dimensions=[{"Name": "TrainingJobName"}]) == [
        ("loss", "job-1"),
        ("loss", "job-2"),
    ]
    assert listed(Namespace=NAMESPACE, Dimensions=[{"Name": "Host", "Value": "job-1/algo-1"}]) == [
        ("CPUUtilization", "job-1/algo-1")
    ]


def test_what_a_client_puts_is_there_beside_what_the_jobs_emit(cloudwatch):
    cloudwatch.put_metric_data(
        Namespace=NAMESPACE,
        MetricData=[{"MetricName": "mine", "Dimensions": JOB, "Timestamp": BEGIN, "Value": 3.0}],
    )
    assert data(cloudwatch, query("mine"))[0]["Values"] == [3.0]
    cloudwatch.put_metric_data(Namespace="other", MetricData=[{"MetricName": "x", "Value": 1.0}])
    assert [one["MetricName"] for one in cloudwatch.list_metrics(Namespace="other")["Metrics"]] == ["x"]


def test_the_resource_api_of_boto3_reads_them_too(cloudwatch):
    session = boto3.Session("x", "y", region_name="us-east-1")
    endpoint = cloudwatch.meta.endpoint_url
    credentials = cloudwatch._request_signer._credentials
    resource = session.resource(
        "cloudwatch",
        endpoint_url=endpoint,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
    )
    assert [one.name for one in resource.metrics.filter(Namespace=NAMESPACE, MetricName="accuracy")] == ["accuracy"]


def test_what_a_host_uses_is_in_percent_and_a_metric_of_the_code_has_no_unit(cloudwatch):
    host = [{"Name": "Host", "Value": "job-1/algo-1"}]
    window = {"StartTime": BEGIN, "EndTime": BEGIN + timedelta(hours=1), "Period": 60, "Statistics": ["Average"]}

    def units(name, dimensions, **more):
        asked = {"Namespace": NAMESPACE, "MetricName": name, "Dimensions": dimensions, **window, **more}
        return [point["Unit"] for point in cloudwatch.get_metric_statistics(**asked)["Datapoints"]]

    assert units("CPUUtilization", host) == units("CPUUtilization", host, Unit="Percent") == ["Percent"]
    assert units("CPUUtilization", host, Unit="Bytes") == []
    assert set(units("loss", JOB)) == {"None"}
    assert units("loss", JOB, Unit="Percent") == []


def test_metrics_of_any_namespace_are_in_whole_periods(cloudwatch):
    cloudwatch.put_metric_data(
        Namespace="N",
        MetricData=[
            {"MetricName": "m", "Timestamp": BEGIN + timedelta(seconds=at), "Value": value, "Unit": unit}
            for at, value, unit in ((50, 1.0, "Count"), (70, 2.0, "Count"), (80, 4.0, "Bytes"))
        ]
        + [{"MetricName": "m", "Timestamp": BEGIN, "Values": [10.0, 20.0], "Counts": [1.0, 2.0], "Unit": "Count"}],
    )
    stat = {"Metric": {"Namespace": "N", "MetricName": "m"}, "Period": 60, "Stat": "Sum"}
    [result] = data(cloudwatch, {"Id": "a", "MetricStat": stat}, start=BEGIN + timedelta(seconds=1))
    assert (minutes(result), result["Values"]) == ([1, 0], [6.0, 1.0])
    [result] = data(cloudwatch, {"Id": "a", "MetricStat": {**stat, "Unit": "Bytes"}})
    assert result["Values"] == [4.0]
    points = cloudwatch.get_metric_statistics(
        Namespace="N",
        MetricName="m",
        StartTime=BEGIN,
        EndTime=BEGIN + timedelta(minutes=5),
        Period=300,
        Statistics=["Average", "SampleCount", "Maximum"],
        Unit="Count",
    )["Datapoints"]
    assert [(one["SampleCount"], one["Maximum"], one["Average"]) for one in points] == [(5.0, 20.0, 10.6)]


def test_members_that_would_be_ignored_are_refused(cloudwatch):
    window = {"StartTime": BEGIN, "EndTime": BEGIN + timedelta(hours=1), "Period": 60}
    with pytest.raises(ClientError, match="does not support ExtendedStatistics of GetMetricStatistics"):
        cloudwatch.get_metric_statistics(
            Namespace=NAMESPACE, MetricName="loss", Dimensions=JOB, ExtendedStatistics=["p99"], **window
        )
    values = {"SampleCount": 1.0, "Sum": 1.0, "Minimum": 1.0, "Maximum": 1.0}
    with pytest.raises(ClientError, match="does not support StatisticValues of PutMetricData"):
        cloudwatch.put_metric_data(Namespace="N", MetricData=[{"MetricName": "s", "StatisticValues": values}])


def test_many_metrics_are_listed_in_pages(cloudwatch):
    for first in (0, 300):
        names = [{"MetricName": f"m{number}", "Value": 1.0} for number in range(first, first + 300)]
        cloudwatch.put_metric_data(Namespace="many", MetricData=names)
    pages = list(cloudwatch.get_paginator("list_metrics").paginate(Namespace="many"))
    assert [len(page["Metrics"]) for page in pages] == [500, 100]
    assert len({one["MetricName"] for page in pages for one in page["Metrics"]}) == 600


def test_no_metric_is_listed_that_has_no_values(cloudwatch):
    assert {one["Namespace"] for one in cloudwatch.list_metrics()["Metrics"]} <= {NAMESPACE, "N", "many", "other"}
    assert cloudwatch.list_metrics(Namespace="AWS/S3")["Metrics"] == []
