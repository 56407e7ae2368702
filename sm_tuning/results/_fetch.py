"""The calls that find a tuning job and its trials."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sm_tuning._errors import JobNotFoundError
from sm_tuning._masking import Redactor
from sm_tuning._wire import LARGEST_PAGE
from sm_tuning.description import Job, Trial, job_of, trial_of
from sm_tuning.results._reader import Reader, warn
from sm_tuning.results._schema import TEXTS, frame


def read_jobs(reader: Reader, names: str | Sequence[str], *, include_parents: bool = False) -> dict[Job, list[Trial]]:
    """Tuning jobs in the order asked for, each once, with their trials in order of creation.

    Args:
        reader: the connection.
        names: tuning jobs.
        include_parents: also those that they were warm-started from, and these in turn; each before its children. One
            that is not there any more is left out with a warning.

    Raises:
        JobNotFoundError: when one that was asked for does not exist.
    """
    jobs: list[Job] = []
    seen: set[str] = set()
    for name in dict.fromkeys([names] if isinstance(names, str) else names):
        _collect(reader, read_job(reader, name), jobs, seen, include_parents=include_parents)
    return {job: read_trials(reader, job) for job in jobs}


def _collect(reader: Reader, job: Job, jobs: list[Job], seen: set[str], *, include_parents: bool) -> None:
    """Add a job to those found, its ancestors before it, unless it is there already."""
    if job.name in seen:
        return
    seen.add(job.name)
    for name in job.parents if include_parents else ():
        if name in seen:
            continue
        try:
            parent = read_job(reader, name)
        except JobNotFoundError:
            warn(f"{name!r}, a parent of {job.name!r}, does not exist any more: its trials are left out")
            seen.add(name)
        else:
            _collect(reader, parent, jobs, seen, include_parents=True)
    jobs.append(job)


def read_job(reader: Reader, name: str) -> Job:
    """One tuning job: one call."""
    return job_of(reader.call("sagemaker", "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName=name))


def read_trials(reader: Reader, job: Job) -> list[Trial]:
    """Every trial of a job: one call a hundred; none when the job has ended and they are kept."""
    kept = reader.load(job, "trials", TEXTS) if job.ended else None
    if kept is not None:
        return [_from_text(text) for text in kept.frame["Text"]]
    trials = _listed(reader, job)
    if job.ended and all(trial.terminal and reader.settled(trial.ended or trial.created) for trial in trials):
        names = [trial.name for trial in trials]
        reader.save(job, "trials", frame(TEXTS, {"Name": names, "Text": [_to_text(trial) for trial in trials]}), names)
    return trials


def _listed(reader: Reader, job: Job) -> list[Trial]:
    listing = reader.pages(
        "sagemaker",
        "list_training_jobs_for_hyper_parameter_tuning_job",
        HyperParameterTuningJobName=job.name,
        MaxResults=LARGEST_PAGE,
        SortBy="CreationTime",
        SortOrder="Ascending",
    )
    trials: dict[str, Trial] = {}
    clear = job.redactor
    for page in listing:
        summaries = page["TrainingJobSummaries"]
        reader.count("trials", len(summaries))
        trials |= {summary["TrainingJobName"]: _clear(trial_of(summary), clear) for summary in summaries}
    return sorted(trials.values(), key=lambda trial: (trial.created, trial.name))


def _clear(trial: Trial, clear: Redactor) -> Trial:
    """A trial whose reason shows no secret: a container's reason often is the command with all hyperparameters."""
    return replace(trial, failure=clear(trial.failure)) if trial.failure and clear else trial


_TIMES = ("created", "started", "ended")


def _to_text(trial: Trial) -> str:
    facts = vars(trial)
    times = {name: None if facts[name] is None else facts[name].isoformat() for name in _TIMES}
    return json.dumps({**facts, **times})


def _from_text(text: str) -> Trial:
    facts: Mapping[str, Any] = json.loads(text)
    times = {name: None if facts[name] is None else datetime.fromisoformat(facts[name]) for name in _TIMES}
    return Trial(**{**facts, **times})
