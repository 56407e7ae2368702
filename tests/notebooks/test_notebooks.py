"""The notebooks run from top to bottom against the local SageMaker, and what they show survives as a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, DRIVER, Window, chromium
from later import Later
from servers import running_server

nbclient, nbconvert, nbformat = Later("nbclient"), Later("nbconvert"), Later("nbformat")

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))

pytestmark = [
    pytest.mark.usefixtures("processes"),
    pytest.mark.filterwarnings("default"),  # Jupyter's own clients warn; the notebook's kernel is another process
]


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window | None]:
    """A browser without a network; None where there is no browser."""
    if not (CHROMIUM and DRIVER):
        yield None
        return
    with chromium(tmp_path_factory.mktemp("browser")) as driver:
        driver.execute_cdp_cmd("Network.enable", {})
        driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["http://*", "https://*"]})
        yield Window(driver)


def read(path: Path, trials: int | None = None) -> Any:
    """The notebook, whose jobs run so many trials."""
    notebook = nbformat.read(path, as_version=4)
    numbers = re.compile(r'(max_jobs=|"MaxNumberOfTrainingJobs": )\d+')
    for cell in notebook.cells if trials else ():
        cell.source = numbers.sub(rf"\g<1>{trials}", cell.source)
    return notebook


def execute(notebook: Any) -> None:
    nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(NOTEBOOKS[0].parent)}}).execute()


def shown(notebook: Any, source: str = "") -> list[Any]:
    """The outputs of the cells that have this text in their source."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and source in cell.source]
    return [output for cell in cells for output in cell.outputs]


def texts(notebook: Any) -> str:
    return "\n".join(
        str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", "")) for output in shown(notebook)
    )


def assert_quiet(notebook: Any) -> None:
    """No cell writes a line of a log, nor a warning; what a cell returns may be the log of a trial."""
    written = [output for output in shown(notebook) if output.output_type in ("stream", "display_data")]
    lines = [str(output.get("text", output.get("data", {}).get("text/plain"))) for output in written]
    assert [line for line in lines if re.search(r"\b(INFO|DEBUG|\w*Warning)\b", line)] == []


@pytest.mark.whole
def test_a_notebook_runs_with_few_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SM_TUNING_STATE_DIR", str(tmp_path / "state"))
    notebook = read(NOTEBOOKS[0], 3)

    with running_server(tmp_path / "state"):
        execute(notebook)

    assert "Completed" in texts(notebook)
    assert_quiet(notebook)


@pytest.mark.long
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_as_it_is_and_its_page_needs_no_network(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: Window | None
) -> None:
    monkeypatch.setenv("SM_TUNING_STATE_DIR", str(tmp_path / "state"))
    notebook = read(path)

    execute(notebook)  # it starts a server where none runs
    page = tmp_path / "page.html"
    page.write_text(nbconvert.HTMLExporter().from_notebook_node(notebook)[0], encoding="utf-8")

    assert "Completed" in texts(notebook)
    assert_quiet(notebook)
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code" and ".watch()" in cell.source):
        pictures = [output for output in cell.outputs if output.output_type == "display_data"]
        assert len(pictures) == 1  # which was replaced until the job had ended
        assert "<b>Completed</b>" in pictures[0].data["text/html"]
    plots = [output for output in shown(notebook) if "application/vnd.plotly.v1+json" in output.get("data", {})]
    assert plots
    if window is not None:
        window.open(page)
        window.until("return document.querySelectorAll('.js-plotly-plot .gtitle').length === arguments[0]", len(plots))
