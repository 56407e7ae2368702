"""A step of SageMaker Pipelines from a spec, whose arguments are our own request: nothing passes through the tuner."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from typing import Any

from sm_tuning import jobs
from sm_tuning._errors import MissingExtraError, SpecError
from sm_tuning._wire import JOB_NAME_KEY
from sm_tuning.aws import Aws, connect
from sm_tuning.spec import Tuning, as_tuning

_log = logging.getLogger(__name__)


def tuning_step(
    name: str,
    tuning: Tuning | str | os.PathLike[str],
    *,
    aws: Aws | None = None,
    depends_on: Sequence[Any] = (),
    cache_config: Any = None,
    retry_policies: Sequence[Any] = (),
    display_name: str | None = None,
    description: str | None = None,
) -> Any:
    """Make a ``sagemaker.mlops.workflow.steps.TuningStep`` that starts the same job; needs ``sdk``.

    Its arguments are the request of ``launch``, complete: network isolation, keys, seed 0 and several algorithms, which
    a step made from the SDK's tuner lacks. The name of the job is left to Pipelines. Scripts and local data are
    uploaded now.

    Args:
        name: of the step.
        tuning: what to tune, or the path of a spec file.
        aws: where to look for role and bucket and to upload; else a connection is made.
        depends_on: steps, or their names, that come before.
        cache_config: the SDK's ``CacheConfig``.
        retry_policies: the SDK's policies.
        display_name: of the step, in Studio.
        description: of the step.

    Raises:
        SpecError: the tuning cannot be launched as it is, or the environment names no region.
        MissingExtraError: the SDK is not installed.
        ServiceError: AWS refused.
    """
    connection = aws if aws is not None else connect()
    planned = jobs.plan(connection, as_tuning(tuning))
    request = step_arguments(planned.request("tuning-step", connection.region))
    made = _step_class()(name, request, display_name, description, cache_config, list(depends_on), list(retry_policies))
    jobs.send(connection, planned, _log.info)
    return made


def step_arguments(request: dict[str, Any]) -> dict[str, Any]:
    """A request without the job's name, here and where script mode repeats it: Pipelines makes one for each run."""
    rest = {member: value for member, value in request.items() if member != "HyperParameterTuningJobName"}
    if "TrainingJobDefinition" in rest:
        return {**rest, "TrainingJobDefinition": _nameless(rest["TrainingJobDefinition"])}
    return {**rest, "TrainingJobDefinitions": [_nameless(one) for one in rest["TrainingJobDefinitions"]]}


def _nameless(definition: dict[str, Any]) -> dict[str, Any]:
    static = {name: text for name, text in definition["StaticHyperParameters"].items() if name != JOB_NAME_KEY}
    return {**definition, "StaticHyperParameters": static}


def _step_class() -> Any:
    """The SDK's step with arguments of its own; made here, since importing the SDK takes seconds."""
    from botocore.exceptions import NoRegionError  # noqa: PLC0415

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the SDK's own deprecations are not the user's
            from sagemaker.core.workflow.properties import Properties  # noqa: PLC0415
            from sagemaker.mlops.workflow.steps import ConfigurableRetryStep, StepTypeEnum, TuningStep  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("a step of SageMaker Pipelines", "sdk") from error
    except NoRegionError as error:  # the SDK makes a client when it is imported
        raise SpecError(
            "the SageMaker SDK's pipelines need a region in the environment: set AWS_DEFAULT_REGION"
        ) from error

    # The SDK's classes have no types.
    class SpecTuningStep(TuningStep):  # type: ignore[misc]
        """A tuning step whose arguments are a request of ours."""

        def __init__(
            self,
            name: str,
            request: dict[str, Any],
            display_name: str | None,
            description: str | None,
            cache_config: Any,
            depends_on: list[Any],
            retry_policies: list[Any],
        ) -> None:
            ConfigurableRetryStep.__init__(
                self, name, StepTypeEnum.TUNING, display_name, description, depends_on or None, retry_policies or None
            )
            self.step_args = None
            self.cache_config = cache_config
            self._request = request
            self._properties = Properties(
                step_name=name,
                step=self,
                shape_names=[
                    "DescribeHyperParameterTuningJobResponse",
                    "ListTrainingJobsForHyperParameterTuningJobResponse",
                ],
            )

        @property
        def arguments(self) -> dict[str, Any]:
            """The parameters of CreateHyperParameterTuningJob, without a name."""
            return self._request

    return SpecTuningStep
