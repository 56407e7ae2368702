"""Write the data of these estimators from scikit-learn's data sets; needs no network.

    python estimators/make_data.py [FOLDER]

All files are CSV in the format of SageMaker's built-in algorithms: the label first, no header. The output is the same
each time; a test compares it with the committed files.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn import datasets
from sklearn.utils import Bunch

HELD_OUT = 0.2


def main(argv: Sequence[str]) -> int:
    """Write every file to the given folder, or to ``data`` beside this script."""
    for path in write_all(Path(argv[0]) if argv else Path(__file__).with_name("data")):
        sys.stdout.write(f"{path}\n")
    return 0


def write_all(folder: Path) -> list[Path]:
    """Write the three data sets and return the paths of the files."""
    diabetes = datasets.load_diabetes(scaled=False)  # in the original units
    cancer = datasets.load_breast_cancer()
    digits = datasets.load_digits()
    parts = {
        **_split("diabetes", _label_first(diabetes)),
        **_split("breast-cancer", _label_first(cancer)),
        "digits/digits.csv": _label_first(digits),  # one file: the script splits it
    }
    return [_write(folder / name, table) for name, table in parts.items()]


def _label_first(bunch: Bunch) -> np.ndarray:
    return np.column_stack([bunch.target, bunch.data])


def _split(name: str, table: np.ndarray) -> dict[str, np.ndarray]:
    # RandomState's stream is frozen (NEP 19), so the rows are the same with any NumPy.
    order = np.random.RandomState(20240229).permutation(len(table))
    held_out = round(len(table) * HELD_OUT)
    return {
        f"{name}/train.csv": table[order[held_out:]],
        f"{name}/validation.csv": table[order[:held_out]],
    }


def _write(path: Path, table: np.ndarray) -> Path:
    """Write a table with seven significant digits, more than any source has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = (",".join(f"{value:.7g}" for value in row) for row in table)
    path.write_bytes("".join(f"{row}\n" for row in rows).encode("ascii"))
    return path


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
