"""The report: everything about tuning jobs in one HTML file that needs no network."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import combinations, groupby
from pathlib import Path
from typing import Any, NamedTuple

from sm_tuning._errors import MissingExtraError, SpecError
from sm_tuning._files import write_output
from sm_tuning._prices import Prices
from sm_tuning.aws import Aws
from sm_tuning.views._content import Gathered, cell, gather
from sm_tuning.views._curves import (
    By,
    curves_info,
    metrics_of,
    train_validation_info,
)
from sm_tuning.views._figure import Sketch, template
from sm_tuning.views._front import front_info, hypervolume_info
from sm_tuning.views._history import edf_info, history_info
from sm_tuning.views._importance import correlation_info, importance_info
from sm_tuning.views._lineage import lineage_info, schedule_info
from sm_tuning.views._machines import (
    cost_info,
    timeline_info,
    utilization_info,
)
from sm_tuning.views._search import (
    contour_info,
    pairs,
    parallel_info,
    ranking,
    slice_info,
)
from sm_tuning.views._trials import rows_of

#: With more hyperparameters, only those most correlated with the objective are sliced.
_MOST_SLICES = 12

#: Further metrics have no curves in the report, so that the file stays small.
_MOST_METRICS = 12

#: Shorter lists are not compressed.
_SHORT_LIST = 8

_NUMERIC = frozenset({int, float, type(None)})
_SIMPLE = frozenset({int, float, bool, str, type(None)})

#: Characters that would end a script element or start a comment, or that are line breaks in JavaScript but not in JSON.
_HARMFUL = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


class Option(NamedTuple):
    """One figure of a panel, and its label in the panel's menu."""

    label: str
    figure: Sketch


class Panel(NamedTuple):
    """A plot of the page, which shows one of its options; two panels that are not wide stand side by side."""

    options: list[Option]
    wide: bool = False


class Section(NamedTuple):
    """Panels under a heading."""

    id: str
    title: str
    panels: list[Panel]


def report(aws: Aws, names: Sequence[str], path: str | os.PathLike[str], *, prices: Prices = None) -> Path:
    """Write the report of one or several tuning jobs; the jobs that they were warm-started from are included.

    Args:
        aws: the connection.
        names: the tuning jobs.
        path: the HTML file.
        prices: as for ``results.cost``.

    Raises:
        SpecError: the file cannot be written, or some of the jobs maximize and some minimize.
        JobNotFoundError: a tuning job does not exist.
        MissingExtraError: jinja2 is not installed.
    """
    page = checked_page(path)
    write_output(page, render(gather(aws, names, prices=prices)))
    return page


def checked_page(path: str | os.PathLike[str]) -> Path:
    """Return the path of a page, if it can be made there: reading takes minutes, so that this is checked before.

    Raises:
        SpecError: its folder does not exist.
        MissingExtraError: jinja2 is not installed.
    """
    page = Path(path)
    if not page.absolute().parent.is_dir():
        raise SpecError(f"cannot write {str(page)!r}: there is no folder {str(page.parent)!r}")
    _environment()
    return page


def render(found: Gathered) -> str:
    """Return the report as an HTML page. Makes no API call."""
    return rendered(
        "report.html.j2",
        sections(found),
        found.trial_table(),
        title=", ".join(found.names),
        headlines=[found.headline(name) for name in found.names],
        doubts=found.doubts,
        notes=[note for note in found.notes if note not in found.doubts],
        advice=_advice(found),
        failures=found.failures(),
        again=[
            {
                "name": name,
                "facts": found.reproducibility(name),
                "spec": found.spec_text(name),
                "description": found.description_text(name),
            }
            for name in found.names
        ],
    )


def rendered(name: str, shown: list[Section], table: Mapping[str, Any], *, noun: str = "trial", **values: Any) -> str:
    """Return a page of sections and one table, which are linked, without anything to fetch.

    Args:
        name: of the template.
        shown: the sections; the first one is the overview.
        table: columns and rows, as the page's script takes them.
        noun: what a row of the table is.
        **values: for the template.
    """
    pool = Pool()
    panels = [panel for section in shown for panel in section.panels]

    def drawn(chosen: Sequence[Panel]) -> dict[str, Any]:
        texts, lists = len(pool.texts), len(pool.lists)
        figures = [[_figure(option.figure, pool) for option in panel.options] for panel in chosen]
        return {"panels": figures, "pool": pool.texts[texts:], "lists": pool.lists[lists:]}

    templates = {theme: template(theme) for theme in ("light", "dark")}
    data = {"table": table, "noun": noun, "templates": templates, **drawn(panels[:1])}
    rest = drawn(panels[1:])  # the page's script reads it when the first plot has been drawn
    plotly, script = _asset("plotly-cartesian.min.js"), _asset("report.js")
    # Our own files are markup; everything that comes from a job is escaped by the template.
    safe = importlib.import_module("markupsafe").Markup
    page = _environment().get_template(name)
    return str(
        page.render(
            policy=_policy(plotly, script),
            style=safe(_asset("report.css")),
            plotly=safe(plotly),
            script=safe(script),
            data=safe(to_script(data)),
            rest=safe(to_script(rest)),
            sections=shown,
            **values,
        )
    )


def _figure(figure: Sketch, pool: Pool) -> dict[str, Any]:
    """Return a figure as the page's script takes it: the title is text of the page, which breaks into lines."""
    layout = {key: value for key, value in figure.layout.items() if key != "title"}
    texts = {"title": figure.title, "subtitle": figure.subtitle}
    return {**texts, **pool.compact({"data": figure.data, "layout": layout})}


def sections(found: Gathered) -> list[Section]:
    """Return every figure of the report."""
    trials, curves, known = found.trials, found.curves, found.known
    histories = [
        Option(
            "one history" if found.chain else "history",
            history_info(trials, known, chain=found.chain).sketch(),
        )
    ]
    if found.chain:
        histories.append(Option("side by side", history_info(trials, known).sketch()))
    metrics = [
        Option(f"{metric} by {by}", curves_info(trials, curves, known, metric=metric, by=by).sketch())
        for metric in metrics_of(curves, known)[:_MOST_METRICS]
        for by in ("step", "time")
    ] or [Option("curves", curves_info(trials, curves, known).sketch())]
    last_values = train_validation_info(trials, curves, known).sketch()
    utilization = utilization_info(trials, found.utilization, known).sketch()
    objectives = list(known.directions)
    fronts = [
        Option(f"{x} and {y}", front_info(trials, known, x=x, y=y).sketch()) for x, y in combinations(objectives, 2)
    ]
    growth = [Option("hypervolume", hypervolume_info(trials, known).sketch())]
    return [
        Section("overview", "Overview", [Panel(histories, wide=True)]),
        *([Section("front", "Objectives", [Panel(fronts), Panel(growth)])] if len(objectives) > 1 else []),
        *([Section("lineage", "Lineage", _lineage_panels(found))] if "Member" in trials else []),
        Section("search", "Search space", _search_panels(found)),
        Section("training", "Training", [Panel(metrics), Panel([Option("train and validation", last_values)])]),
        Section(
            "machines",
            "Time and cost",
            [
                Panel([Option("timeline", timeline_info(trials, known).sketch())], wide=True),
                Panel([Option("utilization", utilization)]),
                Panel([Option("cost", cost_info(trials, found.cost, known).sketch())]),
            ],
        ),
    ]


def _lineage_panels(found: Gathered) -> list[Panel]:
    """Return which trial continued which, and how hyperparameters changed on the way, if they did."""
    choices: dict[By, str] = {"step": f"by {found.known.resource}", "time": "by time"}
    lineages = [Option(text, lineage_info(found.trials, found.known, by=by).sketch()) for by, text in choices.items()]
    schedule = schedule_info(found.trials, found.known)
    changed = [Panel([Option("schedule", schedule.sketch())], wide=True)] if not schedule.note else []
    return [Panel(lineages, wide=True), *changed]


def _search_panels(found: Gathered) -> list[Panel]:
    """Return the figures of the search space."""
    trials, known = found.trials, found.known
    tuned = rows_of(trials).hyperparameters
    many = len(tuned) > _MOST_SLICES
    chosen = ranking(trials, known)[:_MOST_SLICES] if many else None
    slices = slice_info(trials, known, hyperparameters=chosen).sketch()
    # Importance is measured within one job, so each job has its own bars.
    important = []
    for name in found.names:
        own = trials[trials["TuningJobName"] == name]
        # Columns of other jobs would be bars without a value.
        foreign = [column for column in tuned if own[column].isna().all() and trials[column].notna().any()]
        info = importance_info(own.drop(columns=foreign), known, importance=found.importance.get(name))
        important.append(Option(name, info.sketch()))
    contours = [contour_info(trials, known, x=x, y=y) for x, y in pairs(trials, known)]
    surfaces = [
        Option(f"{info.axes[0].name} and {info.axes[1].name}", info.sketch()) for info in contours if not info.note
    ]
    correlations = correlation_info(trials, known)
    # Two and two, of about the same height.
    many_names = len(correlations.names) > _MOST_SLICES or not surfaces
    halves = [
        Panel(important),
        Panel([Option("distribution", edf_info(trials, known).sketch())]),
        *([Panel(surfaces, wide=many_names)] if surfaces else []),
        Panel([Option("correlation", correlations.sketch())], wide=many_names),
    ]
    return [
        Panel([Option("parallel coordinates", parallel_info(trials, known).sketch())], wide=True),
        Panel([Option(f"slices of {_MOST_SLICES} of {len(tuned)}" if many else "slices", slices)], wide=True),
        *halves,
    ]


def _advice(found: Gathered) -> list[dict[str, str]]:
    """Return the advice of each job, with the job's name if there are several."""
    return [
        {
            **{column.lower(): cell(row[column]) for column in ("Severity", "Message", "Evidence", "Change")},
            "job": name if len(found.names) > 1 else "",
        }
        for name in found.names
        for row in found.advice[name].to_dict("records")
    ]


def _asset(name: str) -> str:
    return resources.files("sm_tuning.views").joinpath("assets", name).read_text(encoding="utf-8")


def _policy(*scripts: str) -> str:
    """Return the Content-Security-Policy: only these scripts run, and nothing is fetched."""
    # A hash for each script, instead of unsafe-inline: a script in a job's text would not run.
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"


def _environment() -> Any:
    """Return the environment of the page's template.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        jinja2 = importlib.import_module("jinja2")
    except ImportError as error:
        raise MissingExtraError("a report", "report") from error
    loader = jinja2.FunctionLoader(_asset)
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


class Pool:
    """Stores each repeated text and list of numbers once, so that the page stays small.

    Attributes:
        texts: the texts, to which the compacted data refers by position.
        lists: the lists of numbers, in the same way.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.lists: list[Any] = []
        self._positions: dict[str, int] = {}
        self._known: dict[tuple[Any, ...], int] = {}

    def _position(self, text: str) -> int:
        if text not in self._positions:
            self._positions[text] = len(self.texts)
            self.texts.append(text)
        return self._positions[text]

    def compact(self, value: Any) -> Any:
        """Shorten the long lists of plain data; the page's script restores them.

        A list of texts becomes ``{"pool": positions}``. A list of integers, such as these positions, becomes
        ``{"runs": [value, count, value, count, …]}`` if that is shorter. A list of numbers becomes
        ``{"list": position}``: two plots of the same curves, by step and by time, share their values.
        """
        if isinstance(value, dict):
            return {str(key): self.compact(item) for key, item in value.items()}
        if not isinstance(value, list | tuple):
            return value
        # By exact type: True is an int for isinstance, and a pool of booleans would come back as numbers.
        kinds = set(map(type, value))
        if len(value) >= _SHORT_LIST and kinds == {str}:
            return {"pool": _runs([self._position(item) for item in value])}
        if len(value) >= _SHORT_LIST and kinds <= _NUMERIC:
            key = tuple(value)
            if key not in self._known:
                self._known[key] = len(self.lists)
                self.lists.append(_runs(list(value)) if kinds == {int} else list(value))
            return {"list": self._known[key]}
        return list(value) if kinds <= _SIMPLE else [self.compact(item) for item in value]


def _runs(numbers: list[int]) -> Any:
    """Return equal neighbours as value and count, if that is shorter."""
    runs = [part for value, group in groupby(numbers) for part in (value, len(list(group)))]
    return {"runs": runs} if len(runs) < len(numbers) else numbers


def to_script(value: Any) -> str:
    """Return data as JSON that is safe within a script element; NaN and infinities become null."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escaped in _HARMFUL.items():
        text = text.replace(character, escaped)
    return text


def plain(value: Any) -> Any:
    """Return a value in the types of JSON: NumPy's numbers as Python's, NaN as None, any other object as its text."""
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else None
    if kind in _SIMPLE:
        return value
    if isinstance(value, list | tuple):
        # A long list has numbers or texts only: without a call for each of them.
        if set(map(type, value)) <= _SIMPLE:
            return [None if type(item) is float and not math.isfinite(item) else item for item in value]
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    # NumPy's arrays and numbers have tolist.
    return plain(value.tolist()) if hasattr(value, "tolist") else str(value)
