"""The committed data files are what make_data.py writes, to the byte."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from forks import run_program

pytestmark = pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="needs scikit-learn")

ESTIMATORS = Path(__file__).parents[2] / "estimators"


def files_under(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_script_writes_the_committed_files_again(processes, tmp_path):
    command = [sys.executable, str(ESTIMATORS / "make_data.py"), str(tmp_path)]
    done = run_program(command, preload="client", cwd=tmp_path, env=os.environ)
    assert done.returncode == 0, done.stderr

    made, committed = files_under(tmp_path), files_under(ESTIMATORS / "data")
    assert sorted(made) == sorted(committed)
    assert [name for name in made if made[name] != committed[name]] == []
    assert sorted(done.stdout.split()) == sorted(str(tmp_path / name) for name in made)


@pytest.mark.parametrize(
    ("name", "rows", "columns"),
    [("diabetes", (354, 88), 11), ("breast-cancer", (455, 114), 31)],
)
def test_training_and_validation_rows_have_the_label_first_and_nothing_in_common(name, rows, columns):
    parts = [(ESTIMATORS / "data" / name / f"{part}.csv").read_text().splitlines() for part in ("train", "validation")]

    assert tuple(map(len, parts)) == rows
    assert {line.count(",") + 1 for part in parts for line in part} == {columns}
    assert not set(parts[0]) & set(parts[1])
