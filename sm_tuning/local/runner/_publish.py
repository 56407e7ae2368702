"""Log lines of a job's hosts, published to CloudWatch Logs; their metric values, to store and CloudWatch."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sm_tuning.executor import Files, Line, LogFollower, MetricScanner, events
from sm_tuning.local.runner._context import Cloud
from sm_tuning.local.runner._record import JobRecord

_log = logging.getLogger(__name__)

_LATE_MS = 1000  # a supervisor writes a line well within this time after its arrival


class Publisher:
    """Publishes the logs; each host has a stream of its own, metrics are those of the job.

    Values from several hosts are numbered in the order in which their lines arrived. Lines are searched only when no
    earlier line can follow, so that a later server, which reads the files from the beginning, numbers them alike.

    Args:
        record: the training job.
        hosts: name and records of each host, by rank.
        scanner: finds the metric values.
        aws: CloudWatch and CloudWatch Logs.
    """

    def __init__(
        self, record: JobRecord, hosts: Sequence[tuple[str, Files]], scanner: MetricScanner, aws: Cloud
    ) -> None:
        self._record = record
        self._job = str(record.doc["TrainingJobName"])  # in the case of its creation
        self._followers = [(name, LogFollower(files.log)) for name, files in hosts]
        self._scanner = scanner
        self._aws = aws
        self._waiting: list[tuple[int, int, str]] = []
        #: Number of values of each metric since this server has the job.
        self.emitted: dict[str, int] = {}

    def publish(self, now: float | None = None) -> None:
        """Publish the new lines.

        Args:
            now: epoch seconds; None if no host writes any more.
        """
        while self._read():
            if len(self._followers) == 1:
                self._scan_until(None)  # keeps memory bounded
        self._scan_until(None if now is None else int(now * 1000) - _LATE_MS)

    def note(self, when: float, text: str) -> None:
        """Add a message of this server to the log of the first host.

        Args:
            when: epoch seconds.
            text: the message; a prefix names its origin.
        """
        _log.warning("training job %s: %s", self._job, text)
        self._put(0, [(int(when * 1000), f"sm_tuning: {text}")])

    def _read(self) -> bool:
        found = False
        for rank, (_, follower) in enumerate(self._followers):
            lines = follower.read()
            if lines:
                found = True
                self._put(rank, lines)
                self._waiting += [(stamp, rank, text) for stamp, text in lines]
        return found

    def _scan_until(self, horizon: int | None) -> None:
        """Search the lines until a time in epoch milliseconds, in the order of their arrival."""
        if len(self._followers) > 1:  # the lines of one host are in order already
            self._waiting.sort(key=lambda line: line[:2])
        ready = [line for line in self._waiting if horizon is None or len(self._followers) == 1 or line[0] <= horizon]
        if not ready:
            return
        self._waiting = self._waiting[len(ready) :]
        emissions = self._scanner.scan([(stamp, text) for stamp, _, text in ready])
        problems, self._scanner.problems[:] = list(self._scanner.problems), []
        for problem in problems:
            self.note(ready[-1][0] / 1000, problem)
        if emissions:
            for emission in emissions:
                self.emitted[emission.metric] = self.emitted.get(emission.metric, 0) + 1
            data = [(emission.metric, emission.timestamp, emission.value) for emission in emissions]
            self._aws.put_metric_data({"TrainingJobName": self._job}, data)
            self._record.add_emissions(emissions)

    def _put(self, rank: int, lines: Sequence[Line]) -> None:
        name, follower = self._followers[rank]
        # As on the service, the stream is named by the host and the second of its first line.
        first_ms = follower.first_ms or lines[0][0]
        self._aws.put_log_events(f"{self._job}/{name}-{first_ms // 1000}", list(events(lines)))
