"""An AWS over HTTP for studies: S3 with conditional writes, and training jobs that end after some looks.

It answers on 127.0.0.2, which does not count as the local SageMaker. Its clock stands still unless a test moves it.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import boto3

import sm_tuning as smt
from sm_tuning import studies
from sm_tuning.aws import Aws, Clock, Policy, Retry

ACCOUNT, REGION = "123456789012", "us-east-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/R"
_SUMMARY = (
    "TrainingJobName",
    "TrainingJobArn",
    "CreationTime",
    "LastModifiedTime",
    "TrainingJobStatus",
    "SecondaryStatus",
    "WarmPoolStatus",
)
BUCKET = f"sagemaker-{REGION}-{ACCOUNT}"


class Refusal(Exception):  # noqa: N818
    """An error response."""

    def __init__(self, status: int, code: str, message: str = "no") -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


class Dead(BaseException):
    """The process was killed: no further call reaches AWS, not even that which gives the lease back."""


class Mortal(Aws):
    """A connection of a process that dies at its nth call, before or after the call has its effect."""

    left = 10**9
    is_after = False

    def _call(self, service: str, method: str, given: Any) -> dict[str, Any]:
        self.left -= 1
        if self.left < 0 or (self.left == 0 and not self.is_after):
            raise Dead
        answer = super()._call(service, method, given)
        if self.left == 0:
            raise Dead
        return answer


class SmallAws(ThreadingHTTPServer):
    """The service. ``looks`` is how often a training job is listed or described until it ends.

    ``fault`` is called with the operation and its number, before and after its effect; what it raises is the answer.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.2", 0), _Exchange)
        self.now = 1_790_000_000.0
        self.looks = 2
        self.lag = 0.0  # seconds for which lists lack a new training job
        self.empty_pages = 0  # of each list, with a token, before the first that is not empty
        self.stopping = 0.0  # seconds for which a job is Stopping
        self.can_search = False
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.tags: dict[str, list[dict[str, str]]] = {}
        self.lines: dict[str, list[tuple[float, str]]] = {}  # of the logs, by training job
        self.calls: Counter[str] = Counter()
        self.fault: Callable[[str, int, bool], None] = lambda _operation, _number, _done: None
        self.end_of: Callable[[Mapping[str, Any]], dict[str, Any]] = succeeded
        self.lock = threading.RLock()
        self._connection: Aws | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.2:{self.server_port}"

    def connect(self, kind: type[Aws] = Aws, environ: Mapping[str, str] = {}, **changes: Any) -> Aws:
        """Return a connection; botocore repeats nothing, so that no test waits for its pauses.

        A plain one is always the same, since clients take longer to make than many tests.
        """
        is_plain = kind is Aws and not environ and not changes
        if is_plain and self._connection is not None:
            return self._connection
        session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name=REGION)
        policy = Policy(attempts=1, mode="standard", waiting=Retry(attempts=8, first=0.0), **changes)
        environ = {"SM_TUNING_CACHE_DIR": "", **environ}
        made = kind(session, region=REGION, endpoint_url=self.url, environ=environ, policy=policy)
        if is_plain:
            self._connection = made
        return made

    def forget(self) -> None:
        """Delete everything."""
        self.objects.clear()
        self.jobs.clear()

    def records(self) -> dict[str, Any]:
        """Return the objects of studies by the last parts of their keys."""
        return {
            "/".join(key.split("/")[-2:]): json.loads(body)
            for key, (body, _) in self.objects.items()
            if key.endswith(".json")
        }

    def answer(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[bytes, dict[str, str]]:
        """Handle one request."""
        target = headers.get("X-Amz-Target", "")
        operation = target.rpartition(".")[2] if target else f"s3:{method}"
        if not target and method == "GET" and "list-type" in url:
            operation = "s3:LIST"
        with self.lock:
            self.calls[operation] += 1
            number = self.calls[operation]
            self.fault(operation, number, False)
            if target:
                if not hasattr(self, operation):
                    raise Refusal(400, "AccessDeniedException", f"no {operation} here")
                result = json.dumps(getattr(self, operation)(json.loads(body))).encode()
                answer = result, {"Content-Type": "application/x-amz-json-1.1"}
            elif "Action=GetCallerIdentity" in body.decode(errors="replace"):
                answer = _identity(), {"Content-Type": "text/xml"}
            else:
                answer = self._s3(method, url, headers, body)
            self.fault(operation, number, True)
            return answer

    def GetMetricData(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        """Have no values, as of trials that end within a minute."""
        return {"MetricDataResults": []}

    # S3

    def _s3(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[bytes, dict[str, str]]:
        parts = urlsplit(url)
        bucket, _, key = unquote(parts.path).removeprefix("/").partition("/")
        name = f"{bucket}/{key}"
        if not key:
            return (
                (self._objects(bucket, parse_qs(parts.query)), {"Content-Type": "text/xml"})
                if method == "GET"
                else (b"", {})
            )
        found = self.objects.get(name)
        if method == "PUT" and "X-Amz-Copy-Source" in headers:
            source = unquote(headers["X-Amz-Copy-Source"]).removeprefix("/")
            self.objects[name] = (self.objects[source][0], self.now)
            return b"<CopyObjectResult><ETag>x</ETag></CopyObjectResult>", {"Content-Type": "text/xml"}
        if method == "PUT":
            if headers.get("If-None-Match") == "*" and found is not None:
                raise Refusal(412, "PreconditionFailed")
            if "If-Match" in headers and (found is None or headers["If-Match"] != _etag(found[0])):
                raise Refusal(412, "PreconditionFailed")
            self.objects[name] = (_unchunked(headers, body), self.now)
            return b"", {"ETag": _etag(self.objects[name][0])}
        if found is None:
            raise Refusal(404, "NoSuchKey")
        size = {"Content-Length": str(len(found[0]))} if method == "HEAD" else {}
        return found[0], {"ETag": _etag(found[0]), "Last-Modified": formatdate(found[1], usegmt=True), **size}

    def _objects(self, bucket: str, query: Mapping[str, list[str]]) -> bytes:
        prefix = query.get("prefix", [""])[0]
        names = [name.removeprefix(f"{bucket}/") for name in sorted(self.objects) if name.startswith(f"{bucket}/")]
        names = [name for name in names if name.startswith(prefix)]
        if "delimiter" in query:
            folders = sorted({prefix + name.removeprefix(prefix).split("/")[0] + "/" for name in names})
            inner = "".join(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in folders)
        else:
            inner = "".join(f"<Contents><Key>{escape(name)}</Key></Contents>" for name in names)
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{inner}</ListBucketResult>".encode()

    # SageMaker

    def CreateTrainingJob(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        name = request["TrainingJobName"]
        if name in self.jobs:
            raise Refusal(400, "ResourceInUse", "a training job with this name already exists")
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/{name}"
        self.tags[arn] = request.pop("Tags", [])
        created = self.now - 1 + len(self.jobs) / 1000
        facts = {"TrainingJobArn": arn, "TrainingJobStatus": "InProgress", "SecondaryStatus": "Training"}
        self.jobs[name] = {**request, **facts, "CreationTime": created, "LastModifiedTime": created}
        self.jobs[name] |= {"TrainingStartTime": created, "looks": 0}
        return {"TrainingJobArn": arn}

    def DescribeTrainingJob(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        name = request["TrainingJobName"]
        if name not in self.jobs:
            raise Refusal(400, "ValidationException", "Requested resource not found.")
        return self._looked(self.jobs[name])

    def ListTrainingJobs(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        page = int(request.get("NextToken", 0))
        if page < self.empty_pages:
            return {"TrainingJobSummaries": [], "NextToken": str(page + 1)}
        chosen = [job for name, job in self.jobs.items() if request.get("NameContains", "") in name]
        chosen = [job for job in chosen if job["CreationTime"] <= self.now - self.lag]
        chosen = [job for job in chosen if job["CreationTime"] > request.get("CreationTimeAfter", 0)]
        chosen.sort(key=lambda job: job["CreationTime"], reverse=request.get("SortOrder") == "Descending")
        looked = [self._looked(job) for job in chosen]
        return {"TrainingJobSummaries": [{name: job[name] for name in _SUMMARY if name in job} for job in looked]}

    def StopTrainingJob(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        job = self.jobs[request["TrainingJobName"]]
        if job["TrainingJobStatus"] != "InProgress":
            raise Refusal(400, "ValidationException", "The request was rejected because the job is in another status.")
        job |= {"TrainingJobStatus": "Stopping", "stopped_at": self.now}
        self._looked(job)
        return {}

    def UpdateTrainingJob(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        job = self.jobs[request["TrainingJobName"]]
        job["ResourceConfig"] = {**job["ResourceConfig"], **request["ResourceConfig"]}
        job["WarmPoolStatus"] = {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": 5}
        return {"TrainingJobArn": job["TrainingJobArn"]}

    def ListTags(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"Tags": self.tags[request["ResourceArn"]]}

    def DescribeHyperParameterTuningJob(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        raise Refusal(400, "ResourceNotFound", f"can't find {request['HyperParameterTuningJobName']}")

    def Search(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        if not self.can_search:
            raise Refusal(400, "AccessDeniedException", "no Search here")
        part = request["SearchExpression"]["Filters"][0]["Value"]
        found = [{name: value for name, value in job.items() if name != "looks"} for job in self.jobs.values()]
        return {"Results": [{"TrainingJob": job} for job in found if part in job["TrainingJobName"]]}

    def FilterLogEvents(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        prefix, names = request.get("logStreamNamePrefix", ""), request.get("logStreamNames")
        events = [
            {"eventId": f"{stream}/{number}", "logStreamName": stream, "message": line, "timestamp": int(at * 1000)}
            for job, lines in self.lines.items()
            for number, (at, line) in enumerate(lines)
            if (stream := f"{job}/algo-1-1").startswith(prefix) and (names is None or stream in names)
        ]
        return {"events": [{**event, "ingestionTime": event["timestamp"]} for event in events]}

    def _looked(self, job: dict[str, Any]) -> dict[str, Any]:
        job["looks"] += 1
        if job["TrainingJobStatus"] == "Stopping" and self.now >= job["stopped_at"] + self.stopping:
            job |= {"TrainingJobStatus": "Stopped", "TrainingEndTime": self.now}
        if job["looks"] >= self.looks and job["TrainingJobStatus"] == "InProgress":
            job |= {"TrainingEndTime": job["CreationTime"] + 60, **self.end_of(job)}
        return {name: value for name, value in job.items() if name not in ("looks", "stopped_at")}

    @contextmanager
    def running(self) -> Iterator[SmallAws]:
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()
            thread.join()


def succeeded(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return the end of a training job whose objective is (rate - 0.3)²."""
    value = (float(job["HyperParameters"]["rate"]) - 0.3) ** 2
    metrics = [{"MetricName": "loss", "Value": value, "Timestamp": job["CreationTime"] + 50}]
    return {"TrainingJobStatus": "Completed", "FinalMetricDataList": metrics}


def saving(service: SmallAws, epochs: dict[str, int]) -> Callable[[Any], dict[str, Any]]:
    """Return the end of a training job that continues its checkpoint, if there is one, up to ``epochs``."""

    def end(job: Any) -> dict[str, Any]:
        folder = job["CheckpointConfig"]["S3Uri"].removeprefix("s3://")
        begun = int(service.objects.get(f"{folder}/state", (b"0", 0.0))[0])
        wanted = int(job["HyperParameters"]["epochs"])
        epochs[job["TrainingJobName"]] = wanted - begun
        service.objects[f"{folder}/state"] = (str(wanted).encode(), service.now)
        return succeeded(job)

    return end


def failed(reason: str) -> dict[str, Any]:
    return {"TrainingJobStatus": "Failed", "FailureReason": reason}


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and content in one packet
    disable_nagle_algorithm = True

    def handle_expect_100(self) -> bool:
        """Send 100 Continue at once: botocore waits a second for it."""
        done = super().handle_expect_100()
        self.wfile.flush()
        return done

    def _serve(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            content, headers = server.answer(self.command, self.path, self.headers, body)
            status = 200
        except Refusal as error:
            status = error.status
            if "X-Amz-Target" in self.headers:
                content = json.dumps({"__type": error.code, "message": error.message}).encode()
                headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-ErrorType": error.code}
            else:
                content = f"<Error><Code>{error.code}</Code><Message>no</Message></Error>".encode()
                headers = {"Content-Type": "text/xml"}
        except ConnectionError:  # a lost answer
            self.close_connection = True
            return
        self.send_response_only(status)
        self.send_header("Date", formatdate(server.now, usegmt=True))
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_HEAD = _serve  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def _unchunked(headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the content of a body that botocore sends with a trailing checksum."""
    if "aws-chunked" not in headers.get("Content-Encoding", ""):
        return body
    content = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.split(b";")[0] or b"0", 16)
        if length == 0:
            break
        content, body = content + body[:length], body[length + 2 :]
    return content


def _identity() -> bytes:
    return (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
        f"<Arn>{ROLE}</Arn><UserId>u</UserId><Account>{ACCOUNT}</Account>"
        "</GetCallerIdentityResult></GetCallerIdentityResponse>"
    ).encode()


def tuning(**changes: Any) -> smt.Tuning:
    """Return a study of a container, which needs no upload."""
    image: dict[str, Any] = {
        "image_uri": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/own:1",
        "instance_type": "ml.m5.large",
        "role": ROLE,
        "max_run": 600,
        "metric_definitions": [{"Name": "loss", "Regex": r"loss=(\S+)"}],
    }
    estimator = smt.ContainerEstimator(**{**image, **changes.pop("estimator", {})})
    fields = {
        "objective_metric_name": "loss",
        "objective_type": "Minimize",
        "hyperparameter_ranges": {"rate": smt.ContinuousParameter(0, 1)},
        "strategy": "Random",
        "max_jobs": 4,
        "max_parallel_jobs": 2,
        "random_seed": 1,
        "study": smt.StudySettings(**changes.pop("study", {})),
    }
    return smt.Tuning(estimator=estimator, **{**fields, **changes})


def launched(service: SmallAws, name: str = "s", aws: Aws | None = None, **changes: Any) -> smt.Study:
    aws = aws or service.connect()
    return smt.Study(aws, studies.launch(aws, tuning(**changes), name=name))


def quick(service: SmallAws) -> Clock:
    """A clock whose seconds pass at once, here and in the service."""
    passed = [0.0]

    def sleep(seconds: float) -> None:
        passed[0] += seconds
        service.now += seconds

    return Clock(sleep=sleep, monotonic=lambda: passed[0])


def drive(service: SmallAws, aws: Aws, name: str = "s", **options: Any) -> studies.Driven:
    clock = quick(service)
    uri = next(key for key in service.objects if key.endswith(f"/{name}/study.json")).removesuffix("/study.json")
    store = studies.Store(aws, f"s3://{uri}", monotonic=clock.monotonic)
    study = studies.read_study(store)
    assert study is not None
    return studies.drive_study(aws, studies.StudyTrials(aws, store, study), clock=clock, **options)
