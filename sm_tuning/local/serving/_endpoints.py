"""Endpoints at work: which has which model processes, from creation to deletion.

A process that is idle ends; the next invocation starts it again. The documents hold what a start needs, so that a
deleted model or configuration changes nothing, and a new server goes on without them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from sm_tuning._statuses import EndpointStatus
from sm_tuning.executor import TrainingFailedError, events
from sm_tuning.executor.serving import ServingError
from sm_tuning.local._workers import Workers, is_full
from sm_tuning.local.serving._start import NO_PING, PING_SECONDS, Started, Starter
from sm_tuning.local.store import Store, hidden

_log = logging.getLogger(__name__)

IDLE_SECONDS = 600.0
MOST_HOSTS = 8
_REAP_SECONDS = 5.0
LOG_GROUP = "/aws/sagemaker/Endpoints/"

Variant = Mapping[str, Any]
Key = tuple[str, str, str]
"""ARN of the endpoint, name of its configuration, name of the variant."""


class Logs(Protocol):
    """The logs of endpoints."""

    def put_group_events(self, group: str, stream: str, events: Sequence[tuple[int, str]]) -> None:
        """Append (epoch milliseconds, message) to a stream of any log group."""


@dataclass
class _Entry:
    """The place of one model process; ``lock`` is held while the process starts."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    started: Started | None = None
    used: float = 0.0
    busy: int = 0
    dropped: bool = False


class EndpointServing:
    """The model processes of all endpoints.

    Args:
        store: holds the endpoints.
        starter: starts model processes.
        logs: takes their logs.
        clock: returns epoch seconds.
        idle: seconds after which an unused process ends.
        most: number of processes that live at once; the longest unused one ends for a new one.
    """

    def __init__(
        self,
        store: Store,
        starter: Starter,
        logs: Logs,
        clock: Callable[[], float],
        *,
        idle: float = IDLE_SECONDS,
        most: int = MOST_HOSTS,
    ) -> None:
        self._store = store
        self._starter = starter
        self._logs = logs
        self._clock = clock
        self._idle = idle
        self._most = most
        self._lock = threading.Lock()
        self._entries: dict[Key, _Entry] = {}
        self._closing = threading.Event()
        self._work: Workers[_Deployment] = Workers("endpoint")
        self._reaper = threading.Thread(target=self._reap, name="idle model hosts", daemon=True)
        self._reaper.start()

    # -- for the operations

    def deploy(self, arn: str) -> None:
        """Start the processes of an endpoint that is Creating or Updating; returns at once."""
        self._work.start(arn, _Deployment(self, arn))

    def remove(self, arn: str) -> None:
        """End the processes of a deleted endpoint, in the background."""
        self._drop([key for key in list(self._entries) if key[0] == arn], gently=True)

    def recover(self) -> None:
        """Begin unfinished deployments anew; processes of endpoints in service start with the first invocation."""
        for doc in self._store.all_resources("endpoint"):
            if doc["EndpointStatus"] in (EndpointStatus.CREATING, EndpointStatus.UPDATING):
                self.deploy(doc["EndpointArn"])

    def close(self) -> None:
        """End all processes; the documents stay."""
        self._closing.set()
        self._work.close()
        self._reaper.join()
        for entry in self._entries.values():
            if entry.started is not None:
                entry.started.close()

    # -- for invocations

    @contextmanager
    def use(self, key: Key, variant: Variant) -> Iterator[Started]:
        """Yield the running process of a variant, which is started if necessary and not ended meanwhile.

        Raises:
            ServingError: the process cannot be started.
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            entry.busy += 1
        try:
            with entry.lock:
                started = entry.started
                if started is None or not started.host.alive:
                    started = entry.started = self._replace(entry, key, variant)
            yield started
        finally:
            with self._lock:
                entry.busy -= 1
                entry.used = time.monotonic()
            self._trim(self._most)  # processes that started at the same moment did not see each other

    def _replace(self, entry: _Entry, key: Key, variant: Variant) -> Started:
        if entry.started is not None:
            entry.started.close()
            entry.started = None
        if entry.dropped:
            raise ServingError("the endpoint was deleted.")
        self._trim(self._most - 1)
        seconds = variant.get("ContainerStartupHealthCheckTimeoutInSeconds", PING_SECONDS)
        return self._starter.start(variant["Model"], self._publisher(key), timeout=seconds)

    def running(self) -> list[Key]:
        """Return the places of the processes that run."""
        with self._lock:
            return [key for key, entry in self._entries.items() if entry.started and entry.started.host.alive]

    # -- how it is done

    def deploy_now(self, arn: str) -> None:
        """Bring an endpoint to InService or Failed."""
        doc = self._store.resource(arn)
        if doc is None or EndpointStatus(doc["EndpointStatus"]).is_terminal:
            return
        pending = hidden(doc).get("_Pending")
        target = {**doc, **pending} if pending else doc
        try:
            for variant in hidden(target)["_Variants"]:
                with self.use((arn, target["EndpointConfigName"], variant["VariantName"]), variant):
                    pass
        except (ServingError, TrainingFailedError) as e:
            _log.warning("endpoint %s: %s", doc["EndpointName"], e)
            self._settle(doc, _failed(pending, variant["VariantName"], str(e)))
        except Exception as e:  # any error must end the deployment
            if is_full(e):
                raise
            _log.exception("endpoint %s", doc["EndpointName"])
            self._settle(doc, _failed(pending, "", f"InternalServerError: {e}"))
        else:
            self._settle(doc, {**(pending or {}), "_Pending": None, "EndpointStatus": str(EndpointStatus.IN_SERVICE)})

    def _settle(self, doc: Mapping[str, Any], members: Mapping[str, Any]) -> None:
        arn = doc["EndpointArn"]
        if self._closing.is_set():
            return  # a process that was killed at the end of the server says nothing about the endpoint
        try:
            now = self._store.update_resource(arn, {"FailureReason": None, **members})
        except KeyError:  # deleted meanwhile
            self._drop([key for key in list(self._entries) if key[0] == arn], gently=True)
            return
        self._drop(
            [key for key in list(self._entries) if key[0] == arn and key[1] != now["EndpointConfigName"]], gently=True
        )

    def _publisher(self, key: Key) -> Callable[[Sequence[tuple[int, str]]], None]:
        name = key[0].rpartition("/")[2]
        stream = f"{key[2]}/i-{format(int(self._clock()), 'x')}"

        def publish(lines: Sequence[tuple[int, str]]) -> None:
            self._logs.put_group_events(LOG_GROUP + name, stream, list(events(lines)))

        return publish

    def _trim(self, most: int) -> None:
        """End the longest unused processes, so that no more than ``most`` live; those in use stay."""
        with self._lock:
            live = [(entry.used, key) for key, entry in self._entries.items() if entry.started is not None]
            unused = sorted((used, key) for used, key in live if not self._entries[key].busy)
            surplus = [key for _, key in unused[: max(0, len(live) - most)]]
        self._drop(surplus)

    def _reap(self) -> None:
        while not self._closing.wait(min(_REAP_SECONDS, self._idle / 2)):
            now = time.monotonic()
            with self._lock:
                old = [
                    key
                    for key, entry in self._entries.items()
                    if entry.started is not None and not entry.busy and now - entry.used > self._idle
                ]
            self._drop(old)

    def _drop(self, keys: Sequence[Key], *, gently: bool = False) -> None:
        """End processes in the background, so that no request waits for their grace."""
        with self._lock:
            entries = [self._entries.pop(key) for key in keys if key in self._entries]
            for entry in entries:
                entry.dropped = True
        for entry in entries:
            threading.Thread(target=_end, args=(entry, gently), name="ending model host", daemon=True).start()


def _failed(pending: Mapping[str, Any] | None, variant: str, why: str) -> dict[str, Any]:
    """Return the members of an endpoint whose deployment failed."""
    if NO_PING in why:
        why = (
            f"The primary container for production variant {variant} {NO_PING}. Please check CloudWatch logs for this "
            "endpoint."
        )
    if pending:
        # Choice: a failed update leaves the endpoint as it was, with the reason.
        return {"_Pending": None, "EndpointStatus": str(EndpointStatus.IN_SERVICE), "FailureReason": why}
    return {"EndpointStatus": str(EndpointStatus.FAILED), "FailureReason": why}


def _end(entry: _Entry, gently: bool) -> None:
    with entry.lock:
        if entry.started is not None:
            entry.started.close(gently=gently)
            entry.started = None


@dataclass(frozen=True)
class _Deployment:
    """The worker of one creation or update."""

    serving: EndpointServing
    arn: str

    def run(self) -> None:
        """Deploy."""
        self.serving.deploy_now(self.arn)

    def close(self) -> None:
        """Do nothing: the starter kills the process that is waited for."""
