"""Names of tuning jobs: unique, readable, and within the service's 32 characters."""

from __future__ import annotations

import re
from datetime import datetime

from sm_tuning._errors import SpecError
from sm_tuning.request._images import repository
from sm_tuning.spec import ContainerEstimator, Tuning

#: Most characters of a tuning job's name [botocore model, HyperParameterTuningJobName].
MAX_NAME = 32

_OURS = re.compile(r"^(?P<base>.+)-\d{6}-\d{6}-[0-9a-f]{4}$")
_SUFFIX = len("-261120-171503-a1b2")


def unique_name(base: str | None, *, now: datetime, token: str) -> str:
    """A name that no other job has: ``<base>-<date>-<time>-<four hexadecimal digits>``.

    Args:
        base: trimmed to what fits; characters that a name may not hold become dashes.
        now: the time, in the zone that the name shall show.
        token: four hexadecimal digits that tell jobs of one second apart.

    Raises:
        SpecError: when the token is not four hexadecimal digits.
    """
    if not re.fullmatch(r"[0-9a-f]{4}", token):
        raise SpecError(f"the token of a name must be four hexadecimal digits, but got {token!r}")
    return f"{_clean(base or 'tuning')}-{now:%y%m%d-%H%M%S}-{token}"


def base_name(tuning: Tuning) -> str:
    """What a tuning's job names start with: its own base, else its algorithm's name."""
    return tuning.base_tuning_job_name or default_base(tuning)


def default_base(tuning: Tuning) -> str:
    """The algorithm's name; the repository of a container; ``multi`` for several estimators."""
    estimator = tuning.estimator
    if estimator is None:
        return "multi"
    if not isinstance(estimator, ContainerEstimator):
        return estimator.type
    named = estimator.algorithm_name or repository(estimator.image_uri or "")
    return _clean(named.rpartition("/")[2] or estimator.type)


def split_base(name: str, tuning: Tuning) -> str | None:
    """The base of a name that ``unique_name`` made; None for other names, and when it is the algorithm's own."""
    match = _OURS.match(name)
    if match is None or match["base"] == _clean(default_base(tuning)):
        return None
    return match["base"]


def _clean(base: str) -> str:
    text = re.sub(r"[^a-zA-Z0-9-]+", "-", base).strip("-")
    return text[: MAX_NAME - _SUFFIX].strip("-") or "tuning"
