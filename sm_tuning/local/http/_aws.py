"""What moto lacks, or answers otherwise than a notebook's role would see it."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

from sm_tuning.local._config import ROLE_NAME
from sm_tuning.local._identity import Identity
from sm_tuning.local.http._faults import query_result
from sm_tuning.local.http._http import Incoming
from sm_tuning.local.service._fault import Fault

_STS = "https://sts.amazonaws.com/doc/2011-06-15/"
_IAM = "https://iam.amazonaws.com/doc/2010-05-08/"


def own_answer(service: str, request: Incoming, identity: Identity) -> Response | None:
    """Answer sts:GetCallerIdentity and iam:SimulatePrincipalPolicy; None for everything else.

    Raises:
        Fault: a model is asked for a prediction, which moto would make up.
    """
    if service == "sagemaker" and request.path.startswith("/endpoints/"):
        raise Fault("UnsupportedOperation", "The local SageMaker keeps endpoints as records and serves no models.", 501)
    if service not in ("sts", "iam"):
        return None
    members = parse_qsl(request.body.decode("utf-8", "replace") or request.query, keep_blank_values=True)
    action = dict(members).get("Action")
    if (service, action) == ("sts", "GetCallerIdentity"):
        return _caller_identity(identity)
    if (service, action) == ("iam", "SimulatePrincipalPolicy"):
        return _simulation(members)
    return None


def _caller_identity(identity: Identity) -> Response:
    """Say that the caller is the execution role, as it is in a Studio notebook."""
    arn = f"arn:aws:sts::{identity.account_id}:assumed-role/{ROLE_NAME}/local"
    return query_result(
        "GetCallerIdentity",
        _STS,
        f"<Arn>{arn}</Arn><UserId>AROASMTUNINGLOCAL0000:local</UserId><Account>{identity.account_id}</Account>",
    )


def _simulation(members: Sequence[tuple[str, str]]) -> Response:
    """Say that every action is allowed: the holder of the keys may do everything on this machine."""
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
