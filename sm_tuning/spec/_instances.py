"""Several instance types for a job, of which the service chooses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import ClassVar

from pydantic import Field

from sm_tuning._errors import Problem
from sm_tuning.spec._base import Spec

#: The ARN of a training plan [botocore model, TrainingPlanArn].
TRAINING_PLAN = r"^arn:aws[a-z\-]*:sagemaker:[a-z0-9\-]*:[0-9]{12}:training-plan/.+$"


class InstanceConfig(Spec):
    """One of several instance types that a tuning job may use, in the order of preference."""

    _code: ClassVar[str] = "instances-choice"

    instance_type: str
    instance_count: int = Field(default=1, ge=1)
    volume_size: int = Field(default=30, ge=1)


class InstancePreference(Spec):
    """One of several instance types for a training job: the first one with free capacity is used.

    Args:
        instance_type: such as ``ml.p5.48xlarge``; each type once.
        instance_count: number of instances of this type; given for all preferences or for none.
        training_plan: ARN of a training plan of this type, whose reserved capacity is used.
    """

    _code: ClassVar[str] = "instances-choice"

    instance_type: str
    instance_count: int | None = Field(default=None, ge=1)
    training_plan: str | None = Field(default=None, pattern=TRAINING_PLAN, max_length=2048)


def preference_problems(
    preferences: Sequence[InstancePreference], *, instance_count: int, has_plan: bool, uses_spot: bool
) -> Iterator[Problem]:
    """Yield problems of ``instance_preferences`` [botocore model, InstancePreference and ResourceConfig].

    Args:
        preferences: of an estimator.
        instance_count: of the estimator.
        has_plan: whether the estimator has a training plan.
        uses_spot: whether it uses spot instances.
    """
    counts = [choice.instance_count for choice in preferences if choice.instance_count is not None]
    if counts and len(counts) < len(preferences):
        message = f"give instance_count in all of instance_preferences or in none, but {len(counts)} have one"
        yield Problem("instances-choice", "", message, "give each preference an instance_count")
    if counts and instance_count != 1:
        message = f"instance_count={instance_count} is for instance_preferences without one of their own"
        yield Problem("instances-clash", "", message, "give the count once")
    repeated = [name for name, count in Counter(choice.instance_type for choice in preferences).items() if count > 1]
    if repeated:
        message = f"instance_preferences name {', '.join(repeated)} more than once"
        yield Problem("instances-choice", "", message, "name each type once")
    if preferences and uses_spot:
        message = "instance_preferences cannot be combined with use_spot_instances"
        yield Problem("instances-clash", "", message, "use instance_configs, or leave use_spot_instances out")
    if has_plan and any(choice.training_plan for choice in preferences):
        message = "training_plan is given for the job and in instance_preferences: give it in one of the two"
        yield Problem("instances-clash", "", message, "give the plan once")
