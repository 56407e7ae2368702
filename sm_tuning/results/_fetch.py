"""The calls that read tuning jobs, their trials, and what only a training job's full description has.

``Search`` gives a hundred full descriptions a call, ``DescribeTrainingJob`` one. Search may be denied, may not exist
at an endpoint, and its index lags behind; what it does not return is described job by job, a few at a time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sm_tuning._errors import CredentialsError, EndpointError, JobNotFoundError, ServiceError
from sm_tuning._wire import LARGEST_PAGE
from sm_tuning.aws import Aws, is_transient
from sm_tuning.description import Job, Machines, Trial, job_of, training_of, trial_of
from sm_tuning.results._columns import microseconds
from sm_tuning.results._reader import Gap, Reader, warn

_AT_ONCE = 8  # calls, of the 32 connections of a client's pool
_TIMES = ("created", "started", "ended")


@dataclass(frozen=True)
class Detail:
    """What only a training job's full description has.

    Attributes:
        billable: billed seconds of each instance; None while unknown.
        training: seconds that it took, on each instance; more than ``billable`` on spot instances.
        retained: billed seconds of each instance for which a warm pool was kept after it; None if the answer, of a
            Search by an older botocore, cannot have them.
        pool: status of that warm pool; None without one.
        spot: whether it ran on spot instances.
        machines: its instances; empty if unknown.
        metrics: final values by name.
        last_attempt: when the last attempt began, in epoch milliseconds; None if there was one attempt at most.
        stopping: when its stop began, in epoch milliseconds; None if it was not stopped.
    """

    billable: int | None = None
    training: int | None = None
    retained: int | None = 0
    pool: str | None = None
    spot: bool = False
    machines: tuple[Machines, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    last_attempt: int | None = None
    stopping: int | None = None

    @property
    def is_pool_open(self) -> bool:
        """Whether the warm pool may be billed further."""
        return self.pool is not None and self.pool not in ("Reused", "Terminated")


def read_job(reader: Reader, name: str) -> Job:
    """Read one tuning job, with one call."""
    return job_of(reader.call("sagemaker", "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName=name))


def read_jobs(reader: Reader, names: str | Sequence[str], *, include_parents: bool = False) -> dict[Job, list[Trial]]:
    """Read tuning jobs in the given order, each once, with their trials in order of creation.

    Args:
        reader: the connection.
        names: tuning jobs.
        include_parents: also read the jobs that they were warm-started from, and the parents of these; each comes
            before its children. A parent that has been deleted is left out with a warning.

    Raises:
        JobNotFoundError: one of the named jobs does not exist.
    """
    jobs: list[Job] = []
    seen: set[str] = set()

    def add(job: Job) -> None:
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
                add(parent)
        jobs.append(job)

    for name in dict.fromkeys([names] if isinstance(names, str) else names):
        add(read_job(reader, name))
    return {job: read_trials(reader, job) for job in jobs}


def read_trials(reader: Reader, job: Job) -> list[Trial]:
    """Read every trial of a job, a hundred a call; of a job that has ended they may be in the cache."""
    # A plain training job's objective is chosen by the reader, and is no more than one call.
    is_fixed = job.ended and not job.is_training
    cached = reader.load_facts(job, "trials", _parsed_trials) if is_fixed else None
    if cached is not None:
        return list(cached)
    pages = reader.pages(
        "sagemaker",
        "list_training_jobs_for_hyper_parameter_tuning_job",
        HyperParameterTuningJobName=job.name,
        MaxResults=LARGEST_PAGE,
        SortBy="CreationTime",
        SortOrder="Ascending",
    )
    found: dict[str, Trial] = {}  # by name: a trial that is created between two pages may be listed twice
    redact = job.redactor
    for page in reader.ahead(pages):
        reader.count("trials", len(page["TrainingJobSummaries"]))
        for trial in map(trial_of, page["TrainingJobSummaries"]):
            # A container's reason often is its command line, with all hyperparameters in it.
            found[trial.name] = replace(trial, failure=redact(trial.failure)) if trial.failure and redact else trial
    trials = sorted(found.values(), key=lambda trial: (trial.created, trial.name))
    if is_fixed and all(reader.is_settled(trial) for trial in trials):
        reader.save_facts(job, "trials", tuple(trials), _trials_json)
    return trials


def _parsed_trials(facts: dict[str, Any]) -> tuple[Trial, ...]:
    for entry in facts.values():
        entry |= {name: entry[name] and datetime.fromisoformat(entry[name]) for name in _TIMES}
        entry["values"] = tuple(entry.get("values", ()))  # JSON has lists only, and a trial is a key
    return tuple(Trial(**entry) for entry in facts.values())


def _trials_json(trials: Sequence[Trial]) -> str:
    return json.dumps({trial.name: vars(trial) for trial in trials}, default=datetime.isoformat)


def read_details(
    reader: Reader, per_job: Mapping[Job, Sequence[Trial]], *, pools: bool = False
) -> tuple[dict[str, Detail], str | None]:
    """Read the details of every trial that has ended.

    Args:
        reader: the connection.
        per_job: trials of each job.
        pools: whether warm pools must be known: an older botocore drops them from the answers of Search.

    Returns:
        The details by trial name, and their source: ``Search``, ``DescribeTrainingJob``, both joined by ``and``, or
        None if no trial has ended.
    """
    details: dict[str, Detail] = {}
    sources: set[str] = set()
    for job, trials in per_job.items():
        ended = {trial.name: trial for trial in trials if trial.terminal}
        known = reader.load_facts(job, "details", _parsed_details) if ended else None
        cached, job_sources = (known[0], list(known[1])) if known else (dict[str, Detail](), [])
        if pools:
            cached = {name: detail for name, detail in cached.items() if detail.retained is not None}
        missing = {name: trial for name, trial in ended.items() if name not in cached}
        searches = bool(missing) and (not pools or _finds_pools(reader.aws))
        found = _search(reader, job, missing) if searches else {}
        rest = [name for name in missing if name not in found]
        searched = "DescribeTrainingJob" if job.is_training else "Search"
        job_sources += [*([searched] if found else []), *(["DescribeTrainingJob"] if rest else [])]
        found |= _describe_all(reader, rest)
        complete = {
            name: detail
            for name, detail in found.items()
            if reader.is_settled(missing[name]) and not detail.is_pool_open
        }
        if complete:
            kept = {**cached, **complete}, list(dict.fromkeys(job_sources))
            reader.save_facts(job, "details", kept, _details_json)
        details |= {name: detail for name, detail in (cached | found).items() if name in ended}
        sources |= set(job_sources)
    return details, " and ".join(name for name in ("Search", "DescribeTrainingJob") if name in sources) or None


def _parsed_details(facts: dict[str, Any]) -> tuple[dict[str, Detail], list[str]]:
    """Return a job's cached details, and their sources."""
    sources: list[str] = facts.pop("")
    for entry in facts.values():
        entry["machines"] = tuple(Machines(**machine) for machine in entry["machines"])
    return {name: Detail(**entry) for name, entry in facts.items()}, sources


def _details_json(found: tuple[Mapping[str, Detail], list[str]]) -> str:
    details, sources = found
    return json.dumps({**details, "": sources}, default=vars)  # no trial has an empty name


def _search(reader: Reader, job: Job, ended: Mapping[str, Trial]) -> dict[str, Detail]:
    """Return the details of the ended trials that Search has; it may refuse, and may have an older state."""
    found: dict[str, Detail] = {}
    lacks_pools = not _finds_pools(reader.aws)
    pages = reader.pages(
        "sagemaker",
        "search",
        Resource="TrainingJob",
        SearchExpression={"Filters": [{"Name": "TuningJobArn", "Operator": "Equals", "Value": job.arn}]},
        MaxResults=LARGEST_PAGE,
    )
    try:
        for page in reader.ahead(pages):
            reader.count("training jobs", len(page["Results"]))
            for record in (result["TrainingJob"] for result in page["Results"] if "TrainingJob" in result):
                name = record["TrainingJobName"]
                if name in ended and record["TrainingJobStatus"] == ended[name].status:
                    detail = _detail_of(record)
                    found[name] = replace(detail, retained=None) if lacks_pools else detail
    except (CredentialsError, EndpointError):
        raise  # describing the training jobs would fail the same way
    except ServiceError:
        return found
    return found


def _finds_pools(aws: Aws) -> bool:
    """Return whether botocore reads warm pools from the answers of Search: it drops members that its model lacks."""
    return "WarmPoolStatus" in aws.sagemaker.meta.service_model.shape_for("TrainingJob").members


def _describe_all(reader: Reader, names: Sequence[str]) -> dict[str, Detail]:
    """Describe training jobs one by one, several at once; those that AWS withholds are a gap."""

    def describe(name: str) -> Detail | ServiceError:
        try:
            return _detail_of(reader.call("sagemaker", "describe_training_job", TrainingJobName=name))
        except JobNotFoundError:
            return Detail()  # the training job was deleted
        except ServiceError as error:
            if not is_transient(error):
                raise
            return error
        finally:
            reader.count("training jobs one by one", 1, len(names))

    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        found = dict(zip(names, pool.map(describe, names), strict=True))
    failed = {name: result for name, result in found.items() if isinstance(result, ServiceError)}
    if failed:
        reason = str(next(iter(failed.values())))
        reader.gaps.append(Gap("details", reason, tuple(failed), None, "ask again"))
    return {name: result for name, result in found.items() if isinstance(result, Detail)}


def _detail_of(description: Mapping[str, Any]) -> Detail:
    training = training_of(description)
    return Detail(
        billable=training.billable,
        training=training.training,
        retained=training.retained,
        pool=training.pool,
        spot=training.spot,
        machines=training.machines,
        metrics=dict(training.metrics),
        last_attempt=None if training.last_attempt is None else microseconds(training.last_attempt) // 1000,
        stopping=None if training.stopping is None else microseconds(training.stopping) // 1000,
    )


def read_last_attempts(reader: Reader, job: Job, trials: Sequence[Trial]) -> dict[str, int]:
    """Return when the last attempt began, in epoch milliseconds, of each of these trials that was trained again.

    Makes no call for a job on AWS whose trials run on demand and without a retry strategy: those are trained once.
    """
    chosen = [trial for trial in trials if may_train_again(reader.aws, job, trial)]
    details, _ = read_details(reader, {job: chosen})
    details |= _describe_all(reader, [trial.name for trial in chosen if not trial.terminal])
    return {name: detail.last_attempt for name, detail in details.items() if detail.last_attempt is not None}


def may_train_again(aws: Aws, job: Job, trial: Trial) -> bool:
    """Return whether there may be several attempts at a trial."""
    definition = job.definition(trial)
    if job.is_archive:
        return False  # its log has what counts of each attempt
    # A local SageMaker that was killed runs its unfinished trials again, on demand or not.
    return trial.started is not None and (aws.is_local or definition.spot or definition.retries > 0)
