"""Rules of the service that a spec may break although each of its classes accepts it.

Sources are the botocore model of CreateHyperParameterTuningJob and the Developer Guide's pages on automatic model
tuning; each rule names its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sm_tuning.preflight._finding import Finding, place
from sm_tuning.spec import Input, TrainingDefinition, Tuning, XGBoostEstimator

#: Static hyperparameters from which the service infers Hyperband's MaxResource [API Reference,
#: HyperbandStrategyConfig], and the most that it may be.
EPOCH_NAMES = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")
MAX_RESOURCE = 20_000

#: Static and tuned hyperparameters together, ``_tuning_objective_metric`` included [define-ranges].
MAX_HYPERPARAMETERS = 100

#: Metrics that the built-in XGBoost computes beside those of the XGBoost library [Developer Guide, xgboost-tuning].
XGBOOST_METRICS = frozenset(
    {
        "accuracy",
        "aft-nloglik",
        "auc",
        "aucpr",
        "balanced_accuracy",
        "cox-nloglik",
        "error",
        "f1",
        "f1_binary",
        "f1_macro",
        "gamma-deviance",
        "gamma-nloglik",
        "interval-regression-accuracy",
        "logloss",
        "mae",
        "map",
        "mape",
        "merror",
        "mlogloss",
        "mphe",
        "mse",
        "ndcg",
        "poisson-nloglik",
        "precision",
        "precision_macro",
        "precision_micro",
        "r2",
        "recall",
        "recall_macro",
        "recall_micro",
        "rmse",
        "rmsle",
        "tweedie-nloglik",
    }
)


def rule_problems(tuning: Tuning) -> Iterator[Finding]:
    """Rules over the spec."""
    yield from _together(tuning)
    for name, definition in tuning.definitions:
        yield from _channels(name, definition)
        yield from _tags(name, definition)
        yield from _xgboost(name, definition)
        if tuning.strategy == "Hyperband":
            yield from _hyperband(tuning, name, definition)


def request_problems(request: Mapping[str, Any]) -> Iterator[Finding]:
    """Rules over the request, which holds more than the spec: script mode adds hyperparameters of its own."""
    config = request["HyperParameterTuningJobConfig"]
    several = request.get("TrainingJobDefinitions")
    for definition in several or [request["TrainingJobDefinition"]]:
        ranges = definition.get("HyperParameterRanges") or config.get("ParameterRanges", {})
        tuned = sum(len(items) for kind, items in ranges.items() if kind != "AutoParameters")
        total = tuned + len(definition.get("StaticHyperParameters", {})) + 1
        if total > MAX_HYPERPARAMETERS:
            where = place(definition.get("DefinitionName") if several else None, "estimator.hyperparameters")
            message = (
                f"at most {MAX_HYPERPARAMETERS} hyperparameters, but with those that start the script and SageMaker's "
                f"own one they are {total}"
            )
            yield Finding("too-many-hyperparameters", "error", where, message, "pass a file in place of some of them")


def _together(tuning: Tuning) -> Iterator[Finding]:
    """Results of several algorithms are compared, so that one direction must hold [multiple-algorithm-hpo]."""
    types = {name: definition.objective_type for name, definition in tuning.definitions}
    if len(set(types.values())) > 1:
        message = f"the objectives of all estimators must have one objective_type to be compared, but they are {types}"
        yield Finding("objective-types", "error", "estimators", message, "give all the same objective_type")


def _channels(name: str | None, definition: TrainingDefinition) -> Iterator[Finding]:
    """A mode of the whole estimator binds its channels too [your-algorithms-training-algo-running-container]."""
    for key, channel in (definition.inputs or {}).items():
        mode = channel.input_mode or definition.estimator.input_mode
        if isinstance(channel, Input) and mode == "FastFile" and channel.s3_data_type != "S3Prefix":
            message = f"input_mode FastFile needs s3_data_type S3Prefix, but it is {channel.s3_data_type!r}"
            fix = "give the channel input_mode: File"
            yield Finding("fastfile-prefix", "error", place(name, f"inputs.{key}"), message, fix)


def _tags(name: str | None, definition: TrainingDefinition) -> Iterator[Finding]:
    """Keys that AWS keeps for itself [API Reference, Tag]."""
    reserved = sorted(key for key in definition.estimator.tags if key.lower().startswith("aws:"))
    if reserved:
        message = f"tag keys that start with aws: are reserved, but {', '.join(reserved)} do"
        yield Finding("tags-reserved", "error", place(name, "estimator.tags"), message, "choose other keys")


def _xgboost(name: str | None, definition: TrainingDefinition) -> Iterator[Finding]:
    """The objective of the built-in algorithm is one of its validation metrics [xgboost-tuning]."""
    estimator = definition.estimator
    if not isinstance(estimator, XGBoostEstimator) or estimator.is_script_mode:
        return
    metric = definition.objective_metric_name or ""
    part, _, measure = metric.partition(":")
    if part != "validation" or measure not in XGBOOST_METRICS:
        message = f"the objective {metric!r} is none of the metrics that the built-in XGBoost emits"
        fix = "use validation: and one of " + ", ".join(sorted(XGBOOST_METRICS))
        yield Finding("objective-unknown", "error", place(name, "objective_metric_name"), message, fix)
    elif "validation" not in (definition.inputs or {}):
        message = f"the objective {metric!r} is computed on a channel named validation, but there is none"
        yield Finding("objective-channel", "error", place(name, "inputs"), message, "add a channel validation")
    known = {*estimator.hyperparameters, *definition.hyperparameter_ranges, *definition.auto_parameters}
    if "num_round" not in known:
        message = "the built-in XGBoost needs the hyperparameter num_round"
        fix = "add num_round to estimator.hyperparameters"
        yield Finding("xgboost-num-round", "error", place(name, "estimator.hyperparameters"), message, fix)


def _hyperband(tuning: Tuning, name: str | None, definition: TrainingDefinition) -> Iterator[Finding]:
    """What is inferred from a static hyperparameter obeys the limits of what is given."""
    config = tuning.strategy_config
    if config is not None and config.max_resource is not None:
        return
    static = definition.estimator.hyperparameters
    key = next((one for one in EPOCH_NAMES if one in static), None)
    if key is None:
        return
    where, value = place(name, f"estimator.hyperparameters.{key}"), static[key]
    text = str(value)
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        message = f"Hyperband takes max_resource from {key}, which must be a whole number above 0, but is {value!r}"
        yield Finding("hyperband-resource", "error", where, message, "give strategy_config.max_resource")
    elif int(text) > MAX_RESOURCE:
        message = f"Hyperband takes max_resource from {key}, which may be {MAX_RESOURCE} at most, but is {text}"
        yield Finding("hyperband-cap", "error", where, message, f"train for {MAX_RESOURCE} epochs or fewer")
    elif config is not None and config.min_resource is not None and config.min_resource > int(text):
        message = f"min_resource <= max_resource must hold, but they are {config.min_resource} and {text} (from {key})"
        yield Finding("hyperband-order", "error", "strategy_config.min_resource", message, f"give {text} or less")
