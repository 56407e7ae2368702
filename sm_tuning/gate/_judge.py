"""Whether requirements hold, and whether a job is no worse than another one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Self

from sm_tuning._errors import SpecError, did_you_mean
from sm_tuning._statuses import TuningStatus
from sm_tuning._wire import reaches
from sm_tuning.gate._facts import OWN, Facts
from sm_tuning.gate._require import Requirement


class Check(NamedTuple):
    """One requirement, what the job has, and whether that is enough; ``note`` says what else there is to say."""

    requirement: str
    value: str
    passed: bool
    note: str = ""


class Verdict(NamedTuple):
    """All checks of a job."""

    facts: Facts
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every one holds."""
        return all(check.passed for check in self.checks)


class Tolerance(NamedTuple):
    """By how much the objective may be worse than the baseline's: absolute, or a share of the baseline's."""

    amount: float = 0.0
    is_share: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``0.01`` or ``2%``.

        Raises:
            SpecError: it is neither, or less than zero.
        """
        is_share = text.endswith("%")
        try:
            amount = float(text.removesuffix("%")) / (100 if is_share else 1)
        except ValueError:
            amount = math.nan
        if not (math.isfinite(amount) and amount >= 0):
            raise SpecError(f"a tolerance is a number that is zero or more, or a percentage, but got {text!r}")
        return cls(amount, is_share)

    def of(self, value: float) -> float:
        """The tolerance around a baseline's value."""
        return self.amount * abs(value) if self.is_share else self.amount

    def __str__(self) -> str:
        return f"{self.amount:.4g}" if not self.is_share else f"{self.amount * 100:.4g}%"


def judge(
    found: Facts,
    requirements: Iterable[Requirement] = (),
    *,
    baseline: Facts | None = None,
    tolerance: Tolerance = Tolerance(),  # noqa: B008  (a frozen value)
    allow_stopped: bool = False,
) -> Verdict:
    """Check a finished job.

    Args:
        found: the job.
        requirements: what must hold.
        baseline: a job that it must not be worse than.
        tolerance: by how much it may be.
        allow_stopped: takes a job that was stopped before it was done.

    Raises:
        SpecError: a requirement names nothing that the job has, or the two jobs cannot be compared.
    """
    checks = [_ended_well(found, allow_stopped=allow_stopped)]
    checks += [_check(found, requirement) for requirement in requirements]
    if baseline is not None:
        checks.append(_compare(found, baseline, tolerance))
    return Verdict(found, tuple(checks))


def _ended_well(found: Facts, *, allow_stopped: bool) -> Check:
    good = (TuningStatus.COMPLETED, TuningStatus.STOPPED) if allow_stopped else (TuningStatus.COMPLETED,)
    if found.status in good and found.trial is None:
        return Check("a trial with an objective", "none", passed=False, note="no model can be chosen")
    return Check(f"status {' or '.join(good)}", found.status, passed=found.status in good, note=found.reason)


def _check(found: Facts, requirement: Requirement) -> Check:
    name = requirement.name
    if name in found.metrics:
        value = found.metrics[name]
        return Check(str(requirement), f"{value:.6g}", requirement.holds(value, single=True))
    if name in found.own:
        value = found.own[name]
        is_known = not math.isnan(value)
        holds = requirement.holds(value, single=name == "objective")
        return Check(str(requirement), f"{value:.6g}" if is_known else "unknown", holds, "" if is_known else found.note)
    if found.trial is None:
        return Check(str(requirement), "none", passed=False, note="no trial has an objective")
    raise SpecError(f"the best trial has no metric {name!r}; {did_you_mean(name, {*found.metrics, *OWN})}")


def _compare(found: Facts, baseline: Facts, tolerance: Tolerance) -> Check:
    problem = next(_incomparable(found, baseline), None)
    if problem is not None:
        raise SpecError(problem)
    before = baseline.objective or 0.0
    sign = ">=" if found.maximize else "<="
    slack = tolerance.of(before)
    limit = before - slack if found.maximize else before + slack
    text = f"{found.metric or baseline.metric} {sign} {limit:.6g}"
    note = f"{baseline.name} has {before:.6g}, tolerance {tolerance}"
    if found.objective is None:
        return Check(text, "none", passed=False, note=note)
    passed = reaches(found.objective, limit, maximize=found.maximize)
    return Check(text, f"{found.objective:.6g}", passed, note)


def _incomparable(found: Facts, baseline: Facts) -> Iterator[str]:
    if baseline.objective is None:
        yield f"the baseline {baseline.name!r} has no trial with an objective to compare with"
    elif found.metric is not None and (found.metric, found.maximize) != (baseline.metric, baseline.maximize):
        yield (
            f"the baseline {baseline.name!r} optimises another objective ({_said(baseline)}) than {found.name!r} "
            f"({_said(found)})"
        )


def _said(one: Facts) -> str:
    return f"{'Maximize' if one.maximize else 'Minimize'} {one.metric}"
