"""A Weights & Biases sweep becomes a tuning that searches the same values, or says what SageMaker cannot do."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from command_line import separate_runner
from hypothesis import given
from hypothesis import strategies as st

import sm_tuning as smt
from sm_tuning.cli import main
from sm_tuning.request import to_request, violations

NAME = "validation:accuracy"
METRIC = {"name": NAME, "goal": "maximize"}
ROLE = "arn:aws:iam::123456789012:role/train"
PYTORCH: dict[str, Any] = {
    "framework_version": "2.6",
    "py_version": "py312",
    "instance_type": "ml.m5.large",
    "metric_definitions": {NAME: r"acc=([0-9.]+)"},
    "role": ROLE,
    "output_path": "s3://bucket/out",
}
ESTIMATOR = smt.PyTorchEstimator(
    entry_point="train.py",
    source_dir="s3://bucket/source.tar.gz",
    hyperparameters={"epochs": 9, "hidden": 64},
    **PYTORCH,
)


def imported(space: Any = None, *, overrides: dict[str, Any] | None = None, **sweep: Any) -> smt.Tuning:
    base = {
        "method": "random",
        "metric": METRIC,
        "run_cap": 5,
        "parameters": space or {"lr": {"min": 0.1, "max": 1}},
    }
    return smt.from_wandb_sweep({**base, **sweep}, estimator=ESTIMATOR, inputs="s3://bucket/data", **(overrides or {}))


def ranges(space: Any, **sweep: Any) -> dict[str, Any]:
    return dict(imported(space, **sweep).hyperparameter_ranges)


def refused(space: Any = None, **sweep: Any) -> str:
    with pytest.raises(smt.SpecError) as caught:
        imported(space, **sweep)
    assert all(problem.startswith("sweep: ") for problem in caught.value.problems)
    return str(caught.value)


def test_a_whole_sweep_file_becomes_a_tuning(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(
        """
program: train.py
name: Find a good one!
entity: we
project: digits
method: bayes
metric: {name: "validation:accuracy", goal: maximize, target: 0.99}
run_cap: 20
command: ["${env}", "${interpreter}", "${program}", "${args}", "--workers=4"]
parameters:
  lr: {distribution: log_uniform_values, min: 1e-4, max: 1e-1}
  dropout: {min: 0.0, max: 0.5}
  layers: {min: 1, max: 4}
  optimizer: {values: [adam, sgd]}
  epochs: {value: 3}
  augment: {values: [true]}
""",
        encoding="utf-8",
    )

    tuning = smt.from_wandb_sweep(tmp_path / "sweep.yaml", estimator=ESTIMATOR, inputs="s3://bucket/data")

    assert tuning == smt.Tuning(
        estimator=ESTIMATOR.replace(hyperparameters={"hidden": 64, "epochs": 3, "augment": True, "workers": 4}),
        inputs="s3://bucket/data",
        objective_metric_name=NAME,
        objective_type="Maximize",
        hyperparameter_ranges={
            "lr": smt.ContinuousParameter(1e-4, 1e-1, scaling_type="Logarithmic"),
            "dropout": smt.ContinuousParameter(0.0, 0.5, scaling_type="Linear"),
            "layers": smt.IntegerParameter(1, 4, scaling_type="Linear"),
            "optimizer": smt.CategoricalParameter(["adam", "sgd"]),
        },
        strategy="Bayesian",
        max_jobs=20,
        completion_criteria=smt.CompletionCriteria(target_objective_metric_value=0.99),
        base_tuning_job_name="Find-a-good-one",
    )


def test_a_mapping_without_a_script_runs_the_sweeps_program_beside_the_file(tmp_path: Path) -> None:
    sweep = {"program": "train.py", "method": "random", "metric": METRIC, "run_cap": 2}
    sweep["parameters"] = {"lr": {"min": 0.1, "max": 1.0}}
    (tmp_path / "sweep.json").write_text(json.dumps(sweep), encoding="utf-8")

    tuning = smt.from_wandb_sweep(tmp_path / "sweep.json", estimator={"type": "pytorch", **PYTORCH})

    assert tuning.estimator is not None
    assert tuning.estimator.entry_point == str(tmp_path / "train.py")


def test_a_goal_is_minimize_when_none_is_said() -> None:
    assert imported(metric={"name": NAME}).objective_type == "Minimize"


def test_what_is_tuned_is_not_static_any_more() -> None:
    estimator = imported({"hidden": {"min": 1, "max": 9}}).estimator
    assert estimator is not None
    assert dict(estimator.hyperparameters) == {"epochs": 9}


@pytest.mark.parametrize(
    ("config", "range_"),
    [
        ({"min": 1, "max": 8}, smt.IntegerParameter(1, 8, "Linear")),
        ({"min": 1, "max": 8.0}, smt.ContinuousParameter(1, 8, "Linear")),
        ({"distribution": "uniform", "min": 1, "max": 8}, smt.ContinuousParameter(1, 8, "Linear")),
        ({"distribution": "int_uniform", "min": 1, "max": 8}, smt.IntegerParameter(1, 8, "Linear")),
        ({"distribution": "q_uniform", "min": 1, "max": 8, "q": 1}, smt.IntegerParameter(1, 8, "Linear")),
        (
            {"distribution": "log_uniform", "min": -2, "max": 3},
            smt.ContinuousParameter(math.exp(-2), math.exp(3), "Logarithmic"),
        ),
        (
            {"distribution": "inv_log_uniform", "min": -2, "max": 3},
            smt.ContinuousParameter(1 / math.exp(3), 1 / math.exp(-2), "Logarithmic"),
        ),
        (
            {"distribution": "inv_log_uniform_values", "min": 0.001, "max": 0.1},
            smt.ContinuousParameter(0.001, 0.1, "Logarithmic"),
        ),
        ({"distribution": "q_log_uniform", "min": 0, "max": 5.545}, smt.IntegerParameter(1, 256, "Logarithmic")),
        (
            {"distribution": "q_log_uniform_values", "min": 8, "max": 256, "q": 1},
            smt.IntegerParameter(8, 256, "Logarithmic"),
        ),
        ({"values": [1, 2, 4]}, smt.CategoricalParameter([1, 2, 4])),
        ({"values": ["a", "b"], "probabilities": [0.5, 0.5]}, smt.CategoricalParameter(["a", "b"])),
    ],
    ids=str,
)
def test_each_distribution_has_the_range_of_its_values(config: dict[str, Any], range_: Any) -> None:
    assert ranges({"x": config})["x"] == range_


@pytest.mark.parametrize(
    ("config", "values"),
    [
        ({"min": 2, "max": 5}, [2, 3, 4, 5]),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}, [0, 0.25, 0.5, 0.75]),
        ({"values": ["a", "b"]}, ["a", "b"]),
    ],
    ids=str,
)
def test_a_grid_lists_the_values_that_wandb_would_try(config: dict[str, Any], values: list[Any]) -> None:
    tuning = imported({"x": config, "y": {"value": 1}}, method="grid", run_cap=99)

    assert dict(tuning.hyperparameter_ranges) == {"x": smt.CategoricalParameter(values)}
    assert (tuning.strategy, tuning.max_jobs) == ("Grid", None)


@pytest.mark.parametrize(
    ("early", "resources"),
    [
        ({"min_iter": 3, "max_iter": 27}, (3, 27)),
        ({"max_iter": 27, "s": 2}, (3, 27)),
        ({"max_iter": 27, "s": 9, "eta": 3, "strict": True}, (1, 27)),
        ({"min_iter": 3}, (3, None)),  # the estimator's epochs say how long a whole trial is
    ],
    ids=str,
)
def test_early_termination_is_hyperband(early: dict[str, Any], resources: tuple[int, int | None]) -> None:
    tuning = imported(early_terminate={"type": "hyperband", **early})

    assert tuning.strategy == "Hyperband"
    assert tuning.strategy_config is not None
    assert (tuning.strategy_config.min_resource, tuning.strategy_config.max_resource) == resources


def test_a_bayesian_sweep_with_hyperband_needs_a_choice_and_takes_either() -> None:
    early = {"type": "hyperband", "min_iter": 3, "max_iter": 9}

    assert "strategy='Hyperband'" in refused(method="bayes", early_terminate=early)
    stopping = imported(method="bayes", early_terminate=early, overrides={"strategy": "Hyperband"})
    searching = imported(method="bayes", early_terminate=early, overrides={"early_stopping_type": "Auto"})
    assert (stopping.strategy, stopping.early_stopping_type) == ("Hyperband", "Off")
    assert (searching.strategy, searching.early_stopping_type) == ("Bayesian", "Auto")


def test_what_the_caller_says_wins_and_stands_in_for_what_sagemaker_cannot_do() -> None:
    tuning = imported(
        {"x": {"distribution": "normal"}, "y": {"min": 1, "max": 2}},
        overrides={"hyperparameter_ranges": {"x": smt.ContinuousParameter(-2, 2)}, "max_jobs": 7, "random_seed": 0},
    )

    assert set(tuning.hyperparameter_ranges) == {"x", "y"}
    assert (tuning.max_jobs, tuning.random_seed) == (7, 0)


def test_exponents_that_look_like_values_are_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"values lie between 1\.0\d* and 1\.105; .* say log_uniform_values"):
        imported({"lr": {"distribution": "log_uniform", "min": 0.001, "max": 0.1}})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"distribution": "normal", "mu": 1, "sigma": 2}, ["normal", "uniform with min: -5 and max: 7"]),
        ({"distribution": "q_normal", "q": 2}, ["normal", "min: -3 and max: 3"]),
        ({"distribution": "log_normal", "mu": -6}, ["log_normal", "log_uniform with min: -9 and max: -3"]),
        ({"distribution": "q_log_normal"}, ["log_normal"]),
        ({"distribution": "beta", "a": 2}, ["beta (a=2, b=1)"]),
        ({"distribution": "q_beta"}, ["beta"]),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.5}, ["q=0.5", "values: [0, 0.5, 1]"]),
        ({"distribution": "q_uniform", "min": 0, "max": 900, "q": 5}, ["q=5", "larger steps"]),
        (
            {"distribution": "q_log_uniform_values", "min": 1e-5, "max": 3e-3},
            ["min=1e-05", "max=0.003", "multiples of q=1", "the one value 0", "distribution: log_uniform_values"],
        ),
        ({"distribution": "q_uniform", "min": 0.6, "max": 0.9}, ["q=1", "the one value 1"]),
        ({"distribution": "log_uniform", "min": -1e-18, "max": 1e-18}, ["the one value 1.0"]),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0}, ["q must be above 0, but is 0"]),
        ({"distribution": "log_unifrm", "min": 1, "max": 2}, ["'log_unifrm'", "did you mean 'log_uniform'"]),
        ({"distribution": "log_uniform", "min": 1, "max": 2000}, ["natural exponents", "2000"]),
        ({"distribution": "log_uniform", "min": -2000, "max": 1}, ["natural exponents", "-2000"]),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, ["0 < min", "min=0"]),
        ({"distribution": "int_uniform", "min": 0.5, "max": 3}, ["whole numbers", "min=0.5"]),
        ({"distribution": "uniform", "min": "1e-4", "max": 1}, ["min must be a finite number, but is '1e-4'"]),
        ({"distribution": "uniform", "max": 1}, ["min is required"]),
        ({"distribution": "constant"}, ["needs value"]),
        ({"min": 3, "max": 1}, ["min <= max must hold, but got min=3, max=1"]),
        ({"min": 1, "max": 3, "q": 1}, ["int_uniform", "'q'"]),
        ({"min": 1}, ["needs value, values, or min and max, but has min"]),
        ({}, ["has nothing"]),
        (3, ["{value: …}", "this is 3"]),
        ({"values": []}, ["not empty"]),
        ({"values": [[64, 64], [128]]}, ["[64, 64]", "'64,64'"]),
        ({"values": list(range(31))}, ["2 to 30 values, but got 31"]),
        ({"values": [1, 2], "probabilities": [0.2, 0.8]}, ["probabilities [0.2, 0.8]", "leave probabilities out"]),
        ({"parameters": {"width": {"value": 3}}}, ["nested", "'width'"]),
    ],
    ids=str,
)
def test_a_parameter_that_cannot_be_is_named_with_its_value_and_what_to_do(config: Any, words: list[str]) -> None:
    said = refused({"x": config})
    assert said.startswith("sweep: parameters.x: ")
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    ("sweep", "words"),
    [
        ({"metrik": 1}, ["'metrik'", "did you mean 'metric'"]),
        ({"metric": None}, ["metric must say name"]),
        ({"metric": {"name": NAME, "goal": "max"}}, ["metric.goal", "'max'"]),
        ({"metric": {"name": NAME, "impute": "best"}}, ["metric.impute", "'best'", "remove it"]),
        ({"metric": {"name": "loss"}}, ["'loss'", "metric_definitions"]),
        ({"method": "custom"}, ["method must be one of bayes, random, grid, but is 'custom'"]),
        ({"run_cap": None}, ["run_cap is missing", "max_jobs"]),
        ({"run_cap": 0}, ["max_jobs", "0"]),
        ({"parameters": None}, ["parameters must be a mapping"]),
        ({"scheduler": {"engine": "optuna"}}, ["scheduler", "'optuna'"]),
        ({"metrics": [METRIC]}, ["metrics", "one metric"]),
        ({"job": "we/digits/job:latest"}, ["job", "estimator"]),
        ({"image_uri": "own:1"}, ["image_uri", "ContainerEstimator"]),
        ({"program": "other.py"}, ["program", "'other.py'", "'train.py'"]),
        ({"command": "python train.py"}, ["command must be a list"]),
        ({"command": ["torchrun", "${program}"]}, ["'torchrun'", "distribution"]),
        ({"command": ["python", "${program}", "${args_no_hyphens}"]}, ["${args_no_hyphens}", "--name value"]),
        ({"early_terminate": {"type": "median"}}, ["of type hyperband"]),
        ({"early_terminate": {"type": "hyperband"}}, ["needs min_iter, or max_iter and s"]),
        ({"early_terminate": {"type": "hyperband", "min_iter": 0.5}}, ["min_iter must be a whole number from 1"]),
        ({"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 2}}, ["eta: 2", "strategy_config"]),
        ({"early_terminate": {"type": "hyperband", "min_itr": 1}}, ["'min_itr'", "did you mean 'min_iter'"]),
        ({"method": "grid", "early_terminate": {"type": "hyperband", "min_iter": 1}}, ["cannot go with Grid"]),
        ({"method": "grid"}, ["continuous range", "list values"]),
    ],
    ids=str,
)
def test_a_sweep_that_cannot_be_is_told_with_what_to_do(sweep: dict[str, Any], words: list[str]) -> None:
    said = refused(**sweep)
    assert all(word in said for word in words), said


def test_no_more_trials_are_asked_for_than_there_are_combinations() -> None:
    assert imported({"x": {"values": [1, 2, 3]}}).max_jobs == 3
    assert imported({"x": {"values": [1, 2, 3]}, "y": {"min": 1, "max": 2}}, method="bayes").max_jobs == 5


def test_a_grid_that_is_cut_short_is_refused() -> None:
    said = refused({"x": {"values": [1, 2, 3]}, "y": {"values": [1, 2]}}, method="grid", run_cap=5)
    assert "run_cap: 5 of 6 combinations" in said


def test_hyperband_needs_to_know_the_length_of_a_trial() -> None:
    sweep = {"method": "random", "metric": METRIC, "run_cap": 5, "parameters": {"lr": {"min": 0.1, "max": 1}}}
    sweep["early_terminate"] = {"type": "hyperband", "min_iter": 2}
    with pytest.raises(smt.SpecError, match="add max_iter"):
        smt.from_wandb_sweep(sweep, estimator=ESTIMATOR.replace(hyperparameters={}))


def test_flags_without_values_are_refused_where_there_are_booleans() -> None:
    command = ["python", "train.py", "${args_no_boolean_flags}"]

    assert "gives amp as a flag" in refused({"amp": {"values": [True, False]}}, command=command)
    assert imported(command=command).max_jobs == 5


def test_a_file_that_is_no_sweep_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- 1\n", encoding="utf-8")

    with pytest.raises(smt.SpecError, match=r"list\.yaml: a sweep is a mapping"):
        smt.from_wandb_sweep(tmp_path / "list.yaml", estimator=ESTIMATOR)
    with pytest.raises(smt.SpecError, match="cannot read the sweep file"):
        smt.from_wandb_sweep(tmp_path / "none.yaml", estimator=ESTIMATOR)
    with pytest.raises(smt.SpecError, match="estimator must be"):
        smt.from_wandb_sweep({}, estimator="train.py")  # type: ignore[arg-type]


NUMBERS = st.floats(-20, 20).map(lambda value: float(f"{value:.6g}"))
SPANS = st.tuples(NUMBERS, NUMBERS).map(sorted)
WHOLE = st.tuples(st.integers(-50, 50), st.integers(-50, 50)).map(sorted)
POSITIVE = st.tuples(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3)).map(sorted)
PARAMETER = st.one_of(
    st.builds(lambda s: {"min": s[0], "max": s[1]}, st.one_of(SPANS, WHOLE)),
    st.builds(lambda s: {"distribution": "uniform", "min": s[0], "max": s[1]}, SPANS),
    st.builds(lambda s: {"distribution": "log_uniform", "min": s[0] - 21, "max": s[1]}, SPANS),
    st.builds(lambda s: {"distribution": "inv_log_uniform", "min": s[0] - 21, "max": s[1]}, SPANS),
    st.builds(
        lambda kind, s: {"distribution": kind, "min": s[0], "max": s[1]},
        st.sampled_from(["log_uniform_values", "inv_log_uniform_values"]),
        POSITIVE,
    ),
    st.builds(lambda s: {"distribution": "q_uniform", "min": s[0], "max": s[1]}, WHOLE),
    st.builds(lambda v: {"values": v}, st.lists(st.integers(-99, 99), min_size=1, max_size=30, unique=True)),
    st.builds(lambda v: {"value": v}, st.one_of(st.integers(-9, 9), NUMBERS, st.booleans(), st.text(max_size=5))),
)


def drawn(config: dict[str, Any], share: float) -> float:
    """A value as W&B draws it: the distribution's quantile."""
    low, high = config["min"], config["max"]
    at = low + share * (high - low)
    logarithmic = math.exp(math.log(low) + share * (math.log(high) - math.log(low))) if low > 0 else math.nan
    return {
        "log_uniform": lambda: math.exp(at),
        "inv_log_uniform": lambda: math.exp(-at),
        "log_uniform_values": lambda: logarithmic,
        "inv_log_uniform_values": lambda: logarithmic,
        "q_uniform": lambda: float(round(at)),
    }.get(config.get("distribution", ""), lambda: at)()


@given(
    parameters=st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True), PARAMETER, max_size=8),
    method=st.sampled_from(["random", "bayes"]),
    share=st.floats(0, 1),
)
def test_every_import_makes_a_valid_request_over_the_same_values(
    parameters: dict[str, Any], method: str, share: float
) -> None:
    tuning = imported({"always": {"min": 0.0, "max": 1.0}, **parameters}, method=method)

    request = to_request(tuning, name="sweep", region="us-east-1")
    assert violations("CreateHyperParameterTuningJob", request) == []
    for name, range_ in tuning.hyperparameter_ranges.items():
        config = parameters.get(name, {"min": 0.0, "max": 1.0})
        if "values" in config:
            assert list(range_.values) == config["values"]  # type: ignore[union-attr]
        else:
            value = drawn(config, share)
            slack = 1e-9 * abs(value) + 1e-12  # exp(log(x)) is not quite x
            assert range_.min_value - slack <= value <= range_.max_value + slack  # type: ignore[union-attr]
    ends = {name: config for name, config in parameters.items() if name not in tuning.hyperparameter_ranges}
    assert all("value" in c or len(c.get("values", [0])) == 1 or c.get("min") == c.get("max") for c in ends.values())


@pytest.fixture
def base(tmp_path: Path) -> Path:
    tuning = smt.Tuning(
        estimator=ESTIMATOR,
        inputs={"train": "s3://bucket/data"},
        objective_metric_name=NAME,
        hyperparameter_ranges={"lr": smt.ContinuousParameter(0.1, 0.2)},
    )
    return tuning.dump(tmp_path / "base.yaml")


def test_the_command_writes_a_file_that_loads(base: Path, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(f"method: random\nmetric: {{name: '{NAME}'}}\nparameters: {{lr: {{min: 0.5, max: 2.0}}}}\n")
    args = ["import", str(sweep), "--like", str(base), "-o", str(tmp_path / "out.yaml")]
    sets = ["--set", "max_jobs=3", "--set", "estimator.instance_type=ml.m5.xlarge"]

    without = separate_runner().invoke(main, args)
    done = separate_runner().invoke(main, [*args, *sets])

    assert (without.exit_code, done.exit_code) == (2, 0)
    assert "run_cap is missing" in without.stderr
    assert "sm-tuning check" in done.stderr
    written = smt.load(tmp_path / "out.yaml")
    assert written.estimator is not None
    assert (written.max_jobs, written.estimator.instance_type) == (3, "ml.m5.xlarge")
    assert dict(written.inputs) == {"train": smt.Input(uri="s3://bucket/data")}
