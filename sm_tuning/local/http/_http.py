"""The HTTP server, and requests as they were sent."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import ThreadedWSGIServer
from werkzeug.test import run_wsgi_app

_RAW_HEADERS = "sm_tuning.raw_headers"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Incoming:
    """A request as it was sent, which is what its signature covers.

    Attributes:
        path: percent-encoded, as sent.
        query: as sent, without the question mark.
        headers: with names in lower case, in the order in which they were sent.
    """

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

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

    Attributes:
        closing: whether further requests stay unanswered, so that clients connect to the next server.
    """

    closing: bool = False

    def shutdown(self) -> None:
        """Accept no further connections, and answer no further requests on open ones."""
        self.closing = True
        super().shutdown()


class _Handler(MotoRequestHandler):  # type: ignore[misc]  # untyped base
    """HTTP/1.1 with known lengths, so that connections stay open; writes to the server's log, not to stderr."""

    server: HttpServer
    timeout = 120  # seconds without a request, after which a connection is closed
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def make_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().make_environ()
        environ[_RAW_HEADERS] = tuple((name.lower(), value) for name, value in self.headers.items())
        return environ

    def run_wsgi(self) -> None:
        """Read a complete request and send the complete response."""
        environ = self.make_environ()
        try:
            body = self._read_body(environ)
        except (ValueError, OSError) as e:
            self.close_connection = True
            if not isinstance(e, ConnectionError | TimeoutError):
                self.send_error(HTTPStatus.BAD_REQUEST)
            return
        if self.server.closing:  # the client gets no answer and connects again, to the next server
            self.close_connection = True
            return
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        self._respond(environ)

    def _read_body(self, environ: Mapping[str, Any]) -> bytes:
        """Return the body of this request, without reading from the next one.

        Raises:
            ValueError: the length is missing, ambiguous or not a number.
        """
        lengths = set(self.headers.get_all("Content-Length", ()))
        if "Transfer-Encoding" in self.headers:
            if lengths or self.headers["Transfer-Encoding"].strip().lower() != "chunked":
                raise ValueError("an ambiguous length")
            chunked: bytes = environ["wsgi.input"].read()
            return chunked
        text = lengths.pop() if lengths else "0"
        if lengths or not (text.isascii() and text.isdigit()):
            raise ValueError(text)
        body: bytes = self.rfile.read(int(text))
        if len(body) < int(text):
            raise ConnectionError("the client closed the connection")
        return body

    def _respond(self, environ: dict[str, Any]) -> None:
        body, status, headers = run_wsgi_app(self.server.app, environ, buffered=True)
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

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Do nothing, since the SDKs poll every few seconds."""

    def log_error(self, format: str, *args: Any) -> None:  # noqa: A002  (the name in the parent class)
        """Log an invalid request, or an idle connection."""
        self.log("info", format, *args)

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  (the name in the parent class)
        _log.log(logging.ERROR if type == "error" else logging.INFO, message, *args)


def make_http_server(port: int) -> HttpServer:
    """Return a server on 127.0.0.1, without an app yet; port 0 takes a free one.

    Raises:
        OSError: the port is in use.
    """
    return HttpServer("127.0.0.1", port, None, _Handler)


def read_request(environ: dict[str, Any]) -> Incoming:
    """Return a request, leaving its body where the next application finds it."""
    target = environ.get("REQUEST_URI") or environ.get("RAW_URI") or environ["PATH_INFO"]
    path, _, query = target.partition("?")
    body: bytes = environ["wsgi.input"].getvalue()
    headers: Iterable[tuple[str, str]] = environ[_RAW_HEADERS]
    return Incoming(environ["REQUEST_METHOD"], path, query, tuple(headers), body)
