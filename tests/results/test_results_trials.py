from __future__ import annotations

import math
import random
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_fakes import T0, FakeSageMaker, RefusalError, definition, training_job, tuning_job

from sm_tuning import AccessDeniedError, CredentialsError, JobNotFoundError, jobs
from sm_tuning.aws import Aws
from sm_tuning.description import Trial, encode, job_of
from sm_tuning.results import TRIALS, analysis, trials
from sm_tuning.results._trials import best_so_far

TUNED = {"depth": "Int64", "eta": "float64", "booster": "string"}


def dtypes(table: pd.DataFrame) -> dict[str, str]:
    return {name: str(dtype) for name, dtype in table.dtypes.items()}


def test_a_finished_job_gives_the_columns_of_the_contract_in_their_order(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put("job", [training_job("job", 1, 0.5), training_job("job", 2, 0.25), training_job("job", 3)])
    table = trials(aws, "job")
    assert dtypes(table) == {**TUNED, **TRIALS, "metric:train:rmse": "float64"}
    assert list(table)[3 : 3 + len(TRIALS)] == list(TRIALS)
    assert table["depth"].tolist() == [1, 2, 3]
    assert table["eta"].tolist() == [1 / 7, 2 / 7, 3 / 7]
    assert table["booster"].tolist() == ["dart"] * 3
    assert table["FinalObjectiveValue"].tolist()[:2] == [0.5, 0.25]
    assert table["BestSoFar"].tolist() == [0.5, 0.25, 0.25]
    assert table["IsBest"].tolist() == [False, True, False]
    assert table["TrainingStartTime"].iloc[0] == pd.Timestamp(T0 + 100, unit="s", tz="UTC")
    assert table["TrainingElapsedTimeSeconds"].tolist() == [60.0] * 3
    assert table["BillableTimeInSeconds"].tolist() == [55] * 3
    assert table["FailureReason"].tolist() == [pd.NA, pd.NA, "AlgorithmError: , exit code: 1"]
    assert table["TrainingJobDefinitionName"].isna().all()
    assert table["metric:train:rmse"].tolist()[:2] == [0.5, 0.5]


def test_a_hundred_trials_cost_one_describe_and_one_page_each_of_list_and_search(
    sagemaker: FakeSageMaker, aws: Aws
) -> None:
    sagemaker.put("job", [training_job("job", number, number / 8) for number in range(1, 102)])
    table = trials(aws, ["job", "job"])
    assert len(table) == 101
    assert table.attrs == {"billable_source": "Search"}
    assert sagemaker.calls == {
        "DescribeHyperParameterTuningJob": 1,
        "ListTrainingJobsForHyperParameterTuningJob": 2,
        "Search": 2,
    }


@pytest.mark.parametrize("code", ["ValidationException", "UnknownOperationException", "AccessDeniedException"])
def test_without_search_each_trial_is_described_and_the_frame_says_so(
    sagemaker: FakeSageMaker, aws: Aws, code: str
) -> None:
    sagemaker.put("job", [training_job("job", number, 1.0) for number in range(1, 21)])
    searched = trials(aws, "job")
    sagemaker.refusals["Search"] = RefusalError(code, "no")
    described = trials(aws, "job")
    pd.testing.assert_frame_equal(searched, described)
    assert described.attrs == {"billable_source": "DescribeTrainingJob"}
    assert sagemaker.calls["DescribeTrainingJob"] == 20


def test_wrong_credentials_are_an_error_even_where_only_search_shows_them(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put("job", [training_job("job", 1, 1.0)])
    sagemaker.refusals["Search"] = RefusalError("ExpiredTokenException", "expired")
    with pytest.raises(CredentialsError):
        trials(aws, "job")


def test_describing_may_be_denied_only_with_an_error(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put("job", [training_job("job", 1, 1.0)])
    sagemaker.refusals = {
        name: RefusalError("AccessDeniedException", "no") for name in ("Search", "DescribeTrainingJob")
    }
    with pytest.raises(AccessDeniedError):
        trials(aws, "job")


def test_what_the_index_of_search_does_not_know_yet_is_described(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put("job", [training_job("job", number, 1.0) for number in (1, 2, 3)])
    sagemaker.unsearchable = {sagemaker.trials["job"][1]["TrainingJobName"]}
    sagemaker.outdated = {sagemaker.trials["job"][2]["TrainingJobName"]}
    table = trials(aws, "job")
    assert table["BillableTimeInSeconds"].tolist() == [55, 55, 55]
    assert table["metric:train:rmse"].tolist() == [0.5, 0.5, 0.5]
    assert table.attrs == {"billable_source": "Search and DescribeTrainingJob"}
    assert sagemaker.calls["DescribeTrainingJob"] == 2


def test_a_deleted_training_job_keeps_its_row_without_billable_seconds(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put("job", [training_job("job", 1, 1.0), training_job("job", 2, 2.0, _deleted=True)])
    sagemaker.unsearchable = {sagemaker.trials["job"][1]["TrainingJobName"]}
    assert trials(aws, "job")["BillableTimeInSeconds"].tolist() == [55, pd.NA]


def test_a_running_job_has_its_running_trials_last_and_asks_for_no_details_of_them(
    sagemaker: FakeSageMaker, aws: Aws
) -> None:
    running = training_job("job", 1, objective_status="Pending", TrainingJobStatus="InProgress")
    for member in ("TrainingEndTime", "TrainingStartTime", "BillableTimeInSeconds", "FailureReason"):
        del running[member]
    sagemaker.put("job", [running], HyperParameterTuningJobStatus="InProgress")
    table = trials(aws, "job")
    assert dtypes(table) == {**TUNED, **TRIALS}
    row = table.iloc[0]
    assert row["TrainingStartTime"] is pd.NaT
    assert not row["IsBest"]
    assert math.isnan(row["BestSoFar"])
    assert "Search" not in sagemaker.calls
    assert table.attrs == {"billable_source": None}
    sagemaker.trials["job"].append(training_job("job", 2, 0.5))
    table = trials(aws, "job")
    assert table["TrainingJobStatus"].tolist() == ["Completed", "InProgress"]
    assert table["BestSoFar"].tolist() == [0.5, 0.5]


def test_a_failed_job_without_any_finished_trial_gives_the_whole_frame(sagemaker: FakeSageMaker, aws: Aws) -> None:
    failed = [training_job("job", number, TrainingStartTime=None, TrainingEndTime=None) for number in range(1, 6)]
    sagemaker.put("job", failed, HyperParameterTuningJobStatus="Failed")
    table = trials(aws, "job")
    assert dtypes(table) == {**TUNED, **TRIALS}
    assert table["TrainingJobStatus"].eq("Failed").all()
    assert table["BestSoFar"].isna().all()
    assert not table["IsBest"].any()
    assert table["depth"].tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("names", ["job", ["job"], [], ["job", "more"]])
def test_no_trials_give_no_rows_and_the_same_columns(sagemaker: FakeSageMaker, aws: Aws, names: Any) -> None:
    sagemaker.put("job", [])
    sagemaker.put("more", [])
    table = trials(aws, names)
    expected = {**TUNED, **TRIALS} if names else dict(TRIALS)
    assert dtypes(table) == expected
    assert len(table) == 0


def test_a_script_has_a_column_for_each_metric_that_it_defines_and_a_built_in_algorithm_for_those_emitted(
    sagemaker: FakeSageMaker, aws: Aws
) -> None:
    silent = training_job("job", 1, objective_status="Failed")
    silent.pop("FinalMetricDataList", None)
    sagemaker.put("job", [silent])
    assert "metric:train:rmse" not in trials(aws, "job")
    definitions = sagemaker.jobs["job"]["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"]
    definitions[:] = [entry for entry in definitions if entry["Name"] != "ObjectiveMetric"]
    assert trials(aws, "job")["metric:train:rmse"].isna().all()


def test_several_jobs_share_the_union_of_their_columns(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put("one", [training_job("one", 1, 0.5)])
    other = tuning_job("two")
    other["HyperParameterTuningJobConfig"]["ParameterRanges"] = {
        "ContinuousParameterRanges": [
            {"Name": "depth", "MinValue": "1", "MaxValue": "9"},
            {"Name": "lr", "MinValue": "0", "MaxValue": "1"},
        ]
    }
    sagemaker.jobs["two"] = other
    sagemaker.trials["two"] = [training_job("two", 1, 0.25, tuned={"depth": "2.5", "lr": "1e-05"})]
    table = trials(aws, ["two", "one"])
    assert table["TuningJobName"].tolist() == ["two", "one"]
    assert table["depth"].tolist() == [2.5, 1.0]
    assert dtypes(table)["depth"] == "float64"
    assert table["lr"].tolist()[0] == 1e-05
    assert table["booster"].tolist() == [pd.NA, "dart"]
    assert table["IsBest"].tolist() == [True, True]
    assert table["BestSoFar"].tolist() == [0.25, 0.5]


def test_each_definition_of_a_multi_algorithm_job_has_its_own_ranges_and_objective(
    sagemaker: FakeSageMaker, aws: Aws
) -> None:
    def of(name: str, objective: str, ranges: dict[str, Any]) -> dict[str, Any]:
        return definition(
            DefinitionName=name,
            TuningObjective={"Type": "Maximize", "MetricName": objective},
            HyperParameterRanges=ranges,
        )

    trees = of(
        "trees", "validation:rmse", {"IntegerParameterRanges": [{"Name": "n", "MinValue": "1", "MaxValue": "9"}]}
    )
    nets = of("nets", "train:rmse", {"CategoricalParameterRanges": [{"Name": "act", "Values": ["relu", "gelu"]}]})
    sagemaker.put(
        "job",
        [
            training_job("job", 1, 0.5, tuned={"n": "3"}, TrainingJobDefinitionName="trees"),
            training_job("job", 2, 0.75, tuned={"act": "relu"}, TrainingJobDefinitionName="nets"),
            training_job("job", 3, 0.25, tuned={"act": "gelu"}, TrainingJobDefinitionName="nets"),
        ],
        TrainingJobDefinition=None,
        TrainingJobDefinitions=[trees, nets],
        HyperParameterTuningJobConfig={"Strategy": "Random", "ResourceLimits": {"MaxParallelTrainingJobs": 1}},
    )
    table = trials(aws, "job")
    assert table["TrainingJobDefinitionName"].tolist() == ["trees", "nets", "nets"]
    assert table["n"].tolist() == [3, pd.NA, pd.NA]
    assert table["act"].tolist() == [pd.NA, "relu", "gelu"]
    assert table["BestSoFar"].tolist() == [0.5, 0.75, 0.75]
    assert table["IsBest"].tolist() == [False, True, False]
    assert table["metric:train:rmse"].isna().tolist() == [False, True, True]
    assert table["metric:validation:rmse"].isna().tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("values", "given_texts", "expected", "dtype"),
    [
        (["16", "32"], ["32"], [32], "Int64"),
        (["16", "0.5"], ["16"], [16.0], "float64"),
        (['"32"'], ['"32"'], ["32"], "string"),
        (["1.10", "1.9"], ["1.10"], ["1.10"], "string"),
        (["true", "false"], ["false"], [False], "boolean"),
        (["True", "None"], ["True"], ["True"], "string"),
        (["auto", "5"], ["5"], ["5"], "string"),
        (["[64, 32]"], ["[64, 32]"], ["[64, 32]"], "string"),
        (["9223372036854775808"], ["9223372036854775808"], ["9223372036854775808"], "string"),
    ],
)
def test_categories_are_numbers_only_when_all_of_them_are(
    sagemaker: FakeSageMaker, aws: Aws, values: list[str], given_texts: list[str], expected: list[Any], dtype: str
) -> None:
    sagemaker.put("job", [training_job("job", 1, 0.5, tuned={"c": text}) for text in given_texts])
    sagemaker.jobs["job"]["HyperParameterTuningJobConfig"]["ParameterRanges"] = {
        "CategoricalParameterRanges": [{"Name": "c", "Values": values}]
    }
    table = trials(aws, "job")
    assert table["c"].tolist() == expected
    assert dtypes(table)["c"] == dtype


def test_a_hyperparameter_named_like_a_column_does_not_hide_it(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put("job", [training_job("job", 1, 0.5, tuned={"IsBest": "7"})])
    table = trials(aws, "job")
    assert table.columns.is_unique
    assert table["hyperparameter:IsBest"].tolist() == [7]
    assert table["IsBest"].tolist() == [True]


def test_the_objective_is_the_wire_s_single_precision_number(sagemaker: FakeSageMaker, aws: Aws) -> None:
    sagemaker.put("job", [training_job("job", 1, 0.8791999816894531)])
    assert trials(aws, "job")["FinalObjectiveValue"].tolist() == [0.8791999816894531]


def test_the_service_s_best_wins_once_the_job_has_ended(sagemaker: FakeSageMaker, aws: Aws) -> None:
    jobs = [training_job("job", 1, 0.5), training_job("job", 2, 0.25, TrainingJobStatus="Stopped")]
    best = {
        "TrainingJobName": jobs[0]["TrainingJobName"],
        "TrainingJobArn": jobs[0]["TrainingJobArn"],
        "CreationTime": T0,
        "TrainingJobStatus": "Completed",
        "TunedHyperParameters": {},
    }
    sagemaker.put("job", jobs, BestTrainingJob=best)
    assert trials(aws, "job")["IsBest"].tolist() == [True, False]
    sagemaker.jobs["job"]["HyperParameterTuningJobStatus"] = "InProgress"
    assert trials(aws, "job")["IsBest"].tolist() == [False, True]


def test_an_unknown_job_is_named(sagemaker: FakeSageMaker, aws: Aws) -> None:
    with pytest.raises(JobNotFoundError, match="nobody"):
        trials(aws, "nobody")


@given(size=st.integers(1, 100), count=st.integers(0, 40), seed=st.integers(0, 99))
def test_page_sizes_do_not_change_the_frame(
    sagemaker: FakeSageMaker, aws: Aws, size: int, count: int, seed: int
) -> None:
    sagemaker.put("job", [training_job("job", number, number % 7 / 4) for number in range(1, count + 1)])
    sagemaker.page_size = 100
    whole = trials(aws, "job")
    random.Random(seed).shuffle(sagemaker.trials["job"])
    sagemaker.page_size = size
    pd.testing.assert_frame_equal(trials(aws, "job"), whole)


@given(
    st.lists(st.one_of(st.none(), st.floats(width=32))),
    st.booleans(),
    st.data(),
)
def test_best_so_far_never_gets_worse_and_is_a_value_that_counts(
    values: list[float | None], maximize: bool, data: st.DataObject
) -> None:
    description = tuning_job("job")
    objective = {"Type": "Maximize" if maximize else "Minimize", "MetricName": "m"}
    description["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"] = objective
    counted = [data.draw(st.booleans()) for _ in values]
    made = [_trial(value, counts) for value, counts in zip(values, counted, strict=True)]
    best = best_so_far(job_of(description), made)
    eligible = {v for v, c in zip(values, counted, strict=True) if c and v is not None and math.isfinite(v)}
    known = [value for value in best if value is not None]
    assert best[: len(best) - len(known)] == [None] * (len(best) - len(known))
    assert known == sorted(known, reverse=not maximize)
    assert set(known) <= eligible
    if eligible:
        assert best[-1] == (max if maximize else min)(eligible)


def _trial(value: float | None, counts: bool) -> Trial:
    moment = datetime(2026, 11, 20, tzinfo=UTC)
    status = "Succeeded" if counts else "Failed"
    return Trial("t", "Completed", status, value, moment, moment, moment, None, None, {})


NUMBER_LIKE = [
    (["low", "high"], False),
    (["0.10", "high"], False),
    (["0.10", "0.20"], False),
    (["0.10", "0.1"], False),
    (["1e-3", "1e-4"], False),
    (["1.10", "1.9", "2"], False),
    (["1e3", "1000"], False),
    (["16", "0.5"], False),
    (["16", "16.0"], False),
    (["true", "maybe", "1"], False),
    (["5", "auto"], False),
    (['"0.10"', '"high"'], True),
    (['"a\\"b"', '"c"'], True),
    (["0.10", '"high"'], True),
    (['"5"', "5", '"x"'], True),
    (["true", "false"], True),
    (['"\\u00df"', '"s"'], True),
]


@pytest.mark.parametrize(("values", "is_script"), NUMBER_LIKE)
def test_every_trial_counts_whatever_its_categories_look_like(
    sagemaker: FakeSageMaker, aws: Aws, values: list[str], is_script: bool
) -> None:
    """The objective is 5 for the second value and 0 for others, plus a little of a continuous one."""
    made = [
        training_job(
            "job",
            number,
            5.0 * (number % len(values) == 1) + 0.01 * (number * 7 % 40) / 40,
            tuned={"c": values[number % len(values)], "lr": repr((number * 7 % 40) / 40)},
        )
        for number in range(40)
    ]
    sagemaker.put("job", made)
    job = sagemaker.jobs["job"]
    job["HyperParameterTuningJobConfig"]["ParameterRanges"] = {
        "ContinuousParameterRanges": [{"Name": "lr", "MinValue": "0", "MaxValue": "1"}],
        "CategoricalParameterRanges": [{"Name": "c", "Values": values}],
    }
    job["TrainingJobDefinition"]["StaticHyperParameters"] = {"sagemaker_program": "t.py"} if is_script else {}

    table = trials(aws, "job")
    facts = analysis.facts_of(job)
    found = analysis.importance(table, facts, resamples=2)

    assert found.attrs["left_out"] == analysis.correlation(table, facts).attrs["left_out"] == 0
    shares = found.set_index("Hyperparameter")["Importance"]
    assert shares["c"] > 0.9 > 0.1 > shares["lr"]
    assert table["c"].nunique() == len(values)


@pytest.mark.parametrize(("values", "is_script"), NUMBER_LIKE)
def test_the_best_trial_and_the_frame_have_the_same_value(
    sagemaker: FakeSageMaker, aws: Aws, values: list[str], is_script: bool
) -> None:
    made = training_job("job", 1, 0.5, tuned={"c": values[0]})
    best = {name: made[name] for name in ("TrainingJobName", "TrainingJobArn", "TrainingJobStatus", "CreationTime")}
    sagemaker.put("job", [made], BestTrainingJob=best | made["_summary"])
    job = sagemaker.jobs["job"]
    job["HyperParameterTuningJobConfig"]["ParameterRanges"] = {
        "CategoricalParameterRanges": [{"Name": "c", "Values": values}]
    }
    job["TrainingJobDefinition"]["StaticHyperParameters"] = {"sagemaker_program": "t.py"} if is_script else {}

    (shown,) = trials(aws, "job")["c"]
    found = jobs.best_of(jobs.describe(aws, "job"))

    assert found is not None
    assert found.hyperparameters["c"] == shown or encode(found.hyperparameters["c"], as_json=False) == shown
