"""The shipped script on the images of ``benchmarks.studies``: 300 for training, 500 for validation."""

import sys

import data  # type: ignore[import-not-found]
import train  # type: ignore[import-not-found]

TRAINING, VALIDATION = 300, 500
_split = data.split


def split(n, *rest):
    """Return few of the script's rows for training, and the last ones for validation."""
    rows = [*(row for part in _split(n, *rest) for row in part)]
    return rows[:TRAINING], rows[-VALIDATION:]


data.split = split
if __name__ == "__main__":
    train.main(sys.argv[1:])
