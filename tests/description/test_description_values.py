"""A hyperparameter's text becomes the value that was written, and nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sm_tuning as smt
from sm_tuning.description import Value, column_type, column_value, distinct, encode, job_of, trial_of
from sm_tuning.request import to_request
from sm_tuning.spec import decode_scalar

AWKWARD = [
    "0.10",
    "1e-3",
    "1.10",
    "1e3",
    "true",
    "null",
    'a"b',
    '"a"',
    "None",
    "",
    "ß→🎉",
    "16",
    "16.0",
    "-0",
    "NaN",
    "01",
]
INT64 = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.sampled_from(AWKWARD) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = INT64 | FLOATS
VALUES = TEXTS | NUMBERS | st.booleans()


def same(first: Value, second: Value) -> bool:
    return type(first) is type(second) and repr(first) == repr(second)


@given(VALUES)
def test_script_mode_gives_back_every_value(value: Value) -> None:
    assert same(decode_scalar(encode(value, as_json=True), as_json=True), value)


@given(VALUES)
def test_a_plain_image_gives_back_every_value_whose_text_is_its_own(value: Value) -> None:
    text = encode(value, as_json=False)
    found = decode_scalar(text, as_json=False)
    assert encode(found, as_json=False) == text
    if not isinstance(value, str):
        assert same(found, value)
    elif found != value:  # text that another value has as well, such as 16 and true
        assert json.dumps(json.loads(value)) == value


@given(TEXTS)
def test_any_text_of_a_plain_image_survives_the_way_back(text: str) -> None:
    assert encode(decode_scalar(text, as_json=False), as_json=False) == text


@given(TEXTS)
def test_text_that_is_not_json_is_what_the_toolkit_passes_on(text: str) -> None:
    """What other tools send to script mode is valid JSON, or is kept as it is."""
    found = decode_scalar(text, as_json=True)
    assert found == text or same(found, json.loads(text))


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    "text", ["0.10", "1e-3", "1.10", "1e3", "01", "-0", "NaN", "Infinity", "null", "[1, 2]", "None", ""]
)
def test_text_that_would_be_written_otherwise_stays_text(text: str, as_json: bool) -> None:
    assert decode_scalar(text, as_json=as_json) == text


@pytest.mark.parametrize(
    ("text", "plain", "script"),
    [
        ("16", 16, 16),
        ("0.5", 0.5, 0.5),
        ("1e-05", 1e-05, 1e-05),
        ("true", True, True),
        ('"a\\"b"', '"a\\"b"', 'a"b'),
        ('"0.10"', '"0.10"', "0.10"),
        ('"\\u00df"', '"\\u00df"', "ß"),
    ],
)
def test_the_image_decides_what_quotes_mean(text: str, plain: Value, script: Value) -> None:
    assert same(decode_scalar(text, as_json=False), plain)
    assert same(decode_scalar(text, as_json=True), script)


def estimator(script: bool) -> Any:
    common = {"instance_type": "ml.m5.large", "role": "arn:aws:iam::123456789012:role/r"}
    metrics = {"loss": "loss=(.*)"}
    if not script:
        return smt.ContainerEstimator(image_uri="own:1", metric_definitions=metrics, **common)
    return smt.PyTorchEstimator(
        entry_point="train.py",
        source_dir="s3://b/code.tar.gz",
        framework_version="2.6",
        py_version="py312",
        metric_definitions=metrics,
        **common,
    )


@st.composite
def ranges(draw: st.DrawFn) -> dict[str, Any]:
    whole = sorted(draw(st.sets(INT64, min_size=2, max_size=2)))
    real = sorted(draw(st.sets(FLOATS, min_size=2, max_size=2)))
    # Older models of the service refuse line breaks (pattern ".*").
    values = draw(
        st.lists(
            VALUES.filter(lambda value: str(value).splitlines() in ([], [str(value)])),
            min_size=2,
            max_size=6,
            unique_by=lambda value: json.dumps(value).strip('"'),
        ).filter(lambda found: len({json.dumps(value).strip('"') for value in found}) == len(found))
    )
    return {
        "whole": smt.IntegerParameter(*whole),
        "real": smt.ContinuousParameter(*real),
        "choice": smt.CategoricalParameter(values),
    }


@given(ranges(), st.booleans())
def test_a_job_of_ours_is_read_with_the_values_of_its_spec(found: dict[str, Any], script: bool) -> None:
    tuning = smt.Tuning(
        estimator=estimator(script), objective_metric_name="loss", hyperparameter_ranges=found, inputs="s3://b/d"
    )
    request = to_request(tuning, name="job", region="us-east-1", role=None, output_path="s3://b/out")

    definition = job_of(request).definitions[0]

    assert definition.as_json is script
    for name in ("whole", "real"):
        read = definition.range(name)
        assert read is not None
        assert same(read.low, found[name].min_value)  # type: ignore[arg-type]
        assert same(read.high, found[name].max_value)  # type: ignore[arg-type]
        assert read.parameter == found[name]
        assert [definition.decode(name, text) for text in read.texts] == [read.low, read.high]
    choice = definition.range("choice")
    assert choice is not None
    assert choice.texts == tuple(encode(value, as_json=script) for value in found["choice"].values)
    assert [definition.decode("choice", text) for text in choice.texts] == list(choice.values)
    for value, read_value, text in zip(found["choice"].values, choice.values, choice.texts, strict=True):
        # The text itself where the range has two values that look alike, or where the text is a number's as well.
        assert (
            same(read_value, value) or read_value == text or (not script and encode(read_value, as_json=False) == text)
        )
    assert choice.parameter is not None


@given(INT64, FLOATS)
def test_numbers_of_a_trial_are_exact(whole: int, real: float) -> None:
    job = described([("Integer", "w"), ("Continuous", "r")])
    found = job.values(trial(w=str(whole), r=repr(real)))
    assert same(found["w"], whole)
    assert same(found["r"], real)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("Integer", "8.0", 8),
        ("Integer", "2.5", 2.5),
        ("Integer", "9007199254740993", 9007199254740993),
        ("Integer", "auto", "auto"),
        ("Integer", "1_000", "1_000"),
        ("Continuous", "3", 3.0),
        ("Continuous", "1.0E-4", 0.0001),
        ("Continuous", "", ""),
        ("Continuous", "٣", "٣"),
    ],
)
def test_a_number_range_reads_what_other_tools_write(kind: str, text: str, value: Value) -> None:
    assert same(described([(kind, "x")]).values(trial(x=text))["x"], value)


@pytest.mark.parametrize(
    ("texts", "as_json", "values"),
    [
        (["16", "16.0"], False, ("16", "16.0")),
        (["5", '"5"'], True, ("5", '"5"')),
        (["a", '"a"'], True, ("a", '"a"')),
        (["a", '"a"'], False, ("a", '"a"')),
        (["1", "true"], False, (1, True)),
        (["0.1", "0.10"], False, (0.1, "0.10")),
    ],
)
def test_two_values_of_a_range_are_never_read_as_one(
    texts: list[str], as_json: bool, values: tuple[Value, ...]
) -> None:
    found = distinct(texts, as_json=as_json)
    assert len(found) == len(values)
    assert all(same(one, other) for one, other in zip(found, values, strict=True))


@pytest.mark.parametrize(
    ("values", "column"),
    [
        ([1, 2], "Int64"),
        ([1, 0.5], "float64"),
        ([True, False], "boolean"),
        ([True, 1], "string"),
        ([1, "1.10"], "string"),
        ([2**63], "string"),
        ([2**53 + 1, 0.5], "string"),
    ],
)
def test_a_column_holds_its_values_unchanged(values: list[Value], column: str) -> None:
    assert column_type(values) == column
    assert [column_value(value, column_type(values)) == value for value in values] == [
        column != "string" or isinstance(value, str) for value in values
    ]


def described(ranges: list[tuple[str, str]], **static: str) -> Any:
    lists: dict[str, list[dict[str, Any]]] = {}
    for kind, name in ranges:
        lists.setdefault(f"{kind}ParameterRanges", []).append({"Name": name, "MinValue": "0", "MaxValue": "9"})
    return job_of(
        {
            "HyperParameterTuningJobName": "job",
            "HyperParameterTuningJobConfig": {"ParameterRanges": lists},
            "TrainingJobDefinition": {"StaticHyperParameters": static},
        }
    )


def trial(**tuned: str) -> Any:
    return trial_of(
        {
            "TrainingJobName": "job-001-a",
            "TrainingJobStatus": "Completed",
            "CreationTime": datetime(2026, 1, 1, tzinfo=UTC),
            "TunedHyperParameters": tuned,
        }
    )
