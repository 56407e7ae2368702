"""A Weights & Biases sweep as a tuning.

Keys have the meaning that the sweep configuration page of the W&B documentation and the JSON Schema in
github.com/wandb/sweeps give them. A setting that SageMaker cannot honour is an error that says what to do instead;
only settings that change neither the trials nor how they run are ignored.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sm_tuning._errors import Problem, SpecError
from sm_tuning._wire import EPOCH_KEYS
from sm_tuning.spec._base import unknown_key
from sm_tuning.spec._choices import Constant, Converted
from sm_tuning.spec._encoding import decode_json
from sm_tuning.spec._estimators import AnyEstimator, Estimator
from sm_tuning.spec._files import read_data
from sm_tuning.spec._hyperparameters import CategoricalParameter, IntegerParameter
from sm_tuning.spec._sweep_parameters import convert
from sm_tuning.spec._tuning import Tuning

#: Keys that say where a sweep is shown and who controls it; they change no trial.
_IGNORED = ("entity", "project", "description", "apiVersion", "kind", "controller")
_READ = ("method", "metric", "parameters", "early_terminate", "command", "program", "name", "run_cap")
_CANNOT = {
    "scheduler": "SageMaker's own strategies choose the trials: remove it, and say method: random or bayes",
    "metrics": "SageMaker optimizes one metric: say metric: {name: …, goal: …}",
    "job": "the estimator says what is run: remove it",
    "image_uri": "give a ContainerEstimator with this image_uri as the estimator, and remove it here",
}
_STRATEGIES = {"bayes": "Bayesian", "random": "Random", "grid": "Grid"}
_GOALS = {"minimize": "Minimize", "maximize": "Maximize"}
_ETA = 3.0  # W&B's default, and the factor of the paper that both implement
_BUDGETS = ("max_jobs", "max_runtime_in_seconds", "completion_criteria", "autotune")
_MACROS = ("${env}", "${interpreter}", "${program}", "${args}", "${args_no_boolean_flags}")
_CALLERS = re.compile(r"(.*/)?(env|python[0-9.]*)")
_ARGUMENT = re.compile(r"--?([A-Za-z_][A-Za-z0-9_.-]*)=(.*)", re.DOTALL)


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
        estimator: what is trained; its metric definitions find the sweep's metric in the log. A mapping of a spec
            file's fields without ``entry_point`` runs the sweep's ``program``.
        inputs: as for ``Tuning``.
        **overrides: fields of ``Tuning``; they replace those of the sweep, and a range in ``hyperparameter_ranges``
            replaces a parameter that SageMaker cannot search.

    Raises:
        SpecError: if the sweep has a setting that SageMaker cannot honour (the message says what to do instead), or
            the tuning breaks a rule.
    """
    path = None if isinstance(sweep, Mapping) else Path(sweep)
    data = sweep if path is None else read_data(path, "sweep file")
    source = "sweep" if path is None else str(path)
    if not isinstance(data, Mapping):
        message = f"a sweep is a mapping with method and parameters, but this is a {type(data).__name__}"
        raise SpecError(message, source=source)
    if not isinstance(estimator, Estimator | Mapping):
        raise SpecError(f"estimator must be an estimator or a mapping of its fields, but is {estimator!r}")
    reader = _Sweep(data, overrides, path.absolute().parent if path else None, estimator)
    fields: dict[str, Any] = {}
    for part in (reader.objective, reader.search, reader.budget, reader.estimator):
        try:
            fields |= part()
        except SpecError as error:
            reader.problems += error.details
    if reader.problems:
        raise SpecError(reader.problems, source=source)
    ranges = {name: made for name, made in reader.parameters.items() if not isinstance(made, Constant)}
    fields["hyperparameter_ranges"] = {**ranges, **overrides.pop("hyperparameter_ranges", {})}
    if inputs is not None:
        fields["inputs"] = inputs
    return Tuning.parse({**fields, **overrides}, where=source)


class _Sweep:
    """A sweep, and the fields of a tuning that its parts give.

    Args:
        data: the sweep's keys.
        given: fields of the tuning that the caller gives; they replace those of the sweep.
        folder: where the sweep's file is; None without a file.
        estimator: what is trained.

    Attributes:
        parameters: those that the caller gives no range for.
        problems: what cannot be read.
    """

    def __init__(self, data: Mapping[str, Any], given: Mapping[str, Any], folder: Path | None, estimator: Any) -> None:
        self._data = data
        self._given = dict(given)
        self._folder = folder
        self._trained = estimator
        self._ranges: Mapping[str, Any] = given.get("hyperparameter_ranges", {})
        self._strategy = given.get("strategy") or _STRATEGIES.get(str(data.get("method")))
        self.problems: list[str | Problem] = []
        self.parameters: dict[str, Converted] = {}
        known = {*_IGNORED, *_READ, *_CANNOT}
        for key in data:
            if key in _CANNOT:
                self.problems.append(f"{key}: {data[key]!r} has no counterpart in SageMaker: {_CANNOT[key]}")
            elif key not in known:
                self.problems.append(unknown_key(str(key), known))
        parameters = data.get("parameters")
        if not isinstance(parameters, Mapping) or not parameters:
            self.problems.append(f"parameters must be a mapping of names to what to try, but is {parameters!r}")
            return
        for name, config in parameters.items():
            if name in self._ranges:
                continue
            try:
                self.parameters[str(name)] = convert(config, grid=self._strategy == "Grid")
            except SpecError as error:
                self.problems += [problem.below(f"parameters.{name}") for problem in error.details]

    @property
    def static(self) -> dict[str, Any]:
        """The static hyperparameters: the estimator's, unless tuned, and the sweep's constants."""
        trained = self._trained
        own = trained.hyperparameters if isinstance(trained, Estimator) else trained.get("hyperparameters") or {}
        constants = {name: made.value for name, made in self.parameters.items() if isinstance(made, Constant)}
        return {name: value for name, value in own.items() if name not in self.parameters} | constants

    def objective(self) -> dict[str, Any]:
        """Return the objective, and the target as a completion criterion."""
        metric = self._data.get("metric")
        if metric is None and "objective_metric_name" in self._given:
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

    def search(self) -> dict[str, Any]:
        """Return the strategy, and how trials are stopped early."""
        method, strategy, early = self._data.get("method"), self._strategy, self._data.get("early_terminate")
        if strategy is None or (method not in _STRATEGIES and "strategy" not in self._given):
            raise SpecError(f"method must be one of {', '.join(_STRATEGIES)}, but is {method!r}; or give strategy")
        if early is None or (strategy != "Hyperband" and "early_stopping_type" in self._given):
            return {"strategy": strategy}
        if not isinstance(early, Mapping) or early.get("type") != "hyperband":
            raise SpecError(f"early_terminate must be of type hyperband, W&B's only one, but is {early!r}")
        if strategy in ("Bayesian", "Grid"):
            raise SpecError(
                "early_terminate: SageMaker's Hyperband draws hyperparameters at random and cannot go with "
                f"{strategy}: give strategy='Hyperband' to keep the stopping, or early_stopping_type='Auto' to keep "
                "the search and stop trials by the median rule"
            )
        if "strategy_config" in self._given:
            return {"strategy": "Hyperband"}
        return {"strategy": "Hyperband", "strategy_config": self._resources(early)}

    def _resources(self, early: Mapping[str, Any]) -> dict[str, Any]:
        """Return the resources of Hyperband from W&B's iterations; both count emissions of the metric."""
        known = {"type", "min_iter", "max_iter", "s", "eta", "strict"}  # strict is the paper's rule, as in SageMaker
        unknown = [unknown_key(str(key), known) for key in early if key not in known]
        if unknown:
            raise SpecError([f"early_terminate: {problem}" for problem in unknown])
        if float(early.get("eta", _ETA)) != _ETA:
            raise SpecError(
                f"early_terminate.eta: {early['eta']!r} cannot be chosen in SageMaker: leave it out, or give "
                "strategy_config with min_resource and max_resource"
            )
        counts = {key: early[key] for key in ("min_iter", "max_iter", "s") if early.get(key) is not None}
        for key, value in counts.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or value != int(value) or value < 1:
                raise SpecError(f"early_terminate.{key} must be a whole number from 1, but is {value!r}")
        low, high, brackets = (int(counts[key]) if key in counts else None for key in ("min_iter", "max_iter", "s"))
        if low is None and (high is None or brackets is None):
            raise SpecError("early_terminate needs min_iter, or max_iter and s")
        if high is None and not set(EPOCH_KEYS) & set(self.static):
            raise SpecError(
                "early_terminate: SageMaker's Hyperband needs to know how long a whole trial is: add max_iter, or a "
                f"parameter with one value named {', '.join(EPOCH_KEYS)}"
            )
        if high is not None and brackets is not None:  # W&B uses these two if all three are given
            low = max(1, int(high / _ETA**brackets))
        return {"min_resource": low, "max_resource": high}

    def budget(self) -> dict[str, Any]:
        """Return how many trials there are, and the name."""
        name = re.sub(r"[^A-Za-z0-9]+", "-", str(self._data.get("name") or "")).strip("-")
        fields: dict[str, Any] = {"base_tuning_job_name": name} if name else {}
        if any(key in self._given for key in _BUDGETS):
            return fields
        cap, size = self._data.get("run_cap"), 1.0
        for made in [*self.parameters.values(), *self._ranges.values()]:
            if isinstance(made, CategoricalParameter):
                size *= len(made.values)
            elif isinstance(made, IntegerParameter):
                size *= made.max_value - made.min_value + 1
            elif not isinstance(made, Constant):
                size = math.inf
        if self._strategy == "Grid":
            if cap is not None and cap < size:
                raise SpecError(
                    f"run_cap: {cap} of {size:.0f} combinations have no counterpart in SageMaker, whose Grid runs all: "
                    "remove run_cap, list fewer values, or say method: random"
                )
            return fields
        if cap is None:
            raise SpecError("run_cap is missing: W&B runs until it is stopped, SageMaker needs run_cap or max_jobs")
        # W&B may try a combination again, SageMaker does not.
        return fields | {"max_jobs": int(min(cap, size)) if isinstance(cap, int | float) else cap}

    def estimator(self) -> dict[str, Any]:
        """Return the estimator with the sweep's constants and the command's arguments."""
        firsts = {
            name: made.value if isinstance(made, Constant) else next(iter(getattr(made, "values", ())), None)
            for name, made in self.parameters.items()
        }
        flags = [name for name, value in firsts.items() if isinstance(value, bool)]
        static = {**self.static, **_arguments(self._data.get("command") or (), flags)}
        static = {name: value for name, value in static.items() if name not in self._ranges}
        program, trained = self._data.get("program"), self._trained
        if isinstance(trained, Estimator):
            script = trained.entry_point
            if program and script and Path(str(program)).name != Path(script).name:
                raise SpecError(
                    f"program: the sweep runs {program!r}, but the estimator runs {script!r}: make the estimator's "
                    "entry_point the sweep's program, or remove program"
                )
            return {"estimator": trained.replace(hyperparameters=static)}
        entry: dict[str, str] = {}
        if program and not trained.get("entry_point"):
            # Without source_dir, the program is beside the sweep's file.
            is_beside = self._folder is not None and not trained.get("source_dir") and "://" not in str(program)
            entry["entry_point"] = str(self._folder / str(program)) if is_beside and self._folder else str(program)
        return {"estimator": {**trained, **entry, "hyperparameters": static}}


def _arguments(command: Any, flags: Sequence[str]) -> dict[str, Any]:
    """Return the fixed arguments of a command.

    Args:
        command: the sweep's command, of which the macros describe SageMaker's own way to call a script.
        flags: parameters with boolean values.

    Raises:
        SpecError: if SageMaker cannot call the script like that.
    """
    if not isinstance(command, list | tuple):
        raise SpecError(f"command must be a list, but is {command!r}")
    found: dict[str, Any] = {}
    for word in map(str, command):
        argument = _ARGUMENT.fullmatch(word)
        if word == "${args_no_boolean_flags}" and flags:
            raise SpecError(
                f"command: {word} gives {', '.join(flags)} as a flag without a value, but SageMaker calls the script "
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
