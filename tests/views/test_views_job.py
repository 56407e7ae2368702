"""Looking at a job that really ran: by its handle, and on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import sm_tuning as smt
from sm_tuning import JobNotFoundError, SpecError
from sm_tuning.cli import main
from sm_tuning.views import KINDS, compare
from sm_tuning.views._content import gather

pytestmark = pytest.mark.filterwarnings("ignore::sm_tuning.results.ResultsWarning")


@pytest.mark.parametrize("kind", KINDS)
def test_the_handle_draws_every_plot(job: smt.TuningJob, kind: str) -> None:
    figure = job.plot(kind)

    assert figure.layout.title.text
    assert figure.data or figure.layout.annotations[0].text.endswith(".")
    if kind in ("history", "parallel", "slice", "curves", "train_validation", "timeline"):
        assert len(figure.data) >= 2


def test_plots_take_their_options_and_refuse_others(job: smt.TuningJob) -> None:
    assert "train:loss" in job.plot("curves", metric="train:loss", by="time").layout.title.text
    assert job.plot("edf", theme="dark").layout.template.layout.paper_bgcolor == "#161b22"
    with pytest.raises(SpecError, match="no plot 'pie'; there are: contour, "):
        job.plot("pie")
    with pytest.raises(SpecError, match=r"plot 'edf' takes theme, and not metric"):
        job.plot("edf", metric="train:loss")


def test_what_is_gathered_of_a_real_job_is_complete(job: smt.TuningJob) -> None:
    found = gather(job.aws, [job.name], prices={"ml.m5.large": 0.115})

    assert len(found.trials) == 12
    assert (found.trials["TrainingJobStatus"] == "Failed").sum() == 2
    assert set(found.errors["TrainingJobName"]) == set(
        found.trials[found.trials["TrainingJobStatus"] == "Failed"]["TrainingJobName"]
    )
    assert found.errors["Traceback"].str.contains("ValueError").all()
    assert found.curves["MetricName"].nunique() == 2
    assert found.cost["Cost"].notna().all()
    assert found.known.objective == "validation:loss"
    assert found.known.maximize is False
    assert found.chain == ()


def test_a_job_that_is_not_there_is_an_error_and_leaves_no_file(job: smt.TuningJob, tmp_path: Path) -> None:
    with pytest.raises(JobNotFoundError):
        smt.views.report(job.aws, ["nobody"], tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_jobs_are_compared_in_a_frame(job: smt.TuningJob) -> None:
    table = compare(job.aws, [job.name, job.name], prices={"ml.m5.large": 0.115})

    best = job.best
    assert best is not None
    (row,) = table.to_dict("records")
    assert row["TuningJobName"] == job.name
    assert row["BestObjectiveValue"] == pytest.approx(best.objective_value)
    assert (row["Trials"], row["Completed"], row["Stopped"], row["Failed"]) == (12, 10, 0, 2)
    assert row["ObjectiveType"] == "Minimize"
    assert row["Cost"] == job.cost(prices={"ml.m5.large": 0.115})["Cost"].sum()
    assert row["TrialsToBest"] == job.trials()["IsBest"].tolist().index(True) + 1
    assert table.dtypes["TrialsToBest"] == "Int64"


@pytest.fixture
def run(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command line, reaching the server of the job."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return lambda *arguments: CliRunner().invoke(main, [str(one) for one in arguments])


def test_the_command_line_writes_a_report(job: smt.TuningJob, tmp_path: Path, run: Callable[..., Result]) -> None:
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({"ml.m5.large": 0.115}), encoding="utf-8")

    done = run("report", job.name, "-o", tmp_path / "report.html", "--prices", prices)

    assert done.exit_code == 0, done.output
    assert "report.html is written" in done.stderr
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert job.name in page
    assert " USD" in page


def test_the_command_line_refuses_a_report_that_is_no_html(
    job: smt.TuningJob, tmp_path: Path, run: Callable[..., Result]
) -> None:
    done = run("report", job.name, "-o", tmp_path / "report.pdf")

    assert done.exit_code == 2
    assert "a report is an HTML file" in done.stderr


def test_the_command_line_compares(job: smt.TuningJob, run: Callable[..., Result]) -> None:
    done = run("compare", job.name, "--format", "json")

    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)
    assert row["Failed"] == 2
    assert row["Objective"] == "validation:loss"
