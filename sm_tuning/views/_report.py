"""The report: everything about tuning jobs in one HTML file that opens without a network."""

from __future__ import annotations

import base64
import hashlib
import importlib
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from sm_tuning._errors import MissingExtraError, SpecError
from sm_tuning.aws import Aws
from sm_tuning.views import _facts as facts
from sm_tuning.views._compact import Pool, to_script
from sm_tuning.views._curves import (
    curves_info,
    metrics_of,
    sketch_curves,
    sketch_train_validation,
    train_validation_info,
)
from sm_tuning.views._gather import Gathered, Prices, gather
from sm_tuning.views._history import edf_info, history_info, sketch_edf, sketch_history
from sm_tuning.views._importance import correlation_info, importance_info, sketch_correlation, sketch_importance
from sm_tuning.views._machines import cost_info, sketch_cost, sketch_utilization, utilization_info
from sm_tuning.views._parallel import parallel_info, sketch_parallel
from sm_tuning.views._rows import rows_of
from sm_tuning.views._sketch import Sketch
from sm_tuning.views._slice import contour_info, pairs, ranking, sketch_contour, sketch_slice, slice_info
from sm_tuning.views._theme import graph_objects, plotly_module, template
from sm_tuning.views._timeline import sketch_timeline, timeline_info

#: More hyperparameters than this are not all sliced, only those that go most with the objective.
MOST_SLICES = 12

#: Metrics beyond these have no curves in the report, so that the file stays small.
MOST_METRICS = 12


class Option(NamedTuple):
    """One figure of a panel, and what it is called in the panel's choice."""

    label: str
    figure: Sketch


class Section(NamedTuple):
    """Panels under a heading; a panel is one place that shows one of its options."""

    id: str
    title: str
    panels: list[list[Option]]


def report(aws: Aws, names: Sequence[str], path: str | os.PathLike[str], *, prices: Prices | None = None) -> Path:
    """Write the report of one tuning job, or of several side by side; jobs that they were started from are included.

    Args:
        aws: the connection.
        names: the tuning jobs.
        path: the HTML file to write.
        prices: as for ``results.cost``.

    Raises:
        SpecError: the file cannot be written, or some of the jobs maximize and some minimize.
        JobNotFoundError: there is no such tuning job.
        MissingExtraError: plotly or jinja2 is not installed.
    """
    path = Path(path)
    if not path.absolute().parent.is_dir():
        raise SpecError(f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}")
    graph_objects()
    _environment()
    page = render(gather(aws, names, prices=prices))
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(page, encoding="utf-8", newline="\n")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SpecError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
    return path


def render(found: Gathered) -> str:
    """The report as a page. Pure: what it shows was gathered before."""
    pool = Pool()
    content = sections(found)
    panels = [panel for section in content for panel in section.panels]
    data = {
        "table": facts.trial_table(found),
        "panels": [[pool.compact(_plain_figure(option.figure)) for option in panel] for panel in panels],
        "pool": pool.texts,
        "templates": {theme: template(theme) for theme in ("light", "dark")},
    }
    plotly, script = _plotly_script(), _asset("report.js")
    markup = _environment().get_template("report.html.j2")
    safe = importlib.import_module("markupsafe").Markup
    page: str = markup.render(
        title=", ".join(found.names),
        policy=_policy(plotly, script),
        style=safe(_asset("report.css")),
        plotly=safe(plotly),
        script=safe(script),
        data=safe(to_script(data)),
        headlines=[facts.headline(found, name) for name in found.names],
        notes=found.notes,
        advice=_advice(found),
        sections=_numbered(content),
        failures=facts.failures(found),
        again=[_again(found, name) for name in found.names],
    )
    return page


def _numbered(content: list[Section]) -> list[dict[str, Any]]:
    """The sections as the page's template has them, panels counted through."""
    numbers = iter(range(sum(len(section.panels) for section in content)))
    return [
        {
            "id": section.id,
            "title": section.title,
            "panels": [
                {"number": next(numbers), "options": [option.label for option in panel]} for panel in section.panels
            ],
        }
        for section in content
    ]


def sections(found: Gathered) -> list[Section]:
    """Every figure of the report."""
    return [
        Section("overview", "Overview", _overview(found)),
        Section("search", "Search space", _search(found)),
        Section("training", "Training", _training(found)),
        Section("machines", "Time and money", _machines(found)),
    ]


def _overview(found: Gathered) -> list[list[Option]]:
    trials, known = found.trials, found.known
    one = Option(
        "one history" if found.chain else "history", sketch_history(history_info(trials, known, chain=found.chain))
    )
    options = [one]
    if found.chain:
        options.append(Option("side by side", sketch_history(history_info(trials, known))))
    return [options, [Option("distribution", sketch_edf(edf_info(trials, known)))]]


def _search(found: Gathered) -> list[list[Option]]:
    trials, known = found.trials, found.known
    order = ranking(trials, known)
    tuned = rows_of(trials).hyperparameters
    several = len(tuned) > MOST_SLICES
    sliced = sketch_slice(slice_info(trials, known, hyperparameters=order[:MOST_SLICES] if several else None))
    label = f"slices of {MOST_SLICES} of {len(tuned)}" if several else "slices"
    important = [
        Option(
            name, sketch_importance(importance_info(_of(trials, name), known, importance=found.importance.get(name)))
        )
        for name in found.names
    ]
    contours = [
        Option(f"{x} and {y}", sketch_contour(contour_info(trials, known, x=x, y=y))) for x, y in pairs(trials, known)
    ]
    return [
        [Option("parallel coordinates", sketch_parallel(parallel_info(trials, known)))],
        [Option(label, sliced)],
        important,
        contours or [Option("contour", sketch_contour(contour_info(trials, known)))],
        [Option("correlation", sketch_correlation(correlation_info(trials, known)))],
    ]


def _of(trials: pd.DataFrame, job: str) -> pd.DataFrame:
    """One job's trials, without the hyperparameters of others."""
    own = trials[trials["TuningJobName"] == job]
    alien = [name for name in rows_of(trials).hyperparameters if own[name].isna().all() and trials[name].notna().any()]
    return own.drop(columns=alien)


def _training(found: Gathered) -> list[list[Option]]:
    trials, curves, known = found.trials, found.curves, found.known
    metrics = metrics_of(curves, known)[:MOST_METRICS]
    options = [
        Option(f"{metric} by {by}", sketch_curves(curves_info(trials, curves, known, metric=metric, by=by)))
        for metric in metrics
        for by in ("step", "time")
    ]
    return [
        options or [Option("curves", sketch_curves(curves_info(trials, curves, known)))],
        [Option("train and validation", sketch_train_validation(train_validation_info(trials, curves, known)))],
    ]


def _machines(found: Gathered) -> list[list[Option]]:
    trials, known = found.trials, found.known
    return [
        [Option("timeline", sketch_timeline(timeline_info(trials, known)))],
        [Option("utilization", sketch_utilization(utilization_info(trials, found.utilization, known)))],
        [Option("cost", sketch_cost(cost_info(trials, found.cost, known)))],
    ]


def _plain_figure(figure: Sketch) -> dict[str, Any]:
    """A figure as plain data; its template is that of the page's theme."""
    return {"data": figure.data, "layout": figure.layout}


def _advice(found: Gathered) -> list[dict[str, str]]:
    several = len(found.names) > 1
    return [
        {
            "severity": facts.cell(row["Severity"]),
            "message": facts.cell(row["Message"]),
            "evidence": facts.cell(row["Evidence"]),
            "change": facts.cell(row["Change"]),
            "job": name if several else "",
        }
        for name in found.names
        for row in found.advice[name].to_dict("records")
    ]


def _again(found: Gathered, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "facts": facts.reproducibility(found, name),
        "spec": facts.spec_text(found, name),
        "description": facts.description_text(found, name),
    }


def _asset(name: str) -> str:
    return resources.files("sm_tuning.views").joinpath("assets", name).read_text(encoding="utf-8")


def _plotly_script() -> str:
    """plotly.js as plotly brings it, with the line breaks that a browser makes of it, by which its hash is taken."""
    script: str = plotly_module("plotly.offline").get_plotlyjs()
    return script.replace("\r\n", "\n").replace("\r", "\n")


def _policy(*scripts: str) -> str:
    """Content-Security-Policy: only these scripts run, and nothing is fetched from anywhere."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"


def _environment() -> Any:
    try:
        jinja2 = importlib.import_module("jinja2")
    except ImportError as error:
        raise MissingExtraError("a report", "report") from error
    loader = jinja2.FunctionLoader(_asset)
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
