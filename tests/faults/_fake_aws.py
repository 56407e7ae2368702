"""An AWS over HTTP that answers badly: a server on an address that does not count as the local SageMaker."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from _aws_answers import Answer, Call, SmallAws, call_of

Fault = Callable[["Exchange"], None]
"""Sends something else than the right answer."""

Choice = Callable[[Call, int], Fault | None]
"""The fault of the nth call of its operation, counted from 1; None for the right answer."""


class FakeAws(ThreadingHTTPServer):
    """A ``SmallAws`` behind HTTP, whose answers ``choose`` disturbs."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.2", 0), Exchange)
        self.aws = SmallAws()
        self.choose: Choice = lambda _call, _number: None
        self.calls: Counter[str] = Counter()
        self.disturbed: Counter[str] = Counter()  # answers that were not the right ones
        self.calm = threading.Event()  # ends the exchanges that hang
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.2:{self.server_port}"

    @contextlib.contextmanager
    def fault(self, choose: Choice, *, keep: bool = False) -> Iterator[None]:
        """Disturb answers for as long as the block lasts, in an AWS as new, or in that which was there before."""
        before = self.aws
        self.forget()
        self.aws = before if keep else self.aws
        self.choose = choose
        try:
            yield
        finally:
            self.choose = lambda _call, _number: None
            self.calm.set()

    def forget(self) -> None:
        self.aws = SmallAws()
        self.calls.clear()
        self.disturbed.clear()
        self.calm.clear()

    def next_fault(self, call: Call) -> Fault | None:
        with self._lock:
            self.calls[call.operation] += 1
            return self.choose(call, self.calls[call.operation])

    def handle_error(self, *_: Any) -> None:
        """Say nothing: clients that give up on a bad answer close the connection."""


class Exchange(BaseHTTPRequestHandler):
    """One connection; ``call`` and ``token`` are those of the request that is being answered."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FakeAws
    call: Call
    body: bytes
    _right: Answer | None = None

    def _serve(self) -> None:
        self._right = None
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.call = call_of(self.command, self.path, self.headers.get("X-Amz-Target", ""), self.body)
        fault = self.server.next_fault(self.call)
        if fault is None:
            self.send(self.right())
        else:
            fault(self)

    do_POST = do_GET = do_PUT = do_HEAD = _serve  # noqa: N815

    def right(self) -> Answer:
        """Let the call have its effect, and return the right answer."""
        self._right = self.server.aws.answer(self.call)
        return self._right

    def send(self, answer: Answer, *, length: int | None = None, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Send an answer; another length than that of the body leaves the rest out."""
        if length is not None or self._seen(answer) != self._seen(self._right):
            self.count()
        self.start(answer, length=len(answer.body) if length is None else length, headers=headers)
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        if length is not None:
            self.close_connection = True

    def start(self, answer: Answer, *, length: int | None, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Send the status and the headers; without a length the body comes in chunks."""
        self.send_response(answer.status)
        named = dict((("Content-Type", answer.kind), *answer.headers, *headers))
        named |= {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
        for name, text in named.items():
            self.send_header(name, text)
        self.end_headers()

    def drop(self) -> None:
        """Reset the connection."""
        self.count()
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def count(self) -> None:
        """Count an answer that is not the right one."""
        self.server.disturbed[self.call.operation] += 1

    def _seen(self, answer: Answer | None) -> tuple[int, bytes] | None:
        """Return what a client sees of an answer."""
        return answer and (answer.status, b"" if self.command == "HEAD" else answer.body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""
