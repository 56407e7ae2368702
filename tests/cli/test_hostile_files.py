"""Files and --set values that are made to crash or to exhaust a parser: an error, exit code 2, and no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

import sm_tuning as smt

IMAGE = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/own:1"
SPEC = f"""\
estimator: {{type: container, image_uri: "{IMAGE}", instance_type: ml.m5.large, metric_definitions: {{loss: "l=(.*)"}}}}
objective_metric_name: loss
hyperparameter_ranges: {{lr: {{type: continuous, min_value: 0.1, max_value: 0.5}}}}
"""
TEN = "[" + ",".join("x" * 10) + "]"
LAUGHS = f"a0: &a0 {TEN}\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))

#: Values that are an error in a YAML file and as the value of --set.
VALUES = {
    "recursive alias": "&a [*a]",
    "5,000 brackets": "[" * 5000,
    "5,000 closed brackets": "[" * 5000 + "]" * 5000,
    "date that does not exist": "2026-99-99",
    "6,000 digits": "9" * 6000,
    "400 digits": "9" * 400,
    "5,000 hexadecimal digits": "0x" + "f" * 5000,
    "timestamp that is none": "!!timestamp x",
    "boolean that is none": "!!bool x",
    "empty integer": "!!int ''",
    "endless sexagesimal": "1:" * 3000 + "0.5",
    "half of a character": '"\\ud800"',
}
FILES = {
    "aliases of nine levels": LAUGHS,
    "deep block mappings": "\n".join(" " * i + "a:" for i in range(1500)),
    "300,000 values": f"x: [{','.join(['1'] * 300_000)}]",
    "two million bytes": "# " + "x" * 2_000_000,
    "thousands of unknown keys": "".join(f"k{i}: 1\n" for i in range(2000)),
    "thousands of open variables": SPEC + f"max_jobs: '{'${a:-' * 20_000}'\n",
    "endless repetition": SPEC.replace("l=(.*)", "(a{99999999999999999999})"),
    "one long word": "a" * 200_000 + ": ]",
    "home of an unknown user": SPEC + "inputs: {train: ~no-such-user/x}\n",
    "long path": SPEC + f"inputs: {{train: {'a' * 1000}}}\n",
    "NUL in a path": SPEC + 'inputs: {train: "a\\0b"}\n',
    "NUL in a script": SPEC.replace("type: container", 'entry_point: "a\\0.py", type: container'),
    "empty": "",
}
JSON = {
    "open brackets": "[" * 100_000,
    "closed brackets": '{"x": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "900 objects": '{"a":' * 900 + "1" + "}" * 900,
    "6,000 digits": '{"max_jobs": ' + "9" * 6000 + "}",
    "400 digits": '{"max_jobs": ' + "9" * 400 + "}",
    "half of a character": '{"role": "\\ud800"}',
    "NUL": '{"role": "\\u0000"}',
    "duplicate key": '{"a": 1, "a": 2}',
    "300,000 values": f'{{"x": [{",".join(["1"] * 300_000)}]}}',
}


def refused(cli, *args: object) -> str:
    text = cli.fails("check", *args, code=2)
    assert len(text) < 10_000
    return text


@pytest.mark.parametrize("name", VALUES)
def test_a_hostile_value_in_yaml_is_an_error(name, cli, tmp_path):
    path = tmp_path / "tuning.yaml"
    path.write_text(SPEC.replace("type: container", f"hyperparameters: {{x: {VALUES[name]}}}, type: container"))
    assert "tuning.yaml" in refused(cli, path)


@pytest.mark.parametrize("name", [name for name in VALUES if name != "5,000 brackets"])
def test_a_hostile_value_of_set_is_an_error(name, cli, tmp_path):
    path = tmp_path / "tuning.yaml"
    path.write_text(SPEC)
    assert "estimator.hyperparameters.x" in refused(cli, path, "--set", f"estimator.hyperparameters.x={VALUES[name]}")


def test_a_path_of_set_with_thousands_of_parts_is_an_error(cli, tmp_path):
    path = tmp_path / "tuning.yaml"
    path.write_text(SPEC)
    assert "at most 50 parts" in refused(cli, path, "--set", ".".join("a" * 5000) + "=1")


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_yaml_file_is_an_error(name, cli, tmp_path):
    path = tmp_path / "tuning.yaml"
    path.write_text(FILES[name])
    assert "tuning.yaml" in refused(cli, path)


@pytest.mark.parametrize("name", JSON)
def test_a_hostile_json_file_is_an_error(name, cli, tmp_path):
    path = tmp_path / "tuning.json"
    path.write_text(JSON[name])
    assert "tuning.json" in refused(cli, path)


@pytest.mark.parametrize("content", [VALUES["recursive alias"], "a: " + VALUES["date that does not exist"], LAUGHS])
def test_a_hostile_price_file_is_an_error(content, cli, tmp_path):
    spec, prices = tmp_path / "tuning.yaml", tmp_path / "prices.yaml"
    spec.write_text(SPEC)
    prices.write_text(content)
    assert "prices.yaml" in refused(cli, spec, "--prices", prices)


def test_an_endless_file_is_an_error(cli):
    assert "larger than" in refused(cli, Path("/dev/zero"))


def test_a_fallback_that_is_no_date_is_text(tmp_path):
    path = tmp_path / "tuning.yaml"
    path.write_text(
        SPEC.replace("type: container", "hyperparameters: {x: '${UNSET_DAY:-2026-99-99}'}, type: container")
    )
    estimator = smt.load(path, environ={}).estimator
    assert estimator is not None
    assert estimator.hyperparameters["x"] == "2026-99-99"
