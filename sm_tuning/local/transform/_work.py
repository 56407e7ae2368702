"""Transform jobs at work: one model process a job, one object after another.

A job that a killed server left behind starts over: keys of the output are fixed, so that nothing doubles. An object is
written complete or not at all.
"""

from __future__ import annotations

import gzip
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from sm_tuning.executor import events
from sm_tuning.executor.serving import HostGoneError, Invocation, ModelHost, ServingError
from sm_tuning.local._resource_run import FailedError, ResourceRun, recover
from sm_tuning.local._workers import Workers, is_full
from sm_tuning.local.serving import NO_PING, Starter
from sm_tuning.local.store import Store, hidden
from sm_tuning.local.transform._join import Processing
from sm_tuning.local.transform._paths import Path as FilterPath
from sm_tuning.local.transform._split import assemble, batches, body_of, records_of

LOG_GROUP = "/aws/sagemaker/TransformJobs"
_SEE_LOGS = "ClientError: See job logs for more information"
_PING = (
    "AlgorithmError: Model container failed to respond to ping; Ensure /ping endpoint is implemented and responds with "
    "an HTTP 200 status code"
)
_MB = 1024 * 1024
_DEFAULT_SECONDS, _DEFAULT_PAYLOAD = 600, 6
_ENVIRONMENT = (
    ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "MaxPayloadInMB"),
    ("SAGEMAKER_BATCH_STRATEGY", "BatchStrategy"),
    ("SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", "MaxConcurrentTransforms"),
)
# The service and containers write strategies in two forms.
_STRATEGIES = {"MULTI_RECORD": "MultiRecord", "SINGLE_RECORD": "SingleRecord"}


class Cloud(Protocol):
    """The AWS services that a transform job uses."""

    def list_objects(self, uri: str) -> list[str]:
        """Return the URIs of all objects under a prefix."""

    def download(self, uri: str, path: Path) -> None:
        """Download an object to a file."""

    def upload(self, path: Path, uri: str) -> None:
        """Upload a file to an object."""

    def put_group_events(self, group: str, stream: str, events: Sequence[tuple[int, str]]) -> None:
        """Append (epoch milliseconds, message) to a stream of a log group."""


class ObjectError(Exception):
    """An object cannot be transformed; the others are."""


@dataclass(frozen=True)
class Settings:
    """How objects become requests: of the job, else of the container, else the defaults of the API."""

    several: bool
    limit: int | None
    parallel: int
    seconds: float
    retries: int

    @classmethod
    def of(cls, job: Mapping[str, Any], proposed: Mapping[str, Any]) -> Settings:
        """Return the settings of a job."""
        strategy = job.get("BatchStrategy") or proposed.get("BatchStrategy") or "MultiRecord"
        payload = job.get("MaxPayloadInMB", proposed.get("MaxPayloadInMB", _DEFAULT_PAYLOAD))
        client = job.get("ModelClientConfig") or {}
        return cls(
            several=_STRATEGIES.get(strategy, strategy) == "MultiRecord",
            limit=int(payload) * _MB or None,  # 0 means no limit
            # 0 and an absent number leave the choice to the container.
            parallel=int(job.get("MaxConcurrentTransforms") or proposed.get("MaxConcurrentTransforms") or 1),
            seconds=float(client.get("InvocationsTimeoutInSeconds", _DEFAULT_SECONDS)),
            retries=int(client.get("InvocationsMaxRetries", 0)),
        )


class Transforms:
    """Runs and recovers transform jobs.

    Args:
        store: holds the documents.
        aws: S3 and logs.
        starter: starts model processes.
        clock: returns epoch seconds.
        slots: bounds the jobs that run at once.
    """

    def __init__(
        self, store: Store, aws: Cloud, starter: Starter, clock: Callable[[], float], slots: threading.Semaphore
    ) -> None:
        self.store = store
        self.aws = aws
        self.starter = starter
        self.clock = clock
        self.slots = slots
        self._runs: Workers[TransformRun] = Workers("transform job")

    def start(self, arn: str) -> None:
        """Start a job that is in the store; returns at once."""
        self._runs.start(arn, TransformRun(self, arn))

    def stop(self, arn: str) -> None:
        """Stop a job."""
        run = self._runs.get(arn)
        if run is not None:
            run.stop()

    def recover(self) -> None:
        """Run all unfinished jobs again."""
        recover(self._runs, self.store, "transform-job", lambda arn: TransformRun(self, arn))

    def close(self) -> None:
        """End all jobs; the documents stay for ``recover``."""
        self._runs.close()


class TransformRun(ResourceRun):
    """One transform job."""

    prefix = "Transform"

    def __init__(self, transforms: Transforms, arn: str) -> None:
        super().__init__(transforms.store, arn, transforms.clock, transforms.slots)
        self._transforms = transforms
        self._host: ModelHost | None = None

    def interrupt(self) -> None:
        """Kill the model process."""
        if self._host is not None:
            self._host.abandon()

    def work(self, job: Mapping[str, Any]) -> Mapping[str, Any]:
        """Transform all objects."""
        try:
            if self._transform(job):
                raise FailedError(_SEE_LOGS)
        except ServingError as e:
            raise FailedError(_PING if NO_PING in str(e) else str(e)) from e
        return {}

    def _transform(self, job: Mapping[str, Any]) -> bool:
        """Transform all objects; return whether one failed."""
        transforms = self._transforms
        transforms.store.update_resource(self._arn, {"TransformStartTime": round(self._clock(), 3)})
        stream = f"{job['TransformJobName']}/i-{int(job['CreationTime']):x}"
        given = {name: str(job[member]) for name, member in _ENVIRONMENT if job.get(member) is not None}
        environment = {"SAGEMAKER_BATCH": "true", **given, **job.get("Environment", {})}

        def publish(lines: Sequence[tuple[int, str]]) -> None:
            transforms.aws.put_group_events(LOG_GROUP, stream, list(events(lines)))

        def note(text: str) -> None:
            when = int(self._clock() * 1000)
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when / 1000))
            line = f"{stamp}.{when % 1000:03d}:[sagemaker logs]: {text}"
            transforms.aws.put_group_events(LOG_GROUP, f"{stream}/data-log", [(when, line)])

        started = transforms.starter.start(hidden(job)["_Model"], publish, environment=environment)
        try:
            self._host = started.host
            settings = Settings.of(job, started.host.execution_parameters())
            strategy = "MULTI_RECORD" if settings.several else "SINGLE_RECORD"
            size = 0 if settings.limit is None else settings.limit // _MB
            note(f"MaxConcurrentTransforms={settings.parallel}, MaxPayloadInMB={size}, BatchStrategy={strategy}")
            failed = False
            with (
                tempfile.TemporaryDirectory(dir=started.folder) as scratch,
                ThreadPoolExecutor(settings.parallel, "transform") as pool,
            ):
                for uri, key in inputs_of(job, transforms.aws, Path(scratch)):
                    try:
                        self._object(job, settings, (uri, key), Path(scratch), pool)
                    except ObjectError as e:
                        note(f"{uri.removeprefix('s3://')}: {e}")
                        failed = True
            return failed
        finally:
            started.close()

    def _object(
        self,
        job: Mapping[str, Any],
        settings: Settings,
        place: tuple[str, str],
        scratch: Path,
        pool: ThreadPoolExecutor,
    ) -> None:
        """Transform an object and upload the result.

        Raises:
            ObjectError: the model or a filter refused a part of it; nothing is uploaded.
            StoppedError: the job must not continue.
        """
        uri, key = place
        source, target = job["TransformInput"], job["TransformOutput"]
        processing = processing_of(job)
        try:
            local = scratch / "object"
            self._transforms.aws.download(uri, local)
            data = local.read_bytes()
            if source.get("CompressionType") == "Gzip":
                data = gzip.decompress(data)
            records = records_of(data, by_line=source.get("SplitType") == "Line")
            asked = list(batches(records, several=settings.several, limit=settings.limit))
            answers = pool.map(lambda batch: self._ask(job, settings, processing, batch), asked)
            content = assemble(list(answers), by_line=target.get("AssembleWith") == "Line")
        except (ValueError, EOFError, OSError) as e:
            if is_full(e):
                raise
            raise ObjectError(str(e)) from e
        local.write_bytes(content)
        try:
            self._transforms.aws.upload(local, f"{target['S3OutputPath'].rstrip('/')}/{key}.out")
        except FileNotFoundError as e:
            raise ObjectError(f"the output cannot be written: {e}") from e

    def _ask(
        self, job: Mapping[str, Any], settings: Settings, processing: Processing | None, batch: Sequence[bytes]
    ) -> bytes:
        """Return what is written for a batch.

        Raises:
            ObjectError: the model answered with an error, also when it was asked again.
            JoinError, ValueError: the response does not fit the input.
        """
        assert self._host is not None
        records = batch if processing is None else processing.filtered(batch)
        source, target = job["TransformInput"], job["TransformOutput"]
        request = Invocation(body_of(records), source.get("ContentType"), target.get("Accept"))
        why = ""
        for _ in range(settings.retries + 1):
            self.check()
            try:
                answer = self._host.invoke(request, settings.seconds)
            except (HostGoneError, TimeoutError) as e:
                why = f"the model did not answer: {e}"
                continue
            if answer.status < 400:
                plain = processing is None or not processing.changes_output
                return answer.body if plain or processing is None else processing.outputs(batch, answer.body)
            why = f"{answer.status}: {answer.body.decode('utf-8', 'replace')[:1000]}"
            if answer.status < 500:
                break
        self.check()
        raise ObjectError(f"Bad HTTP status received from algorithm: {why}")


def processing_of(job: Mapping[str, Any]) -> Processing | None:
    """Return the filters and the join of a job; None without any.

    Raises:
        PathError: a filter is invalid.
    """
    given = job.get("DataProcessing") or {}
    join = given.get("JoinSource", "None") == "Input"
    before, after = (FilterPath.parse(given.get(name, "$")) for name in ("InputFilter", "OutputFilter"))
    if not join and not before.steps and not after.steps:
        return None
    content_type = plain_type(job["TransformInput"].get("ContentType", ""))
    accept = plain_type(job["TransformOutput"].get("Accept", "")) or content_type
    return Processing(content_type, accept, before, after, join)


def plain_type(text: str) -> str:
    """Return a content type without parameters, in lower case."""
    return text.split(";", 1)[0].strip().lower()


def inputs_of(job: Mapping[str, Any], aws: Cloud, scratch: Path) -> Iterator[tuple[str, str]]:
    """Yield URI and output key, without its ending, of each object.

    Raises:
        ServingError: there are no objects, or the manifest is invalid.
    """
    source = job["TransformInput"]["DataSource"]["S3DataSource"]
    uri = source["S3Uri"]
    found = aws.list_objects(uri)
    if not found:
        raise ServingError(f"ClientError: Data download failed: no S3 objects found under {uri!r}.")
    if source["S3DataType"] == "ManifestFile":
        path = scratch / "manifest"
        aws.download(uri, path)
        try:
            first, *names = json.loads(path.read_text(encoding="utf-8"))
            yield from [(first["prefix"] + name, PurePosixPath(name).as_posix()) for name in names]
        except (ValueError, TypeError, KeyError) as e:
            raise ServingError(f"ClientError: the manifest {uri!r} is invalid: {e!r}") from e
        return
    base = uri[: uri.rindex("/") + 1]
    # Keys that end with a slash are the console's markers of empty folders.
    yield from ((item, item.removeprefix(base)) for item in found if not item.endswith("/"))
