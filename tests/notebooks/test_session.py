"""A notebook's session, as a data scientist has it: tables, readable tracebacks, no lines of logs, completion."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from later import Later
from servers import running_server

nbclient, nbformat = Later("nbclient"), Later("nbformat")

pytestmark = [
    pytest.mark.long,
    pytest.mark.usefixtures("processes"),
    pytest.mark.filterwarnings("default"),  # Jupyter's own clients warn
]

DATA = Path(__file__).parents[2] / "estimators" / "data" / "diabetes"

#: The cells, by the name under which their output is looked at.
CELLS = {
    "start": """import json, logging, sys
import sm_tuning as smt

root = logging.getLogger()
before = (list(map(repr, root.handlers)), root.level)
server = smt.local.connect()
server.open()""",
    "spec": f"""tuning = smt.Tuning(
    estimator=smt.XGBoostEstimator(version="1.7-1", instance_type="ml.m5.large",
                                   hyperparameters={{"objective": "reg:squarederror", "num_round": 10}}),
    inputs={{name: "{DATA}/" + name + ".csv" for name in ("train", "validation")}},
    objective_metric_name="validation:rmse", objective_type="Minimize",
    hyperparameter_ranges={{"eta": smt.ContinuousParameter(0.01, 0.5)}},
    max_jobs=2, max_parallel_jobs=2,
)
tuning""",
    "check": "smt.check(tuning)",
    "launch": "job = smt.launch(tuning)\njob.watch()",
    "best": "job.best",
    "plot": "job.plot('history')",
    "failed": """from pathlib import Path

Path("words.csv").write_text("some,words\\nand,others\\n")
failing = tuning.replace(inputs={"train": "words.csv", "validation": "words.csv"})
try:
    broken = smt.launch(failing, wait=True)
except smt.JobFailedError as error:
    broken = smt.attach(error.job_name)
broken.errors()""",
    "mistake": "smt.attach('no-such-job')",
    "logging": "print(json.dumps([before, (list(map(repr, root.handlers)), root.level), 'sagemaker' in sys.modules]))",
    "completion": """import inspect

def completed(code):
    return set(get_ipython().kernel.do_complete(code, len(code))["matches"])

def options(function):
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = inspect.signature(function).parameters.values()
    return {f"{one.name}=" for one in found if one.kind in kinds and one.name != "self"}

best = job.best
missing, seen = {}, 0
for owner in ("smt", "job", "best", "tuning", "server", "smt.views", "smt.deploy"):
    thing = eval(owner)
    for name in dir(thing):
        if name.startswith("_") or (isinstance(thing, type(smt)) and not hasattr(thing, "__path__")):
            continue
        function = getattr(type(thing), name, None) or getattr(thing, name)
        is_error = isinstance(function, type) and issubclass(function, (BaseException, str, tuple))
        if callable(function) and not is_error:
            seen += 1
            lost = options(function) - completed(f"{owner}.{name}(")
            if lost:
                missing[f"{owner}.{name}"] = sorted(lost)
print(json.dumps([seen, missing]))""",
    "names": "print(json.dumps(sorted(completed('tuning.'))))",
    "stop": "server.close()",
}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The outputs of each cell."""
    state = tmp_path_factory.mktemp("session")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS.values()])
    for cell, name in zip(notebook.cells, CELLS, strict=True):
        cell.metadata["tags"] = ["raises-exception"] if name == "mistake" else []
    with pytest.MonkeyPatch.context() as patch, running_server(state):
        patch.setenv("SM_TUNING_STATE_DIR", str(state))
        nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(state)}}).execute()
    return {name: cell.outputs for name, cell in zip(CELLS, notebook.cells, strict=True)}


def page(outputs: list[Any]) -> str:
    return "".join(output.data.get("text/html", "") for output in outputs if "data" in output)


def printed(outputs: list[Any]) -> Any:
    return json.loads("".join(output.text for output in outputs if output.output_type == "stream"))


def test_objects_are_shown_as_tables(session: dict[str, list[Any]]) -> None:
    assert "<th>objective_metric_name</th><td>validation:rmse</td>" in page(session["spec"])
    assert "<th>severity</th>" in page(session["check"])
    assert "<td>not-checked</td>" in page(session["check"])
    assert "<td>role-trust</td>" in page(session["check"])
    assert "<th>Status</th><td>Completed</td>" in page(session["launch"])
    assert page(session["best"]).startswith("<table><tr><th>")


def test_errors_are_shown_with_their_reason(session: dict[str, list[Any]]) -> None:
    assert "<details" in page(session["failed"])
    assert "words" in page(session["failed"])


def test_a_plot_has_its_data_and_its_script(session: dict[str, list[Any]]) -> None:
    assert any("application/vnd.plotly.v1+json" in output.get("data", {}) for output in session["plot"])
    assert "Plotly.newPlot" in page(session["plot"])
    assert len(page(session["plot"])) > 500_000  # plotly.js itself: the page needs no network


def test_a_mistake_ends_in_one_message(session: dict[str, list[Any]]) -> None:
    (error,) = [output for output in session["mistake"] if output.output_type == "error"]

    assert error.ename == "JobNotFoundError"
    assert error.traceback[0] == "line 1: smt.attach('no-such-job')"
    assert error.traceback[-1] == f"JobNotFoundError: {error.evalue}"
    assert len(error.traceback) == 3


def test_nothing_is_logged_and_the_root_logger_is_left_alone(session: dict[str, list[Any]]) -> None:
    before, after, sdk_is_loaded = printed(session["logging"])
    written = [output.text for outputs in session.values() for output in outputs if output.output_type == "stream"]

    assert after == before
    assert not sdk_is_loaded
    assert [text for text in written if re.search(r"\b(INFO|DEBUG|\w*Warning)\b", text)] == []


def test_every_public_method_completes_its_options(session: dict[str, list[Any]]) -> None:
    seen, missing = printed(session["completion"])

    assert missing == {}
    assert seen > 100


def test_completion_of_a_spec_lists_its_fields(session: dict[str, list[Any]]) -> None:
    names = {name.removeprefix("tuning.") for name in printed(session["names"])}

    assert {"estimator", "max_jobs", "replace"} <= names
    assert not names & {"model_dump", "json", "copy"}
