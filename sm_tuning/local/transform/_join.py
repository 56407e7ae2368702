"""Filters, and the join of inputs with predictions [Developer Guide, batch-transform-data-processing]."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sm_tuning.local.transform._paths import Path, PathError

CSV, JSON, JSONLINES = "text/csv", "application/json", "application/jsonlines"
FILTERED = (CSV, JSON, JSONLINES)
_INPUT, _OUTPUT = "SageMakerInput", "SageMakerOutput"


class JoinError(ValueError):
    """Inputs and predictions do not belong together."""


@dataclass(frozen=True)
class Processing:
    """DataProcessing of a job.

    Attributes:
        content_type: of the input, without parameters.
        accept: of the output, without parameters.
        input_filter: selects what the model gets.
        output_filter: selects what is written.
        join: whether the input is written too.
    """

    content_type: str
    accept: str
    input_filter: Path
    output_filter: Path
    join: bool

    @property
    def changes_output(self) -> bool:
        """Whether the responses are not written as they are."""
        return self.join or bool(self.output_filter.steps)

    def filtered(self, records: Sequence[bytes]) -> list[bytes]:
        """Return the records that the model gets.

        Raises:
            PathError: the filter does not fit a record.
            ValueError: a record is not JSON.
        """
        if not self.input_filter.steps:
            return list(records)
        return [_select(self.input_filter, record.decode(), self.content_type).encode() for record in records]

    def outputs(self, records: Sequence[bytes], answer: bytes) -> bytes:
        """Return what is written for a request, with a record a line.

        Args:
            records: the input, unfiltered.
            answer: the response to it.

        Raises:
            JoinError: the response does not have a record for each one of the input.
            PathError, ValueError: the filter does not fit a record.
        """
        text = answer.decode()
        lines = [line for line in text.splitlines() if line.strip()]
        if self.accept == JSON and len(records) == 1:
            lines = [text.strip()]
        if self.join:
            if len(lines) != len(records):
                raise JoinError(f"a request of {len(records)} records got a response of {len(lines)}")
            lines = [self._joined(record.decode(), line) for record, line in zip(records, lines, strict=True)]
        kind = self.content_type if self.join else self.accept
        return "".join(_select(self.output_filter, line, kind) + "\n" for line in lines).encode()

    def _joined(self, record: str, line: str) -> str:
        if self.content_type == CSV:
            return f"{record},{line}"
        given, predicted = json.loads(record), _json_or_text(line)
        whole = {**given, _OUTPUT: predicted} if isinstance(given, dict) else {_INPUT: given, _OUTPUT: predicted}
        return json.dumps(whole)


def _json_or_text(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return line


def _select(path: Path, record: str, kind: str) -> str:
    if not path.steps:
        return record
    if kind != CSV:
        return json.dumps(path.of(json.loads(record)))
    [fields] = csv.reader([record])
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(path.of_fields(fields))
    return text.getvalue()


__all__ = ["CSV", "FILTERED", "JSON", "JSONLINES", "JoinError", "PathError", "Processing"]
