"""How busy the machines were, and what they cost."""

from __future__ import annotations

import gzip
import json
import math
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pandas as pd
import pytest
from moto.backends import get_backend
from results_fakes import REGION, T0, FakeSageMaker, definition, price_of, training_job

from sm_tuning import SpecError
from sm_tuning._machines import cpus_of, gpus_of
from sm_tuning._wire import TRAINING_JOBS as NAMESPACE
from sm_tuning.aws import Aws
from sm_tuning.results import (
    COST,
    UTILIZATION,
    UTILIZATION_SUMMARY,
    Clock,
    Reading,
    ResultsWarning,
    cost,
    trials,
    utilization,
    utilization_summary,
)
from sm_tuning.results._utilization import Load, sentences

ONE, TWO = (f"job-00{number}-0000000{number}" for number in (1, 2))


@pytest.fixture(autouse=True)
def _no_measurements(aws: Aws) -> None:
    get_backend("cloudwatch").reset()


def on(instance_type: str, count: int = 1, **changes: Any) -> dict[str, Any]:
    """A definition whose trials run on these machines."""
    return definition(ResourceConfig={"InstanceType": instance_type, "InstanceCount": count, **changes})


def measure(aws: Aws, host: str, metric: str, *values: tuple[float, float]) -> None:
    """Have measurements, by seconds after the tests' zero."""
    data = [
        {
            "MetricName": metric,
            "Dimensions": [{"Name": "Host", "Value": host}],
            "Timestamp": datetime.fromtimestamp((T0 + seconds) // 60 * 60, UTC),
            "Value": value,
        }
        for seconds, value in values
    ]
    aws.cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data)


def dtypes(table: pd.DataFrame) -> dict[str, str]:
    return {name: str(dtype) for name, dtype in table.dtypes.items()}


# --- instance types


def ec2_types() -> dict[str, Any]:
    """EC2's own descriptions of its instance types."""
    file = resources.files("moto") / "ec2" / "resources" / "instance_types.json.gz"
    return json.loads(gzip.decompress(file.read_bytes()))


def test_cpus_and_gpus_are_those_that_ec2_says_of_every_type_that_trains() -> None:
    described = ec2_types()
    model = botocore.session.get_session().get_service_model("sagemaker")
    known = {
        name: described[name[3:]] for name in model.shape_for("TrainingInstanceType").enum if name[3:] in described
    }
    assert len(known) > 120
    for name, facts in known.items():
        assert cpus_of(name) == facts["VCpuInfo"]["DefaultVCpus"], name
        gpus = sum(gpu["Count"] for gpu in facts.get("GpuInfo", {}).get("Gpus", ()))
        assert gpus_of(name) == gpus, name


@pytest.mark.parametrize("name", ["local", "ml.q1.huge", "ml.g99.xlarge", "m5.large", ""])
def test_of_an_unknown_type_no_gpus_are_made_up(name: str) -> None:
    assert gpus_of(name) is None


# --- utilization


def test_cpu_and_gpu_are_shares_of_the_whole_machine_for_every_host(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put("job", [training_job("job", 1, 0.5)], TrainingJobDefinition=on("ml.g5.12xlarge", 2))
    measure(aws, f"{ONE}/algo-1", "CPUUtilization", (120, 2400.0))  # of 48 CPUs
    measure(aws, f"{ONE}/algo-2", "GPUUtilization", (120, 400.0))  # of 4 GPUs
    measure(aws, f"{ONE}/algo-2", "GPUMemoryUtilization", (120, 100.0))
    measure(aws, f"{ONE}/algo-2", "MemoryUtilization", (120, 40.0))
    measure(aws, f"{ONE}/algo-2", "DiskUtilization", (120, 7.5))
    table = utilization(aws, "job")
    assert dtypes(table) == UTILIZATION
    assert table["Host"].tolist() == ["algo-1", *["algo-2"] * 4]
    assert dict(zip(table["MetricName"], table["Value"], strict=True)) == {
        "CPUUtilization": 50.0,
        "MemoryUtilization": 40.0,
        "DiskUtilization": 7.5,
        "GPUUtilization": 100.0,
        "GPUMemoryUtilization": 25.0,
    }
    assert table.attrs["machines"] == {"": [{"InstanceType": "ml.g5.12xlarge", "InstanceCount": 2}]}


def test_machines_without_gpus_are_not_asked_for_them_and_calls_are_shared(sagemaker: FakeSageMaker, aws: Aws) -> None:
    jobs = [training_job("job", n, 0.5) for n in range(1, 151)]
    sagemaker.put("job", jobs, TrainingJobDefinition=on("ml.m5.large"))
    aws.cloudwatch.put_metric_data(Namespace="x", MetricData=[{"MetricName": "x", "Value": 1}])
    counted: list[int] = []
    aws.cloudwatch.meta.events.register_first(
        "before-parameter-build.cloudwatch.GetMetricData",
        lambda params, **_: counted.append(len(params["MetricDataQueries"])),
        unique_id="counting",
    )
    utilization(aws, "job")
    aws.cloudwatch.meta.events.unregister("before-parameter-build.cloudwatch.GetMetricData", unique_id="counting")
    assert counted == [450]
    assert sagemaker.calls == {
        "DescribeHyperParameterTuningJob": 1,
        "ListTrainingJobsForHyperParameterTuningJob": 2,
    }


def test_a_type_that_the_service_chose_is_read_from_the_trial(sagemaker: FakeSageMaker, aws: Aws) -> None:
    configs = [{"InstanceType": f"ml.m5.{size}", "InstanceCount": 1} for size in ("large", "4xlarge")]
    chosen = {"InstanceType": "ml.m5.4xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1}
    sagemaker.put(
        "job",
        [training_job("job", 1, 0.5, ResourceConfig=chosen)],
        TrainingJobDefinition=definition(HyperParameterTuningResourceConfig={"InstanceConfigs": configs}),
    )
    measure(aws, f"{ONE}/algo-1", "CPUUtilization", (120, 800.0))
    assert utilization(aws, "job")["Value"].tolist() == [50.0]


def test_what_cannot_be_a_share_is_nan_with_a_warning(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put("job", [training_job("job", 1, 0.5)], TrainingJobDefinition=on("ml.g99.new"))
    measure(aws, f"{ONE}/algo-1", "CPUUtilization", (120, 90.0))
    measure(aws, f"{ONE}/algo-1", "MemoryUtilization", (120, 30.0))
    with pytest.warns(ResultsWarning, match=r"ml\.g99\.new"):
        table = utilization(aws, "job")
    assert math.isnan(table["Value"].iloc[0])
    assert table["Value"].iloc[1] == 30.0


@pytest.mark.parametrize(
    "trial", [{"TrainingJobStatus": "Failed", "TrainingStartTime": None, "TrainingEndTime": None}, None]
)
def test_without_measurements_there_are_no_rows_and_the_same_columns(
    sagemaker: FakeSageMaker, aws: Aws, trial: dict[str, Any] | None
) -> None:
    jobs = [] if trial is None else [training_job("job", 1, **trial)]
    sagemaker.put("job", jobs, TrainingJobDefinition=on("ml.m5.large"))
    table = utilization(aws, "job")
    assert len(table) == 0
    assert dtypes(table) == UTILIZATION
    summary = utilization_summary(table)
    assert dtypes(summary) == UTILIZATION_SUMMARY
    assert summary.attrs["hints"] == []


def test_the_summary_is_over_all_hosts_and_hints_at_the_size(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put(
        "job",
        [training_job("job", 1, 0.5, TrainingEndTime=float(T0 + 3600))],
        TrainingJobDefinition=on("ml.m5.4xlarge", 2),
    )
    for host in ("algo-1", "algo-2"):
        measure(aws, f"{ONE}/{host}", "CPUUtilization", *((120 + 60 * n, 16.0 * n) for n in range(11)))
        measure(aws, f"{ONE}/{host}", "MemoryUtilization", (120, 20.0))
    summary = utilization_summary(utilization(aws, "job"))
    cpu = summary.set_index("MetricName").loc["CPUUtilization"]
    assert (cpu["InstanceType"], cpu["InstanceCount"]) == ("ml.m5.4xlarge", 2)
    assert (cpu["Mean"], cpu["P95"], cpu["Max"]) == pytest.approx((5.0, 9.95, 10.0))
    (hint,) = summary.attrs["hints"]
    assert hint.startswith("ml.m5.4xlarge: ")
    assert "8 instead of 16 CPUs would do" in hint


@pytest.mark.parametrize(
    ("instance_type", "load", "expected"),
    [
        ("ml.m5.4xlarge", Load(45, 45, 1, None, None), "8 instead of 16"),
        ("ml.m5.4xlarge", Load(46, 45, 1, None, None), None),
        ("ml.m5.4xlarge", Load(10, 46, 1, None, None), None),
        ("ml.m5.large", Load(1, 1, 1, None, None), None),
        ("ml.m5.large", Load(50, 91, 1, None, None), "memory was 91% full"),
        ("ml.m5.large", Load(50, 50, 95, None, None), "volume_size"),
        ("ml.g5.xlarge", Load(50, 50, 1, 3, 5), "without GPU"),
        ("ml.g5.xlarge", Load(95, 50, 1, 30, 5), "wait for data"),
        ("ml.g5.12xlarge", Load(50, 50, 1, 30, 40), "2 instead of 4"),
        ("ml.g5.12xlarge", Load(50, 50, 1, 90, 80), None),
        ("ml.g5.xlarge", Load(50, 50, 1, 90, 97), "GPU memory was 97%"),
    ],
)
def test_a_hint_says_the_measurement_and_a_right_size_gives_none(
    instance_type: str, load: Load, expected: str | None
) -> None:
    said = list(sentences(instance_type, load))
    assert (len(said) == 1 and expected in said[0]) if expected else said == []


# --- cost


def with_machine(number: int, value: float | None = 0.5, **changes: Any) -> dict[str, Any]:
    config = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 30}
    return training_job("job", number, value, **{"ResourceConfig": config, **changes})


PRICES = {"ml.m5.large": 0.115, "ml.m5.xlarge": 0.23}


def test_cost_is_billable_time_times_instances_times_price(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put("job", [with_machine(1), with_machine(2, BillableTimeInSeconds=3600)])
    table = cost(aws, "job", prices=PRICES)
    assert dtypes(table) == COST
    assert table["TrainingJobName"].tolist() == [ONE, TWO]
    assert table["InstanceCount"].tolist() == [2, 2]
    assert table["BillableTimeInSeconds"].tolist() == [55, 3600]
    assert table["PricePerHour"].tolist() == [0.115, 0.115]
    assert table["Cost"].tolist() == pytest.approx([55 / 3600 * 2 * 0.115, 0.23], rel=1e-12)
    assert table.attrs["total"] == pytest.approx(0.23 + 55 / 3600 * 0.23, rel=1e-12)
    assert table.attrs["so_far"] == table.attrs["projected"] == table.attrs["total"]
    assert table.attrs["spot_savings"] is None
    assert (table.attrs["currency"], table.attrs["price_source"]) == ("USD", "given")
    json.dumps(table.attrs)


def test_spot_savings_are_the_share_that_was_not_billed(sagemaker: FakeSageMaker, aws: Aws) -> None:
    spot = {"EnableManagedSpotTraining": True}
    jobs = [
        with_machine(1, TrainingTimeInSeconds=100, BillableTimeInSeconds=30, **spot),
        with_machine(2, TrainingTimeInSeconds=300, BillableTimeInSeconds=90, **spot),
    ]
    sagemaker.put("job", jobs)
    table = cost(aws, "job", prices=PRICES)
    assert table.attrs["spot_savings"] == pytest.approx(0.7)
    assert table.attrs["total"] == pytest.approx(120 / 3600 * 2 * 0.115)


def test_cost_so_far_counts_what_runs_and_the_projection_what_is_to_come(sagemaker: FakeSageMaker, aws: Aws) -> None:
    now = datetime.fromtimestamp(T0 + 300 + 1800, UTC)
    running = with_machine(
        3, TrainingJobStatus="InProgress", TrainingEndTime=None, BillableTimeInSeconds=None, FailureReason=None
    )
    jobs = [with_machine(1, BillableTimeInSeconds=3600), with_machine(2, BillableTimeInSeconds=7200), running]
    sagemaker.put("job", jobs, HyperParameterTuningJobStatus="InProgress")
    limit = {"StoppingCondition": {"MaxRuntimeInSeconds": 3600}}
    sagemaker.jobs["job"]["TrainingJobDefinition"] = on("ml.m5.large", 2) | limit
    table = cost(aws, "job", prices=PRICES, reading=Reading(clock=Clock(now=lambda: now)))
    hour = 2 * 0.115
    assert math.isnan(table["Cost"].iloc[2])
    assert table.attrs["total"] == pytest.approx(3 * hour)
    assert table.attrs["so_far"] == pytest.approx(3.5 * hour)
    mean = 1.5 * hour
    assert table.attrs["projected"] == pytest.approx(3 * hour + mean + 6 * mean)  # 9 trials, 3 of them launched


#: Older releases of botocore drop this member of a search's answer.
needs_warm_pools = pytest.mark.skipif(
    "WarmPoolStatus"
    not in botocore.session.get_session().get_service_model("sagemaker").shape_for("TrainingJob").members,
    reason="botocore's model of Search has no warm pools",
)


@needs_warm_pools
def test_the_time_for_which_a_warm_pool_was_kept_is_part_of_the_cost(sagemaker: FakeSageMaker, aws: Aws) -> None:
    kept = {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": 69}
    config = {"InstanceType": "ml.m4.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}
    trial = training_job("job", 1, 0.5, BillableTimeInSeconds=31, WarmPoolStatus=kept, ResourceConfig=config)
    sagemaker.put("job", [trial])
    table = cost(aws, "job", prices={"ml.m4.xlarge": 0.24})
    assert table["Cost"].tolist() == pytest.approx([100 / 3600 * 0.24])
    assert table["ResourceRetainedBillableTimeInSeconds"].tolist() == [69]


def test_warm_pools_that_botocore_drops_from_a_search_are_described(
    sagemaker: FakeSageMaker, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": 50}
    sagemaker.put("job", [with_machine(1, BillableTimeInSeconds=50, WarmPoolStatus=kept)])
    # As the model of botocore 1.43 has it; operations that were read before would keep the member.
    model = aws.sagemaker.meta.service_model
    monkeypatch.delitem(model._shape_resolver._shape_map["TrainingJob"]["members"], "WarmPoolStatus", raising=False)
    monkeypatch.setattr(model, "_instance_cache", {})
    aws.close()
    searched = trials(aws, "job")
    table = cost(aws, "job", prices=PRICES)
    aws.close()

    assert searched.attrs["billable_source"] == "Search"
    assert searched["WarmPoolStatus"].isna().all()
    assert table["ResourceRetainedBillableTimeInSeconds"].tolist() == [50]
    assert table.attrs["total"] == pytest.approx(100 / 3600 * 0.23)


@needs_warm_pools
def test_the_cost_of_an_open_warm_pool_is_read_again(
    sagemaker: FakeSageMaker, aws: Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pool = {"Status": "Available", "ResourceRetainedBillableTimeInSeconds": 10}
    sagemaker.put("job", [with_machine(1, BillableTimeInSeconds=50, WarmPoolStatus=pool)])
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    sagemaker.register(session)
    environ = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "SM_TUNING_CACHE_DIR": str(tmp_path)}
    with Aws(session, region=REGION, endpoint_url=None, environ=environ) as there:
        assert cost(there, "job", prices=PRICES).attrs["total"] == pytest.approx(60 / 3600 * 0.23)
        pool |= {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": 40}
        assert cost(there, "job", prices=PRICES).attrs["total"] == pytest.approx(90 / 3600 * 0.23)


def test_a_trial_that_never_reported_its_end_counts_up_to_its_longest_runtime(
    sagemaker: FakeSageMaker, aws: Aws
) -> None:
    lost = {"TrainingJobStatus": "InProgress", "TrainingEndTime": None, "BillableTimeInSeconds": None}
    limit = {"StoppingCondition": {"MaxRuntimeInSeconds": 600}}
    definition_ = on("ml.m5.large", 2) | limit
    sagemaker.put("job", [with_machine(1, None, FailureReason=None, **lost)], TrainingJobDefinition=definition_)
    table = cost(aws, "job", prices=PRICES)  # two days later
    assert table.attrs["so_far"] == pytest.approx(600 / 3600 * 0.23)


def test_without_prices_no_total_of_a_running_job_is_0(sagemaker: FakeSageMaker, aws: Aws) -> None:
    running = {"TrainingJobStatus": "InProgress", "TrainingEndTime": None, "BillableTimeInSeconds": None}
    never = {"TrainingStartTime": None, "TrainingEndTime": None, "BillableTimeInSeconds": None}
    trials = [with_machine(1, None, FailureReason=None, **running)]
    sagemaker.put("job", trials, HyperParameterTuningJobStatus="InProgress")
    sagemaker.jobs["job"]["TrainingJobDefinition"] = on("ml.m5.large", 2)
    with pytest.warns(ResultsWarning, match="no prices"):
        table = cost(aws, "job")
    assert math.isnan(table.attrs["total"])
    assert math.isnan(table.attrs["so_far"])
    # A trial that ended before it started costs 0, which says nothing about the running one.
    sagemaker.trials["job"] = [*trials, with_machine(2, None, **never)]
    with pytest.warns(ResultsWarning, match="no prices"):
        table = cost(aws, "job")
    assert all(math.isnan(table.attrs[name]) for name in ("total", "so_far", "projected"))


def test_groups_of_a_mixed_cluster_are_rows_of_their_own(sagemaker: FakeSageMaker, aws: Aws) -> None:
    groups = [
        {"InstanceGroupName": "a", "InstanceType": "ml.m5.large", "InstanceCount": 1},
        {"InstanceGroupName": "b", "InstanceType": "ml.m5.xlarge", "InstanceCount": 3},
    ]
    sagemaker.put("job", [with_machine(1, ResourceConfig={"InstanceGroups": groups}, BillableTimeInSeconds=3600)])
    table = cost(aws, "job", prices=PRICES)
    assert table["Cost"].tolist() == pytest.approx([0.115, 0.69])


def test_a_missing_price_is_nan_with_a_warning_and_never_0(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put("job", [with_machine(1)])
    with pytest.warns(ResultsWarning, match=r"no price of ml\.m5\.large in given.*SM_TUNING_PRICES"):
        table = cost(aws, "job", prices={"ml.c5.large": 1})
    assert math.isnan(table["Cost"].iloc[0])
    assert math.isnan(table.attrs["total"])


def test_a_server_on_this_machine_has_no_prices_and_nobody_is_asked(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put("job", [with_machine(1)])
    with pytest.warns(ResultsWarning, match="a server on this machine has no prices"):
        assert math.isnan(cost(aws, "job")["PricePerHour"].iloc[0])
    assert sagemaker.calls["GetProducts"] == 0


def test_a_trial_that_never_started_costs_nothing_and_unbilled_time_is_nan(sagemaker: FakeSageMaker, aws: Aws) -> None:
    never = {"TrainingStartTime": None, "TrainingEndTime": None, "BillableTimeInSeconds": None}
    sagemaker.put("job", [with_machine(1, None, **never), with_machine(2, None, BillableTimeInSeconds=None)])
    with pytest.warns(ResultsWarning, match="does not report the billable seconds of 1 trials"):
        table = cost(aws, "job", prices=PRICES)
    assert table["Cost"].iloc[0] == 0
    assert math.isnan(table["Cost"].iloc[1])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.yaml", "ml.m5.large: 0.115\n"),
        ("p.json", '{"ml.m5.large": 0.115}'),
        ("p.csv", "InstanceType,PricePerHour\nml.m5.large,0.115\n"),
    ],
)
@pytest.mark.parametrize("by_environment", [False, True])
def test_prices_come_from_a_file(
    sagemaker: FakeSageMaker, aws: Aws, tmp_path: Path, name: str, text: str, by_environment: bool
) -> None:
    sagemaker.put("job", [with_machine(1)])
    path = tmp_path / name
    path.write_text(text)
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    sagemaker.register(session)
    environ = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"} | ({"SM_TUNING_PRICES": str(path)} if by_environment else {})
    with Aws(session, region=REGION, endpoint_url=None, environ=environ) as there:
        table = cost(there, "job", prices=None if by_environment else path)
    assert table["PricePerHour"].tolist() == [0.115]
    assert table.attrs["price_source"] == str(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.yaml", "- ml.m5.large"),
        ("p.yaml", "ml.m5.large: cheap"),
        ("p.yaml", "ml.m5.large: -1"),
        ("p.yaml", "ml.m5.large: .nan"),
        ("p.yaml", "a: [b"),
        ("p.csv", "type,price\nml.m5.large,1\n"),
        ("missing.yaml", None),
    ],
)
def test_prices_that_cannot_be_read_are_an_error(
    sagemaker: FakeSageMaker, aws: Aws, tmp_path: Path, name: str, text: str | None
) -> None:
    sagemaker.put("job", [with_machine(1)])
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(SpecError, match=r"price|columns"):
        cost(aws, "job", prices=tmp_path / name)


def test_the_price_list_is_asked_once_for_a_region_and_kept(sagemaker: FakeSageMaker, tmp_path: Path) -> None:
    sagemaker.put("job", [with_machine(1)])
    sagemaker.products = [
        price_of("ml.m5.large", "0.1150000000"),
        price_of("ml.m5.xlarge", "0.2300000000"),
        {**price_of("ml.m5.large", "0.0000000000"), "terms": {}},
    ]
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-west-1")
    sagemaker.register(session)
    with Aws(session, region="eu-west-1", endpoint_url=None, environ={"SM_TUNING_CACHE_DIR": str(tmp_path)}) as there:
        for _ in range(2):
            table = cost(there, "job")
            assert table["PricePerHour"].tolist() == [0.115]
    assert sagemaker.calls["GetProducts"] == 1
    (body,) = [body for operation, body in sagemaker.asked if operation == "GetProducts"]
    assert body["ServiceCode"] == "AmazonSageMaker"
    assert {entry["Field"]: entry["Value"] for entry in body["Filters"]} == {
        "regionCode": "eu-west-1",
        "component": "Training",
    }
    assert table.attrs["price_source"].startswith("AWS Price List, ")


def product(attributes: dict[str, str], usd: str = "0.269") -> dict[str, Any]:
    whole = price_of("", usd)
    whole["product"]["attributes"] = {"component": "Training", "regionCode": "eu-west-1", **attributes}
    return whole


@pytest.mark.parametrize(
    "attributes",
    [
        {"instanceName": "ml.m5.large-Training"},
        {"instanceName": "ml.m5.large-training"},
        {"instanceType": "ml.m5.large-TRAINING"},
        {"usagetype": "EUW1-Train:ml.m5.large"},
        {"usagetype": "Train:ml.m5.large", "locationType": "AWS Region"},
    ],
)
def test_a_product_names_its_instance_type_in_one_of_several_ways(
    sagemaker: FakeSageMaker, attributes: dict[str, str]
) -> None:
    sagemaker.put("job", [with_machine(1)])
    zone = {"instanceName": "ml.m5.large", "locationType": "AWS Local Zone"}
    other = {"usagetype": "EUW1-Host:ml.m5.large"}
    sagemaker.products = [product(attributes), product(zone, "9.99"), product(other, "8.88")]
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-west-1")
    sagemaker.register(session)
    with Aws(session, region="eu-west-1", endpoint_url=None, environ={"SM_TUNING_CACHE_DIR": ""}) as there:
        assert cost(there, "job")["PricePerHour"].tolist() == [0.269]


@pytest.mark.parametrize("usd", ["free", "", "NaN", "-1", "inf"])
def test_a_price_that_is_not_a_number_is_a_warning(sagemaker: FakeSageMaker, tmp_path: Path, usd: str) -> None:
    sagemaker.put("job", [with_machine(1)])
    sagemaker.products = [price_of("ml.m5.large", usd), price_of("ml.m5.xlarge", "0.23"), ["broken"]]  # type: ignore[list-item]
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-west-1")
    sagemaker.register(session)
    environ = {"SM_TUNING_CACHE_DIR": str(tmp_path)}
    with Aws(session, region="eu-west-1", endpoint_url=None, environ=environ) as there:
        with pytest.warns(ResultsWarning, match=r"no price of ml\.m5\.large in AWS Price List.*not a price: ml\.m5"):
            assert math.isnan(cost(there, "job")["Cost"].iloc[0])
        sagemaker.products = [price_of("ml.m5.large", "0.115")]
        assert cost(there, "job")["PricePerHour"].tolist() == [0.115]  # an invalid list was not cached
