"""Figures as files."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from sm_tuning._errors import SpecError
from sm_tuning.views._theme import Figure

IMAGES = (".png", ".svg", ".pdf")


def save(figure: Figure, path: str | os.PathLike[str], *, scale: float = 2.0) -> Path:
    """Write a figure to a file: HTML that opens without a network, or an image.

    Images are made by kaleido, which needs a Chrome or Chromium: on the PATH, or where ``BROWSER_PATH`` says.

    Args:
        figure: what ``plot`` or a ``draw_`` function gave.
        path: ends in .html, .png, .svg or .pdf.
        scale: pixels of an image for each of the figure's.

    Raises:
        SpecError: the ending is another one, the file cannot be written, or there is no kaleido or no browser for an
            image.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in (".html", *IMAGES):
        raise SpecError(f"a figure is saved as .html, .png, .svg or .pdf, but the name is {str(path)!r}")
    content = figure.to_html(include_plotlyjs=True).encode() if ending == ".html" else _image(figure, ending[1:], scale)
    try:
        path.write_bytes(content)
    except OSError as error:
        raise SpecError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
    return path


def _image(figure: Figure, ending: str, scale: float) -> bytes:
    if importlib.util.find_spec("kaleido") is None:
        raise SpecError(f"a figure becomes {ending.upper()} by kaleido: pip install kaleido, or save it as .html")
    try:
        image: bytes = figure.to_image(format=ending, width=figure.layout.width or 1000, scale=scale)
    except (RuntimeError, ValueError, OSError) as error:
        raise SpecError(
            f"no {ending.upper()} could be made; kaleido needs a Chrome or Chromium (install one, or name it in "
            f"BROWSER_PATH), and the figure can always be saved as .html: {error}"
        ) from error
    return image
