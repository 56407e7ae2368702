from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_fakes import T0, FakeSageMaker, definition, in_pages, log_event, training_job

from sm_tuning import SpecError
from sm_tuning._wire import TRAINING_JOBS as NAMESPACE
from sm_tuning.aws import Aws
from sm_tuning.description import Metric
from sm_tuning.results import CURVES, curves
from sm_tuning.results._cloudwatch import Wanted, chunks, period_at
from sm_tuning.results._patterns import emissions

ONE, TWO = (f"job-00{number}-0000000{number}" for number in (1, 2))
NUMBER = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"


@pytest.fixture(autouse=True)
def _two_trials(sagemaker: FakeSageMaker) -> None:
    sagemaker.put("job", [training_job("job", 1, 0.5), training_job("job", 2, 0.25)])


def xgboost_lines(trial: str, start: float, values: list[tuple[float, float]]) -> list[dict[str, Any]]:
    return [
        log_event(f"{trial}/algo-1-1", start + n, f"[{n}]#011train-rmse:{train}#011validation-rmse:{validation}")
        for n, (train, validation) in enumerate(values)
    ]


def with_metrics(fake: FakeSageMaker, *metrics: tuple[str, str]) -> None:
    definitions = [{"Name": name, "Regex": regex} for name, regex in metrics]
    algorithm = {"TrainingInputMode": "File", "MetricDefinitions": definitions}
    fake.jobs["job"]["TrainingJobDefinition"] = definition(AlgorithmSpecification=algorithm)


def test_every_emission_is_a_row_with_the_printed_number(sagemaker: FakeSageMaker, aws: Aws) -> None:
    noise = [log_event(f"{ONE}/algo-1-1", 99, "Arguments: train"), log_event("job-2-001-1/algo-1-1", 100, "[0]#011x")]
    lines = [*noise, *xgboost_lines(ONE, 100, [(0.1, 1e-05), (12.5, 0.8792)]), *xgboost_lines(TWO, 200.5, [(3, 4)])]
    sagemaker.log_pages = in_pages(lines, [2, 0, 1])
    table = curves(aws, "job")
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == CURVES
    assert table["TrainingJobName"].tolist() == [ONE] * 4 + [TWO] * 2
    assert table["MetricName"].tolist() == ["train:rmse"] * 2 + ["validation:rmse"] * 2 + [
        "train:rmse",
        "validation:rmse",
    ]
    assert table["Step"].tolist() == [0, 1, 0, 1, 0, 0]
    assert table["Value"].tolist() == [0.1, 12.5, 1e-05, 0.8792, 3.0, 4.0]
    assert table["ElapsedSeconds"].tolist() == [0.0, 1.0, 0.0, 1.0, 0.5, 0.5]
    assert table["Timestamp"].iloc[1] == datetime.fromtimestamp(T0 + 101, UTC)
    assert set(table["Source"]) == {"logs"}
    assert table.attrs == {"unreadable_metrics": {}}


def test_cloudwatch_is_asked_to_leave_out_lines_that_cannot_match(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.log_pages = in_pages(xgboost_lines(ONE, 100, [(1, 2)]) + xgboost_lines(TWO, 200, [(1, 2)]), [])
    curves(aws, "job")
    patterns = [body.get("filterPattern") for operation, body in sagemaker.asked if operation == "FilterLogEvents"]
    assert patterns == ["%#011train-rmse|#011validation-rmse%"]
    with_metrics(sagemaker, ("a", "(.*)"), ("b", "loss=(.*)"))
    curves(aws, "job")
    assert "filterPattern" not in [body for op, body in sagemaker.asked if op == "FilterLogEvents"][-1]


def test_values_that_are_not_finite_are_rows_and_text_is_not(sagemaker: FakeSageMaker, aws: Aws) -> None:
    with_metrics(sagemaker, ("loss", "loss=(.*?);"))
    texts = ["1", "nan", "inf", "-inf", "none", "", "2"]
    sagemaker.log_pages = in_pages([log_event(f"{ONE}/algo-1-1", 100, f"loss={text};") for text in texts], [])
    table = curves(aws, "job", trials=1)
    assert table["Step"].tolist() == [0, 1, 2, 3, 4]
    assert [repr(value) for value in table["Value"]] == ["1.0", "nan", "inf", "-inf", "2.0"]


def test_metrics_and_trials_narrow_the_frame(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.log_pages = in_pages(xgboost_lines(ONE, 100, [(1, 2)]) + xgboost_lines(TWO, 200, [(3, 4)]), [])
    assert curves(aws, "job", metrics="train:rmse")["Value"].tolist() == [1, 3]
    assert curves(aws, "job", metrics=["train:rmse"], trials=[TWO])["Value"].tolist() == [3]
    assert curves(aws, "job", metrics=[])["Value"].tolist() == []
    with pytest.raises(SpecError, match=r"no metric 'rmse'; defined are: 'train:rmse', 'validation:rmse'"):
        curves(aws, "job", metrics="rmse")


def test_definitions_that_cannot_be_read_are_named_and_spare_the_others(sagemaker: FakeSageMaker, aws: Aws) -> None:
    with_metrics(sagemaker, ("broken", "(["), ("bare", "loss"), ("good", "loss=(.*)"))
    sagemaker.log_pages = in_pages([log_event(f"{name}/algo-1-1", 100, "loss=1") for name in (ONE, TWO)], [])
    table = curves(aws, "job")
    assert table["MetricName"].tolist() == ["good", "good"]
    assert sorted(table.attrs["unreadable_metrics"]) == ["bare", "broken"]


def test_each_definition_s_trials_are_read_by_its_own_metrics(sagemaker: FakeSageMaker, aws: Aws) -> None:
    def of(name: str, regex: str) -> dict[str, Any]:
        algorithm = {"TrainingInputMode": "File", "MetricDefinitions": [{"Name": "loss", "Regex": regex}]}
        objective = {"Type": "Minimize", "MetricName": "loss"}
        return definition(DefinitionName=name, TuningObjective=objective, AlgorithmSpecification=algorithm)

    sagemaker.put(
        "job",
        [
            training_job("job", 1, 0.5, TrainingJobDefinitionName="a"),
            training_job("job", 2, 0.5, TrainingJobDefinitionName="b"),
        ],
        TrainingJobDefinition=None,
        TrainingJobDefinitions=[of("a", r"first (\d)"), of("b", r".* second (\d)")],
    )
    line = "first 1 second 2"
    sagemaker.log_pages = in_pages([log_event(f"{name}/algo-1-1", 100, line) for name in (ONE, TWO)], [])
    assert curves(aws, "job")["Value"].tolist() == [1.0, 2.0]


def test_hosts_of_a_distributed_trial_share_the_steps_in_order_of_time(sagemaker: FakeSageMaker, aws: Aws) -> None:
    with_metrics(sagemaker, ("loss", "loss=(.*)"))
    lines = [log_event(f"{ONE}/algo-{n % 2 + 1}-1", 100 + n, f"loss={n}") for n in range(6)]
    sagemaker.log_pages = in_pages(sorted(lines, key=lambda event: event["logStreamName"]), [])
    table = curves(aws, "job", trials=1)
    assert table["Value"].tolist() == [0, 1, 2, 3, 4, 5]
    assert table["Step"].tolist() == [0, 1, 2, 3, 4, 5]


def test_cloudwatch_stands_in_for_streams_that_are_gone(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.log_pages = in_pages(xgboost_lines(ONE, 100, [(1, 2)]), [])
    for seconds, value in ((200, 4.0), (201, 6.0), (290, 3.0)):
        aws.cloudwatch.put_metric_data(
            Namespace=NAMESPACE,
            MetricData=[
                {
                    "MetricName": "validation:rmse",
                    "Dimensions": [{"Name": "TrainingJobName", "Value": TWO}],
                    "Timestamp": datetime.fromtimestamp((T0 + seconds) // 60 * 60 + 5, UTC),
                    "Value": value,
                }
            ],
        )
    table = curves(aws, "job", metrics="validation:rmse")
    assert table["Source"].tolist() == ["logs", "cloudwatch", "cloudwatch"]
    assert table["Value"].tolist() == [2.0, 5.0, 3.0]
    assert table["Step"].tolist() == [0, 0, 1]
    assert table["Timestamp"].iloc[1] == datetime.fromtimestamp((T0 + 200) // 60 * 60, UTC)


@pytest.mark.parametrize(
    "changes",
    [
        {"TrainingJobStatus": "InProgress", "TrainingEndTime": None},
        {"TrainingJobStatus": "Failed", "TrainingStartTime": None, "TrainingEndTime": None},
    ],
)
def test_a_trial_that_runs_or_never_started_gives_no_rows(
    sagemaker: FakeSageMaker, aws: Aws, changes: dict[str, Any]
) -> None:
    sagemaker.put("job", [training_job("job", 1, **changes)])
    table = curves(aws, "job")
    assert len(table) == 0
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == CURVES


@pytest.mark.parametrize("names", [[], "none", ["none", "job"]])
def test_without_metrics_or_trials_there_are_no_rows_and_the_same_columns(
    sagemaker: FakeSageMaker, aws: Aws, names: Any
) -> None:
    sagemaker.put("none", [])
    with_metrics(sagemaker)
    table = curves(aws, names)
    assert len(table) == 0
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == CURVES


@given(sizes=st.lists(st.integers(0, 5), max_size=8), values=st.lists(st.floats(allow_nan=False), max_size=12))
def test_pages_do_not_change_the_values(
    sagemaker: FakeSageMaker, aws: Aws, sizes: list[int], values: list[float]
) -> None:
    with_metrics(sagemaker, ("loss", "loss=(.*)"))
    lines = [log_event(f"{ONE}/algo-1-1", 100, f"loss={value!r}") for value in values]
    sagemaker.log_pages = in_pages(lines, sizes)
    assert curves(aws, "job", trials=1)["Value"].tolist() == values


@given(st.lists(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**18), 10**18))))
def test_the_metric_expression_finds_the_printed_number_bit_for_bit(values: list[float]) -> None:
    lines = [(n, f"[{n}]#011validation-rmse:{value!r}") for n, value in enumerate(values)]
    found = emissions(lines, [Metric("m", rf".*\[[0-9]+\].*#011validation-rmse:{NUMBER}")])
    assert [one.value for one in found] == [float(value) for value in values]
    assert [math.copysign(1, one.value) for one in found] == [math.copysign(1, value) for value in values]
    assert [one.step for one in found] == list(range(len(values)))


@pytest.mark.parametrize("text", ["12.5", "1e-05", "-3", "1e+20", ".5", "0"])
def test_numbers_as_programs_print_them_are_read(text: str) -> None:
    assert emissions([(0, f"loss: {text} end")], [Metric("loss", f"loss: {NUMBER}")]) == [("loss", 0, 0, float(text))]


def test_only_the_first_match_of_a_line_counts_and_an_empty_group_is_no_value() -> None:
    metric = Metric("m", r"m=(\d+)|nothing")
    assert [one.value for one in emissions([(0, "m=1 m=2"), (1, "nothing"), (2, "m=3")], [metric])] == [1.0, 3.0]


def test_two_expressions_of_one_name_are_one_metric_in_order_of_the_lines() -> None:
    metrics = [Metric("m", "a=(.*)"), Metric("m", "b=(.*)")]
    found = emissions([(0, "b=1"), (1, "a=2")], metrics)
    assert [(one.step, one.value) for one in found] == [(0, 1.0), (1, 2.0)]


@pytest.mark.parametrize(
    ("days", "period"), [(0, 60), (14.9, 60), (15, 300), (62, 300), (63, 3600), (454, 3600), (455, None)]
)
def test_the_period_is_the_finest_that_cloudwatch_still_has(days: float, period: int | None) -> None:
    assert period_at(timedelta(days=days)) == period


@given(
    st.lists(st.tuples(st.sampled_from([60, 300, 3600]), st.integers(0, 9_000), st.integers(1, 3_000)), max_size=1200),
)
def test_chunks_keep_the_limits_of_a_call_and_lose_nothing(shapes: list[tuple[int, int, int]]) -> None:
    zero = datetime(2026, 1, 1, tzinfo=UTC)
    queries = [
        Wanted(f"t{n}", "m", period, zero + timedelta(minutes=start), zero + timedelta(minutes=start + length))
        for n, (period, start, length) in enumerate(shapes)
    ]
    made = list(chunks(queries))
    assert sorted(query for chunk in made for query in chunk) == sorted(queries)
    for chunk in made:
        minutes = max(one.end for one in chunk) - min(one.start for one in chunk)
        assert len({one.period for one in chunk}) == 1
        assert len(chunk) <= 500
        assert len(chunk) == 1 or len(chunk) * minutes.total_seconds() / chunk[0].period <= 180_000


def attempts(*starts: float) -> list[dict[str, Any]]:
    """The transitions of a trial that began to prepare at these times, and to train 5 s later each time."""
    phases = [(status, start + late) for start in starts for status, late in (("Starting", 0), ("Training", 5))]
    return [{"Status": status, "StartTime": T0 + start} for status, start in phases]


def rerun(sagemaker: FakeSageMaker, **changes: Any) -> None:
    """One trial whose first attempt was killed after two values, and whose second one wrote three."""
    sagemaker.put("job", [training_job("job", 1, 0.5, SecondaryStatusTransitions=attempts(90, 150), **changes)])
    with_metrics(sagemaker, ("loss", "loss=(.*)"))
    lines = [log_event(f"{ONE}/algo-1-1", 100 + n, f"loss={n}") for n in (1, 2, 60, 61, 62)]
    sagemaker.log_pages = in_pages(lines, [])


def test_a_trial_that_was_trained_again_has_the_curve_of_its_last_attempt(sagemaker: FakeSageMaker, aws: Aws) -> None:
    rerun(sagemaker)
    table = curves(aws, "job")
    assert table["Value"].tolist() == [60, 61, 62]
    assert table["Step"].tolist() == [0, 1, 2]


def test_a_running_trial_has_the_curve_of_its_last_attempt_too(sagemaker: FakeSageMaker, aws: Aws) -> None:
    rerun(sagemaker, TrainingJobStatus="InProgress", TrainingEndTime=None)
    assert curves(aws, "job")["Value"].tolist() == [60, 61, 62]


def test_with_checkpoints_the_steps_continue_over_the_attempts(sagemaker: FakeSageMaker, aws: Aws) -> None:
    rerun(sagemaker)
    sagemaker.jobs["job"]["TrainingJobDefinition"]["CheckpointConfig"] = {"S3Uri": "s3://b/c"}
    assert curves(aws, "job")["Step"].tolist() == [0, 1, 2, 3, 4]
    assert sagemaker.calls["Search"] == sagemaker.calls["DescribeTrainingJob"] == 0


def test_averages_of_an_earlier_attempt_are_left_out(sagemaker: FakeSageMaker, aws: Aws) -> None:
    minute = T0 // 60 * 60
    begun = [minute - T0, minute - T0 + 600]
    sagemaker.put("job", [training_job("job", 2, 0.5, SecondaryStatusTransitions=attempts(*begun))])
    sagemaker.trials["job"][0] |= {"TrainingStartTime": float(minute), "TrainingEndTime": minute + 900.0}
    sagemaker.log_pages = in_pages([], [])
    data = [(5, 9.0), (605, 1.0), (665, 2.0)]
    for seconds, value in data:
        point = {
            "MetricName": "train:rmse",
            "Dimensions": [{"Name": "TrainingJobName", "Value": TWO}],
            "Timestamp": datetime.fromtimestamp(minute + seconds, UTC),
            "Value": value,
        }
        aws.cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=[point])
    table = curves(aws, "job", metrics="train:rmse")
    assert table[["Step", "Value"]].to_numpy().tolist() == [[0, 1.0], [1, 2.0]]
