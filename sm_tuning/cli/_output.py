"""What goes to stdout, and where ``-o`` puts it: tables for people, CSV, JSON and Parquet for programs."""

from __future__ import annotations

import functools
import io
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec

import click

from sm_tuning._errors import SpecError
from sm_tuning._files import write_output

if TYPE_CHECKING:
    import pandas as pd

P = ParamSpec("P")

FORMATS = ("table", "csv", "json", "parquet")


class Output(NamedTuple):
    """How a frame is to be written: one of ``FORMATS``, to a file, or to stdout when ``path`` is None."""

    format: str
    path: Path | None

    def frame(self, frame: pd.DataFrame) -> None:
        """Write a frame.

        Raises:
            SpecError: when the file cannot be written, or Parquet has nowhere to go or no library.
        """
        content = _parquet(frame) if self.format == "parquet" else _TEXTS[self.format](frame).encode()
        if self.path is None:
            emit(content)
        else:
            write_output(self.path, content)

    def rows(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        """Write rows as a frame of these columns; what a row lacks is missing, what it has beyond them is left out."""
        import pandas as pd  # noqa: PLC0415  (loads when there is something to write)

        self.frame(pd.DataFrame.from_records(rows, columns=list(columns)))


def output_options(command: Callable[P, None]) -> Callable[..., None]:
    """Give a command ``--format`` and ``-o``, and call it with an ``Output`` named ``output``."""

    @click.option(
        "--format", "format_", type=click.Choice(FORMATS), help="How to write; a table, or what the name of -o says."
    )
    @click.option("-o", "--output", "path", type=click.Path(path_type=Path), help="Write to a file, not to stdout.")
    @functools.wraps(command)
    def wrapped(*args: Any, format_: str | None, path: Path | None, **kwargs: Any) -> None:
        output = Output(format_ or _format_of(path), path)
        if path and not path.parent.is_dir():
            raise SpecError(f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}")
        if output.format == "parquet" and path is None and sys.stdout.isatty():
            raise SpecError("Parquet is not for a terminal: give a file with -o, or send stdout somewhere")
        command(*args, output=output, **kwargs)  # type: ignore[arg-type]

    return wrapped


def _format_of(path: Path | None) -> str:
    """The format that a file's name says; a table for none."""
    ending = path.suffix.lower() if path else ""
    found = {"": "table", ".txt": "table", **{f".{name}": name for name in FORMATS[1:]}}.get(ending)
    if found is None:
        raise SpecError(
            f"the name {str(path)!r} says no format: end it in .csv, .json, .parquet or .txt, or give --format"
        )
    return found


def emit(content: str | bytes) -> bool:
    """Write to stdout. A reader that went away (``| head``) has what it wanted: the rest is dropped in silence.

    Returns:
        Whether there is still somebody to read.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        click.echo(data, nl=False)
        sys.stdout.flush()
    except BrokenPipeError:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return False
    return True


def emit_json(value: Any) -> None:
    """Write one JSON value to stdout."""
    emit(to_json(value) + "\n")


def emit_fields(fields: dict[str, Any]) -> None:
    """Write named values as readable lines; what is None has no line."""
    shown = {name: _cell(value) for name, value in fields.items() if value is not None}
    width = max(map(len, shown), default=0)
    emit("".join(f"{name:<{width}}  {text}\n" for name, text in shown.items()))


def to_json(value: Any) -> str:
    """A value as JSON: times as ISO 8601; nan is null, and infinities are text, as JSON has no such numbers."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    values = frame.astype(object).where(frame.notna(), None)
    return [dict(zip(values.columns, row, strict=True)) for row in values.itertuples(index=False, name=None)]


def _json(frame: pd.DataFrame) -> str:
    return to_json(_records(frame)) + "\n"


def _csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False)


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    try:
        frame.to_parquet(buffer, index=False)
    except ImportError as error:
        raise SpecError("--format parquet needs pyarrow: pip install pyarrow") from error
    return buffer.getvalue()


def _table(frame: pd.DataFrame) -> str:
    """Columns side by side, numbers to the right; no value is shortened, and what is missing in every row left out."""
    if len(frame):
        frame = frame.dropna(axis="columns", how="all")
    rows = [[_cell(value) for value in row.values()] for row in _records(frame)]
    names = [str(name) for name in frame.columns]
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    right = [dtype.kind in "iuf" for dtype in frame.dtypes]
    lines = []
    for row in [names, *rows]:
        cells = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
        lines.append("  ".join(cells).rstrip() + "\n")
    return "".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value).replace("\r", "\\r").replace("\n", "\\n")


_TEXTS: dict[str, Callable[[pd.DataFrame], str]] = {"table": _table, "csv": _csv, "json": _json}
