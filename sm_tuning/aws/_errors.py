"""The one mapper from botocore's and boto3's exceptions to the error tree of sm_tuning."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sm_tuning._errors import (
    AccessDeniedError,
    CredentialsError,
    EndpointError,
    InvalidRequestError,
    JobNotFoundError,
    NameTakenError,
    ServiceError,
    SmTuningError,
    SpecError,
    ThrottledError,
)
from sm_tuning._masking import Redactor
from sm_tuning.aws import _codes

_JOB_OPERATION = re.compile(r"(HyperParameterTuningJob|TrainingJob)s?")
_ACTION = re.compile(r"not authorized to perform:? `?([\w-]+:\w+)")
_RESOURCE = re.compile(r"on resource:? `?(arn:[^\s`]+)")
_NOT_FOUND = re.compile(r"resource not found|does not exist|could not (be )?f(i|ou)nd", re.IGNORECASE)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

_SIGN_IN = (
    "sign in (aws sso login, aws configure), set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "or name a profile (--profile, profile=)"
)
_PROFILES = (
    "see `aws configure list-profiles`; it is chosen by --profile or profile=, by AWS_PROFILE, or by the session"
)
REGION_ADVICE = (
    "set AWS_REGION, name one (--region, region=), or give the profile a region (aws configure set region …)"
)


class Call(NamedTuple):
    """What was being asked for when an error came.

    Attributes:
        operation: the API operation, such as ``StopHyperParameterTuningJob``; empty before any call.
        subject: what it was about, such as the job's name or an S3 URI; empty when it says nothing more.
    """

    operation: str = ""
    subject: str = ""

    def __str__(self) -> str:
        name = self.operation or "the connection to AWS"
        return f"{name} of {self.subject!r}" if self.subject else name


@contextmanager
def mapped(operation: str = "", subject: str = "", secrets: Collection[str] = ()) -> Iterator[None]:
    """Turn what botocore and boto3 raise inside into an error of ours, with the original as its cause.

    Both quote what they refuse; none of the secrets is left in either.

    Raises:
        SmTuningError: of the class that fits; other exceptions pass through as they are.
    """
    from boto3.exceptions import Boto3Error  # noqa: PLC0415  (boto3 loads when AWS is first spoken to)
    from botocore.exceptions import BotoCoreError, ClientError, UndefinedModelAttributeError  # noqa: PLC0415

    try:
        yield
    except (ClientError, BotoCoreError, Boto3Error, UndefinedModelAttributeError) as error:
        _clear(error, secrets)
        raise translate(error, Call(operation, subject)) from error


def _clear(error: Any, secrets: Collection[str]) -> None:
    """Cut the secrets out of an error of botocore's, in place."""
    if not secrets:
        return
    clear = Redactor(secrets)
    error.args = tuple(clear.each(error.args))
    detail = getattr(error, "response", {}).get("Error", {})
    if "Message" in detail:
        detail["Message"] = clear(str(detail["Message"]))


def translate(error: Exception, call: Call) -> SmTuningError:
    """Return the error of ours for one of botocore's or boto3's.

    A transfer error of boto3 is judged by the service error that it stands for.
    """
    from boto3.exceptions import Boto3Error  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    if isinstance(error, Boto3Error):
        inner = error.__cause__ or error.__context__
        if isinstance(inner, ClientError | BotoCoreError):
            return translate(inner, call)
    if isinstance(error, ClientError):
        return _from_service(error, call)
    return _from_this_side(error, call)


def is_transient(error: ServiceError) -> bool:
    """Whether the same call may work a little later: throttling, a lost connection, a fault of the service."""
    if isinstance(error, ThrottledError | EndpointError) or error.code in _codes.TRANSIENT:
        return True
    return int(_answer(error).get("HTTPStatusCode", 0)) >= 500


def is_missing(error: ServiceError) -> bool:
    """Whether the service said that the thing asked for is not there."""
    return isinstance(error, JobNotFoundError) or error.code in _codes.MISSING


def was_retried(error: ServiceError) -> bool:
    """Whether botocore had sent the call before, so that an earlier attempt may have had its effect unseen."""
    return bool(_answer(error).get("RetryAttempts", 0))


def _answer(error: ServiceError) -> dict[str, Any]:
    """What botocore knows about the HTTP answer behind an error; empty when there was none."""
    response = getattr(error.__cause__, "response", None)
    return response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}


def _from_service(error: Any, call: Call) -> ServiceError:
    """Map what a service answered."""
    detail = error.response.get("Error", {})
    code, text = str(detail.get("Code", "")), str(detail.get("Message", "")).strip()
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    call = Call(call.operation or error.operation_name, call.subject)
    kind = _codes.kind_of(code, status)
    if kind is InvalidRequestError and _is_missing_job(code, text, call):
        message = f"there is no job {call.subject!r} in this account and region ({call.operation}: {_said(code, text)})"
        return JobNotFoundError(message, operation=call.operation, code=code)
    if kind is NameTakenError and not call.operation.startswith("Create"):
        kind = InvalidRequestError
    if kind is AccessDeniedError:
        message = _denied(text, code, call)
    else:
        what_to_do = _codes.advice(kind)
        message = f"{call} failed: {_said(code, text)}" + (f" ({what_to_do})" if what_to_do else "")
    return kind(message, operation=call.operation, code=code)


def _is_missing_job(code: str, text: str, call: Call) -> bool:
    """Whether the answer is about the job; DescribeTrainingJob says it with a ValidationException."""
    if not (_JOB_OPERATION.search(call.operation) and not call.operation.startswith("Create")):
        return False
    return code in _codes.MISSING or (code == "ValidationException" and bool(_NOT_FOUND.search(text)))


def _said(code: str, text: str) -> str:
    text = " ".join(text.split())
    return f"{code}: {text}" if text and text != code else code or "no reason given"


def _denied(text: str, code: str, call: Call) -> str:
    """The sentence about a denied call; HEAD requests carry no text that says more than 403."""
    action, resource = _ACTION.search(text), _RESOURCE.search(text)
    wanted = action.group(1) if action else f"the action behind {call.operation}"
    where = f" on {resource.group(1).rstrip('.,')}" if resource else ""
    said = f"; AWS says: {_said(code, text)}" if len(text) > len("Forbidden") else ""
    return f"{call} was denied: the credentials need {wanted}{where}; ask for that permission or use another role{said}"


def _from_this_side(error: Exception, call: Call) -> SmTuningError:
    """Map what botocore found wrong before, or without, an answer."""
    from botocore import exceptions as botocore  # noqa: PLC0415

    text = " ".join(str(error).split()).rstrip(".")
    if isinstance(error, botocore.NoRegionError):
        return SpecError(f"{call} needs an AWS region: {REGION_ADVICE}")
    if isinstance(error, botocore.ProfileNotFound):
        return CredentialsError(f"{text}: {_PROFILES}", operation=call.operation)
    if isinstance(error, _credential_errors()):
        return CredentialsError(f"no valid AWS credentials for {call}: {text}; {_SIGN_IN}", operation=call.operation)
    if isinstance(error, botocore.ConnectionError | botocore.HTTPClientError | botocore.IncompleteReadError):
        return EndpointError(f"{call} got no answer: {text}; {_reach(error)}", operation=call.operation)
    if isinstance(error, _configuration_errors()):
        return SpecError(f"the AWS configuration cannot be used for {call}: {text}; see ~/.aws/config and AWS_*")
    if isinstance(error, botocore.ParamValidationError):
        problems = "; ".join(line.strip() for line in str(error).splitlines()[1:] if line.strip())
        return InvalidRequestError(f"{call} is not a valid request: {problems or text}", operation=call.operation)
    if isinstance(error, botocore.ValidationError | botocore.MissingParametersError):
        return InvalidRequestError(f"{call} is not a valid request: {text}", operation=call.operation)
    return ServiceError(f"{call} failed on this side of the wire: {text}", operation=call.operation)


def _credential_errors() -> tuple[type[Exception], ...]:
    """Credentials are missing, incomplete, expired, or could not be fetched."""
    from botocore import exceptions as botocore  # noqa: PLC0415

    return (
        botocore.NoCredentialsError,
        botocore.PartialCredentialsError,
        botocore.CredentialRetrievalError,
        botocore.UnknownCredentialError,
        botocore.NoAuthTokenError,
        botocore.TokenRetrievalError,
        botocore.UnknownTokenProviderError,
        botocore.SSOError,
        botocore.RefreshWithMFAUnsupportedError,
        botocore.MetadataRetrievalError,
        *(getattr(botocore, name) for name in ("LoginError",) if hasattr(botocore, name)),
    )


def _configuration_errors() -> tuple[type[Exception], ...]:
    """A setting in the environment or in ~/.aws is wrong; an invalid region is one of botocore's ValidationErrors."""
    from botocore import exceptions as botocore  # noqa: PLC0415

    return (
        botocore.ConfigNotFound,
        botocore.ConfigParseError,
        botocore.InvalidConfigError,
        botocore.InvalidRegionError,
        botocore.UnknownRegionError,
        botocore.BaseEndpointResolverError,
        botocore.EndpointProviderError,
        botocore.InvalidEndpointConfigurationError,
        botocore.InvalidRetryConfigurationError,
        botocore.InvalidProxiesConfigError,
        botocore.InvalidDefaultsMode,
        botocore.InvalidIMDSEndpointError,
        botocore.InvalidIMDSEndpointModeError,
        botocore.InvalidS3AddressingStyleError,
        botocore.InvalidSTSRegionalEndpointsConfigError,
        botocore.MissingDependencyException,
        botocore.ServiceNotInRegionError,
    )


def _reach(error: Exception) -> str:
    """What to do when nothing answered, by where it was looked for."""
    url = str(getattr(error, "kwargs", {}).get("endpoint_url", ""))
    if urlsplit(url).hostname in _LOOPBACK:
        return "is the local SageMaker running? See `sm-tuning local status` and `sm-tuning local start`"
    return "check the network, the proxy, the region and AWS_ENDPOINT_URL"
