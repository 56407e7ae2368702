"""Which trial of a study continued which, and how the hyperparameters changed on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sm_tuning._errors import SpecError
from sm_tuning.results import lineage
from sm_tuning.views._axis import Array, Axis, label, numbers
from sm_tuning.views._curves import By, unit_of
from sm_tuning.views._figure import (
    BLUE,
    GREEN,
    NEUTRAL,
    RANKED,
    STATE_COLOURS,
    Grid,
    Sketch,
    Trace,
    axis_layout,
    axis_values,
    escape,
    hover_texts,
    joined,
    trace,
)
from sm_tuning.views._machines import timeline_info
from sm_tuning.views._trials import About, Rows, axes_of, plural, read

_NO_LINEAGE = "No trial continues another one; those of the strategies Population and Promotion do."

#: Of arrows: on a dark page, the light edge shows them.
_DARK = "#1f2328"

#: More bars than this get no labels, which would be too small to read; more rows than this get no names.
_MOST_LABELS, _MOST_NAMES = 150, 60


class LineageInfo(NamedTuple):
    """The trials of a study in a row for each member of the population, or for each configuration.

    Attributes:
        title: of the plot.
        subtitle: the numbers of trials, and of members that copied others.
        note: why the plot is empty; empty if it is not.
        rows: all trials.
        start: where each trial began, as an epoch or in ``unit`` of time; NaN if it has no bar.
        length: how far it trained.
        line: the row of each trial, from 0; -1 if it has no bar.
        lines: the names of the rows.
        kind: member or configuration.
        ranks: from 0 for the best to 1 for the worst of those that ended at the same epoch; NaN without an objective.
        copies: trials that copied a member of another row: (parent, trial), as rows of the frame.
        ancestors: the best trial and those that it continues, as rows of the frame.
        changes: what each trial changed of its parent's hyperparameters, in words.
        axis: the title of the horizontal axis.
        objective: the objective's name.
    """

    title: str
    subtitle: str
    note: str
    rows: Rows
    start: Array
    length: Array
    line: tuple[int, ...]
    lines: tuple[str, ...]
    kind: str
    ranks: Array
    copies: tuple[tuple[int, int], ...]
    ancestors: tuple[int, ...]
    changes: tuple[str, ...]
    axis: str
    objective: str

    def sketch(self) -> Sketch:
        """Draw a bar for each trial, an arrow for each copy, and a green frame for what led to the best trial."""
        if self.note:
            return Sketch.empty(self.title, self.note)
        height = min(900, 170 + 40 * len(self.lines))
        figure = Sketch(self.title, subtitle=self.subtitle, height=height, least=520)
        texts = hover_texts(self.rows, self.objective, self.changes)
        drawn = [row for row, line in enumerate(self.line) if line >= 0]
        for look, chosen in self._looks(drawn).items():
            figure.add_trace(self._bars(look, chosen, texts))
        figure.add_trace(
            trace(
                "bar",
                base=[float(self.start[row]) for row in self.ancestors],
                x=[float(self.length[row]) for row in self.ancestors],
                y=[self.line[row] for row in self.ancestors],
                orientation="h",
                width=0.8,
                name="led to the best",
                marker={"color": "rgba(0,0,0,0)", "line": {"color": GREEN, "width": 3}},
                hoverinfo="skip",
            )
        )
        # A light edge below each arrow: it crosses bars of all colours, on a light or a dark page.
        for colour, width in (("#ffffff", 4.0), (_DARK, 1.6)) if self.copies else ():
            figure.add_trace(self._arrows(float(np.nanmin(self.length[drawn])), colour, width))
        if self.copies:  # the legend needs a colour that is seen on both pages
            key = trace("scatter", x=[None], y=[None], mode="lines", line={"color": NEUTRAL, "width": 2})
            figure.add_trace({**key, "name": "copied", "legendgroup": "copied"})
        figure.update_layout(barmode="overlay")
        figure.update_xaxes(title=escape(self.axis), zeroline=False)
        named = len(self.lines) <= _MOST_NAMES
        ticks: dict[str, Any] = {
            "tickvals": list(range(len(self.lines))),
            "ticktext": [escape(name) for name in self.lines],
        }
        figure.update_yaxes(title=self.kind, autorange="reversed", showgrid=False, **(ticks if named else {}))
        return figure

    def _looks(self, drawn: Sequence[int]) -> dict[tuple[str, str], list[int]]:
        """Return the trials of each colour and name in the legend."""
        looks: dict[tuple[str, str], list[int]] = {}
        for row in drawn:
            rank, state = self.ranks[row], self.rows.states[row]
            if np.isfinite(rank):
                colour = RANKED[round(rank * (len(RANKED) - 1))]
                looks.setdefault(
                    (colour, {RANKED[0]: "among the best", RANKED[-1]: "among the worst"}.get(colour, "")), []
                )
                looks[next(look for look in looks if look[0] == colour)].append(row)
            else:
                looks.setdefault((STATE_COLOURS[state], state), []).append(row)
        order = [*RANKED, *STATE_COLOURS.values()]
        return dict(sorted(looks.items(), key=lambda item: order.index(item[0][0])))

    def _bars(self, look: tuple[str, str], chosen: list[int], texts: list[str]) -> Trace:
        colour, name = look
        is_ranked = name in ("", "among the best", "among the worst")
        labels = [escape(self.rows.labels[row]) for row in chosen] if len(self.line) <= _MOST_LABELS else None
        return trace(
            "bar",
            base=[float(self.start[row]) for row in chosen],
            x=[float(self.length[row]) for row in chosen],
            y=[self.line[row] for row in chosen],
            customdata=chosen,
            text=labels,
            textposition="inside",
            insidetextanchor="middle",
            constraintext="inside",
            hovertext=[texts[row] for row in chosen],
            hovertemplate="%{hovertext}<extra></extra>",
            orientation="h",
            name=name or "between",
            showlegend=bool(name),
            # A trial that failed lies over the one that repeated it.
            width=0.8 if is_ranked or name == "running" else 0.3,
            marker={
                "color": colour,
                "pattern": {"shape": "" if is_ranked or name == "running" else "/"},
                "line": {"color": "rgba(255,255,255,0.6)", "width": 1},
            },
            meta={"link": "points"},
        )

    def _arrows(self, shortest: float, colour: str, width: float) -> Trace:
        """Return the arrows from the end of each copied trial to the start of the trial that continues it."""
        slant = 0.12 * shortest  # of several arrows at one epoch, all are seen
        x, y, _ = joined(
            (
                trial,
                [float(self.start[parent] + self.length[parent]) - slant, float(self.start[trial]) + slant],
                [float(self.line[parent]), float(self.line[trial])],
            )
            for parent, trial in self.copies
        )
        return trace(
            "scatter",
            x=x,
            y=y,
            mode="lines+markers",
            name="copied",
            hoverinfo="skip",
            legendgroup="copied",
            showlegend=False,
            line={"color": colour, "width": width},
            marker={
                "color": colour,
                "symbol": "arrow",
                "angleref": "previous",
                "size": [0, 9 + 1.5 * width, 0] * len(self.copies),
                "line": {"width": 0},
            },
        )


def lineage_info(trials: pd.DataFrame, known: About | None = None, *, by: By = "step") -> LineageInfo:
    """Return what each trial trained, in a row for each member of the population or configuration.

    Args:
        trials: the frame of trials of a study.
        known: the facts of the study, from ``about``.
        by: the horizontal axis: ``step`` for epochs, ``time`` for when trials ran.

    Raises:
        SpecError: ``by`` is invalid.
    """
    if by not in ("step", "time"):
        raise SpecError(f"a lineage is drawn by 'step' or by 'time', not by {by!r}")
    rows, known = read(trials, known)
    if not known.resource or "Member" not in trials:
        return _empty(rows, known)
    found, _ = _read(trials, rows, known)
    start, until = (numbers(found[name]) for name in ("ResourceFrom", "ResourceTo"))
    length, axis = until - start, known.resource
    ranks = _ranks(rows, until, known.sign)
    if by == "time":
        times = timeline_info(trials, known)
        unit, seconds = unit_of(float(np.nanmax([*(times.start + times.seconds), 0.0])))
        start, length = times.start / seconds, times.seconds / seconds
        axis = f"{unit} since {times.origin:%Y-%m-%d %H:%M:%S} UTC" if times.origin is not None else unit
    kind = "configuration" if "promoted" in set(found["Why"].dropna()) else "member"
    several = len(set(rows.jobs)) > 1
    keys = [
        None if pd.isna(member) or not np.isfinite(start[row]) else (rows.jobs[row], int(member))
        for row, member in enumerate(found["Member"])
    ]
    lines = sorted({key for key in keys if key is not None}, key=lambda key: (rows.jobs.index(key[0]), key[1]))
    place = {name: row for row, name in enumerate(rows.names)}
    copies = tuple(
        (place[str(parent)], row)
        for row, (parent, why) in enumerate(zip(found["Parent"], found["Why"], strict=True))
        if why == "exploited" and str(parent) in place and keys[row] and keys[place[str(parent)]]
    )
    parts = [plural(len(rows.names), "trial"), plural(len(lines), kind), f"{len(copies)} copied another"]
    return LineageInfo(
        title=f"Lineage: which trial continued which, for {known.goal}",
        subtitle=", ".join(parts[: 3 if kind == "member" else 2]),
        note="" if lines else rows.note or "No trial has started.",
        rows=rows,
        start=start,
        length=length,
        line=tuple(-1 if key is None else lines.index(key) for key in keys),
        lines=tuple(f"{job} {number}" if several else str(number) for job, number in lines),
        kind=kind,
        ranks=ranks,
        copies=copies,
        ancestors=tuple(row for row in _ancestors(found, rows) if keys[row]),
        changes=_changes(found, rows, known),
        axis=axis,
        objective=known.objective,
    )


class ScheduleInfo(NamedTuple):
    """The hyperparameters of the members of a population over the epochs.

    Attributes:
        title: of the plot.
        subtitle: the number of members.
        note: why the plot is empty; empty if it is not.
        rows: all trials.
        axes: of the hyperparameters.
        positions: position of each trial on each axis; NaN without a value. Shape: axes x trials.
        start: epoch at which each trial began.
        until: epoch at which it ended.
        members: for each member its trials in order, as rows of the frame.
        ancestors: the best trial and those that it continues, the first one first.
        resource: what the epochs are called.
    """

    title: str
    subtitle: str
    note: str
    rows: Rows
    axes: tuple[Axis, ...]
    positions: Array
    start: Array
    until: Array
    members: tuple[tuple[int, ...], ...]
    ancestors: tuple[int, ...]
    resource: str

    def sketch(self) -> Sketch:
        """Draw a small plot for each hyperparameter with a line of steps for each member, the best one's in green."""
        if self.note:
            return Sketch.empty(self.title, self.note)
        grid = Grid(len(self.axes), 3, (0.3, 0.36))
        figure = Sketch(
            self.title, subtitle=self.subtitle, height=150 + 230 * grid.rows, cells=len(self.axes), grid=grid
        )
        titles = [escape(text) for text in self.rows.titles]
        for cell, axis in enumerate(self.axes):
            values = axis_values(axis, self.positions[cell])
            for name, lines, look in (
                ("members", self.members, {"color": BLUE, "width": 1.3}),
                ("led to the best", (self.ancestors,), {"color": GREEN, "width": 3}),
            ):
                x, y, rows = joined(part for line in lines for part in self._parts(line, values))
                shown = trace(
                    "scatter",
                    x=x,
                    y=y,
                    customdata=rows,
                    text=[titles[row] for row in rows],
                    hovertemplate="%{text}: %{y} at %{x}<extra></extra>",
                    mode="lines",
                    name=name,
                    legendgroup=name,
                    showlegend=cell == 0,
                    line=look,
                    opacity=0.6 if name == "members" else 1.0,
                    meta={"link": "lines"},
                )
                figure.add_trace(shown, cell)
            figure.update_xaxes(cell, title=escape(self.resource), rangemode="tozero")
            figure.update_yaxes(cell, **axis_layout(axis))
        return figure

    def _parts(self, line: Sequence[int], values: Array) -> list[tuple[int, list[float], list[float]]]:
        """Return a step for each trial of a line; the way to the next one is drawn where that begins at its end."""
        parts = []
        for position, row in enumerate(line):
            if not np.isfinite([self.start[row], self.until[row], values[row]]).all():
                continue
            x, y = [float(self.start[row]), float(self.until[row])], [float(values[row])] * 2
            following = line[position + 1] if position + 1 < len(line) else None
            if following is not None and self.start[following] == x[1] and np.isfinite(values[following]):
                x, y = [*x, x[1]], [*y, float(values[following])]
            parts.append((row, x, y))
        return parts


def schedule_info(
    trials: pd.DataFrame, known: About | None = None, *, hyperparameters: Sequence[str] | None = None
) -> ScheduleInfo:
    """Return the hyperparameters of each member over the epochs.

    Args:
        trials: the frame of trials of a study.
        known: the facts of the study, from ``about``.
        hyperparameters: only these columns.

    Raises:
        SpecError: a hyperparameter is not in the frame.
    """
    rows, known = read(trials, known)
    tuned = [name for name in rows.hyperparameters if name.removeprefix("hyperparameter:") != known.resource]
    missing = [name for name in hyperparameters or () if name not in tuned]
    if missing:
        raise SpecError(f"no hyperparameter {', '.join(map(repr, missing))}; tuned are: {', '.join(tuned) or 'none'}")
    chosen = tuned if hyperparameters is None else list(hyperparameters)
    is_continued = bool(known.resource) and "Member" in trials
    found, order = _read(trials, rows, known) if is_continued else (pd.DataFrame(), [])
    members: dict[tuple[str, int], list[int]] = {}
    for row in order:
        if not pd.isna(found["Member"].iloc[row]) and rows.states[row] != "failed":
            members.setdefault((rows.jobs[row], int(found["Member"].iloc[row])), []).append(row)
    axes = tuple(axis for axis in axes_of(trials, rows, known) if axis.name in chosen)
    constant = "No trial changed a hyperparameter of the one that it continued."
    nothing = np.full(len(rows.names), np.nan)
    return ScheduleInfo(
        title=f"Schedule: the hyperparameters of each member by {known.resource or 'epoch'}, for {known.goal}",
        subtitle=f"{plural(len(members), 'member')}; green: the trials that led to the best",
        note=_NO_LINEAGE if not is_continued else rows.note if not rows.names else "" if _differs(found) else constant,
        rows=rows,
        axes=axes,
        positions=np.array([axis.positions(trials[axis.name]) for axis in axes]).reshape(len(axes), len(rows.names)),
        start=numbers(found["ResourceFrom"]) if is_continued else nothing,
        until=numbers(found["ResourceTo"]) if is_continued else nothing,
        members=tuple(tuple(member) for member in members.values()),
        ancestors=_ancestors(found, rows) if is_continued else (),
        resource=known.resource,
    )


def _empty(rows: Rows, known: About) -> LineageInfo:
    nothing = np.full(len(rows.names), np.nan)
    title = f"Lineage: which trial continued which, for {known.goal}"
    none: tuple[Any, ...] = ()
    return LineageInfo(
        title, "", _NO_LINEAGE, rows, nothing, nothing, none, none, "", nothing, none, none, none, "", known.objective
    )


def _read(trials: pd.DataFrame, rows: Rows, known: About) -> tuple[pd.DataFrame, list[int]]:
    """Return the lineage in the order of the frame of trials, and the rows of that frame by number."""
    found = lineage(trials, known.resource)
    place = {name: row for row, name in enumerate(rows.names)}
    order = [place[name] for name in found["TrainingJobName"]]
    return found.iloc[np.argsort(order)].reset_index(drop=True), order


def _ancestors(found: pd.DataFrame, rows: Rows) -> tuple[int, ...]:
    """Return the best trial of each job and those that it continues, the first one first."""
    place = {name: row for row, name in enumerate(rows.names)}
    parents = [place.get(str(name)) for name in found["Parent"]]
    chosen: list[int] = []
    for best in (row for row, is_best in enumerate(rows.is_best) if is_best):
        row: int | None = best
        line: list[int] = []
        while row is not None and row not in line:
            line.append(row)
            row = parents[row]
        chosen += line[::-1]
    return tuple(chosen)


def _ranks(rows: Rows, until: Array, sign: float) -> Array:
    """Return the rank of each trial among those that ended at the same epoch, from 0 to 1; 0.5 for a single one."""
    costs = pd.Series(rows.values * sign)
    groups = costs.groupby(until)
    places, sizes = groups.rank(method="average") - 1, groups.transform("count") - 1
    return np.asarray((places / sizes.where(sizes > 0)).where(sizes > 0, 0.5).where(costs.notna()), dtype=np.float64)


def _tuned(found: pd.DataFrame) -> list[str]:
    return [str(name) for name in found.columns if f"before:{name}" in found]


def _differs(found: pd.DataFrame) -> bool:
    """Return whether a trial that continues another one has other hyperparameters."""
    own = found[found["Parent"].notna()]
    return any((own[name].astype("string") != own[f"before:{name}"].astype("string")).any() for name in _tuned(found))


def _changes(found: pd.DataFrame, rows: Rows, known: About) -> tuple[str, ...]:
    """Return what each trial trained and changed, escaped."""
    labels = dict(zip(rows.names, rows.labels, strict=True))

    def shown(value: Any) -> str:
        return "none" if pd.isna(value) else label(float(value)) if isinstance(value, float) else str(value)

    texts = []
    for entry in found.to_dict("records"):
        text = f"{known.resource} {entry['ResourceFrom']} to {entry['ResourceTo']}, {entry['Why']}"
        if not pd.isna(entry["Parent"]):
            text += f" from {labels.get(entry['Parent'], entry['Parent'])}"
            pairs = [(name, entry[f"before:{name}"], entry[name]) for name in _tuned(found)]
            text += "".join(
                f"\n{name}: {shown(before)} → {shown(after)}"
                for name, before, after in pairs
                if shown(before) != shown(after)
            )
        texts.append(escape(text))
    return tuple(texts)
