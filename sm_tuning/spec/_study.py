"""The block ``study:``: settings of a tuning whose strategy runs in the client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from sm_tuning._errors import Problem, SpecError
from sm_tuning.spec._base import FrozenDict, Spec

if TYPE_CHECKING:
    from sm_tuning.spec._tuning import Tuning

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

#: Settings that the design of studies has and this version lacks, with what to do instead.
_LATER = {
    "max_cost": "limit the study with max_jobs, max_runtime_in_seconds and the estimator's max_run",
    "keep_alive": "leave it out; each trial starts instances of its own",
}


#: Strategies whose trials continue the checkpoints of others.
CONTINUING = ("Promotion", "Population")


class StudySettings(Spec):
    """Run the tuning as a study: the strategy in the client, and each trial as a plain training job.

    Args:
        store: ``s3://`` prefix for the study's records; ``sm-tuning/studies`` in the default bucket by default.
        max_failures: failed trials that end the study; by default it ends after five if none has succeeded.
        retries: how often a trial is started again after a fault of the service, from its checkpoints if it has some;
            each start counts as a trial.
        driver: ``client``: ``wait``, ``sm-tuning study run`` and ``sm-tuning study step`` drive the study.
        training: further members of CreateTrainingJob for each trial, such as ``MlflowConfig``.
    """

    _field_codes: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("store", "max_failures", "retries", "driver", "training"), "study"
    )

    store: str | None = Field(default=None, pattern=r"^s3://[^/]+(/.+)?$", max_length=900)
    max_failures: int | None = Field(default=None, ge=1)
    retries: int = Field(default=2, ge=0, le=10)
    driver: Literal["client"] = "client"
    training: FrozenDict[str, Any] = Field(default=FrozenDict())

    @model_validator(mode="before")
    @classmethod
    def _not_built_yet(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        problems = [
            Problem("study", name, "is not supported by this version of sm-tuning", fix)
            for name, fix in _LATER.items()
            if data.get(name) is not None
        ]
        if data.get("driver") == "remote":
            message = "'remote' is not supported by this version of sm-tuning: only 'client' is"
            problems.append(Problem("study", "driver", message, "use driver: client, and sm-tuning study run or step"))
        if problems:
            raise SpecError(problems)
        return data

    @model_validator(mode="after")
    def _leaves_the_members_of_the_study(self) -> StudySettings:
        own = sorted(set(self.training) & _OWN_MEMBERS)
        if own:
            message = f"{', '.join(own)} cannot be given here: the study sets them from the spec"
            raise SpecError(Problem("study", "training", message, "use the fields of the estimator"))
        return self


def _continuing_problems(tuning: Tuning) -> Iterator[Problem]:
    """Yield why a strategy cannot continue the checkpoints of trials."""
    strategy, config = tuning.strategy, tuning.strategy_config
    if tuning.study is None:
        message = (
            f"strategy {strategy!r} runs in a study only, since a tuning job moves no checkpoints: add the block study"
        )
        yield Problem("study", "strategy", message, "add study: {} (study=StudySettings())")
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
    factor = getattr(config, "reduction_factor", None)
    if factor is not None and (tuning.max_jobs or 0) <= factor:
        message = f"is {tuning.max_jobs}, but {factor} configurations and the promotion of one are {factor + 1} trials"
        yield Problem("study-strategy", "max_jobs", message, f"give max_jobs of at least {factor + 1}")


def study_problems(tuning: Tuning) -> Iterator[Problem]:
    """Yield the settings of a tuning that a study cannot honour."""
    if tuning.strategy in CONTINUING:
        yield from _continuing_problems(tuning)
    if tuning.study is None:
        return
    if tuning.autotune:
        message = "is a feature of tuning jobs: in a study nothing chooses the ranges"
        yield Problem("study", "autotune", message, "give the ranges, or leave study out")
    for name, definition in tuning.definitions:
        if len(definition.estimator.instance_configs) > 1:
            where = f"estimators.{name}.estimator.instance_configs" if name else "estimator.instance_configs"
            message = "a training job of a study has one choice of instances"
            yield Problem("study", where, message, "give instance_type and instance_count")
