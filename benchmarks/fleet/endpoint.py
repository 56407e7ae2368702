"""An endpoint on loopback with many tuning jobs, AWS's page sizes and a latency for each call.

python -m benchmarks.fleet.endpoint JOBS TRIALS LATENCY    prints its port; ``GET /calls`` counts and resets
"""

from __future__ import annotations

import sys
import time
from http.server import ThreadingHTTPServer
from typing import Any

from benchmarks.results.endpoint import Handler
from benchmarks.results.world import ACCOUNT, World

_TAGS = [{"Key": "team", "Value": "bench"}]
_IDENTITY = f"""<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:iam::{ACCOUNT}:user/bench</Arn><UserId>bench</UserId><Account>{ACCOUNT}</Account>
</GetCallerIdentityResult></GetCallerIdentityResponse>"""


class Jobs:
    """Tuning jobs that are copies of one world under names of their own; one method for each operation."""

    def __init__(self, jobs: int, trials: int) -> None:
        self.world = World(trials)
        self.names = [f"bench{number:04d}" for number in range(jobs)]
        self.changed: dict[str, float] = {}

    def _named(self, record: dict[str, Any], name: str) -> dict[str, Any]:
        """Return a description of the world's job or one of its trials, of another job."""
        members = (
            *("HyperParameterTuningJobName", "HyperParameterTuningJobArn"),
            *("TrainingJobName", "TrainingJobArn", "TuningJobArn"),
        )
        own = {member: record[member].replace("bench", name) for member in members if member in record}
        return {**record, **own}

    def _job(self, name: str) -> dict[str, Any]:
        end = float(self.world.begin + 86400)
        times = {"LastModifiedTime": self.changed.get(name, end), "HyperParameterTuningEndTime": end}
        return {**self._named(self.world.tuning_job, name), **times}

    def ListHyperParameterTuningJobs(self, body: dict[str, Any]) -> Any:  # noqa: N802
        """Return the summaries of the jobs that changed."""
        after = body.get("LastModifiedTimeAfter", 0)
        found = [job for job in map(self._job, self.names) if job["LastModifiedTime"] > after]
        hidden = ("HyperParameterTuningJobConfig", "TrainingJobDefinition")
        shown = [{k: v for k, v in job.items() if k not in hidden} | {"Strategy": "Random"} for job in found]
        return _page("HyperParameterTuningJobSummaries", shown, body)

    def Search(self, body: dict[str, Any]) -> Any:  # noqa: N802
        """Return full descriptions of tuning jobs, or of the trials of one."""
        if body["Resource"] == "HyperParameterTuningJob":
            return _page("Results", [{body["Resource"]: {**self._job(n), "Tags": _TAGS}} for n in self.names], body)
        name = body["SearchExpression"]["Filters"][0]["Value"].rpartition("/")[2]
        found = (self._named(self.world.training_job(number), name) for number in range(self.world.trials))
        return _page("Results", [{"TrainingJob": record} for record in found], body)

    def DescribeHyperParameterTuningJob(self, body: dict[str, Any]) -> Any:  # noqa: N802
        """Return the description of one job."""
        return self._job(body["HyperParameterTuningJobName"])

    def ListTags(self, body: dict[str, Any]) -> Any:  # noqa: N802
        """Return the tags of a job."""
        del body
        return {"Tags": _TAGS}

    def ListTrainingJobsForHyperParameterTuningJob(self, body: dict[str, Any]) -> Any:  # noqa: N802
        """Return the summaries of a job's trials."""
        name = body["HyperParameterTuningJobName"]
        found = [self._named(self.world.summary(number), name) for number in range(self.world.trials)]
        return _page("TrainingJobSummaries", found, body)


def _page(member: str, items: list[Any], body: dict[str, Any]) -> Any:
    first, size = int(body.get("NextToken", 0)), body.get("MaxResults", 10)
    following = {"NextToken": str(first + size)} if first + size < len(items) else {}
    return {member: items[first : first + size], **following}


class FleetHandler(Handler):
    """Also responds to STS, which sends forms."""

    def do_POST(self) -> None:  # noqa: N802
        """Respond to an operation, after the latency."""
        if "form-urlencoded" not in self.headers.get("Content-Type", ""):
            super().do_POST()
            return
        self.rfile.read(int(self.headers["Content-Length"]))
        self.calls["GetCallerIdentity"] += 1
        time.sleep(self.latency)
        self._send(_IDENTITY.encode(), "text/xml")

    def do_PUT(self) -> None:  # noqa: N802
        """Change some jobs now: their number is the path."""
        for name in self.answers.names[: int(self.path.strip("/"))]:
            self.answers.changed[name] = time.time()
        self._send(b"", "text/plain")


def main() -> None:
    """Serve until the process is stopped."""
    jobs, trials, latency = sys.argv[1:]
    FleetHandler.answers = Jobs(int(jobs), int(trials))
    FleetHandler.latency = float(latency)
    server = ThreadingHTTPServer(("127.0.0.1", 0), FleetHandler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
