"""The AWS services around SageMaker: moto's backends in this process, with the important state on disk.

Only this module and its neighbours, ``_moto_logs``, ``_moto_metrics`` and ``_moto_s3``, depend on moto's private parts.
S3 objects survive the server (``restore``) and are read from disk instead of memory; logs and metrics of the training
jobs have stores of their own.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sm_tuning.local._config import Identity
from sm_tuning.local._mirror import DiskBytes, DiskMirror
from sm_tuning.local._moto_logs import Groups
from sm_tuning.local.cloudwatch import Database, LogsService, LogStore, MetricStore

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_M_MMAP_THRESHOLD = -3  # [malloc.h]
_TRUST_POLICY = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", '
    '"Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}]}'
)


class AwsLocal:
    """S3, CloudWatch, CloudWatch Logs, IAM and other services, as functions and as a WSGI app.

    moto keeps its state in the process, so that only one instance can exist at a time.

    Args:
        identity: account, region, role and bucket.
        s3_dir: folder of the objects; logs and metrics are beside it, in ``cloudwatch.sqlite``.
        clock: returns epoch seconds.

    Raises:
        LocalServerError: the logs cannot be read.
    """

    def __init__(self, identity: Identity, s3_dir: Path, clock: Callable[[], float] = time.time) -> None:
        self._identity = identity
        self._database = Database(s3_dir.with_name("cloudwatch.sqlite"))
        self.metric_store = MetricStore(self._database)
        self.log_store = LogStore(self._database, clock)
        self._mirror = DiskMirror(s3_dir)
        self._lock = threading.RLock()
        self._on_disk: dict[tuple[str, str], Any] = {}  # moto's object of each (bucket, key) on disk

    def close(self) -> None:
        """Close the databases; moto's state stays in the process."""
        self._database.close()

    # -- for the HTTP application

    def app(self) -> WSGIApplication:
        """Return moto's server application."""
        from moto.moto_server.werkzeug_app import (  # noqa: PLC0415  (heavy)
            DomainDispatcherApplication,
            create_backend_app,
        )

        from sm_tuning.local._moto_metrics import Metrics  # noqa: PLC0415  (imports moto)
        from sm_tuning.local._moto_s3 import replace_methods  # noqa: PLC0415  (imports moto)

        Metrics(self._cloudwatch(), self.metric_store).install()
        replace_methods(self._s3())
        application: WSGIApplication = DomainDispatcherApplication(create_backend_app)
        return application

    def logs(self) -> LogsService:
        """Return CloudWatch Logs of the training jobs, which this server implements in place of moto."""
        return LogsService(self.log_store, self._identity, Groups(self._logs_backend()))

    def sync_bucket(self, bucket: str) -> None:
        """Update the copy on disk after a possible change of a bucket or any of its objects."""
        with self._lock:
            found = self._s3().buckets.get(bucket)
            mirrored = [name for place, name in self._on_disk if place == bucket]
            if found is None:
                self._mirror.remove_bucket(bucket)
                self._on_disk = {place: key for place, key in self._on_disk.items() if place[0] != bucket}
                return
            self._mirror.put_bucket(bucket, found.region_name)
            for name in {*mirrored, *found.keys.keys()}:
                if self._on_disk.get((bucket, name)) is not self._object(bucket, name):
                    self._sync_object(bucket, name)

    def sync_objects(self, bucket: str, keys: Iterable[str]) -> None:
        """Update the copy on disk after a possible change of these keys."""
        with self._lock:
            for name in keys:
                self._sync_object(bucket, name)

    # -- for the server

    def prepare(self) -> None:
        """Create the bucket and the role of the identity, if they do not exist."""
        if self._identity.bucket not in self._s3().buckets:
            self._s3().create_bucket(self._identity.bucket, self._identity.region)
            self.sync_bucket(self._identity.bucket)
        iam = self._iam()
        name = self._identity.role_arn.rsplit("/", 1)[-1]
        if all(role.name != name for role in iam.roles.values()):
            iam.create_role(
                role_name=name,
                assume_role_policy_document=_TRUST_POLICY,
                path="/",
                permissions_boundary=None,
                description="Execution role of the local SageMaker",
                tags=[],
                max_session_duration=3600,
            )

    def restore(self) -> None:
        """Load the buckets and objects on disk into moto.

        Raises:
            LocalServerError: the copy on disk cannot be read.
        """
        with self._lock:
            for bucket, region in self._mirror.buckets():
                if bucket not in self._s3().buckets:
                    self._s3().create_bucket(bucket, region)
                for about, data in self._mirror.objects(bucket):
                    self._restore_object(bucket, about, data)
        if self.log_store.streams(limit=1):
            Groups(self._logs_backend()).ensure()

    def forget_telemetry(self, training_job: str) -> None:
        """Delete logs and metrics of a training job, which are published again from the beginning."""
        self.log_store.delete_streams(f"{training_job}/")
        self.metric_store.forget(training_job)

    # -- for the service and the runner

    def list_objects(self, uri: str) -> list[str]:
        """Return the URIs of all objects whose key starts with the key of this s3:// URI, sorted."""
        bucket, prefix = split_uri(uri)
        with self._lock:
            found = self._s3().buckets.get(bucket)
            if found is None:
                return []
            names = [name for name in list(found.keys.keys()) if name.startswith(prefix)]
            return [f"s3://{bucket}/{name}" for name in sorted(names) if self._object(bucket, name) is not None]

    def has_bucket(self, bucket: str) -> bool:
        """Return whether a bucket exists."""
        return bucket in self._s3().buckets

    def is_versioned(self, bucket: str) -> bool:
        """Return whether versioning is, or was, on for a bucket."""
        found = self._s3().buckets.get(bucket)
        return found is not None and found.versioning_status is not None

    def parts(self, bucket: str, name: str, version: str | None) -> tuple[int, Sequence[tuple[int, int]] | None] | None:
        """Return the size of an object, and number and size of each part it was uploaded in.

        Args:
            bucket: its bucket.
            name: its key.
            version: of the object; None for the newest.

        Returns:
            None if there is no such object; None in place of the parts if it was uploaded as a whole.
        """
        with self._lock:
            found = self._s3().buckets.get(bucket)
            key = None if found is None else self._s3().get_object(bucket, name, version)
            return None if key is None else (key.contentsize, getattr(key, "part_sizes", None))

    def has_role(self, arn: str) -> bool:
        """Return whether a role exists."""
        return any(role.arn == arn for role in self._iam().roles.values())

    def read(self, uri: str) -> bytes:
        """Return the content of an object.

        Raises:
            FileNotFoundError: the object does not exist.
        """
        bucket, name = split_uri(uri)
        with self._lock:
            key = self._object(bucket, name)
            if key is None:
                raise FileNotFoundError(f"there is no object {uri}")
            data: bytes = key.value
        return data

    def download(self, uri: str, path: Path) -> None:
        """Write an object to a file, and create the folder of the file.

        Raises:
            FileNotFoundError: the object does not exist.
        """
        data = self.read(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def upload(self, path: Path, uri: str) -> None:
        """Upload a file as an object.

        Raises:
            FileNotFoundError: the bucket, or the file, does not exist.
        """
        bucket, name = split_uri(uri)
        if bucket not in self._s3().buckets:
            raise FileNotFoundError(f"there is no bucket {bucket!r} for {uri}")
        with self._lock:
            self._s3().put_object(bucket, name, path.read_bytes())
            self._sync_object(bucket, name)

    def delete(self, uri: str) -> None:
        """Delete an object, if it exists; in a bucket with versions, a delete marker hides it."""
        bucket, name = split_uri(uri)
        with self._lock:
            if self._object(bucket, name) is not None:
                self._s3().delete_object(bucket, name)
                self._sync_object(bucket, name)

    def put_log_events(self, stream: str, events: Sequence[tuple[int, str]]) -> None:
        """Append (epoch milliseconds, message) to a stream of the training jobs' log group, however old."""
        with self._lock:  # two jobs may start at once
            Groups(self._logs_backend()).ensure()
        self.log_store.put(stream, events)

    def put_group_events(self, group: str, stream: str, events: Sequence[tuple[int, str]]) -> None:
        """Append (epoch milliseconds, message) to a stream of any other log group, until the server ends."""
        backend = self._logs_backend()
        with self._lock:
            if group not in backend.groups:
                backend.create_log_group(group, {})
            if stream not in backend.groups[group].streams:
                backend.create_log_stream(group, stream)
            backend.put_log_events(group, stream, [{"timestamp": when, "message": text} for when, text in events])

    def put_metric_data(self, dimensions: Mapping[str, str], data: Sequence[tuple[str, float, float]]) -> None:
        """Add (metric name, epoch seconds, value) to the training jobs' namespace, however old."""
        self.metric_store.put(dimensions, data)

    # -- how it is done

    def _s3(self) -> Any:
        from moto.s3.models import s3_backends  # noqa: PLC0415  (heavy)

        return s3_backends[self._identity.account_id]["aws"]

    def _iam(self) -> Any:
        from moto.iam.models import iam_backends  # noqa: PLC0415  (heavy)

        return iam_backends[self._identity.account_id]["aws"]

    def _cloudwatch(self) -> Any:
        from moto.cloudwatch.models import cloudwatch_backends  # noqa: PLC0415  (heavy)

        return cloudwatch_backends[self._identity.account_id][self._identity.region]

    def _logs_backend(self) -> Any:
        from moto.logs.models import logs_backends  # noqa: PLC0415  (heavy)

        return logs_backends[self._identity.account_id][self._identity.region]

    def _object(self, bucket: str, name: str) -> Any:
        """Return moto's object; None if it does not exist or its newest version is a delete marker."""
        found = self._s3().buckets.get(bucket)
        key = None if found is None else found.keys.get(name)
        return key if hasattr(key, "contentsize") else None

    def _sync_object(self, bucket: str, name: str) -> None:
        if bucket not in self._s3().buckets:
            return
        key = self._object(bucket, name)
        if key is None:
            self._mirror.remove_object(bucket, name)
            self._on_disk.pop((bucket, name), None)
        elif self._on_disk.get((bucket, name)) is key:
            self._mirror.describe_again(bucket, name, self._about(key))
        else:
            data = self._mirror.put_object(bucket, name, self._about(key), key.value)
            self._on_disk[bucket, name] = key
            # In a bucket with versions, the file is deleted with the next version, while moto still has this one.
            if not self._s3().buckets[bucket].is_versioned:
                _serve_from(key, data)

    def _about(self, key: Any) -> dict[str, Any]:
        return {
            "etag": key.etag.strip('"'),
            "size": key.contentsize,
            "last_modified": key.last_modified.replace(tzinfo=UTC).timestamp(),
            "storage": key.storage_class,
            "metadata": dict(key.metadata),
            "tags": self._s3().tagger.get_tag_dict_for_resource(key.arn),
            "attributes": {name: getattr(key, name, None) for name in _ATTRIBUTES},
        }

    def _restore_object(self, bucket: str, about: Mapping[str, Any], data: Path) -> None:
        key = self._s3().put_object(
            bucket,
            about["key"],
            b"",
            storage=about["storage"],
            etag=about["etag"],
            disable_notification=True,
        )
        key.last_modified = _naive(about["last_modified"])
        key.set_metadata(dict(about["metadata"]))
        for name, value in about["attributes"].items():
            setattr(key, name, value)
        self._s3().tagger.tag_resource(key.arn, [{"Key": k, "Value": v} for k, v in about["tags"].items()])
        key.contentsize = about["size"]
        _serve_from(key, data)
        self._on_disk[bucket, about["key"]] = key


_ATTRIBUTES = (
    "encryption",
    "kms_key_id",
    "bucket_key_enabled",
    "checksum_algorithm",
    "checksum_value",
    "checksum_type",
    "checksum_parts",
    "website_redirect_location",
    "part_sizes",  # our own; only objects that were uploaded in parts have it
)


def split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key of an s3:// URI.

    Raises:
        ValueError: the URI has another form.
    """
    scheme, _, rest = uri.partition("://")
    if scheme != "s3" or not rest:
        raise ValueError(f"{uri!r} is not of the form s3://bucket/key")
    bucket, _, key = rest.partition("/")
    return bucket, key


def configure_process(tmp: Path, environ: MutableMapping[str, str] = os.environ) -> None:
    """Let memory return, and set what moto reads at its import: small buffers, and files only under ``tmp``."""
    tempfile.tempdir = str(tmp)  # where moto puts the buffers of objects
    environ["MOTO_S3_DEFAULT_KEY_BUFFER_SIZE"] = str(64 * 1024)
    environ["MOTO_DISABLE_GLOBAL_CORS"] = "1"
    environ["MOTO_LAMBDA_DATA_DIR"] = str(tmp / "lambda")
    environ.pop("MOTO_ACCOUNT_ID", None)
    # glibc raises this threshold to 32 MiB as blocks are freed. Then bodies of requests, such as the parts of uploads,
    # leave gaps in the heaps of many threads, which are never returned. macOS and musl have no mallopt.
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1024**2)


def _serve_from(key: Any, data: Path) -> None:
    """Make moto read the bytes of an object from disk, and free its buffer."""
    buffer = key._value_buffer  # noqa: SLF001  (moto has no public access)
    with key.lock:
        key._value_buffer = DiskBytes(data)  # noqa: SLF001
    buffer.close()
    if key.multipart is not None:
        key.multipart.dispose()
        key.multipart = None


def _naive(epoch: float) -> datetime:
    """Return a naive UTC time, as moto compares them."""
    return datetime.fromtimestamp(epoch, tz=UTC).replace(tzinfo=None)
