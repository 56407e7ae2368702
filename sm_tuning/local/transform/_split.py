"""From the bytes of an object to requests: records, and batches of them. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


class TooLargeError(ValueError):
    """A record does not fit into a request."""


def records_of(data: bytes, *, by_line: bool) -> list[bytes]:
    """Return the records of an object: its lines without their ends and without empty ones, or the whole object."""
    if not by_line:
        return [data] if data else []
    return [line for line in (raw.rstrip(b"\r") for raw in data.split(b"\n")) if line]


def batches(records: Iterable[bytes], *, several: bool, limit: int | None) -> Iterator[list[bytes]]:
    """Yield the records of each request.

    Args:
        records: in order.
        several: whether a request may have several records, as many as fit.
        limit: bytes of a request; None for no limit.

    Raises:
        TooLargeError: a record alone exceeds the limit.
    """
    batch: list[bytes] = []
    size = 0
    for record in records:
        if limit is not None and len(record) > limit:
            raise TooLargeError(f"a record of {len(record)} bytes exceeds MaxPayloadInMB, {limit} bytes")
        grown = size + len(record) + (1 if batch else 0)  # with the newline in between
        if batch and (not several or (limit is not None and grown > limit)):
            yield batch
            batch, grown = [], len(record)
        batch.append(record)
        size = grown
    if batch:
        yield batch


def body_of(batch: Sequence[bytes]) -> bytes:
    """Return the body of a request: its records with a newline in between."""
    return b"\n".join(batch)


def assemble(parts: Sequence[bytes], *, by_line: bool) -> bytes:
    """Return the content of an output object.

    Args:
        parts: the responses in order.
        by_line: end each response with exactly one newline. (Choice: the service does not document what it does with
            a response that ends with one already.)
    """
    if not by_line:
        return b"".join(parts)
    return b"".join(part.rstrip(b"\r\n") + b"\n" for part in parts)
