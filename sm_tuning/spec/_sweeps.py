"""A Weights & Biases sweep as a tuning.

Keys and their meaning are those of the sweep configuration page of the W&B documentation and of the JSON Schema in
github.com/wandb/sweeps. What SageMaker cannot do is an error that says what to do instead; nothing is dropped that
changes which trials are made or how they are run.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sm_tuning._errors import SpecError
from sm_tuning.spec._base import unknown_key
from sm_tuning.spec._estimators import AnyEstimator, Estimator
from sm_tuning.spec._files import read_data
from sm_tuning.spec._parameters import CategoricalParameter, IntegerParameter
from sm_tuning.spec._rules import EPOCH_NAMES
from sm_tuning.spec._sweep_parameters import Constant, Converted, convert
from sm_tuning.spec._tuning import Tuning
from sm_tuning.spec._values import decode_json

#: Keys that say where a sweep is shown and who drives it; they change no trial.
_ABOUT = ("entity", "project", "description", "apiVersion", "kind", "controller")
_READ = ("method", "metric", "parameters", "early_terminate", "command", "program", "name", "run_cap")
_CANNOT = {
    "scheduler": "SageMaker's own strategies choose the trials: remove it, and say method: random or bayes",
    "metrics": "SageMaker optimizes one metric: say metric: {name: …, goal: …}",
    "job": "the estimator says what is run: remove it",
    "image_uri": "give a ContainerEstimator with this image_uri as the estimator, and remove it here",
}
_STRATEGIES = {"bayes": "Bayesian", "random": "Random", "grid": "Grid"}
_GOALS = {"minimize": "Minimize", "maximize": "Maximize"}
_ETA = 3.0  # W&B's default, and the factor of the paper that both follow
_BUDGETS = ("max_jobs", "max_runtime_in_seconds", "completion_criteria", "autotune")
_MACROS = ("${env}", "${interpreter}", "${program}", "${args}", "${args_no_boolean_flags}")
_CALLERS = re.compile(r"(.*/)?(env|python[0-9.]*)")
_ARGUMENT = re.compile(r"--?([A-Za-z_][A-Za-z0-9_.-]*)=(.*)", re.DOTALL)


class _Sweep(NamedTuple):
    """A sweep's keys, what the caller says instead of them, and where the file lies."""

    data: Mapping[str, Any]
    given: Mapping[str, Any]
    folder: Path | None


def from_wandb_sweep(
    sweep: str | os.PathLike[str] | Mapping[str, Any],
    *,
    estimator: AnyEstimator | Mapping[str, Any],
    inputs: Any = None,
    **overrides: Any,
) -> Tuning:
    """Read a Weights & Biases sweep as a tuning that searches the same space.

    Methods become strategies, ``run_cap`` max_jobs, ``metric.target`` a completion criterion, and ``early_terminate``
    the strategy Hyperband. Parameters with one value become static hyperparameters; they, and tuned ones, replace the
    estimator's of the same name.

    Args:
        sweep: the path of a YAML or JSON file, or the configuration itself.
        estimator: what is trained; its metric definitions find the sweep's metric in the log. As a mapping of a spec
            file's fields without ``entry_point``, it runs the sweep's ``program``.
        inputs: as for ``Tuning``.
        **overrides: fields of ``Tuning``; they win over the sweep, and a range in ``hyperparameter_ranges`` stands in
            for a parameter that SageMaker cannot search.

    Raises:
        SpecError: the sweep has something that SageMaker cannot do, each with what to do instead; or the tuning breaks
            a rule.
    """
    path = None if isinstance(sweep, Mapping) else Path(sweep)
    data = sweep if path is None else read_data(path, "sweep file")
    where = "sweep" if path is None else str(path)
    if not isinstance(data, Mapping):
        message = f"a sweep is a mapping with method and parameters, but this is a {type(data).__name__}"
        raise SpecError(message, source=where)
    if not isinstance(estimator, Estimator | Mapping):
        raise SpecError(f"estimator must be an estimator or a mapping of its fields, but is {estimator!r}")
    read = _Sweep(data, overrides, path.absolute().parent if path else None)
    found: list[str] = list(_key_problems(read.data))
    parameters = _parameters(read, found)
    fields: dict[str, Any] = {}
    parts: Sequence[Callable[[], Mapping[str, Any]]] = (
        lambda: _objective(read),
        lambda: _search(read, parameters, estimator),
        lambda: _budget(read, parameters),
        lambda: {"estimator": _estimator(read, parameters, estimator)},
    )
    for part in parts:
        try:
            fields |= part()
        except SpecError as error:
            found += error.problems
    if found:
        raise SpecError(found, source=where)
    ranges = {name: made for name, made in parameters.items() if not isinstance(made, Constant)}
    fields |= {"hyperparameter_ranges": {**ranges, **overrides.get("hyperparameter_ranges", {})}}
    fields |= {"inputs": inputs} if inputs is not None else {}
    given = {name: value for name, value in overrides.items() if name != "hyperparameter_ranges"}
    return Tuning.parse({**fields, **given}, where=where)


def _key_problems(data: Mapping[str, Any]) -> Iterator[str]:
    known = {*_ABOUT, *_READ, *_CANNOT}
    for key in data:
        if key in _CANNOT:
            yield f"{key}: {data[key]!r} has no counterpart in SageMaker: {_CANNOT[key]}"
        elif key not in known:
            yield unknown_key(str(key), known)


def _parameters(sweep: _Sweep, found: list[str]) -> dict[str, Converted]:
    """The parameters, without those that the caller gives a range for; what cannot be read is added to ``found``."""
    made: dict[str, Converted] = {}
    parameters = sweep.data.get("parameters")
    if not isinstance(parameters, Mapping) or not parameters:
        found.append(f"parameters must be a mapping of names to what to try, but is {parameters!r}")
        return made
    grid = sweep.given.get("strategy", _STRATEGIES.get(str(sweep.data.get("method")))) == "Grid"
    for name, config in parameters.items():
        if name in sweep.given.get("hyperparameter_ranges", {}):
            continue
        try:
            made[str(name)] = convert(config, grid=grid)
        except SpecError as error:
            found += [f"parameters.{name}: {problem}" for problem in error.problems]
    return made


def _objective(sweep: _Sweep) -> dict[str, Any]:
    metric = sweep.data.get("metric")
    if metric is None and "objective_metric_name" in sweep.given:
        return {}
    if not isinstance(metric, Mapping) or not isinstance(metric.get("name"), str):
        raise SpecError(f"metric must say name (and goal), which SageMaker always needs, but is {metric!r}")
    unknown = [key for key in metric if key not in ("name", "goal", "target")]
    if unknown:
        raise SpecError(
            f"metric.{unknown[0]}: {metric[unknown[0]]!r} has no counterpart in SageMaker, which leaves out trials "
            "without an objective: remove it"
        )
    goal = metric.get("goal", "minimize")
    if goal not in _GOALS:
        raise SpecError(f"metric.goal must be minimize or maximize, but is {goal!r}")
    fields: dict[str, Any] = {"objective_metric_name": metric["name"], "objective_type": _GOALS[goal]}
    if metric.get("target") is not None:
        fields["completion_criteria"] = {"target_objective_metric_value": metric["target"]}
    return fields


def _search(sweep: _Sweep, parameters: Mapping[str, Converted], estimator: Any) -> dict[str, Any]:
    """Strategy, and how trials are stopped early."""
    method = sweep.data.get("method")
    if method not in _STRATEGIES and "strategy" not in sweep.given:
        raise SpecError(f"method must be one of {', '.join(_STRATEGIES)}, but is {method!r}; or give strategy")
    strategy = sweep.given.get("strategy") or _STRATEGIES[str(method)]
    early = sweep.data.get("early_terminate")
    if early is None or (strategy != "Hyperband" and "early_stopping_type" in sweep.given):
        return {"strategy": strategy}
    if not isinstance(early, Mapping) or early.get("type") != "hyperband":
        raise SpecError(f"early_terminate must be of type hyperband, W&B's only one, but is {early!r}")
    if strategy in ("Bayesian", "Grid"):
        raise SpecError(
            f"early_terminate: SageMaker's Hyperband draws hyperparameters at random and cannot go with {strategy}: "
            "give strategy='Hyperband' to keep the stopping, or early_stopping_type='Auto' to keep the search and stop "
            "trials by the median rule"
        )
    if "strategy_config" in sweep.given:
        return {"strategy": "Hyperband"}
    return {"strategy": "Hyperband", "strategy_config": _resources(early, _static(parameters, estimator))}


def _resources(early: Mapping[str, Any], static: Mapping[str, Any]) -> dict[str, Any]:
    """How long Hyperband trains at least and at most, from W&B's iterations: emissions of the metric, in both."""
    known = {"type", "min_iter", "max_iter", "s", "eta", "strict"}  # strict is the paper's rule, which SageMaker has
    unknown = [unknown_key(str(key), known) for key in early if key not in known]
    if unknown:
        raise SpecError([f"early_terminate: {problem}" for problem in unknown])
    if float(early.get("eta", _ETA)) != _ETA:
        raise SpecError(
            f"early_terminate.eta: {early['eta']!r} cannot be chosen in SageMaker: leave it out, or give "
            "strategy_config with min_resource and max_resource"
        )
    low, high, brackets = (_whole(early, key) for key in ("min_iter", "max_iter", "s"))
    if low is None and (high is None or brackets is None):
        raise SpecError("early_terminate needs min_iter, or max_iter and s")
    if high is None and not set(EPOCH_NAMES) & set(static):
        raise SpecError(
            "early_terminate: SageMaker's Hyperband needs to know how long a whole trial is: add max_iter, or a "
            f"parameter with one value named {', '.join(EPOCH_NAMES)}"
        )
    if high is not None and brackets is not None:  # W&B takes these where it has both
        low = max(1, int(high / _ETA**brackets))
    return {"min_resource": low, "max_resource": high}


def _whole(config: Mapping[str, Any], key: str) -> int | None:
    value = config.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or value < 1:
        raise SpecError(f"early_terminate.{key} must be a whole number from 1, but is {value!r}")
    return int(value)


def _budget(sweep: _Sweep, parameters: Mapping[str, Converted]) -> dict[str, Any]:
    """How many trials, and the name."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", str(sweep.data.get("name") or "")).strip("-")
    fields: dict[str, Any] = {"base_tuning_job_name": name} if name else {}
    if any(key in sweep.given for key in _BUDGETS):
        return fields
    cap, size = sweep.data.get("run_cap"), _combinations(sweep, parameters)
    if sweep.given.get("strategy", _STRATEGIES.get(str(sweep.data.get("method")))) == "Grid":
        if cap is not None and cap < size:
            raise SpecError(
                f"run_cap: {cap} of {size:.0f} combinations have no counterpart in SageMaker, whose Grid runs all: "
                "remove run_cap, list fewer values, or say method: random"
            )
        return fields
    if cap is None:
        raise SpecError("run_cap is missing: W&B goes on until somebody stops it, SageMaker needs run_cap or max_jobs")
    return fields | {"max_jobs": int(min(cap, size)) if isinstance(cap, int | float) else cap}


def _combinations(sweep: _Sweep, parameters: Mapping[str, Converted]) -> float:
    """How many different trials there can be: W&B may make one again, SageMaker does not."""
    size = 1.0
    for made in [*parameters.values(), *sweep.given.get("hyperparameter_ranges", {}).values()]:
        if isinstance(made, CategoricalParameter):
            size *= len(made.values)
        elif isinstance(made, IntegerParameter):
            size *= made.max_value - made.min_value + 1
        elif not isinstance(made, Constant):
            size = math.inf
    return size


def _static(parameters: Mapping[str, Converted], estimator: Any) -> dict[str, Any]:
    """The static hyperparameters: the estimator's, unless tuned, and the sweep's constants."""
    own = estimator.hyperparameters if isinstance(estimator, Estimator) else estimator.get("hyperparameters") or {}
    constants = {name: made.value for name, made in parameters.items() if isinstance(made, Constant)}
    return {name: value for name, value in own.items() if name not in parameters} | constants


def _estimator(sweep: _Sweep, parameters: Mapping[str, Converted], estimator: Any) -> Any:
    """The estimator with the sweep's constants and the command's arguments."""
    boolean = [
        name
        for name, made in parameters.items()
        if isinstance(made.value if isinstance(made, Constant) else next(iter(getattr(made, "values", ())), None), bool)
    ]
    static = _static(parameters, estimator) | _arguments(sweep.data.get("command") or (), boolean)
    static = {k: v for k, v in static.items() if k not in sweep.given.get("hyperparameter_ranges", {})}
    program = sweep.data.get("program")
    if not isinstance(estimator, Estimator):
        entry = {} if estimator.get("entry_point") or not program else _entry(str(program), sweep.folder, estimator)
        return {**estimator, **entry, "hyperparameters": static}
    script = estimator.entry_point
    if program and script and Path(str(program)).name != Path(script).name:
        raise SpecError(
            f"program: the sweep runs {program!r}, but the estimator runs {script!r}: make the estimator's entry_point "
            "the sweep's program, or remove program"
        )
    return estimator.replace(hyperparameters=static)


def _entry(program: str, folder: Path | None, estimator: Mapping[str, Any]) -> dict[str, str]:
    """The script of a mapping that names none: beside the sweep's file, unless it lies in ``source_dir``."""
    beside = folder is not None and not estimator.get("source_dir") and "://" not in program
    return {"entry_point": str(folder / program) if beside and folder is not None else program}


def _arguments(command: Any, boolean: Sequence[str]) -> dict[str, Any]:
    """What a command says besides the macros that SageMaker's own way of calling a script covers."""
    if not isinstance(command, list | tuple):
        raise SpecError(f"command must be a list, but is {command!r}")
    found: dict[str, Any] = {}
    for word in map(str, command):
        argument = _ARGUMENT.fullmatch(word)
        if word == "${args_no_boolean_flags}" and boolean:
            raise SpecError(
                f"command: {word} gives {', '.join(boolean)} as a flag without a value, but SageMaker calls the script "
                "with --name value: let the script read true and false, and say ${args}"
            )
        if argument:
            found[argument[1]] = decode_json(argument[2])
        elif word not in _MACROS and not _CALLERS.fullmatch(word) and not word.endswith((".py", ".sh")):
            raise SpecError(
                f"command: {word!r} has no counterpart in SageMaker, which calls the script with --name value for each "
                "hyperparameter: remove it, and let the script read that; write a fixed argument as --name=value, and "
                "let the estimator's distribution start several processes"
            )
    return found
