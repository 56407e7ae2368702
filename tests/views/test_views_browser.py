"""The report of a real job, opened in a real browser: it runs, stays offline, and its parts are linked."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import COLOURS, MARKS, chromium
from views_example import example
from views_frames import gathered, many
from views_page import CONTRASTS, FONTS, OUTSIDE, OVERLAPS, Page

import sm_tuning as smt
from sm_tuning.views._report import render

IMAGES = Path(__file__).parents[2] / "docs" / "img"

pytestmark = MARKS


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@pytest.fixture(scope="module")
def path(job: smt.TuningJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return job.report(tmp_path_factory.mktemp("report") / "report.html", prices={"ml.m5.large": 0.115})


@pytest.fixture(scope="module")
def example_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the made-up job, which has every plot and a name of usual length."""
    path = tmp_path_factory.mktemp("example") / "report.html"
    path.write_text(render(example()), encoding="utf-8")
    return path


class Shown:
    """What the window shows: a report takes seconds to draw, which is done once for the tests that look at it."""

    def __init__(self, driver: Any) -> None:
        self._page = Page(driver)
        self._now: tuple[Any, ...] = ()

    def look(self, path: Path, width: int = 1400, height: int = 1000, *, changes: bool = False) -> Page:
        """Return a report with all its plots; one that the test changes is not shown to the next test."""
        if (path, width, height) != self._now:
            self._page.open(path, width, height)
            self._page.show_all()
        self._page.run("scrollTo(0, 0)")
        self._now = () if changes else (path, width, height)
        return self._page


@pytest.fixture(scope="module")
def shown(browser: Any) -> Shown:
    return Shown(browser)


@pytest.fixture
def page(shown: Shown, path: Path) -> Iterator[Page]:
    """The report of the job, in which nothing is selected or filtered."""
    page = shown.look(path)
    yield page
    page.run(
        """localStorage.clear();
        document.querySelectorAll('#table thead input').forEach((one) => {
          one.value = '';
          one.dispatchEvent(new Event('input'));
        });
        document.getElementById('clear').click();"""
    )
    page.until("return document.getElementById('selection').hidden")


def test_every_plot_is_drawn_without_an_error_or_a_request(browser: Any, path: Path) -> None:
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(path.as_uri())
    page = Page(browser)

    page.show_all()
    page.run(
        """document.querySelectorAll('select[data-panel]').forEach((one) => {
          one.selectedIndex = one.options.length - 1;
          one.dispatchEvent(new Event('change'));
        });"""
    )

    page.until("return [...document.querySelectorAll('.plot')].every((p) => p.dataset.drawn === 'yes')")
    assert browser.get_log("browser") == []
    assert [url for url in page.requests() if not url.startswith(("data:", "blob:"))] == [path.as_uri()]


@pytest.mark.whole
def test_brushing_the_history_filters_the_table_and_marks_the_other_plots(page: Page) -> None:
    before = page.rows
    slices = page.show("Slices")
    history = page.show("History")

    page.brush(history, (0.03, 0.03, 0.5, 0.97))
    page.until("return !document.getElementById('selection').hidden")

    chosen = set(page.rows)
    assert 0 < len(chosen) < len(before) == 12
    assert chosen == page.marked(history)
    assert page.marked(slices) == chosen & page.drawn(slices)
    assert (
        page.run("return document.getElementById('selection-text').textContent")
        == f"{len(chosen)} of 12 trials selected"
    )
    page.run("document.getElementById('clear').click()")
    page.until("return document.getElementById('selection').hidden")
    assert page.rows == before


@pytest.mark.whole
def test_brushing_lines_selects_those_that_run_through_the_box(page: Page) -> None:
    for title, box in (("Curves", (0.02, 0.02, 0.3, 0.5)), ("Parallel", (0.02, 0.02, 0.2, 0.4))):
        plot = page.show(title)
        page.brush(plot, box)
        page.until("return !document.getElementById('selection').hidden")

        chosen = set(page.rows)
        drawn = page.until(
            """const twins = arguments[0].data.filter((one) => one.meta && one.meta.link === 'twin');
            const rows = twins.flatMap((one) => [...one.customdata]);
            return rows.length ? rows : null;""",
            plot,
        )
        assert 0 < len(chosen) < 12, title
        assert set(drawn) == chosen, title
        page.run("document.getElementById('clear').click()")


def test_ticked_rows_are_marked_in_the_plots_and_escape_lets_go(page: Page) -> None:
    history = page.show("History")

    page.run("document.querySelectorAll('#table tbody input')[2].click()")
    page.until("return arguments[0].data.some((t) => t.selectedpoints && t.selectedpoints.length)", history)

    assert len(page.rows) == 12
    assert page.marked(history) == {page.rows[2]}
    page.press_escape()
    page.until("return document.getElementById('selection').hidden")


def test_the_table_sorts_both_ways_with_what_is_missing_last(page: Page) -> None:
    def numbers() -> list[float]:
        return [float(text) for text in page.column("validation:loss") if text]

    first = numbers()
    assert first == sorted(first)
    assert page.column("validation:loss")[-2:] == ["", ""]
    page.sort("validation:loss")
    assert numbers() == sorted(first, reverse=True)
    assert page.column("validation:loss")[-2:] == ["", ""]
    page.sort("width")
    assert [int(text) for text in page.column("width")] == sorted([1, 2, 3, 4, 5, 6] * 2)


def test_filters_take_bounds_spans_and_text_and_go_to_the_plots(page: Page) -> None:
    page.filter("status", "completed")
    assert len(page.rows) == 10
    page.filter("validation:loss", "..")
    page.filter("validation:loss", "<0.1")
    assert all(float(text) < 0.1 for text in page.column("validation:loss"))
    page.filter("validation:loss", "0.09 .. 0.2")
    assert all(0.09 <= float(text) <= 0.2 for text in page.column("validation:loss"))
    kept = set(page.rows)
    history = page.show("History")

    page.run("document.getElementById('show-filtered').click()")
    page.until("return arguments[0].data.some((t) => t.selectedpoints && t.selectedpoints.length)", history)

    assert page.marked(history) == kept


def test_text_of_the_job_is_shown_and_not_obeyed(page: Page) -> None:
    page.show_all()

    assert any("<script>alert('value')</script>" in text for text in page.column("mode"))
    failures = page.run("return document.getElementById('failures').textContent")
    assert "ValueError: <script>alert('trace')</script>" in failures
    assert "Traceback" in failures
    assert page.run("return document.scripts.length") == 4
    slices = page.show("Slices")
    labels = page.run("return arguments[0].querySelector('.cartesianlayer').textContent", slices)
    assert "<script>alert('value')</script>" in labels


@pytest.mark.parametrize(("theme", "colour"), [("dark", "#161b22"), ("light", "#ffffff")])
def test_every_text_stands_out_from_its_background(page: Page, theme: str, colour: str) -> None:
    page.prefer(theme)
    page.until(
        """return [...document.querySelectorAll('.plot')].every(
             (one) => one.layout.template.layout.paper_bgcolor === arguments[0]);""",
        colour,
    )
    page.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")

    found = page.run(CONTRASTS)

    assert page.run("return document.documentElement.dataset.theme") == theme
    assert len(found) > 300
    assert [(text, ratio) for text, ratio in found if ratio < 4.5] == []


def test_the_button_changes_the_theme_of_page_and_plots(page: Page) -> None:
    history = page.show("History")

    def background() -> str:
        return page.run("return getComputedStyle(arguments[0].querySelector('.main-svg')).backgroundColor", history)

    before = background()

    page.run("document.getElementById('theme').click()")
    page.until("return document.documentElement.dataset.theme === 'dark'")
    page.until("return arguments[0].layout.template.layout.paper_bgcolor === '#161b22'", history)

    assert before == "rgb(255, 255, 255)"
    assert background() == "rgb(22, 27, 34)"


@pytest.mark.parametrize(
    ("width", "height"),
    [pytest.param(390, 844, marks=pytest.mark.whole, id="phone"), pytest.param(1400, 1000, id="desktop")],
)
def test_nothing_overlaps_is_cut_or_is_too_small(shown: Shown, example_path: Path, width: int, height: int) -> None:
    page = shown.look(example_path, width, height)

    assert page.run("return document.querySelector('.bar').getBoundingClientRect().height") <= 60
    assert page.run("return document.documentElement.scrollWidth") <= width
    assert page.run(OVERLAPS) == []
    assert page.run(OUTSIDE) == []
    assert [(text, size) for text, size in page.run(FONTS) if size < 12] == []


def test_the_first_screen_has_headline_history_and_advice(shown: Shown, example_path: Path) -> None:
    page = shown.look(example_path)

    boxes = {
        selector: page.run("return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()", selector)
        for selector in ("#overview .value", "#overview .plot .main-svg", "#advice .advice:nth-child(3)")
    }

    assert {selector: box["bottom"] for selector, box in boxes.items() if box["bottom"] > 1000} == {}
    assert boxes["#overview .plot .main-svg"]["left"] > boxes["#overview .value"]["right"] - 400
    assert boxes["#overview .plot .main-svg"]["right"] > 1300


def test_logarithmic_axes_have_whole_numbers_as_labels(shown: Shown, example_path: Path) -> None:
    page = shown.look(example_path)

    labels = page.run(
        "return [...arguments[0].querySelectorAll('.x2tick text')].map((t) => t.textContent)", page.show("Slices")
    )

    assert labels == ["0.0001", "0.001", "0.01", "0.1"]


@pytest.mark.whole
def test_slices_wrap_evenly_and_follow_the_window(shown: Shown, example_path: Path) -> None:
    page = shown.look(example_path, changes=True)
    slices = page.show("Slices")

    def lines() -> list[int]:
        cells = page.run(
            "return [...arguments[0].querySelectorAll('.nsewdrag')].map((d) => d.getBoundingClientRect().y)", slices
        )
        return sorted(Counter(map(round, cells)).values())

    assert lines() == [2, 3]
    page.resize(390, 1000)
    page.until("return arguments[0].layout.width < 400", slices)
    assert lines() == [1, 1, 1, 1, 1]


@pytest.mark.whole
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_report_has_no_serious_barrier(browser: Any, example_path: Path, theme: str) -> None:
    page = Page(browser)
    page.open(example_path, theme=theme)
    page.show("History")

    assert page.barriers(*(COLOURS if theme == "dark" else ())) == []


@pytest.mark.whole
def test_paper_shows_whole_plots_and_the_heads_of_the_table(browser: Any, example_path: Path) -> None:
    page = Page(browser)
    page.open(example_path)
    page.run("dispatchEvent(new Event('beforeprint'))")

    assert set(page.run("return [...document.querySelectorAll('.main-svg')].map((s) => s.width.baseVal.value)")) == {
        640
    }
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert "none" not in page.run(
            "return [...document.querySelectorAll('thead button')].map((b) => getComputedStyle(b).display)"
        )
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_a_long_table_gets_its_first_page_by_itself_and_all_rows_on_demand(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "long.html").write_text(render(gathered(*many(250))), encoding="utf-8")
    page = Page(browser)
    page.open(tmp_path / "long.html")
    count = "document.querySelectorAll('#table tbody tr').length"
    page.until(f"return {count} === 200")
    page.run("document.getElementById('more').click()")
    assert page.run(f"return {count}") == 250


@pytest.mark.skipif("SM_TUNING_SCREENSHOTS" not in os.environ, reason="writes docs/img; run by `make screenshots`")
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("device", "width", "height"), [("desktop", 1400, 1000), ("phone", 390, 844)])
def test_screenshots(browser: Any, example_path: Path, device: str, width: int, height: int, theme: str) -> None:
    page = Page(browser)
    page.open(example_path, width, height, theme)
    page.until("return document.querySelector('.plot').dataset.drawn === 'yes'")

    page.photograph(IMAGES / f"report-{device}-{theme}.png")
