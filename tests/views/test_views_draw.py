"""Every plot draws every kind of job, or says why there is nothing to see; plotly checks each setting."""

from __future__ import annotations

import base64
import gzip
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from views_frames import cost, curves, describe, empty, many, mixed, summary, trials, utilization

from sm_tuning import SpecError, results, views
from sm_tuning.views import about
from sm_tuning.views._cell import page as page_of
from sm_tuning.views._curves import curves_info, train_validation_info
from sm_tuning.views._figure import STATE_COLOURS, template
from sm_tuning.views._machines import utilization_info

KNOWN = about(describe())
HOSTILE = "<script>alert(1)</script></script><b>&amp;"

PLOTS: dict[str, Callable[[pd.DataFrame, Any], Any]] = {
    "history": views.history,
    "edf": views.edf,
    "parallel": views.parallel_coordinates,
    "slice": views.slices,
    "contour": views.contour,
    "importance": views.importance,
    "correlation": views.correlation,
    "curves": lambda table, known: views.curves(table, curves(table), known),
    "curves by time": lambda table, known: views.curves(table, curves(table), known, by="time"),
    "train_validation": lambda table, known: views.train_validation(table, curves(table), known),
    "timeline": views.timeline,
    "utilization": lambda table, known: views.utilization(table, utilization(table), known),
    "cost": lambda table, known: views.cost(table, cost(table), known),
}


def jobs() -> dict[str, tuple[pd.DataFrame, Any]]:
    failed = [summary(n, TrainingJobStatus="Failed", value=None, FailureReason="no") for n in (1, 2)]
    running = [
        summary(1, TrainingJobStatus="InProgress", value=None, TrainingStartTime=None, TrainingEndTime=None),
    ]
    constant = [summary(n, tuned={"lr": "0.01", "optimizer": "sgd"}, value=1.0) for n in range(1, 6)]
    astray = [summary(n, value=value) for n, value in enumerate((math.nan, math.inf, -math.inf, 1.0), 1)]
    hostile_range = {"CategoricalParameterRanges": [{"Name": HOSTILE, "Values": [HOSTILE, "plain"]}]}
    hostile = describe(ranges=hostile_range)
    hostile_trials = [summary(n, tuned={HOSTILE: HOSTILE if n % 2 else "plain"}) for n in range(1, 6)]
    wide, wide_description = many(12, hyperparameters=40)
    return {
        "every kind of trial": (trials(mixed()), KNOWN),
        "a bare frame": (trials(mixed()), None),
        "one trial": (trials([summary(1)]), KNOWN),
        "no trial": (trials([]), KNOWN),
        "none finished": (trials(running), KNOWN),
        "all failed": (trials(failed), KNOWN),
        "constant columns": (trials(constant), KNOWN),
        "nan and inf": (trials(astray), KNOWN),
        "40 hyperparameters": (wide, about(wide_description)),
        "hostile names": (trials(hostile_trials, hostile), about(hostile)),
    }


JOBS = jobs()


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize("job", JOBS)
def test_every_job_is_drawn_or_the_figure_says_why_not(job: str, plot: str) -> None:
    figure = PLOTS[plot](*JOBS[job])

    says = [note.text for note in figure.layout.annotations or () if note.xref == "paper"]
    assert len(figure.data) or (says and says[0].endswith("."))
    plain = json.loads(figure.to_json())
    assert "<script" not in json.dumps(plain)
    assert figure.layout.title.text


def test_a_thousand_trials_are_drawn() -> None:
    table, description = many(1000, hyperparameters=6)
    for plot in ("history", "edf", "parallel", "slice", "contour", "importance", "correlation", "timeline", "cost"):
        assert PLOTS[plot](table, about(description)).data


def test_titles_say_the_direction_and_axes_their_units() -> None:
    table = trials(mixed())
    for name, plot in PLOTS.items():
        if name != "utilization":
            assert "lower is better" in plot(table, KNOWN).layout.title.text, name
    assert views.timeline(table, KNOWN).layout.xaxis.title.text.startswith("minutes since 2026-03-01")
    assert views.curves(table, curves(table), KNOWN, by="time").layout.xaxis.title.text.endswith("(seconds)")
    assert "USD" in views.cost(table, cost(table), KNOWN).layout.xaxis.title.text
    assert views.utilization(table, utilization(table)).layout.yaxis.ticksuffix == " %"


def test_every_point_knows_its_trial() -> None:
    table = trials(mixed())
    for name in ("history", "slice", "train_validation", "cost"):
        for trace in PLOTS[name](table, KNOWN).data:
            if trace.meta and trace.meta["link"] == "points":
                assert len(trace.customdata) == len(trace.x)
                assert all(
                    f"#{int(table['TrainingJobName'][row].split('-')[1])} {table['TrainingJobName'][row]}<" in text
                    for row, text in zip(trace.customdata, trace.text, strict=True)
                )


def test_the_dark_theme_changes_the_template_and_an_unknown_one_is_refused() -> None:
    table = trials(mixed())

    assert views.history(table, KNOWN, theme="dark").layout.template.layout.paper_bgcolor == "#161b22"
    with pytest.raises(SpecError, match="no theme 'sepia'"):
        views.history(table, KNOWN, theme="sepia")  # type: ignore[arg-type]


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_stand_out_from_the_background(theme: Any) -> None:
    layout = template(theme)["layout"]

    assert contrast(layout["font"]["color"], layout["paper_bgcolor"]) >= 7
    for state, colour in STATE_COLOURS.items():
        assert contrast(colour, layout["paper_bgcolor"]) >= 3, state


def test_a_figure_is_saved_as_html_that_needs_no_network(tmp_path: Path) -> None:
    path = views.save(views.history(trials(mixed()), KNOWN), tmp_path / "history.html")

    page = path.read_text(encoding="utf-8")
    assert "plotly.js v" in page
    assert "<script src" not in page


def test_a_name_that_says_no_format_and_a_folder_that_is_not_there_are_refused(tmp_path: Path) -> None:
    figure = views.history(trials(mixed()), KNOWN)
    with pytest.raises(SpecError, match=r"saved as \.html, \.png, \.svg or \.pdf"):
        views.save(figure, tmp_path / "history.jpg")
    with pytest.raises(SpecError, match="cannot write"):
        views.save(figure, tmp_path / "nowhere" / "history.html")


@pytest.mark.usefixtures("processes")
@pytest.mark.skipif(not any(map(shutil.which, ("chromium", "google-chrome"))), reason="kaleido needs a Chrome")
@pytest.mark.filterwarnings("default")
def test_a_figure_is_saved_as_an_image(tmp_path: Path) -> None:
    pytest.importorskip("kaleido")
    figure = views.parallel_coordinates(trials(mixed()), KNOWN)

    png = views.save(figure, tmp_path / "parallel.png").read_bytes()
    svg = views.save(figure, tmp_path / "parallel.svg").read_text(encoding="utf-8")

    assert png.startswith(b"\x89PNG")
    assert "validation:loss (lower is better)" in svg


def test_the_kinds_of_plots_are_those_of_the_functions() -> None:
    of_studies = {"front", "hypervolume", "lineage", "schedule"}  # with tests of their own
    assert set(views.KINDS) == set(PLOTS) - {"curves by time"} | of_studies


def test_empty_second_frames_are_said() -> None:
    table = trials(mixed())

    assert "No utilization" in utilization_info(table, empty(results.UTILIZATION)).note
    assert "No trial has emitted" in curves_info(table, empty(results.CURVES), KNOWN).note
    about_both = train_validation_info(table, empty(results.CURVES), KNOWN)
    assert "both on training and on held-out" in about_both.note
    drawn = about_both.sketch().layout["annotations"][0]["text"]
    assert drawn.replace("<br>", " ") == about_both.note
    assert max(map(len, drawn.split("<br>"))) < 50, "a phone shows whole lines"


def test_the_page_of_a_figure_has_plotly_and_escapes_texts() -> None:
    page = page_of({"data": [{"text": "</script><b>"}], "layout": {}})

    (packed,) = re.findall(r'atob\("([\w+/=]+)"\)', page)
    assert b"window.Plotly = Plotly" in gzip.decompress(base64.b64decode(packed))
    assert page.count("</script>") == 1
    assert "\\u003c/script>" in page


@pytest.mark.parametrize("plot", ["history", "curves", "parallel", "slice", "timeline", "utilization"])
def test_the_pointer_shows_the_full_name_of_a_trial(plot: str) -> None:
    table, description = many(30)

    drawn = PLOTS[plot](table, about(description)).to_json()

    assert all(json.dumps(f" {name}")[1:-1] in drawn for name in table["TrainingJobName"].head(3))
