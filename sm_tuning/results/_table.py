"""A frame before it is one: columns of plain values, which are shown without loading pandas."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING, Any

from sm_tuning._masking import MASK, is_secret
from sm_tuning.results._columns import TIME

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Table:
    """Columns of equal length.

    Attributes:
        dtypes: the dtype of each column in the frame, in order.
        columns: the values of each column; None where one is missing. Times are datetimes.
        attrs: those of the frame.
    """

    dtypes: Mapping[str, str]
    columns: Mapping[str, Sequence[Any]]
    attrs: dict[str, Any] = field(default_factory=dict)

    def frame(self) -> pd.DataFrame:
        """Return the frame."""
        from sm_tuning.results._schema import frame  # noqa: PLC0415  (loads pandas)

        made = frame(self.dtypes, self.columns)
        made.attrs.update(self.attrs)
        return made

    def values(self, name: str) -> list[Any]:
        """Return the values of a column as the frame has them; None where one is missing."""
        values, dtype = self.columns[name], self.dtypes[name]
        if dtype == TIME:
            return [None if value is None else value.astimezone(UTC) for value in values]
        if dtype != "float64":
            return list(values)
        return [None if value is None or math.isnan(value) else float(value) for value in values]

    def masked(self, names: Sequence[str]) -> Table:
        """Return the table for display: of these columns, those with secret-like names have ``****``."""
        dtypes, columns = dict(self.dtypes), dict(self.columns)
        for name in names:
            values = self.values(name)
            hidden = [value is not None and is_secret(name, value) for value in values]
            if any(hidden):
                # As the frame's column of text: a missing value stays missing.
                texts = [value if value is None else str(value) for value in values]
                columns[name] = [MASK if is_hidden else text for text, is_hidden in zip(texts, hidden, strict=True)]
                dtypes[name] = "string"
        return Table(dtypes, columns, self.attrs)
