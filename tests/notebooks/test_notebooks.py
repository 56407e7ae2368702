"""The notebooks run from top to bottom against the local SageMaker."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from servers import running_server

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))

pytestmark = [
    pytest.mark.usefixtures("processes"),
    pytest.mark.filterwarnings("default"),  # Jupyter's own clients warn; the notebook's kernel is another process
]


def outputs(notebook: nbformat.NotebookNode) -> str:
    return "\n".join(
        str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )


def watched(notebook: nbformat.NotebookNode) -> list[list[nbformat.NotebookNode]]:
    """What each cell that watches a job has displayed."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and ".watch()" in cell.source]
    return [[output for output in cell.outputs if output.output_type == "display_data"] for cell in cells]


#: How many trials the jobs of a notebook run: in `make test-long` as many as it says; in `make test` one runs, with few.
RUNS = [
    pytest.param(NOTEBOOKS[0], 3, id="few trials"),
    *(pytest.param(path, None, id=path.name, marks=pytest.mark.long) for path in NOTEBOOKS),
]


def read(path: Path, trials: int | None) -> nbformat.NotebookNode:
    """The notebook, whose jobs run so many trials."""
    notebook = nbformat.read(path, as_version=4)
    numbers = re.compile(r'(max_jobs=|"MaxNumberOfTrainingJobs": )\d+')
    for cell in notebook.cells if trials else ():
        cell.source = numbers.sub(rf"\g<1>{trials}", cell.source)
    return notebook


@pytest.mark.parametrize(("path", "trials"), RUNS)
def test_the_notebook_runs(path: Path, trials: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SM_TUNING_STATE_DIR", str(tmp_path / "state"))
    notebook = read(path, trials)

    # A notebook starts a server where none runs; in the short form one runs already.
    with running_server(tmp_path / "state") if trials else contextlib.nullcontext():
        NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(path.parent)}}).execute()

    assert "Completed" in outputs(notebook)
    for pictures in watched(notebook):  # one picture, which was replaced until the job had ended
        assert len(pictures) == 1
        assert "<b>Completed</b>" in pictures[0].data["text/html"]
