"""The HTTP server, and requests as they were sent."""

from __future__ import annotations

import gc
import io
import logging
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.client import LineTooLong
from typing import Any
from urllib.parse import unquote

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import ThreadedWSGIServer
from werkzeug.test import run_wsgi_app
from werkzeug.wrappers import Response

MAX_CONNECTIONS = 512
#: Request line and headers of a request together; one line has 64 KiB at most [http.server].
MAX_HEADER_BYTES = 128 * 1024
#: The largest object of one PutObject [S3 User Guide].
MAX_OBJECT_BYTES = 5 * 1024**3

_RAW_HEADERS = "sm_tuning.raw_headers"
_LOG_PAGE = "Logs_20140328.FilterLogEvents"
_COLLECTED_BYTES = 64 * 1024**2
_POLL_SECONDS = 0.1
_ROOM_SECONDS = 1.0  # until the thread of a closed connection has ended
_MOST_DIGITS = 16
_DISCARDED_BYTES = 64 * 1024  # body of a refused request that is read, so that its connection can stay open
_DISCARD_SECONDS = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Incoming:
    """A request as it was sent, which is what its signature covers.

    Attributes:
        path: percent-encoded, as sent.
        query: as sent, without the question mark.
        headers: with names in lower case, in the order in which they were sent.
        body: None before it is read.
    """

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None

    def header(self, name: str) -> str | None:
        """Return the first value of a header."""
        return next((value for key, value in self.headers if key == name), None)

    def query_pairs(self) -> list[tuple[str, str]]:
        """Return the members of the query, still percent-encoded."""
        pairs = [pair.partition("=") for pair in self.query.split("&") if pair]
        return [(name, value) for name, _, value in pairs]

    def query_value(self, name: str) -> str | None:
        """Return the first decoded value of a query member."""
        return next((unquote(value) for key, value in self.query_pairs() if unquote(key) == name), None)


class HttpServer(ThreadedWSGIServer):  # type: ignore[misc]  # untyped base
    """A thread for each connection, on 127.0.0.1; connections stay open between requests.

    Any process of this machine may connect, so connections are bounded. Where all are in use, a new connection replaces
    the one that has waited longest without a request that was admitted.

    Attributes:
        closing: whether further requests stay unanswered, so that clients connect to the next server.
    """

    closing: bool = False

    def __init__(self, port: int, connections: int) -> None:
        super().__init__("127.0.0.1", port, None, _Handler)
        self._slots = threading.BoundedSemaphore(connections)
        self._lock = threading.Lock()
        self._waiting: dict[socket.socket, None] = {}
        self._uncollected = 0

    def serve_forever(self, poll_interval: float = _POLL_SECONDS) -> None:
        """Accept connections until the shutdown, which waits for one poll."""
        super().serve_forever(poll_interval)

    def shutdown(self) -> None:
        """Accept no further connections, answer no further requests on open ones, and close those that wait."""
        self.closing = True
        super().shutdown()
        with self._lock:
            # A client that keeps a connection open sees its end, and sends the next request to the next server.
            for connection in self._waiting:
                _close_for_client(connection)

    def set_waiting(self, connection: socket.socket, *, waiting: bool) -> None:
        """Record whether a connection waits for a request, so that a new connection may replace it."""
        with self._lock:
            self._waiting.pop(connection, None)
            if waiting:
                self._waiting[connection] = None
                if self.closing:
                    _close_for_client(connection)

    def collect(self, size: int) -> None:
        """Free the bodies of requests and responses from time to time.

        moto's requests refer to themselves, so they wait for the collector, which counts objects and not their bytes.

        Args:
            size: bytes of a request that has been answered.
        """
        with self._lock:
            self._uncollected += size
            due = self._uncollected > _COLLECTED_BYTES
            if due:
                self._uncollected = 0
        if due:
            gc.collect()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, once there is room for it."""
        if not self._slots.acquire(blocking=False):
            self._close_oldest()
            if not self._slots.acquire(timeout=_ROOM_SECONDS):
                self.shutdown_request(request)
                return
        self.set_waiting(request, waiting=True)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.set_waiting(request, waiting=False)
            self._slots.release()

    def _close_oldest(self) -> None:
        with self._lock:
            oldest = next(iter(self._waiting), None)
            if oldest is not None:
                del self._waiting[oldest]
                _close_for_client(oldest)


def _close_for_client(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)  # its thread reads the end of the stream


class _BoundedHeaders:
    """A connection's input whose lines, the request line and the headers, have a total length."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.left = MAX_HEADER_BYTES
        self.read = file.read
        self.close = file.close

    def readline(self, size: int) -> bytes:
        line: bytes = self._file.readline(size)
        self.left -= len(line)
        if self.left < 0:
            raise LineTooLong("headers")  # http.server answers with 431
        return line


class _Handler(MotoRequestHandler):  # type: ignore[misc]  # untyped base
    """HTTP/1.1 with known lengths, so that connections stay open; writes to the server's log, not to stderr."""

    server: HttpServer
    rfile: Any
    timeout = 120  # seconds without a byte, after which a connection is closed
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.rfile = _BoundedHeaders(self.rfile)

    def make_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().make_environ()
        environ[_RAW_HEADERS] = tuple((name.lower(), value) for name, value in self.headers.items())
        return environ

    def handle_expect_100(self) -> bool:
        return True  # run_wsgi answers, once the headers are admitted

    def run_wsgi(self) -> None:
        """Read a complete request, if its headers are admitted, and send the complete response."""
        environ = self.make_environ()
        try:
            length = self._body_length()
            refusal = self.server.app.refusal(environ, length)
            if refusal is None:
                self.server.set_waiting(self.connection, waiting=False)
                if self.headers.get("Expect", "").strip().lower() == "100-continue":
                    self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                environ["wsgi.input"] = io.BytesIO(self._read_body(environ, length))
            elif length is None or length > _DISCARDED_BYTES or "Expect" in self.headers:
                self._refuse(refusal, environ)
                return
            else:  # a small body is read, so that the connection can stay open
                self._read_body(environ, length)
        except (ValueError, OSError) as e:
            self.close_connection = True
            if not isinstance(e, ConnectionError | TimeoutError):
                self.send_error(HTTPStatus.BAD_REQUEST)
            return
        if self.server.closing:  # the client gets no answer and connects again, to the next server
            self.close_connection = True
            return
        if refusal is None:
            environ["CONTENT_LENGTH"] = str(len(environ["wsgi.input"].getvalue()))
            environ.pop("HTTP_TRANSFER_ENCODING", None)
        size = self._respond(refusal or self.server.app, environ) + (length or 0)
        self.rfile.left = MAX_HEADER_BYTES
        environ.clear()
        # Pages of log lines, 2 MB each, are answered without moto, and nothing of them waits for the collector.
        if self.headers.get("X-Amz-Target") != _LOG_PAGE:
            self.server.collect(size)
        self.server.set_waiting(self.connection, waiting=True)

    def _body_length(self) -> int | None:
        """Return the length of this request's body in bytes; None if it is sent in chunks.

        Raises:
            ValueError: the length is missing, ambiguous or not a number.
        """
        lengths = set(self.headers.get_all("Content-Length", ()))
        if "Transfer-Encoding" in self.headers:
            if lengths or self.headers["Transfer-Encoding"].strip().lower() != "chunked":
                raise ValueError("an ambiguous length")
            return None
        text = lengths.pop() if lengths else "0"
        if lengths or not (text.isascii() and text.isdigit() and len(text) < _MOST_DIGITS):
            raise ValueError(text)
        return int(text)

    def _read_body(self, environ: Mapping[str, Any], length: int | None) -> bytes:
        """Return the body of this request, without reading from the next one.

        Raises:
            ValueError: the chunks have more bytes than any service takes.
        """
        if length is None:
            chunked: bytes = io.BufferedReader(environ["wsgi.input"]).read(MAX_OBJECT_BYTES + 1)
            if len(chunked) > MAX_OBJECT_BYTES:
                raise ValueError("too many chunks")
            return chunked
        body: bytes = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionError("the client closed the connection")
        return body

    def _refuse(self, refusal: Response, environ: dict[str, Any]) -> None:
        """Answer before the body is read, and close the connection."""
        self.close_connection = True
        self._respond(refusal, environ)
        # Closing a socket with unread input resets the connection, and the client would lose the answer.
        until = time.monotonic() + _DISCARD_SECONDS
        self.connection.settimeout(_DISCARD_SECONDS)
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while self.connection.recv(_DISCARDED_BYTES) and time.monotonic() < until:
                pass

    def _respond(self, app: Any, environ: dict[str, Any]) -> int:
        """Send a response and return the bytes of its body."""
        body, status, headers = run_wsgi_app(app, environ, buffered=True)
        data = b"".join(body)
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        has_body = self.command != "HEAD" and int(code) not in (204, 304) and int(code) >= 200
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding") and not (
                has_body and name.lower() == "content-length"
            ):
                self.send_header(name, value)
        if has_body:
            self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self._headers_buffer.append(b"\r\n")
        self.wfile.write(b"".join(self._headers_buffer) + (data if has_body else b""))
        self._headers_buffer.clear()
        return len(data)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Do nothing, since the SDKs poll every few seconds."""

    def log_error(self, format: str, *args: Any) -> None:  # noqa: A002  (the name in the parent class)
        """Log an invalid request, or an idle connection."""
        self.log("info", format, *args)

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  (the name in the parent class)
        _log.log(logging.ERROR if type == "error" else logging.INFO, message, *args)


def make_http_server(port: int, connections: int = MAX_CONNECTIONS) -> HttpServer:
    """Return a server on 127.0.0.1, without an app yet.

    Args:
        port: 0 for a free one.
        connections: largest number of open connections.

    Raises:
        OSError: the port is in use.
    """
    return HttpServer(port, connections)


def read_request(environ: dict[str, Any], *, with_body: bool = True) -> Incoming:
    """Return a request, leaving its body where the next application finds it; without it before it is read."""
    target = environ.get("REQUEST_URI") or environ.get("RAW_URI") or environ["PATH_INFO"]
    path, _, query = target.partition("?")
    body = environ["wsgi.input"].getvalue() if with_body else None
    headers: Iterable[tuple[str, str]] = environ[_RAW_HEADERS]
    return Incoming(environ["REQUEST_METHOD"], path, query, tuple(headers), body)
