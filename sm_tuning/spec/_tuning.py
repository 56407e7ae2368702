"""The tuning job: which hyperparameters, by which strategy, how many trials, when to stop.

The rules across fields are those of the botocore model of CreateHyperParameterTuningJob and of the Developer Guide's
pages on automatic model tuning (define-ranges, how-it-works, multiple-algorithm-hpo, warm-start, limits).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, StringConstraints, ValidationInfo, field_validator, model_validator

from sm_tuning._errors import Problem, SpecError
from sm_tuning._wire import CONTINUING, EPOCH_KEYS, HYPERBANDS, MOST_HYPERPARAMETERS
from sm_tuning.spec._base import Spec
from sm_tuning.spec._conditions import Conditions, assignments, in_order, is_active
from sm_tuning.spec._encoding import decode_scalar
from sm_tuning.spec._estimators import AnyEstimator
from sm_tuning.spec._frozen import FrozenDict
from sm_tuning.spec._hyperparameters import (
    MAX_VALUES,
    CategoricalParameter,
    ContinuousParameter,
    IntegerParameter,
    ParameterRange,
)
from sm_tuning.spec._inputs import AnyInput, FileSystemInput, not_a_channel
from sm_tuning.spec._ray import RaySettings, ray_problems
from sm_tuning.spec._settings import (
    CompletionCriteria,
    EvaluationPlan,
    HyperbandConfig,
    OptunaConfig,
    PopulationConfig,
    PromotionConfig,
    WarmStart,
)
from sm_tuning.spec._study import StudySettings, study_problems

ObjectiveType = Literal["Maximize", "Minimize"]  # limits are those of the botocore model, unless a source is named

#: Environment variables over all definitions together.
MAX_ENVIRONMENT = 48


Ranges = FrozenDict[Annotated[str, StringConstraints(min_length=1, max_length=256)], ParameterRange]
Channels = FrozenDict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._\-]+$", max_length=64)], AnyInput]


#: The settings of each strategy that has some.
CONFIGS: Mapping[str, type[HyperbandConfig | PromotionConfig | PopulationConfig | OptunaConfig]] = {
    **dict.fromkeys(HYPERBANDS, HyperbandConfig),
    "Promotion": PromotionConfig,
    "Population": PopulationConfig,
    "Optuna": OptunaConfig,
}

_DEFINITION_CODES = {
    "inputs": "channels",
    "hyperparameter_ranges": "range-bounds",
    "auto_parameters": "auto-parameters",
}


class TrainingDefinition(Spec):
    """One of several algorithms that a tuning job chooses between; it shares the job's budget with the others.

    Fields that are not given are taken from the ``Tuning`` around it.
    """

    _field_codes: ClassVar[Mapping[str, str]] = _DEFINITION_CODES

    estimator: AnyEstimator
    objective_metric_name: str | None = None
    objective_type: ObjectiveType | None = None
    hyperparameter_ranges: Ranges = Field(default=FrozenDict())
    auto_parameters: FrozenDict[str, str] = Field(default=FrozenDict())
    inputs: Channels | None = Field(default=None, min_length=1, max_length=20)


def _one_channel(data: Any) -> Any:
    """Accept a single path or input as the channel ``training``, as the SDK does."""
    if isinstance(data, str) or hasattr(data, "__fspath__") or isinstance(data, Spec):
        return {"training": data}
    if isinstance(data, Mapping) and data and set(data) & {"uri", "file_system_id", "dataset_arn"}:
        return {"training": data}
    if not isinstance(data, Mapping):
        raise not_a_channel(data)
    return data


#: The first parameters of the SDK's ``HyperparameterTuner``, which callers often give by position.
_POSITIONS = (
    "estimator",
    "objective_metric_name",
    "hyperparameter_ranges",
    "metric_definitions",
    "strategy",
    "objective_type",
    "max_jobs",
    "max_parallel_jobs",
    "max_runtime_in_seconds",
)


class Tuning(Spec):
    """A hyperparameter tuning job, with the SDK's names and the service's defaults.

    The first arguments may be given by position, in the SDK's order: estimator, objective_metric_name,
    hyperparameter_ranges, metric_definitions (which must be None: they belong to the estimator), strategy,
    objective_type, max_jobs, max_parallel_jobs, max_runtime_in_seconds.

    Args:
        estimator: what is trained; or ``estimators``, several by name, which share the job's budget.
        inputs: channel name -> S3 URI, local path, or an input object.
        objective_metric_name: the metric that is optimised; ``objective_type`` is the direction.
        hyperparameter_ranges: hyperparameter name -> range.
        strategy: Bayesian, Random, Grid or Hyperband; in a study also BayesianHyperband, Promotion, Population or
            Optuna.
        strategy_config: resources of Hyperband and BayesianHyperband, or the settings of Promotion, Population or
            Optuna.
        max_jobs: number of training jobs; for Grid the number of combinations, which may be left out, as for
            Population, which ends when its members are done.
        max_parallel_jobs: how many run at once.
        max_runtime_in_seconds: wall-clock limit of the whole tuning job.
        early_stopping_type: ``Auto`` stops training jobs that fall behind the median of the earlier ones.
        completion_criteria: when to end before the budget is spent.
        warm_start: finished jobs to learn from.
        autotune: lets the service choose settings that are not given here.
        auto_parameters: hyperparameter name -> hint, for which autotune chooses the range.
        random_seed: makes the search repeatable (fully for Random and Hyperband).
        base_tuning_job_name: the start of the job's name; a time stamp and a random part follow.
        study: runs the tuning as a study: the strategy in the client, each trial a plain training job.
        evaluation: how the best model is evaluated afterwards; no part of the request.
        ray: where and with which resources the tuning runs on Ray; no part of the request.

    Raises:
        SpecError: if a value, or a combination of values, breaks a rule of the service.
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
    _elsewhere: ClassVar[Mapping[str, str]] = {
        "objectives": "a tuning job has one objective; further ones are in the block of a study: study.objectives",
        "constraints": "a tuning job has no constraints; a study has them in its block: study.constraints",
        "when": "a tuning job has no conditions; a study has them in its block: study.when",
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
    strategy: Literal[
        "Bayesian", "Random", "Grid", "Hyperband", "BayesianHyperband", "Promotion", "Population", "Optuna"
    ] = "Bayesian"
    strategy_config: HyperbandConfig | PromotionConfig | PopulationConfig | OptunaConfig | None = None
    # How many jobs an account may have is a quota, which AWS may raise: preflight checks it.
    max_jobs: int | None = Field(default=None, ge=1)
    max_parallel_jobs: int = Field(default=1, ge=1)
    max_runtime_in_seconds: int | None = Field(default=None, ge=120, le=15768000)
    early_stopping_type: Literal["Off", "Auto"] = "Off"
    completion_criteria: CompletionCriteria | None = None
    warm_start: WarmStart | None = None
    autotune: bool = False
    auto_parameters: FrozenDict[str, str] = Field(default=FrozenDict(), max_length=100)
    random_seed: int | None = Field(default=None, ge=0)
    # Longer than a job's name may be: ``unique_name`` cuts it to what fits.
    base_tuning_job_name: str | None = Field(default=None, pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9])*$")

    study: StudySettings | None = None
    evaluation: EvaluationPlan | None = None
    ray: RaySettings | None = None

    # Hidden from type checkers, which otherwise would no longer complete and check the fields.
    if not TYPE_CHECKING:

        def __init__(self, /, *args: Any, **data: Any) -> None:
            if len(args) > len(_POSITIONS):
                raise SpecError(f"Tuning takes {len(_POSITIONS)} arguments by position, but got {len(args)}: name them")
            given = dict(zip(_POSITIONS, args, strict=False))
            if given.pop("metric_definitions", None) is not None:
                raise SpecError("metric_definitions belong to the estimator: give them there, and None here")
            twice = sorted(set(given) & set(data))
            if twice:
                raise SpecError(f"Tuning got {', '.join(twice)} by position and by name")
            super().__init__(**given, **data)

        __init__.__pydantic_base_init__ = True

    @model_validator(mode="before")
    @classmethod
    def _one_job_by_default(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        # One training job, as in the SDK; but a job with another limit, and a grid, need no number of jobs.
        limits = ("autotune", "max_runtime_in_seconds", "completion_criteria")
        is_limited = data.get("strategy") in ("Grid", "Population") or any(data.get(name) for name in limits)
        return {**data, "max_jobs": 1} if data.get("max_jobs") is None and not is_limited else dict(data)

    @field_validator("strategy_config", mode="before")
    @classmethod
    def _config_of_the_strategy(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None or isinstance(value, Spec):
            return value
        # Left to pydantic, a mistake would be reported once for each class that the value is not of.
        kind = CONFIGS.get(info.data.get("strategy", ""), HyperbandConfig)
        return kind.model_validate(value, context=info.context)

    @model_validator(mode="after")
    def _rules(self) -> Tuning:
        if (self.estimator is None) == (not self.estimators):
            message = "exactly one of estimator and estimators is needed"
            raise SpecError(Problem("definition-choice", "", message, "give one of the two"))
        found = list(self._shape_problems())
        for name, definition in self.definitions:
            place = f"estimators.{name}" if name else ""
            found += [problem.below(place) for problem in _definition_problems(definition, autotune=self.autotune)]
        found += [*self._strategy_problems(), *self._budget_problems(), *study_problems(self), *ray_problems(self)]
        if found:
            raise SpecError(found)
        self._settle_texts()
        return self

    def _shape_problems(self) -> Iterator[Problem]:
        # In a job with several algorithms each definition has ranges, and the job has neither a warm start nor early
        # stopping [multiple-algorithm-hpo].
        if self.estimators:
            if self.hyperparameter_ranges or self.auto_parameters:
                message = "with several estimators, each has hyperparameter_ranges of its own"
                yield Problem("several-ranges", "", message, "move the ranges into each estimator")
            if self.warm_start:
                message = "warm_start works with a single estimator only"
                yield Problem("several-warm-start", "", message, "leave warm_start out")
            if self.early_stopping_type == "Auto":
                message = "early_stopping_type 'Auto' works with a single estimator only"
                yield Problem("several-early-stopping", "", message, "set early_stopping_type to Off")
        variables = sum(len(definition.estimator.environment) for _, definition in self.definitions)
        if variables > MAX_ENVIRONMENT:
            message = f"at most {MAX_ENVIRONMENT} environment variables over all estimators, but got {variables}"
            yield Problem("too-many-variables", "", message, "pass a file in place of variables")
        # The request has one list of tags, for the job; the service copies it to each training job.
        tags: dict[str, str] = {}
        for _, definition in self.definitions:
            for key, value in definition.estimator.tags.items():
                if tags.setdefault(key, value) != value:
                    message = f"a tuning job has one value for a tag, but {key!r} is {tags[key]!r} and {value!r}"
                    yield Problem("tags-differ", "", message, "give the tag the same value everywhere")

    def _strategy_problems(self) -> Iterator[Problem]:
        # Hyperband has its own early stopping, and must know how long a whole trial is. Grid runs each combination
        # once [how-it-works]. Neither can start from parents [warm-start].
        config, is_hyperband = self.strategy_config, self.strategy in HYPERBANDS
        if config is not None and not isinstance(config, CONFIGS.get(self.strategy, ())):
            of = next(name for name, kind in CONFIGS.items() if isinstance(config, kind))
            message = f"strategy_config is for strategy {of!r} only, but strategy is {self.strategy!r}"
            yield Problem("hyperband-only", "", message, "leave strategy_config out")
        if is_hyperband and self.early_stopping_type == "Auto":
            message = f"strategy {self.strategy!r} stops jobs by itself: early_stopping_type must be 'Off', not 'Auto'"
            yield Problem("hyperband-early-stopping", "", message, "set early_stopping_type to Off")
        for name, definition in self.definitions:
            static, ranges = definition.estimator.hyperparameters, definition.hyperparameter_ranges
            needs_resource = is_hyperband and getattr(config, "max_resource", None) is None
            if needs_resource and not set(EPOCH_KEYS) & set(static):
                where = f"estimators.{name}" if name else ""
                message = (
                    f"strategy {self.strategy!r} needs strategy_config.max_resource, or a static hyperparameter "
                    f"named {', '.join(EPOCH_KEYS)}"
                )
                yield Problem("hyperband-resource", where, message, "give strategy_config.max_resource")
            other = [key for key, value in ranges.items() if not isinstance(value, CategoricalParameter)]
            if self.strategy == "Grid" and other:
                message = (
                    f"strategy 'Grid' takes categorical ranges only, but {', '.join(other)} "
                    f"{'is' if len(other) == 1 else 'are'} not: list the values, or use another strategy"
                )
                yield Problem("grid-categorical", "", message, "list the values")
        if self.warm_start and self.strategy in {"Grid", *HYPERBANDS}:
            message = f"warm_start works with strategy Bayesian and Random, but strategy is {self.strategy!r}"
            yield Problem("warm-start-strategy", "", message, "use strategy Bayesian or Random")

    def _budget_problems(self) -> Iterator[Problem]:
        # No strategy tries a combination twice, so that a job cannot have more trials than there are combinations.
        # Those that continue trials do.
        if self.strategy in CONTINUING:
            return
        conditions = {} if self.study is None else self.study.when
        sizes = [combinations(definition, conditions) for _, definition in self.definitions]
        finite = [size for size in sizes if size is not None]
        if len(finite) < len(sizes) or self.max_jobs is None:
            return
        total, given = sum(finite), self.max_jobs
        if self.strategy == "Grid" and given != total:
            message = f"strategy 'Grid' runs every combination: max_jobs must be {total} or left out, but is {given}"
            yield Problem("grid-budget", "", message, "leave max_jobs out")
        elif given > total and not self.autotune:
            message = f"the ranges have {total} combinations, fewer than max_jobs={given}: widen them or lower max_jobs"
            yield Problem("too-few-combinations", "", message, "widen the ranges or lower max_jobs")

    def _settle_texts(self) -> None:
        """Give categorical texts of plain images the type that reading them back gives, so that specs compare equal."""
        holders: tuple[Tuning | TrainingDefinition, ...] = (self, *self.estimators.values())
        for holder in holders:
            estimator = holder.estimator
            if estimator is None or estimator.is_script_mode:
                continue
            settled: dict[str, ParameterRange] = dict(holder.hyperparameter_ranges)
            for name, given in holder.hyperparameter_ranges.items():
                if isinstance(given, CategoricalParameter):
                    values = [
                        decode_scalar(value, as_json=False) if isinstance(value, str) else value
                        for value in given.values
                    ]
                    settled[name] = given if values == list(given.values) else CategoricalParameter(values)
            # The spec is frozen for its users; here it is still being built.
            object.__setattr__(holder, "hyperparameter_ranges", FrozenDict(settled))

    @property
    def definitions(self) -> tuple[tuple[str | None, TrainingDefinition], ...]:
        """All algorithms with their names; a single estimator has the name None."""
        if self.estimator is not None:
            # Valid already, as a part of this spec.
            only = TrainingDefinition.model_construct(
                estimator=self.estimator,
                objective_metric_name=self.objective_metric_name,
                objective_type=self.objective_type,
                hyperparameter_ranges=self.hyperparameter_ranges,
                auto_parameters=self.auto_parameters,
                inputs=self.inputs,
            )
            return ((None, only),)
        inherited = {
            name: {
                "objective_metric_name": given.objective_metric_name or self.objective_metric_name,
                "objective_type": given.objective_type or self.objective_type,
                "inputs": given.inputs if given.inputs is not None else self.inputs,
            }
            for name, given in self.estimators.items()
        }
        return tuple((name, self.estimators[name].model_copy(update=changes)) for name, changes in inherited.items())

    @classmethod
    def from_training_job(  # noqa: PLR0913  (every option by its name)
        cls,
        job: str | Any,
        hyperparameter_ranges: Mapping[str, ParameterRange],
        *,
        objective_metric_name: str | None = None,
        objective_type: ObjectiveType | None = None,
        entry_point: str | None = None,
        source_dir: str | None = None,
        max_jobs: int | None = None,
        max_parallel_jobs: int | None = None,
        aws: Any = None,
        session: Any = None,
        profile: str | None = None,
        region: str | None = None,
        endpoint_url: str | None = None,
    ) -> Tuning:
        """Return a spec that tunes what a training job trained, whatever tool created the job.

        The estimator has the job's image, script, channels, machines, metric definitions and hyperparameters.
        ``replace`` sets further fields of the spec.

        Args:
            job: name or ARN of the training job, or its handle, which brings the connection.
            hyperparameter_ranges: hyperparameter name -> range; they replace static values of the same names.
            objective_metric_name: the metric that is optimised; by default that of the job's own tuning job, its only
                metric, or its only metric on held-out data.
            objective_type: the direction; by default that of the job's own tuning job, or what the metric's name shows.
            entry_point: the script of a job whose request has an entrypoint, which a tuning job cannot have, as those
                of the SDK v3's ``ModelTrainer`` have it.
            source_dir: the folder, or the archive in S3, of that script.
            max_jobs: number of training jobs.
            max_parallel_jobs: how many run at once.
            aws: an existing connection, instead of the following arguments.
            session: like the following, as for ``connect``.
            profile: a profile of ``~/.aws/config``.
            region: the AWS region.
            endpoint_url: address of all services, instead of AWS.

        Raises:
            SpecError: a tuning job cannot have one of the job's settings, or the objective is not known.
            JobNotFoundError: there is no such training job.
            ServiceError: AWS refused or could not be reached.
        """
        if isinstance(job, str):
            # By its name: a spec makes no calls, and stands below what does. Only this constructor needs a connection.
            attach = import_module("sm_tuning._launch").attach_training
            job = attach(job, aws=aws, session=session, profile=profile, region=region, endpoint_url=endpoint_url)
        tuning: Tuning = job.tuning(
            hyperparameter_ranges,
            objective_metric_name=objective_metric_name,
            objective_type=objective_type,
            entry_point=entry_point,
            source_dir=source_dir,
            max_jobs=max_jobs,
            max_parallel_jobs=max_parallel_jobs,
        )
        return tuning

    def dump(self, path: str | os.PathLike[str]) -> Path:
        """Write a spec file that ``load`` reads back to an equal ``Tuning``; fields at their default are left out.

        Raises:
            SpecError: if the ending is not ``.yaml``, ``.yml`` or ``.json``.
        """
        from sm_tuning.spec._files import dump  # noqa: PLC0415  (that module imports this one)

        return dump(self, path)


def _definition_problems(definition: TrainingDefinition, *, autotune: bool) -> Iterator[Problem]:
    estimator, ranges, hints = definition.estimator, definition.hyperparameter_ranges, definition.auto_parameters
    objective = definition.objective_metric_name
    # A metric of a script or of a custom image has no value unless a definition finds it in the log.
    known = [metric.name for metric in estimator.metric_definitions]
    if objective is None:
        yield Problem("objective-missing", "", "objective_metric_name is required", "name the metric to optimise")
    elif not estimator.predefines_metrics and objective not in known:
        message = (
            f"objective_metric_name {objective!r} has no metric definition: add it to the estimator's "
            f"metric_definitions, which has {known or 'none'}"
        )
        yield Problem("objective-undefined", "", message, "add it to metric_definitions")
    if not definition.inputs and not estimator.is_script_mode and estimator.predefines_metrics:
        message = "inputs is required: a built-in algorithm reads its data from channels"
        yield Problem("inputs-missing", "", message, "name the data in inputs")
    if not ranges and not (autotune and hints):
        message = "hyperparameter_ranges needs at least one range"
        yield Problem("ranges-missing", "", message, "add a range to hyperparameter_ranges")
    if hints and not autotune:
        yield Problem("auto-parameters", "", "auto_parameters needs autotune=True", "set autotune, or give ranges")
    if len(ranges) > MAX_VALUES:
        message = f"at most {MAX_VALUES} hyperparameter_ranges, but got {len(ranges)}"
        yield Problem("too-many-ranges", "", message, "make the least important ones static")
    message = "a hyperparameter is either static (hyperparameters) or tuned (ranges), not both"
    for field in ("hyperparameter_ranges", "auto_parameters"):
        for name in sorted(set(getattr(definition, field)) & set(estimator.hyperparameters)):
            yield Problem("static-and-tuned", f"{field}.{name}", message, "give it once")
    for name in sorted(set(ranges) & set(hints)):
        message = "give a range or an autotune hint, not both"
        yield Problem("static-and-tuned", f"auto_parameters.{name}", message, "give it once")
    # Autotune's hints do not count here: the service turns them into ranges later.
    total = len(ranges) + len(estimator.hyperparameters) + 1
    if total > MOST_HYPERPARAMETERS:
        message = (
            f"at most {MOST_HYPERPARAMETERS} hyperparameters, static and tuned and SageMaker's own one together, "
            f"but got {total}"
        )
        yield Problem("too-many-hyperparameters", "", message, "pass a file in place of hyperparameters")
    uses_file_system = any(isinstance(channel, FileSystemInput) for channel in (definition.inputs or {}).values())
    if uses_file_system and not estimator.subnets:
        yield Problem("network-missing", "", "a file-system input needs subnets and security_group_ids", "give both")


def combinations(definition: TrainingDefinition, conditions: Conditions | None = None) -> int | None:
    """Return how many different trials the ranges allow; None if a continuous range makes them endless.

    Args:
        definition: with the ranges.
        conditions: of hyperparameters; those without a range in the definition do not count.
    """
    ranges = definition.hyperparameter_ranges
    known = set(ranges)
    when = {name: needed for name, needed in (conditions or {}).items() if {name, *needed} <= known}
    values: dict[str, Sequence[Any]] = {}
    sizes: dict[str, int] = {}  # len() of a range is limited to what a C size holds
    for name, range_ in ranges.items():
        if isinstance(range_, ContinuousParameter):
            return None
        if isinstance(range_, IntegerParameter):
            values[name] = range(range_.min_value, range_.max_value + 1)
            sizes[name] = range_.max_value - range_.min_value + 1
        else:
            values[name] = range_.values
            sizes[name] = len(range_.values)
    needed = {other for others in when.values() for other in others}
    choices = {name: values[name] for name in in_order(when) if name in needed}
    return sum(
        math.prod(sizes[name] for name in ranges if name not in choices and is_active(name, chosen, when))
        for chosen in assignments(choices, when)
    )
