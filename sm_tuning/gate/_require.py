"""Requirements as people write them: ``validation:accuracy>=0.95``, ``cost<=20``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import NamedTuple, Self

from sm_tuning._errors import SpecError
from sm_tuning._wire import to_float32

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_FORM = re.compile(r"\s*(?P<name>.*?[^\s<>=!])\s*(?P<sign>>=|<=|==|!=|>|<)\s*(?P<limit>[^\s<>=!]+)\s*")


class Requirement(NamedTuple):
    """One thing that must hold.

    Attributes:
        name: of a metric of the best trial, or one of the job's own values.
        sign: how the value is compared.
        limit: with what.
    """

    name: str
    sign: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a requirement.

        Raises:
            SpecError: it is none.
        """
        match = _FORM.fullmatch(text)
        try:
            limit = float(match["limit"]) if match else math.nan
        except ValueError:
            limit = math.nan
        if match is None or math.isnan(limit):
            raise SpecError(
                f"a requirement has the form NAME>=NUMBER (or <=, >, <, ==, !=), such as cost<=20, but got {text!r}"
            )
        return cls(match["name"], match["sign"], limit)

    def holds(self, value: float, *, single: bool) -> bool:
        """Whether a value meets it.

        Args:
            value: what the job has; nan meets nothing.
            single: the service keeps the value as a 32-bit float [botocore model, MetricValue], so that 0.95 comes
                back as 0.94999999: the limit is rounded the same way.
        """
        if math.isnan(value):
            return False
        return _OPERATORS[self.sign](value, to_float32(self.limit) if single else self.limit)

    def __str__(self) -> str:
        return f"{self.name} {self.sign} {self.limit:g}"
