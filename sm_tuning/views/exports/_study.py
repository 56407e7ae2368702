"""Optuna's values: distributions and trials of a job. Nothing is stored here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sm_tuning._errors import SpecError
from sm_tuning._statuses import TrainingStatus
from sm_tuning.views.exports._info import Hyperparameter, JobInfo, TrialInfo, Value
from sm_tuning.views.exports._target import facts_of_job, facts_of_trial, is_finite

if TYPE_CHECKING:
    import optuna

_STATES: dict[str, str] = {
    TrainingStatus.COMPLETED: "COMPLETE",
    TrainingStatus.STOPPED: "PRUNED",
    TrainingStatus.FAILED: "FAIL",
}


def distribution(package: Any, one: Hyperparameter, values: Sequence[Value]) -> Any:
    """The distribution of a hyperparameter in all trials: Optuna knows one a study.

    It has the widest of the job's ranges and what was tried beside it, such as by a job of other tools. A reverse
    logarithmic scale, which Optuna does not have, is linear.

    Args:
        package: the module ``optuna``.
        one: the hyperparameter.
        values: what was tried, one at least.
    """
    found = package.distributions
    numeric = one.kind in ("int", "float") and not one.choices
    if not numeric:
        return found.CategoricalDistribution(tuple(dict.fromkeys((*one.choices, *values))))
    tried = [float(value) for value in values]
    ends = [end for end in (one.range.low, one.range.high) if end is not None] if one.range else []
    low, high = min(*ends, *tried), max(*ends, *tried)
    log = one.range is not None and one.range.scaling == "Logarithmic" and low > 0
    if one.kind == "int":
        return found.IntDistribution(int(low), int(high), log=log)
    return found.FloatDistribution(low, high, log=log)


def trials_of(package: Any, info: JobInfo, metric: str | None) -> list[optuna.trial.FrozenTrial]:
    """The job's trials as Optuna has them, in order of their start.

    Completed trials with an objective are COMPLETE, those stopped early PRUNED (but the best one, which Optuna looks
    for among the complete ones), the others FAIL or RUNNING.

    Args:
        package: the module ``optuna``.
        info: the job.
        metric: whose values become intermediate values; each trial's objective when None.

    Raises:
        SpecError: no trial has that metric.
    """
    if metric is not None and metric not in info.metrics:
        raise SpecError(f"no trial has a metric {metric!r}; there are: {', '.join(info.metrics) or 'none'}")
    distributions = {
        one.name: distribution(package, one, values)
        for one in info.hyperparameters
        if (values := [trial.hyperparameters[one.name] for trial in info.trials if one.name in trial.hyperparameters])
    }
    return [_trial(package, info, trial, distributions, metric) for trial in info.trials]


def _trial(
    package: Any, info: JobInfo, trial: TrialInfo, distributions: Mapping[str, Any], metric: str | None
) -> optuna.trial.FrozenTrial:
    state = _state(trial)
    curve = trial.curves.get(metric or trial.objective, ())
    has_value = state in ("COMPLETE", "PRUNED") and trial.value is not None and not math.isnan(trial.value)
    made: optuna.trial.FrozenTrial = package.trial.create_trial(
        state=package.trial.TrialState[state],
        value=trial.value if has_value else None,
        params=dict(trial.hyperparameters),
        distributions={name: distributions[name] for name in trial.hyperparameters},
        user_attrs={
            **facts_of_trial(trial),
            **{f"metric:{name}": value for name, value in trial.metrics.items()},
        },
        intermediate_values={point.step: point.value for point in curve},
    )
    made.datetime_start = _local(trial.started or trial.ended or info.created)
    made.datetime_complete = _local(trial.ended or trial.started or info.created) if state != "RUNNING" else None
    return made


def _state(trial: TrialInfo) -> str:
    if trial.ended is None and trial.status not in _STATES:
        return "RUNNING"
    if trial.best and is_finite(trial.value):
        return "COMPLETE"
    state = _STATES.get(trial.status, "FAIL")
    without = trial.value is None or math.isnan(trial.value)  # Optuna has no complete trial without a number
    return "FAIL" if state == "COMPLETE" and without else state


def attributes(info: JobInfo) -> dict[str, Any]:
    """What the study says of the job."""
    reverse = [one.name for one in info.hyperparameters if one.range and one.range.scaling == "ReverseLogarithmic"]
    facts: dict[str, Any] = {**facts_of_job(info), "tags": dict(info.tags)}
    facts |= {
        f"{member}{f' of {definition}' if len(values) > 1 else ''}": dict(texts)
        for member, values in (("static_hyperparameters", info.static), ("environment", info.environment))
        for definition, texts in values.items()
    }
    facts["reverse_logarithmic"] = reverse
    return {name: value for name, value in facts.items() if value}


def _local(moment: datetime) -> datetime:
    """A time as Optuna has them: local, and without saying so."""
    return moment.astimezone().replace(tzinfo=None)
