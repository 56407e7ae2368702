"""How a frame is written: nothing lost, nothing shortened, whole files only."""

import json
import os
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import IO

import click
import pandas as pd
import pytest
from click.testing import CliRunner
from command_line import separate_runner
from forks import start_program

from sm_tuning import results
from sm_tuning.cli._main import Entry, Program
from sm_tuning.cli._output import Output, output_options, to_json
from sm_tuning.results import Table

FRAME = pd.DataFrame(
    {
        "eta": [0.1, float("nan")],
        "depth": pd.array([3, None], dtype="Int64"),
        "TrainingJobName": ["a-1", None],
        "TrainingStartTime": pd.to_datetime(["2026-01-02T03:04:05.678Z", None]),
        "IsBest": [True, False],
        "exact": [0.1 + 0.2, float("-inf")],
    }
)

TIME = results.TRIALS["TrainingStartTime"]


@click.command()
@output_options
def show(output: Output) -> None:
    """Show the frame."""
    output.frame(FRAME)


@pytest.fixture
def runner() -> CliRunner:
    return separate_runner()


@pytest.fixture
def program() -> Program:
    return Program(name="sm-tuning", entries={"show": Entry(f"{__name__}:show", "Show the frame.")})


def test_json_keeps_types_and_every_digit(runner, program):
    result = runner.invoke(program, ["show", "--format", "json"])
    assert json.loads(result.stdout) == [
        {
            "eta": 0.1,
            "depth": 3,
            "TrainingJobName": "a-1",
            "TrainingStartTime": "2026-01-02T03:04:05.678000+00:00",
            "IsBest": True,
            "exact": 0.30000000000000004,
        },
        {
            "eta": None,
            "depth": None,
            "TrainingJobName": None,
            "TrainingStartTime": None,
            "IsBest": False,
            "exact": "-Infinity",
        },
    ]
    assert result.stderr == ""


def test_csv_is_what_pandas_reads_back(runner, program, tmp_path):
    file = tmp_path / "frame.csv"
    assert runner.invoke(program, ["show", "-o", str(file)]).exit_code == 0
    # As text, since older releases of pandas round the last digit when they read a number.
    back = pd.read_csv(file, dtype={"depth": "Int64", "exact": "str"}, parse_dates=["TrainingStartTime"])
    assert [float(text) for text in back["exact"]] == list(FRAME["exact"])
    assert back["TrainingStartTime"][0] == FRAME["TrainingStartTime"][0]
    assert list(back.columns) == list(FRAME.columns)


def test_parquet_is_what_pandas_reads_back(runner, program, tmp_path):
    pytest.importorskip("pyarrow")
    file = tmp_path / "frame.parquet"
    assert runner.invoke(program, ["show", "-o", str(file)]).exit_code == 0
    pd.testing.assert_frame_equal(pd.read_parquet(file), FRAME, check_dtype=False)
    assert runner.invoke(program, ["show", "--format", "parquet"]).stdout_bytes == file.read_bytes()


def test_a_table_shows_every_value_in_full_and_numbers_to_the_right(runner, program):
    lines = runner.invoke(program, ["show"]).stdout.splitlines()
    assert lines == [
        "eta  depth  TrainingJobName  TrainingStartTime          IsBest  exact",
        "0.1      3  a-1              2026-01-02T03:04:05+00:00  True      0.3",
        "  -      -  -                -                          False    -inf",
    ]


def test_a_table_that_is_written_in_parts_is_aligned_as_a_whole(tmp_path):
    path = tmp_path / "long.txt"
    Output("table", path).frame(pd.DataFrame({"name": ["a", *["bc"] * 20_000, "widest"], "n": range(20_002)}))

    lines = path.read_text().splitlines()

    assert [lines[row] for row in (0, 1, 2, 20_002)] == [
        "name        n",
        "a           0",
        "bc          1",
        "widest  20001",
    ]
    assert len(lines) == 20_003


@pytest.mark.parametrize("rows", [3, 0])
def test_a_table_is_shown_without_pandas_as_its_frame_is_with_it(tmp_path, rows):
    columns = {
        "lr": [1, 12_345_678, None],
        "API_TOKEN": [1e-5, None, 2.0],
        "depth": [3, None, 12_345_678],
        "flag": [True, None, False],
        "booster": ["a\nb", None, "12"],
        "TrainingJobName": ["a", "b", "c"],
        "value": [0.1 + 0.2, float("nan"), float("-inf")],
        "TrainingStartTime": [
            datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC),
            None,
            datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))),
        ],
        "empty": [None, None, None],
        "IsBest": [True, False, False],
        "last": [1, 2, 3],
    }
    dtypes = ("float64", "float64", "Int64", "boolean", "string", "string", "float64", TIME, "string", "bool", "Int64")
    table = Table(dict(zip(columns, dtypes, strict=True)), {name: cells[:rows] for name, cells in columns.items()})
    plain, framed = tmp_path / "plain.txt", tmp_path / "framed.txt"
    for shown in (table, table.masked(list(columns)[:5])):
        Output("table", plain).table(shown)
        Output("table", framed).frame(shown.frame())
        assert plain.read_text() == framed.read_text()
        assert len(plain.read_text().splitlines()) == 1 + rows
    assert ("****" in plain.read_text()) == bool(rows)
    pd.testing.assert_frame_equal(table.masked(["API_TOKEN"]).frame(), results.shown(table.frame()))


def test_rows_are_shown_without_pandas_as_their_frame_is_with_it(tmp_path):
    rows = [{"Name": "a", "Count": 3, "Share": 0.5, "Other": None}, {"Name": "b", "Share": 12, "More": 1}]
    names = ["Name", "Count", "Share", "Other"]
    plain, framed = tmp_path / "plain.txt", tmp_path / "framed.txt"
    Output("table", plain).rows(rows, names)
    Output("table", framed).frame(pd.DataFrame.from_records(rows, columns=names))
    assert plain.read_text() == framed.read_text()


def test_a_line_break_in_a_cell_stays_in_its_row(runner, tmp_path):
    file = tmp_path / "t.txt"
    Output("table", file).frame(pd.DataFrame({"Message": ["one\ntwo"], "Host": ["algo-1"]}))
    assert file.read_text() == "Message   Host\none\\ntwo  algo-1\n"


@pytest.mark.parametrize("format_", ["table", "csv", "json"])
def test_no_rows_still_make_a_document(tmp_path, format_):
    file = tmp_path / "none"
    Output(format_, file).frame(FRAME.iloc[:0])
    text = file.read_text()
    assert json.loads(text) == [] if format_ == "json" else "TrainingJobName" in text.splitlines()[0]


def test_the_format_asked_for_wins_over_the_name_of_the_file(runner, program, tmp_path):
    file = tmp_path / "frame.csv"
    assert runner.invoke(program, ["show", "--format", "json", "-o", str(file)]).exit_code == 0
    assert len(json.loads(file.read_text())) == 2


def test_a_name_that_says_an_unknown_format_is_refused(runner, program, tmp_path):
    result = runner.invoke(program, ["show", "-o", str(tmp_path / "frame.xlsx")])
    assert result.exit_code == 2
    assert "has no known ending: end it in .csv, .json, .parquet or .txt, or give --format" in result.stderr
    assert list(tmp_path.iterdir()) == []
    for name in ("frame.txt", "frame"):
        assert runner.invoke(program, ["show", "-o", str(tmp_path / name)]).exit_code == 0
        assert (tmp_path / name).read_text().startswith("eta  depth")


def test_a_folder_that_is_missing_is_said_before_any_work(runner, program, tmp_path):
    result = runner.invoke(program, ["show", "-o", str(tmp_path / "no" / "frame.csv")])
    assert result.exit_code == 2
    folder, file = str(tmp_path / "no"), str(tmp_path / "no" / "frame.csv")
    assert result.stderr == f"sm-tuning: error: cannot write {file!r}: there is no folder {folder!r}\n"


def test_a_file_that_cannot_be_written_leaves_nothing_behind(runner, program, tmp_path):
    folder = tmp_path / "frame.csv"
    folder.mkdir()
    result = runner.invoke(program, ["show", "-o", str(folder)])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"sm-tuning: error: cannot write {str(folder)!r}: ")
    assert list(tmp_path.iterdir()) == [folder]


PROGRAM_OF_THESE_TESTS = f"""
import sys
for name in sys.argv.pop(1).split(","):
    sys.modules[name] = None
sys.path[:0] = {[str(path) for path in Path(__file__).parents[:2]]!r}
import test_output as t
t.Program(name="sm-tuning", entries={{"show": t.Entry("test_output:show", "")}})()
"""


def show_in_a_process(*args: str, without: str, stdout: IO[bytes], folder: Path) -> tuple[int, str]:
    """Run the program in a process that lacks some modules; return its exit code and standard error."""
    command = [sys.executable, "-c", PROGRAM_OF_THESE_TESTS, without, "show", *args]
    with (folder / "stderr").open("wb") as err:
        process = start_program(command, preload="client", cwd=folder, env=os.environ, stdout=stdout, stderr=err)
        code = process.wait(60)
    return code, (folder / "stderr").read_text()


def test_parquet_is_kept_off_a_terminal(processes, tmp_path):
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    with open(master, "rb"), open(slave, "wb") as terminal:  # noqa: PTH123  (of descriptors)
        ended = show_in_a_process("--format", "parquet", without="nothing", stdout=terminal, folder=tmp_path)
    assert ended == (2, "sm-tuning: error: Parquet is not for a terminal: give a file with -o, or redirect stdout\n")


def test_parquet_without_its_library_names_what_to_install(processes, tmp_path):
    file = tmp_path / "f.parquet"
    with Path(os.devnull).open("wb") as null:
        ended = show_in_a_process("-o", str(file), without="pyarrow,fastparquet", stdout=null, folder=tmp_path)
    assert ended == (2, "sm-tuning: error: --format parquet needs pyarrow: pip install pyarrow\n")
    assert not file.exists()


def test_numbers_that_json_does_not_have_are_null_or_text():
    assert json.loads(to_json({"a": [float("nan"), float("inf")]})) == {"a": [None, "Infinity"]}
