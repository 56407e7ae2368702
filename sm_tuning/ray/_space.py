"""A search space and a TuneConfig of Ray Tune as a tuning, and back.

Domains have the meaning of ``ray.tune.search.sample`` in Ray 2.60. A setting that the tuning cannot honour is an error
that names the field and what to write instead.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sm_tuning._errors import MissingExtraError, Problem, SpecError
from sm_tuning.spec import (
    AnyEstimator,
    CategoricalParameter,
    Constant,
    ContinuousParameter,
    Converted,
    Estimator,
    IntegerParameter,
    Tuning,
    choice_of,
    without_noise,
)

#: The most values that quantized domains may have: that of a categorical range.
_MOST = 30
_ETA = 3.0  # the factor of the paper, and of the strategy Hyperband
_MODES = {"min": "Minimize", "max": "Maximize"}
_OR_A_RANGE = "or give a range in hyperparameter_ranges"


def from_ray(
    param_space: Mapping[str, Any],
    *,
    estimator: AnyEstimator | Mapping[str, Any],
    inputs: Any = None,
    tune_config: Any = None,
    run_config: Any = None,
    **overrides: Any,
) -> Tuning:
    """Read a search space of Ray Tune as a tuning that searches the same space.

    Domains become ranges, constants static hyperparameters, a space of ``tune.grid_search`` the strategy Grid, and
    ASHA the strategy Hyperband. Quantized domains of at most 30 values become categorical ranges. Distributions of
    Optuna are accepted in place of domains. A trainable function is not converted: the estimator's script is trained.

    Args:
        param_space: hyperparameter -> domain or constant, as for ``tune.Tuner``.
        estimator: what is trained; constants and tuned hyperparameters replace its own of the same name.
        inputs: as for ``Tuning``.
        tune_config: a ``tune.TuneConfig``: metric, mode, number of samples, scheduler and time budget.
        run_config: a ``tune.RunConfig``, of which name and storage path are read.
        **overrides: fields of ``Tuning``; they replace those that are converted, and a range in
            ``hyperparameter_ranges`` replaces a domain that cannot be converted.

    Raises:
        SpecError: a setting has no counterpart (the message says what to write instead), or the tuning breaks a rule.
        MissingExtraError: Ray is not installed.
    """
    if not hasattr(param_space, "items") or not param_space:
        raise SpecError(f"param_space must be a mapping of names to domains, but is {param_space!r:.100}")
    if not isinstance(estimator, Estimator | Mapping):
        raise SpecError(
            f"estimator must be an estimator or a mapping of its fields, but is {estimator!r:.100}: a trainable "
            "function cannot be converted, so name the script that trains"
        )
    given = dict(overrides.pop("hyperparameter_ranges", {}))
    space, grids, problems = _converted(param_space, given)
    fields: dict[str, Any] = {}
    strategy = "Grid" if grids else "Random"
    parts: tuple[Callable[[], dict[str, Any]], ...] = (
        lambda: _run(run_config),
        lambda: _objective(tune_config, overrides),
        lambda: _search(tune_config, {"strategy": strategy, **overrides}),
    )
    for part in parts:
        try:
            fields |= part()
        except SpecError as error:
            problems += error.details
    mixed = sorted(name for name, made in space.items() if name not in grids and not isinstance(made, Constant))
    if grids and mixed and "strategy" not in overrides:
        message = f"{', '.join(sorted(grids))} are tried in full, and {', '.join(mixed)} at random: a tuning does one"
        problems.append(Problem("", "param_space", message, "write tune.choice, or tune.grid_search for all"))
    if problems:
        raise SpecError([f"{problem}: {problem.fix}" if problem.fix else str(problem) for problem in problems])
    constants = {name: made.value for name, made in space.items() if isinstance(made, Constant)}
    ranges = {name: made for name, made in space.items() if not isinstance(made, Constant)}
    own = estimator.hyperparameters if isinstance(estimator, Estimator) else estimator.get("hyperparameters") or {}
    static = {name: value for name, value in own.items() if name not in {**ranges, **given}} | constants
    fields["estimator"] = (
        estimator.replace(hyperparameters=static)
        if isinstance(estimator, Estimator)
        else {**estimator, "hyperparameters": static}
    )
    if inputs is not None:
        fields["inputs"] = inputs
    return Tuning.parse({**fields, "hyperparameter_ranges": {**ranges, **given}, **overrides})


def domains(tuning: Tuning) -> dict[str, Any]:
    """Return the search space of a tuning for ``tune.Tuner``: domains of Ray, and static hyperparameters as constants.

    A range with the scale Auto becomes uniform, as the strategies begin with it.

    Raises:
        SpecError: the tuning has several estimators, or a range with the scale ReverseLogarithmic.
        MissingExtraError: Ray is not installed.
    """
    tune = _tune()
    if tuning.estimator is None:
        raise SpecError("a tuning on Ray has a single estimator: take the space of each by itself")
    space: dict[str, Any] = dict(tuning.estimator.hyperparameters)
    for name, range_ in tuning.hyperparameter_ranges.items():
        if isinstance(range_, CategoricalParameter):
            values = list(range_.values)
            space[name] = tune.grid_search(values) if tuning.strategy == "Grid" else tune.choice(values)
            continue
        if range_.scaling_type == "ReverseLogarithmic":
            message = "Ray has no ReverseLogarithmic scale: use Linear, or tune 1 - x on a Logarithmic one"
            raise SpecError(Problem("ray", f"hyperparameter_ranges.{name}.scaling_type", message))
        is_log = range_.scaling_type == "Logarithmic"
        if isinstance(range_, IntegerParameter):  # the end of Ray's integers is excluded
            space[name] = (tune.lograndint if is_log else tune.randint)(range_.min_value, range_.max_value + 1)
        else:
            space[name] = (tune.loguniform if is_log else tune.uniform)(range_.min_value, range_.max_value)
    return space


def _tune() -> Any:
    try:
        from ray import tune  # noqa: PLC0415  (takes a second)
    except ImportError as error:
        raise MissingExtraError("Ray", "ray") from error
    return tune


def _converted(
    space: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[dict[str, Converted], set[str], list[Problem]]:
    """Return the parameters for which no range is given, the names of those in the grid, and what is refused."""
    made: dict[str, Converted] = {}
    grids: set[str] = set()
    problems: list[Problem] = []
    for name, value in space.items():
        if name in given:
            continue
        listed = value.get("grid_search") if isinstance(value, Mapping) and set(value) == {"grid_search"} else None
        try:
            made[str(name)] = _parameter(value) if listed is None else choice_of(_plain(list(listed)))
        except SpecError as error:
            problems += [problem.below(f"param_space.{name}") for problem in error.details]
        if listed is not None or type(getattr(value, "sampler", None)).__name__ == "Grid":
            grids.add(str(name))
    return made, grids, problems


def _plain(values: Any) -> Any:
    """Return NumPy's scalars as numbers, at any depth."""
    if hasattr(values, "dtype") and hasattr(values, "tolist"):
        return values.tolist()
    return [_plain(value) for value in values] if isinstance(values, list | tuple) else values


def _parameter(value: Any) -> Converted:
    """Return a domain as a range, and a constant as itself.

    Raises:
        SpecError: it has no counterpart.
    """
    module = type(value).__module__
    if module == "ray.tune.search.sample":
        return _domain(value)
    if module == "optuna.distributions":
        return _distribution(value)
    if callable(value):
        raise SpecError(f"the function {value!r:.60} has no counterpart: give a domain such as tune.uniform(…)")
    if isinstance(value, Mapping) and any(map(_is_searched, _leaves(value))):
        inner = ", ".join(map(repr, value))
        raise SpecError(
            f"nested parameters have no counterpart, since hyperparameters are flat: name each of {inner} at the top, "
            "and let the script put them together"
        )
    return Constant(_plain(value))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from (("grid_search",) if "grid_search" in value else ())
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _is_searched(value: Any) -> bool:
    return type(value).__module__ == "ray.tune.search.sample" or value == "grid_search" or callable(value)


def _domain(domain: Any) -> Converted:
    """Return a domain of Ray as a range."""
    sampler, q = domain.get_sampler(), None
    if type(sampler).__name__ == "Quantized":
        sampler, q = sampler.sampler, sampler.q
    kind, scale = type(domain).__name__, type(sampler).__name__.lstrip("_")
    if kind == "Function":
        raise SpecError(
            "sample_from has no counterpart: give a domain such as tune.uniform(…); a study has conditions between "
            "hyperparameters (study.when)"
        )
    if kind == "Categorical":
        return choice_of(_plain(list(domain.categories)))
    if scale == "Normal":
        low, high = sampler.mean - 3 * sampler.sd, sampler.mean + 3 * sampler.sd
        raise SpecError(
            f"randn has no counterpart, since ranges have bounds: use tune.uniform({low:g}, {high:g}) (three sigma), "
            f"{_OR_A_RANGE}"
        )
    low, high, scaling = _plain(domain.lower), _plain(domain.upper), "Linear" if scale == "Uniform" else "Logarithmic"
    if q is not None and not (kind == "Integer" and q == 1):
        return _steps(float(low), float(high), float(q), scaling)
    if kind == "Integer":
        last = high - 1  # the end is excluded
        return Constant(low) if low == last else IntegerParameter(low, last, scaling)
    return Constant(low) if low == high else ContinuousParameter(low, high, scaling)


def _distribution(given: Any) -> Converted:
    """Return a distribution of Optuna as a range; its ends are included."""
    if hasattr(given, "choices"):
        return choice_of(_plain(list(given.choices)))
    scaling, is_int = "Logarithmic" if given.log else "Linear", type(given).__name__.startswith("Int")
    if given.low == given.high:
        return Constant(given.low)
    if given.step is not None and not (is_int and given.step == 1):
        values = (given.low + given.step * number for number in range(_MOST + 1))
        return _listed([value for value in without_noise(values) if value <= given.high + 1e-9], given.step)
    return (IntegerParameter if is_int else ContinuousParameter)(given.low, given.high, scaling)


def _steps(low: float, high: float, q: float, scaling: str) -> Converted:
    """Return the multiples of ``q`` between two bounds, both included, as a categorical range."""
    if scaling == "Logarithmic":
        raise SpecError(
            f"steps of q={q:g} on a logarithmic scale have no counterpart: use tune.loguniform({low:g}, {high:g}) or "
            f"tune.lograndint, and round in the script, {_OR_A_RANGE}"
        )
    first = math.ceil(low / q - 1e-9)
    last = min(math.floor(high / q + 1e-9), first + _MOST)
    return _listed(list(without_noise(step * q for step in range(first, last + 1))), q)


def _listed(values: list[float], q: float) -> Converted:
    if len(values) > _MOST:
        raise SpecError(
            f"steps of q={q:g} make more than {_MOST} values, the most of a categorical range: take larger steps, "
            f"leave q out and round in the script, {_OR_A_RANGE}"
        )
    return choice_of(values)


def _objective(config: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return metric and direction; ASHA and others may have them in place of the TuneConfig."""
    places = [place for place in (config, getattr(config, "scheduler", None)) if place is not None]

    def found(name: str) -> Any:
        values = (getattr(place, name, None) or getattr(place, f"_{name}", None) for place in places)
        return next((value for value in values if value is not None), None)

    fields: dict[str, Any] = {}
    for field, name, example in (
        ("objective_metric_name", "metric", "'validation:loss'"),
        ("objective_type", "mode", "'min'"),
    ):
        if field in given:
            continue
        value = found(name)
        if value is None or (name == "mode" and value not in _MODES):
            message = f"is {value!r}: give tune_config=tune.TuneConfig({name}={example}), or {field}"
            raise SpecError(Problem("", f"tune_config.{name}", message))
        fields[field] = _MODES[value] if name == "mode" else value
    return fields


def _search(config: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return strategy and budget."""
    fields: dict[str, Any] = {"strategy": given["strategy"]}
    if config is None:
        return fields
    problems: list[Problem] = []
    searcher, samples, budget = config.search_alg, config.num_samples, config.time_budget_s
    if searcher is not None:
        kind, points = type(searcher).__name__, getattr(searcher, "_points_to_evaluate", None)
        if kind != "BasicVariantGenerator":
            fix = "leave it out and give strategy='Bayesian', or pass it to smt.to_ray(search_alg=…)"
            problems.append(Problem("", "tune_config.search_alg", f"{kind} has no counterpart", fix))
        elif points:
            fix = "leave them out, or warm-start from a finished tuning job (warm_start)"
            problems.append(Problem("", "tune_config.search_alg", "points_to_evaluate have no counterpart", fix))
    try:
        fields |= _scheduler(config.scheduler, given)
    except SpecError as error:
        problems += error.details
    if config.max_concurrent_trials:
        fields["max_parallel_jobs"] = config.max_concurrent_trials
    if budget is not None:
        fields["max_runtime_in_seconds"] = math.ceil(getattr(budget, "total_seconds", lambda: budget)())
    if fields["strategy"] == "Grid" and samples != 1:
        message = f"{samples} runs each combination of the grid as often, and the strategy Grid once"
        problems.append(Problem("", "tune_config.num_samples", message, "give num_samples=1"))
    elif samples == -1 and budget is None and "max_jobs" not in given:
        message = "-1 has no end"
        problems.append(Problem("", "tune_config.num_samples", message, "give a number, or time_budget_s"))
    elif fields["strategy"] != "Grid" and samples != -1:
        fields["max_jobs"] = samples
    if problems:
        raise SpecError(problems)
    return fields


def _scheduler(scheduler: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the strategy of a scheduler that stops trials: ASHA is the strategy Hyperband."""
    kind = type(scheduler).__name__
    if scheduler is None or kind == "FIFOScheduler" or "strategy_config" in given:
        return {}
    where = "tune_config.scheduler"
    if kind == "PopulationBasedTraining":
        values = {
            "interval": int(scheduler._perturbation_interval),  # noqa: SLF001  (Ray has no public names)
            "quantile": scheduler._quantile_fraction,  # noqa: SLF001
            "resample_probability": scheduler._resample_probability,  # noqa: SLF001
            "factors": tuple(scheduler._perturbation_factors),  # noqa: SLF001
        }
        wanted = ", ".join(f"{name}={value!r}" for name, value in values.items())
        message = "population based training needs to know its members and how long they train"
        config = f"smt.PopulationConfig(size=…, max_resource=…, {wanted})"
        fix = f"leave scheduler out, and give ray=smt.RaySettings(pbt={config})"
        raise SpecError(Problem("", where, message, fix))
    if kind != "AsyncHyperBandScheduler":
        fix = {
            "HyperBandScheduler": "use ASHAScheduler(reduction_factor=3), which pauses no trial",
            "HyperBandForBOHB": "use ASHAScheduler(reduction_factor=3), or a study with strategy BayesianHyperband",
            "MedianStoppingRule": "leave it out and give early_stopping_type='Auto'",
            "PB2": "use population based training (ray.pbt)",
        }.get(kind, "leave it out, or pass it to smt.to_ray(scheduler=…)")
        raise SpecError(Problem("", where, f"{kind} has no counterpart", fix))
    if scheduler._time_attr != "training_iteration":  # noqa: SLF001
        message = f"time_attr {scheduler._time_attr!r} has no counterpart: Hyperband counts emissions"  # noqa: SLF001
        raise SpecError(Problem("", where, message, "leave time_attr out"))
    factor = float(scheduler._reduction_factor)  # noqa: SLF001
    if factor != _ETA:
        message = f"reduction_factor is {factor:g}, and that of the strategy Hyperband is {_ETA:g}"
        fix = "give ASHAScheduler(reduction_factor=3), or pass the scheduler to smt.to_ray(scheduler=…)"
        raise SpecError(Problem("", where, message, fix))
    lowest = scheduler._brackets[0]._rungs[-1][0]  # noqa: SLF001  (grace_period is not kept)
    resources = {"min_resource": int(lowest), "max_resource": int(scheduler._max_t)}  # noqa: SLF001
    return {"strategy": "Hyperband", "strategy_config": resources}


def _run(config: Any) -> dict[str, Any]:
    """Return the name and the storage of a RunConfig; how it keeps checkpoints and retries changes no trial."""
    if config is None:
        return {}
    if getattr(config, "stop", None) is not None:
        message = f"{config.stop!r:.60} has no counterpart: the script decides when it ends"
        fix = "give the epochs as a constant in param_space, or completion_criteria for the whole tuning"
        raise SpecError(Problem("", "run_config.stop", message, fix))
    name = re.sub(r"[^A-Za-z0-9]+", "-", str(config.name or "")).strip("-")
    fields: dict[str, Any] = {"base_tuning_job_name": name} if name else {}
    if config.storage_path and config.storage_path != type(config)().storage_path:
        fields["ray"] = {"storage_path": str(config.storage_path)}
    return fields
