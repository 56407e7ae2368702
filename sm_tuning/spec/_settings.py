"""Settings of a tuning job that are groups of fields: when it ends, how long Hyperband trains, where it starts from.

Limits of fields are those of the botocore model, unless another source is named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints, model_validator

from sm_tuning._errors import Problem, SpecError, did_you_mean
from sm_tuning._wire import MOST_RESOURCE
from sm_tuning.spec._base import Spec
from sm_tuning.spec._frozen import FrozenDict

JobName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}$", max_length=32)]
WarmStartType = Literal["IdenticalDataAndAlgorithm", "TransferLearning"]


class CompletionCriteria(Spec):
    """When a tuning job ends before its budget is spent.

    Args:
        target_objective_metric_value: the job ends when a training job reaches it.
        max_number_of_training_jobs_not_improving: the job ends when this many training jobs in a row do not improve
            the best value by 1%.
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


class PromotionConfig(Spec):
    """How long Promotion trains: asynchronous successive halving that pauses trials and resumes them from checkpoints.

    Each configuration is trained up to ``min_resource``. The best of them continue from their checkpoints, up to
    ``reduction_factor`` times as much, and so on up to ``max_resource``.

    Args:
        resource: the hyperparameter that says up to how many epochs the script trains; the study sets it.
        min_resource: up to which each configuration is trained; by default the best are promoted twice: with
            ``reduction_factor`` 3, a ninth of ``max_resource``, rounded up.
        max_resource: up to which the best are trained.
        reduction_factor: one of this many is promoted; each promotion trains up to this many times as much.
    """

    _field_codes: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("resource", "min_resource", "max_resource", "reduction_factor"), "study-strategy"
    )

    resource: str = Field(default="epochs", min_length=1, max_length=256)
    min_resource: int | None = Field(default=None, ge=1)
    max_resource: int = Field(ge=2, le=MOST_RESOURCE)
    reduction_factor: int = Field(default=3, ge=2, le=100)

    @model_validator(mode="after")
    def _ordered(self) -> PromotionConfig:
        if self.min_resource is not None and self.min_resource >= self.max_resource:
            message = f"min_resource < max_resource must hold, but got {self.min_resource} and {self.max_resource}"
            raise SpecError(Problem("study-strategy", "", message, "give min_resource < max_resource"))
        return self


class PopulationConfig(Spec):
    """Population based training: a population is trained in intervals, and the worst members copy the best.

    After each interval, a member in the worst quarter continues from the checkpoint of a member in the best quarter,
    with changed hyperparameters. Each hyperparameter is drawn anew with ``resample_probability``; otherwise a number is
    multiplied by one of ``factors``, and a numeric choice moves to its neighbour.

    Args:
        size: members of the population.
        resource: the hyperparameter that says up to how many epochs the script trains; the study sets it.
        interval: epochs after which a member is compared; each interval of a member is a trial.
        max_resource: epochs at which a member is done.
        quantile: the share of the members that copy, and of those that are copied.
        resample_probability: of drawing a hyperparameter anew.
        factors: by which numbers are multiplied.
        mutate: the hyperparameters that a member changes when it copies another one, which it copies otherwise; all by
            default.
    """

    _field_codes: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("size", "resource", "interval", "max_resource", "quantile", "resample_probability", "factors", "mutate"),
        "study-strategy",
    )

    size: int = Field(default=8, ge=2, le=1000)
    resource: str = Field(default="epochs", min_length=1, max_length=256)
    interval: int = Field(default=1, ge=1)
    max_resource: int = Field(ge=1, le=MOST_RESOURCE)
    quantile: float = Field(default=0.25, gt=0, le=0.5)
    resample_probability: float = Field(default=0.25, ge=0, le=1)
    factors: tuple[Annotated[float, Field(gt=0)], ...] = Field(default=(0.8, 1.2), min_length=1)
    mutate: tuple[str, ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _compares(self) -> PopulationConfig:
        if self.interval >= self.max_resource:
            message = f"interval < max_resource must hold, but got {self.interval} and {self.max_resource}"
            fix = "give a shorter interval: members are compared only between intervals"
            raise SpecError(Problem("study-strategy", "interval", message, fix))
        return self

    def mutation_problems(self, names: Collection[str], code: str, where: str) -> Iterator[Problem]:
        """Yield the names in ``mutate`` that no hyperparameter has.

        Args:
            names: the tuned hyperparameters.
            code: of the problems.
            where: the field that has these settings.
        """
        for name in self.mutate or ():
            if name not in names:
                hint = did_you_mean(name, names, kind="tuned hyperparameters")
                message = f"{name!r} is not a tuned hyperparameter: {hint}"
                yield Problem(code, f"{where}.mutate", message, "name hyperparameters that have a range")


class OptunaConfig(Spec):
    """The sampler of Optuna that suggests the trials of a study.

    Args:
        sampler: a class of ``optuna.samplers``, such as ``TPESampler``, ``GPSampler``, ``CmaEsSampler`` or
            ``NSGAIISampler``.
        options: arguments of the class, such as ``population_size``; the study gives the seed.
    """

    _field_codes: ClassVar[Mapping[str, str]] = dict.fromkeys(("sampler", "options"), "study-strategy")

    sampler: str = Field(default="TPESampler", pattern=r"^[A-Za-z]+Sampler$", max_length=64)
    options: FrozenDict[str, Any] = Field(default=FrozenDict())


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
