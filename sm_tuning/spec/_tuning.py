"""The tuning job: which hyperparameters, by which strategy, how many trials, when to stop."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from sm_tuning._errors import Problem, SpecError
from sm_tuning.spec import _rules
from sm_tuning.spec._base import FrozenDict, Spec
from sm_tuning.spec._estimators import AnyEstimator
from sm_tuning.spec._inputs import AnyInput
from sm_tuning.spec._parameters import CategoricalParameter, ParameterRange
from sm_tuning.spec._values import decode_plain

ObjectiveType = Literal["Maximize", "Minimize"]
JobName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}$", max_length=32)]
WarmStartType = Literal["IdenticalDataAndAlgorithm", "TransferLearning"]


class CompletionCriteria(Spec):
    """When a tuning job is done before its budget is spent.

    Args:
        target_objective_metric_value: done when a training job reaches it.
        max_number_of_training_jobs_not_improving: done when this many in a row do not improve the best by 1 %.
        complete_on_convergence: done when the service finds that improvement is unlikely.
    """

    _field_codes: ClassVar[Mapping[str, str]] = {"max_number_of_training_jobs_not_improving": "completion-criteria"}

    target_objective_metric_value: float | None = None
    max_number_of_training_jobs_not_improving: int | None = Field(default=None, ge=3)
    complete_on_convergence: bool | None = None

    @model_validator(mode="after")
    def _says_something(self) -> CompletionCriteria:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            message = f"completion_criteria needs one of {', '.join(type(self).model_fields)}"
            raise SpecError(Problem("completion-criteria", "", message, "give a criterion, or leave it out"))
        return self


class HyperbandConfig(Spec):
    """How long Hyperband trains: counted in emissions of the objective, such as epochs.

    Args:
        min_resource: a training job is not stopped before so many.
        max_resource: a training job is stopped after so many; when left out, the service takes it from a static
            hyperparameter called epochs, numepochs, n-epochs, n_epochs or num_epochs.
    """

    _field_codes: ClassVar[Mapping[str, str]] = {"min_resource": "hyperband-order", "max_resource": "hyperband-cap"}

    min_resource: int | None = Field(default=None, ge=1)
    max_resource: int | None = Field(default=None, ge=1, le=20000)

    @model_validator(mode="after")
    def _ordered(self) -> HyperbandConfig:
        low, high, message = self.min_resource, self.max_resource, ""
        if low is None and high is None:
            message = "strategy_config needs min_resource or max_resource"
        elif low is not None and high is not None and low > high:
            message = f"min_resource <= max_resource must hold, but got {low} and {high}"
        if message:
            raise SpecError(Problem("hyperband-order", "", message, "give min_resource <= max_resource"))
        return self


class WarmStart(Spec):
    """Start from what finished tuning jobs have learned.

    Args:
        parents: names of one to five finished tuning jobs.
        warm_start_type: ``IdenticalDataAndAlgorithm`` when data and image are the same, else ``TransferLearning``.
    """

    _field_codes: ClassVar[Mapping[str, str]] = {"parents": "warm-start-parents"}

    parents: tuple[JobName, ...] = Field(min_length=1, max_length=5)
    warm_start_type: WarmStartType = "IdenticalDataAndAlgorithm"

    @model_validator(mode="after")
    def _different(self) -> WarmStart:
        if len({name.lower() for name in self.parents}) < len(self.parents):
            message = f"parents must be different tuning jobs, but got {list(self.parents)}"
            raise SpecError(Problem("warm-start-twice", "", message, "name each parent once"))
        return self


Ranges = FrozenDict[Annotated[str, StringConstraints(min_length=1, max_length=256)], ParameterRange]
Channels = FrozenDict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._\-]+$", max_length=64)], AnyInput]


_DEFINITION_CODES = {
    "inputs": "channels",
    "hyperparameter_ranges": "range-bounds",
    "auto_parameters": "auto-parameters",
}


class TrainingDefinition(Spec):
    """One of several algorithms that a tuning job chooses between; shares the job's budget with the others.

    What is left out is taken from the ``Tuning`` around it.
    """

    _field_codes: ClassVar[Mapping[str, str]] = _DEFINITION_CODES

    estimator: AnyEstimator
    objective_metric_name: str | None = None
    objective_type: ObjectiveType | None = None
    hyperparameter_ranges: Ranges = Field(default=FrozenDict())
    auto_parameters: FrozenDict[str, str] = Field(default=FrozenDict())
    inputs: Channels | None = Field(default=None, min_length=1, max_length=20)


def _one_channel(data: Any) -> Any:
    """A single path or input is the channel ``training``, as in the SDK."""
    if isinstance(data, str) or hasattr(data, "__fspath__") or isinstance(data, Spec):
        return {"training": data}
    if isinstance(data, Mapping) and data and set(data) & {"uri", "file_system_id", "dataset_arn"}:
        return {"training": data}
    return data


class Tuning(Spec):
    """A hyperparameter tuning job, with the SDK's names and the service's defaults.

    Args:
        estimator: what is trained; or ``estimators``, several by name, which share the job's budget.
        inputs: channel name -> S3 URI, local path, or an input object.
        objective_metric_name: the metric that is optimised; ``objective_type`` says in which direction.
        hyperparameter_ranges: hyperparameter name -> range.
        strategy: Bayesian, Random, Grid or Hyperband.
        strategy_config: resources of Hyperband.
        max_jobs: number of training jobs; for Grid the number of combinations, which may be left out.
        max_parallel_jobs: how many run at once.
        max_runtime_in_seconds: wall-clock limit of the whole tuning job.
        early_stopping_type: ``Auto`` stops training jobs that fall behind the median of the earlier ones.
        completion_criteria: when to be done before the budget is spent.
        warm_start: finished jobs to learn from.
        autotune: lets the service choose what is not given here.
        auto_parameters: hyperparameter name -> hint, for which autotune chooses the range.
        random_seed: makes the search repeatable (fully for Random and Hyperband).
        base_tuning_job_name: the start of the job's name; a time stamp and a random part follow.

    Raises:
        SpecError: when a value, or values together, break a rule of the service.
    """

    _field_codes: ClassVar[Mapping[str, str]] = {
        **_DEFINITION_CODES,
        "estimators": "several-limit",
        "strategy": "strategy",
        "max_jobs": "jobs-limit",
        "max_parallel_jobs": "parallel-limit",
        "max_runtime_in_seconds": "runtime-limit",
        "base_tuning_job_name": "name",
    }

    estimator: AnyEstimator | None = None
    estimators: FrozenDict[
        Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,63}$")], TrainingDefinition
    ] = Field(default=FrozenDict(), max_length=10)
    inputs: Annotated[Channels, BeforeValidator(_one_channel, json_schema_input_type=dict[str, AnyInput])] = Field(
        default=FrozenDict(), max_length=20
    )
    objective_metric_name: str | None = Field(default=None, min_length=1, max_length=255)
    objective_type: ObjectiveType = "Maximize"
    hyperparameter_ranges: Ranges = Field(default=FrozenDict())
    strategy: Literal["Bayesian", "Random", "Grid", "Hyperband"] = "Bayesian"
    strategy_config: HyperbandConfig | None = None
    max_jobs: int | None = Field(default=None, ge=1)
    max_parallel_jobs: int = Field(default=1, ge=1)
    max_runtime_in_seconds: int | None = Field(default=None, ge=120, le=15768000)
    early_stopping_type: Literal["Off", "Auto"] = "Off"
    completion_criteria: CompletionCriteria | None = None
    warm_start: WarmStart | None = None
    autotune: bool = False
    auto_parameters: FrozenDict[str, str] = Field(default=FrozenDict(), max_length=100)
    random_seed: int | None = Field(default=None, ge=0)
    base_tuning_job_name: str | None = Field(default=None, pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9])*$")

    @model_validator(mode="before")
    @classmethod
    def _defaults_and_plain_text(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        data = dict(data)
        no_limit = data.get("autotune") or data.get("max_runtime_in_seconds") or data.get("completion_criteria")
        if data.get("max_jobs") is None and data.get("strategy") != "Grid" and not no_limit:
            data["max_jobs"] = 1
        return data

    @model_validator(mode="after")
    def _rules(self) -> Tuning:
        found = list(_rules.tuning_problems(self))
        if found:
            raise SpecError(found)
        _settle_values(self)
        return self

    @property
    def definitions(self) -> tuple[tuple[str | None, TrainingDefinition], ...]:
        """All algorithms with their names; one without a name when the job has a single estimator."""
        if self.estimator is not None:
            only = TrainingDefinition.model_construct(
                estimator=self.estimator,
                objective_metric_name=self.objective_metric_name,
                objective_type=self.objective_type,
                hyperparameter_ranges=self.hyperparameter_ranges,
                auto_parameters=self.auto_parameters,
                inputs=self.inputs,
            )
            return ((None, only),)
        return tuple((name, self._completed(definition)) for name, definition in self.estimators.items())

    def dump(self, path: str | os.PathLike[str]) -> Path:
        """Write a spec file that ``load`` reads back to an equal ``Tuning``; fields at their default are left out.

        Raises:
            SpecError: when the ending is not ``.yaml``, ``.yml`` or ``.json``.
        """
        from sm_tuning.spec._files import dump  # noqa: PLC0415  (files know tunings, not the other way)

        return dump(self, path)

    def _completed(self, definition: TrainingDefinition) -> TrainingDefinition:
        """A definition with what it leaves out taken from the job."""
        changes = {
            "objective_metric_name": definition.objective_metric_name or self.objective_metric_name,
            "objective_type": definition.objective_type or self.objective_type,
            "inputs": definition.inputs if definition.inputs is not None else self.inputs,
        }
        return definition.model_copy(update=changes)


def _settle_values(tuning: Tuning) -> None:
    """Give categorical text of plain images the type that reading it back gives (see ``_values``)."""
    for holder, estimator in _range_holders(tuning):
        if estimator.is_script_mode:
            continue
        settled = {name: _settled(range_) for name, range_ in holder.hyperparameter_ranges.items()}
        object.__setattr__(holder, "hyperparameter_ranges", FrozenDict(settled))


def _range_holders(tuning: Tuning) -> Iterator[tuple[Tuning | TrainingDefinition, Any]]:
    if tuning.estimator is not None:
        yield tuning, tuning.estimator
    for definition in tuning.estimators.values():
        yield definition, definition.estimator


def _settled(range_: Any) -> Any:
    if not isinstance(range_, CategoricalParameter):
        return range_
    values = [decode_plain(value) if isinstance(value, str) else value for value in range_.values]
    simple = [
        cast("Any", new) if isinstance(new, str | bool | int | float) else old
        for new, old in zip(values, range_.values, strict=True)
    ]
    return range_ if simple == list(range_.values) else CategoricalParameter(simple)
