"""Interruptions of managed spot training, made to order.

On the service a spot instance is taken away when somebody pays more for it. Here it is taken away when the
training job's Environment says so: ``SM_TUNING_LOCAL_SPOT_INTERRUPT_AFTER`` is a list of moments, separated by
commas, one for each interruption. A moment is a number of seconds since the script was started, ``90`` or ``90s``,
or a number of objective values that the script has printed since then, ``3 emissions``. The n-th moment is of the
n-th attempt; when the list is used up the job runs to its end. On AWS the variable means nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sm_tuning._statuses import SecondaryStatus
from sm_tuning.executor._errors import client_error

VARIABLE = "SM_TUNING_LOCAL_SPOT_INTERRUPT_AFTER"

_MOMENT = re.compile(r"\s*(?:(?P<seconds>\d+(?:\.\d+)?)\s*s?|(?P<emissions>\d+)\s+emissions?)\s*")


@dataclass(frozen=True)
class Moment:
    """When an attempt is interrupted: after so many seconds, or so many emissions of the objective."""

    seconds: float | None = None
    emissions: int | None = None

    def has_come(self, seconds: float, emissions: int) -> bool:
        """Whether an attempt that has run so long and printed so much is to be interrupted."""
        if self.emissions is not None:
            return emissions >= self.emissions
        return self.seconds is not None and seconds >= self.seconds


def moments(job: Mapping[str, Any]) -> list[Moment]:
    """Return when a training job is to be interrupted.

    Raises:
        TrainingFailedError: the variable cannot be read, or the job is no spot job, which nothing interrupts.
    """
    text = (job.get("Environment") or {}).get(VARIABLE)
    if text is None:
        return []
    if not job.get("EnableManagedSpotTraining"):
        raise client_error(f"{VARIABLE} is {text!r}, but only jobs with EnableManagedSpotTraining are interrupted.")
    found = []
    for word in text.split(","):
        match = _MOMENT.fullmatch(word)
        if match is None:
            raise client_error(f"{VARIABLE} is {text!r}; write moments such as '90s' or '3 emissions', with commas.")
        seconds, emissions = match["seconds"], match["emissions"]
        found.append(Moment(float(seconds) if seconds else None, int(emissions) if emissions else None))
    return found


def next_moment(job: Mapping[str, Any]) -> Moment | None:
    """Return when the attempt that is about to begin is to be interrupted; None for never."""
    planned = moments(job)
    done = sum(one["Status"] == SecondaryStatus.INTERRUPTED for one in job.get("SecondaryStatusTransitions") or ())
    return planned[done] if done < len(planned) else None
