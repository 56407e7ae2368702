"""Requirements on a finished job, their judgement, the comparison with a baseline, and the summary in Markdown."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple, Self

from sm_tuning._errors import SpecError, did_you_mean
from sm_tuning._printable import printable
from sm_tuning._statuses import TuningStatus
from sm_tuning._wire import reaches, to_float32
from sm_tuning.gate._facts import OWN, Facts
from sm_tuning.spec import comparison_of

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
#: The value of a check whose number is not known.
UNKNOWN = "unknown"

_OF_TRIALS = ("completed_trials", "stopped_trials")


class Requirement(NamedTuple):
    """A condition on a finished job, for example ``validation:accuracy>=0.95`` or ``cost<=20``.

    Attributes:
        name: a metric of the best trial, or a value of the job.
        sign: the comparison operator.
        limit: the number to compare with.
    """

    name: str
    sign: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a requirement.

        Raises:
            SpecError: the text is not a requirement.
        """
        found = comparison_of(text)
        if found is None:
            raise SpecError(
                f"a requirement has the form NAME>=NUMBER (or <=, >, <, ==, !=), such as cost<=20, but got {text!r}"
            )
        return cls(*found)

    def holds(self, value: float, *, single: bool) -> bool:
        """Return whether a value meets the requirement.

        Args:
            value: the job's value; NaN meets no requirement.
            single: whether the value is a metric. The service stores metrics as 32-bit floats, so 0.95 comes back as
                0.94999999; the comparison rounds the limit in the same way.
        """
        if math.isnan(value):
            return False
        if single and self.sign in (">=", "<="):
            # The same comparison decides in `wait` whether a job reached its target.
            return reaches(value, self.limit, maximize=self.sign == ">=")
        return _OPERATORS[self.sign](value, to_float32(self.limit) if single else self.limit)

    def __str__(self) -> str:
        return f"{self.name} {self.sign} {self.limit:g}"


class Check(NamedTuple):
    """A requirement, the job's value, and whether it passed; ``note`` explains more."""

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
        """Whether all checks passed."""
        return all(check.passed for check in self.checks)


class Tolerance(NamedTuple):
    """How much worse than the baseline the objective may be: absolute, or a share of the baseline's objective."""

    amount: float = 0.0
    is_share: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``0.01`` or ``2%``.

        Raises:
            SpecError: the text is not a tolerance, or negative.
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
        """Return the tolerance around a baseline's value."""
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
        requirements: what it must meet.
        baseline: a job that it must not be worse than.
        tolerance: how much worse it may be.
        allow_stopped: accept a job that was stopped before it was complete.

    Raises:
        SpecError: the job has no value of a requirement's name, or the two jobs cannot be compared.
    """
    allowed = [TuningStatus.COMPLETED, *([TuningStatus.STOPPED] if allow_stopped else [])]
    ended = Check(f"status {' or '.join(allowed)}", found.status, passed=found.status in allowed, note=found.reason)
    if ended.passed and found.trial is None:
        ended = Check("a trial with an objective", "none", passed=False, note="no model can be chosen")
    checks = [ended, *(_check(found, requirement) for requirement in requirements)]
    if baseline is not None:
        checks.append(_compare(found, baseline, tolerance))
    return Verdict(found, tuple(checks))


def judge_any(
    found: Facts,
    candidates: Iterable[Facts],
    requirements: Sequence[Requirement],
    *,
    baseline: Facts | None = None,
    tolerance: Tolerance = Tolerance(),  # noqa: B008  (a frozen value)
    allow_stopped: bool = False,
) -> Verdict:
    """Return the verdict of the first candidate that meets everything, or that of the best trial if none does.

    Args:
        found: the job, with its best trial.
        candidates: the job with other trials, in the order in which they are tried.
        requirements: as for ``judge``, like the following.
        baseline: a job that it must not be worse than.
        tolerance: how much worse it may be.
        allow_stopped: accept a job that was stopped before it was complete.

    Raises:
        SpecError: the best trial has no value of a requirement's name, or the two jobs cannot be compared.
    """
    judged = partial(
        judge, requirements=requirements, baseline=baseline, tolerance=tolerance, allow_stopped=allow_stopped
    )
    first = judged(found)  # says which names there are
    names = {requirement.name for requirement in requirements}
    verdicts = (judged(other) for other in candidates if names <= {*other.metrics, *other.own})
    return next((verdict for verdict in verdicts if verdict.passed), first)


def _check(found: Facts, requirement: Requirement) -> Check:
    """Check one requirement.

    Raises:
        SpecError: the job has no value of that name.
    """
    name = requirement.name
    if name in found.metrics:
        value = found.metrics[name]
        return Check(str(requirement), f"{value:.6g}", requirement.holds(value, single=True))
    if name in found.own:
        value = found.own[name]
        is_known = not math.isnan(value)
        holds = requirement.holds(value, single=name == "objective")
        note = found.note if not is_known else found.trials_note if name in _OF_TRIALS else ""
        return Check(str(requirement), f"{value:.6g}" if is_known else UNKNOWN, holds, note)
    # A job that ran to its end without an objective fails its requirements; it is no error of the caller.
    if found.trial is None:
        return Check(str(requirement), "none", passed=False, note="no trial has an objective")
    raise SpecError(f"the best trial has no metric {name!r}; {did_you_mean(name, {*found.metrics, *OWN})}")


def _compare(found: Facts, baseline: Facts, tolerance: Tolerance) -> Check:
    """Check that a job is not worse than a baseline.

    Raises:
        SpecError: the two cannot be compared.
    """
    before = baseline.objective
    # A baseline without a value is an error, not a pass: nothing would have been compared.
    if before is None:
        raise SpecError(f"the baseline {baseline.name!r} has no trial with an objective to compare with")
    if found.metric is not None and (found.metric, found.maximize) != (baseline.metric, baseline.maximize):
        first, second = (f"{'Maximize' if job.maximize else 'Minimize'} {job.metric}" for job in (baseline, found))
        raise SpecError(
            f"the baseline {baseline.name!r} optimises another objective ({first}) than {found.name!r} ({second})"
        )
    slack = tolerance.of(before)
    limit = before - slack if found.maximize else before + slack
    text = f"{found.metric or baseline.metric} {'>=' if found.maximize else '<='} {limit:.6g}"
    note = f"{baseline.name} has {before:.6g}, tolerance {tolerance}"
    if found.objective is None:
        return Check(text, "none", passed=False, note=note)
    passed = reaches(found.objective, limit, maximize=found.maximize)
    return Check(text, f"{found.objective:.6g}", passed, note)


def markdown(verdict: Verdict) -> str:
    """Return a summary for the page of a pipeline: a table of the requirements, and the best trial; secrets masked."""
    found = verdict.facts
    counts = ("trials", "completed_trials", "failed_trials", "stopped_trials")
    lines = [
        f"### Gate {'passed' if verdict.passed else 'failed'}: `{found.name}`",
        "",
        "| requirement | value | result | |",
        "| --- | --- | --- | --- |",
    ]
    for check in verdict.checks:
        cells = (check.requirement, check.value, "pass" if check.passed else "**fail**", check.note)
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    lines += [
        "",
        "Trials: " + ", ".join(f"{found.own[name]:g} {name.removesuffix('_trials')}" for name in counts) + ".",
    ]
    if found.trial is not None:
        lines += [
            "",
            f"Trial: `{found.trial}`, {_cell(str(found.metric))} = {found.objective:.6g}",
            "",
            "| hyperparameter | value |",
            "| --- | --- |",
            *(f"| {_cell(name)} | {_cell(str(value))} |" for name, value in found.hyperparameters.items()),
        ]
    return printable("\n".join(lines) + "\n", keep="\n")


def _cell(text: str) -> str:
    # A pipe or a line break of a name would end the cell, and a tag would be read as HTML.
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\r", "").replace("\n", "<br>")
