"""How soon a job acted on values: the seconds from the value that stops a trial to the stop. Pure."""

from __future__ import annotations

from sm_tuning._statuses import TrainingStatus
from sm_tuning.results.replay._past import Past
from sm_tuning.strategies import EarlyStops, HyperbandSearch, Trial, TrialState


def lags_of(past: Past, rule: EarlyStops | HyperbandSearch) -> list[float]:
    """Return the seconds from the moment at which the job's rule stops a trial to the stop, for each stopped trial.

    Trials for which the rule gives no reason, such as those that a user stopped, are left out.

    Args:
        past: the job.
        rule: what stopped its trials; of early stopping, one that has judged no trial yet.
    """
    states = [TrialState(str(place), TrainingStatus.IN_PROGRESS) for place in range(len(past.trials))]
    events = sorted(
        (trial.created + moment, place, count)
        for place, trial in enumerate(past.trials)
        for count, moment in enumerate((*trial.course.times, trial.course.ended), 1)
    )
    decided: dict[int, float] = {}
    for moment, place, count in events:
        course = past.trials[place].course
        has_ended = count > len(course.curve)
        status = course.status if has_ended else TrainingStatus.IN_PROGRESS
        states[place] = TrialState(
            str(place), status, value=course.value if has_ended else None, curve=course.curve[:count]
        )
        for name in _stops(rule, states, count, states[place]):
            decided.setdefault(int(name), moment)
    return [
        trial.created + trial.stopped - decided[place]
        for place, trial in enumerate(past.trials)
        if trial.is_cut and trial.stopped is not None and place in decided
    ]


def _stops(
    rule: EarlyStops | HyperbandSearch, states: list[TrialState], count: int, changed: TrialState
) -> tuple[str, ...]:
    """Return the running trials that the rule stops now, after a change of one."""
    if isinstance(rule, EarlyStops):
        return rule.of(states) if changed.ended or rule.judges(changed.curve) else ()
    if not changed.ended and not rule.judges_at(count):
        return ()
    trials = [Trial(place, {}, state.value, curve=state.curve) for place, state in enumerate(states, 1)]
    running = zip(trials, states, strict=True)
    return tuple(state.name for trial, state in running if not state.ended and rule.should_stop(trial, trials))
