"""A tuning with everything written out that it inherits or is given at launch."""

from __future__ import annotations

from typing import Any

from sm_tuning.request._channels import settled
from sm_tuning.request._resources import simple_fields, thawed
from sm_tuning.spec import AnyEstimator, AnyInput, FrozenDict, TrainingDefinition, Tuning


def resolved(tuning: Tuning, *, role: str | None = None, output_path: str | None = None) -> Tuning:
    """Write out what each definition takes from elsewhere, which is the form that a request reads back to.

    With several estimators, each has its own objective and inputs, and the job's tags. ``role`` and
    ``output_path`` fill the estimators that have none; a raw ``resource_config`` that says no more than the
    estimator's own fields becomes those fields.
    """
    tags = {key: value for _, one in tuning.definitions for key, value in one.estimator.tags.items()}
    if tuning.estimator is not None:
        estimator = _estimator(tuning.estimator, tags, role, output_path)
        return tuning.replace(estimator=estimator, inputs=_inputs(tuning.inputs))
    definitions = {
        str(name): TrainingDefinition(
            estimator=_estimator(one.estimator, tags, role, output_path),
            objective_metric_name=one.objective_metric_name,
            objective_type=one.objective_type,
            hyperparameter_ranges=one.hyperparameter_ranges,
            auto_parameters=one.auto_parameters,
            inputs=_inputs(one.inputs) if one.inputs else None,
        )
        for name, one in tuning.definitions
    }
    return tuning.replace(estimators=definitions, inputs={}, objective_metric_name=None, objective_type="Maximize")


def _estimator(
    estimator: AnyEstimator, tags: dict[str, str], role: str | None, output_path: str | None
) -> AnyEstimator:
    changes: dict[str, Any] = {
        "role": estimator.role or role,
        "output_path": estimator.output_path or output_path,
        "tags": tags,
    }
    simple = simple_fields(thawed(estimator.resource_config or {}))
    return estimator.replace(**changes, **({"resource_config": None, **simple} if simple else {}))


def _inputs(inputs: FrozenDict[str, AnyInput] | None) -> dict[str, AnyInput]:
    return {name: settled(channel) for name, channel in (inputs or {}).items()}
