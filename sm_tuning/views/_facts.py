"""What the report says in words and tables: headline, trial table, failures, specs, and how to do it again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata
from platform import python_version
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml

from sm_tuning import jobs
from sm_tuning._errors import SpecError
from sm_tuning._masking import Redactor, redacted, secrets_of_job, without_secrets
from sm_tuning.request import from_description
from sm_tuning.spec import to_data
from sm_tuning.views._axis import label
from sm_tuning.views._curves import duration
from sm_tuning.views._gather import Gathered, parents_of
from sm_tuning.views._rows import rows_of

_PACKAGES = ("sm-tuning", "boto3", "pandas", "plotly")

Pairs = list[tuple[str, str]]


class Headline(NamedTuple):
    """The first look at a job.

    Attributes:
        job: its name.
        status: as the service says it.
        value: the best objective in six digits, or none.
        objective: its metric and direction.
        best: the best trial; empty when there is none.
        hyperparameters: of the best trial.
        facts: counts, times and money.
        reason: why the job failed or ended; else empty.
    """

    job: str
    status: str
    value: str
    objective: str
    best: str
    hyperparameters: Pairs
    facts: Pairs
    reason: str


def headline(found: Gathered, name: str) -> Headline:
    """The first look at one of the jobs."""
    description = found.descriptions[name]
    trials = found.trials[found.trials["TuningJobName"] == name]
    best = trials[trials["IsBest"]]
    value = float(best["FinalObjectiveValue"].iloc[0]) if len(best) else np.nan
    tuned = rows_of(trials).hyperparameters
    shown = [(column, best[column].iloc[0]) for column in tuned] if len(best) else []
    return Headline(
        job=name,
        status=str(description["HyperParameterTuningJobStatus"]),
        value=label(value) if np.isfinite(value) else "none",
        objective=found.known.goal,
        best=str(best["TrainingJobName"].iloc[0]) if len(best) else "",
        hyperparameters=[(column, cell(one)) for column, one in shown if not pd.isna(one)],
        facts=[(key, text) for key, text in _facts(found, name, trials) if text],
        reason=redacted(str(description.get("FailureReason") or ""), secrets_of_job(description)),
    )


def _facts(found: Gathered, name: str, trials: pd.DataFrame) -> Iterator[tuple[str, str]]:
    states = rows_of(trials).states
    yield "trials", f"{len(trials)}"
    yield "completed", f"{states.count('completed')}"
    yield "stopped early", f"{states.count('stopped')}" if "stopped" in states else "none"
    yield "failed", f"{states.count('failed')}" if "failed" in states else "none"
    yield "without objective", f"{states.count('no objective')}" if "no objective" in states else ""
    yield "running", f"{states.count('running')}" if "running" in states else ""
    yield "time", _duration(_span(found.descriptions[name]))
    yield "training time", _duration(float(trials["TrainingElapsedTimeSeconds"].sum()))
    billable = trials["BillableTimeInSeconds"].sum()
    yield "billable time", _duration(float(billable)) if billable else ""
    costs = found.cost[found.cost["TrainingJobName"].isin(trials["TrainingJobName"])]["Cost"]
    yield "cost", _money(costs)
    yield "strategy", str(found.descriptions[name].get("HyperParameterTuningJobConfig", {}).get("Strategy", ""))
    yield "started from", ", ".join(parents_of(found.descriptions[name]))


def _money(costs: pd.Series) -> str:
    known = costs.dropna()
    if not len(known):
        return "not known"
    total = float(known.sum())
    shown = f"{total:,.2f}" if total >= 1 else f"{total:.3g}"
    return f"{shown} USD" + (f" ({len(known)} of {len(costs)} priced)" if len(known) < len(costs) else "")


def _span(description: Mapping[str, Any]) -> float:
    """Seconds from a job's creation to its end, or to what it last said; nan when it has neither."""
    end = description.get("HyperParameterTuningEndTime") or description.get("LastModifiedTime")
    start = description.get("CreationTime")
    return (end - start).total_seconds() if start and end else float("nan")


def _duration(seconds: float) -> str:
    return duration(seconds) if np.isfinite(seconds) else ""


def cell(value: Any) -> str:
    """A value of a frame as text: numbers short, times in UTC, what is missing empty."""
    if value is None or value is pd.NaT or (not isinstance(value, str) and pd.isna(value)):
        return ""
    if isinstance(value, float | np.floating):
        return label(float(value))
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return str(value)


#: Columns of the trial table after the hyperparameters.
_TABLE = {
    "FinalObjectiveValue": "objective",
    "TrainingJobStatus": "status",
    "TrainingElapsedTimeSeconds": "seconds",
    "BillableTimeInSeconds": "billable s",
    "TrainingStartTime": "started (UTC)",
    "FailureReason": "reason",
    "TrainingJobDefinitionName": "definition",
    "TuningJobName": "tuning job",
    "TrainingJobName": "training job",
}
_ALWAYS = {"FinalObjectiveValue", "TrainingJobStatus", "TrainingJobName"}


def trial_table(found: Gathered) -> dict[str, Any]:
    """The trial table: labels, columns with their kind, and rows of raw values; row numbers are those of the frame."""
    trials = found.trials
    rows = rows_of(trials)
    metrics = [str(name) for name in trials.columns if str(name).startswith("metric:")]
    names = {
        "FinalObjectiveValue": found.known.objective,
        **{name: name for name in rows.hyperparameters},
        **{name: shown for name, shown in _TABLE.items() if name != "FinalObjectiveValue"},
    }
    columns = {name: text for name, text in names.items() if name in _ALWAYS or trials[name].notna().any()}
    if len(set(rows.jobs)) == 1:
        columns.pop("TuningJobName", None)
    if trials["TrainingJobDefinitionName"].nunique() <= 1:
        columns.pop("TrainingJobDefinitionName", None)
    at = list(columns).index("TrainingJobStatus")
    order = [*list(columns)[:at], *metrics, *list(columns)[at:]]
    kinds = ["number" if _is_number(trials[name]) else "text" for name in order]
    return {
        "columns": [
            {"name": columns.get(name, name.removeprefix("metric:")), "kind": kind}
            for name, kind in zip(order, kinds, strict=True)
        ],
        "rows": [
            [_raw(value, kind) for value, kind in zip(line, kinds, strict=True)]
            for line in trials[order].itertuples(index=False, name=None)
        ],
        "sort": {"column": 0, "down": bool(found.known.maximize)},
        "labels": list(rows.labels),
        "states": list(rows.states),
        "best": [index for index, best in enumerate(rows.is_best) if best],
    }


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _raw(value: Any, kind: str) -> Any:
    if kind == "text":
        return cell(value)
    if pd.isna(value):
        return None
    number = float(value)
    if not np.isfinite(number):
        return "∞" if number > 0 else "-∞"
    return int(number) if number.is_integer() and abs(number) < 2**53 else float(f"{number:.9g}")


class Failure(NamedTuple):
    """A trial that failed: its row in the table, its label and name, the reason, and its traceback if there is one."""

    row: int
    label: str
    name: str
    reason: str
    traceback: str


def failures(found: Gathered) -> list[Failure]:
    """The trials that failed, in their order, with what the service and their logs say."""
    rows = rows_of(found.trials)
    said = found.errors.drop_duplicates("TrainingJobName").set_index("TrainingJobName")
    clear = Redactor(text for description in found.descriptions.values() for text in secrets_of_job(description))
    failed = []
    for row, state in enumerate(rows.states):
        if state != "failed":
            continue
        name = rows.names[row]
        reason = cell(found.trials["FailureReason"].iloc[row])
        message = cell(said.at[name, "Message"]) if name in said.index else ""
        traceback = cell(said.at[name, "Traceback"]) if name in said.index else ""
        failed.append(Failure(row, rows.labels[row], name, clear(reason or message), clear(traceback)))
    return failed


def spec_text(found: Gathered, name: str) -> str:
    """The job's spec as YAML, with secrets masked; a comment that says why when a spec cannot express it."""
    description = found.descriptions[name]
    tags = {key: value for key, value in found.tags.get(name, {}).items() if key != jobs.SPEC_HASH_TAG}
    try:
        spec = from_description(description, tags=tags)
    except SpecError as error:
        return "".join(f"# {line}\n" for line in f"A spec cannot express this job:\n{error}".splitlines())
    text = yaml.safe_dump(without_secrets(to_data(spec)), sort_keys=False, allow_unicode=True, width=100)
    return redacted(text, secrets_of_job(description))


def description_text(found: Gathered, name: str) -> str:
    """DescribeHyperParameterTuningJob's answer as JSON, which holds the request, with secrets masked."""
    shown = {key: value for key, value in found.descriptions[name].items() if key != "ResponseMetadata"}
    text = json.dumps(without_secrets(shown), indent=2, ensure_ascii=False, default=str)
    return redacted(text, secrets_of_job(shown))


def reproducibility(found: Gathered, name: str) -> Pairs:
    """What one needs to know to run the job again and get the same."""
    description = found.descriptions[name]
    config = description.get("HyperParameterTuningJobConfig", {})
    definitions = description.get("TrainingJobDefinitions") or [description.get("TrainingJobDefinition", {})]
    facts = [
        ("ARN", description.get("HyperParameterTuningJobArn")),
        ("created", cell(description.get("CreationTime"))),
        ("ended", cell(description.get("HyperParameterTuningEndTime"))),
        ("strategy", config.get("Strategy")),
        ("random seed", config.get("RandomSeed", "none was given")),
        *[fact for definition in definitions for fact in _definition_facts(definition, several=len(definitions) > 1)],
        *[(package, _version(package)) for package in _PACKAGES],
        ("Python", python_version()),
        ("report written", f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"),
    ]
    return [(key, str(value)) for key, value in facts if value not in (None, "")]


def _definition_facts(definition: Mapping[str, Any], *, several: bool) -> Iterator[tuple[str, Any]]:
    of = f" of {definition.get('DefinitionName')}" if several else ""
    algorithm = definition.get("AlgorithmSpecification", {})
    resources = definition.get("ResourceConfig") or {}
    static = definition.get("StaticHyperParameters", {})
    yield f"image{of}", algorithm.get("TrainingImage") or algorithm.get("AlgorithmName")
    if resources.get("InstanceType"):
        yield f"instances{of}", f"{resources.get('InstanceCount', 1)} of {resources['InstanceType']}"
    yield f"code{of}", static.get("sagemaker_submit_directory")
    for channel in definition.get("InputDataConfig", ()):
        source = channel.get("DataSource", {})
        files, system = source.get("S3DataSource", {}), source.get("FileSystemDataSource", {})
        yield f"input {channel['ChannelName']}{of}", files.get("S3Uri") or system.get("FileSystemId")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
