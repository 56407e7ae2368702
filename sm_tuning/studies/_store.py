"""The records of a study in S3: each is written once, and a lease says who drives.

S3 decides between writers [S3 User Guide, conditional-writes]: with ``If-None-Match: *`` the first writer of a key wins
and the others get 412; with ``If-Match`` only the writer that has seen the current object wins. botocore may repeat a
write that has succeeded, so that a 412 alone is no error: what the object holds decides.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from sm_tuning._errors import ServiceError, SmTuningError
from sm_tuning.aws import Aws, is_missing, is_transient, mapped, split_uri

#: Seconds after which the driver renews its lease, and after which another driver may take it over.
RENEWAL, EXPIRY = 20.0, 60.0
_CONFLICTS = 5  # attempts at a write that S3 answers with 409, which means: try again


class LeaseLostError(SmTuningError):
    """Another driver has taken over the study; this one has stopped driving, and has stopped no trial."""


@dataclass(frozen=True)
class Record:
    """An object of the store.

    Attributes:
        data: its content.
        etag: its version.
        modified: when it was written, by the clock of S3.
        read: when it was read, by the clock of S3.
    """

    data: Mapping[str, Any] = field(hash=False)
    etag: str
    modified: datetime
    read: datetime


class Store:
    """The folder of one study in S3.

    Args:
        aws: the connection.
        uri: ``s3://bucket/prefix/study``.
        monotonic: returns seconds that never run backwards.
    """

    def __init__(self, aws: Aws, uri: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._aws = aws
        self.uri: str = uri.rstrip("/")
        self._bucket, self._prefix = split_uri(self.uri)
        self.monotonic = monotonic
        self._time: tuple[float, float] | None = None  # epoch seconds of S3, and our seconds at that moment

    def now(self) -> float:
        """Return epoch seconds by the clock of S3, as of its last response and the seconds since."""
        if self._time is None:
            self.read("study.json")
        epoch, at = self._time or (0.0, 0.0)
        return epoch + self.monotonic() - at

    def read(self, key: str) -> Record | None:
        """Return an object; None if it does not exist.

        Raises:
            ServiceError: S3 refused, or the object is not a JSON object.
        """
        try:
            answer = self._aws.call("s3", "get_object", Bucket=self._bucket, Key=f"{self._prefix}/{key}")
            with mapped("GetObject", f"{self.uri}/{key}"):
                body = answer["Body"].read()
        except ServiceError as error:
            if is_missing(error):
                return None
            raise
        try:
            data = json.loads(body)
        except ValueError as error:
            raise ServiceError(f"the record {self.uri}/{key} is not JSON: {error}", operation="GetObject") from error
        return Record(data, answer["ETag"], answer["LastModified"], self._moment(answer))

    def create(self, key: str, data: Mapping[str, Any]) -> bool:
        """Write an object that does not exist yet; return False, and change nothing, if it exists.

        A write that is repeated after a lost answer may return False for an object that this call has written.
        """
        return self._put(key, data, IfNoneMatch="*") is not None

    def replace(self, key: str, data: Mapping[str, Any], etag: str) -> str | None:
        """Overwrite the object of a version, and return the new version; None if it has another version by now."""
        return self._put(key, data, IfMatch=etag)

    def keys(self, folder: str) -> Iterator[str]:
        """Yield the keys below a folder of the study, without the study's own prefix."""
        start = f"{self._prefix}/"
        yield from (key.removeprefix(start) for key in self.keys_of(self._bucket, f"{start}{folder}"))

    def keys_of(self, bucket: str, prefix: str) -> Iterator[str]:
        """Yield the keys of any bucket below a prefix."""
        token = ("ContinuationToken", "NextContinuationToken")
        for page in self._aws.pages("s3", "list_objects_v2", token=token, Bucket=bucket, Prefix=prefix):
            yield from (entry["Key"] for entry in page.get("Contents", ()))

    def _put(self, key: str, data: Mapping[str, Any], **condition: str) -> str | None:
        body = json.dumps(data, sort_keys=True, ensure_ascii=False).encode()
        for attempt in range(_CONFLICTS):
            try:
                answer = self._aws.call(
                    "s3",
                    "put_object",
                    Bucket=self._bucket,
                    Key=f"{self._prefix}/{key}",
                    Body=body,
                    ContentType="application/json",
                    **condition,
                )
            except ServiceError as error:
                # 404: the object that the version belongs to was deleted.
                if error.code in ("PreconditionFailed", "412") or ("IfMatch" in condition and is_missing(error)):
                    return None
                if error.code not in ("ConditionalRequestConflict", "409") or attempt == _CONFLICTS - 1:
                    raise
            else:
                self._moment(answer)
                return str(answer["ETag"])
        return None

    def _moment(self, answer: Mapping[str, Any]) -> datetime:
        """Return the time of a response, by the clock of S3."""
        moment = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        self._time = moment.timestamp(), self.monotonic()
        return moment


class Lease:
    """The right to drive a study. One driver holds it; it expires if the driver does not renew it.

    Args:
        store: of the study.
    """

    _KEY = "driver.json"

    def __init__(self, store: Store) -> None:
        self._store = store
        self._owner = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(8)}"
        self._count = 0
        self._etag = ""
        self._renewed = 0.0
        self._starts_nothing = False

    @classmethod
    def holder(cls, store: Store) -> str | None:
        """Return the driver, as ``host/process/token``; None without a driver."""
        found = store.read(cls._KEY)
        return None if found is None or _is_free(found) else str(found.data["owner"])

    @classmethod
    def may_start(cls, store: Store) -> bool:
        """Return whether there is a driver that may not have seen the request to stop."""
        found = store.read(cls._KEY)
        return not (found is None or _is_free(found) or found.data.get("starts_nothing"))

    def acknowledge_stop(self) -> None:
        """Note in the lease that this driver starts nothing any more."""
        if not self._starts_nothing:
            self._starts_nothing = True
            self._renewed = -math.inf
        self.keep()

    def acquire(self) -> bool:
        """Take the lease if it is free or has expired; return whether this driver has it."""
        found = self._store.read(self._KEY)
        begun = self._store.monotonic()
        if found is None:
            if self._store.create(self._KEY, self._data()):
                return self._confirm(begun)
        elif _is_free(found):
            self._store.replace(self._KEY, self._data(), found.etag)
        else:
            return False
        return self._confirm(begun)

    def keep(self) -> None:
        """Renew the lease when it is time.

        Raises:
            LeaseLostError: another driver has it.
            ServiceError: S3 has not answered until the lease expired.
        """
        begun = self._store.monotonic()
        if begun - self._renewed < RENEWAL:
            return
        try:
            etag = self._store.replace(self._KEY, self._data(), self._etag)
            if etag is not None:
                self._etag, self._renewed = etag, begun
            elif not self._confirm(begun):
                raise LeaseLostError(f"another driver has taken over the study {self._store.uri}")
        except ServiceError as error:
            if not is_transient(error) or (math.isfinite(self._renewed) and begun - self._renewed > EXPIRY):
                raise

    def release(self) -> None:
        """Give the lease back, so that the next driver need not wait for its expiry."""
        self._store.replace(self._KEY, {**self._data(), "released": True}, self._etag)

    def _data(self) -> dict[str, Any]:
        self._count += 1  # equal content would have an equal version, and another driver could replace the new one
        return {"owner": self._owner, "count": self._count, "starts_nothing": self._starts_nothing}

    def _confirm(self, begun: float) -> bool:
        """Return whether this driver wrote the object."""
        found = self._store.read(self._KEY)
        if found is None or found.data["owner"] != self._owner:
            return False
        self._etag, self._renewed = found.etag, begun
        return True


def _is_free(lease: Record) -> bool:
    return bool(lease.data.get("released")) or (lease.read - lease.modified).total_seconds() > EXPIRY
