"""Write the data that the estimators here are trained on, from what scikit-learn carries: no network.

    python estimators/make_data.py [FOLDER]

All files are CSV as SageMaker's built-in algorithms read it: the label first, no header. The same bytes come out
each time; a test holds the committed files to them.
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
    """Write every file under the folder given, or beside this script."""
    for path in write_all(Path(argv[0]) if argv else Path(__file__).with_name("data")):
        sys.stdout.write(f"{path}\n")
    return 0


def write_all(folder: Path) -> list[Path]:
    """Write the three data sets; the paths written."""
    diabetes = datasets.load_diabetes(scaled=False)  # in the units of the clinic
    cancer = datasets.load_breast_cancer()
    digits = datasets.load_digits()
    parts = {
        **_split("diabetes", _label_first(diabetes)),
        **_split("breast-cancer", _label_first(cancer)),
        "digits/digits.csv": _label_first(digits),  # whole: the script makes its own split
    }
    return [_write(folder / name, table) for name, table in parts.items()]


def _label_first(bunch: Bunch) -> np.ndarray:
    return np.column_stack([bunch.target, bunch.data])


def _split(name: str, table: np.ndarray) -> dict[str, np.ndarray]:
    # RandomState's stream is frozen (NEP 19): the same rows with any NumPy.
    order = np.random.RandomState(20240229).permutation(len(table))
    held_out = round(len(table) * HELD_OUT)
    return {
        f"{name}/train.csv": table[order[held_out:]],
        f"{name}/validation.csv": table[order[:held_out]],
    }


def _write(path: Path, table: np.ndarray) -> Path:
    """Seven significant digits are more than any of the sources has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = (",".join(f"{value:.7g}" for value in row) for row in table)
    path.write_bytes("".join(f"{row}\n" for row in rows).encode("ascii"))
    return path


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
