"""Who calls: the operations of STS and IAM that this server answers itself."""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

from sm_tuning.local._config import ROLE_NAME, Identity, Keys
from sm_tuning.local.http._http import Incoming
from sm_tuning.local.service import Fault

_STS = "https://sts.amazonaws.com/doc/2011-06-15/"
_IAM = "https://iam.amazonaws.com/doc/2010-05-08/"
_USER_ID = "AROASMTUNINGLOCAL0000"
_ROLE_ARN = re.compile(r"arn:aws[\w-]*:iam::\d{12}:role/(?:[\w+=,.@-]+/)*([\w+=,.@-]+)", re.ASCII)
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)  # [API Reference of STS]

Members = Mapping[str, str]


class Callers:
    """Answers who the caller is and what it may do, and hands out the credentials of assumed roles.

    Args:
        identity: account, region and role.
        keys: the only keys of this server, which all credentials repeat.
        has_role: returns whether a role with this ARN exists.
        clock: returns epoch seconds.
    """

    def __init__(
        self, identity: Identity, keys: Keys, has_role: Callable[[str], bool], clock: Callable[[], float]
    ) -> None:
        self._identity = identity
        self._keys = keys
        self._has_role = has_role
        self._clock = clock
        #: The operations by service and name.
        self.operations: Mapping[tuple[str, str], Callable[[Incoming, Members], Response]] = {
            ("sts", "AssumeRole"): self._assume_role,
            ("sts", "GetCallerIdentity"): self._caller_identity,
            ("iam", "SimulatePrincipalPolicy"): self._simulate_policy,
        }

    def answer(self, service: str, request: Incoming) -> Response | None:
        """Return the response to a request; None if this class does not answer the operation."""
        if service not in ("sts", "iam"):
            return None
        text = (request.body or b"").decode("utf-8", "replace") or request.query
        members = dict(parse_qsl(text, keep_blank_values=True))
        run = self.operations.get((service, members.get("Action", "")))
        return None if run is None else run(request, members)

    def _caller_identity(self, request: Incoming, _: Members) -> Response:
        arn = _assumed(request) or self._session_arn(ROLE_NAME, "local")
        return query_result(
            "GetCallerIdentity",
            _STS,
            f"<Arn>{escape(arn)}</Arn><UserId>{_USER_ID}:{escape(arn.rpartition('/')[2])}</UserId>"
            f"<Account>{self._identity.account_id}</Account>",
        )

    def _assume_role(self, _: Incoming, members: Members) -> Response:
        role, session = members.get("RoleArn", ""), members.get("RoleSessionName", "")
        duration = members.get("DurationSeconds", "3600")
        named = _ROLE_ARN.fullmatch(role)
        if named is None or not _SESSION_NAME.fullmatch(session):
            raise Fault("ValidationError", f"RoleArn {role!r} or RoleSessionName {session!r} is invalid.")
        if not (duration.isascii() and duration.isdigit() and 900 <= int(duration[:9]) <= 43200):
            raise Fault("ValidationError", f"DurationSeconds must be from 900 to 43200, but it is {duration!r}.")
        arn = self._session_arn(named[1], session)
        if not self._has_role(role):
            caller = self._session_arn(ROLE_NAME, "local")
            raise Fault(
                "AccessDenied", f"User: {caller} is not authorized to perform: sts:AssumeRole on resource: {role}", 403
            )
        ends = datetime.fromtimestamp(self._clock(), tz=UTC) + timedelta(seconds=int(duration))
        # The token says which role was assumed. It is not a secret: the keys beside it are those of this server.
        token = base64.b64encode(arn.encode()).decode()
        return query_result(
            "AssumeRole",
            _STS,
            f"<Credentials><AccessKeyId>{escape(self._keys.access_key_id)}</AccessKeyId>"
            f"<SecretAccessKey>{escape(self._keys.secret_access_key)}</SecretAccessKey>"
            f"<SessionToken>{token}</SessionToken><Expiration>{ends:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials>"
            f"<AssumedRoleUser><AssumedRoleId>{_USER_ID}:{escape(session)}</AssumedRoleId><Arn>{escape(arn)}</Arn>"
            "</AssumedRoleUser>",
        )

    def _simulate_policy(self, request: Incoming, _: Members) -> Response:
        # All actions are allowed to the holder of the keys.
        text = (request.body or b"").decode("utf-8", "replace") or request.query
        members = parse_qsl(text, keep_blank_values=True)
        actions = [value for name, value in members if name.startswith("ActionNames.member.")]
        resources = [value for name, value in members if name.startswith("ResourceArns.member.")] or ["*"]
        results = "".join(
            f"<member><EvalActionName>{escape(action)}</EvalActionName>"
            f"<EvalResourceName>{escape(resource)}</EvalResourceName><EvalDecision>allowed</EvalDecision>"
            "<MatchedStatements/><MissingContextValues/></member>"
            for action in actions
            for resource in resources
        )
        return query_result(
            "SimulatePrincipalPolicy",
            _IAM,
            f"<IsTruncated>false</IsTruncated><EvaluationResults>{results}</EvaluationResults>",
        )

    def _session_arn(self, role: str, session: str) -> str:
        # The caller is a session of the execution role, as in a Studio notebook.
        return f"arn:aws:sts::{self._identity.account_id}:assumed-role/{role}/{session}"


def _assumed(request: Incoming) -> str | None:
    """Return the ARN in the session token of a request; None if it has no token of this server."""
    token = request.header("x-amz-security-token") or request.query_value("X-Amz-Security-Token") or ""
    try:
        arn = base64.b64decode(token, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    return arn if arn.startswith("arn:aws:sts::") else None


def xml_response(body: str, status: int = 200) -> Response:
    """Return an XML response."""
    response = Response(f'<?xml version="1.0" encoding="UTF-8"?>\n{body}', status=status, content_type="text/xml")
    response.headers["x-amzn-requestid"] = str(uuid.uuid4())
    return response


def query_result(operation: str, namespace: str, result: str) -> Response:
    """Return a result in the envelope of the Query protocol."""
    return xml_response(
        f'<{operation}Response xmlns="{namespace}"><{operation}Result>{result}</{operation}Result>'
        f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata></{operation}Response>"
    )
