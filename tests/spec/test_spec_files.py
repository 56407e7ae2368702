"""Spec files: what is written reads back equal; what is wrong in a file is said with the file's name."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from strategies import tunings

from sm_tuning import SpecError
from sm_tuning.spec import Tuning, as_tuning, dump, load, schema, to_data

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "estimators").glob("*.yaml"))

SPEC = """
estimator:
  type: xgboost
  version: "1.7-1"
  instance_type: ml.m5.large
  hyperparameters: {objective: "reg:squarederror", num_round: 100}
inputs: {train: data/train.csv}
objective_metric_name: validation:rmse
objective_type: Minimize
hyperparameter_ranges:
  eta: {type: continuous, min_value: 1e-3, max_value: 0.5, scaling_type: Logarithmic}
max_jobs: 4
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="spec.yaml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@given(tuning=tunings(), ending=st.sampled_from([".yaml", ".yml", ".json"]))
def test_a_spec_reads_back_from_its_file(tmp_path, tuning, ending):
    assert load(dump(tuning, tmp_path / f"spec{ending}"), environ={}) == tuning


@given(tuning=tunings())
def test_a_spec_reads_back_from_its_plain_data(tuning):
    assert Tuning.parse(json.loads(json.dumps(to_data(tuning)))) == tuning


@pytest.mark.parametrize(
    "text", ["1e100", "1e-3", "-2E5", ".5e1", "1_000", "0x1F", "1:30", "null", "yes", "2026-01-01"]
)
def test_text_that_looks_like_a_number_stays_text(write, tmp_path, text):
    tuning = load(write(SPEC)).replace(base_tuning_job_name="n")
    estimator = tuning.estimator.replace(environment={"A": text}, tags={"b": text})
    changed = tuning.replace(estimator=estimator)
    assert load(dump(changed, tmp_path / "again.yaml"), environ={}) == changed


def test_json_and_yaml_say_the_same(write, tmp_path):
    tuning = load(write(SPEC))
    assert load(dump(tuning, tmp_path / "spec.json")) == tuning


def test_paths_are_relative_to_the_file(write, tmp_path):
    text = SPEC.replace("inputs: {train: data/train.csv}", "inputs: {train: ../a.csv, far: s3://b/c, obj: {uri: d}}")
    inputs = load(write(text)).inputs
    assert inputs["train"].uri == str(tmp_path.parent / "a.csv")
    assert inputs["far"].uri == "s3://b/c"
    assert inputs["obj"].uri == str(tmp_path / "d")


def test_script_paths_are_relative_to_the_file(write, tmp_path):
    def with_script(lines):
        return write(SPEC.replace("  instance_type", f"  {lines}\n  instance_type"))

    alone = load(with_script("entry_point: src/train.py")).estimator
    assert alone.entry_point == str(tmp_path / "src" / "train.py")
    folder = load(with_script("entry_point: train.py\n  source_dir: src\n  dependencies: [../lib]")).estimator
    assert (folder.entry_point, folder.source_dir) == ("train.py", str(tmp_path / "src"))
    assert folder.dependencies == (str(tmp_path.parent / "lib"),)


def test_a_file_that_is_dumped_elsewhere_names_the_same_paths(write, tmp_path):
    tuning = load(write(SPEC))
    (tmp_path / "sub").mkdir()
    moved = dump(tuning, tmp_path / "sub" / "spec.yaml")
    assert "train: ../data/train.csv" in moved.read_text()
    assert load(moved) == tuning


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("max_jobs=9", lambda t: t.max_jobs == 9),
        ("estimator.hyperparameters.num_round=7", lambda t: t.estimator.hyperparameters["num_round"] == 7),
        ("estimator.hyperparameters.booster=dart", lambda t: t.estimator.hyperparameters["booster"] == "dart"),
        ("hyperparameter_ranges.eta.max_value=1e-1", lambda t: t.hyperparameter_ranges["eta"].max_value == 0.1),
        ("estimator.tags={a: b}", lambda t: t.estimator.tags == {"a": "b"}),
        ("estimator.environment.A=x=y", lambda t: t.estimator.environment == {"A": "x=y"}),
        ("random_seed=0", lambda t: t.random_seed == 0),
        ("early_stopping_type=Off", lambda t: t.early_stopping_type == "Off"),
        ("autotune=off", lambda t: t.autotune is False),
        ("estimator.environment.A='yes'", lambda t: t.estimator.environment == {"A": "yes"}),
    ],
)
def test_an_override_changes_one_value(write, override, read):
    assert read(load(write(SPEC), overrides=[override]))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("max_jobs", "an override has the form PATH=VALUE"),
        ("=5", "an override has the form PATH=VALUE"),
        ("max_jobs.x=5", "goes through a value that has no fields"),
        ("max_job=5", "did you mean 'max_jobs'"),
        ("max_jobs=0", "max_jobs: "),
        ("early_stopping_type=On", "'Off' or 'Auto', but got True; YAML reads yes, no, on and off as booleans: put"),
        ("base_tuning_job_name=no", "base_tuning_job_name: input should be a valid string, but got False; YAML reads"),
        ("base_tuning_job_name=2.10", """but got 2.1; put it in quotes, in a shell as --set 'NAME="2.10"'"""),
        ("estimator.environment.A=yes", """put text in quotes, in a shell as --set 'NAME="yes"'"""),
    ],
)
def test_a_wrong_override_is_refused(write, override, sentence):
    with pytest.raises(SpecError, match=re.escape(sentence)):
        load(write(SPEC), overrides=[override])


def test_variables_are_replaced_and_keep_their_type(write):
    text = SPEC.replace("max_jobs: 4", "max_jobs: ${N}").replace("ml.m5.large", "ml.${FAMILY:-m5}.xlarge")
    tuning = load(write(text), environ={"N": "12"})
    assert (tuning.max_jobs, tuning.estimator.instance_type) == (12, "ml.m5.xlarge")
    assert load(write(text), environ={"N": "3", "FAMILY": "c5"}).estimator.instance_type == "ml.c5.xlarge"


def test_variables_come_from_the_environment_of_the_process(write, monkeypatch):
    monkeypatch.setenv("TRIALS_OF_TEST", "6")
    assert load(write(SPEC.replace("max_jobs: 4", "max_jobs: ${TRIALS_OF_TEST}"))).max_jobs == 6


def test_a_variable_that_is_not_set_is_named(write):
    with pytest.raises(SpecError, match=r"the variable \$\{N\} is not set"):
        load(write(SPEC.replace("max_jobs: 4", "max_jobs: ${N}")), environ={})


def test_a_doubled_dollar_is_plain_text(write):
    text = SPEC.replace('"reg:squarederror"', "'$${N}'")
    assert load(write(text), environ={}).estimator.hyperparameters["objective"] == "${N}"


@pytest.mark.parametrize(
    ("text", "name", "sentence"),
    [
        ("a: [", "spec.yaml", "this is not YAML"),
        ("{", "spec.json", "this is not JSON"),
        ("- a", "spec.yaml", "a spec file holds a mapping of fields, but this holds list"),
        ("", "spec.yaml", "a spec file holds a mapping of fields, but this holds NoneType"),
        (SPEC + "max_jobs: 5", "spec.yaml", "duplicate key 'max_jobs'"),
        ('{"max_jobs": 1, "max_jobs": 2}', "spec.json", "duplicate key 'max_jobs'"),
        (
            f"{SPEC}tags:\n  <<: {{a: b}}\n",
            "spec.yaml",
            "has the key <<, and mappings are not merged: write the keys out",
        ),
        (SPEC.replace("max_jobs", "max_job"), "spec.yaml", "unknown key 'max_job'; did you mean 'max_jobs'"),
        (SPEC.replace("num_round", "sagemaker_program"), "spec.yaml", "these names belong to SageMaker"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name(write, text, name, sentence):
    path = write(text, name)
    with pytest.raises(SpecError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert sentence in str(caught.value)


def test_a_pipe_is_read_if_a_program_writes_to_it(tmp_path):
    """Without one, the program would wait forever."""
    pipe = tmp_path / "spec.yaml"
    os.mkfifo(pipe)
    with pytest.raises(SpecError, match=r"cannot read the spec file '.*': it is a pipe, and no program writes to it"):
        load(pipe)
    reading, writing = os.pipe()
    os.write(writing, SPEC.encode())
    os.close(writing)
    assert load(f"/dev/fd/{reading}").max_jobs == 4
    os.close(reading)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SpecError, match=r"cannot read the spec file '.*no\.yaml': No such file or directory"):
        load(tmp_path / "no.yaml")


def test_a_file_that_is_not_text_is_named(tmp_path):
    (tmp_path / "spec.yaml").write_bytes(b"a: \xff")
    with pytest.raises(SpecError, match="UTF-8"):
        load(tmp_path / "spec.yaml")


def test_an_unknown_ending_is_refused_and_nothing_is_left_behind(write, tmp_path):
    tuning = load(write(SPEC))
    with pytest.raises(SpecError, match=r"ends in \.yaml, \.yml or \.json"):
        dump(tuning, tmp_path / "spec.toml")
    assert [path.name for path in tmp_path.iterdir()] == ["spec.yaml"]


def test_small_numbers_in_yaml_are_numbers(write):
    assert load(write(SPEC)).hyperparameter_ranges["eta"].min_value == 0.001


@pytest.fixture(scope="module")
def validator():
    jsonschema = pytest.importorskip("jsonschema")
    built = jsonschema.Draft202012Validator(schema())
    built.check_schema(schema())
    return built


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_the_schema_takes_the_shipped_files(validator, path):
    validator.validate(yaml.safe_load(path.read_text()))
    assert isinstance(load(path), Tuning)


@given(tuning=tunings())
def test_the_schema_takes_every_file_that_is_written(validator, tuning):
    validator.validate(to_data(tuning))


@pytest.mark.parametrize(
    "change",
    [
        {"max_job": 5},
        {"max_jobs": "many"},
        {"strategy": "bayes"},
        {"hyperparameter_ranges": {"eta": {"type": "continuous", "min_value": 1}}},
        {"estimator": {"type": "xgboost", "instance_typ": "ml.m5.large"}},
    ],
)
def test_the_schema_refuses_what_a_spec_refuses(validator, change):
    data = yaml.safe_load(SPEC) | change
    assert not validator.is_valid(data)
    with pytest.raises(SpecError):
        Tuning.parse(data)


def test_a_tuning_writes_itself_to_a_file_that_reads_back(tmp_path: Path) -> None:
    tuning = load(Path(__file__).parents[2] / "estimators" / "pytorch-digits.yaml")

    assert load(tuning.dump(tmp_path / "again.json")) == tuning


def test_a_spec_or_the_path_of_its_file_serves_where_a_tuning_is_wanted(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "estimators" / "xgboost-diabetes.yaml"
    read = load(shipped)
    assert as_tuning(shipped) == as_tuning(str(shipped)) == read
    assert as_tuning(read) is read
    with pytest.raises(SpecError, match="a Tuning, or the path of a spec file, is needed here, but got int"):
        as_tuning(3)
