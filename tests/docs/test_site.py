"""The site that `make docs` builds: no broken link, nothing from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from browser import COLOURS, MARKS, Window, chromium
from docs_pages import DOCS, ROOT, build_site

import sm_tuning as smt


@pytest.fixture(scope="module")
def site(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site(tmp_path_factory.mktemp("site"))


class Loads(HTMLParser):
    """What a page fetches when it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}.get(tag)
        if name and given.get(name):
            self.found.append(str(given[name]))


def test_every_page_stands_in_the_site_and_in_its_navigation(site: Path) -> None:
    listed = set(re.findall(r"[\w-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert listed <= {page.name for page in DOCS.glob("*.md")}
    for name in listed:
        assert (site / name).with_suffix(".html").is_file()
    own = {"index", "quickstart-notebook", "quickstart-pipeline", "quickstart-analyst", "spec", "migration", "iam"}
    assert {f"{name}.md" for name in own} <= listed


def test_opening_a_page_fetches_nothing_from_elsewhere(site: Path) -> None:
    pages = [page for page in site.glob("*.html") if page.name != "404.html"]  # which servers show anywhere
    assert len(pages) > 10
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text(encoding="utf-8"))
        elsewhere = [url for url in loads.found if re.match(r"(https?:)?//", url)]
        assert elsewhere == [], page.name
        assert loads.found
        local = [url for url in loads.found if not url.startswith("data:")]
        assert [url for url in local if not (site / url.split("?")[0].split("#")[0]).exists()] == []
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//|@import", style.read_text(encoding="utf-8")), style.name


def test_no_program_is_published(site: Path) -> None:
    assert [path.name for path in site.rglob("*.py") if "examples" not in path.parts] == []


def test_search_finds_what_pages_say(site: Path) -> None:
    script = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    index = json.loads(script.removeprefix("window.searchIndex = ").removesuffix(";\n"))
    assert any("hyperparameter_ranges" in entry["text"] for entry in index["docs"])


def test_the_spec_page_has_every_field_of_the_schema() -> None:
    page = (DOCS / "spec.md").read_text(encoding="utf-8")
    schema = smt.schema()
    for owner in (schema, *schema["$defs"].values()):
        for field in owner["properties"]:
            assert f"| `{field.lower()}` |" in page
    block = re.search(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert block is not None
    example = yaml.safe_load(block.group(1).replace("${JOBS:-20}", "20"))
    example["estimator"]["version"] = str(example["estimator"]["version"])
    assert smt.Tuning.parse(example).max_jobs == 20


def test_migration_names_every_method_and_argument_of_the_old_sdk() -> None:
    """Those of SDK v2 2.257: its tuner, and its estimators for any image, PyTorch and XGBoost."""
    page = re.sub(
        r"^```.*?^```$", "", (DOCS / "migration.md").read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    words = {word for span in re.findall(r"`([^`]+)`", page) for word in re.findall(r"\w+", span)}
    old = (DOCS.parent / "tests" / "docs" / "sdk_v2.txt").read_text(encoding="utf-8").split()
    assert len(old) > 100
    assert sorted(set(old) - words) == []


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


class TestInABrowser:
    """The site opened as files: search, tables on a phone, and barriers."""

    pytestmark = MARKS

    @pytest.mark.parametrize(
        ("words", "page"),
        [
            ("hyperparameter_ran", "spec.html"),
            pytest.param("shell comp", "completion.html", marks=pytest.mark.whole),
            pytest.param("prices.csv", "prices.html", marks=pytest.mark.whole),
        ],
    )
    def test_search_works_without_a_web_server(self, window: Window, site: Path, words: str, page: str) -> None:
        window.open(site / "index.html")
        window.driver.get_log("browser")

        found = search(window, words)

        assert page in [href.split("#")[0].removeprefix("./") for _, href in found[:5]]
        assert window.driver.get_log("browser") == []

    def test_search_works_from_a_folder_of_the_site(self, window: Window, site: Path) -> None:
        window.open(site / "adr" / "index.html")

        _, href = search(window, "local delete old")[0]

        assert href.startswith("../")
        assert (site / "adr" / href.split("#")[0]).resolve().is_file()

    @pytest.mark.parametrize("page", ["migration", "prices", "spec"])
    def test_tables_scroll_on_a_phone(self, window: Window, site: Path, page: str) -> None:
        window.open(site / f"{page}.html", 390, 844)

        assert window.run("return document.documentElement.scrollWidth") == 390
        flows = window.run("return [...document.querySelectorAll('table')].map((t) => getComputedStyle(t).overflowX)")
        assert set(flows) == {"auto"}

    @pytest.mark.parametrize(
        ("page", "theme"),
        [
            ("index", "light"),
            *(pytest.param(page, "light", marks=pytest.mark.whole) for page in ("views", "prices", "migration")),
            *(pytest.param(page, "dark", marks=pytest.mark.whole) for page in ("index", "migration")),
            *(pytest.param(page, "dark", marks=pytest.mark.long) for page in ("views", "prices")),
        ],
    )
    def test_a_page_has_no_serious_barrier(self, window: Window, site: Path, page: str, theme: str) -> None:
        window.open(site / f"{page}.html", theme=theme)

        assert window.barriers(*(COLOURS if theme == "dark" else ())) == []
