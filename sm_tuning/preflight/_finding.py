"""One thing that a check has found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from sm_tuning._masking import Redactor

#: ``error``: the launch or the job would fail; ``advice``: it wastes time or money; ``not-checked``: nobody was asked.
Severity = Literal["error", "advice", "not-checked"]

_ORDER: tuple[Severity, ...] = ("error", "advice", "not-checked")


class Finding(NamedTuple):
    """One thing that is wrong, could be better, or could not be looked at.

    Attributes:
        code: names the rule, such as ``grid-budget``; does not change between versions.
        severity: an ``error`` would make the launch or the job fail; ``advice`` saves time or money; ``not-checked``
            needs AWS, or a trial run, to be known.
        where: the field, such as ``estimator.source_dir``; empty for the spec as a whole.
        message: what is wrong, with the value.
        fix: what to do.
    """

    code: str
    severity: Severity
    where: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}; {self.fix}" if self.fix and self.severity != "error" and self.fix not in text else text


def ordered(found: Iterable[Finding], secrets: Iterable[str] = ()) -> list[Finding]:
    """Errors first, then advice, then what was not checked, each once, with every secret cut out."""
    clear = Redactor(secrets, shortest=1)
    once = dict.fromkeys(found)
    clean = [one._replace(message=clear(one.message), fix=clear(one.fix)) for one in once]
    return sorted(clean, key=lambda one: _ORDER.index(one.severity))


def place(name: str | None, field: str) -> str:
    """Where a field of a definition stands: below ``estimators.NAME`` when the job has several."""
    return f"estimators.{name}.{field}" if name else field
