"""The page over all tuning jobs of a dataset: what was spent, on what, what failed, and a table of the jobs."""

from __future__ import annotations

import os
import re
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sm_tuning._files import write_output
from sm_tuning._statuses import TrainingStatus
from sm_tuning.aws import Aws
from sm_tuning.fleet import Fleet, read_fleet
from sm_tuning.jobs import SPEC_HASH_TAG
from sm_tuning.views._curves import duration
from sm_tuning.views._figure import BLUE, SERIES, Sketch, escape, trace
from sm_tuning.views._report import Option, Panel, Section, checked_page, rendered
from sm_tuning.views._trials import plural

_MOST_BARS = 12  # further groups are one bar
_MOST_TYPES = 5  # instance types with a colour of their own
_MOST_TAGS = 6  # keys of tags in the menu
_MOST_VALUES = 60  # a tag with more values is a name, not a group
_MOST_REASONS = 20
_LABEL = 26  # characters of a bar's label
_OTHERS = "others"
_FAILED = str(TrainingStatus.FAILED)

#: Columns of the table of jobs that are in the frame: name -> heading.
_TABLE = {
    "CreationTime": "created",
    "TuningJobStatus": "status",
    "Trials": "trials",
    "FailedTrials": "failed",
    "Hours": "hours",
    "Cost": "cost",
    "LateHours": "hours after the best",
    "BestObjectiveValue": "best",
    "Objective": "objective",
    "Direction": "direction",
    "Strategy": "strategy",
    "InstanceType": "instances",
    "Region": "region",
}
_NUMBERS = ("Trials", "FailedTrials", "Hours", "Cost", "LateHours", "BestObjectiveValue")


class Reason(NamedTuple):
    """A failure that trials of several jobs have in common, without the numbers in it."""

    text: str
    trials: int
    jobs: tuple[str, ...]


class FleetFacts:
    """The numbers of the page.

    Args:
        fleet: the tables of a dataset, with at least one job.

    Attributes:
        jobs: with the columns ``FailedTrials``, ``Hours``, ``LateHours`` and ``InstanceType`` beside the dataset's.
        trials: with the columns ``Hours`` (of all instances) and ``Late`` (ended after the best trial of its job).
    """

    def __init__(self, fleet: Fleet) -> None:
        trials = fleet.trials.copy()
        seconds = trials["BillableTimeInSeconds"].astype("Float64").fillna(trials["TrainingElapsedTimeSeconds"])
        counts = trials["InstanceCount"].astype("Float64").fillna(1.0)
        trials["Hours"] = (seconds * counts / 3600).to_numpy(np.float64, na_value=0.0)
        best = trials[trials["IsBest"].fillna(value=False)].set_index("JobId")["TrainingEndTime"]
        found = trials["JobId"].map(best[~best.index.duplicated()])
        trials["Late"] = (trials["TrainingEndTime"] > found).to_numpy(bool)
        groups = trials.groupby("JobId")
        jobs = fleet.jobs.set_index("JobId", drop=False)
        jobs["FailedTrials"] = (trials["TrainingJobStatus"] == _FAILED).groupby(trials["JobId"]).sum()
        jobs["Hours"] = groups["Hours"].sum()
        jobs["LateHours"] = trials[trials["Late"]].groupby("JobId")["Hours"].sum()
        jobs["InstanceType"] = groups["InstanceType"].agg(lambda types: " ".join(types.dropna().unique()))
        numbers = ["FailedTrials", "Hours", "LateHours"]
        jobs[numbers] = jobs[numbers].fillna(0.0)
        self.jobs: pd.DataFrame = jobs.reset_index(drop=True)
        self.trials: pd.DataFrame = trials

    @cached_property
    def unit(self) -> str:
        """USD, or instance hours if no price is known."""
        return "USD" if self.trials["Cost"].fillna(0.0).gt(0).any() else "instance hours"

    @cached_property
    def amounts(self) -> pd.Series[Any]:
        """What each trial took, in ``unit``."""
        column = self.trials["Cost"] if self.unit == "USD" else self.trials["Hours"]
        return column.fillna(0.0).astype("float64")

    @property
    def headline(self) -> dict[str, Any]:
        """The total, and the main facts."""
        jobs, trials = self.jobs, self.trials
        total, late = self.amounts.sum(), self.amounts[self.trials["Late"]].sum()
        first, last = jobs["CreationTime"].min(), jobs["CreationTime"].max()
        failed = int((trials["TrainingJobStatus"] == _FAILED).sum())
        running = int((~jobs["IsFinal"].fillna(value=False)).sum())
        saved = self._saved_hours()
        facts = [
            ("tuning jobs", f"{len(jobs):,}"),
            ("not final yet", f"{running:,}" if running else ""),
            ("trials", f"{len(trials):,}"),
            ("failed trials", f"{failed:,} ({failed / len(trials):.1%})" if failed else "none"),
            ("instance time", duration(3600 * float(trials["Hours"].sum()))),
            ("after the best trial", f"{late / total:.0%} of the total" if total else ""),
            ("saved by early stopping", duration(3600 * saved) if saved else ""),
            ("created", f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"),
            ("accounts and regions", str(len(jobs[["AccountId", "Region"]].drop_duplicates()))),
            ("read", f"{jobs['SyncedAt'].max():%Y-%m-%d %H:%M} UTC"),
        ]
        shown = f"{total:,.2f}" if self.unit == "USD" else f"{total:,.0f}"
        return {"value": shown, "unit": self.unit, "facts": [(key, text) for key, text in facts if text]}

    def _saved_hours(self) -> float:
        """Return the hours that stopped trials were shorter than the completed trials of their jobs, on average."""
        early = set(self.jobs.loc[self.jobs["EarlyStopping"].fillna(value=False), "JobId"])
        own = self.trials[self.trials["JobId"].isin(early)]
        done = own[own["TrainingJobStatus"] == str(TrainingStatus.COMPLETED)]
        stopped = own[own["TrainingJobStatus"] == str(TrainingStatus.STOPPED)]
        if stopped.empty or done.empty:
            return 0.0
        lengths = stopped["JobId"].map(done.groupby("JobId")["TrainingElapsedTimeSeconds"].mean())
        return float((lengths - stopped["TrainingElapsedTimeSeconds"]).clip(lower=0).sum() / 3600)

    def reasons(self) -> list[Reason]:
        """Return the most frequent failures."""
        failed = self.trials[(self.trials["TrainingJobStatus"] == _FAILED).to_numpy(bool)]
        texts = failed["FailureReason"].fillna("no reason was given").astype(str)
        alike = texts.map(lambda text: re.sub(r"\d+", "N", " ".join(text.split()))[:300])
        found = [
            Reason(str(text), len(rows), tuple(failed.loc[rows.index, "TuningJobName"].unique()))
            for text, rows in alike.groupby(alike)
        ]
        return sorted(found, key=lambda reason: -reason.trials)[:_MOST_REASONS]

    def tag_keys(self) -> list[str]:
        """Return the keys of tags that group jobs, the most frequent first."""
        values: dict[str, Counter[str]] = {}
        for tags in self.jobs["Tags"]:
            for key, value in (tags or {}).items():
                values.setdefault(key, Counter())[value] += 1
        groups = {key: found for key, found in values.items() if key != SPEC_HASH_TAG and not key.startswith("aws:")}
        few = [key for key, found in groups.items() if len(found) <= _MOST_VALUES]
        return sorted(few, key=lambda key: -sum(groups[key].values()))[:_MOST_TAGS]

    def table(self) -> dict[str, Any]:
        """Return the table of jobs for the page's script, with a column for each frequent tag."""
        keys = self.tag_keys()
        tags = {f"tag {key}": self.jobs["Tags"].map(lambda found, key=key: (found or {}).get(key)) for key in keys}
        frame = self.jobs[list(_TABLE)].rename(columns=_TABLE).assign(**tags)
        if frame["region"].nunique() <= 1:
            frame = frame.drop(columns="region")
        numeric = {_TABLE[name] for name in _NUMBERS}
        names = [str(name) for name in frame.columns]
        return {
            "columns": [{"name": name, "kind": "number" if name in numeric else "text"} for name in names],
            "rows": [[_cell(value) for value in row] for row in frame.itertuples(index=False, name=None)],
            "sort": {"column": names.index("cost" if self.unit == "USD" else "hours"), "down": True},
            "labels": self.jobs["TuningJobName"].tolist(),
            "names": self.jobs["JobId"].tolist(),
            "states": self.jobs["TuningJobStatus"].tolist(),
            "best": [],
        }


def fleet_report(dest: str | os.PathLike[str], path: str | os.PathLike[str], *, aws: Aws | None = None) -> Path:
    """Write one page over all tuning jobs of a dataset that ``sync`` wrote; makes no call to SageMaker.

    Args:
        dest: the folder, or ``s3://bucket/prefix``.
        path: the HTML file.
        aws: a connection, for S3.

    Raises:
        SpecError: there is no dataset, or the page cannot be written.
        MissingExtraError: pyarrow or jinja2 is not installed.
        ServiceError: S3 refused or could not be reached.
    """
    page = checked_page(path)
    write_output(page, render_fleet(read_fleet(dest, aws), os.fspath(dest)))
    return page


def render_fleet(fleet: Fleet, source: str) -> str:
    """Return the page of a dataset as HTML. Makes no API call."""
    found = FleetFacts(fleet)
    unknown = int(found.trials["Cost"].isna().sum()) if found.unit == "USD" else 0
    return rendered(
        "fleet.html.j2",
        _sections(found),
        found.table(),
        noun="job",
        title=f"Tuning jobs in {source}",
        headline=found.headline,
        unknown=plural(unknown, "trial") if unknown else "",
        reasons=found.reasons(),
    )


def _sections(found: FleetFacts) -> list[Section]:
    jobs = found.jobs.set_index("JobId")

    def of_jobs(values: pd.Series[Any]) -> pd.Series[Any]:
        return found.trials["JobId"].map(values).fillna("none")

    tags = {f"tag {key}": jobs["Tags"].map(lambda own, key=key: (own or {}).get(key)) for key in found.tag_keys()}
    data = jobs["Inputs"].map(lambda own: next(iter((own or {}).values()), None))
    groups = {**tags, "dataset": data, "strategy": jobs["Strategy"], "objective": jobs["Objective"]}
    bars = [Option(name, _bars(found, name, of_jobs(values))) for name, values in groups.items()]
    late = found.trials["Late"]
    names = found.trials["TuningJobName"]
    after = _bars(found, "", names[late], title=f"Spent after the best trial was found ({found.unit})")
    return [
        Section("overview", "Overview", [Panel([Option("months", _months(found))], wide=True)]),
        Section(
            "spending",
            "Spending",
            [Panel(bars), Panel([Option("late", after)]), Panel([Option("jobs", _points(found))], wide=True)],
        ),
    ]


def _months(found: FleetFacts) -> Sketch:
    """Draw the amounts of each month as bars that are stacked by instance type."""
    title = f"Spending by month ({found.unit})"
    ends = found.trials["TrainingEndTime"].fillna(found.trials["CreationTime"])
    months = ends.dt.strftime("%Y-%m").astype(str)
    types = _few(found.trials["InstanceType"].fillna("unknown").astype(str), found.amounts, _MOST_TYPES)
    table = found.amounts.groupby([months, types]).sum().unstack(fill_value=0)
    if not len(table):
        return Sketch.empty(title, "There are no trials.")
    # Months without trials are gaps on the axis, not neighbours.
    table = table.reindex([f"{month}" for month in pd.period_range(table.index.min(), table.index.max(), freq="M")])
    figure = Sketch(title, subtitle="by the end of each trial; colours are instance types")
    order = table.sum().sort_values(ascending=False).index
    for number, kind in enumerate(order):
        figure.add_trace(
            trace(
                "bar",
                x=table.index.tolist(),
                y=table[kind].fillna(0.0).round(4).tolist(),
                name=escape(kind),
                marker={"color": SERIES[number % len(SERIES)]},
                hovertemplate=f"%{{x}}: %{{y:,.2f}} {found.unit}<br>{escape(kind)}<extra></extra>",
            )
        )
    figure.update_layout(barmode="stack")
    figure.update_xaxes(type="category")
    figure.update_yaxes(title=found.unit)
    return figure


def _bars(found: FleetFacts, name: str, groups: pd.Series[Any], *, title: str = "") -> Sketch:
    """Draw the amount of each group as a bar, the largest first."""
    title = title or f"Spending by {name} ({found.unit})"
    amounts = found.amounts[groups.index]
    totals = amounts.groupby(_few(groups.astype(str), amounts, _MOST_BARS)).sum()
    totals = totals[totals > 0].sort_values(ascending=False)
    if not len(totals):
        return Sketch.empty(title, "Nothing was spent here.")
    # The rest comes last, however much it is.
    totals = totals.reindex([*totals.index.drop(_OTHERS, errors="ignore"), *totals.index.intersection([_OTHERS])])
    share = totals / found.amounts.sum()
    positions = list(range(len(totals)))
    figure = Sketch(
        title, subtitle=f"{totals.sum():,.2f} of {found.amounts.sum():,.2f} {found.unit}", height=150 + 26 * len(totals)
    )
    figure.add_trace(
        trace(
            "bar",
            x=totals.round(4).tolist(),
            y=positions,
            orientation="h",
            marker={"color": BLUE},
            hovertext=[escape(group) for group in totals.index],
            text=[f"{part:.0%}" for part in share],
            textposition="outside",
            cliponaxis=False,
            hovertemplate=f"<b>%{{hovertext}}</b><br>%{{x:,.2f}} {found.unit}<extra></extra>",
            showlegend=False,
        )
    )
    labels = [escape(_short(str(group))) for group in totals.index]
    figure.update_yaxes(tickvals=positions, ticktext=labels, autorange="reversed", automargin=True, showgrid=False)
    figure.update_xaxes(title=found.unit, range=[0, float(totals.max()) * 1.15], nticks=5)
    return figure


def _points(found: FleetFacts) -> Sketch:
    """Draw each job as a point at its creation, as high as it cost; the points are linked with the table."""
    jobs = found.jobs
    amounts = found.amounts.groupby(found.trials["JobId"]).sum()
    heights = jobs["JobId"].map(amounts).fillna(0.0)
    texts = [
        f"<b>{escape(name)}</b><br>{escape(status)}, {trials} trials<br>{amount:,.2f} {found.unit}"
        for name, status, trials, amount in zip(
            jobs["TuningJobName"], jobs["TuningJobStatus"], jobs["Trials"], heights, strict=True
        )
    ]
    figure = Sketch(f"Each tuning job ({found.unit})", subtitle="by its creation; points are linked with the table")
    figure.add_trace(
        trace(
            "scatter",
            x=[f"{moment:%Y-%m-%d %H:%M}" for moment in jobs["CreationTime"]],
            y=heights.round(4).tolist(),
            mode="markers",
            customdata=list(range(len(jobs))),
            text=texts,
            hovertemplate="%{text}<extra></extra>",
            marker={"color": BLUE, "size": 8, "opacity": 0.8},
            meta={"link": "points"},
            showlegend=False,
        )
    )
    figure.update_xaxes(type="date")
    figure.update_yaxes(title=found.unit, rangemode="tozero")
    return figure


def _few(groups: pd.Series[Any], amounts: pd.Series[Any], most: int) -> pd.Series[Any]:
    """Return groups of which only those with the largest amounts keep their name."""
    largest = amounts.groupby(groups).sum().nlargest(most).index
    return groups.where(groups.isin(largest), _OTHERS)


def _short(text: str) -> str:
    """Return a label; of a long one, such as an S3 URI, the end tells it from others."""
    return text if len(text) <= _LABEL else f"…{text[1 - _LABEL :]}"


def _cell(value: Any) -> int | float | str | None:
    if value is None or value is pd.NaT or (not isinstance(value, str) and pd.isna(value)):
        return None
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, str):
        return value
    number = float(value)
    return int(number) if number.is_integer() else float(f"{number:.6g}")
