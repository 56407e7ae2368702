"""What no curve shows: points that never ran, and the rest of trials that were stopped. Pure.

Each has a level, the number of standard deviations by which it is worse than expected. A replay is repeated at several
levels; what they have in common is known, and their range is the uncertainty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist, median

import numpy as np

from sm_tuning._errors import MissingExtraError, SpecError
from sm_tuning._statuses import TrainingStatus
from sm_tuning.results.replay._past import Course, Past, PastTrial
from sm_tuning.strategies import Predictor, Space, Trial

#: 5%, 25%, 50%, 75% and 95% of a normal distribution: the outer ones bound 90%.
LEVELS = tuple(NormalDist().inv_cdf(share) for share in (0.05, 0.25, 0.5, 0.75, 0.95))

_FEWEST_DONORS = 5


def full_course(trial: PastTrial, past: Past, level: float) -> Course:
    """Return what a trial that was stopped would have done: as trials did that stood as it did when it was stopped.

    Its values change as those of the nearest third of the trials that trained on, at the level's quantile. It trains
    as long as half of them do, with its own seconds an epoch. Without such trials, or values, it stays as it is.

    Args:
        trial: the trial.
        past: the job.
        level: of the values.
    """
    own, known = trial.course, len(trial.course.curve)
    others = [other.course for other in past.trials if other.course.status is TrainingStatus.COMPLETED]
    length = int(median([len(other.curve) for other in others])) if others else 0
    # A curve that diverged has no changes to add to another one.
    others = [o for o in others if len(o.curve) >= length and all(map(math.isfinite, o.curve[known - 1 : length]))]
    if not known or length <= known or not others:
        return own
    last = own.curve[-1]
    near = sorted(others, key=lambda other: abs(other.curve[known - 1] - last))
    near = near[: max(_FEWEST_DONORS, math.ceil(len(near) / 3))]
    share = NormalDist().cdf(-level if past.maximize else level)
    with np.errstate(over="ignore", invalid="ignore"):  # the difference of two huge values may be no number
        changes = np.array([np.array(other.curve[known:length]) - other.curve[known - 1] for other in near])
        rest = last + np.quantile(changes, share, axis=0)
    if not np.isfinite(rest).all():
        return own
    pace = (own.times[-1] - own.times[0]) / (known - 1) if known > 1 else 0.0
    pace = pace or median([(other.times[-1] - other.times[0]) / (length - 1) for other in near] or [0.0])
    times = tuple(own.times[-1] + pace * (place + 1) for place in range(len(rest)))
    ended = times[-1] + own.tail
    longer = (ended - own.started) / max(own.ended - own.started, 1e-9)
    return replace(
        own,
        status=TrainingStatus.COMPLETED,
        value=float(rest[-1]),
        curve=own.curve + tuple(map(float, rest)),
        times=own.times + times,
        ended=ended,
        billable=own.billable * longer,
    )


class Surrogate:
    """The courses of points, tried or not: a Gaussian process has the level, the nearest trial the form and the times.

    Args:
        past: the job.
        courses: what each of its trials does.
        space: the search space.

    Raises:
        MissingExtraError: SciPy is not installed.
        SpecError: too few trials have an objective.
    """

    def __init__(self, past: Past, courses: Sequence[Course], space: Space) -> None:
        self._space = space
        self._sign = -1.0 if past.maximize else 1.0
        self._known = {
            point: course
            for trial, course in zip(past.trials, courses, strict=True)
            if (point := space.point_of(trial.hyperparameters)) is not None
        }
        self._donors = [course for course in self._known.values() if _is_finite(course)]
        tried = [
            Trial(number, space.answer(point), course.value)
            for number, (point, course) in enumerate(self._known.items(), 1)
            if _is_finite(course)
        ]
        try:
            self._model = Predictor(space, tried, maximize=past.maximize)
        except ImportError as error:
            raise MissingExtraError("a replay with points that never ran", "local") from error
        except ValueError as error:
            raise SpecError(f"points that never ran cannot be replayed: {error}; leave out strategy=") from error
        self.skill = self._model.skill

    def is_known(self, hyperparameters: Mapping[str, str]) -> bool:
        """Return whether a trial of the job has these hyperparameters."""
        return self._space.point_of(hyperparameters) in self._known

    def course(self, hyperparameters: Mapping[str, str], level: float) -> Course:
        """Return the course of a point: that of the trial that had it, if there is one."""
        point = self._space.point_of(hyperparameters)
        if point in self._known:
            return self._known[point]
        expected = self._model.at(hyperparameters)
        value = expected.value + self._sign * level * expected.deviation
        donor = self._donors[expected.nearest]
        shift = value - (donor.value or 0.0)
        return replace(donor, value=value, curve=tuple(known + shift for known in donor.curve))


def _is_finite(course: Course) -> bool:
    return course.value is not None and math.isfinite(course.value)
