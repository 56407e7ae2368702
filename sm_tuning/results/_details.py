"""What only a training job's full description has: billable seconds, instances, and its other final metrics.

``Search`` gives a hundred full descriptions a call, ``DescribeTrainingJob`` one. Search may be denied, may not exist
at an endpoint, and its index lags behind; whatever it does not answer is described one by one, a few at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from sm_tuning._errors import CredentialsError, EndpointError, JobNotFoundError, ServiceError
from sm_tuning._wire import LARGEST_PAGE
from sm_tuning.aws import is_transient
from sm_tuning.description import Job, Machines, Trial, training_of
from sm_tuning.results._reader import Gap, Reader
from sm_tuning.results._schema import TEXTS, frame

_AT_ONCE = 8  # of the 32 connections of a client's pool


@dataclass(frozen=True)
class Detail:
    """What a full description says.

    Attributes:
        billable: seconds that are paid for, of each instance; None while unknown.
        training: seconds that it took, of each instance; more than ``billable`` on spot instances.
        spot: whether it ran on spot instances.
        machines: its instances; empty when unknown.
        metrics: final values by name.
    """

    billable: int | None = None
    training: int | None = None
    spot: bool = False
    machines: tuple[Machines, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)


def detail_of(description: Mapping[str, Any]) -> Detail:
    """Return the facts of a training job's description, from Search or DescribeTrainingJob."""
    found = training_of(description)
    return Detail(found.billable, found.training, found.spot, found.machines, dict(found.metrics))


def read_details(reader: Reader, per_job: Mapping[Job, Sequence[Trial]]) -> tuple[dict[str, Detail], str | None]:
    """Details of every trial that has ended, by name, and where they came from.

    Returns:
        The details, and ``Search``, ``DescribeTrainingJob``, both joined by `` and ``, or None when no trial has
        ended.
    """
    details: dict[str, Detail] = {}
    sources: dict[str, None] = {}
    for job, trials in per_job.items():
        of_job, of_sources = _of_job(reader, job, {trial.name: trial for trial in trials if trial.terminal})
        details |= of_job
        sources |= dict.fromkeys(of_sources)
    return details, " and ".join(name for name in ("Search", "DescribeTrainingJob") if name in sources) or None


def _of_job(reader: Reader, job: Job, ended: Mapping[str, Trial]) -> tuple[dict[str, Detail], list[str]]:
    """Details of a job's ended trials: those that are kept, and the rest read."""
    kept, kept_sources = _load(reader, job) if ended else ({}, [])
    missing = {name: trial for name, trial in ended.items() if name not in kept}
    found = _searched(reader, job, missing) if missing else {}
    rest = [name for name in missing if name not in found]
    described = _described(reader, rest)
    sources = [*kept_sources, *(["Search"] if found else []), *(["DescribeTrainingJob"] if rest else [])]
    fresh = found | described
    sure = {name: fresh[name] for name in fresh if reader.settled(missing[name].ended or missing[name].created)}
    if sure:
        _save(reader, job, kept | sure, sources)
    return {name: detail for name, detail in (kept | fresh).items() if name in ended}, sources


def _load(reader: Reader, job: Job) -> tuple[dict[str, Detail], list[str]]:
    entry = reader.load(job, "details", TEXTS)
    if entry is None:
        return {}, []
    texts = dict(zip(entry.frame["Name"], entry.frame["Text"], strict=True))
    sources: list[str] = json.loads(texts.pop(""))
    return {name: _from_text(text) for name, text in texts.items()}, sources


def _save(reader: Reader, job: Job, details: Mapping[str, Detail], sources: Sequence[str]) -> None:
    texts = {"": json.dumps(list(dict.fromkeys(sources)))} | {
        name: json.dumps({**vars(detail), "machines": [vars(one) for one in detail.machines]})
        for name, detail in details.items()
    }
    reader.save(job, "details", frame(TEXTS, {"Name": list(texts), "Text": list(texts.values())}), list(details))


def _from_text(text: str) -> Detail:
    facts = json.loads(text)
    return Detail(**facts | {"machines": tuple(Machines(**entry) for entry in facts["machines"])})


def _searched(reader: Reader, job: Job, ended: Mapping[str, Trial]) -> dict[str, Detail]:
    """The ended trials that Search knows as ended; nothing when it does not answer for another reason than access."""
    found: dict[str, Detail] = {}
    try:
        for record in _search(reader, job.arn):
            name = record["TrainingJobName"]
            if name in ended and record["TrainingJobStatus"] == ended[name].status:
                found[name] = detail_of(record)
    except (CredentialsError, EndpointError):
        raise
    except ServiceError:
        return found
    return found


def _search(reader: Reader, arn: str) -> Iterator[Mapping[str, Any]]:
    found = reader.pages(
        "sagemaker",
        "search",
        Resource="TrainingJob",
        SearchExpression={"Filters": [{"Name": "TuningJobArn", "Operator": "Equals", "Value": arn}]},
        MaxResults=LARGEST_PAGE,
    )
    for page in found:
        reader.count("training jobs", len(page["Results"]))
        yield from (result["TrainingJob"] for result in page["Results"] if "TrainingJob" in result)


def _described(reader: Reader, names: Sequence[str]) -> dict[str, Detail]:
    """The trials described one by one; of those that were deleted nothing is known, those withheld are a gap."""
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        answers = dict(zip(names, pool.map(lambda name: _describe(reader, name, len(names)), names), strict=True))
    failed = {name: answer for name, answer in answers.items() if isinstance(answer, ServiceError)}
    if failed:
        reason = str(next(iter(failed.values())))
        reader.gaps.append(Gap("billable seconds and metrics", reason, tuple(failed), None, "ask again"))
    return {name: answer for name, answer in answers.items() if isinstance(answer, Detail)}


def _describe(reader: Reader, name: str, total: int) -> Detail | ServiceError:
    """A training job's details, empty when it was deleted; the error when AWS would not answer for now."""
    try:
        answer = reader.call("sagemaker", "describe_training_job", TrainingJobName=name)
    except JobNotFoundError:
        return Detail()
    except ServiceError as error:
        if not is_transient(error):
            raise
        return error
    finally:
        reader.count("training jobs one by one", 1, total)
    return detail_of(answer)
