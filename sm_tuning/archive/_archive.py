"""Answers the read operations of SageMaker and CloudWatch Logs from the folder of one tuning job.

A folder may be written at the same moment, copied by half, or come from somebody else. So each document is checked as
a response of the service is, a training job without a whole document is left out, and nothing is unpickled.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sm_tuning._documents import parse_json
from sm_tuning._errors import JobNotFoundError, SpecError
from sm_tuning._statuses import COUNTERS, ENDED, ObjectiveStatus, TrainingStatus
from sm_tuning._wire import STUDY_RULES, STUDY_TRIAL, TRAINING_JOBS, archive_arn, to_float32
from sm_tuning.archive._layout import (
    JOB_FILE,
    TRAINING_JOB_FILE,
    TRAINING_JOBS_FOLDER,
    Files,
    files_at,
    output_folder,
    place_of,
    read_log,
    training_job_file,
)
from sm_tuning.aws import Aws, BrokenAnswerError, check_subject, parse_answer
from sm_tuning.description import job_of, trial_summary
from sm_tuning.spec import Tuning

_log = logging.getLogger(__name__)

#: Calls that would change the tuning job or its trials, and what to do instead.
_ELSEWHERE = "interrupt the program that runs it (tuner.fit(), or sm-tuning launch --ray)"
_CHANGES: Mapping[str, str] = {
    "stop_hyper_parameter_tuning_job": f"it cannot be stopped from here: {_ELSEWHERE}",
    "stop_training_job": f"its trials cannot be stopped from here: {_ELSEWHERE}",
    "delete_hyper_parameter_tuning_job": "it cannot be deleted from here: delete the folder",
    "delete_training_job": "its trials cannot be deleted from here: delete the folder of the trial",
    "update_training_job": "its trials cannot be changed",
}

_SETTLING_SECONDS = 60  # after the end of a trial, in which its last lines may be stamped


class Archive:
    """The tuning job of one folder, as the service would describe it.

    Calls about other jobs are left to the service. Documents are read again only when their files have changed.

    Args:
        files: of the folder.
        place: another name by which calls may name the job, such as the URI that the user gave.

    Raises:
        JobNotFoundError: the folder has no ``sm/job.json``.
        SpecError: ``sm/job.json`` does not describe a tuning job.
        ServiceError: S3 refused.
    """

    def __init__(self, files: Files, place: str = "") -> None:
        self._files = files
        self._place = place
        self._lock = threading.Lock()
        self._trainings: dict[str, tuple[str, dict[str, Any] | None]] = {}  # by name: version and document
        self.name: str = str(self._job()["HyperParameterTuningJobName"])

    @property
    def uri(self) -> str:
        """The URI of the folder."""
        return self._files.uri

    def spec(self) -> Tuning:
        """Return the spec of the job.

        Raises:
            SpecError: the folder does not have it, or a later version of sm-tuning wrote it.
        """
        given = self._raw_job().get("Spec")
        if given is None:
            raise SpecError(f"{self.uri}/{JOB_FILE} has no spec: take the file that the job was launched from")
        return Tuning.parse(given, where=f"{self.uri}/{JOB_FILE}")

    def __call__(self, method: str, params: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the response to a call of SageMaker or CloudWatch about this job; None for all other calls.

        Raises:
            SpecError: the call would change the job.
            JobNotFoundError: the job has no such training job.
            ServiceError: S3 refused.
        """
        answers = {
            "describe_hyper_parameter_tuning_job": self._describe,
            "describe_training_job": self._describe_training,
            "filter_log_events": self._logs,
            "get_metric_data": self._metrics,
            "list_tags": self._tags,
            "list_training_jobs_for_hyper_parameter_tuning_job": self._list,
            "search": self._search,
        }
        if method in _CHANGES and self._is_own(params):
            raise SpecError(f"{self.name} is read from the folder {self.uri}, and {_CHANGES[method]}")
        answer = answers.get(method)
        return None if answer is None else answer(params)

    def _is_own(self, params: Mapping[str, Any]) -> bool:
        """Return whether a call names this tuning job, or one of its trials."""
        tuning = params.get("HyperParameterTuningJobName")
        if tuning is not None:  # the service compares names without case
            return str(tuning) == self._place or str(tuning).lower() == self.name.lower()
        return self._is_trial(str(params.get("TrainingJobName", "")))

    def _is_trial(self, name: str) -> bool:
        return name.lower().startswith(f"{self.name.lower()}-")

    def _raw_job(self) -> dict[str, Any]:
        content = self._files.read(JOB_FILE)
        if content is None:
            raise JobNotFoundError(
                f"there is no tuning job in {self.uri}: it has no {JOB_FILE}",
                operation="DescribeHyperParameterTuningJob",
            )
        try:
            return _members(content)
        except ValueError as error:
            raise SpecError(f"{self.uri}/{JOB_FILE} does not describe a tuning job: {error}") from error

    def _job(self) -> dict[str, Any]:
        """Return the description of the tuning job without what follows from its trials."""
        raw = self._raw_job()
        name = raw.get("HyperParameterTuningJobName")
        filled = {
            **raw,
            "HyperParameterTuningJobArn": archive_arn("hyper-parameter-tuning-job", str(name)),
            "TrainingJobStatusCounters": {},
            "ObjectiveStatusCounters": {},
        }
        try:
            found = parse_answer("DescribeHyperParameterTuningJob", filled)
        except BrokenAnswerError as error:
            raise SpecError(f"{self.uri}/{JOB_FILE} does not describe a tuning job: {error}") from error
        if STUDY_RULES not in raw:
            return found
        # The settings of a study's strategy are no part of the service's model, which drops them.
        strategy = (raw.get("HyperParameterTuningJobConfig") or {}).get("StrategyConfig")
        config = {**found["HyperParameterTuningJobConfig"], **({"StrategyConfig": strategy} if strategy else {})}
        return {**found, STUDY_RULES: {}, "HyperParameterTuningJobConfig": config}

    def _all(self) -> list[dict[str, Any]]:
        """Return the descriptions of all training jobs in order of creation; those without a document are left out."""
        with self._lock:
            versions = self._files.versions(TRAINING_JOBS_FOLDER)
            documents = {name.split("/")[2]: name for name in versions if name.endswith(f"/{TRAINING_JOB_FILE}")}
            documents = {key: name for key, name in documents.items() if name == training_job_file(key)}
            for name, file in documents.items():
                known = self._trainings.get(name)
                if known is None or known[0] != versions[file]:
                    self._trainings[name] = (versions[file], self._read_training(name) or (known and known[1]))
            for name in self._trainings.keys() - documents.keys():
                del self._trainings[name]
            found = [
                {**document, **self._artifacts(name, versions)}
                for name, (_, document) in self._trainings.items()
                if document is not None
            ]
        return sorted(found, key=lambda training: (training["CreationTime"], training["TrainingJobName"]))

    def _read_training(self, name: str) -> dict[str, Any] | None:
        """Return the description of a training job; None, with a message, if its document is broken."""
        file = training_job_file(name)
        content = self._files.read(file)
        if content is None:
            return None
        try:
            raw = _members(content)
            status = str(raw.get("TrainingJobStatus"))
            filled = {"SecondaryStatus": status, "StoppingCondition": {}, "TrainingJobName": name, **raw}
            training = parse_answer(
                "DescribeTrainingJob", {**filled, "TrainingJobArn": archive_arn("training-job", name)}
            )
            check_subject({"TrainingJobName": name}, training)
        except (ValueError, BrokenAnswerError) as error:
            _log.warning("%s/%s is left out: %s", self.uri, file, error)
            return None
        for metric in training.get("FinalMetricDataList", ()):
            metric["Value"] = to_float32(metric["Value"])
        begun, ended = training.get("TrainingStartTime"), training.get("TrainingEndTime")
        if begun is not None and ended is not None:  # billed is the time on one's own machine
            seconds = max(0, round((ended - begun).total_seconds()))
            training = {"BillableTimeInSeconds": seconds, "TrainingTimeInSeconds": seconds, **training}
        lineage = raw.get(STUDY_TRIAL)
        return {**training, **({STUDY_TRIAL: lineage} if isinstance(lineage, Mapping) else {})}

    def _artifacts(self, name: str, versions: Mapping[str, str]) -> dict[str, Any]:
        """Return where the model is now: a folder may have been copied since its document was written."""
        folder = output_folder(name)
        if f"{folder}/model.tar.gz" in versions:
            return {"ModelArtifacts": {"S3ModelArtifacts": f"{self.uri}/{folder}/model.tar.gz"}}
        if any(file.startswith(f"{folder}/model/") for file in versions):
            return {"ModelArtifacts": {"S3ModelArtifacts": f"{self.uri}/{folder}/model/"}}
        return {}

    def _describe(self, params: Mapping[str, Any]) -> dict[str, Any] | None:
        if not self._is_own(params):
            return None
        job = self._job()
        summaries = self._summaries(job)
        best = _best(job, summaries)
        statuses = Counter(map(_counter, summaries))
        objectives = Counter(summary["ObjectiveStatus"] for summary in summaries)
        return {
            **job,
            "TrainingJobStatusCounters": {name: statuses[name] for name in COUNTERS},
            "ObjectiveStatusCounters": {str(status): objectives[str(status)] for status in ObjectiveStatus},
            **({} if best is None else {"BestTrainingJob": best}),
        }

    def _summaries(self, job: Mapping[str, Any]) -> list[dict[str, Any]]:
        parsed = job_of(job)
        definition = parsed.definitions[0]
        tuned = {entry.name for entry in definition.ranges} | {parsed.resource}
        found = []
        for training in self._all():
            summary = trial_summary(training, objective=definition.objective or None)
            given = summary["TunedHyperParameters"]
            summary["TunedHyperParameters"] = {name: text for name, text in given.items() if name in tuned}
            if summary["TrainingJobStatus"] not in ENDED:
                # Its document may have the metrics so far; the objective counts when the trial has ended.
                summary.pop("FinalHyperParameterTuningJobObjectiveMetric", None)
                summary["ObjectiveStatus"] = str(ObjectiveStatus.PENDING)
            elif summary["TrainingJobStatus"] == TrainingStatus.FAILED:
                summary.pop("FinalHyperParameterTuningJobObjectiveMetric", None)
            for name in ("CreationTime", "TrainingStartTime", "TrainingEndTime"):
                if name in summary:  # whole seconds, as on the service
                    summary[name] = summary[name].replace(microsecond=0)
            if STUDY_RULES in job:
                lineage = training.get(STUDY_TRIAL, {})
                summary[STUDY_TRIAL] = {
                    key: lineage[key]
                    for key, kind in (("Parent", str), ("Why", str), ("Member", int))
                    if isinstance(lineage.get(key), kind)
                }
            found.append(summary)
        return found

    def _describe_training(self, params: Mapping[str, Any]) -> dict[str, Any] | None:
        name = str(params["TrainingJobName"])
        if not self._is_trial(name):
            return None
        for training in self._all():
            if training["TrainingJobName"].lower() == name.lower():
                return {member: value for member, value in training.items() if member != STUDY_TRIAL}
        message = f"the tuning job in {self.uri} has no training job {name!r}"
        raise JobNotFoundError(message, operation="DescribeTrainingJob")

    def _list(self, params: Mapping[str, Any]) -> dict[str, Any] | None:
        if not self._is_own(params):
            return None
        status = params.get("StatusEquals")
        chosen = [item for item in self._summaries(self._job()) if status in (None, item["TrainingJobStatus"])]
        if params.get("SortBy") == "Name":
            chosen.sort(key=lambda summary: str(summary["TrainingJobName"]))
        return {"TrainingJobSummaries": chosen[::-1] if params.get("SortOrder") == "Descending" else chosen}

    def _search(self, params: Mapping[str, Any]) -> dict[str, Any] | None:
        values = [entry.get("Value") for entry in (params.get("SearchExpression") or {}).get("Filters", ())]
        if archive_arn("hyper-parameter-tuning-job", self.name) not in values:
            return None
        return {"Results": [{"TrainingJob": training} for training in self._all()]}

    def _tags(self, params: Mapping[str, Any]) -> dict[str, Any] | None:
        if params["ResourceArn"] != archive_arn("hyper-parameter-tuning-job", self.name):
            return None
        tags = self._raw_job().get("Tags")
        entries = tags if isinstance(tags, list) else []
        return {"Tags": [tag for tag in entries if isinstance(tag, Mapping) and {"Key", "Value"} <= tag.keys()]}

    def _metrics(self, params: Mapping[str, Any]) -> dict[str, Any] | None:
        """Answer a call about metrics of CloudWatch, of which a folder has none."""
        queries: Sequence[Mapping[str, Any]] = params.get("MetricDataQueries") or ({},)
        metric = (queries[0].get("MetricStat") or {}).get("Metric") or {}
        is_own = any(self._is_trial(str(dimension.get("Value"))) for dimension in metric.get("Dimensions") or ())
        return {"MetricDataResults": []} if is_own else None

    def _logs(self, params: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return all lines of the wanted streams in one page, so that an error of S3 loses all of them or none.

        The filter pattern is not applied: callers compare each line by their own expressions.
        """
        prefix = str(params.get("logStreamNamePrefix") or "")
        if params.get("logGroupName") != TRAINING_JOBS or not prefix.startswith(f"{self.name}-"):
            return None
        start, end = params.get("startTime") or 0, params.get("endTime") or math.inf
        events = []
        for training in self._all():
            name = training["TrainingJobName"]
            stream = f"{name}/algo-1-{int(training['CreationTime'].timestamp())}"
            ended = training.get("TrainingEndTime")
            is_over = ended is not None and (ended.timestamp() + _SETTLING_SECONDS) * 1000 < start
            if is_over or not stream.startswith(prefix):
                continue
            events += [
                {
                    "logStreamName": stream,
                    "timestamp": milliseconds,
                    "message": message,
                    "ingestionTime": milliseconds,
                    "eventId": f"{name}/{number}/{milliseconds}",
                }
                for number, (milliseconds, message) in enumerate(read_log(self._files, name))
                if start <= milliseconds <= end
            ]
        return {"events": events, "searchedLogStreams": []}


def open_archive(aws: Aws, text: str) -> Archive | None:
    """Return the archive of a folder that a text names, or None: it is the name of a job, or an S3 folder of a study.

    Raises:
        JobNotFoundError: the folder has no ``sm/job.json``.
        SpecError: its ``sm/job.json`` does not describe a tuning job.
        ServiceError: S3 refused.
    """
    place = place_of(text)
    if place is None:
        return None
    files = files_at(place, aws)
    if place.startswith("s3://"):
        return None if files.read(JOB_FILE) is None else Archive(files, text)
    try:
        return Archive(files, text)
    except JobNotFoundError as error:
        inside = sorted(str(path.parents[1]) for path in Path(place).glob(f"*/{JOB_FILE}"))
        if not inside:
            raise
        more = f" and {len(inside) - 1} more" if len(inside) > 1 else ""
        raise JobNotFoundError(f"{error}; it holds {inside[0]}{more}: name one", operation=error.operation) from None


def with_archive(aws: Aws, archive: Archive) -> Aws:
    """Return a connection that answers calls about an archive's job from its folder; it needs no credentials for them.

    Args:
        aws: the connection for all other calls. Without a region, these fail, as they would anyway.
        archive: the job.
    """
    try:
        region: str | None = aws.region
    except SpecError:
        region = None

    def answer(method: str, params: Mapping[str, Any]) -> dict[str, Any] | None:
        found = archive(method, params)
        if found is None and region is None:
            _ = aws.region  # raises the error about the missing region
        return found

    # botocore makes no client without a region, and the names of operations come from clients.
    return (aws.in_region(_NO_REGION) if region is None else aws).answering(answer)


_NO_REGION = "none"


def _members(content: bytes) -> dict[str, Any]:
    """Return the members of a JSON document.

    Raises:
        ValueError: it is not a JSON object.
    """
    document = parse_json(content.decode())
    if not isinstance(document, dict):
        raise ValueError(f"it is {document!r:.60} instead of an object")  # noqa: TRY004  (as for other broken files)
    return document


def _counter(summary: Mapping[str, Any]) -> str:
    """Return the counter of TrainingJobStatusCounters that counts a trial."""
    status = str(summary["TrainingJobStatus"])
    if status == TrainingStatus.FAILED:
        return "NonRetryableError"
    return status if status in ENDED else str(TrainingStatus.IN_PROGRESS)


def _best(job: Mapping[str, Any], summaries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the trial with the best objective; of equal ones, that which ended first."""
    sign = -1.0 if job_of(job).definitions[0].maximize else 1.0

    def rank(summary: Mapping[str, Any]) -> tuple[float, datetime, str]:
        value = summary["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        return sign * value, summary.get("TrainingEndTime", summary["CreationTime"]), summary["TrainingJobName"]

    valued = [item for item in summaries if "FinalHyperParameterTuningJobObjectiveMetric" in item]
    # NaN is not a number that can be compared: such a trial is never the best.
    finite = [item for item in valued if not math.isnan(item["FinalHyperParameterTuningJobObjectiveMetric"]["Value"])]
    return min(finite, key=rank, default=None)
