"""Rules of the service that several fields of a tuning job must obey together.

Sources are the botocore model of CreateHyperParameterTuningJob and the Developer Guide's pages on automatic model
tuning (define-ranges, how-it-works, multiple-algorithm-hpo, warm-start, limits).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sm_tuning.spec._parameters import MAX_VALUES, CategoricalParameter, ContinuousParameter, IntegerParameter

if TYPE_CHECKING:
    from sm_tuning.spec._tuning import TrainingDefinition, Tuning

#: Static hyperparameters from which the service infers Hyperband's MaxResource.
EPOCH_NAMES = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")

#: Static and tuned hyperparameters together; SageMaker's own ``_tuning_objective_metric`` is one of them.
MAX_HYPERPARAMETERS = 100

#: Environment variables over all definitions together.
MAX_ENVIRONMENT = 48


def tuning_problems(tuning: Tuning) -> Iterator[str]:
    """Every rule that a tuning job breaks, one sentence each."""
    if (tuning.estimator is None) == (not tuning.estimators):
        yield "exactly one of estimator and estimators is needed"
        return
    yield from _shape_problems(tuning)
    for name, definition in tuning.definitions:
        prefix = f"estimators.{name}: " if name else ""
        for problem in _definition_problems(tuning, definition):
            yield prefix + problem
    yield from _strategy_problems(tuning)
    yield from _budget_problems(tuning)


def _shape_problems(tuning: Tuning) -> Iterator[str]:
    if tuning.estimators:
        if tuning.hyperparameter_ranges or tuning.auto_parameters:
            yield "with several estimators, each has hyperparameter_ranges of its own"
        if tuning.warm_start:
            yield "warm_start works with a single estimator only"
        if tuning.early_stopping_type == "Auto":
            yield "early_stopping_type 'Auto' works with a single estimator only"
    variables = sum(len(definition.estimator.environment) for _, definition in tuning.definitions)
    if variables > MAX_ENVIRONMENT:
        yield f"at most {MAX_ENVIRONMENT} environment variables over all estimators, but got {variables}"
    tags: dict[str, str] = {}
    for _, definition in tuning.definitions:
        for key, value in definition.estimator.tags.items():
            if tags.setdefault(key, value) != value:
                yield f"a tuning job has one value for a tag, but {key!r} is {tags[key]!r} and {value!r}"


def _definition_problems(tuning: Tuning, definition: TrainingDefinition) -> Iterator[str]:
    estimator = definition.estimator
    ranges = definition.hyperparameter_ranges
    yield from _objective_problems(definition)
    if not definition.inputs and not estimator.is_script_mode and estimator.predefines_metrics:
        yield "inputs is required: a built-in algorithm reads its data from channels"
    if not ranges and not (tuning.autotune and definition.auto_parameters):
        yield "hyperparameter_ranges needs at least one range"
    if definition.auto_parameters and not tuning.autotune:
        yield "auto_parameters needs autotune=True"
    if len(ranges) > MAX_VALUES:
        yield f"at most {MAX_VALUES} hyperparameter_ranges, but got {len(ranges)}"
    both = sorted((set(ranges) | set(definition.auto_parameters)) & set(estimator.hyperparameters))
    if both:
        yield f"{', '.join(both)}: a hyperparameter is either static (hyperparameters) or tuned (ranges), not both"
    both = sorted(set(ranges) & set(definition.auto_parameters))
    if both:
        yield f"{', '.join(both)}: give a range or an autotune hint, not both"
    total = len(ranges) + len(estimator.hyperparameters) + 1
    if total > MAX_HYPERPARAMETERS:
        yield (
            f"at most {MAX_HYPERPARAMETERS} hyperparameters, static and tuned and SageMaker's own one together, "
            f"but got {total}"
        )
    uses_file_system = any(hasattr(channel, "file_system_id") for channel in (definition.inputs or {}).values())
    if uses_file_system and not estimator.subnets:
        yield "a file-system input needs subnets and security_group_ids"


def _objective_problems(definition: TrainingDefinition) -> Iterator[str]:
    estimator, name = definition.estimator, definition.objective_metric_name
    if name is None:
        yield "objective_metric_name is required"
        return
    if estimator.predefines_metrics:
        return
    known = [metric.name for metric in estimator.metric_definitions]
    if name not in known:
        yield (
            f"objective_metric_name {name!r} has no metric definition: add it to the estimator's "
            f"metric_definitions, which has {known or 'none'}"
        )


def _strategy_problems(tuning: Tuning) -> Iterator[str]:
    if tuning.strategy != "Hyperband":
        if tuning.strategy_config is not None:
            yield f"strategy_config is for strategy 'Hyperband' only, but strategy is {tuning.strategy!r}"
    else:
        if tuning.early_stopping_type == "Auto":
            yield "strategy 'Hyperband' stops training jobs by itself: early_stopping_type must be 'Off', but is 'Auto'"
        has_max = tuning.strategy_config is not None and tuning.strategy_config.max_resource is not None
        for name, definition in tuning.definitions:
            if not has_max and not set(EPOCH_NAMES) & set(definition.estimator.hyperparameters):
                where = f"estimators.{name}: " if name else ""
                yield (
                    f"{where}strategy 'Hyperband' needs strategy_config.max_resource, or a static hyperparameter "
                    f"named {', '.join(EPOCH_NAMES)}"
                )
    if tuning.warm_start and tuning.strategy in {"Grid", "Hyperband"}:
        yield f"warm_start works with strategy Bayesian and Random, but strategy is {tuning.strategy!r}"
    if tuning.strategy == "Grid":
        for _, definition in tuning.definitions:
            other = [n for n, r in definition.hyperparameter_ranges.items() if not isinstance(r, CategoricalParameter)]
            if other:
                yield (
                    f"strategy 'Grid' takes categorical ranges only, but {', '.join(other)} "
                    f"{'is' if len(other) == 1 else 'are'} not: list the values, or use another strategy"
                )


def _budget_problems(tuning: Tuning) -> Iterator[str]:
    sizes = [combinations(definition) for _, definition in tuning.definitions]
    finite = [size for size in sizes if size is not None]
    if len(finite) < len(sizes) or tuning.max_jobs is None:
        return
    total = sum(finite)
    if tuning.strategy == "Grid" and tuning.max_jobs != total:
        yield f"strategy 'Grid' runs every combination: max_jobs must be {total} or left out, but is {tuning.max_jobs}"
    elif tuning.max_jobs > total and not tuning.autotune:
        yield (
            f"the ranges have {total} combinations, fewer than max_jobs={tuning.max_jobs}: widen them or lower max_jobs"
        )


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
