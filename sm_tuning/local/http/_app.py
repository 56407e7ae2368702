"""The WSGI application: authenticates requests, and answers them or passes them to moto."""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

from sm_tuning.local._config import Identity
from sm_tuning.local._workers import is_full
from sm_tuning.local.http._callers import Callers, xml_response
from sm_tuning.local.http._http import MAX_OBJECT_BYTES, Incoming, read_request
from sm_tuning.local.http._passed import HINTS, check_passed
from sm_tuning.local.http._s3 import quietly, range_of_part, with_parts
from sm_tuning.local.http._signature import Scope, Verifier, protocol_of
from sm_tuning.local.service import Fault, JsonText, refused_operation
from sm_tuning.local.serving import Invoker

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_log = logging.getLogger(__name__)
_HOSTS = ("127.0.0.1", "localhost", "[::1]")
# moto serves these paths without authentication.
_MOTO_PAGES = ("/moto-api", "/favicon.ico", "/latest/meta-data", "/latest/api")
# Resources of these services belong to the server's region; S3, IAM and STS have none.
_REGIONAL = ("sagemaker", "logs", "monitoring")
# No request of another service than S3 is as long: CloudWatch Logs takes 1 MB, SageMaker Runtime 25 MB.
_MAX_BODY_BYTES = 32 * 1024**2
_WRITE_LOCKS = 64
_TARGETS = {"sagemaker": "SageMaker.", "logs": "Logs_20140328."}


class Operations(Protocol):
    """Operations of a service that this server implements itself, in place of moto."""

    def handles(self, operation: str, params: Mapping[str, Any]) -> bool:
        """Return whether this server implements the operation itself."""

    def call(self, operation: str, params: Mapping[str, Any]) -> Mapping[str, Any] | JsonText:
        """Return the response of an operation, or raise a Fault."""


class ObjectKeeper(Protocol):
    """Makes changes of S3 durable before they are acknowledged."""

    def sync_bucket(self, bucket: str) -> None:
        """Save a bucket and its objects."""

    def sync_objects(self, bucket: str, keys: Iterable[str]) -> None:
        """Save objects of a bucket."""

    def is_versioned(self, bucket: str) -> bool:
        """Return whether versioning is, or was, on for a bucket."""

    def parts(self, bucket: str, name: str, version: str | None) -> tuple[int, Sequence[tuple[int, int]] | None] | None:
        """Return the size of an object, and number and size of its parts."""


class Application:
    """Authenticates requests and passes them to this server's own operations or to moto.

    Args:
        operations: this server's own operations, by the name of the service (sagemaker, logs).
        others: moto's application.
        keeper: makes changes of S3 durable.
        verifier: checks signatures.
        identity: account, region and role.
        invoker: answers the runtime API of endpoints.
        callers: answers STS, as far as this server does.
    """

    def __init__(
        self,
        operations: Mapping[str, Operations],
        others: WSGIApplication,
        *,
        keeper: ObjectKeeper,
        verifier: Verifier,
        identity: Identity,
        invoker: Invoker,
        callers: Callers,
    ) -> None:
        self._operations = operations
        self._others = others
        self._keeper = keeper
        self._verifier = verifier
        self._identity = identity
        self._invoker = invoker
        self._callers = callers
        self._writing = [threading.Lock() for _ in range(_WRITE_LOCKS)]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        request = None
        try:
            request = read_request(environ)
            response = self._answer(request, environ)
        except Exception as e:  # noqa: BLE001  (the client gets an error of the API, the log the traceback)
            response = _error_response(e, request, environ)
        # moto allows all origins. Without these headers, browsers do not show responses to web pages.
        for name in [name for name in dict(response.headers) if name.lower().startswith("access-control-")]:
            del response.headers[name]
        body: Iterable[bytes] = response(environ, start_response)
        return body

    def refusal(self, environ: WSGIEnvironment, length: int | None) -> Response | None:
        """Return the response to a request whose headers are refused, before its body is read; None to read it.

        Args:
            environ: the request.
            length: bytes of its body; None if it is sent in chunks.
        """
        request = None
        try:
            request = read_request(environ, with_body=False)
            self._admit(request, length or 0)
        except Exception as e:  # noqa: BLE001  (as for the request as a whole)
            return _error_response(e, request, environ)
        return None

    def _admit(self, request: Incoming, length: int = 0) -> Scope:
        """Return the scope of a request, as far as its headers and the body, if read, decide it.

        Raises:
            Fault: the request comes from elsewhere, is not signed with the keys of this server, or is too long.
        """
        # Only programs on this machine may send requests, not web pages in a browser. A page can reach the loopback
        # interface, also through a DNS name that resolves to 127.0.0.1. But it cannot hide its Origin, nor send a Host
        # other than the name that it used.
        host = request.header("host") or ""
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if name.lower() not in _HOSTS:
            raise Fault("AccessDeniedException", f"This server answers on loopback only, not as {host!r}.", 403)
        if request.header("origin") is not None:
            raise Fault("AccessDeniedException", "This server does not answer requests from web pages.", 403)
        path = unquote(request.path)
        if not path.startswith("/") or any(path == page or path.startswith(page) for page in _MOTO_PAGES):
            raise Fault("AccessDeniedException", f"There is nothing at {path!r}.", 403)
        if request.method == "POST" and (request.header("content-type") or "").startswith("multipart/form-data"):
            raise refused_operation("s3:PostObject", HINTS["s3", "PostObject"])  # its signature is in the form
        scope = self._verifier.verify(request)
        if scope.service in _REGIONAL and scope.region != self._identity.region:
            raise Fault(
                "InvalidSignatureException",
                f"Credential should be scoped to a valid region: this local SageMaker is {self._identity.region}, "
                f"not {scope.region}.",
                403,
            )
        if length > (MAX_OBJECT_BYTES if scope.service == "s3" else _MAX_BODY_BYTES):
            raise Fault("EntityTooLarge", f"A request of {length} bytes exceeds the maximum allowed size.", 413)
        return scope

    def _answer(self, request: Incoming, environ: WSGIEnvironment) -> Response:
        scope = self._admit(request)  # before the body is parsed
        target = request.header("x-amz-target") or ""
        prefix, operations = _TARGETS.get(scope.service), self._operations.get(scope.service)
        if prefix is not None and operations is not None and target.startswith(prefix):
            operation, params = target.removeprefix(prefix), _json_body(request.body or b"")
            if operations.handles(operation, params):
                return json_response(operations.call(operation, params))
        if scope.service == "sagemaker" and request.path.startswith("/endpoints/"):
            predictions = self._invoker.invoke(request.path, dict(request.headers), request.body or b"")
            response = Response(predictions.body, content_type=predictions.content_type, headers=predictions.headers)
            response.headers["x-amzn-requestid"] = str(uuid.uuid4())
            return response
        response = self._callers.answer(scope.service, request)
        if response is not None:
            return response
        check_passed(scope.service, request)
        return self._from_s3(request, environ) if scope.service == "s3" else self._from_moto(scope.service, environ)

    def _from_s3(self, request: Incoming, environ: WSGIEnvironment) -> Response:
        bucket, _, key = unquote(request.path).removeprefix("/").partition("/")
        versioned = self._keeper.is_versioned(bucket)
        if not versioned:  # S3 calls the only version null, where moto knows no versions
            _drop_from_query(environ, "versionId", "null")
        if request.method in ("PUT", "POST", "DELETE"):
            # moto compares and writes in two steps. Of two conditional writes of one object, only one must succeed.
            with self._writing[hash((bucket, key)) % len(self._writing)]:
                response = self._from_moto("s3", environ)
                if key:
                    self._keeper.sync_objects(bucket, [key])
                elif bucket:
                    self._keeper.sync_bucket(bucket)
        elif key and request.query_value("partNumber") is not None:
            response = self._part_from_s3(request, environ, bucket, key, versioned=versioned)
        else:
            response = self._from_moto("s3", environ)
        if request.method == "GET" and "ObjectParts" in (request.header("x-amz-object-attributes") or ""):
            found = self._keeper.parts(bucket, key, request.query_value("versionId") if versioned else None)
            response.data = with_parts(response.data, None if found is None else found[1])
        if request.method == "POST" and not key:
            response.data = quietly(request, response.data)
        if not versioned and response.headers.get("x-amz-version-id") == "null":
            del response.headers["x-amz-version-id"]
        return response

    def _part_from_s3(
        self, request: Incoming, environ: WSGIEnvironment, bucket: str, key: str, *, versioned: bool
    ) -> Response:
        """Answer GetObject and HeadObject of a part as those of its range of bytes, as S3 describes them."""
        _drop_from_query(environ, "partNumber")
        found = self._keeper.parts(bucket, key, request.query_value("versionId") if versioned else None)
        if found is None:
            return self._from_moto("s3", environ)  # the error
        size, parts = found
        given = range_of_part(request, size, parts)
        if given is not None:
            environ["HTTP_RANGE"] = given
        response = self._from_moto("s3", environ)
        if parts is not None and response.status_code in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            response.headers["x-amz-mp-parts-count"] = str(len(parts))
        return response

    def _from_moto(self, service: str, environ: WSGIEnvironment) -> Response:
        environ.pop("HTTP_X_MOTO_ACCOUNT_ID", None)  # it would select another account
        try:
            response = Response.from_app(self._others, environ, buffered=True)
        except Exception as e:
            if is_full(e):
                raise
            raise _unsupported(service, e) from e
        if response.status_code == 404 and response.mimetype == "text/html" and service != "s3":
            raise Fault("UnknownOperationException", f"The request names no operation of {service!r}.", 404)
        return response


def _drop_from_query(environ: WSGIEnvironment, name: str, value: str | None = None) -> None:
    """Remove a member, or a member with a value, from the query that moto reads."""
    pairs = [pair.partition("=") for pair in environ.get("QUERY_STRING", "").split("&")]
    kept = [pair for pair in pairs if unquote(pair[0]) != name or value not in (None, pair[2])]
    environ["QUERY_STRING"] = "&".join("".join(pair) for pair in kept)


def _error_response(error: Exception, request: Incoming | None, environ: WSGIEnvironment) -> Response:
    fault = error if isinstance(error, Fault) else _failure(error, environ)
    return fault_response(fault, "json" if request is None else protocol_of(request))


def _failure(error: Exception, environ: WSGIEnvironment) -> Fault:
    """Return the response to an unexpected error, and log the traceback."""
    if isinstance(error, RecursionError):
        return Fault("SerializationException", "The request is nested too deeply.")
    _log.error("the request failed: %s", environ.get("REQUEST_URI"), exc_info=error)
    if is_full(error):
        # The SDKs retry 500, but not 507.
        return Fault("InternalFailure", f"The disk of the local SageMaker is full ({error}): nothing was done.", 507)
    return Fault("InternalFailure", "The request processing has failed; see server.log.", 500)


def _unsupported(service: str, error: Exception) -> Fault:
    # The SDKs retry 500, but not 501.
    if isinstance(error, RuntimeError) and "has not been implemented" in str(error):  # moto's message
        return Fault("UnsupportedOperation", f"The local SageMaker does not do that: {error}.", 501)
    _log.error("a request to %s could not be answered", service, exc_info=error)
    return Fault(
        "UnsupportedOperation", f"The local SageMaker cannot answer this request to {service!r}; see server.log.", 501
    )


def _json_body(sent: bytes) -> Mapping[str, Any]:
    def constant(name: str) -> float:
        raise ValueError(f"{name} is not JSON")  # NaN and Infinity, which Python accepts

    try:
        body = json.loads(sent or b"{}", parse_constant=constant)
    except ValueError as e:
        raise Fault("SerializationException", f"The request is not valid JSON: {e}") from e
    if b"\\ud" in sent.lower():  # perhaps unpaired surrogates, which neither files nor databases can store
        try:
            json.dumps(body, ensure_ascii=False).encode()
        except UnicodeEncodeError as e:
            raise Fault("SerializationException", f"The request is not valid Unicode: {e}") from e
    if not isinstance(body, dict):
        raise Fault("SerializationException", "The request must be a JSON object.")
    return body


def json_response(body: Any, status: int = 200) -> Response:
    """Return a JSON 1.1 response with the headers that AWS sets."""
    text = body if isinstance(body, JsonText) else json.dumps(body)
    response = Response(text, status=status, content_type="application/x-amz-json-1.1")
    response.headers["x-amzn-requestid"] = str(uuid.uuid4())
    return response


def _cbor_text(text: str) -> bytes:
    """Return a text string in CBOR [RFC 8949, section 3]."""
    encoded = text.encode()
    return b"\x7a" + len(encoded).to_bytes(4, "big") + encoded


def fault_response(fault: Fault, protocol: str) -> Response:
    """Return a fault in the form of a protocol: ``json``, ``cbor``, ``s3`` or ``query``."""
    code, message = escape(fault.code), escape(fault.message)
    if protocol == "json":
        body = {"__type": fault.code, "message": fault.message, **fault.details}
        response = json_response(body, fault.status)
        response.headers["x-amzn-errortype"] = fault.code
        return response
    if protocol == "cbor":
        members = b"".join(_cbor_text(text) for text in ("__type", fault.code, "message", fault.message))
        response = Response(b"\xa2" + members, status=fault.status, content_type="application/cbor")
        response.headers["smithy-protocol"] = "rpc-v2-cbor"
        return response
    if protocol == "s3":
        return xml_response(
            f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>{uuid.uuid4()}</RequestId></Error>",
            fault.status,
        )
    side = "Receiver" if fault.status >= 500 else "Sender"
    return xml_response(
        f"<ErrorResponse><Error><Type>{side}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
        f"<RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>",
        fault.status,
    )
