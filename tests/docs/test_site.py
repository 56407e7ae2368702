"""The site that `make docs` builds: no broken link, nothing from elsewhere, and generated pages that are new."""

from __future__ import annotations

import json
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from docs_pages import DOCS, ROOT, build_site
from forks import run_program

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


@pytest.mark.parametrize("program", ["make_spec.py", "make_cli.py", "make_api.py"])
def test_a_generated_page_is_what_its_source_makes(processes: None, program: str) -> None:
    command = [sys.executable, str(DOCS / program), "--check"]
    done = run_program(command, preload="client", cwd=DOCS, env=os.environ)
    assert done.returncode == 0, done.stderr


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
