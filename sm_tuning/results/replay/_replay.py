"""A finished job with other settings: on a virtual clock, over its own curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from statistics import median
from typing import Any, NamedTuple

from sm_tuning._errors import SpecError, did_you_mean
from sm_tuning._machines import cpus_of
from sm_tuning._wire import HYPERBANDS
from sm_tuning.results.replay._clock import Run, keeping, run_through
from sm_tuning.results.replay._past import Course, Past
from sm_tuning.results.replay._unseen import LEVELS, Surrogate, full_course
from sm_tuning.results.replay._value import Figures, Replay
from sm_tuning.strategies import STRATEGIES, HyperbandSearch, Search, Space, Suggestion


@dataclass(frozen=True)
class Change:
    """The settings of a replay; None leaves a setting as it was.

    Attributes:
        strategy: ``Bayesian``, ``Random``, ``Grid``, ``Hyperband`` or ``BayesianHyperband``.
        early_stopping: ``Auto`` or ``Off``.
        max_parallel_jobs: most trials at once.
        instance_type: of every instance.
        speed: how many times as fast trials train there as they did.

    Raises:
        SpecError: a setting is invalid.
    """

    strategy: str | None = None
    early_stopping: str | None = None
    max_parallel_jobs: int | None = None
    instance_type: str | None = None
    speed: float | None = None

    def __post_init__(self) -> None:
        if self.strategy is not None and self.strategy not in STRATEGIES:
            hint = did_you_mean(self.strategy, STRATEGIES, kind="strategies that can be")
            raise SpecError(f"strategy {self.strategy!r} cannot be replayed: {hint}")
        if self.early_stopping not in (None, "Auto", "Off"):
            raise SpecError(f"early_stopping is Auto or Off, but got {self.early_stopping!r}")
        most: Any = self.max_parallel_jobs
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            raise SpecError(f"max_parallel_jobs is a whole number from 1, but got {most!r}")
        if self.instance_type is not None and cpus_of(self.instance_type) is None:
            raise SpecError(f"{self.instance_type!r} is not an instance type such as 'ml.m5.xlarge'")
        speed: Any = self.speed
        is_number = isinstance(speed, int | float) and not isinstance(speed, bool)
        if speed is not None and not (is_number and math.isfinite(speed) and speed > 0):
            raise SpecError(f"speed is a number above 0, such as 2 for half the training time, but got {speed!r}")
        if self.strategy in HYPERBANDS and self.early_stopping == "Auto":
            raise SpecError(f"{self.strategy} stops trials by itself: leave out early_stopping='Auto'")

    @property
    def given(self) -> dict[str, Any]:
        """The settings that are changed."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class Setting(NamedTuple):
    """What a replay runs, besides the job's past.

    Attributes:
        job: name of the job.
        search: its rules, with the changes; its definitions count only if the replay chooses the points.
        change: what is changed.
        stops: the rule of Hyperband; None without it.
        dollars: trial -> what an hour of its instances costs in the replay; the same as before for others.
        notes: what is not known of the job itself.
        lag: seconds from a value to the stop that it causes.
    """

    job: str
    search: Search
    change: Change = Change()
    stops: HyperbandSearch | None = None
    dollars: Mapping[str, float] = {}
    notes: tuple[str, ...] = ()
    lag: float = 0.0


def replay_kept(past: Past, setting: Setting) -> Replay:
    """Return what the job's own trials would have taken, in their order.

    Args:
        past: the job.
        setting: what to change.
    """
    names = [trial.name for trial in past.trials]
    search = keeping(setting.search, [trial.hyperparameters for trial in past.trials], setting.stops)
    draws = []
    for level in LEVELS[::2] if _unfinished(past) else (0.0,):
        courses = _courses(past, setting, level)

        def course_of(suggestion: Suggestion, courses: Sequence[Course] = courses) -> Course:
            return courses[suggestion.number - 1]

        draws.append(run_through(search, course_of, past.gap, setting.lag))
        search = replace(search, early=_anew(search))
    middle = draws[len(draws) // 2]
    stopped_at = {names[run.suggestion.number - 1]: run.epochs for run in middle if run.was_stopped}
    finals = {trial.name: trial.course.value for trial in past.trials if _is_number(trial.course.value)}
    best = (max if past.maximize else min)(finals, key=lambda name: finals[name] or 0.0, default="")
    notes = [*_notes(past, setting, draws), *setting.notes]
    if len(middle) == len(names) and search.rules.max_jobs > len(names) and setting.change.given:
        notes.append(f"the job ended after {len(names)} trials: what further ones would have found is not known")
    return _replay(past, setting, draws, notes, stopped_at=stopped_at, loses_best=best in stopped_at)


def replay_asked(past: Past, setting: Setting, space: Space, searches: Callable[[int], Search]) -> Replay:
    """Return what a search that chooses its points anew would have taken, in several draws.

    Args:
        past: the job.
        setting: what to change; its search has the rules.
        space: the search space.
        searches: returns the search of a draw, by its number.
    """
    surrogate = Surrogate(past, _courses(past, setting, 0.0), space)
    draws = []
    for number, level in enumerate(LEVELS):

        def course_of(suggestion: Suggestion, level: float = level) -> Course:
            return surrogate.course(suggestion.hyperparameters, level)

        draws.append(run_through(searches(number), course_of, past.gap, setting.lag))
    unseen = [sum(not surrogate.is_known(run.suggestion.hyperparameters) for run in runs) for runs in draws]
    notes = [*_notes(past, setting, draws), *setting.notes]
    if most := max(unseen):
        notes.append(
            f"up to {most} of {len(draws[0])} trials are at points that never ran: a model of {len(past.trials)} "
            f"trials, which predicts {surrogate.skill:.0%} of the variance of their objective, stands for them, and a "
            "value better than it expects is not known"
        )
    failed = sum(trial.course.value is None for trial in past.trials)
    if failed and most:
        notes.append(f"{failed} trials had no objective; whether points that never ran would fail is not known")
    return _replay(past, setting, draws, notes, stopped_at={}, loses_best=None)


def _anew(search: Search) -> Any:
    """Return the rule of early stopping without what it has seen."""
    return None if search.early is None else type(search.early)(maximize=search.rules.maximize)


def _unfinished(past: Past) -> list[str]:
    return [trial.name for trial in past.trials if trial.is_cut]


def _courses(past: Past, setting: Setting, level: float) -> list[Course]:
    """Return what each trial does with the changes, if nothing stops it."""
    courses = []
    for trial in past.trials:
        course = full_course(trial, past, level) if trial.is_cut else trial.course
        course = course.at_speed(setting.change.speed or 1.0)
        courses.append(replace(course, dollars=setting.dollars.get(trial.name, course.dollars)))
    return courses


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _figures(runs: Sequence[Run], *, maximize: bool) -> Figures:
    values = [value for run in runs if (value := run.value) is not None and math.isfinite(value)]
    epochs = sum(run.epochs for run in runs)
    dollars = math.fsum(run.billable / 3600 * run.course.dollars for run in runs)
    return Figures(
        trials=len(runs),
        stopped=sum(run.was_stopped for run in runs),
        epochs=epochs if any(run.course.curve for run in runs) else None,
        hours=max((run.due for run in runs), default=0.0) / 3600,
        billable_seconds=math.fsum(run.billable for run in runs),
        cost=None if math.isnan(dollars) else dollars,
        best_value=(max if maximize else min)(values, default=None),
    )


def _happened(past: Past) -> Figures:
    """Return the figures of the job itself."""
    courses = [trial.course for trial in past.trials]
    values = [course.value for course in courses if course.value is not None and math.isfinite(course.value)]
    dollars = math.fsum(course.billable / 3600 * course.dollars for course in courses)
    return Figures(
        trials=len(courses),
        stopped=len(_unfinished(past)),
        epochs=sum(len(course.curve) for course in courses) if past.longest else None,
        hours=past.seconds / 3600,
        billable_seconds=math.fsum(course.billable for course in courses),
        cost=None if math.isnan(dollars) else dollars,
        best_value=(max if past.maximize else min)(values, default=None),
    )


def _replay(
    past: Past,
    setting: Setting,
    draws: Sequence[Sequence[Run]],
    notes: Sequence[str],
    *,
    stopped_at: Mapping[str, int],
    loses_best: bool | None,
) -> Replay:
    """Return the value; the figures of several draws are their medians."""
    found = [_figures(runs, maximize=past.maximize) for runs in draws]
    middle: dict[str, Any] = {}
    intervals = {}
    for name in (entry.name for entry in fields(Figures)):
        known = [value for figures in found if (value := getattr(figures, name)) is not None]
        kind = int if name in ("trials", "stopped", "epochs") else float
        middle[name] = kind(median(known)) if known else None
        if known and min(known) < max(known):
            intervals[name] = (float(min(known)), float(max(known)))
    return Replay(
        job=setting.job,
        changed=setting.change.given,
        happened=_happened(past),
        replayed=Figures(**middle),
        intervals=intervals,
        stopped_at=stopped_at,
        loses_best=loses_best,
        unknown=tuple(notes),
    )


def _notes(past: Past, setting: Setting, draws: Sequence[Sequence[Run]]) -> list[str]:
    """Return what every replay of this kind cannot know."""
    change, notes = setting.change, list[str]()
    cut = _unfinished(past)
    if cut:
        notes.append(
            f"{len(cut)} trials were stopped: the rest of their curves is not known, and follows that of trials that "
            "stood as they did"
        )
    if change.instance_type is not None and change.speed is None:
        notes.append(
            f"how fast {change.instance_type} trains is not known: times are those of the job's own instances; give "
            "speed= if it is known"
        )
    costs = [run.course.dollars for runs in draws for run in runs]
    if any(map(math.isnan, costs)):
        named = change.instance_type or "its instances"
        notes.append(
            f"the cost is not known: there is no price of {named}; give prices=, or a file in SM_TUNING_PRICES"
        )
    if past.averaged:
        notes.append(
            f"the logs of {past.averaged} trials are gone: their curves are CloudWatch's averages, one value a minute, "
            "and so are their epochs"
        )
    return notes
