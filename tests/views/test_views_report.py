"""The report as a file: what it holds, what it keeps to itself, how large and how fast it is."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from views_example import example
from views_frames import curves, describe, empty, gathered, many, mixed, summary, trials

from sm_tuning import SpecError, results
from sm_tuning.aws import Aws
from sm_tuning.description import job_of
from sm_tuning.results import analysis
from sm_tuning.results._schema import frame
from sm_tuning.views import report
from sm_tuning.views._content import chain_of
from sm_tuning.views._figure import figure_of
from sm_tuning.views._report import Pool, plain, render, sections, to_script

HOSTILE = "</script><script>alert('boo')</script><img src=x onerror=alert(1)>"


class Reader(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            del self._open[len(self._open) - 1 - self._open[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    @property
    def words(self) -> str:
        return " ".join(" ".join(text for tag, text in self.texts if tag not in ("script", "style")).split())

    @property
    def data(self) -> Any:
        scripts = {text[:8]: text for tag, text in self.texts if tag == "script"}
        data, rest = json.loads(scripts['{"table"']), json.loads(scripts['{"panels'])
        return {**data, **{key: data[key] + rest[key] for key in rest}}


def advice(**changes: str) -> pd.DataFrame:
    row = {"Code": "widen", "Severity": "warning", "Message": "widen lr", "Evidence": "at the bound", "Change": "{}"}
    return frame(analysis.ADVICE, {name: [{**row, **changes}.get(name)] for name in analysis.ADVICE})


def errors(table: pd.DataFrame, traceback: str) -> pd.DataFrame:
    failed = table[table["TrainingJobStatus"] == "Failed"]["TrainingJobName"].tolist()
    said = {"TrainingJobName": failed, "Traceback": [traceback] * len(failed), "Message": ["boom"] * len(failed)}
    return frame(results.ERRORS, {name: said.get(name, [None] * len(failed)) for name in results.ERRORS})


def test_the_report_says_what_an_analyst_asks_first() -> None:
    table = trials(mixed())
    found = gathered(table, advice={"job": advice()}, errors=errors(table, "Traceback: ValueError in train.py"))

    page = Reader(render(found))

    for words in (
        "1.125",
        "best validation:loss (lower is better)",
        "with, in trial #8",
        "widen lr",
        "at the bound",
        "AlgorithmError",
        "ValueError in train.py",
        "random seed",
        "pytorch-training:2.6-cpu-py312",
        "hyperparameter_ranges:",
        '"HyperParameterTuningJobArn"',
    ):
        assert words in page.words, words
    assert ("abbr", {"title": "job-008-0123abcd"}) in page.tags
    assert "stopped early 1" in page.words
    assert "failed 1" in page.words
    assert "cost 6.57 USD (13 of 14 priced)" in page.words


def test_the_table_holds_every_trial_with_its_numbers() -> None:
    table = trials(mixed())

    data = Reader(render(gathered(table))).data

    names = [column["name"] for column in data["table"]["columns"]]
    assert names[:5] == ["validation:loss", "depth", "lr", "momentum", "optimizer"]
    assert len(data["table"]["rows"]) == 14
    by_name = {row[-1]: row for row in data["table"]["rows"]}
    assert by_name["job-003-0123abcd"][0] == pytest.approx(4 / 3)
    assert by_name["job-003-0123abcd"][1] == 5
    assert by_name["job-012-0123abcd"][0] is None
    assert by_name["job-013-0123abcd"][0] == "∞"
    assert data["table"]["best"] == [list(by_name).index("job-008-0123abcd")]


def test_text_of_a_job_stays_text() -> None:
    ranges = {"CategoricalParameterRanges": [{"Name": HOSTILE, "Values": [HOSTILE, "x"]}]}
    description = describe(ranges=ranges, static={"note": HOSTILE})
    summaries = [
        summary(
            n,
            tuned={HOSTILE: HOSTILE if n % 2 else "x"},
            TrainingJobStatus="Failed" if n == 2 else "Completed",
            FailureReason=HOSTILE,
        )
        for n in range(1, 6)
    ]
    table = trials(summaries, description)
    found = gathered(
        table,
        description,
        advice={"job": advice(Message=HOSTILE, Evidence=HOSTILE, Change=HOSTILE)},
        errors=errors(table, HOSTILE),
        notes=(HOSTILE,),
        curves=curves(table, metrics=[HOSTILE]),
    )

    page = render(found)
    read = Reader(page)

    assert [tag for tag, _ in read.tags].count("script") == 4
    assert not any(tag == "img" or "onerror" in attributes for tag, attributes in read.tags)
    assert read.words.count("alert('boo')") >= 6
    assert read.data["table"]["rows"][0][1] in (HOSTILE, "x")
    labels = [text for text in read.data["pool"] if "boo" in text]
    assert all("<script" not in text for text in labels)


def test_only_our_scripts_may_run_and_nothing_may_be_fetched() -> None:
    page = Reader(render(gathered(trials(mixed()))))

    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "'unsafe-eval'" not in policy
    assert "unsafe-inline" not in policy.split("style-src")[0]
    assert not [a for tag, a in page.tags if tag in ("script", "img", "iframe") and "src" in a]
    assert [a.get("href") for tag, a in page.tags if tag == "link"] == ["data:,"]


def test_secrets_are_masked_everywhere() -> None:
    description = describe(static={"api_key": "sesame-open-42", "epochs": "5"})
    table = trials(mixed(), description)
    found = gathered(table, description, errors=errors(table, "could not log in with sesame-open-42"))

    page = render(found)

    assert "sesame-open-42" not in page
    assert "could not log in with ****" in page


def test_several_jobs_stand_side_by_side_and_a_chain_is_one_history() -> None:
    old, new = describe("old"), describe("new", parents=["old"])
    table = pd.concat(
        [
            trials([summary(n, "old") for n in range(1, 6)], old),
            trials([summary(n, "new", value=1.1) for n in range(1, 4)], new),
        ],
        ignore_index=True,
    )

    both = Reader(render(gathered(table, old, new)))
    child = Reader(render(gathered(table, old, new, names=("new",))))

    assert [a.get("class") for tag, a in both.tags].count("card") > [a.get("class") for tag, a in child.tags].count(
        "card"
    )
    assert "started from old" in child.words
    assert "tuning job" in [column["name"] for column in child.data["table"]["columns"]]
    first = child.data["panels"][0]
    assert len(first) == 2
    assert len([t for t in first[0]["data"] if t.get("name", "").startswith("best so far")]) == 2


def test_a_chain_is_in_the_order_of_descent_whatever_the_times_say() -> None:
    late = {**describe("grandparent"), "CreationTime": describe("x", parents=["a", "b"])["CreationTime"]}
    jobs = {
        "child": describe("child", parents=["parent"]),
        "parent": describe("parent", parents=["grandparent"]),
        "grandparent": late,
    }

    assert chain_of(map(job_of, jobs.values())) == ("grandparent", "parent", "child")
    assert chain_of([job_of(describe("alone", parents=["deleted"]))]) == ()


@pytest.mark.parametrize(
    "summaries",
    [
        [],
        [summary(1)],
        [summary(1, TrainingJobStatus="InProgress", value=None, TrainingStartTime=None, TrainingEndTime=None)],
        [summary(n, TrainingJobStatus="Failed", value=None) for n in (1, 2)],
    ],
    ids=["no trial", "one trial", "none finished", "all failed"],
)
def test_a_report_of_next_to_nothing_says_so(summaries: list[dict[str, Any]]) -> None:
    page = Reader(render(gathered(trials(summaries), cost=empty(results.COST), utilization=empty(results.UTILIZATION))))

    notes = [
        note["text"]
        for panel in page.data["panels"]
        for option in panel
        for note in option["layout"].get("annotations", ())
        if note.get("xref") == "paper"
    ]
    assert len(page.data["table"]["rows"]) == len(summaries)
    assert all(note.endswith(".") for note in notes)
    if len(summaries) != 1 or "FinalHyperParameterTuningJobObjectiveMetric" not in summaries[0]:
        assert "none best validation:loss" in page.words
        assert notes


def test_forty_hyperparameters_are_all_in_the_table_and_the_first_twelve_sliced() -> None:
    table, description = many(30, hyperparameters=40)

    data = Reader(render(gathered(table, description))).data

    assert sum(column["name"].startswith("h") for column in data["table"]["columns"]) == 40
    axes = [sum(key.startswith("xaxis") for key in option["layout"]) for panel in data["panels"] for option in panel]
    assert max(axes) == 12


def test_the_report_of_a_small_job_is_little_more_than_plotly() -> None:
    assert len(render(example()).encode()) < 1_750_000


@pytest.mark.parametrize(("count", "hyperparameters"), [(500, 6), pytest.param(1000, 4, marks=pytest.mark.long)])
def test_the_report_of_a_large_job_stays_small(count: int, hyperparameters: int) -> None:
    table, description = many(count, hyperparameters)
    metrics = ["validation:loss", "train:loss", "validation:accuracy", "train:accuracy"]
    found = gathered(table, description, curves=curves(table, steps=20, metrics=metrics))

    assert len(render(found).encode()) < 3_500_000 * count / 500


def test_the_first_screen_has_at_most_three_pieces_of_advice_in_words() -> None:
    row = advice().iloc[0].to_dict()
    several = frame(analysis.ADVICE, {name: [row[name]] * 5 for name in analysis.ADVICE})

    page = render(gathered(trials(mixed()), advice={"job": several}))

    before, _, folded = page.partition('<details class="further"><summary>2 more</summary>')
    assert (before.count("widen lr"), folded.split("<script")[0].count("widen lr")) == (3, 2)
    assert page.count("<details><summary>Change of the spec</summary><pre") == 5
    assert (
        page.index('id="overview"')
        < page.index('data-panel="0"')
        < page.index('id="advice"')
        < page.index("Trials</h2>")
    )


def test_a_note_stands_above_the_numbers_only_if_it_changes_them() -> None:
    found = gathered(trials(mixed()), notes=("no trials of page 2", "no scikit-learn"), doubts=("no trials of page 2",))

    page = render(found)

    assert page.index("no trials of page 2") < page.index('id="overview"')
    assert page.count("no trials of page 2") == 1
    assert page.index("1 note on what could not be read") > page.index('id="trials"')


def test_a_contour_is_drawn_only_through_enough_trials() -> None:
    def titles(count: int) -> list[str]:
        panels = Reader(render(gathered(trials([summary(number) for number in range(1, count + 1)])))).data["panels"]
        return [option["title"] for panel in panels for option in panel]

    assert not any(title.startswith("Contour") for title in titles(9))
    assert any(title.startswith("Contour") for title in titles(10))


def test_figures_are_written_as_plotly_would_write_them() -> None:
    """A report's figures go to plotly.js unchecked: none may use a shorthand that only plotly's Python knows."""
    table = trials(mixed())
    found = gathered(table, describe("job"))
    figures = [option.figure for section in sections(found) for panel in section.panels for option in panel.options]
    assert len(figures) > 12
    for figure in figures:
        checked = figure_of(figure).to_plotly_json()
        checked["layout"].pop("template")
        assert plain(checked["data"]) == plain(figure.data)
        assert plain(checked["layout"]) == plain(figure.layout)


def test_what_was_made_short_can_be_read_back() -> None:
    pool = Pool()
    texts, numbers = ["a", "b"] * 20, [3] * 50 + [4] * 2

    short = pool.compact({"t": texts, "n": numbers, "f": [0.5] * 40, "s": ["x"]})

    assert short == {"t": {"pool": [0, 1] * 20}, "n": {"list": 0}, "f": {"list": 1}, "s": ["x"]}
    assert pool.lists == [{"runs": [3, 50, 4, 2]}, [0.5] * 40]
    assert pool.compact(["a"] * 30) == {"pool": {"runs": [0, 30]}}
    assert pool.compact({"by step": [0.5] * 40}) == {"by step": {"list": 1}}


def test_data_in_a_page_cannot_end_its_script_and_knows_no_nan() -> None:
    text = to_script({"a": "</script><!--\u2028", "b": [float("nan"), float("inf"), 1.5]})

    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == {"a": "</script><!--\u2028", "b": [None, None, 1.5]}
    assert plain({1: (True, None, pd.Timestamp(0))})["1"][:2] == [True, None]


def test_a_report_in_a_folder_that_is_not_there_is_refused_before_anything_is_read(tmp_path: Path, world: Aws) -> None:
    with pytest.raises(SpecError, match="there is no folder"):
        report(world, ["job"], tmp_path / "nowhere" / "x.html")
