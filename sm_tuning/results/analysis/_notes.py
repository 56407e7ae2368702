"""One piece of advice, and how its change of the spec is written."""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple

from sm_tuning.results.analysis._facts import Algorithm
from sm_tuning.spec import ParameterRange

Severity = Literal["warning", "hint"]


class Note(NamedTuple):
    """A row of the advice frame.

    Attributes:
        code: names the rule; does not change between versions.
        severity: a ``warning`` costs results or money, a ``hint`` could make the next job better.
        definition: the algorithm that it is about, in a job of several.
        hyperparameter: the one that it is about, if any.
        message: what to do.
        evidence: what in this job says so.
        change: of the spec, as a JSON merge patch (RFC 7396: what is null is taken away); None when there is none.
    """

    code: str
    severity: Severity
    definition: str | None
    hyperparameter: str | None
    message: str
    evidence: str
    change: dict[str, Any] | None = None

    def row(self) -> tuple[str | None, ...]:
        """The values of its row, the change as JSON."""
        change = None if self.change is None else json.dumps(self.change, ensure_ascii=False)
        return (*self[:-1], change)


def range_change(algorithm: Algorithm, name: str, range_: ParameterRange) -> dict[str, Any]:
    """The patch that puts another range in place."""
    return _within(algorithm, {"hyperparameter_ranges": {name: range_.model_dump(mode="json")}})


def fixed_change(algorithm: Algorithm, name: str, value: Any) -> dict[str, Any]:
    """The patch that makes a hyperparameter static."""
    change = {"hyperparameter_ranges": {name: None}, "estimator": {"hyperparameters": {name: value}}}
    return _within(algorithm, change)


def _within(algorithm: Algorithm, change: dict[str, Any]) -> dict[str, Any]:
    return change if algorithm.name is None else {"estimators": {algorithm.name: change}}


def shown(value: float | str | bool) -> str:
    """A value as people read it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def span(range_: ParameterRange) -> str:
    """A numeric range as people read it."""
    return f"{shown(range_.min_value)} … {shown(range_.max_value)}"  # type: ignore[union-attr]
