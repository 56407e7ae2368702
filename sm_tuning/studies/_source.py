"""Answers of studies to those who read tuning jobs. It loads little as long as no study is read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sm_tuning._errors import JobNotFoundError
from sm_tuning.aws import Aws

if TYPE_CHECKING:
    from sm_tuning.studies._record import StudyRecord
    from sm_tuning.studies._store import Store
    from sm_tuning.studies._trials import StudyTrials


def with_studies(aws: Aws) -> Aws:
    """Return a connection that describes studies by their names, as it describes tuning jobs."""

    def find(name: str) -> Store | None:
        from sm_tuning.studies import _control  # noqa: PLC0415  (loads the strategies)

        return _control.find(aws, name)

    return aws.answering(StudySource(aws, find))


class StudySource:
    """Answers the read operations of tuning jobs for studies, so that one set of readers serves both.

    A connection with this source (``Aws.answering``) describes a study by its name as it describes a tuning job, and
    lists and searches its trials. All other calls reach AWS. A name that no tuning job has is looked for among the
    studies; nothing is asked twice that cannot have changed.

    Args:
        aws: the connection, without a source.
        find: returns the store of the study of a name; None if there is no such study.
    """

    def __init__(self, aws: Aws, find: Callable[[str], Store | None]) -> None:
        self._aws = aws
        self._find = find
        self._known: dict[str, StudyTrials] = {}
        self._lock = threading.RLock()

    def add(self, trials: StudyTrials) -> None:
        """Answer for a study whose trials are followed already."""
        self._known[trials.study.name] = trials

    def __call__(self, method: str, params: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the answer to a call of SageMaker; None if AWS has to answer.

        Raises:
            ServiceError: AWS refused.
        """
        answers = {
            "describe_hyper_parameter_tuning_job": self._describe,
            "list_training_jobs_for_hyper_parameter_tuning_job": self._list,
            "search": self._search,
            "list_tags": self._tags,
        }
        if method not in answers:
            return None
        with self._lock:
            return answers[method](params)

    def _describe(self, params: Mapping[str, Any]) -> dict[str, Any] | None:
        name = str(params["HyperParameterTuningJobName"])
        if name not in self._known:
            try:
                return self._aws.call("sagemaker", "describe_hyper_parameter_tuning_job", **params)
            except JobNotFoundError:
                # Loads the strategies, which commands about tuning jobs do without.
                from sm_tuning.studies._trials import StudyTrials, read_study  # noqa: PLC0415

                store = self._find(name)
                study = None if store is None else read_study(store)
                if store is None or study is None:
                    raise
                self._known[name] = StudyTrials(self._aws, store, study)
        trials = self._known[name]
        if not trials.is_complete:
            trials.read()
        return trials.describe()

    def _list(self, params: Mapping[str, Any]) -> dict[str, Any] | None:
        trials = self._known.get(params["HyperParameterTuningJobName"])
        if trials is None:
            return None
        from sm_tuning.studies._description import summary_of  # noqa: PLC0415  (loaded with the trials)

        status = params.get("StatusEquals")
        found = [summary_of(trials.study, job) for job in trials.jobs if job.training is not None]
        chosen = [summary for summary in found if status in (None, summary["TrainingJobStatus"])]
        if params.get("SortOrder") == "Descending":
            chosen.reverse()
        return {"TrainingJobSummaries": chosen}

    def _search(self, params: Mapping[str, Any]) -> dict[str, Any] | None:
        arns = [entry.get("Value") for entry in (params.get("SearchExpression") or {}).get("Filters", ())]
        trials = next((trials for trials in self._known.values() if trials.study.arn in arns), None)
        if trials is None:
            return None
        # The description of a trial that has ended is known in full.
        return {"Results": [{"TrainingJob": job.training} for job in trials.jobs if job.training and job.ended]}

    def _tags(self, params: Mapping[str, Any]) -> dict[str, Any] | None:
        studies: Iterable[StudyRecord] = (trials.study for trials in self._known.values())
        study = next((study for study in studies if study.arn == params["ResourceArn"]), None)
        return None if study is None else {"Tags": [{"Key": k, "Value": v} for k, v in study.tags.items()]}
