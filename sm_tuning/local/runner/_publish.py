"""Log lines of a job's hosts, published to CloudWatch Logs; their metric values, to store and CloudWatch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

from sm_tuning.executor import Files, Line, LogReader, MetricScanner, events
from sm_tuning.local.runner._context import Cloud
from sm_tuning.local.runner._record import JobRecord

_log = logging.getLogger(__name__)


class Publisher:
    """Publishes the logs; each host has a stream of its own, metrics are those of the job.

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
        self._names = [name for name, _ in hosts]
        self._reader = LogReader([files.log for _, files in hosts], scanner)
        self._aws = aws

    def emitted(self, metric: str) -> int:
        """Return the number of values of a metric since this server has the job."""
        return self._reader.emitted.get(metric, 0)

    def publish(self, now: float | None = None) -> None:
        """Publish the new lines.

        Args:
            now: epoch seconds; None if no host writes any more.
        """
        for news in self._reader.read(now):
            for rank, lines in groupby(news.lines, key=itemgetter(0)):
                self._put(rank, [line for _, line in lines])
            for when, problem in news.problems:
                self.note(when, problem)
            if news.emissions:
                data = [(emission.metric, emission.timestamp, emission.value) for emission in news.emissions]
                self._aws.put_metric_data({"TrainingJobName": self._job}, data)
                self._record.add_emissions(list(news.emissions))

    def note(self, when: float, text: str) -> None:
        """Add a message of this server to the log of the first host.

        Args:
            when: epoch seconds.
            text: the message; a prefix names its origin.
        """
        _log.warning("training job %s: %s", self._job, text)
        self._put(0, [(int(when * 1000), f"sm_tuning: {text}")])

    def _put(self, rank: int, lines: Sequence[Line]) -> None:
        # As on the service, the stream is named by the host and the second of its first line.
        first_ms = self._reader.first_ms(rank) or lines[0][0]
        self._aws.put_log_events(f"{self._job}/{self._names[rank]}-{first_ms // 1000}", list(events(lines)))
