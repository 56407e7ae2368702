"""What commands print: frames as tables, CSV, JSON or Parquet on stdout or in a file, messages on stderr."""

from __future__ import annotations

import functools
import io
import json
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec

import click

import sm_tuning as smt
from sm_tuning import results
from sm_tuning._files import write_output
from sm_tuning._printable import printable

if TYPE_CHECKING:
    import pandas as pd

P = ParamSpec("P")

FORMATS = ("table", "csv", "json", "parquet")

_PART = 10_000  # rows of a table that are written at once

#: The first characters of a text that a spreadsheet takes for a formula [OWASP, CSV Injection], in both widths.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def say(message: str, kind: str = "") -> None:
    """Write a message to stderr; ``kind`` is a word such as error or warning."""
    message = printable(message, keep="\n\t")
    click.echo(f"sm-tuning: {kind}: {message}" if kind else f"sm-tuning: {message}", err=True)
    # In a pipeline's log, stderr is a file: a message must not come after later output of stdout.
    sys.stderr.flush()


def is_drawn() -> bool:
    """Whether stderr is a terminal in front of a person: there, messages have colours and break between words."""
    return sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"


def draw_rows(title: str, rows: Iterable[tuple[str, str, str, str]]) -> None:
    """Write a title and rows to a terminal: a word and its colour, a heading that may be empty, and a text."""
    from rich.console import Console, Group  # noqa: PLC0415  (rich loads when something is drawn)
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for word, colour, heading, text in rows:
        first, *others = printable(text, keep="\n").split("\n")
        lines = [Text(first), *(Text(line, style="dim") for line in others)]
        head = [Text(printable(heading), style="bold")] if heading else []
        table.add_row(Text(word, style=f"bold {colour}".strip() if colour else "dim"), Group(*head, *lines))
    Console(stderr=True, highlight=False).print(Text(printable(title), style="bold"), table)
    sys.stderr.flush()


@contextmanager
def warnings_said() -> Iterator[None]:
    """Print warnings like other messages, in one line each, without the line of code that Python adds.

    After a warning of an incomplete frame, the program ends with the exit code of a ``ServiceError``.
    """

    def show(message: Warning | str, *_: object, **__: object) -> None:
        say(str(message), "warning")
        context = click.get_current_context(silent=True)
        # Code that warns of a gap has loaded sm_tuning.results already, which help should not load.
        if context is not None and isinstance(message, results.IncompleteWarning):
            context.ensure_object(dict)["incomplete"] = True

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


class Output(NamedTuple):
    """How to write a frame.

    Attributes:
        format: one of ``FORMATS``.
        path: the file; None for stdout.
        is_safe: whether texts in CSV that a spreadsheet would compute are marked as text.
    """

    format: str
    path: Path | None
    is_safe: bool = False

    def frame(self, frame: pd.DataFrame, text: Callable[[pd.DataFrame], str] | None = None) -> None:
        """Write a frame.

        Args:
            frame: the frame.
            text: returns what is written instead of a table; the other formats are those of all frames.

        Raises:
            SpecError: the file cannot be written, or Parquet's library is not installed.
        """
        self._write([text(frame)] if text is not None and self.format == "table" else self._content(frame))

    def table(self, table: results.Table) -> None:
        """Write a table as its frame is written, without loading pandas if it stays a table."""
        if self.format != "table":
            self.frame(table.frame())
            return
        numbers = ("Int64", "int64", "float64")
        columns = [
            _Column.of_values(name, table.values(name), is_number=dtype in numbers)
            for name, dtype in table.dtypes.items()
        ]
        self._write(_lines(columns))

    def _write(self, content: Iterable[str | bytes]) -> None:
        if self.path is not None:
            write_output(self.path, b"".join(map(_bytes, content)))
        # A part after the other: a table of a million log lines takes as much memory again as its frame.
        elif not all(map(emit, content)):
            return

    def rows(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        """Write rows as a frame of these columns; other values of the rows are left out."""
        if self.format != "table":
            import pandas as pd  # noqa: PLC0415  (a table does without)

            self.frame(pd.DataFrame.from_records(rows, columns=list(columns)))
            return
        values = {name: [row.get(name) for row in rows] for name in columns}
        self._write(
            _lines([_Column.of_values(name, found, is_number=_are_numbers(found)) for name, found in values.items()])
        )

    def _content(self, frame: pd.DataFrame) -> Iterable[str | bytes]:
        if self.format == "csv":
            # In one part: how times are written depends on all of them.
            return [(_safe(frame) if self.is_safe else frame).to_csv(index=False)]
        if self.format == "json":
            return [to_json(_records(frame)) + "\n"]
        if self.format == "table":
            return _lines([_Column.of_series(frame.iloc[:, place]) for place in range(frame.shape[1])])
        buffer = io.BytesIO()
        try:
            frame.to_parquet(buffer, index=False)
        except ImportError as error:
            raise smt.SpecError("--format parquet needs pyarrow: pip install pyarrow") from error
        return [buffer.getvalue()]


_json_flag = click.option("--json", "as_json", is_flag=True, help="The same as --format json.")


def as_json(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--format`` and ``--json`` to a command that prints one object; it gets a flag as ``as_json``."""

    @click.option(
        "--format", "format_", type=click.Choice(("table", "json")), help="Output format; a table by default."
    )
    @_json_flag
    @functools.wraps(command)
    def wrapped(*args: Any, format_: str | None, as_json: bool, **kwargs: Any) -> Any:
        return command(*args, as_json=_format(format_, as_json=as_json) == "json", **kwargs)

    return wrapped


def _format(given: str | None, *, as_json: bool) -> str | None:
    if as_json and given not in (None, "json"):
        raise click.UsageError(f"--json cannot be combined with --format {given}")
    return "json" if as_json else given


def output_options(command: Callable[P, None]) -> Callable[..., None]:
    """Add ``--format``, ``--json``, ``-o`` and ``--safe-csv`` to a command, which gets an ``Output`` as ``output``."""

    @click.option(
        "--format", "format_", type=click.Choice(FORMATS), help="Output format; by default that of -o, else a table."
    )
    @_json_flag
    @click.option("-o", "--output", "path", type=click.Path(path_type=Path), help="Write to a file, not to stdout.")
    @click.option(
        "--safe-csv", "is_safe", is_flag=True, help="In CSV, put ' before texts that a spreadsheet would compute."
    )
    @functools.wraps(command)
    def wrapped(
        *args: Any, format_: str | None, as_json: bool, path: Path | None, is_safe: bool, **kwargs: Any
    ) -> None:
        format_ = _format(format_, as_json=as_json)
        ending = path.suffix.lower() if path else ""
        formats = {"": "table", ".txt": "table", **{f".{name}": name for name in FORMATS[1:]}}
        if format_ is None and ending not in formats:
            raise smt.SpecError(
                f"the name {str(path)!r} has no known ending: end it in .csv, .json, .parquet or .txt, or give --format"
            )
        output = Output(format_ or formats[ending], path, is_safe)
        if is_safe and output.format != "csv":
            raise click.UsageError(f"--safe-csv is for CSV, but the format is {output.format}: give --format csv")
        # Refuse before any work what would fail after it.
        if path and not path.parent.is_dir():
            raise smt.SpecError(f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}")
        if output.format == "parquet" and path is None and sys.stdout.isatty():
            raise smt.SpecError("Parquet is not for a terminal: give a file with -o, or redirect stdout")
        command(*args, output=output, **kwargs)  # type: ignore[arg-type]

    return wrapped


def emit(content: str | bytes) -> bool:
    """Write to stdout, and return whether it is still open: a reader such as ``| head`` may have closed it."""
    # The formats of data keep control characters. On a terminal they would act, so there they are escaped as in tables.
    if isinstance(content, str) and sys.stdout.isatty():
        content = printable(content, keep="\n\t")
    data = _bytes(content)
    try:
        click.echo(data, nl=False)
        sys.stdout.flush()
    except OSError as error:
        close_stdout()
        if isinstance(error, BrokenPipeError):
            return False
        raise smt.SpecError(f"cannot write to stdout: {error.strerror or error}") from error
    return True


def close_stdout() -> None:
    """Send what is left for stdout nowhere: Python flushes it again when it exits, and would print an error."""
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def emit_json(value: Any) -> None:
    """Write one JSON value to stdout."""
    emit(to_json(value) + "\n")


def emit_fields(fields: dict[str, Any]) -> None:
    """Write named values as readable lines, except those that are None."""
    shown = {_cell(name): _cell(value) for name, value in fields.items() if value is not None}
    width = max(map(len, shown), default=0)
    emit("".join(f"{name:<{width}}  {text}\n" for name, text in shown.items()))


def _bytes(content: str | bytes) -> bytes:
    # JSON of a service may hold half of a surrogate pair, which has no UTF-8.
    return content.encode(errors="backslashreplace") if isinstance(content, str) else content


def _safe(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with ' before each text, and column name, that a spreadsheet would take for a formula."""

    def marked(value: Any) -> Any:
        if not isinstance(value, str) or not value.startswith(_FORMULA):
            return value
        try:
            float(value)  # a negative number is no formula
        except ValueError:
            return f"'{value}"
        return value

    texts = {str(name): frame[name].map(marked) for name, dtype in frame.dtypes.items() if dtype.kind == "O"}
    return frame.assign(**texts).rename(columns=marked)


def to_json(value: Any) -> str:
    """Return a value as JSON: times as ISO 8601, NaN as null, and infinities as text, since JSON has neither."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, str):  # scalars of numpy and pandas
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    # Missing values differ by dtype (NaN, NaT, NA); all become None.
    values = frame.astype(object).where(frame.notna(), None)
    return [dict(zip(values.columns, row, strict=True)) for row in values.itertuples(index=False, name=None)]


def _are_numbers(values: Sequence[Any]) -> bool:
    kinds = {type(value) for value in values if value is not None}
    return bool(kinds) and kinds <= {int, float}


class _Column(NamedTuple):
    """A column of a text table.

    Attributes:
        name: its heading.
        length: number of rows.
        is_shown: whether it has a value, or the table has no rows.
        is_number: whether it is on the right.
        widest: returns the length of the longest cell.
        cells: returns the cells of some rows.
    """

    name: str
    length: int
    is_shown: bool
    is_number: bool
    widest: Callable[[], int]
    cells: Callable[[slice], list[str]]

    @classmethod
    def of_series(cls, column: pd.Series[Any]) -> _Column:
        return cls(
            printable(str(column.name)),
            len(column),
            bool(not len(column) or column.notna().any()),
            column.dtype.kind in "iuf",
            # All times have one length, so that the first one is enough.
            lambda: max(map(len, _cells(_few(column))), default=1),
            lambda rows: _cells(column.iloc[rows]),
        )

    @classmethod
    def of_values(cls, name: str, values: Sequence[Any], *, is_number: bool) -> _Column:
        texts = list(map(_cell, values))
        return cls(
            printable(name),
            len(texts),
            any(value is not None for value in values) or not texts,
            is_number,
            lambda: max(map(len, texts), default=0),
            texts.__getitem__,
        )


def _lines(every: Sequence[_Column]) -> Iterator[str]:
    """Give a text table in parts: values in full, numbers to the right, columns without any value left out."""
    columns = [column for column in every if column.is_shown]
    # The last column needs no width, unless its numbers are on the right.
    widths = [
        max(len(column.name), column.widest()) if column.is_number or place < len(columns) - 1 else 0
        for place, column in enumerate(columns)
    ]

    form = "  ".join(
        f"%{'' if column.is_number else '-'}{width}s" if width else "%s"
        for column, width in zip(columns, widths, strict=True)
    )

    def lines(cells: Iterable[Sequence[str]]) -> str:
        return "".join(f"{line}\n" for line in map(str.rstrip, map(form.__mod__, zip(*cells, strict=True))))

    yield lines([column.name] for column in columns)
    for start in range(0, every[0].length if every else 0, _PART):
        yield lines(column.cells(slice(start, start + _PART)) for column in columns)


def _is_time(column: pd.Series[Any]) -> bool:
    return str(column.dtype).endswith(", UTC]")


def _few(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return values among which are the longest: of times, which have one length, a single one."""
    # Without objects for a million texts, as drop_duplicates makes them.
    return column.dropna().iloc[:1] if _is_time(column) else type(column)(column.unique(), dtype=column.dtype)


def _cells(column: pd.Series[Any]) -> list[str]:
    if _is_time(column):
        # Each second once: log lines have many in the same one.
        places, seconds = column.dt.tz_convert(None).astype("datetime64[s]").factorize(use_na_sentinel=False)
        times = seconds.to_numpy().astype(str).tolist()
        cells = ["-" if time == "NaT" else f"{time}+00:00" for time in times]
        return [cells[place] for place in places.tolist()]
    if str(column.dtype) == "string":
        texts: list[Any] = column.astype(object).where(column.notna(), None).tolist()
        # One look at all texts: a million log lines have a million cells.
        if None in texts or not "".join(texts).isprintable():
            texts = list(map(_cell, texts))
        return texts
    return [_cell(value) for value in column.astype(object).where(column.notna(), None)]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, float):
        return f"{value:.6g}"
    # A line break, too, is escaped: it would move the rest of a row to the next line.
    return printable(str(value))
