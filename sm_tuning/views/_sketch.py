"""A figure as plain data while it is drawn.

Plotly's own objects check every setting each time one is made, which takes seconds for a report; plain data is checked
once, when it becomes a figure, and for a report not at all (its tests do).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Trace = dict[str, Any]


def scatter(**settings: Any) -> Trace:
    """A scatter trace; settings that are None are left out, as in every trace."""
    return _trace("scatter", settings)


def bar(**settings: Any) -> Trace:
    """A bar trace."""
    return _trace("bar", settings)


def contour(**settings: Any) -> Trace:
    """A contour trace."""
    return _trace("contour", settings)


def heatmap(**settings: Any) -> Trace:
    """A heatmap trace."""
    return _trace("heatmap", settings)


def _trace(kind: str, settings: Mapping[str, Any]) -> Trace:
    return {"type": kind, **{key: value for key, value in settings.items() if value is not None}}


class Grid:
    """Where the cells of a figure with several plots are, as shares of it; cells count by rows, the first is 0.

    Args:
        rows: how many.
        columns: how many.
        gaps: the space between columns and between rows, as shares of the figure.
    """

    def __init__(self, rows: int, columns: int, gaps: tuple[float, float]) -> None:
        self.rows, self.columns = rows, columns
        self._gaps = gaps
        self._sizes = (1 - gaps[0] * (columns - 1)) / columns, (1 - gaps[1] * (rows - 1)) / rows

    def domains(self, cell: int) -> tuple[list[float], list[float]]:
        """From where to where a cell goes across and up; the first row is on top."""
        row, column = divmod(cell, self.columns)
        left = column * (self._sizes[0] + self._gaps[0])
        bottom = (self.rows - 1 - row) * (self._sizes[1] + self._gaps[1])
        return [left, min(left + self._sizes[0], 1.0)], [bottom, min(bottom + self._sizes[1], 1.0)]


class Sketch:
    """Traces and layout as plotly.js takes them.

    Args:
        layout: the layout to begin with.
        cells: how many plots there are.
        grid: where they are, when there is more than one.
    """

    def __init__(self, layout: dict[str, Any], cells: int = 1, grid: Grid | None = None) -> None:
        self.data: list[Trace] = []
        self.layout = layout
        self._cells = cells
        for cell in range(cells):
            across, up = grid.domains(cell) if grid is not None else ([0.0, 1.0], [0.0, 1.0])
            layout[_axis("xaxis", cell)] = {"domain": across, "anchor": _axis("y", cell)}
            layout[_axis("yaxis", cell)] = {"domain": up, "anchor": _axis("x", cell)}

    def add_trace(self, trace: Trace, cell: int = 0) -> None:
        """Add a trace to a cell."""
        self.data.append({**trace, "xaxis": _axis("x", cell), "yaxis": _axis("y", cell)})

    def update_layout(self, **settings: Any) -> None:
        """Set parts of the layout."""
        self.layout.update(settings)

    def update_xaxes(self, cell: int | None = None, **settings: Any) -> None:
        """Set parts of a cell's horizontal axis, or of all of them."""
        self._update("xaxis", cell, settings)

    def update_yaxes(self, cell: int | None = None, **settings: Any) -> None:
        """Set parts of a cell's vertical axis, or of all of them."""
        self._update("yaxis", cell, settings)

    def _update(self, name: str, cell: int | None, settings: dict[str, Any]) -> None:
        if isinstance(settings.get("title"), str):
            settings = {**settings, "title": {"text": settings["title"]}}
        for one in range(self._cells) if cell is None else (cell,):
            self.layout[_axis(name, one)].update(settings)

    def add_annotation(self, **settings: Any) -> None:
        """Add a text."""
        self.layout.setdefault("annotations", []).append(settings)

    def add_shape(self, **settings: Any) -> None:
        """Add a shape."""
        self.layout.setdefault("shapes", []).append(settings)

    def add_vline(self, x: float, line: Mapping[str, Any]) -> None:
        """Add a vertical line from bottom to top."""
        self.add_shape(type="line", x0=x, x1=x, y0=0, y1=1, yref="y domain", line=line)

    def add_hline(self, y: float, line: Mapping[str, Any], cell: int = 0) -> None:
        """Add a horizontal line across a cell."""
        across = f"{_axis('x', cell)} domain"
        self.add_shape(type="line", x0=0, x1=1, y0=y, y1=y, xref=across, yref=_axis("y", cell), line=line)


def _axis(name: str, cell: int) -> str:
    """Plotly's name of a cell's axis: the first has no number."""
    return name if cell == 0 else f"{name}{cell + 1}"
