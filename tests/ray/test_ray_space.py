"""Search spaces of Ray Tune as tunings, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sm_tuning as smt
from sm_tuning.ray import domains

tune = pytest.importorskip("ray.tune")
from ray.tune import schedulers, search  # noqa: E402  (after the check that it is there)

pytestmark = pytest.mark.ray

SCRIPT: dict[str, Any] = {
    "type": "pytorch",
    "framework_version": "2.6",
    "py_version": "py312",
    "entry_point": "train.py",
    "instance_type": "ml.m5.large",
    "metric_definitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
}


def read(space: Any, **options: Any) -> smt.Tuning:
    config = options.pop("tune_config", None) or tune.TuneConfig(metric="loss", mode="min", num_samples=4)
    return smt.from_ray(space, estimator={**SCRIPT, **options.pop("script", {})}, tune_config=config, **options)


def range_of(domain: Any) -> Any:
    spec = read({"x": domain, "other": tune.uniform(0, 1)})
    return spec.hyperparameter_ranges.get("x", spec.estimator.hyperparameters.get("x"))


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        (tune.uniform(0.1, 2), smt.ContinuousParameter(0.1, 2, "Linear")),
        (tune.loguniform(1e-4, 0.1), smt.ContinuousParameter(1e-4, 0.1, "Logarithmic")),
        (tune.randint(1, 10), smt.IntegerParameter(1, 9, "Linear")),
        (tune.lograndint(1, 1000), smt.IntegerParameter(1, 999, "Logarithmic")),
        (tune.choice([16, 32, "auto"]), smt.CategoricalParameter([16, 32, "auto"])),
        (tune.choice(np.array([2, 4])), smt.CategoricalParameter([2, 4])),
        (tune.quniform(0.1, 0.5, 0.1), smt.CategoricalParameter([0.1, 0.2, 0.3, 0.4, 0.5])),
        (tune.qrandint(10, 35, 10), smt.CategoricalParameter([10, 20, 30])),
        (tune.qrandint(1, 100, 1), smt.IntegerParameter(1, 99, "Linear")),
        (optuna.distributions.FloatDistribution(0.1, 1), smt.ContinuousParameter(0.1, 1, "Linear")),
        (optuna.distributions.FloatDistribution(0.1, 0.5, step=0.2), smt.CategoricalParameter([0.1, 0.3, 0.5])),
        (optuna.distributions.IntDistribution(1, 8, log=True), smt.IntegerParameter(1, 8, "Logarithmic")),
        (optuna.distributions.CategoricalDistribution(["a", "b"]), smt.CategoricalParameter(["a", "b"])),
        (tune.choice([7]), 7),
        (tune.randint(3, 4), 3),
        (5, 5),
        (np.float64(0.5), 0.5),
        ("text", "text"),
        ({"layers": [64, 64]}, {"layers": [64, 64]}),
    ],
    ids=repr,
)
def test_domains_become_ranges_and_constants_static(domain: Any, expected: Any) -> None:
    assert range_of(domain) == expected


def test_quantized_domains_have_the_values_that_ray_draws() -> None:
    for domain in (tune.quniform(0.1, 0.5, 0.1), tune.qrandint(10, 35, 10), tune.qrandint(0, 8, 2)):
        drawn = {round(float(value), 9) for value in domain.sample(size=400)}
        assert drawn == {float(value) for value in range_of(domain).values}


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        (tune.randn(2, 0.5), r"param_space\.x: randn .* use tune.uniform\(0.5, 3.5\)"),
        (tune.qrandn(2, 0.5, 0.1), r"param_space\.x: randn "),
        (
            tune.qloguniform(1, 100, 1),
            r"param_space\.x: steps of q=1 on a logarithmic scale .* tune.loguniform\(1, 100\)",
        ),
        (tune.qlograndint(1, 100, 2), r"param_space\.x: steps of q=2 on a logarithmic scale"),
        (tune.quniform(0, 10, 0.1), r"param_space\.x: steps of q=0.1 make more than 30 values"),
        (tune.sample_from(lambda config: 1), r"param_space\.x: sample_from .*study.when"),
        (max, r"param_space\.x: the function .* give a domain"),
        ({"lr": tune.uniform(0, 1)}, r"param_space\.x: nested parameters .* name each of 'lr' at the top"),
        (tune.choice([[64, 64], [32]]), r"param_space\.x: values holds \[64, 64\], .* write it as text"),
        (tune.choice([None, 1]), r"param_space\.x: values holds None"),
        (tune.choice([1, 1]), r"param_space\.x: categorical values must differ"),
        (tune.choice(list(range(40))), r"param_space\.x: a categorical range has 2 to 30 values"),
        ({"a": {"grid_search": [1]}, "b": 2}, r"param_space\.x: nested parameters"),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
def test_what_has_no_counterpart_names_the_field_and_what_to_write(domain: Any, message: str) -> None:
    with pytest.raises(smt.SpecError, match=message):
        range_of(domain)
    ranges = {"x": smt.ContinuousParameter(0, 1)}
    assert read({"x": domain, "y": 1}, hyperparameter_ranges=ranges).hyperparameter_ranges == ranges


def test_a_tune_config_gives_objective_and_budget() -> None:
    config = tune.TuneConfig(metric="loss", mode="max", num_samples=9, max_concurrent_trials=3, time_budget_s=600.5)
    spec = read(
        {"lr": tune.uniform(0, 1), "epochs": 3}, tune_config=config, script={"hyperparameters": {"lr": 1, "a": 2}}
    )
    assert (spec.objective_metric_name, spec.objective_type, spec.strategy) == ("loss", "Maximize", "Random")
    assert (spec.max_jobs, spec.max_parallel_jobs, spec.max_runtime_in_seconds) == (9, 3, 601)
    assert spec.estimator.hyperparameters == {"a": 2, "epochs": 3}
    assert read({"lr": tune.uniform(0, 1)}, strategy="Bayesian", max_jobs=2).strategy == "Bayesian"


def test_a_run_config_gives_name_and_storage() -> None:
    config = tune.RunConfig(name="my_run!", storage_path="s3://runs/ray")
    spec = read({"lr": tune.uniform(0, 1)}, run_config=config)
    assert (spec.base_tuning_job_name, spec.ray) == ("my-run", smt.RaySettings(storage_path="s3://runs/ray"))
    assert read({"lr": tune.uniform(0, 1)}, run_config=tune.RunConfig()).ray is None


def test_a_grid_is_the_strategy_grid() -> None:
    config = tune.TuneConfig(metric="loss", mode="min")
    spec = read({"a": tune.grid_search([1, 2]), "b": search.sample.Categorical([3, 4]).grid()}, tune_config=config)
    assert (spec.strategy, spec.max_jobs) == ("Grid", None)
    with pytest.raises(smt.SpecError, match="a are tried in full, and b at random"):
        read({"a": tune.grid_search([1, 2]), "b": tune.uniform(0, 1)}, tune_config=config)
    with pytest.raises(smt.SpecError, match=r"tune_config\.num_samples: 4 runs each combination"):
        read({"a": tune.grid_search([1, 2])})


def test_asha_is_the_strategy_hyperband() -> None:
    asha = schedulers.ASHAScheduler(grace_period=3, max_t=27, reduction_factor=3, metric="loss", mode="min")
    spec = read({"lr": tune.uniform(0, 1)}, tune_config=tune.TuneConfig(scheduler=asha, num_samples=5))
    assert spec.strategy_config == smt.HyperbandConfig(min_resource=3, max_resource=27)
    assert (spec.strategy, spec.objective_metric_name, spec.objective_type) == ("Hyperband", "loss", "Minimize")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"scheduler": schedulers.ASHAScheduler()},
            r"tune_config\.scheduler: reduction_factor is 4, .*reduction_factor=3",
        ),
        (
            {"scheduler": schedulers.ASHAScheduler(time_attr="time_total_s", reduction_factor=3)},
            r"tune_config\.scheduler: time_attr 'time_total_s'",
        ),
        (
            {"scheduler": schedulers.HyperBandScheduler()},
            r"tune_config\.scheduler: HyperBandScheduler .* ASHAScheduler",
        ),
        ({"scheduler": schedulers.MedianStoppingRule()}, r"MedianStoppingRule .* early_stopping_type='Auto'"),
        (
            {
                "scheduler": schedulers.PopulationBasedTraining(
                    perturbation_interval=4, hyperparam_mutations={"lr": [1, 2]}
                )
            },
            r"PopulationConfig\(size=…, max_resource=…, interval=4, quantile=0.25",
        ),
        (
            {"search_alg": search.ConcurrencyLimiter(search.Searcher(), 2)},
            r"tune_config\.search_alg: .* strategy='Bayesian'",
        ),
        ({"num_samples": -1}, r"tune_config\.num_samples: -1 has no end"),
        ({"metric": None}, r"tune_config\.metric: is None"),
        ({"mode": None}, r"tune_config\.mode: is None"),
    ],
    ids=str,
)
def test_a_tune_config_that_cannot_be_honoured_is_refused(options: dict[str, Any], message: str) -> None:
    config = tune.TuneConfig(**{"metric": "loss", "mode": "min", "num_samples": 4, **options})
    with pytest.raises(smt.SpecError, match=message):
        read({"lr": tune.uniform(0, 1)}, tune_config=config)


def test_stoppers_and_functions_are_refused() -> None:
    with pytest.raises(smt.SpecError, match=r"run_config\.stop: .*completion_criteria"):
        read({"lr": tune.uniform(0, 1)}, run_config=tune.RunConfig(stop={"training_iteration": 3}))
    with pytest.raises(smt.SpecError, match="a trainable function cannot be converted"):
        smt.from_ray({"lr": tune.uniform(0, 1)}, estimator=lambda config: None)
    with pytest.raises(smt.SpecError, match="param_space must be a mapping"):
        read([])


finite = st.floats(1e-6, 1e6)
scales = st.sampled_from(["Linear", "Logarithmic"])


def _bounds(values: Any) -> Any:
    return st.tuples(values, values).filter(lambda pair: pair[0] != pair[1]).map(sorted)


numbers = st.one_of(
    st.builds(lambda b, s: smt.ContinuousParameter(*b, s), _bounds(finite), scales),
    st.builds(lambda b, s: smt.IntegerParameter(*b, s), _bounds(st.integers(1, 10**6)), scales),
)
choices = st.lists(st.integers() | st.text("abcd", min_size=1), min_size=2, max_size=30, unique_by=str).map(
    smt.CategoricalParameter
)
names = st.text("abcdefgh", min_size=1, max_size=8)
constants = st.one_of(st.integers(), st.booleans(), st.text(max_size=5), st.lists(st.integers(), max_size=3), st.none())


@given(
    st.one_of(
        st.dictionaries(names, numbers | choices, min_size=1, max_size=4),
        st.dictionaries(names, choices, min_size=1, max_size=2),
    ),
    st.dictionaries(names.map("static_".__add__), constants, max_size=3),
    st.booleans(),
)
def test_the_space_of_a_tuning_reads_back_as_that_tuning(ranges: Any, static: Any, grid: bool) -> None:
    is_grid = grid and all(isinstance(item, smt.CategoricalParameter) for item in ranges.values())
    spec = smt.Tuning.parse(
        {
            "estimator": {**SCRIPT, "hyperparameters": static},
            "objective_metric_name": "loss",
            "objective_type": "Minimize",
            "hyperparameter_ranges": ranges,
            "strategy": "Grid" if is_grid else "Random",
        }
    )
    config = tune.TuneConfig(metric="loss", mode="min", num_samples=1)
    assert smt.from_ray(domains(spec), estimator=spec.estimator, tune_config=config) == spec


def test_a_scale_that_ray_lacks_is_refused() -> None:
    spec = read({"lr": tune.uniform(0, 1)})
    odd = spec.replace(hyperparameter_ranges={"beta": smt.ContinuousParameter(0.9, 0.99, "ReverseLogarithmic")})
    with pytest.raises(
        smt.SpecError, match=r"hyperparameter_ranges\.beta\.scaling_type: Ray has no ReverseLogarithmic"
    ):
        domains(odd)
