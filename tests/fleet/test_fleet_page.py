"""The page over all tuning jobs of a dataset."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import browser
import plotly.graph_objects as go
import pytest
from click.testing import CliRunner
from fleet_service import START, Account

import sm_tuning as smt
from sm_tuning import views
from sm_tuning.aws import Aws
from sm_tuning.cli import main

PRICES = {"ml.m5.xlarge": 0.25, "ml.g5.xlarge": 1.5}
HOSTILE = "</script><b>x"


@pytest.fixture
def dest(account: Account, aws: Aws, tmp_path: Path) -> Path:
    account.add("first", [0.5, 0.25, None, 0.75], tags={"team": "red", "aws:cost": "x"}, early=True)
    account.stop_trial("first", 3, 600)
    account.add("second", [0.5], tags={"team": HOSTILE}, created=START + timedelta(days=70), instance="ml.g5.xlarge")
    account.add("third", [None, None], created=START + timedelta(days=71))
    smt.sync(tmp_path / "fleet", aws=aws, prices=PRICES, progress=False)
    return tmp_path / "fleet"


def page(dest: Path) -> str:
    return views.fleet_report(dest, dest.parent / "fleet.html").read_text(encoding="utf-8")


def data(text: str) -> dict[str, Any]:
    texts = (re.search(rf'id="{name}">(.*?)</script>', text, re.DOTALL)[1] for name in ("data", "rest"))
    found, rest = map(json.loads, texts)
    return {**found, "panels": found["panels"] + rest["panels"]}


def facts(text: str) -> dict[str, str]:
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text))


def test_the_headline_has_the_total_and_where_it_went(dest: Path) -> None:
    text = page(dest)
    # Three hours and ten minutes of the first job, an hour at 1.5 of the second, two hours of the third.
    assert re.search(r'<p class="value">(.*?)</p>', text)[1] == f"{0.25 * (3 + 1 / 6) + 1.5 + 0.5:.2f}"
    found = facts(text)
    assert (found["tuning jobs"], found["trials"], found["failed trials"]) == ("3", "7", "3 (42.9%)")
    assert found["after the best trial"] == f"{0.25 * (1 + 1 / 6) / (0.25 * (3 + 1 / 6) + 2):.0%} of the total"
    assert found["saved by early stopping"] == "50 minutes"
    assert found["created"] == "2025-03-10 to 2025-05-20"
    assert "not final yet" not in found


def test_the_table_has_a_row_a_job_and_a_column_a_tag(dest: Path) -> None:
    table = data(page(dest))["table"]
    names = [column["name"] for column in table["columns"]]
    assert names[-1] == "tag team"
    assert "tag aws:cost" not in names
    rows = dict(zip(table["labels"], table["rows"], strict=True))
    first = dict(zip(names, rows["first"], strict=True))
    wanted = {"trials": 4, "failed": 1, "best": 0.25, "instances": "ml.m5.xlarge", "tag team": "red", "cost": 0.791667}
    assert {name: first[name] for name in wanted} == wanted
    assert dict(zip(names, rows["third"], strict=True))["best"] is None
    assert table["columns"][table["sort"]["column"]]["name"] == "cost"


def test_months_without_trials_have_a_place_and_each_group_a_bar(dest: Path) -> None:
    panels = data(page(dest))["panels"]
    (months,) = panels[0]
    assert months["data"][0]["x"] == ["2025-03", "2025-04", "2025-05"]
    assert [figure["title"] for figure in panels[1]] == [
        f"Spending by {name} (USD)" for name in ("tag team", "dataset", "strategy", "objective")
    ]
    assert panels[1][0]["data"][0]["hovertext"][0] == "&lt;/script&gt;&lt;b&gt;x"
    for figure in (figure for options in panels for figure in options):
        go.Figure(data=figure["data"], layout=figure["layout"])  # plotly checks every setting


def test_failures_are_counted_without_the_numbers_in_them(dest: Path) -> None:
    text = page(dest)
    assert "<strong>3 trials</strong> AlgorithmError: out of memory in batch N, exit code: N</summary>" in text
    assert "in first, third</p>" in text


def test_texts_of_jobs_are_no_markup(dest: Path) -> None:
    assert HOSTILE not in page(dest)


def test_without_prices_the_page_counts_hours(account: Account, aws: Aws, tmp_path: Path) -> None:
    account.add("job", [0.5, 0.25], status="InProgress")
    smt.sync(tmp_path / "fleet", aws=aws, prices={}, progress=False)
    text = page(tmp_path / "fleet")
    assert re.search(r'<p class="muted">(.*?)</p>', text)[1] == "instance hours in total"
    assert facts(text)["not final yet"] == "1"
    assert "The cost of" not in text


def test_what_has_no_price_is_said_beside_the_sum(account: Account, aws: Aws, tmp_path: Path) -> None:
    account.add("cheap", [0.5])
    account.add("unknown", [0.5], instance="ml.new.large")
    smt.sync(tmp_path / "fleet", aws=aws, prices=PRICES, progress=False)
    assert "The cost of 1 trial is not known" in page(tmp_path / "fleet")


def test_the_command_writes_the_page_without_a_connection(dest: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["report", "--all", str(dest), "-o", str(tmp_path / "page.html")])
    assert (done.exit_code, done.stderr) == (0, f"sm-tuning: {tmp_path}/page.html is written\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "x.html"], "name tuning jobs, or a dataset with --all DEST: one of the two"),
        (["job", "--all", "x", "-o", "x.html"], "name tuning jobs, or a dataset with --all DEST: one of the two"),
        (["--all", "x", "-o", "x.html", "--prices", "p.json"], "--all shows the costs in the dataset"),
        (["--all", "nothing-here", "-o", "x.html"], "there is no dataset in 'nothing-here'"),
        (["--all", "x", "-o", "no/such/x.html"], "there is no folder 'no/such'"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(words: list[str], message: str) -> None:
    done = CliRunner().invoke(main, ["report", *words])
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


class TestInABrowser:
    pytestmark: ClassVar = [*browser.MARKS, pytest.mark.long]

    @pytest.fixture
    def window(self, tmp_path: Path) -> Iterator[browser.Window]:
        with browser.chromium(tmp_path / "profile") as driver:
            yield browser.Window(driver)

    def test_it_fits_a_phone_draws_all_plots_and_has_no_barriers(self, dest: Path, window: browser.Window) -> None:
        page(dest)
        for width, theme in ((1280, "light"), (390, "dark")):
            window.open(dest.parent / "fleet.html", width, 2600, theme)
            window.until("return [...document.querySelectorAll('.plot')].every((one) => one.dataset.drawn === 'yes')")
            assert window.run("return document.documentElement.scrollWidth") <= width
            assert window.driver.get_log("browser") == []
            window.run("document.querySelector('#table tbody input').click()")
            assert window.run("return document.getElementById('selection-text').textContent") == "1 of 3 jobs selected"
            assert window.barriers() == []
