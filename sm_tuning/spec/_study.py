"""The block ``study:``: settings of a tuning whose strategy runs in the client."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Field, model_validator

from sm_tuning._errors import Problem, SpecError, did_you_mean
from sm_tuning._wire import CONTINUING
from sm_tuning.spec._base import Spec
from sm_tuning.spec._conditions import in_order
from sm_tuning.spec._frozen import FrozenDict
from sm_tuning.spec._hyperparameters import ContinuousParameter, IntegerParameter
from sm_tuning.spec._settings import PopulationConfig

if TYPE_CHECKING:
    from sm_tuning.spec._tuning import TrainingDefinition, Tuning

#: Members of CreateTrainingJob that the spec or the study itself sets, so that ``training`` cannot have them.
_OWN_MEMBERS = frozenset(
    {
        "TrainingJobName",
        "HyperParameters",
        "AlgorithmSpecification",
        "RoleArn",
        "InputDataConfig",
        "OutputDataConfig",
        "ResourceConfig",
        "VpcConfig",
        "StoppingCondition",
        "Tags",
        "EnableNetworkIsolation",
        "EnableInterContainerTrafficEncryption",
        "EnableManagedSpotTraining",
        "CheckpointConfig",
        "Environment",
        "RetryStrategy",
        "ServerlessJobConfig",
        "ModelPackageConfig",
    }
)

#: Strategies that only studies have.
STUDY_STRATEGIES = (*CONTINUING, "Optuna")

#: The most values that a whole-numbered hyperparameter may have on which others depend.
_MOST_CASES = 100

#: Strategies that search for the best trade-offs between objectives, or within constraints.
_FOR_SEVERAL = ("Random", "Grid", "Optuna")

_COMPARISON = re.compile(r"\s*(?P<name>.*?[^\s<>=!])\s*(?P<sign>>=|<=|==|!=|>|<)\s*(?P<limit>[^\s<>=!]+)\s*")


def comparison_of(text: str) -> tuple[str, str, float] | None:
    """Return name, sign and number of a text such as ``cost<=20``; None if it has another form, or no number."""
    match = _COMPARISON.fullmatch(text)
    try:
        limit = float(match["limit"]) if match else math.nan
    except ValueError:
        limit = math.nan
    # Also NAME>=nan is None: no value would meet it.
    return None if match is None or math.isnan(limit) else (match["name"], match["sign"], limit)


class Constraint(NamedTuple):
    """A bound on a final metric of a trial, such as ``latency_ms<=20``."""

    metric: str
    sign: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a constraint.

        Raises:
            ValueError: the text is not a constraint.
        """
        found = comparison_of(text)
        if found is None or found[1] not in ("<=", ">=") or math.isinf(found[2]):
            raise ValueError(f"a constraint has the form METRIC<=NUMBER or METRIC>=NUMBER, but got {text!r}")
        return cls(*found)

    def violation(self, value: float | None) -> float:
        """Return how far a value is beyond the limit, at most 0 if it keeps to it; infinity without a value."""
        if value is None or math.isnan(value):
            return math.inf
        return value - self.limit if self.sign == "<=" else self.limit - value


def _listed(values: Any) -> Any:
    return [values] if isinstance(values, str | bool | int | float) else values


_Allowed = Annotated[list[str | bool | int | float], BeforeValidator(_listed), Field(min_length=1)]


class StudySettings(Spec):
    """Run the tuning as a study: the strategy in the client, and each trial as a plain training job.

    Args:
        store: ``s3://`` prefix for the study's records; ``sm-tuning/studies`` in the default bucket by default.
        max_cost: dollars that the study may cost, idle warm pools included; no trial starts that would exceed it, and
            at the limit all trials are stopped.
        keep_alive: seconds for which a trial leaves its instances to the next one as a warm pool, which is billed.
        max_failures: failed trials that end the study; by default it ends after five if none has succeeded.
        retries: how often a trial is started again after a fault of the service, from its checkpoints if it has some;
            each start counts as a trial.
        driver: ``client``: ``wait``, ``sm-tuning study run`` and ``sm-tuning study step`` drive the study; or
            ``remote``: a small training job (ml.t3.medium) drives it, and they watch.
        when: hyperparameter -> the hyperparameters that it depends on -> the values with which it is tuned, such as
            ``{"momentum": {"optimizer": ["sgd"]}}``. With other values, its trials do not get it.
        objectives: further metrics to optimise -> ``Maximize`` or ``Minimize``; objective_metric_name leads.
        constraints: bounds on final metrics, such as ``latency_ms<=20``; a trial that breaks one is never the best.
        training: further members of CreateTrainingJob for each trial, such as ``MlflowConfig``.
    """

    _code: ClassVar[str] = "study"

    store: str | None = Field(default=None, pattern=r"^s3://[^/]+(/.+)?$", max_length=900)
    max_cost: float | None = Field(default=None, gt=0)
    keep_alive: int | None = Field(default=None, ge=1, le=21600)  # the limits of KeepAlivePeriodInSeconds
    max_failures: int | None = Field(default=None, ge=1)
    retries: int = Field(default=2, ge=0, le=10)
    driver: Literal["client", "remote"] = "client"
    when: FrozenDict[str, FrozenDict[str, _Allowed]] = Field(default=FrozenDict())
    objectives: FrozenDict[str, Literal["Maximize", "Minimize"]] = Field(default=FrozenDict())
    constraints: tuple[str, ...] = ()
    training: FrozenDict[str, Any] = Field(default=FrozenDict())

    @model_validator(mode="after")
    def _leaves_the_members_of_the_study(self) -> StudySettings:
        own = sorted(set(self.training) & _OWN_MEMBERS)
        if own:
            message = f"{', '.join(own)} cannot be given here: the study sets them from the spec"
            raise SpecError(Problem("study", "training", message, "use the fields of the estimator"))
        return self

    @model_validator(mode="after")
    def _has_conditions_and_constraints(self) -> StudySettings:
        problems = []
        try:
            in_order(self.when)
        except ValueError as error:
            problems.append(Problem("conditions", "when", str(error), "take one of the conditions out"))
        try:
            _ = self.bounds
        except ValueError as error:
            problems.append(Problem("constraints", "constraints", str(error), "give METRIC<=NUMBER"))
        if problems:
            raise SpecError(problems)
        return self

    @property
    def bounds(self) -> tuple[Constraint, ...]:
        """The constraints, parsed."""
        return tuple(map(Constraint.parse, self.constraints))


def _continuing_problems(tuning: Tuning) -> Iterator[Problem]:
    """Yield why a strategy cannot continue the checkpoints of trials."""
    strategy, config = tuning.strategy, tuning.strategy_config
    if tuning.estimator is None:
        message = f"strategy {strategy!r} works with a single estimator only"
        yield Problem("study-strategy", "estimators", message, "give estimator")
    elif tuning.estimator.checkpoint_s3_uri is None:
        message = f"strategy {strategy!r} continues trials from their checkpoints, and the estimator saves none"
        yield Problem("study-strategy", "estimator.checkpoint_s3_uri", message, "give an s3:// prefix for checkpoints")
    if tuning.warm_start is not None:
        yield Problem("study-strategy", "warm_start", f"strategy {strategy!r} takes no warm start", "leave it out")
    if tuning.early_stopping_type == "Auto":
        message = f"strategy {strategy!r} decides itself which trials go on: early_stopping_type must be 'Off'"
        yield Problem("study-strategy", "early_stopping_type", message, "set early_stopping_type to Off")
    if config is None:
        message = f"strategy {strategy!r} needs max_resource, the number of epochs of a whole training"
        yield Problem("study-strategy", "strategy_config", message, f"give {strategy}Config(max_resource=…)")
        return
    resource = getattr(config, "resource", None)
    if resource is not None and resource in tuning.hyperparameter_ranges:
        message = f"{resource!r} is set by strategy {strategy!r}: it says how long a trial trains"
        yield Problem("study-strategy", f"hyperparameter_ranges.{resource}", message, "take the range out")
    if isinstance(config, PopulationConfig):
        yield from config.mutation_problems(tuning.hyperparameter_ranges, "study-strategy", "strategy_config")
    factor = getattr(config, "reduction_factor", None)
    if factor is not None and (tuning.max_jobs or 0) <= factor:
        message = f"is {tuning.max_jobs}, but {factor} configurations and the promotion of one are {factor + 1} trials"
        yield Problem("study-strategy", "max_jobs", message, f"give max_jobs of at least {factor + 1}")


def study_problems(tuning: Tuning) -> Iterator[Problem]:
    """Yield the settings of a tuning that a study cannot honour, or a tuning job without the block ``study``."""
    if tuning.strategy in STUDY_STRATEGIES and tuning.study is None:
        message = f"strategy {tuning.strategy!r} runs in a study only, and not in a tuning job: add the block study"
        yield Problem("study", "strategy", message, "add study: {} (study=StudySettings())")
    if tuning.strategy in CONTINUING:
        yield from _continuing_problems(tuning)
    if tuning.strategy == "Optuna" and tuning.warm_start is not None:
        message = "strategy 'Optuna' takes no warm start"
        yield Problem("study-strategy", "warm_start", message, "leave it out, or use strategy Bayesian or Random")
    if tuning.study is None:
        if tuning.strategy == "BayesianHyperband":
            message = "strategy 'BayesianHyperband' runs in a study only: the service has Hyperband without a model"
            yield Problem("study", "strategy", message, "add study: {} (study=StudySettings()), or use Hyperband")
        return
    if tuning.autotune:
        message = "is a feature of tuning jobs: in a study nothing chooses the ranges"
        yield Problem("study", "autotune", message, "give the ranges, or leave study out")
    for name, definition in tuning.definitions:
        if len(definition.estimator.instance_configs) > 1:
            where = f"estimators.{name}.estimator.instance_configs" if name else "estimator.instance_configs"
            message = "a training job of a study has one choice of instances"
            yield Problem("study", where, message, "give instance_type and instance_count")
        if tuning.study.keep_alive is not None and definition.estimator.use_spot_instances:
            message = "spot instances are not kept in a warm pool"
            yield Problem("study", "study.keep_alive", message, "leave out keep_alive, or use_spot_instances")
    yield from _condition_problems(tuning.study, [definition for _, definition in tuning.definitions])
    yield from _objective_problems(tuning, tuning.study)


def _condition_problems(study: StudySettings, definitions: Sequence[TrainingDefinition]) -> Iterator[Problem]:
    """Yield conditions that a definition with their hyperparameters cannot have, and those that none can have."""
    for name, needed in study.when.items():
        where = f"study.when.{name}"
        owners = [definition.hyperparameter_ranges for definition in definitions]
        owners = [ranges for ranges in owners if name in ranges]
        if not owners:
            known = {key for definition in definitions for key in definition.hyperparameter_ranges}
            message = f"{name!r} has no range; {did_you_mean(name, known, kind='ranges')}"
            yield Problem("conditions", where, message, "name a hyperparameter of hyperparameter_ranges")
        for ranges in owners:
            for other, allowed in needed.items():
                found = ranges.get(other)
                if found is None or isinstance(found, ContinuousParameter):
                    problem = "has no range" if found is None else "has a continuous range"
                    message = f"{name!r} cannot depend on {other!r}, which {problem}"
                    yield Problem("conditions", where, message, "name a categorical or whole-numbered hyperparameter")
                elif isinstance(found, IntegerParameter):
                    low, high = found.min_value, found.max_value
                    odd = [v for v in allowed if not isinstance(v, int) or isinstance(v, bool) or not low <= v <= high]
                    if odd:
                        message = f"{other!r} is a whole number from {low} to {high}, and never {odd[0]!r}"
                        yield Problem("conditions", f"{where}.{other}", message, "give values of its range")
                    elif high - low >= _MOST_CASES:
                        message = f"{other!r} has {high - low + 1} values, and others may depend on {_MOST_CASES}"
                        yield Problem("conditions", f"{where}.{other}", message, "narrow its range, or list its values")
                elif odd := [v for v in allowed if not any(v == w and type(v) is type(w) for w in found.values)]:
                    message = f"{other!r} is one of {list(found.values)}, and never {odd[0]!r}"
                    yield Problem("conditions", f"{where}.{other}", message, "give values of its range")


def _objective_problems(tuning: Tuning, study: StudySettings) -> Iterator[Problem]:
    for name, definition in tuning.definitions:
        estimator = definition.estimator
        known = [metric.name for metric in estimator.metric_definitions]
        if definition.objective_metric_name in study.objectives:
            message = f"{definition.objective_metric_name!r} is the first objective already"
            yield Problem("objectives", "study.objectives", message, "name each objective once")
        for field, metrics in (
            ("objectives", list(study.objectives)),
            ("constraints", [bound.metric for bound in study.bounds]),
        ):
            for metric in metrics:
                if metric not in known and not estimator.predefines_metrics:
                    of = f" of estimators.{name}" if name else ""
                    message = f"{metric!r} has no metric definition{of}, which has {known or 'none'}"
                    yield Problem("objective-undefined", f"study.{field}", message, "add it to metric_definitions")
    given = [field for field in ("objectives", "constraints") if getattr(study, field)]
    if given and tuning.strategy not in _FOR_SEVERAL:
        message = f"strategy {tuning.strategy!r} has one objective and no constraints, but study has {given[0]}"
        yield Problem("objectives", "strategy", message, f"use strategy {', '.join(_FOR_SEVERAL)}")
    judged = {"early_stopping_type": tuning.early_stopping_type == "Auto" and bool(study.objectives)}
    judged["completion_criteria"] = tuning.completion_criteria is not None and bool(given)
    for field, is_given in judged.items():
        if is_given:
            message = f"{field} judges by a single objective without constraints, but study has {given[0]}"
            yield Problem("objectives", field, message, f"leave {field} out")
