"""The notebooks run from top to bottom against the local SageMaker."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

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


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SM_TUNING_STATE_DIR", str(tmp_path / "state"))
    notebook = nbformat.read(path, as_version=4)

    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(path.parent)}}).execute()

    assert "Completed" in outputs(notebook)
    for pictures in watched(notebook):  # one picture, which was replaced until the job had ended
        assert len(pictures) == 1
        assert "<b>Completed</b>" in pictures[0].data["text/html"]
