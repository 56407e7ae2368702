"""The trials of a study: records from S3, training jobs from the service. What cannot change is read once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sm_tuning._errors import JobNotFoundError, ServiceError, SpecError
from sm_tuning._statuses import FINISHED, SecondaryStatus, TrainingStatus, TuningStatus
from sm_tuning._wire import LARGEST_PAGE
from sm_tuning.aws import Aws, is_transient
from sm_tuning.results import final_values
from sm_tuning.strategies import Outcome, Suggestion
from sm_tuning.studies._description import TrialJob, description_of
from sm_tuning.studies._record import StudyRecord, suggestion_of, trial_key
from sm_tuning.studies._store import Record, Store

_log = logging.getLogger(__name__)

_SEARCHED = 3  # trials that are not known yet, from which on Search is fewer calls
_AT_ONCE = 8  # calls, of the 32 connections of a client's pool
_MISSED = 20  # lists in a row that may lack a running trial before it is described


def read_study(store: Store) -> StudyRecord | None:
    """Return the record of a study; None if it does not exist.

    Raises:
        SpecError: a later version of sm-tuning wrote it.
        ServiceError: S3 refused.
    """
    found = store.read("study.json")
    return None if found is None else StudyRecord.of(found, store.uri)


class StudyTrials:
    """Follows the trials of one study, for its driver and for readers. One thread at a time may use it.

    Args:
        aws: the connection.
        store: of the study.
        study: its record.
    """

    def __init__(self, aws: Aws, store: Store, study: StudyRecord) -> None:
        self.store = store
        self.study = study
        self._aws = aws
        self._jobs: dict[int, TrialJob] = {}
        self._missed: dict[str, int] = {}
        self._has_searched = False
        self._stop: Record | None = None
        self._end: Record | None = None
        #: Whether the study and all its trials have ended, so that nothing can change any more.
        self.is_complete: bool = False

    @property
    def jobs(self) -> list[TrialJob]:
        """All known trials, by number."""
        return [self._jobs[number] for number in sorted(self._jobs)]

    def read_end(self) -> bool:
        """Return whether the outcome is recorded."""
        self._end = self._end or self.store.read("end.json")
        return self._end is not None

    def stop_requested(self) -> bool:
        """Return whether somebody has asked to stop the study."""
        self._stop = self._stop or self.store.read("stop.json")
        return self._stop is not None

    @property
    def outcome_of_stop(self) -> Outcome | None:
        """The outcome that came with the request to stop, if the study gave up; None if a user asked."""
        data = self._stop.data if self._stop is not None else {}
        return Outcome(TuningStatus(data["status"]), data.get("reason")) if "status" in data else None

    def describe(self) -> dict[str, Any]:
        """Return the study in the form of DescribeHyperParameterTuningJob, without a call."""
        return description_of(self.study, self.jobs, stop=self._stop, end=self._end)

    def read(self) -> None:
        """Read everything anew that may have changed.

        Raises:
            ServiceError: AWS refused.
        """
        self.stop_requested()
        # The outcome is read before the trials: if it is there, the trials below are all that there will be.
        has_ended = self.read_end()
        self.read_records()
        self.refresh()
        self.is_complete = has_ended and all(job.ended for job in self.jobs) and not self.open_pools()

    def read_records(self) -> None:
        """Read the records of trials that are not known yet."""
        names = self.store.keys("trials/")
        numbers = [int(name.removeprefix("trials/").removesuffix(".json")) for name in names]
        missing = [number for number in numbers if number not in self._jobs]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for suggestion in pool.map(self.read_record, missing):
                self.add(suggestion)

    def read_record(self, number: int) -> Suggestion:
        """Return the record of a trial.

        Raises:
            SpecError: the record was deleted, or a later version of sm-tuning wrote it.
        """
        found = self.store.read(trial_key(number))
        if found is None:
            raise SpecError(f"the study {self.study.uri} lacks the record of trial {number}: somebody has deleted it")
        return suggestion_of(found, self.study.uri)

    def add(self, suggestion: Suggestion) -> TrialJob:
        """Add a trial whose record exists."""
        number = suggestion.number
        return self._jobs.setdefault(number, TrialJob(suggestion, self.study.training_job_name(number)))

    def created(self, number: int) -> None:
        """Note that the training job of a trial exists, if that is news."""
        job = self._jobs[number]
        if job.training is None:
            training = {"TrainingJobName": job.name, "TrainingJobStatus": str(TrainingStatus.IN_PROGRESS)}
            self._jobs[number] = replace(job, training=training)

    def open_pools(self) -> list[TrialJob]:
        """Return the ended trials whose warm pool may still change."""
        if self.study.settings.keep_alive is None:
            return []
        now = self.store.now()
        return [job for job in self._jobs.values() if job.pool_is_open(now)]

    def refresh(self) -> None:
        """Read the training jobs that have not ended: one list for all, and a description for each that has ended."""
        self._search()
        unknown = [job for job in self._jobs.values() if job.training is None]
        running = {job.name: job for job in self._jobs.values() if job.training is not None and not job.ended}
        pools = {job.name: job for job in self.open_pools()}
        listed = self._list(running | pools) if running or pools else {}
        for name in pools.keys() & listed.keys():
            job, pool = pools[name], listed.pop(name).get("WarmPoolStatus")
            if pool is not None:
                known = {**(job.training or {}), "WarmPoolStatus": pool}
                self._jobs[job.suggestion.number] = replace(job, training=known)
        ended = []
        for name, summary in listed.items():
            job = running[name]
            seen = replace(job, training=_with_start(summary, job.training or {}))
            self._missed.pop(name, None)
            # A summary lacks the metrics: a trial counts as ended once it has been described.
            if seen.ended and "AlgorithmSpecification" not in summary:
                ended.append(job)
            else:
                self._note(job, seen.training or {})
        for name in running.keys() - listed.keys():
            self._missed[name] = self._missed.get(name, 0) + 1
        lost = [job for name, job in running.items() if self._missed.get(name, 0) >= _MISSED]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            chosen = [*unknown, *ended, *lost]
            found = list(pool.map(self._describe, (job.name for job in chosen)))
        for job, training in zip(chosen, found, strict=True):
            if training is not None:
                self._note(job, training)
            elif job.training is not None:
                gone = {
                    "TrainingJobStatus": str(TrainingStatus.FAILED),
                    "FailureReason": "the training job was deleted",
                }
                self._jobs[job.suggestion.number] = replace(job, training={**job.training, **gone})

    def _search(self) -> None:
        """Read many trials that have ended by few calls, as a driver does that begins; Search may lag or be refused."""
        unknown = {job.name: job for job in self._jobs.values() if job.training is None}
        # botocore drops the warm pools of these answers if its model lacks them: such studies describe their trials.
        if self._has_searched or len(unknown) < _SEARCHED or self.study.settings.keep_alive is not None:
            return
        self._has_searched = True
        name = {"Name": "TrainingJobName", "Operator": "Contains", "Value": f"{self.study.name}-"}
        pages = self._aws.pages(
            "sagemaker",
            "search",
            Resource="TrainingJob",
            SearchExpression={"Filters": [name]},
            MaxResults=LARGEST_PAGE,
        )
        try:
            for training in (found["TrainingJob"] for page in pages for found in page["Results"]):
                job = unknown.get(training["TrainingJobName"])
                # The status of an ended training job does not change any more, however old the answer is.
                if job is not None and replace(job, training=training).ended:
                    self._note(job, training)
        except ServiceError as error:
            if is_transient(error):
                raise
            _log.info("the trials of %s are described one by one: %s", self.study.name, error)

    def _note(self, job: TrialJob, training: Mapping[str, Any]) -> None:
        """Keep the description of a training job, with the metrics of its log that the description lacks."""
        found = replace(job, training=training)
        if found.status in FINISHED:
            wanted = {
                *self.study.objectives(job.suggestion.definition),
                *(b.metric for b in self.study.settings.bounds),
            }
            definition = self.study.definition(job.suggestion.definition)
            metrics = definition["AlgorithmSpecification"].get("MetricDefinitions") or ()
            lacking = {m["Name"]: m["Regex"] for m in metrics if m["Name"] in wanted - found.metrics.keys()}
            values = final_values(self._aws, job.name, lacking) if lacking else {}
            at = training.get("TrainingEndTime") or training["CreationTime"]
            added = [{"MetricName": name, "Value": value, "Timestamp": at} for name, value in values.items()]
            final = [*(training.get("FinalMetricDataList") or ()), *added]
            found = replace(job, training={**training, "FinalMetricDataList": final} if added else training)
        self._jobs[job.suggestion.number] = found

    def _list(self, running: Mapping[str, TrialJob]) -> dict[str, Mapping[str, Any]]:
        """Return the summaries of running trials, as far as a list has them; those that it lacks count as running.

        Newest first, back to the oldest running trial. Lists may lag, and empty pages may have a token.
        """
        created = [(job.training or {}).get("CreationTime") for job in running.values()]
        oldest = None if None in created else min(moment for moment in created if isinstance(moment, datetime))
        found: dict[str, Mapping[str, Any]] = {}
        pages = self._aws.pages(
            "sagemaker",
            "list_training_jobs",
            NameContains=f"{self.study.name}-",
            CreationTimeAfter=None if oldest is None else oldest - timedelta(seconds=1),
            SortBy="CreationTime",
            SortOrder="Descending",
            MaxResults=LARGEST_PAGE,
        )
        for count, page in enumerate(pages, start=1):
            names = {summary["TrainingJobName"]: summary for summary in page["TrainingJobSummaries"]}
            found |= {name: summary for name, summary in names.items() if name in running}
            if len(found) == len(running):
                break
            if count >= len(running) + 1:  # to describe them one by one is fewer calls
                rest = [name for name in running if name not in found]
                with ThreadPoolExecutor(_AT_ONCE) as pool:
                    described = zip(rest, pool.map(self._describe, rest), strict=True)
                    found |= {name: training for name, training in described if training is not None}
                break
        return found

    def _describe(self, name: str) -> Mapping[str, Any] | None:
        try:
            answer = self._aws.call("sagemaker", "describe_training_job", TrainingJobName=name)
        except JobNotFoundError:
            return None
        return {member: value for member, value in answer.items() if member != "ResponseMetadata"}


def _with_start(summary: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return a summary with TrainingStartTime, which lists lack: its first change that is seen after training began."""
    start = before.get("TrainingStartTime") or summary.get("TrainingStartTime")
    if start is None and summary.get("SecondaryStatus") == SecondaryStatus.TRAINING:
        start = summary.get("LastModifiedTime")
    return {**summary, **({} if start is None else {"TrainingStartTime": start})}
