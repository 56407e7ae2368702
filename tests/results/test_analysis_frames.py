"""Every analysis gives its declared columns for whatever frames it is given."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import analysis_data as data
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sm_tuning as smt
from sm_tuning.results.analysis import (
    ADVICE,
    CORRELATION,
    DIAGNOSIS,
    IMPORTANCE,
    SHAPES,
    Algorithm,
    Facts,
    advice,
    correlation,
    diagnosis,
    facts_of,
    importance,
    shapes,
)

RANGES = {
    "x": smt.ContinuousParameter(0.001, 10, "Logarithmic"),
    "n": smt.IntegerParameter(1, 5),
    "kind": smt.CategoricalParameter(["a", "b"]),
}
VALUES = st.one_of(
    st.floats(), st.sampled_from([math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 0.0, 1.0]), st.floats(0, 1)
)
Check = tuple[Callable[[pd.DataFrame, pd.DataFrame, Facts], pd.DataFrame], Mapping[str, str]]
CHECKS: list[Check] = [
    (lambda trials, _, facts: importance(trials, facts, resamples=2), IMPORTANCE),
    (lambda trials, _, facts: correlation(trials, facts), CORRELATION),
    (diagnosis, DIAGNOSIS),
    (lambda trials, _, facts: shapes(trials, facts), SHAPES),
    (advice, ADVICE),
]


def check_all(trials: pd.DataFrame, curves: pd.DataFrame, facts: Facts) -> list[pd.DataFrame]:
    """The five frames, each as declared; only warnings of ours are let through."""
    found = []
    for analyse, declared in CHECKS:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", message="importance.*needs")
            table = analyse(trials, curves, facts)
        assert data.dtypes(table) == dict(declared)
        found.append(table)
    return found


@st.composite
def jobs(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.DataFrame]:
    count = draw(st.sampled_from([0, 1, 2, 5, 13, 22]))
    status = st.sampled_from(["Completed", "Completed", "Completed", "Failed", "Stopped", "InProgress"])

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        constant = draw(st.booleans())
        return [draw(values)] * count if constant else [draw(values) for _ in range(count)]

    fixed = data.trials(
        column(VALUES),
        TrainingJobStatus=column(status),
        ObjectiveStatus=column(st.sampled_from(["Succeeded", "Succeeded", "Failed", "Pending", None])),
        FailureReason=column(st.sampled_from([None, "AlgorithmError: no"])),
        TrainingEndTime=column(st.sampled_from([None, 1_700_000_000_000_000])),
    )
    own = {
        "x": pd.Series(column(st.one_of(VALUES, st.floats(0.001, 10))), dtype="float64"),
        "n": pd.Series(column(st.one_of(st.none(), st.integers(-9, 9))), dtype="Int64"),
        "kind": pd.Series(column(st.sampled_from(["a", "b", "other", None])), dtype="string"),
    }
    kept = draw(st.sets(st.sampled_from(sorted(own))))
    trials = pd.concat([pd.DataFrame({name: own[name] for name in kept}, index=fixed.index), fixed], axis=1)
    series = st.lists(VALUES, max_size=12)
    names = st.sampled_from(["validation:loss", "train:loss", "other"])
    return trials, data.curves([draw(st.dictionaries(names, series)) for _ in range(count)])


@given(jobs(), st.booleans(), st.sampled_from(["Bayesian", "Random", "Grid", "Hyperband"]))
def test_any_frames_give_the_declared_columns(
    job: tuple[pd.DataFrame, pd.DataFrame], maximize: bool, strategy: str
) -> None:
    trials, curves = job
    facts = data.facts(RANGES, maximize=maximize, strategy=strategy)
    scored, _, told, shaped, advised = check_all(trials, curves, facts)
    assert sorted(scored["Hyperparameter"]) == sorted(RANGES)
    assert told["TrainingJobName"].tolist() == trials["TrainingJobName"].tolist()
    assert shaped["Hyperparameter"].tolist() == ["x", "n"]
    assert set(advised["Severity"]) <= {"warning", "hint"}
    assert not scored[["Importance", "ForestImportance"]].isin([math.inf, -math.inf]).any(axis=None)


def test_no_trials_at_all() -> None:
    scored, _, told, _, advised = check_all(data.trials([]), data.NO_CURVES, data.facts())
    assert scored["Importance"].isna().all()
    assert len(told) == len(advised) == 0


def test_several_algorithms_are_told_apart() -> None:
    one, two = data.searched(30, lambda it: it["lr"]), data.searched(30, lambda it: -it["u"], seed=1)
    one["TrainingJobDefinitionName"], two["TrainingJobDefinitionName"] = "one", "two"
    trials = pd.concat([one, two], ignore_index=True)
    facts = Facts(tuple(Algorithm(name, data.OBJECTIVE, False, data.RANGES) for name in ("one", "two")), "Random")
    scored, *_ = check_all(trials, data.NO_CURVES, facts)
    first = scored.groupby("TrainingJobDefinitionName")["Hyperparameter"].first().to_dict()
    assert first == {"one": "lr", "two": "u"}


def test_a_hyperparameter_named_like_a_column_is_found() -> None:
    ranges = {"IsBest": smt.ContinuousParameter(0, 1), "u": smt.ContinuousParameter(0, 1)}
    trials = data.searched(30, lambda it: it["IsBest"], ranges=ranges)
    trials = trials.loc[:, ~trials.columns.duplicated(keep="last")].assign(
        **{"hyperparameter:IsBest": trials.iloc[:, 0]}
    )
    assert importance(trials, data.facts(ranges))["Hyperparameter"].iloc[0] == "IsBest"


def test_facts_of_a_description_and_of_a_spec_agree() -> None:
    estimator = smt.ContainerEstimator(
        image_uri="123456789012.dkr.ecr.us-east-1.amazonaws.com/own:1",
        instance_type="ml.m5.large",
        role="arn:aws:iam::123456789012:role/r",
        metric_definitions={"validation:loss": "loss=(.*)"},
    )
    tuning = smt.Tuning(
        estimator=estimator,
        inputs={"train": "s3://bucket/x"},
        objective_metric_name="validation:loss",
        objective_type="Minimize",
        hyperparameter_ranges=data.RANGES,
        max_jobs=9,
        max_parallel_jobs=3,
        early_stopping_type="Auto",
    )
    from sm_tuning.request import to_request

    request = to_request(tuning, name="job", region="us-east-1", role=None, output_path="s3://bucket/out")
    described = {**request, "HyperParameterTuningJobArn": "arn", "HyperParameterTuningJobStatus": "Completed"}
    described["CreationTime"] = datetime(2026, 1, 1, tzinfo=UTC)
    described["HyperParameterTuningJobConfig"]["ParameterRanges"]["ContinuousParameterRanges"].append(
        {"Name": "equal", "MinValue": "1", "MaxValue": "1"}
    )
    assert facts_of(described) == facts_of(tuning)


@pytest.mark.parametrize("resamples", [0, -1])
def test_no_resamples_are_refused(resamples: int) -> None:
    with pytest.raises(smt.SpecError, match="resamples must be at least 1"):
        importance(data.searched(20, data.all_matter), data.facts(), resamples=resamples)
