"""Options as a frozen value, made from what a method is given."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Self

from sm_tuning._errors import SpecError


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the options of registering, training again and deploying share."""

    @classmethod
    def of(cls, **given: Any) -> Self:
        """Make one.

        Raises:
            SpecError: there is no such option, naming the nearest one.
        """
        problems = list(cls._unknown(given))
        if problems:
            raise SpecError(problems)
        return cls(**given)

    @classmethod
    def _unknown(cls, given: dict[str, Any]) -> Iterator[str]:
        known = [one.name for one in fields(cls)]
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
                yield f"there is no option {name!r}; {hint}"
