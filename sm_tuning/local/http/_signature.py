"""Authentication: Signature Version 4 in the header or the query, and S3's older query signature.

Rules: "Create a signed AWS API request" in the IAM User Guide and "Authenticating requests: using query parameters" in
the S3 API Reference. In us-east-1, boto3 still presigns URLs with the older signature.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote, unquote, urlsplit

from botocore.auth import HmacV1QueryAuth
from botocore.credentials import Credentials
from botocore.utils import normalize_url_path

from sm_tuning.local.http._http import Incoming
from sm_tuning.local.service import Fault

_SKEW_SECONDS = 15 * 60
_MAX_EXPIRES = 7 * 24 * 3600
_UNSIGNED = ("UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method."
)


@dataclass(frozen=True)
class Scope:
    """The service and the region of a valid signature."""

    service: str
    region: str


@dataclass(frozen=True)
class _Claim:
    """The parts of a signature, as sent; ``payload`` is empty if only the body, not read yet, determines it."""

    access_key: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str
    payload: str
    query: tuple[tuple[str, str], ...]

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


# The codes of each problem in JSON services, in S3 and in the Query protocol.
_CODES: Mapping[str, tuple[str, str, str]] = {
    "missing": ("MissingAuthenticationTokenException", "AccessDenied", "MissingAuthenticationToken"),
    "incomplete": ("IncompleteSignatureException", "AuthorizationHeaderMalformed", "IncompleteSignature"),
    "key": ("UnrecognizedClientException", "InvalidAccessKeyId", "InvalidClientTokenId"),
    "signature": ("InvalidSignatureException", "SignatureDoesNotMatch", "SignatureDoesNotMatch"),
    "time": ("InvalidSignatureException", "RequestTimeTooSkewed", "SignatureDoesNotMatch"),
    "expired": ("InvalidSignatureException", "AccessDenied", "RequestExpired"),
    "payload": ("InvalidSignatureException", "XAmzContentSHA256Mismatch", "SignatureDoesNotMatch"),
    "streaming": ("InvalidSignatureException", "NotImplemented", "SignatureDoesNotMatch"),
}
_STATUS = {"incomplete": 400, "payload": 400, "streaming": 501}


def _refuse(kind: str, message: str, protocol: str) -> Fault:
    code = _CODES[kind][{"json": 0, "cbor": 0, "s3": 1, "query": 2}[protocol]]
    return Fault(code, message, _STATUS.get(kind, 403))


class Verifier:
    """Checks that a request was signed with the keys of this server.

    Args:
        access_key_id: the only valid key.
        secret_access_key: its secret.
        clock: returns epoch seconds.
    """

    def __init__(self, access_key_id: str, secret_access_key: str, clock: Callable[[], float]) -> None:
        self._access_key_id = access_key_id
        self._secret = secret_access_key
        self._clock = clock

    def verify(self, request: Incoming) -> Scope:
        """Return the scope of a request's signature.

        Before the body is read, a signature is checked as far as it does not depend on the body: S3 clients send the
        hash of the body in a header, other clients do not.

        Raises:
            Fault: the signature is missing or invalid; the code is that of the request's protocol.
        """
        protocol = protocol_of(request)
        if request.query_value("AWSAccessKeyId") is not None:
            return self._verify_old_presigned(request)
        claim = _read_claim(request, protocol)
        self._check_key(claim.access_key, protocol)
        if claim.payload:
            self._check_signature(request, claim, protocol)
        self._check_time(request, claim, protocol)
        if claim.payload.startswith("STREAMING-") and claim.payload not in _UNSIGNED:
            message = f"This local SageMaker does not accept payloads signed as {claim.payload}."
            raise _refuse("streaming", message, protocol)
        if request.body is not None and claim.payload not in _UNSIGNED:
            body = hashlib.sha256(request.body).hexdigest()
            if not hmac.compare_digest(claim.payload.encode(), body.encode()):
                message = "The provided 'x-amz-content-sha256' header does not match what was computed."
                raise _refuse("payload", message, protocol)
        return Scope(claim.service.lower(), claim.region)

    def _check_key(self, access_key: str, protocol: str) -> None:
        if not hmac.compare_digest(access_key.encode(), self._access_key_id.encode()):
            message = "The security token included in the request is invalid: it is not a key of this local SageMaker."
            raise _refuse("key", message, protocol)

    def _check_signature(self, request: Incoming, claim: _Claim, protocol: str) -> None:
        canonical = hashlib.sha256(_canonical_request(request, claim)).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{claim.timestamp}\n{claim.scope}\n{canonical}"
        key = f"AWS4{self._secret}".encode()
        for part in (claim.date, claim.region, claim.service, "aws4_request", text):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        if not hmac.compare_digest(key.hex().encode(), claim.signature.encode()):
            raise _refuse("signature", _MISMATCH, protocol)

    def _check_time(self, request: Incoming, claim: _Claim, protocol: str) -> None:
        try:
            signed = datetime.strptime(claim.timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        except ValueError as e:
            raise _refuse(
                "incomplete", f"Date must be in ISO-8601 'basic format'. Got {claim.timestamp!r}.", protocol
            ) from e
        if claim.timestamp[:8] != claim.date:
            raise _refuse("signature", f"Date in Credential scope does not match {claim.timestamp!r}.", protocol)
        now = self._clock()
        expires = request.query_value("X-Amz-Expires")
        if expires is not None:
            if not re.fullmatch(r"\d{1,6}", expires) or int(expires) > _MAX_EXPIRES:
                raise _refuse("incomplete", "X-Amz-Expires must be a number of seconds up to a week.", protocol)
            if not signed - _SKEW_SECONDS <= now <= signed + int(expires):
                raise _refuse("expired", "Request has expired", protocol)
        elif abs(now - signed) > _SKEW_SECONDS:
            raise _refuse(
                "time",
                f"Signature expired: {claim.timestamp} is more than 15 minutes away from the server's time, "
                f"{datetime.fromtimestamp(now, tz=UTC):%Y%m%dT%H%M%SZ}.",
                protocol,
            )

    def _verify_old_presigned(self, request: Incoming) -> Scope:
        """Check the query signature of Signature Version 2, which only S3 accepts."""
        given = {unquote(name): unquote(value) for name, value in request.query_pairs()}
        self._check_key(given["AWSAccessKeyId"], "s3")
        expires = given.get("Expires", "")
        if not re.fullmatch(r"\d{1,12}", expires):
            raise _refuse("missing", "Query-string authentication requires the Expires parameter.", "s3")
        expected = HmacV1QueryAuth(Credentials(self._access_key_id, self._secret)).sign_string(
            _old_string_to_sign(request, given)
        )
        if not hmac.compare_digest(str(expected).encode(), given.get("Signature", "").encode()):
            raise _refuse("signature", _MISMATCH, "s3")
        if int(expires) < self._clock():
            raise _refuse("expired", "Request has expired", "s3")
        return Scope("s3", "us-east-1")


def protocol_of(request: Incoming) -> str:
    """Return the protocol of a request, by its form: json, cbor, s3 or query."""
    if request.header("x-amz-target") is not None:
        return "json"
    if request.header("smithy-protocol") == "rpc-v2-cbor":
        return "cbor"
    named = f"{request.header('authorization') or ''} {unquote(request.query)}"
    if "/s3/aws4_request" in named or "AWSAccessKeyId=" in named:
        return "s3"
    is_form = (request.header("content-type") or "").startswith("application/x-www-form-urlencoded")
    return "query" if is_form else "s3" if "/aws4_request" not in named else "json"


def _read_claim(request: Incoming, protocol: str) -> _Claim:
    authorization = request.header("authorization")
    payload = request.header("x-amz-content-sha256")
    if not payload:
        payload = "" if request.body is None else hashlib.sha256(request.body).hexdigest()
    if authorization is not None:
        kind, _, rest = authorization.partition(" ")
        parts = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
        if kind != "AWS4-HMAC-SHA256" or not {"Credential", "SignedHeaders", "Signature"} <= parts.keys():
            message = "Authorization header requires Credential, SignedHeaders and Signature."
            raise _refuse("incomplete", message, protocol)
        timestamp = request.header("x-amz-date")
        date = request.header("date")
        if not timestamp and date is not None:
            with suppress(ValueError):
                timestamp = f"{parsedate_to_datetime(date):%Y%m%dT%H%M%SZ}"
        query = request.query_pairs()
    elif request.query_value("X-Amz-Signature") is not None:
        names = ("Credential", "SignedHeaders", "Signature")
        parts = {name: request.query_value(f"X-Amz-{name}") or "" for name in names}
        timestamp = request.query_value("X-Amz-Date")
        if "/s3/" in parts["Credential"]:
            payload = "UNSIGNED-PAYLOAD"
        query = [pair for pair in request.query_pairs() if pair[0] != "X-Amz-Signature"]
    else:
        message = "Missing Authentication Token: this local SageMaker requires signed requests."
        raise _refuse("missing", message, protocol)
    fields = parts["Credential"].split("/")
    if len(fields) != 5 or fields[4] != "aws4_request" or not timestamp:
        raise _refuse("incomplete", "Credential must have the form key/date/region/service/aws4_request.", protocol)
    signed_headers = tuple(parts["SignedHeaders"].split(";"))
    if "host" not in signed_headers:
        raise _refuse("signature", "'Host' must be a 'SignedHeader' in the AWS Authorization.", protocol)
    access_key, scope_date, region, service, _ = fields
    return _Claim(
        access_key, scope_date, region, service, signed_headers, parts["Signature"], timestamp, payload, tuple(query)
    )


def _canonical_request(request: Incoming, claim: _Claim) -> bytes:
    path = request.path
    if claim.service != "s3":
        path = quote(normalize_url_path(path), safe="/~")
    names = sorted(claim.signed_headers)
    values = {
        name: ",".join(" ".join(value.split()) for key, value in request.headers if key == name) for name in names
    }
    headers = "".join(f"{name}:{values[name]}\n" for name in names)
    query = "&".join(f"{name}={value}" for name, value in sorted(claim.query))
    lines = (request.method, path, query, headers, ";".join(names), claim.payload)
    return "\n".join(lines).encode("latin-1")  # the encoding in which http.server decoded the headers


def _old_string_to_sign(request: Incoming, given: Mapping[str, str]) -> str:
    """Return the text that Signature Version 2 signs; headers may be in the query."""
    headers = {name.lower(): value.strip() for name, value in (*request.headers, *given.items())}
    amazon = sorted(name for name in headers if name.startswith("x-amz-"))
    path = request.path
    if path.count("/") == 1 and path != "/":
        path += "/"  # a bucket is signed with it, whether the URL has it or not
    resource = HmacV1QueryAuth(Credentials("", "")).canonical_resource(
        urlsplit(f"http://host{request.path}?{request.query}"), auth_path=path
    )
    return "\n".join(
        (
            request.method,
            headers.get("content-md5", ""),
            headers.get("content-type", ""),
            given["Expires"],
            *(f"{name}:{headers[name]}" for name in amazon),
            resource,
        )
    )
