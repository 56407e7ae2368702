"""Stop a tuning job, and start the next from what it has learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sm_tuning._errors import InvalidRequestError
from sm_tuning._statuses import TuningStatus
from sm_tuning.aws import Aws
from sm_tuning.jobs._read import status
from sm_tuning.spec import Tuning, WarmStart

WarmStartKind = Literal["IdenticalDataAndAlgorithm", "TransferLearning"]


def stop(aws: Aws, name: str) -> None:
    """Stop a tuning job and its running training jobs; one that has ended, or is stopping, is left as it is.

    The service refuses to stop such a job in words that are not documented, so that its status is asked for.

    Raises:
        JobNotFoundError: there is no such job.
    """
    try:
        aws.call("sagemaker", "stop_hyper_parameter_tuning_job", HyperParameterTuningJobName=name)
    except InvalidRequestError:
        now = status(aws, name)
        if not (now.is_terminal or now is TuningStatus.STOPPING):
            raise


def warm_start(
    tuning: Tuning, parents: str | Sequence[str], kind: WarmStartKind = "IdenticalDataAndAlgorithm"
) -> Tuning:
    """Return the tuning as one that starts from what one to five finished tuning jobs have learned.

    Args:
        tuning: what to tune next.
        parents: names of the finished jobs.
        kind: ``IdenticalDataAndAlgorithm`` when data and image are the same, else ``TransferLearning``.

    Raises:
        SpecError: the tuning cannot be warm-started, such as a Grid.
    """
    names = (parents,) if isinstance(parents, str) else tuple(parents)
    return tuning.replace(warm_start=WarmStart(parents=names, warm_start_type=kind))
