"""Good practice: what saves time or money, beyond the rules of the service.

Sources are the Developer Guide's pages automatic-model-tuning-considerations (how many hyperparameters, how wide, on
which scale, how many at once), -early-stop, -warm-start, -how-it-works (Hyperband), -define-ranges, and
model-managed-spot-training. Thresholds are ours; each stands beside its rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from sm_tuning._masking import is_secret
from sm_tuning._wire import EPOCH_KEYS, HYPERBANDS
from sm_tuning.preflight._finding import Finding, place
from sm_tuning.preflight._rules import fleets_of, hyperparameter_names, number_of_jobs
from sm_tuning.spec import (
    ContinuousParameter,
    Estimator,
    IntegerParameter,
    ParameterRange,
    TrainingDefinition,
    Tuning,
)

#: Names of hyperparameters that say how long a training lasts, as people and algorithms choose them.
LENGTH_NAMES = (
    *EPOCH_KEYS,
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

#: Seconds that trials go on after a study has reached its max_cost: until the driver looks, and the two minutes that a
#: script has for its end [API Reference, StopTrainingJob].
_LOOK_AND_STOP = 130
_MANY_JOBS, _MANY_EPOCHS = 20, 10
_FEW_ROUNDS = 3

#: More ranges than this need more jobs than most people pay for; the service allows 30 and advises fewer.
_MANY_RANGES = 10

#: From two decades on, nine of ten values that a linear search draws are in the last one.
_WIDE_LINEAR = 100.0

#: Six decades hold more than a learning rate, or a weight of regularisation, has ever needed.
_WIDE_LOG = 1e6


def advice(tuning: Tuning) -> Iterator[Finding]:
    """Yield good practice that a spec does not follow."""
    yield from _job_advice(tuning)
    for name, definition in tuning.definitions:
        yield from _hyperband_advice(tuning, name, definition)
        ranges = definition.hyperparameter_ranges
        if len(ranges) > _MANY_RANGES:
            message = f"{len(ranges)} hyperparameters are tuned at once, and the jobs needed grow with each"
            fix = f"tune the {_MANY_RANGES} or fewer that matter most, and make the others static"
            yield Finding("many-ranges", "advice", place(name, "hyperparameter_ranges"), message, fix)
        for key, range_ in ranges.items():
            yield from _scale_advice(place(name, f"hyperparameter_ranges.{key}"), range_)
        yield from _estimator_advice(name, definition.estimator)


def study_advice(tuning: Tuning, prices: Mapping[str, float]) -> Iterator[Finding]:
    """Yield by how much a study may exceed its ``max_cost``.

    Args:
        tuning: what to tune.
        prices: dollars an hour by instance type.
    """
    settings = tuning.study
    if settings is None or settings.max_cost is None:
        return
    parallel = min(tuning.max_parallel_jobs, number_of_jobs(tuning) or tuning.max_parallel_jobs)
    fleets = [(fleet, e.max_run) for e in (d.estimator for _, d in tuning.definitions) for fleet in fleets_of(e)]
    unknown = sorted({kind for fleet, _ in fleets for kind in fleet if kind not in prices})
    if unknown:
        message = f"by how much the study may exceed max_cost: there is no price for {', '.join(unknown)}"
        fix = "give prices (--prices FILE, prices=, or SM_TUNING_PRICES)"
        yield Finding("study-overshoot", "not-checked", "study.max_cost", message, fix)
        return
    hourly = [(math.fsum(prices[kind] * count for kind, count in fleet.items()), run) for fleet, run in fleets]
    driven = parallel * max(price * min(_LOOK_AND_STOP, run) for price, run in hourly) / 3600
    alone = parallel * max(price * run for price, run in hourly) / 3600
    message = (
        f"the study may cost ${driven:,.2f} more than max_cost of ${settings.max_cost:,.2f}, and ${alone:,.2f} more if "
        f"nothing drives it then: {parallel} trials run at once, and each ends by itself at max_run"
    )
    fix = "lower max_parallel_jobs, max_run or max_cost if that is too much"
    yield Finding("study-overshoot", "advice", "study.max_cost", message, fix)


def lengths(hyperparameters: Mapping[str, Any]) -> dict[str, float]:
    """Return the hyperparameters that say how long the training lasts, as far as their values are positive numbers."""
    found: dict[str, float] = {}
    for key in LENGTH_NAMES:
        try:
            value = float(hyperparameters[key])
        except (KeyError, TypeError, ValueError):
            continue
        if value > 0:
            found[key] = value
    return found


def _job_advice(tuning: Tuning) -> Iterator[Finding]:
    total, parallel = tuning.max_jobs, tuning.max_parallel_jobs
    # Jobs that run at once do not learn from each other [considerations].
    if tuning.strategy == "Bayesian" and total is not None and total >= 2 and parallel >= 2:
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
    # Hyperband, several algorithms, and algorithms that stop by themselves need no median rule [early-stop].
    stops = tuning.early_stopping_type == "Auto" or tuning.strategy in HYPERBANDS
    if not stops and tuning.estimator is not None:
        names = hyperparameter_names(tuning.definitions[0][1])
        stops_itself = any("early_stopping" in key.replace("-", "_") for key in names)
        jobs = number_of_jobs(tuning)
        if tuning.estimator.max_run > _SHORT_RUN and not stops_itself and (jobs is None or jobs >= 5):
            message = "training jobs that fall behind run to their end"
            fix = "set early_stopping_type to Auto, and let the script emit the objective after every epoch"
            yield Finding("early-stopping-off", "advice", "early_stopping_type", message, fix)
    # Built-in algorithms emit their objective every round; of a script only a run can tell.
    if stops and not all(definition.estimator.predefines_metrics for _, definition in tuning.definitions):
        message = "whether the script emits the objective after every epoch, which stopping early needs"
        yield Finding("objective-emission", "not-checked", "objective_metric_name", message, "see with check --smoke")


def _hyperband_advice(tuning: Tuning, name: str | None, definition: TrainingDefinition) -> Iterator[Finding]:
    tuned = sorted({*definition.hyperparameter_ranges, *definition.auto_parameters} & set(LENGTH_NAMES))
    if tuning.strategy in HYPERBANDS and tuned:
        message = f"Hyperband decides how long a job trains, but {', '.join(tuned)} is tuned too"
        fix = "make it static, at the longest that a job may train"
        yield Finding("hyperband-length-tuned", "advice", place(name, "hyperparameter_ranges"), message, fix)
    if tuning.strategy in ("Bayesian", "Random") and tuning.warm_start is None:
        static, jobs = definition.estimator.hyperparameters, number_of_jobs(tuning) or 0
        found = lengths(static)
        long = next((key for key in EPOCH_KEYS if found.get(key, 0) >= _MANY_EPOCHS), None)
        if long is not None and jobs >= _MANY_JOBS:
            message = f"{jobs} jobs of {static[long]} epochs each are trained in full"
            fix = "use strategy Hyperband, which stops poor ones early, when the objective is emitted every epoch"
            yield Finding("hyperband-fits", "advice", "strategy", message, fix)


def _scale_advice(where: str, range_: ParameterRange) -> Iterator[Finding]:
    if not isinstance(range_, ContinuousParameter | IntegerParameter):
        return
    low, high = range_.min_value, range_.max_value
    span, ratio = f"{low:g} to {high:g}", high / low if low > 0 else 0.0
    is_linear = range_.scaling_type in ("Auto", "Linear")
    # A momentum of 0.5 to 0.999: the distances of both ends to 1 differ by decades.
    nears_one = (
        isinstance(range_, ContinuousParameter) and 0 < low < high < 1 and (1 - low) / (1 - high) >= _WIDE_LINEAR
    )
    if is_linear and ratio >= _WIDE_LINEAR:
        message = f"{span} spans {math.log10(ratio):.1f} decades, and a linear search hardly tries the low ones"
        yield Finding("scale-log", "advice", where, message, "set scaling_type to Logarithmic")
    elif is_linear and nears_one:
        message = f"{span} matters by its distance to 1, which a linear search hardly explores"
        yield Finding("scale-reverse-log", "advice", where, message, "set scaling_type to ReverseLogarithmic")
    if ratio >= _WIDE_LOG:
        message = f"{span} spans {math.log10(ratio):.0f} decades, and most of these trials are wasted"
        yield Finding("wide-range", "advice", where, message, "narrow it to values that are known to work")


def _estimator_advice(name: str | None, estimator: Estimator) -> Iterator[Finding]:
    if estimator.use_spot_instances and not estimator.checkpoint_s3_uri:
        message = "a spot instance that is taken away loses its work"
        fix = "give checkpoint_s3_uri, and let the script resume from it"
        yield Finding("spot-without-checkpoint", "advice", place(name, "estimator"), message, fix)
    if estimator.max_run == _DEFAULT_RUN:
        message = "a training job that hangs is paid for a whole day, the service's default"
        fix = "set max_run to a few times the length of one job"
        yield Finding("max-run-unset", "advice", place(name, "estimator.max_run"), message, fix)
    if estimator.resource_config is not None and estimator.resource_config.get("KeepAlivePeriodInSeconds"):
        message = "a tuning job keeps its instances warm by itself; the service always drops a keep-alive period"
        fix = "leave KeepAlivePeriodInSeconds out"
        yield Finding("keep-alive", "advice", place(name, "estimator.resource_config"), message, fix)
    # Everybody who may describe the job can read both [botocore model, DescribeHyperParameterTuningJob].
    for field, values in (("hyperparameters", estimator.hyperparameters), ("environment", estimator.environment)):
        found = sorted(key for key, value in values.items() if is_secret(key, value) and isinstance(value, str))
        if found:
            message = f"{', '.join(found)} looks like a secret, and can be read by all who may describe the job"
            fix = "let the script fetch it from AWS Secrets Manager with the job's role"
            yield Finding("secret-in-spec", "advice", place(name, f"estimator.{field}"), message, fix)
