"""From the log files of a job's hosts to CloudWatch Logs, metric values, store and CloudWatch."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sm_tuning.executor._logs import LogFollower, events, stream_name
from sm_tuning.executor._metrics import Line, MetricScanner
from sm_tuning.executor._process import Files
from sm_tuning.local.runner._context import Cloud
from sm_tuning.local.runner._record import JobRecord

_log = logging.getLogger(__name__)

_LATE_MS = 1000
"""A supervisor writes a line down well within this time after its arrival (``_container.FLUSH_SECONDS``)."""


class Publisher:
    """Carries lines on; each host has a stream of its own, metrics are the job's.

    The values of several hosts' lines are numbered in the order in which the lines arrived, whatever host they
    are of. Lines are searched once no earlier line can come any more, so that a later server, which reads the
    files from their beginning, numbers them in the same way.

    Args:
        record: the training job.
        hosts: name and records of each host, by rank.
        scanner: of the job's metric definitions.
        aws: where to.
    """

    def __init__(
        self, record: JobRecord, hosts: Sequence[tuple[str, Files]], scanner: MetricScanner, aws: Cloud
    ) -> None:
        self._record = record
        self._job = str(record.doc["TrainingJobName"])  # the case in which it was created
        self._followers = [(name, LogFollower(files.log)) for name, files in hosts]
        self._scanner = scanner
        self._aws = aws
        self._waiting: list[tuple[int, int, str]] = []
        self.emitted: dict[str, int] = {}
        """How many values each metric has had in this server's time."""

    def publish(self, now: float | None = None) -> None:
        """Carry on the lines that are new.

        Args:
            now: epoch seconds; None when no host writes any more.
        """
        while self._read():
            if len(self._followers) == 1:
                self._scan_until(None)  # memory stays bounded however much there is
        self._scan_until(None if now is None else int(now * 1000) - _LATE_MS)

    def note(self, when: float, text: str) -> None:
        """Say something of our own in the first host's log.

        Args:
            when: epoch seconds.
            text: without its beginning, which says whose words these are.
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
        """Search the lines up to a time in epoch ms, in the order of their arrival."""
        if len(self._followers) > 1:
            self._waiting.sort(key=lambda line: line[:2])
        ready = [one for one in self._waiting if horizon is None or len(self._followers) == 1 or one[0] <= horizon]
        if not ready:
            return
        self._waiting = self._waiting[len(ready) :]
        emissions = self._scanner.scan([(stamp, text) for stamp, _, text in ready])
        problems, self._scanner.problems[:] = list(self._scanner.problems), []
        for problem in problems:
            self.note(ready[-1][0] / 1000, problem)
        if emissions:
            for one in emissions:
                self.emitted[one.metric] = self.emitted.get(one.metric, 0) + 1
            data = [(one.metric, one.timestamp, one.value) for one in emissions]
            self._aws.put_metric_data({"TrainingJobName": self._job}, data)
            self._record.add_emissions(emissions)

    def _put(self, rank: int, lines: Sequence[Line]) -> None:
        name, follower = self._followers[rank]
        stream = stream_name(self._job, name, follower.first_ms or lines[0][0])
        self._aws.put_log_events(stream, list(events(lines)))
