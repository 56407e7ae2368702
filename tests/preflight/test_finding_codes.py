"""Each fault of a spec has its code, place and advice, whatever names and values the user chose."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import _preflight_specs as specs
import pytest
from _preflight_faults import FAULTS
from _preflight_job_faults import JOB_FAULTS
from _preflight_specs import CONTINUOUS, changed, container, several
from hypothesis import example, given
from hypothesis import strategies as st

import sm_tuning as smt
from sm_tuning.spec import read_overrides


@pytest.mark.parametrize(
    ("base", "changes", "expected"), [(base, changes, found) for base, changes, *found in [*FAULTS, *JOB_FAULTS]]
)
def test_a_fault_has_its_code_place_and_advice(base, changes, expected, tmp_path) -> None:
    found = smt.check(specs.write(tmp_path, changed(base(), changes)))
    assert [(one.code, one.where, one.fix) for one in found if one.severity == "error"] == expected


#: What a user may call things: anything, and the words by which rules, fields and codes are known.
WORDS = """
distribution processes_per_host max_wait warm_start subnets and security_group_ids the-override name tags role strategy
inputs estimators max_jobs hyperparameter_ranges unknown-key grid-budget exactly-one needs-at-least-one-range
"""
PHRASES = [
    *WORDS.split(),
    "unknown key 'x'; did you mean 'y'?",
    "this is not YAML",
    "the variable ${X} is not set",
    "estimator.tags: is required",
    "at most 40 metric_definitions",
    "metric_definitions must have different names",
    "these names belong to SageMaker",
    "the regular expression",
    "lr: a hyperparameter is either static or tuned",
    "a; b: c",
]
TEXT = st.sampled_from(PHRASES) | st.text(
    st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=40
)

LEAST = "max_number_of_training_jobs_not_improving"

#: A spec with a fault of this code for every text that stands where a user chooses one.
CHOSEN: list[tuple[str, Callable[[str], dict[str, Any]]]] = [
    ("name", lambda text: {"base_tuning_job_name": f"_{text}"}),
    ("unknown-key", lambda text: {f"my {text}": 1}),
    ("strategy", lambda text: {"strategy": f"my {text}"}),
    ("jobs-limit", lambda text: {"max_jobs": f"my {text}"}),
    ("spec", lambda text: {"objective_type": f"my {text}"}),
    ("spec", lambda text: {"estimator/source_dir": f"gs://{text}", "estimator/entry_point": "train.py"}),
    ("tags", lambda text: {"estimator/tags": {text: 5}}),
    ("tags", lambda text: {"estimator/tags": {"team": text, "b|d": text}}),
    ("environment", lambda text: {"estimator/environment": {text: 5}}),
    ("environment", lambda text: {"estimator/environment": {"TEXT": text * 600}}),
    ("hyperparameter-value", lambda text: {"estimator/hyperparameters": {text: float("inf")}}),
    ("hyperparameter-value", lambda text: {"estimator/hyperparameters": {"text": text * 3000}}),
    ("reserved-hyperparameter", lambda text: {"estimator/hyperparameters": {f"sagemaker_{text}": 1}}),
    ("range-bounds", lambda text: {"hyperparameter_ranges": {text: {**CONTINUOUS, "max_value": 0}}}),
    ("range-bounds", lambda text: {"hyperparameter_ranges": {text: {**CONTINUOUS, "max_value": f"my {text}"}}}),
    ("range-kind", lambda text: {"hyperparameter_ranges": {text: {"type": f"my {text}"}}}),
    ("categorical-values", lambda text: {"hyperparameter_ranges": {text: {"values": [text, text]}}}),
    ("static-and-tuned", lambda text: {"estimator/hyperparameters": {f"my {text}": 1}}
     | {"hyperparameter_ranges": {f"my {text}": CONTINUOUS}}),
    ("channels", lambda text: {"inputs": {f"my {text}": "s3://bucket/data"}}),
    ("channels", lambda text: {"inputs": {"train": {"uri": "s3://bucket/data", "compression": f"my {text}"}}}),
    ("metric-regex", lambda text: {"estimator/metric_definitions": {"score": re.escape(text) + "("}}),
    ("objective-undefined", lambda text: {"objective_metric_name": f"my {text}"}),
    ("entry-point", lambda text: {"estimator/entry_point": f"{text}.txt"}),
    ("estimator-kind", lambda text: {"estimator/type": f"my {text}"}),
    ("role", lambda text: {"estimator/role": f"arn:{text}"}),
    ("output-path", lambda text: {"estimator/output_path": f"/{text}"}),
    ("image-choice", lambda text: {"estimator/image_uri": text * 256}),
    ("instance-type", lambda text: {"estimator/instance_type": f"ml.{text}"}),
    ("warm-start-parents", lambda text: {"warm_start": {"parents": [f"_{text}"]}}),
    ("completion-criteria", lambda text: {f"completion_criteria/{LEAST}": f"my {text}"}),
]  # fmt: skip


def errors(data: dict[str, Any]) -> list[str]:
    """The codes that a spec of these fields has."""
    try:
        tuning = smt.Tuning.parse(data)
    except smt.SpecError as error:
        return [problem.code or "spec" for problem in error.details]
    return [one.code for one in smt.check(tuning) if one.severity == "error"]


@pytest.mark.parametrize(("code", "changes"), CHOSEN)
@given(text=TEXT)
@example(text="distribution")
@example(text="max_wait")
def test_no_text_that_a_user_chooses_changes_a_code(code, changes, text) -> None:
    base = container()
    base["inputs"] = {"train": "s3://bucket/data"}
    assert set(errors(changed(base, changes(text)))) == {code}


@given(text=TEXT)
def test_no_name_of_an_algorithm_changes_a_code(text) -> None:
    definition = several()["estimators"]["one"]
    assert set(errors({**several(), "estimators": {f"_{text}": definition}})) == {"several-limit"}
    name = re.sub("[^a-z]", "", text) or "x"
    broken = changed(definition, {"estimator/max_run": 0, "objective_type": f"my {text}"})
    assert errors({**several(), "estimators": {name: broken}}) == ["run-limit", "spec"]


@given(text=TEXT)
def test_no_override_changes_its_code(text) -> None:
    with pytest.raises(smt.SpecError) as caught:
        read_overrides([text.replace("=", "")])
    assert [problem.code for problem in caught.value.details] == ["override"]
