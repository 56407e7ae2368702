"""What a List operation asks for, and the SQL that answers it page by page.

Pages are cut by key (sort value, name), not by offset: a job that is made or that changes while somebody
pages neither repeats nor hides another one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

_COLUMNS = {
    "Name": "key",
    "CreationTime": "created",
    "Status": "status",
    "FinalObjectiveMetricValue": "objective",
}


class BadTokenError(ValueError):
    """A NextToken that this server did not give for this query."""


@dataclass(frozen=True)
class ListQuery:
    """Filters, order and page of a List operation; members bear the API's meaning.

    Attributes:
        sort_by: Name, CreationTime, Status or FinalObjectiveMetricValue (which leaves out jobs without one).
        created_after: epoch seconds, as are the other three times; the bounds themselves are left out.
        tuning_job: only training jobs of this tuning job.
        training_plan_arn: only training jobs that name this plan.
    """

    sort_by: str = "Name"
    descending: bool = False
    max_results: int = 10
    next_token: str | None = None
    name_contains: str | None = None
    status: str | None = None
    created_after: float | None = None
    created_before: float | None = None
    modified_after: float | None = None
    modified_before: float | None = None
    tuning_job: str | None = None
    training_plan_arn: str | None = None

    def _conditions(self) -> list[tuple[str, Any]]:
        like = None if self.name_contains is None else self.name_contains.lower()
        pairs = [
            ("instr(key, ?) > 0", like),
            ("status = ?", self.status),
            ("created > ?", self.created_after),
            ("created < ?", self.created_before),
            ("modified > ?", self.modified_after),
            ("modified < ?", self.modified_before),
            ("tuning_id = (SELECT id FROM tuning_jobs WHERE key = lower(?))", self.tuning_job),
            ("plan_arn = ?", self.training_plan_arn),
        ]
        return [(condition, value) for condition, value in pairs if value is not None]

    def sql(self, table: str) -> tuple[str, list[Any]]:
        """Return a SELECT of (sort value, key, doc), one row more than a page, and its arguments.

        Raises:
            BadTokenError: the token was not given for this query.
        """
        column = _COLUMNS[self.sort_by]
        conditions = self._conditions()
        where = [f"{column} IS NOT NULL", *(condition for condition, _ in conditions)]
        arguments = [value for _, value in conditions]
        if self.next_token is not None:
            sign = "<" if self.descending else ">"
            where.append(f"({column}, key) {sign} (?, ?)")
            arguments += self._read_token(self.next_token)
        order = "DESC" if self.descending else "ASC"
        # Every part of the text comes from the tables above; what callers give goes in as arguments.
        text = (
            f"SELECT {column}, key, doc FROM {table} WHERE {' AND '.join(where)} "  # noqa: S608
            f"ORDER BY {column} {order}, key {order} LIMIT {self.max_results + 1}"
        )
        return text, arguments

    def token(self, sort_value: Any, key: str) -> str:
        """Return the NextToken of a page that ends with this row."""
        raw = json.dumps([self._fingerprint(), sort_value, key]).encode()
        return base64.urlsafe_b64encode(raw).decode()

    def _read_token(self, token: str) -> list[Any]:
        try:
            fingerprint, sort_value, key = json.loads(base64.urlsafe_b64decode(token.encode()))
        except (ValueError, TypeError, binascii.Error) as e:
            raise BadTokenError("Invalid NextToken.") from e
        if fingerprint != self._fingerprint():
            raise BadTokenError("Invalid NextToken: it was given for a request with other filters or order.")
        return [sort_value, key]

    def _fingerprint(self) -> str:
        asked = repr(replace(self, next_token=None, max_results=0))
        return hashlib.sha256(asked.encode()).hexdigest()[:16]
