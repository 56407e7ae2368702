"""Which trial of a study continued which: the frame, the plots, the report and the command."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command_line import separate_runner
from small_aws import SmallAws, drive, failed, launched, saving

import sm_tuning as smt
from sm_tuning import results, views
from sm_tuning.cli._main import main
from sm_tuning.views._lineage import lineage_info, schedule_info

FIELDS: dict[str, Any] = {
    "strategy": "Population",
    "strategy_config": smt.PopulationConfig(size=5, interval=2, max_resource=6),
    "max_jobs": None,
    "max_parallel_jobs": 5,
    "estimator": {"checkpoint_s3_uri": "s3://bkt/ck"},
    "hyperparameter_ranges": {
        "rate": smt.ContinuousParameter(0.01, 1, scaling_type="Logarithmic"),
        "kind": smt.CategoricalParameter(["sgd", "adam"]),
    },
}


@pytest.fixture(scope="module")
def study(processes: None) -> Iterator[smt.Study]:
    """A population that has ended; one of its trials was repeated after a fault of the service."""
    with SmallAws().running() as service:
        end = saving(service, {})

        def ended(job: Mapping[str, Any]) -> dict[str, Any]:
            found = end(job)
            return failed("InternalServerError: again") if "s-007-" in job["TrainingJobName"] else found

        service.end_of = ended
        launched(service, **FIELDS)
        drive(service, service.connect())
        found = smt.attach("s", aws=service.connect())
        assert isinstance(found, smt.Study)
        yield found


def test_the_lineage_says_what_each_trial_continued_and_changed(study: smt.Study) -> None:
    lineage, trials = study.lineage(progress=False), study.trials(progress=False)
    assert list(lineage.columns) == [*results.LINEAGE, "rate", "before:rate", "kind", "before:kind"]
    assert {name: str(lineage[name].dtype) for name in results.LINEAGE} == {
        name: dtype if dtype != "string" else str(trials["Why"].dtype) for name, dtype in results.LINEAGE.items()
    }
    assert sorted(lineage["TrainingJobName"]) == sorted(trials["TrainingJobName"])
    assert {*lineage["Why"]} == {"new", "continued", "exploited", "retried"}
    by_name = lineage.set_index("TrainingJobName")
    for name, entry in by_name.iterrows():
        if entry["Why"] == "new":
            assert entry[["Parent", "ParentObjectiveValue", "before:rate"]].isna().all()
            assert (entry["ResourceFrom"], entry["ResourceTo"]) == (0, 2)
            continue
        parent = by_name.loc[entry["Parent"]]
        assert parent.name < name  # parents come first
        assert (entry["before:rate"], entry["before:kind"]) == (parent["rate"], parent["kind"])
        begun = parent["ResourceFrom"] if entry["Why"] == "retried" else parent["ResourceTo"]
        assert (entry["ResourceFrom"], entry["ResourceTo"]) == (begun, begun + 2)
        assert (entry["Member"] == parent["Member"]) == (entry["Why"] != "exploited")
        assert entry["ParentObjectiveValue"] == parent["FinalObjectiveValue"] or entry["Why"] == "retried"
        assert (entry["rate"] == entry["before:rate"]) == (entry["Why"] != "exploited")
    # The repeated trial takes the place of none: each member reaches its end.
    assert lineage.groupby("Member")["ResourceTo"].max().to_dict() == dict.fromkeys(range(1, 6), 6)


def test_the_lineage_is_drawn_by_epoch_and_by_time(study: smt.Study) -> None:
    trials, known = study.trials(progress=False), views.about(study.describe())
    lineage = study.lineage(progress=False).set_index("TrainingJobName")
    info = lineage_info(trials, known)
    assert (info.lines, info.kind, info.axis) == (("1", "2", "3", "4", "5"), "member", "epochs")
    assert {(trials["TrainingJobName"][parent], trials["TrainingJobName"][row]) for parent, row in info.copies} == {
        (entry["Parent"], name) for name, entry in lineage.iterrows() if entry["Why"] == "exploited"
    }
    # The best trial's line begins with a new member and reaches the best trial without a gap.
    names = [trials["TrainingJobName"][row] for row in info.ancestors]
    assert pd.isna(lineage["Parent"][names[0]])
    assert [lineage["Parent"][name] for name in names[1:]] == names[:-1]
    assert trials["IsBest"][info.ancestors[-1]]
    figure = study.plot("lineage")
    bars = [bar for bar in figure.data if bar.meta and bar.meta["link"] == "points"]
    assert sorted(row for bar in bars for row in bar.customdata) == list(range(len(trials)))
    texts = {row: text for bar in bars for row, text in zip(bar.customdata, bar.hovertext, strict=True)}
    assert all("epochs 2 to 4, exploited from #" in texts[row] for _, row in info.copies if info.start[row] == 2)
    assert all("rate: " in texts[row] for _, row in info.copies)
    assert [len(line.x) for line in figure.data if line.name == "copied"] == [3 * len(info.copies)] * 2 + [1]
    timed = study.plot("lineage", by="time", theme="dark")
    assert "since" in timed.layout.xaxis.title.text
    with pytest.raises(smt.SpecError, match="not by 'epoch'"):
        lineage_info(trials, known, by="epoch")  # type: ignore[arg-type]


def test_the_schedule_has_a_line_for_each_member(study: smt.Study) -> None:
    trials, known = study.trials(progress=False), views.about(study.describe())
    info = schedule_info(trials, known)
    assert [axis.name for axis in info.axes] == ["rate", "kind"]  # not what the study itself sets
    assert len(info.members) == 5
    for member in info.members:
        assert (np.diff(info.until[list(member)]) >= 2).all()
    figure = study.plot("schedule", hyperparameters=["rate"])
    members, best = figure.data
    assert len(members.customdata) == len(members.x)
    assert max(x for x in best.x if x is not None) == info.until[info.ancestors[-1]]
    assert figure.layout.yaxis.title.text == "rate (log)"
    with pytest.raises(smt.SpecError, match="no hyperparameter 'epochs'; tuned are: rate, kind"):
        study.plot("schedule", hyperparameters=["epochs"])
    same = trials.assign(rate=0.1, kind="sgd")
    assert "No trial changed" in schedule_info(same, known).note


def test_two_studies_share_a_plot(study: smt.Study) -> None:
    trials, known = study.trials(progress=False), views.about(study.describe())
    other = trials.assign(
        TuningJobName="t",
        TrainingJobName=[f"t{name[1:]}" for name in trials["TrainingJobName"]],
        Parent=[None if pd.isna(name) else f"t{name[1:]}" for name in trials["Parent"]],
    )
    info = lineage_info(pd.concat([trials, other.astype(trials.dtypes)], ignore_index=True), known)
    assert info.lines == (*(f"s {number}" for number in range(1, 6)), *(f"t {number}" for number in range(1, 6)))
    assert sum(trials["IsBest"]) == 1
    assert len(info.ancestors) == 2 * len(lineage_info(trials, known).ancestors)


def test_a_study_that_continues_nothing_has_no_lineage(service: SmallAws) -> None:
    study = launched(service)
    drive(service, service.connect())
    with pytest.raises(smt.SpecError, match="Population and Promotion have one"):
        study.lineage(progress=False)
    trials = study.trials(progress=False)
    assert "Member" not in trials
    for draw in (views.lineage, views.schedule):
        figure = draw(trials, views.about(study.describe()))
        assert "No trial continues" in figure.layout.annotations[0].text


def test_a_study_that_has_begun_is_drawn(service: SmallAws) -> None:
    study = launched(service, **FIELDS)
    for _ in range(2):  # before the first trial, and while the first ones run
        trials, known = study.trials(progress=False), views.about(study.describe())
        assert lineage_info(trials, known).sketch().title
        assert lineage_info(trials, known, by="time").sketch().title
        assert schedule_info(trials, known).sketch().title
        study.step()
    assert len(study.lineage(progress=False)) == 5


def test_promotion_has_a_row_for_each_configuration(service: SmallAws) -> None:
    service.end_of = saving(service, {})
    config = smt.PromotionConfig(max_resource=9)
    study = launched(service, **{**FIELDS, "strategy": "Promotion", "strategy_config": config, "max_jobs": 13})
    drive(service, service.connect())
    trials, known = study.trials(progress=False), views.about(study.describe())
    info = lineage_info(trials, known)
    assert (len(info.lines), info.kind, info.copies) == (9, "configuration", ())
    assert sorted(info.start + info.length) == [1] * 9 + [3] * 3 + [9]
    assert "No trial changed" in schedule_info(trials, known).note


def test_secrets_of_a_lineage_are_masked() -> None:
    row = dict.fromkeys(results.LINEAGE, "x") | {"api_key": "abc", "before:api_key": "abc", "rate": 0.1}
    masked = results.shown(pd.DataFrame([row]))
    assert masked[["api_key", "before:api_key"]].iloc[0].tolist() == ["****", "****"]
    assert masked["rate"].iloc[0] == 0.1


def test_the_report_and_the_command_have_the_lineage(study: smt.Study, tmp_path: Path) -> None:
    page = study.report(tmp_path / "report.html", prices={"ml.m5.large": 1.0}).read_text()
    assert 'id="lineage"' in page
    assert "Schedule: the hyperparameters of each member by epochs" in page
    assert "A spec cannot express" not in page
    assert "strategy: Population" in page
    table = json.loads(page.partition('id="data">')[2].partition("</script>")[0])["table"]
    assert {"why", "member", "parent"} <= {column["name"] for column in table["columns"]}
    result = separate_runner().invoke(
        main, ["study", "lineage", "s", "--format", "json"], obj={"connect": lambda **_: study.aws}
    )
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)) == len(study.lineage(progress=False))
