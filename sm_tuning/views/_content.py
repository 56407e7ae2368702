"""The content of a report: everything read from SageMaker once, then headline, tables, failures, spec and facts.

If AWS refuses a part, or a package is not installed, the report has an empty frame and a note instead.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from platform import python_version
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import yaml

from sm_tuning import jobs, results
from sm_tuning._errors import MissingExtraError, ServiceError, SpecError
from sm_tuning._masking import Redactor, redacted, without_secrets
from sm_tuning._prices import Prices
from sm_tuning._wire import SUBMIT_DIRECTORY_KEY
from sm_tuning.aws import Aws
from sm_tuning.description import Job, job_of
from sm_tuning.request import from_description
from sm_tuning.results import analysis
from sm_tuning.results.replay import assumed_lag
from sm_tuning.spec import decode_scalar, to_data
from sm_tuning.views._axis import label
from sm_tuning.views._curves import duration
from sm_tuning.views._trials import About, about, rows_of, shared

#: Packages whose versions the report lists.
_PACKAGES = ("sm-tuning", "boto3", "pandas", "plotly")

#: Columns of the trial table after the hyperparameters, and their headings.
_TABLE = {
    "FinalObjectiveValue": "objective",
    "TrainingJobStatus": "status",
    "TrainingElapsedTimeSeconds": "seconds",
    "BillableTimeInSeconds": "billable s",
    "TrainingStartTime": "started (UTC)",
    "Why": "why",
    "Member": "member",
    "Parent": "parent",
    "FailureReason": "reason",
    "TrainingJobDefinitionName": "definition",
    "TuningJobName": "tuning job",
    "TrainingJobName": "training job",
}
_ALWAYS = {"FinalObjectiveValue", "TrainingJobStatus", "TrainingJobName"}

#: Calls about a tuning job that each frame of a report makes.
_ONCE = ("describe_hyper_parameter_tuning_job", "list_training_jobs_for_hyper_parameter_tuning_job")

Pairs = list[tuple[str, str]]
_Part = TypeVar("_Part")


class Headline(NamedTuple):
    """The summary of a job.

    Attributes:
        job: its name.
        status: HyperParameterTuningJobStatus.
        value: the best objective in six digits, or none.
        objective: its metric and direction.
        best: the best trial; empty without one.
        best_label: its short name.
        hyperparameters: of the best trial.
        facts: counts, times and money.
        reason: why the job failed or ended; else empty.
    """

    job: str
    status: str
    value: str
    objective: str
    best: str
    best_label: str
    hyperparameters: Pairs
    facts: Pairs
    reason: str


class Failure(NamedTuple):
    """A failed trial: its row in the table, its label and name, the reason, and its traceback if there is one."""

    row: int
    label: str
    name: str
    reason: str
    traceback: str


class Gathered(NamedTuple):
    """Tuning jobs with everything that a report shows of them.

    Attributes:
        names: the jobs of the report.
        jobs: parsed from the descriptions.
        chain: jobs that were warm-started one from another, the oldest first; may be empty.
        descriptions: answers of DescribeHyperParameterTuningJob by name, ancestors included.
        tags: of the jobs of the report, by name.
        known: the facts that titles and axes need.
        trials: of all jobs, ancestors included.
        curves: of the jobs of the report, as all frames that follow.
        utilization: how busy the machines were.
        cost: what the trials cost.
        errors: why trials failed.
        importance: by job.
        advice: by job.
        notes: what could not be read, and warnings.
        doubts: those of the notes that change the numbers of the headline.
    """

    names: tuple[str, ...]
    jobs: Mapping[str, Job]
    chain: tuple[str, ...]
    descriptions: Mapping[str, Mapping[str, Any]]
    tags: Mapping[str, Mapping[str, str]]
    known: About
    trials: pd.DataFrame
    curves: pd.DataFrame
    utilization: pd.DataFrame
    cost: pd.DataFrame
    errors: pd.DataFrame
    importance: Mapping[str, pd.DataFrame]
    advice: Mapping[str, pd.DataFrame]
    notes: tuple[str, ...]
    doubts: tuple[str, ...] = ()

    def headline(self, name: str) -> Headline:
        """Return the summary of one of the jobs."""
        job = self.jobs[name]
        trials = self.trials[self.trials["TuningJobName"] == name]
        best = trials[trials["IsBest"]]
        value = float(best["FinalObjectiveValue"].iloc[0]) if len(best) else np.nan
        rows = rows_of(trials)
        shown = [(column, best[column].iloc[0]) for column in rows.hyperparameters] if len(best) else []
        counts = {state: rows.states.count(state) for state in dict.fromkeys(rows.states)}
        # A running job has no end yet; its last change is the last known time.
        end = job.ended_at or job.modified
        billable = float(trials["BillableTimeInSeconds"].sum())
        costs = self.cost[self.cost["TrainingJobName"].isin(trials["TrainingJobName"])]["Cost"]
        facts = [
            ("trials", str(len(trials))),
            ("completed", str(counts.get("completed", 0))),
            ("stopped early", str(counts.get("stopped", "none"))),
            ("failed", str(counts.get("failed", "none"))),
            ("without objective", str(counts.get("no objective", ""))),
            ("running", str(counts.get("running", ""))),
            ("time", duration((end - job.created).total_seconds()) if end else ""),
            ("training time", duration(float(trials["TrainingElapsedTimeSeconds"].sum()))),
            ("billable time", duration(billable) if billable else ""),
            ("cost", _money(costs)),
            ("strategy", job.strategy),
            ("started from", ", ".join(job.parents)),
        ]
        return Headline(
            job=name,
            status=job.status,
            value=label(value) if np.isfinite(value) else "none",
            objective=self.known.goal,
            best=str(best["TrainingJobName"].iloc[0]) if len(best) else "",
            best_label=next((text for text, is_best in zip(rows.labels, rows.is_best, strict=True) if is_best), ""),
            hyperparameters=[(column, cell(entry)) for column, entry in shown if not pd.isna(entry)],
            facts=[(key, text) for key, text in facts if text],
            reason=job.failure or job.completion,
        )

    def trial_table(self) -> dict[str, Any]:
        """Return the trial table for the page's script: columns, rows of raw values in the frame's order, states."""
        trials = self.trials
        rows = rows_of(trials)
        metrics = [
            str(name) for name in trials.columns if str(name).startswith("metric:") and trials[name].notna().any()
        ]
        headings = {"FinalObjectiveValue": self.known.objective, **{name: name for name in rows.hyperparameters}}
        headings |= {name: heading for name, heading in _TABLE.items() if name not in headings}
        headings = {name: text for name, text in headings.items() if name in trials}  # studies have more columns
        columns = {name: text for name, text in headings.items() if name in _ALWAYS or trials[name].notna().any()}
        # Columns that would repeat one value on every row are left out.
        if len(set(rows.jobs)) == 1:
            columns.pop("TuningJobName", None)
        for name in ("TrainingJobDefinitionName", "Why"):
            if name in trials and trials[name].nunique() <= 1:
                columns.pop(name, None)
        # Metrics stand beside the objective and the hyperparameters, before the facts of the training job.
        at = list(columns).index("TrainingJobStatus")
        order = [*list(columns)[:at], *metrics, *list(columns)[at:]]
        numeric = [
            pd.api.types.is_numeric_dtype(trials[name]) and not pd.api.types.is_bool_dtype(trials[name])
            for name in order
        ]
        columns_of_cells = [
            [_number(value) for value in trials[name].to_numpy(np.float64, na_value=np.nan).tolist()]
            if is_number
            else list(map(cell, trials[name].to_numpy(object).tolist() if _is_text(trials[name]) else trials[name]))
            for name, is_number in zip(order, numeric, strict=True)
        ]
        return {
            "columns": [
                {"name": columns.get(name, name.removeprefix("metric:")), "kind": "number" if is_number else "text"}
                for name, is_number in zip(order, numeric, strict=True)
            ],
            "rows": list(map(list, zip(*columns_of_cells, strict=True))),
            "sort": {"column": 0, "down": bool(self.known.maximize)},
            "labels": list(rows.labels),
            "names": list(rows.names),
            "states": list(rows.states),
            "best": [index for index, best in enumerate(rows.is_best) if best],
        }

    def failures(self) -> list[Failure]:
        """Return the failed trials in order, with the reasons of the service and of their logs, without secrets."""
        rows = rows_of(self.trials)
        logged = self.errors.drop_duplicates("TrainingJobName").set_index("TrainingJobName")
        clear = Redactor(text for job in self.jobs.values() for text in job.secrets)
        failed = []
        for row, state in enumerate(rows.states):
            if state == "failed":
                name = rows.names[row]
                reason = cell(self.trials["FailureReason"].iloc[row])
                message = cell(logged.at[name, "Message"]) if name in logged.index else ""
                traceback = cell(logged.at[name, "Traceback"]) if name in logged.index else ""
                failed.append(Failure(row, rows.labels[row], name, clear(reason or message), clear(traceback)))
        return failed

    def spec_text(self, name: str) -> str:
        """Return the job's spec as YAML, with secrets masked; a comment with the reason if no spec can express it."""
        # Our own tag is no part of the spec: it would make the same spec look different.
        tags = {key: value for key, value in self.tags.get(name, {}).items() if key != jobs.SPEC_HASH_TAG}
        try:
            spec = from_description(self.descriptions[name], tags=tags)
        except SpecError as error:
            return "".join(f"# {line}\n" for line in f"A spec cannot express this job:\n{error}".splitlines())
        text = yaml.safe_dump(without_secrets(to_data(spec)), sort_keys=False, allow_unicode=True, width=100)
        return redacted(text, self.jobs[name].secrets)

    def description_text(self, name: str) -> str:
        """Return the answer of DescribeHyperParameterTuningJob as JSON, with secrets masked."""
        shown = {key: value for key, value in self.descriptions[name].items() if key != "ResponseMetadata"}
        text = json.dumps(without_secrets(shown), indent=2, ensure_ascii=False, default=str)
        return redacted(text, self.jobs[name].secrets)

    def reproducibility(self, name: str) -> Pairs:
        """Return the facts that are needed to run the job again: images, instances, inputs, seed and versions."""
        job = self.jobs[name]
        facts = [
            ("ARN", job.arn),
            ("created", cell(job.created)),
            ("ended", cell(job.ended_at)),
            ("strategy", job.strategy),
            ("random seed", "none was given" if job.random_seed is None else str(job.random_seed)),
        ]
        for definition in job.definitions:
            owner = f" of {definition.name}" if job.several else ""
            code = decode_scalar(definition.static.get(SUBMIT_DIRECTORY_KEY, ""), as_json=definition.as_json)
            facts += [
                (f"image{owner}", definition.image),
                *((f"instances{owner}", f"{group.count} of {group.type}") for group in definition.machines),
                (f"code{owner}", str(code)),
                *((f"input {channel}{owner}", uri) for channel, uri in definition.inputs.items()),
            ]
        facts += [
            *((package, _version(package)) for package in _PACKAGES),
            ("Python", python_version()),
            ("report written", f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"),
        ]
        return [(key, text) for key, text in facts if text]


def gather(aws: Aws, names: Sequence[str], *, prices: Prices = None) -> Gathered:
    """Read everything that a report shows.

    Args:
        aws: the connection.
        names: the tuning jobs.
        prices: as for ``results.cost``.

    Raises:
        JobNotFoundError: a tuning job does not exist.
        SpecError: some of the jobs maximize and some minimize.

    Warns:
        IncompleteWarning: AWS withheld a part.
    """
    names = tuple(dict.fromkeys(names))
    withheld, notes = list[str](), list[str]()

    def optional(default: _Part, read: Callable[[], _Part]) -> _Part:
        try:
            return read()
        except (ServiceError, MissingExtraError) as error:
            (withheld if isinstance(error, ServiceError) else notes).append(str(error))
            return default

    aws = _reading_once(aws)
    descriptions = {name: jobs.describe(aws, name) for name in names}
    found = {name: job_of(description) for name, description in descriptions.items()}
    known = about(*found.values())  # refuses jobs of opposite directions before anything else is read
    with warnings.catch_warnings(record=True, action="always", category=UserWarning) as caught:
        reading = results.Reading(memory={})  # what several frames need is read once
        trials = results.trials(aws, names, include_parents=True, reading=reading)  # a report needs at least these
        doubts = [str(item.message) for item in caught if issubclass(item.category, results.IncompleteWarning)]
        own = {name: trials[trials["TuningJobName"] == name] for name in names}
        facts = {name: analysis.facts_of(found[name]) for name in names}
        frames, importance = _further(aws, own, facts, optional, prices=prices, reading=reading)
        ancestors = [job for job in dict.fromkeys(trials["TuningJobName"]) if job not in descriptions]
        descriptions |= {name: jobs.describe(aws, name) for name in ancestors}
        found |= {name: job_of(descriptions[name]) for name in ancestors}
        advice = {
            name: analysis.advice(
                own[name], frames["curves"], facts[name], importance=importance[name], lag=assumed_lag(aws, found[name])
            )
            for name in names
        }
        tags = {name: optional(dict[str, str](), partial(aws.tags, found[name].arn)) for name in names}
    withheld += [str(item.message) for item in caught if issubclass(item.category, results.IncompleteWarning)]
    notes += [str(item.message) for item in caught if issubclass(item.category, UserWarning)]
    _warn_of(withheld)
    trials = results.shown(trials)
    return Gathered(
        names=names,
        jobs=found,
        chain=chain_of(found.values()),
        descriptions=descriptions,
        tags=tags,
        known=shared(trials, known),
        trials=trials,
        **frames,
        importance=importance,
        advice=advice,
        notes=tuple(dict.fromkeys([*withheld, *notes])),
        doubts=tuple(dict.fromkeys(doubts)),
    )


def _further(
    aws: Aws,
    own: Mapping[str, pd.DataFrame],
    facts: Mapping[str, analysis.Facts],
    optional: Callable[[pd.DataFrame, Callable[[], pd.DataFrame]], pd.DataFrame],
    *,
    prices: Prices,
    reading: results.Reading,
) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    """Return the frames beside that of the trials, by kind, and the importance by job.

    Args:
        aws: the connection.
        own: the trials of each job.
        facts: of each job.
        optional: reads a frame, or returns the given one if AWS refuses it.
        prices: as for ``results.cost``.
        reading: how to read.
    """
    names = tuple(own)
    reads = {
        "curves": (results.CURVES, partial(results.curves, aws, names, reading=reading)),
        "utilization": (results.UTILIZATION, partial(results.utilization, aws, names, reading=reading)),
        "cost": (results.COST, partial(results.cost, aws, names, prices=prices, reading=reading)),
        "errors": (results.ERRORS, partial(results.errors, aws, names, reading=reading)),
    }
    frames = {kind: optional(_empty(dtypes), read) for kind, (dtypes, read) in reads.items()}
    forests = {name: partial(analysis.importance, own[name], facts[name]) for name in names}
    return frames, {name: optional(_empty(analysis.IMPORTANCE), forests[name]) for name in names}


def _reading_once(aws: Aws) -> Aws:
    """Return a connection that reads the description and the trials of a job once, however many frames need them."""
    known: dict[str, dict[str, Any]] = {}

    def answer(method: str, params: Mapping[str, Any]) -> dict[str, Any] | None:
        if method not in _ONCE:
            return None
        key = json.dumps([method, params], sort_keys=True)
        if key not in known:
            known[key] = aws.call("sagemaker", method, **params)
        return known[key]

    return aws.answering(answer)


def _warn_of(withheld: Iterable[str]) -> None:
    """Warn of what AWS withheld, at the line that called the method of a job."""
    for message in dict.fromkeys(withheld):
        warnings.warn(f"the report lacks a part: {message}", results.IncompleteWarning, stacklevel=5)


def _empty(dtypes: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in dtypes.items()})


def chain_of(tuning_jobs: Iterable[Job]) -> tuple[str, ...]:
    """Return the names of jobs, parents before their children; empty if no job has a parent among them."""
    ordered = {job.name: job for job in sorted(tuning_jobs, key=lambda job: job.created)}
    parents = {
        name: [parent for parent in ordered if parent in job.parents and parent != name]
        for name, job in ordered.items()
    }
    order: list[str] = []

    # Creation times alone do not give the order: a clock may be wrong.
    def visit(name: str, below: frozenset[str]) -> None:
        for parent in parents[name]:
            if parent not in below:
                visit(parent, below | {name})
        if name not in order:
            order.append(name)

    for name in ordered:
        visit(name, frozenset())
    return tuple(order) if any(parents.values()) else ()


def _money(costs: pd.Series) -> str:
    """Return the total cost in words, with the number of priced trials if some have no price."""
    known = costs.dropna()
    if not len(known):
        return "not known"
    total = float(known.sum())
    shown = f"{total:,.2f}" if total >= 1 else f"{total:.3g}"
    return f"{shown} USD" + (f" ({len(known)} of {len(costs)} priced)" if len(known) < len(costs) else "")


def cell(value: Any) -> str:
    """Return a value of a frame as text: numbers short, times in UTC, missing values empty."""
    if isinstance(value, str):
        return value
    if value is None or value is pd.NaT or pd.isna(value):
        return ""
    if isinstance(value, float | np.floating):
        return label(float(value))
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return str(value)


def _is_text(column: pd.Series) -> bool:
    return str(column.dtype) in ("string", "object")


def _number(number: float) -> int | float | str | None:
    """Return a number as the page's script sorts it; infinities as text, since JSON has none."""
    if math.isnan(number):
        return None
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    return int(number) if number.is_integer() and abs(number) < 2**53 else float(f"{number:.9g}")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
