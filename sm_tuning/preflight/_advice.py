"""Good practice: what saves time or money, beyond what the service insists on.

Sources are the Developer Guide's pages automatic-model-tuning-considerations (how many hyperparameters, how wide, on
which scale, how many at once), -early-stop, -warm-start, -how-it-works (Hyperband), -define-ranges, and
model-managed-spot-training. Thresholds are ours; each stands beside its rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sm_tuning._masking import is_secret
from sm_tuning._wire import EPOCH_KEYS as EPOCH_NAMES
from sm_tuning.preflight._finding import Finding, place
from sm_tuning.preflight._quotas import number_of_jobs
from sm_tuning.preflight._ranges import range_advice
from sm_tuning.spec import Estimator, TrainingDefinition, Tuning

#: How long a training lasts, under the names that people and algorithms give to that.
LENGTH_NAMES = (
    *EPOCH_NAMES,
    "num_round",
    "num-round",
    "num_rounds",
    "num_boost_round",
    "n_estimators",
    "max_steps",
    "max-steps",
    "max_epochs",
    "max-epochs",
    "num-epochs",
    "iterations",
    "num_iterations",
    "max_iter",
)

#: Training jobs that last less hardly gain from early stopping [early-stop: notebook of the service, 4 minutes].
_SHORT_RUN = 900
_DEFAULT_RUN = 86_400
_MANY_JOBS, _MANY_EPOCHS = 20, 10
_FEW_ROUNDS = 3


def advice(tuning: Tuning) -> Iterator[Finding]:
    """Good practice that a spec does not follow."""
    yield from _parallel(tuning)
    yield from _early_stopping(tuning)
    yield from _hyperband(tuning)
    yield from _emission(tuning)
    for name, definition in tuning.definitions:
        yield from range_advice(name, definition)
        yield from _machines(name, definition.estimator)
        yield from _secrets(name, definition.estimator)


def _parallel(tuning: Tuning) -> Iterator[Finding]:
    """Jobs at once do not learn from each other [considerations]."""
    total, parallel = tuning.max_jobs, tuning.max_parallel_jobs
    if tuning.strategy != "Bayesian" or total is None or total < 2 or parallel < 2:
        return
    if total <= parallel:
        message = f"all {total} training jobs run at once, so that a Bayesian search learns nothing"
        yield Finding("nothing-to-learn", "advice", "max_parallel_jobs", message, "lower it, or use Random")
    elif total < _FEW_ROUNDS * parallel:
        message = (
            f"a Bayesian search learns from jobs that have ended, but with {parallel} of {total} at once it has "
            f"fewer than {_FEW_ROUNDS} rounds to learn in"
        )
        fix = f"use max_parallel_jobs={max(1, total // _FEW_ROUNDS)} or less, or Random"
        yield Finding("too-parallel", "advice", "max_parallel_jobs", message, fix)


def _early_stopping(tuning: Tuning) -> Iterator[Finding]:
    """The median rule; Hyperband, several algorithms, and algorithms that stop themselves need none [early-stop]."""
    if tuning.early_stopping_type == "Auto" or tuning.strategy == "Hyperband" or tuning.estimator is None:
        return
    estimator, jobs = tuning.estimator, number_of_jobs(tuning)
    stops_itself = any("early_stopping" in key.replace("-", "_") for key in _names(tuning.definitions[0][1]))
    if estimator.max_run <= _SHORT_RUN or stops_itself or (jobs is not None and jobs < 5):
        return
    message = "training jobs that fall behind run to their end"
    fix = "set early_stopping_type to Auto, and let the script emit the objective after every epoch"
    yield Finding("early-stopping-off", "advice", "early_stopping_type", message, fix)


def _hyperband(tuning: Tuning) -> Iterator[Finding]:
    for name, definition in tuning.definitions:
        static = definition.estimator.hyperparameters
        tuned = sorted({*definition.hyperparameter_ranges, *definition.auto_parameters} & set(LENGTH_NAMES))
        if tuning.strategy == "Hyperband" and tuned:
            message = f"Hyperband decides how long a job trains, but {', '.join(tuned)} is tuned too"
            fix = "make it static, at the longest that a job may train"
            yield Finding("hyperband-length-tuned", "advice", place(name, "hyperparameter_ranges"), message, fix)
        if tuning.strategy not in ("Bayesian", "Random") or tuning.warm_start is not None:
            continue
        long = next((key for key in EPOCH_NAMES if _number(static.get(key)) >= _MANY_EPOCHS), None)
        if long is not None and (number_of_jobs(tuning) or 0) >= _MANY_JOBS:
            message = f"{number_of_jobs(tuning)} jobs of {static[long]} epochs each are trained in full"
            fix = "use strategy Hyperband, which stops poor ones early, when the objective is emitted every epoch"
            yield Finding("hyperband-fits", "advice", "strategy", message, fix)


def _emission(tuning: Tuning) -> Iterator[Finding]:
    """Only a run shows how often the objective comes; early stopping and Hyperband live from that."""
    if tuning.early_stopping_type != "Auto" and tuning.strategy != "Hyperband":
        return
    if all(definition.estimator.predefines_metrics for _, definition in tuning.definitions):
        return  # the built-in algorithms emit theirs every round
    message = "whether the script emits the objective after every epoch, which stopping early needs"
    yield Finding("objective-emission", "not-checked", "objective_metric_name", message, "see with check --smoke")


def _machines(name: str | None, estimator: Estimator) -> Iterator[Finding]:
    if estimator.use_spot_instances and not estimator.checkpoint_s3_uri:
        message = "a spot instance that is taken away loses its work"
        fix = "give checkpoint_s3_uri, and let the script resume from it"
        yield Finding("spot-without-checkpoint", "advice", place(name, "estimator"), message, fix)
    if estimator.max_run == _DEFAULT_RUN:
        message = "a training job that hangs is paid for a whole day, the service's default"
        fix = "set max_run to a few times what one job takes"
        yield Finding("max-run-unset", "advice", place(name, "estimator.max_run"), message, fix)
    if estimator.resource_config is not None and estimator.resource_config.get("KeepAlivePeriodInSeconds"):
        message = "a tuning job keeps its instances warm by itself; a keep-alive period may be refused"
        fix = "leave KeepAlivePeriodInSeconds out"
        yield Finding("keep-alive", "advice", place(name, "estimator.resource_config"), message, fix)


def _secrets(name: str | None, estimator: Estimator) -> Iterator[Finding]:
    """Everybody who may describe the job can read both [botocore model, DescribeHyperParameterTuningJob]."""
    for field, values in (("hyperparameters", estimator.hyperparameters), ("environment", estimator.environment)):
        found = sorted(key for key, value in values.items() if is_secret(key, value) and isinstance(value, str))
        if found:
            message = f"{', '.join(found)} looks like a secret, and can be read by all who may describe the job"
            fix = "let the script fetch it from AWS Secrets Manager with the job's role"
            yield Finding("secret-in-spec", "advice", place(name, f"estimator.{field}"), message, fix)


def _names(definition: TrainingDefinition) -> set[str]:
    return {
        *definition.estimator.hyperparameters,
        *definition.hyperparameter_ranges,
        *definition.auto_parameters,
    }


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0


def static_lengths(hyperparameters: Mapping[str, Any]) -> dict[str, float]:
    """Which hyperparameters say how long the training lasts, with their values; what is no number is left out."""
    return {key: _number(hyperparameters[key]) for key in LENGTH_NAMES if _number(hyperparameters.get(key)) > 0}
