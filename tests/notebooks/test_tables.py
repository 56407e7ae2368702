"""What a notebook's cell shows of our objects, and what completion offers."""

from __future__ import annotations

import pandas as pd

import sm_tuning as smt
from sm_tuning.preflight import Finding
from sm_tuning.preflight._finding import in_order
from sm_tuning.results import ERRORS
from sm_tuning.results._failures import ErrorsFrame
from sm_tuning.results._schema import frame


def tuning() -> smt.Tuning:
    return smt.load("estimators/xgboost-diabetes.yaml")


def test_findings_are_a_table_with_severity_code_message_and_fix() -> None:
    found = smt.check(tuning().replace(max_parallel_jobs=10))

    page = found._repr_html_()  # type: ignore[attr-defined]

    assert isinstance(found, list)
    assert page.startswith("<table><thead><tr><th>severity</th><th>where</th><th>code</th><th>message</th><th>fix</th>")
    assert all(f"<td>{item.code}</td>" in page for item in found)


def test_text_in_findings_is_escaped() -> None:
    page = in_order([Finding("spec", "error", "x", "<script>", "")])._repr_html_()

    assert "&lt;script&gt;" in page
    assert "<script>" not in page


def test_a_spec_is_a_table_of_what_was_given_without_secrets() -> None:
    spec = tuning()
    hidden = spec.replace(estimator=spec.estimator.replace(environment={"API_TOKEN": "sesame-open-42"}))

    assert "<th>objective_metric_name</th><td>validation:rmse</td>" in spec._repr_html_()
    assert "autotune" not in spec._repr_html_()
    assert "sesame-open-42" not in hidden._repr_html_() + hidden.estimator._repr_html_()


def test_completion_of_a_spec_lists_fields_and_our_methods_alone() -> None:
    names = dir(tuning())

    assert {"estimator", "max_jobs", "replace"} <= set(names)
    assert set(smt.Tuning.model_fields) <= set(names)
    assert [name for name in names if name.startswith(("_", "model_")) or name in ("copy", "json", "dict")] == []


def test_errors_show_whole_tracebacks() -> None:
    text = "Traceback (most recent call last):\n  File <train.py>\n" + "ValueError: " + "x" * 200
    columns = {"TrainingJobName": "job-001", "Message": "ValueError", "Traceback": text, "FailureReason": "exit 1"}
    errors = ErrorsFrame(frame(ERRORS, {name: [columns.get(name)] for name in ERRORS}))

    page = errors._repr_html_() or ""

    assert "x" * 200 in page
    assert "File &lt;train.py&gt;" in page
    assert page.startswith("<details open>")
    assert type(errors[["Message"]]) is pd.DataFrame
