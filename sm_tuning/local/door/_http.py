"""A request as it came over the wire, and the server that takes it."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.wsgi import get_input_stream

_RAW_HEADERS = "sm_tuning.raw_headers"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Incoming:
    """A request before anybody has interpreted it, which is what its signature covers.

    Attributes:
        path: percent-encoded, as sent.
        query: as sent, without the question mark.
        headers: names in lower case, in the order in which they came.
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


class _Handler(MotoRequestHandler):  # type: ignore[misc]  # untyped base
    """Pass the headers on as they came; log to the server's log, not to stderr."""

    timeout = 120

    def make_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().make_environ()
        environ[_RAW_HEADERS] = tuple((name.lower(), value) for name, value in self.headers.items())
        return environ

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Stay silent: the SDKs poll every few seconds."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  (the name in the parent class)
        _log.log(logging.ERROR if type == "error" else logging.INFO, message, *args)


def make_http_server(port: int, app: Any) -> BaseWSGIServer:
    """Return a server with a thread for each request, on 127.0.0.1 alone; port 0 takes a free one.

    Raises:
        OSError: the port is in use.
    """
    return make_server("127.0.0.1", port, app, threaded=True, request_handler=_Handler)


def read_request(environ: dict[str, Any]) -> Incoming:
    """Read a request whole, and leave its body where the next application finds it."""
    target = environ.get("REQUEST_URI") or environ.get("RAW_URI") or environ["PATH_INFO"]
    path, _, query = target.partition("?")
    body = get_input_stream(environ).read()
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    headers: Iterable[tuple[str, str]] = environ[_RAW_HEADERS]
    return Incoming(environ["REQUEST_METHOD"], path, query, tuple(headers), body)
