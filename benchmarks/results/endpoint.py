"""An endpoint on loopback with AWS's responses and page sizes, and a latency for each call.

python -m benchmarks.results.endpoint TRIALS LINES MINUTES LATENCY    prints its port; ``GET /calls`` counts and resets
"""

from __future__ import annotations

import json
import re
import struct
import sys
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from botocore.parsers import RpcV2CBORParser

from benchmarks.results.world import METRICS, World

MEGABYTE = 2**20


class Tagged(float):
    """Epoch seconds that are encoded as a CBOR time."""


def cbor(value: Any) -> bytes:
    """Encode a response of CloudWatch as CBOR (RFC 8949: text, arrays, maps, doubles, times)."""
    if isinstance(value, Tagged):
        return b"\xc1" + b"\xfb" + struct.pack(">d", value)
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, str):
        data = value.encode()
        return _head(3, len(data)) + data
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(map(cbor, value))
    return _head(5, len(value)) + b"".join(cbor(key) + cbor(item) for key, item in value.items())


def _head(major: int, count: int) -> bytes:
    if count < 24:
        return bytes([major << 5 | count])
    size, code = next((s, c) for s, c in ((1, "B"), (2, "H"), (4, "I")) if count < 256**s)
    return bytes([major << 5 | {1: 24, 2: 25, 4: 26}[size]]) + struct.pack(f">{code}", count)


class Answers:
    """One method for each operation."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.filtered: dict[str, list[dict[str, Any]]] = {}

    def DescribeHyperParameterTuningJob(self, body: dict[str, Any]) -> Any:  # noqa: N802
        """Return the response of DescribeHyperParameterTuningJob."""
        del body
        return self.world.tuning_job

    def ListTrainingJobsForHyperParameterTuningJob(self, body: dict[str, Any]) -> Any:  # noqa: N802
        """Return the response of ListTrainingJobsForHyperParameterTuningJob."""
        return self._page("TrainingJobSummaries", self.world.summary, body, "NextToken")

    def Search(self, body: dict[str, Any]) -> Any:  # noqa: N802
        """Return the response of Search."""
        return self._page("Results", lambda n: {"TrainingJob": self.world.training_job(n)}, body, "NextToken")

    def _page(self, member: str, make: Any, body: dict[str, Any], token: str) -> Any:
        first = int(body.get(token, 0))
        last = min(first + body.get("MaxResults", 10), self.world.trials)
        page = {member: [make(n) for n in range(first, last)]}
        return page | ({token: str(last)} if last < self.world.trials else {})

    def DescribeTrainingJob(self, body: dict[str, Any]) -> Any:  # noqa: N802
        """Return the response of DescribeTrainingJob."""
        return self.world.training_job(self.world.places[body["TrainingJobName"]])

    def FilterLogEvents(self, body: dict[str, Any]) -> Any:  # noqa: N802
        """Return the response of FilterLogEvents."""
        prefix = body["logStreamNamePrefix"]
        key = f"{prefix} {body.get('filterPattern', '')}"
        if key not in self.filtered:
            search = re.compile(body["filterPattern"][1:-1]).search if "filterPattern" in body else None
            self.filtered[key] = [
                event
                for event in self.world.events
                if event["logStreamName"].startswith(prefix) and (search is None or search(event["message"]))
            ]
        return _log_page(self.filtered[key], int(body.get("nextToken", 0)), "nextToken")

    def DescribeLogStreams(self, body: dict[str, Any]) -> Any:  # noqa: N802
        """Return the response of DescribeLogStreams."""
        name = body["logStreamNamePrefix"].rstrip("/")
        return {"logStreams": [{"logStreamName": f"{name}/algo-1-{self.world.start(self.world.places[name])}"}]}

    def GetLogEvents(self, body: dict[str, Any]) -> Any:  # noqa: N802
        """Return the response of GetLogEvents."""
        stream = body["logStreamName"]
        if stream not in self.filtered:
            self.filtered[stream] = [event for event in self.world.events if event["logStreamName"] == stream]
        first = int(body.get("nextToken", 0))
        page = _log_page(self.filtered[stream], first, "nextForwardToken")
        return {**page, "nextForwardToken": page.get("nextForwardToken", str(len(self.filtered[stream])))}

    def GetMetricStatistics(self, body: dict[str, Any]) -> Any:  # noqa: N802
        """Return the response of GetMetricStatistics."""
        series = self._series(body["MetricName"], body["Dimensions"][0])
        return {
            "Label": body["MetricName"],
            "Datapoints": [{"Timestamp": moment, "Average": value, "Unit": "None"} for moment, value in series],
        }

    def GetMetricData(self, body: dict[str, Any]) -> Any:  # noqa: N802
        """Return the response of GetMetricData."""
        results = []
        for query in body["MetricDataQueries"]:
            metric = query["MetricStat"]["Metric"]
            series = self._series(metric["MetricName"], metric["Dimensions"][0])
            moments, values = [moment for moment, _ in series], [value for _, value in series]
            results.append(
                {"Id": query["Id"], "Label": "", "Timestamps": moments, "Values": values, "StatusCode": "Complete"}
            )
        return {"MetricDataResults": results}

    def _series(self, metric: str, dimension: dict[str, str]) -> list[tuple[Tagged, float]]:
        """Return the averages of each minute of a trial: an epoch's value, or the load of the machine."""
        trial = self.world.places[dimension["Value"].partition("/")[0]]
        start, minutes = self.world.start(trial), self.world.minutes
        number = METRICS.index(metric) if metric in METRICS else None
        load = {"CPUUtilization": 120.0, "MemoryUtilization": 30.0, "DiskUtilization": 5.0}.get(metric, 0.0)
        return [
            (
                Tagged(start + 60 * n),
                load if number is None else self.world.value(trial, number, n * self.world.epochs // minutes),
            )
            for n in range(minutes)
        ]


def _log_page(events: list[dict[str, Any]], first: int, token: str) -> Any:
    """Return a page of at most 10,000 events and 1 MB of text."""
    size, last = 0, first
    while last < len(events) and last - first < 10_000:
        size += len(events[last]["message"])
        if size > MEGABYTE:
            break
        last += 1
    return {"events": events[first:last]} | ({token: str(last)} if last < len(events) else {})


class Handler(BaseHTTPRequestHandler):
    """Responds with JSON for SageMaker and Logs, and with CBOR for CloudWatch."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    answers: Answers
    latency: float
    calls: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        """Return the number of calls since the last request, and reset it."""
        self._send(json.dumps(self.calls).encode(), "application/json")
        self.calls.clear()

    def do_POST(self) -> None:
        """Respond to an operation, after the latency."""
        began = time.monotonic()
        data = self.rfile.read(int(self.headers["Content-Length"]))
        target = self.headers.get("X-Amz-Target")
        if target:
            operation, body = target.split(".")[1], json.loads(data)
        else:
            parser = RpcV2CBORParser()
            operation = self.path.rsplit("/", 1)[1]
            body = parser.parse_data_item(parser.get_peekable_stream_from_bytes(data))
        self.calls[operation] += 1
        answer = getattr(self.answers, operation)(body)
        content = json.dumps(answer).encode() if target else cbor(answer)
        time.sleep(max(self.latency - (time.monotonic() - began), 0))
        self._send(content, "application/x-amz-json-1.1" if target else "application/cbor")

    def _send(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("smithy-protocol", "rpc-v2-cbor")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


def main() -> None:
    """Serve until the process is stopped."""
    trials, lines, minutes, latency = sys.argv[1:]
    Handler.answers = Answers(World(int(trials), lines=int(lines), minutes=int(minutes)))
    Handler.latency = float(latency)
    len(Handler.answers.world.events)  # built before the measurement
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
