"""The digits: 8x8 images with grey levels 0 to 16 and labels 0 to 9, with the same split in every trial."""

from __future__ import annotations

from pathlib import Path

import numpy as np

PIXELS = 64
LEVELS = 16.0


class DataError(ValueError):
    """The channel's files do not contain digits."""


def load(source: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Return images, float32 of shape (n, 1, 8, 8) in 0..1, and labels, int64 of shape (n,).

    A row of a `*.csv` file has the label and then 64 pixels, without a header; a `*.npz` file has `images` and
    `labels`. A folder may have several files. The default source is scikit-learn's copy.

    Raises:
        DataError: if there is no such file, or its shape or values are invalid.
    """
    if source is None:
        from sklearn.datasets import load_digits  # noqa: PLC0415 - slow to import, needed only without a channel

        labels, pixels = load_digits().target, load_digits().data
    else:
        parts = [_read(path) for path in _files(source)]
        labels = np.concatenate([part[0] for part in parts])
        pixels = np.concatenate([part[1] for part in parts])
    _check(labels, pixels)
    return (pixels / LEVELS).astype(np.float32).reshape(-1, 1, 8, 8), labels.astype(np.int64)


def split(n: int, share: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Return the row numbers for training and for validation.

    The split does not depend on the trial's seed, so that all trials are scored on the same images. RandomState's
    stream is frozen (NEP 19), so the rows are the same with any NumPy.
    """
    order = np.random.RandomState(20240229).permutation(n)
    held_out = max(1, round(n * share))
    return order[held_out:], order[:held_out]


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    found = sorted(path for path in source.rglob("*") if path.suffix in {".csv", ".npz"})
    if not found:
        raise DataError(f"no .csv or .npz file in {str(source)!r}; put the digits there, label first")
    return found


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            missing = {"images", "labels"} - set(arrays)
            if missing:
                raise DataError(f"{path} has no array {sorted(missing)}; it has {sorted(arrays)}")
            return arrays["labels"], arrays["images"].reshape(len(arrays["images"]), -1).astype(float)
    try:
        table = np.loadtxt(path, delimiter=",", ndmin=2)
    except ValueError as e:
        raise DataError(f"{path} is not a CSV of numbers without a header: {e}") from e
    return table[:, 0], table[:, 1:]


def _check(labels: np.ndarray, pixels: np.ndarray) -> None:
    if pixels.shape[1:] != (PIXELS,) or len(labels) != len(pixels) or len(labels) < 2:
        shapes = f"{labels.shape} and {pixels.shape}"
        raise DataError(f"expected two or more rows of a label and {PIXELS} pixels, got {shapes}")
    if not (np.isin(labels, range(10)).all() and (pixels >= 0).all() and (pixels <= LEVELS).all()):
        raise DataError(f"labels must be 0 to 9 and pixels 0 to {LEVELS:g}")
