"""The site in a browser, opened as files: search, tables on a phone, and barriers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import MARKS, Window, chromium
from docs_pages import build_site

pytestmark = MARKS


@pytest.fixture(scope="module")
def site(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def window(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    with chromium(tmp_path_factory.mktemp("browser")) as driver:
        yield Window(driver)


def search(window: Window, text: str) -> list[list[str]]:
    """Type into the search; return heading and address of each result."""
    window.run("document.querySelector('[data-bs-target=\"#properdocs_search_modal\"]').click()")
    window.until("return document.activeElement.id === 'properdocs-search-query'")
    window.driver.find_element("id", "properdocs-search-query").send_keys(text)
    return window.until(
        """const found = [...document.querySelectorAll('#properdocs-search-results a')];
        return found.length && found.map((a) => [a.textContent, a.getAttribute('href')]);"""
    )


@pytest.mark.parametrize(
    ("words", "page"),
    [("hyperparameter_ran", "spec.html"), ("shell comp", "completion.html"), ("prices.csv", "prices.html")],
)
def test_search_works_without_a_web_server(window: Window, site: Path, words: str, page: str) -> None:
    window.open(site / "index.html")
    window.driver.get_log("browser")

    found = search(window, words)

    assert page in [href.split("#")[0].removeprefix("./") for _, href in found[:5]]
    assert window.driver.get_log("browser") == []


def test_search_works_from_a_folder_of_the_site(window: Window, site: Path) -> None:
    window.open(site / "adr" / "index.html")

    _, href = search(window, "local delete old")[0]

    assert href.startswith("../")
    assert (site / "adr" / href.split("#")[0]).resolve().is_file()


@pytest.mark.parametrize("page", ["migration", "prices", "spec"])
def test_tables_scroll_on_a_phone(window: Window, site: Path, page: str) -> None:
    window.open(site / f"{page}.html", 390, 844)

    assert window.run("return document.documentElement.scrollWidth") == 390
    flows = window.run("return [...document.querySelectorAll('table')].map((t) => getComputedStyle(t).overflowX)")
    assert set(flows) == {"auto"}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("page", ["index", "views", "prices", "migration"])
def test_a_page_has_no_serious_barrier(window: Window, site: Path, page: str, theme: str) -> None:
    window.open(site / f"{page}.html", theme=theme)

    assert window.barriers() == []
