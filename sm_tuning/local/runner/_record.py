"""A training job's document as it moves through its statuses.

Statuses, messages and times follow what DescribeTrainingJob of the service shows: transitions are contiguous,
TrainingStartTime is the start of Downloading, TrainingEndTime the end of Uploading.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sm_tuning._statuses import ObjectiveStatus, SecondaryStatus, TrainingStatus
from sm_tuning._wire import OBJECTIVE_KEY, to_float32
from sm_tuning.executor._metrics import Emission
from sm_tuning.local.store import Store, hidden

MESSAGES: Mapping[SecondaryStatus, str] = {
    SecondaryStatus.STARTING: "Preparing the instances for training",
    SecondaryStatus.DOWNLOADING: "Downloading input data",
    SecondaryStatus.TRAINING: "Training image download completed. Training in progress.",
    SecondaryStatus.INTERRUPTED: "Managed Spot capacity was reclaimed; waiting for capacity to train again",
    SecondaryStatus.UPLOADING: "Uploading generated training model",
    SecondaryStatus.STOPPING: "Stopping the training job",
    SecondaryStatus.STOPPED: "Training job stopped",
    SecondaryStatus.MAX_RUNTIME_EXCEEDED: "Training job runtime exceeded MaxRuntimeInSeconds provided",
    SecondaryStatus.MAX_WAIT_TIME_EXCEEDED: "Training job exceeded MaxWaitTimeInSeconds provided",
    SecondaryStatus.COMPLETED: "Training job completed",
}

_ENDED = {
    SecondaryStatus.COMPLETED: TrainingStatus.COMPLETED,
    SecondaryStatus.FAILED: TrainingStatus.FAILED,
    SecondaryStatus.STOPPED: TrainingStatus.STOPPED,
    SecondaryStatus.MAX_RUNTIME_EXCEEDED: TrainingStatus.STOPPED,
    SecondaryStatus.MAX_WAIT_TIME_EXCEEDED: TrainingStatus.STOPPED,
}

SPOT_SHARE = 0.3
"""Share of its running time for which a spot job is billed. The service's follows the market; AWS speaks of savings
of up to 90 %. This is a choice of ours, so that spot savings have something to show."""

_BILLED = (
    SecondaryStatus.DOWNLOADING,
    SecondaryStatus.TRAINING,
    SecondaryStatus.UPLOADING,
    SecondaryStatus.STOPPING,
)


class JobRecord:
    """The only writer of one training job's status. Safe to call from several threads.

    Args:
        store: where the document is.
        name: the training job.
        clock: epoch seconds now.
        on_event: told the job's name after each change.
    """

    def __init__(self, store: Store, name: str, clock: Callable[[], float], on_event: Callable[[str], None]) -> None:
        self.name = name
        self._store = store
        self._clock = clock
        self._on_event = on_event
        self._lock = threading.RLock()

    @property
    def doc(self) -> dict[str, Any]:
        """The document now.

        Raises:
            KeyError: there is no such training job.
        """
        doc = self._store.training_job(self.name)
        if doc is None:
            raise KeyError(self.name)
        return doc

    @property
    def stop_reason(self) -> SecondaryStatus | None:
        """What the job is to end as, once it was told to stop: Stopped, MaxRuntimeExceeded, MaxWaitTimeExceeded."""
        reason = hidden(self.doc).get("_StopReason")
        return SecondaryStatus(reason) if reason else None

    def move(self, status: SecondaryStatus) -> None:
        """Enter a SecondaryStatus that is not an end."""
        with self._lock:
            doc, now = self.doc, self._clock()
            members = {}
            if status is SecondaryStatus.STARTING:
                members["_AttemptStartTime"] = now
            if status is SecondaryStatus.DOWNLOADING and not _was_interrupted(doc):
                members["TrainingStartTime"] = now
            self._write(doc, status, members, now)
        self._on_event(self.name)

    def request_stop(self, reason: SecondaryStatus) -> bool:
        """Enter Stopping; False when the job has ended or is stopping already."""
        with self._lock:
            doc = self.doc
            if doc["TrainingJobStatus"] != TrainingStatus.IN_PROGRESS:
                return False
            members = {"TrainingJobStatus": str(TrainingStatus.STOPPING), "_StopReason": str(reason)}
            self._write(doc, SecondaryStatus.STOPPING, members, self._clock())
        self._on_event(self.name)
        return True

    def interrupt(self) -> bool:
        """Enter Interrupted; False when the job is not running any more."""
        with self._lock:
            doc = self.doc
            if doc["TrainingJobStatus"] != TrainingStatus.IN_PROGRESS:
                return False
            self._write(doc, SecondaryStatus.INTERRUPTED, {}, self._clock())
        self._on_event(self.name)
        return True

    def add_emissions(self, emissions: list[Emission]) -> None:
        """Keep metric values, and tell."""
        self._store.add_emissions(self.name, emissions)
        self._on_event(self.name)

    def end(self, artifacts: Mapping[str, Any]) -> None:
        """End the job as what it was told to stop as, or else as Completed."""
        with self._lock:
            self._end(self.stop_reason or SecondaryStatus.COMPLETED, None, artifacts)
        self._on_event(self.name)

    def fail(self, reason: str) -> None:
        """End the job as Failed."""
        with self._lock:
            self._end(SecondaryStatus.FAILED, reason, {})
        self._on_event(self.name)

    def _end(self, status: SecondaryStatus, failure: str | None, members: Mapping[str, Any]) -> None:
        now = self._clock()
        doc = self.doc
        emissions = self._store.emissions(self.name)
        times: dict[str, Any] = {"TrainingEndTime": now}
        if "TrainingStartTime" in doc:
            seconds = int(now - doc["TrainingStartTime"])
            billable = spot_seconds(doc, now) if doc.get("EnableManagedSpotTraining") else seconds
            times |= {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": billable}
        self._write(
            doc,
            status,
            {
                "TrainingJobStatus": str(_ENDED[status]),
                "FailureReason": failure,
                "FinalMetricDataList": final_metrics(emissions) or None,
                **times,
                **objective_of(doc, emissions, ended_badly=status is SecondaryStatus.FAILED),
                **members,
            },
            now,
        )

    def _write(self, doc: Mapping[str, Any], status: SecondaryStatus, members: Mapping[str, Any], now: float) -> None:
        """Leave the status before and enter this one; a failure's message is its reason."""
        transitions = [dict(one) for one in doc.get("SecondaryStatusTransitions") or ()]
        if transitions and "EndTime" not in transitions[-1]:
            transitions[-1]["EndTime"] = now
        message = MESSAGES.get(status) or members.get("FailureReason") or ""
        entry = {"Status": str(status), "StartTime": now, "StatusMessage": message}
        if status.is_terminal:
            entry["EndTime"] = now
        self._store.update_training_job(
            self.name,
            {"SecondaryStatus": str(status), "SecondaryStatusTransitions": [*transitions, entry], **members},
        )


def _was_interrupted(doc: Mapping[str, Any]) -> bool:
    return any(one["Status"] == SecondaryStatus.INTERRUPTED for one in doc.get("SecondaryStatusTransitions") or ())


def spot_seconds(doc: Mapping[str, Any], now: float) -> int:
    """Return BillableTimeInSeconds of a spot job: its share of the time in which it had an instance."""
    ran = sum(
        one.get("EndTime", now) - one["StartTime"]
        for one in doc.get("SecondaryStatusTransitions") or ()
        if one["Status"] in _BILLED and one["StartTime"] >= doc["TrainingStartTime"]
    )
    return int(ran * SPOT_SHARE)


def final_metrics(emissions: Iterable[Emission]) -> list[dict[str, Any]]:
    """Return FinalMetricDataList: the last value of each metric, in single precision, at whole seconds."""
    last = {one.metric: one for one in emissions}
    return [
        {"MetricName": name, "Value": to_float32(one.value), "Timestamp": float(int(one.timestamp))}
        for name, one in sorted(last.items())
    ]


def objective_of(doc: Mapping[str, Any], emissions: Iterable[Emission], *, ended_badly: bool) -> dict[str, Any]:
    """Return how the tuning job counts an ended training job: its last objective value, or that it has none.

    A failed job has none. A stopped one has, if it had printed it (early stopping rests on that). The API
    Reference says of ObjectiveStatus Failed that the job failed or did not emit the metric.
    """
    metric = (doc.get("HyperParameters") or {}).get(OBJECTIVE_KEY)
    if metric is None:
        return {}
    values = [one.value for one in emissions if one.metric == metric]
    if ended_badly or not values:
        return {"_ObjectiveStatus": str(ObjectiveStatus.FAILED), "_ObjectiveValue": None}
    return {"_ObjectiveStatus": str(ObjectiveStatus.SUCCEEDED), "_ObjectiveValue": values[-1]}
