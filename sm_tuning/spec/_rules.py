"""Rules of the service that several fields of a tuning job must obey together.

Sources are the botocore model of CreateHyperParameterTuningJob and the Developer Guide's pages on automatic model
tuning (define-ranges, how-it-works, multiple-algorithm-hpo, warm-start, limits).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sm_tuning._errors import Problem
from sm_tuning.spec._parameters import MAX_VALUES, CategoricalParameter, ContinuousParameter, IntegerParameter

if TYPE_CHECKING:
    from sm_tuning.spec._tuning import TrainingDefinition, Tuning

#: Static hyperparameters from which the service infers Hyperband's MaxResource.
EPOCH_NAMES = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")

#: Static and tuned hyperparameters together; SageMaker's own ``_tuning_objective_metric`` is one of them.
MAX_HYPERPARAMETERS = 100

#: Environment variables over all definitions together.
MAX_ENVIRONMENT = 48


def tuning_problems(tuning: Tuning) -> Iterator[Problem]:
    """Every rule that a tuning job breaks."""
    if (tuning.estimator is None) == (not tuning.estimators):
        message = "exactly one of estimator and estimators is needed"
        yield Problem("definition-choice", "", message, "give one of the two")
        return
    yield from _shape_problems(tuning)
    for name, definition in tuning.definitions:
        place = f"estimators.{name}" if name else ""
        for problem in _definition_problems(tuning, definition):
            yield problem.below(place)
    yield from _strategy_problems(tuning)
    yield from _budget_problems(tuning)


def _shape_problems(tuning: Tuning) -> Iterator[Problem]:
    if tuning.estimators:
        if tuning.hyperparameter_ranges or tuning.auto_parameters:
            message = "with several estimators, each has hyperparameter_ranges of its own"
            yield Problem("several-ranges", "", message, "move the ranges into each estimator")
        if tuning.warm_start:
            message = "warm_start works with a single estimator only"
            yield Problem("several-warm-start", "", message, "leave warm_start out")
        if tuning.early_stopping_type == "Auto":
            message = "early_stopping_type 'Auto' works with a single estimator only"
            yield Problem("several-early-stopping", "", message, "set early_stopping_type to Off")
    variables = sum(len(definition.estimator.environment) for _, definition in tuning.definitions)
    if variables > MAX_ENVIRONMENT:
        message = f"at most {MAX_ENVIRONMENT} environment variables over all estimators, but got {variables}"
        yield Problem("too-many-variables", "", message, "pass a file in place of variables")
    tags: dict[str, str] = {}
    for _, definition in tuning.definitions:
        for key, value in definition.estimator.tags.items():
            if tags.setdefault(key, value) != value:
                message = f"a tuning job has one value for a tag, but {key!r} is {tags[key]!r} and {value!r}"
                yield Problem("tags-differ", "", message, "give the tag the same value everywhere")


def _definition_problems(tuning: Tuning, definition: TrainingDefinition) -> Iterator[Problem]:
    estimator = definition.estimator
    ranges = definition.hyperparameter_ranges
    yield from _objective_problems(definition)
    if not definition.inputs and not estimator.is_script_mode and estimator.predefines_metrics:
        message = "inputs is required: a built-in algorithm reads its data from channels"
        yield Problem("inputs-missing", "", message, "name the data in inputs")
    if not ranges and not (tuning.autotune and definition.auto_parameters):
        message = "hyperparameter_ranges needs at least one range"
        yield Problem("ranges-missing", "", message, "add a range to hyperparameter_ranges")
    if definition.auto_parameters and not tuning.autotune:
        message = "auto_parameters needs autotune=True"
        yield Problem("auto-parameters", "", message, "set autotune, or give ranges")
    if len(ranges) > MAX_VALUES:
        message = f"at most {MAX_VALUES} hyperparameter_ranges, but got {len(ranges)}"
        yield Problem("too-many-ranges", "", message, "make the least important ones static")
    message = "a hyperparameter is either static (hyperparameters) or tuned (ranges), not both"
    for field in ("hyperparameter_ranges", "auto_parameters"):
        for name in sorted(set(getattr(definition, field)) & set(estimator.hyperparameters)):
            yield Problem("static-and-tuned", f"{field}.{name}", message, "give it once")
    for name in sorted(set(ranges) & set(definition.auto_parameters)):
        message = "give a range or an autotune hint, not both"
        yield Problem("static-and-tuned", f"auto_parameters.{name}", message, "give it once")
    total = len(ranges) + len(estimator.hyperparameters) + 1
    if total > MAX_HYPERPARAMETERS:
        message = (
            f"at most {MAX_HYPERPARAMETERS} hyperparameters, static and tuned and SageMaker's own one together, "
            f"but got {total}"
        )
        yield Problem("too-many-hyperparameters", "", message, "pass a file in place of hyperparameters")
    uses_file_system = any(hasattr(channel, "file_system_id") for channel in (definition.inputs or {}).values())
    if uses_file_system and not estimator.subnets:
        message = "a file-system input needs subnets and security_group_ids"
        yield Problem("network-missing", "", message, "give both")


def _objective_problems(definition: TrainingDefinition) -> Iterator[Problem]:
    estimator, name = definition.estimator, definition.objective_metric_name
    if name is None:
        yield Problem("objective-missing", "", "objective_metric_name is required", "name the metric to optimise")
        return
    if estimator.predefines_metrics:
        return
    known = [metric.name for metric in estimator.metric_definitions]
    if name not in known:
        message = (
            f"objective_metric_name {name!r} has no metric definition: add it to the estimator's "
            f"metric_definitions, which has {known or 'none'}"
        )
        yield Problem("objective-undefined", "", message, "add it to metric_definitions")


def _strategy_problems(tuning: Tuning) -> Iterator[Problem]:
    if tuning.strategy != "Hyperband":
        if tuning.strategy_config is not None:
            message = f"strategy_config is for strategy 'Hyperband' only, but strategy is {tuning.strategy!r}"
            yield Problem("hyperband-only", "", message, "leave strategy_config out")
    else:
        if tuning.early_stopping_type == "Auto":
            message = (
                "strategy 'Hyperband' stops training jobs by itself: early_stopping_type must be 'Off', but is 'Auto'"
            )
            yield Problem("hyperband-early-stopping", "", message, "set early_stopping_type to Off")
        has_max = tuning.strategy_config is not None and tuning.strategy_config.max_resource is not None
        for name, definition in tuning.definitions:
            if not has_max and not set(EPOCH_NAMES) & set(definition.estimator.hyperparameters):
                where = f"estimators.{name}" if name else ""
                message = (
                    f"strategy 'Hyperband' needs strategy_config.max_resource, or a static hyperparameter "
                    f"named {', '.join(EPOCH_NAMES)}"
                )
                yield Problem("hyperband-resource", where, message, "give strategy_config.max_resource")
    if tuning.warm_start and tuning.strategy in {"Grid", "Hyperband"}:
        message = f"warm_start works with strategy Bayesian and Random, but strategy is {tuning.strategy!r}"
        yield Problem("warm-start-strategy", "", message, "use strategy Bayesian or Random")
    if tuning.strategy == "Grid":
        for _, definition in tuning.definitions:
            other = [n for n, r in definition.hyperparameter_ranges.items() if not isinstance(r, CategoricalParameter)]
            if other:
                message = (
                    f"strategy 'Grid' takes categorical ranges only, but {', '.join(other)} "
                    f"{'is' if len(other) == 1 else 'are'} not: list the values, or use another strategy"
                )
                yield Problem("grid-categorical", "", message, "list the values")


def _budget_problems(tuning: Tuning) -> Iterator[Problem]:
    sizes = [combinations(definition) for _, definition in tuning.definitions]
    finite = [size for size in sizes if size is not None]
    if len(finite) < len(sizes) or tuning.max_jobs is None:
        return
    total = sum(finite)
    if tuning.strategy == "Grid" and tuning.max_jobs != total:
        message = (
            f"strategy 'Grid' runs every combination: max_jobs must be {total} or left out, but is {tuning.max_jobs}"
        )
        yield Problem("grid-budget", "", message, "leave max_jobs out")
    elif tuning.max_jobs > total and not tuning.autotune:
        message = (
            f"the ranges have {total} combinations, fewer than max_jobs={tuning.max_jobs}: widen them or lower max_jobs"
        )
        yield Problem("too-few-combinations", "", message, "widen the ranges or lower max_jobs")


def combinations(definition: TrainingDefinition) -> int | None:
    """How many different trials the ranges allow; None when a continuous range makes them endless."""
    sizes = []
    for range_ in definition.hyperparameter_ranges.values():
        if isinstance(range_, ContinuousParameter):
            return None
        if isinstance(range_, IntegerParameter):
            sizes.append(range_.max_value - range_.min_value + 1)
        else:
            sizes.append(len(range_.values))
    return math.prod(sizes)
