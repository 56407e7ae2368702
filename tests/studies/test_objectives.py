"""Studies with several objectives and constraints: which trial is the best, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from small_aws import SmallAws, tuning
from test_driver import drive, launched

import sm_tuning as smt

METRICS = {"metric_definitions": [{"Name": name, "Regex": rf"{name}=(\S+)"} for name in ("loss", "size", "latency")]}


def ended(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return the end of a training job: a small loss costs size, and a great rate costs latency."""
    rate = float(job["HyperParameters"]["rate"])
    metrics = {"loss": (1 - rate) ** 2, "size": 10 * rate, "latency": 30 * rate}
    data = [{"MetricName": name, "Value": value, "Timestamp": job["CreationTime"]} for name, value in metrics.items()]
    return {"TrainingJobStatus": "Completed", "FinalMetricDataList": data}


def several(**changes: Any) -> dict[str, Any]:
    study = {"objectives": {"size": "Minimize"}, "constraints": ["latency<=20"], **changes.pop("study", {})}
    return {"estimator": METRICS, "study": study, "max_jobs": 8, "max_parallel_jobs": 4, **changes}


def test_the_best_trial_keeps_to_the_constraints(service: SmallAws) -> None:
    service.end_of = ended
    study = launched(service, **several())
    drive(service, service.connect())
    rates = sorted(float(job["HyperParameters"]["rate"]) for job in service.jobs.values())
    feasible = [rate for rate in rates if 30 * rate <= 20]
    assert 0 < len(feasible) < len(rates)
    best = smt.attach("s", aws=service.connect()).best
    assert best is not None
    assert float(best.hyperparameters["rate"]) == feasible[-1]
    assert study.counts.completed == 8


def test_no_trial_is_the_best_if_none_is_feasible(service: SmallAws) -> None:
    service.end_of = ended
    launched(service, **several(study={"constraints": ["latency >= 40"]}))
    assert str(getattr(drive(service, service.connect()).outcome, "status", "")) == "Completed"
    assert smt.attach("s", aws=service.connect()).best is None


def test_a_trial_that_lacks_an_objective_has_failed(service: SmallAws) -> None:
    def end(job: Mapping[str, Any]) -> dict[str, Any]:
        found = ended(job)
        return {**found, "FinalMetricDataList": [m for m in found["FinalMetricDataList"] if m["MetricName"] != "size"]}

    service.end_of = end
    launched(service, **several())
    outcome = drive(service, service.connect()).outcome
    assert outcome is not None
    assert str(outcome.status) == "Failed"


def test_a_constraint_is_compared_as_the_service_stores_numbers() -> None:
    from sm_tuning.spec import Constraint

    assert Constraint.parse("validation:latency <= 2e1") == ("validation:latency", "<=", 20.0)
    bound = Constraint.parse("a>=0.3")
    assert (bound.violation(0.3), bound.violation(0.1), bound.violation(None)) == (
        0.0,
        pytest.approx(0.2),
        float("inf"),
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategy": "Bayesian"}, "strategy 'Bayesian' has one objective and no constraints"),
        ({"strategy": "Hyperband", "strategy_config": {"max_resource": 3}}, "strategy 'Hyperband' has one objective"),
        ({"early_stopping_type": "Auto"}, "early_stopping_type judges by a single objective"),
        ({"completion_criteria": {"target_objective_metric_value": 1}}, "completion_criteria judges by a single"),
        ({"study": {"objectives": {"loss": "Minimize"}}}, "'loss' is the first objective already"),
        ({"study": {"objectives": {"depth": "Minimize"}}}, "'depth' has no metric definition"),
        ({"study": {"constraints": ["depth<=3"]}}, "'depth' has no metric definition"),
        ({"study": {"constraints": ["size<3"]}}, "a constraint has the form METRIC<=NUMBER"),
        ({"study": {"constraints": ["size<=nan"]}}, "a constraint has the form METRIC<=NUMBER"),
        ({"study": {"objectives": {"size": "Min"}}}, "objectives.size"),
    ],
)
def test_what_a_study_cannot_judge_is_an_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(smt.SpecError) as error:
        tuning(**several(**changes))
    assert message in str(error.value)


@pytest.mark.parametrize("key", ["objectives", "constraints"])
def test_outside_of_a_study_the_error_names_the_block(key: str) -> None:
    with pytest.raises(smt.SpecError, match=rf"study\.{key}"):
        smt.Tuning.parse({"estimator": {}, key: []})
