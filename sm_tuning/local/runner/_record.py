"""A training job's document and its statuses.

Statuses, messages and times follow DescribeTrainingJob of the service: transitions are contiguous,
TrainingStartTime is the start of Downloading, TrainingEndTime the end of Uploading.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sm_tuning._statuses import STATUS_MESSAGES, ObjectiveStatus, SecondaryStatus, TrainingStatus
from sm_tuning._wire import OBJECTIVE_KEY
from sm_tuning.executor import Emission, SteadyClock, final_metrics
from sm_tuning.local.store import HiddenMembers, Store, hidden

_ENDED = {
    SecondaryStatus.COMPLETED: TrainingStatus.COMPLETED,
    SecondaryStatus.FAILED: TrainingStatus.FAILED,
    SecondaryStatus.STOPPED: TrainingStatus.STOPPED,
    SecondaryStatus.MAX_RUNTIME_EXCEEDED: TrainingStatus.STOPPED,
    SecondaryStatus.MAX_WAIT_TIME_EXCEEDED: TrainingStatus.STOPPED,
}

#: The billed share of a spot job's running time. The service's share follows the market (savings up to 90%); this one
#: is a choice, so that spot savings have a value.
SPOT_SHARE = 0.3

_BILLED = (
    SecondaryStatus.DOWNLOADING,
    SecondaryStatus.TRAINING,
    SecondaryStatus.UPLOADING,
    SecondaryStatus.STOPPING,
)


class JobRecord:
    """The only writer of a training job's status; safe to call from several threads.

    Args:
        store: holds the document.
        name: the training job.
        clock: returns epoch seconds.
        on_event: called with the job's name after new values, and after a change of TrainingJobStatus.
        monotonic: returns seconds that the setting of the clock and the sleep of the machine do not change.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        clock: Callable[[], float],
        on_event: Callable[[str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._store = store
        #: The time of all stamps of the job.
        self.clock = SteadyClock(clock, monotonic)
        self._skipped = 0.0  # at the start of the training
        self._on_event = on_event
        self._lock = threading.RLock()  # a stop may come from any thread between reading and writing

    @property
    def doc(self) -> dict[str, Any]:
        """The current document.

        Raises:
            KeyError: the training job does not exist.
        """
        doc = self._store.training_job(self.name)
        if doc is None:
            raise KeyError(self.name)
        return doc

    @property
    def stop_reason(self) -> SecondaryStatus | None:
        """Final status of a job that was stopped (Stopped, MaxRuntimeExceeded, MaxWaitTimeExceeded), or None."""
        reason = hidden(self.doc).get("_StopReason")
        return SecondaryStatus(reason) if reason else None

    def move(self, *statuses: SecondaryStatus) -> None:
        """Enter a SecondaryStatus that is not final, or several one after the other, of which no event tells."""
        with self._lock:
            doc = self.doc
            now = self._now(doc)
            members: dict[str, Any] = {}
            if SecondaryStatus.STARTING in statuses:
                members |= HiddenMembers(_AttemptStartTime=now)
            if SecondaryStatus.DOWNLOADING in statuses and not interruptions(doc):
                members["TrainingStartTime"] = now
                self._skipped = self.clock.skipped
            self._write(doc, statuses, members, now)

    def request_stop(self, reason: SecondaryStatus) -> bool:
        """Enter Stopping; return False if the job has ended or is already stopping."""
        with self._lock:
            doc = self.doc
            if doc["TrainingJobStatus"] != TrainingStatus.IN_PROGRESS:
                return False
            private = HiddenMembers(_StopReason=str(reason))
            members = {"TrainingJobStatus": str(TrainingStatus.STOPPING), **private}
            self._write(doc, [SecondaryStatus.STOPPING], members, self._now(doc))
        self._on_event(self.name)
        return True

    def interrupt(self) -> bool:
        """Enter Interrupted; return False if the job no longer runs."""
        with self._lock:
            doc = self.doc
            if doc["TrainingJobStatus"] != TrainingStatus.IN_PROGRESS:
                return False
            self._write(doc, [SecondaryStatus.INTERRUPTED], {}, self._now(doc))
        self._on_event(self.name)
        return True

    def add_emissions(self, emissions: list[Emission]) -> None:
        """Add metric values."""
        self._store.add_emissions(self.name, emissions)
        self._on_event(self.name)

    def end(self, artifacts: Mapping[str, Any]) -> None:
        """End the job as Completed, or with the status of its stop."""
        with self._lock:
            self._end(self.stop_reason or SecondaryStatus.COMPLETED, None, artifacts)
        self._on_event(self.name)

    def fail(self, reason: str) -> None:
        """End the job as Failed."""
        with self._lock:
            self._end(SecondaryStatus.FAILED, reason, {})
        self._on_event(self.name)

    def _end(self, status: SecondaryStatus, failure: str | None, members: Mapping[str, Any]) -> None:
        doc = self.doc
        now = self._now(doc)
        emissions = self._store.emissions(self.name)
        times: dict[str, Any] = {"TrainingEndTime": now}
        if "TrainingStartTime" in doc:
            # While the laptop sleeps nothing trains. (An earlier server's part is known by its stamps only.)
            skipped = self.clock.skipped - self._skipped
            seconds = max(0, int(now - doc["TrainingStartTime"] - skipped))
            billable = spot_seconds(doc, now, skipped) if doc.get("EnableManagedSpotTraining") else seconds
            times |= {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": billable}
        self._write(
            doc,
            [status],
            {
                "TrainingJobStatus": str(_ENDED[status]),
                "FailureReason": failure,
                "FinalMetricDataList": final_metrics(emissions) or None,
                **times,
                **objective_of(doc, emissions, failed=status is SecondaryStatus.FAILED),
                **members,
            },
            now,
        )

    def _now(self, doc: Mapping[str, Any]) -> float:
        """Return the time, which is never before the job's last stamp, also if the clock was set back meanwhile."""
        last: list[float] = [transition["StartTime"] for transition in doc.get("SecondaryStatusTransitions") or ()][-1:]
        return max([self.clock(), *last, float(doc.get("CreationTime", 0.0))])

    def _write(
        self, doc: Mapping[str, Any], statuses: Sequence[SecondaryStatus], members: Mapping[str, Any], now: float
    ) -> None:
        """End the current status and enter these; the message of a failure is its reason."""
        transitions = [dict(transition) for transition in doc.get("SecondaryStatusTransitions") or ()]
        for status in statuses:
            if transitions and "EndTime" not in transitions[-1]:
                transitions[-1]["EndTime"] = now
            message = STATUS_MESSAGES.get(status) or members.get("FailureReason") or ""
            transitions.append({"Status": str(status), "StartTime": now, "StatusMessage": message})
        if statuses[-1].is_terminal:
            transitions[-1]["EndTime"] = now
        self._store.update_training_job(
            self.name,
            {"SecondaryStatus": str(statuses[-1]), "SecondaryStatusTransitions": transitions, **members},
        )


def interruptions(doc: Mapping[str, Any]) -> int:
    """Return the number of times that spot capacity was reclaimed."""
    transitions = doc.get("SecondaryStatusTransitions") or ()
    return sum(transition["Status"] == SecondaryStatus.INTERRUPTED for transition in transitions)


def spot_seconds(doc: Mapping[str, Any], now: float, skipped: float = 0.0) -> int:
    """Return BillableTimeInSeconds of a spot job: a share of the time in which it had an instance.

    Args:
        doc: the training job.
        now: epoch seconds.
        skipped: seconds of that time by which the clock was set forward.
    """
    ran = sum(
        transition.get("EndTime", now) - transition["StartTime"]
        for transition in doc.get("SecondaryStatusTransitions") or ()
        if transition["Status"] in _BILLED and transition["StartTime"] >= doc["TrainingStartTime"]
    )
    return int(max(0.0, ran - skipped) * SPOT_SHARE)


def objective_of(doc: Mapping[str, Any], emissions: Iterable[Emission], *, failed: bool) -> HiddenMembers:
    """Return the objective of an ended training job: its last value, or none.

    A failed job has none. A stopped one has an objective if it had printed one, which early stopping depends on.
    ObjectiveStatus Failed means that the job failed or did not emit the metric [API Reference].
    """
    metric = (doc.get("HyperParameters") or {}).get(OBJECTIVE_KEY)
    if metric is None:
        return {}
    values = [emission.value for emission in emissions if emission.metric == metric]
    if failed or not values:
        return {"_ObjectiveStatus": str(ObjectiveStatus.FAILED), "_ObjectiveValue": None}
    return {"_ObjectiveStatus": str(ObjectiveStatus.SUCCEEDED), "_ObjectiveValue": values[-1]}
