"""Settings of a tuning job that are groups of fields: when it ends, how long Hyperband trains, where it starts from.

Limits of fields are those of the botocore model, unless another source is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints, model_validator

from sm_tuning._errors import Problem, SpecError
from sm_tuning._wire import MOST_RESOURCE
from sm_tuning.spec._base import Spec

JobName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}$", max_length=32)]
WarmStartType = Literal["IdenticalDataAndAlgorithm", "TransferLearning"]


class CompletionCriteria(Spec):
    """When a tuning job ends before its budget is spent.

    Args:
        target_objective_metric_value: the job ends when a training job reaches it.
        max_number_of_training_jobs_not_improving: the job ends when this many training jobs in a row do not improve
            the best value by 1 %.
        complete_on_convergence: the job ends when the service finds that improvement is unlikely.
    """

    _field_codes: ClassVar[Mapping[str, str]] = {"max_number_of_training_jobs_not_improving": "completion-criteria"}

    target_objective_metric_value: float | None = None
    max_number_of_training_jobs_not_improving: int | None = Field(default=None, ge=3)
    complete_on_convergence: bool | None = None

    @model_validator(mode="after")
    def _has_a_criterion(self) -> CompletionCriteria:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            message = f"completion_criteria needs one of {', '.join(type(self).model_fields)}"
            raise SpecError(Problem("completion-criteria", "", message, "give a criterion, or leave it out"))
        return self


class HyperbandConfig(Spec):
    """How long Hyperband trains: counted in emissions of the objective, such as epochs.

    Args:
        min_resource: emissions before which no training job is stopped.
        max_resource: emissions after which a training job is stopped; by default the service takes it from a static
            hyperparameter called epochs, numepochs, n-epochs, n_epochs or num_epochs.
    """

    _field_codes: ClassVar[Mapping[str, str]] = {"min_resource": "hyperband-order", "max_resource": "hyperband-cap"}

    min_resource: int | None = Field(default=None, ge=1)
    max_resource: int | None = Field(default=None, ge=1, le=MOST_RESOURCE)

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
    """Start from the results of finished tuning jobs.

    Args:
        parents: names of one to five finished tuning jobs.
        warm_start_type: ``IdenticalDataAndAlgorithm`` if data and image are the same, else ``TransferLearning``.
    """

    _field_codes: ClassVar[Mapping[str, str]] = {"parents": "warm-start-parents"}

    parents: tuple[JobName, ...] = Field(min_length=1, max_length=5)
    warm_start_type: WarmStartType = "IdenticalDataAndAlgorithm"

    @model_validator(mode="after")
    def _different(self) -> WarmStart:
        # The service compares names of jobs without case.
        if len({name.lower() for name in self.parents}) < len(self.parents):
            message = f"parents must be different tuning jobs, but got {list(self.parents)}"
            raise SpecError(Problem("warm-start-twice", "", message, "name each parent once"))
        return self


class EvaluationPlan(Spec):
    """How the best model is evaluated after the tuning job; no part of the job's request.

    Args:
        test: a CSV file, local or in S3, with the label in the first column and without a header.
        metrics: such as rmse, mae, auc or accuracy; by default the metric that the job optimises.
        instance_type: of the transform job.
        require: requirements for ``sm-tuning gate``, such as ``test:rmse<=60``.
    """

    test: str = Field(min_length=1, max_length=1024)
    metrics: tuple[str, ...] = ()
    instance_type: str = "ml.m5.large"
    require: tuple[str, ...] = ()
