"""Exceptions of botocore and boto3 mapped to the error tree of sm_tuning.

Sources of the codes: the error sections of the SageMaker, S3, IAM, STS, CloudWatch and CloudWatch Logs API references,
the "Common Errors" page that they share, and botocore's list of throttling codes (botocore/retries/standard.py).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sm_tuning._errors import (
    AccessDeniedError,
    CredentialsError,
    EndpointError,
    InvalidRequestError,
    JobNotFoundError,
    NameTakenError,
    QuotaError,
    ServiceError,
    SmTuningError,
    SpecError,
    ThrottledError,
)
from sm_tuning._masking import Redactor

_MISSING = frozenset(
    [
        "NoSuchBucket",
        "NoSuchEntity",
        "NoSuchEntityException",
        "NoSuchKey",
        "NotFound",
        "ResourceNotFound",
        "ResourceNotFoundException",
        "404",
    ]
)
_INVALID = frozenset(
    [
        "BadRequest",
        "BucketAlreadyExists",
        "BucketAlreadyOwnedByYou",
        "IllegalLocationConstraintException",
        "InvalidAction",
        "InvalidArgument",
        "InvalidBucketName",
        "InvalidInput",
        "InvalidParameter",
        "InvalidParameterCombination",
        "InvalidParameterException",
        "InvalidParameterValue",
        "InvalidQueryParameter",
        "InvalidRequest",
        "InvalidRequestException",
        "MalformedQueryString",
        "MissingAction",
        "MissingParameter",
        "MissingRequiredParameterException",
        "OperationAborted",
        "PermanentRedirect",
        "SerializationException",
        "UnknownOperationException",
        "ValidationError",
        "ValidationException",
        "301",
        "400",
    ]
)
#: The service is to blame, and the same call may succeed later.
_TRANSIENT = frozenset(
    [
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InternalServerException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceFailure",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "500",
        "502",
        "503",
        "504",
    ]
)
_KINDS: dict[type[ServiceError], frozenset[str]] = {
    AccessDeniedError: frozenset(
        [
            "AccessDenied",
            "AccessDeniedException",
            "AccessDeniedFault",
            "AccountProblem",
            "AllAccessDisabled",
            "AuthorizationError",
            "Forbidden",
            "KMS.AccessDeniedException",
            "NotAuthorized",
            "UnauthorizedAccess",
            "UnauthorizedException",
            "UnauthorizedOperation",
            "403",
        ]
    ),
    CredentialsError: frozenset(
        [
            "AuthFailure",
            "ExpiredToken",
            "ExpiredTokenException",
            "IncompleteSignature",
            "IncompleteSignatureException",
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "InvalidSecurity",
            "InvalidSignatureException",
            "InvalidToken",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "MissingSecurityHeader",
            "NotSignedUp",
            "OptInRequired",
            "RequestExpired",
            "RequestTimeTooSkewed",
            "SignatureDoesNotMatch",
            "TokenRefreshRequired",
            "UnrecognizedClientException",
            "401",
        ]
    ),
    ThrottledError: frozenset(
        [
            "BandwidthLimitExceeded",
            "EC2ThrottledException",
            "LimitExceededException",
            "PriorRequestNotComplete",
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "RequestThrottled",
            "RequestThrottledException",
            "SlowDown",
            "ThrottledException",
            "Throttling",
            "ThrottlingException",
            "TooManyRequests",
            "TooManyRequestsException",
            "TransactionInProgressException",
            "429",
        ]
    ),
    QuotaError: frozenset(
        ["LimitExceeded", "ResourceLimitExceeded", "ServiceQuotaExceededException", "TooManyBuckets"]
    ),
    NameTakenError: frozenset(["ResourceInUse"]),
    InvalidRequestError: _INVALID | _MISSING,
    ServiceError: _TRANSIENT,
}
_EXPIRED = frozenset(["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"])
_KIND_BY_STATUS = {401: CredentialsError, 403: AccessDeniedError, 429: ThrottledError}
_ADVICE = {
    CredentialsError: "sign in again, or check the keys and this machine's clock",
    ThrottledError: "wait a little and try again",
    QuotaError: "ask for more in the Service Quotas console, or use fewer or other instances",
    ServiceError: "the service failed: try again in a moment",
}

#: Exceptions of botocore by name, since older releases lack some of them. Credentials are missing, incomplete or
#: expired, or could not be fetched; or a setting in the environment or in ~/.aws is wrong (an invalid region is one of
#: the ValidationErrors).
_CREDENTIAL_ERRORS = frozenset(
    [
        "NoCredentialsError",
        "PartialCredentialsError",
        "CredentialRetrievalError",
        "UnknownCredentialError",
        "NoAuthTokenError",
        "TokenRetrievalError",
        "UnknownTokenProviderError",
        "SSOError",
        "RefreshWithMFAUnsupportedError",
        "MetadataRetrievalError",
        "LoginError",
    ]
)
_CONFIGURATION_ERRORS = frozenset(
    [
        "ConfigNotFound",
        "ConfigParseError",
        "InvalidConfigError",
        "InvalidRegionError",
        "UnknownRegionError",
        "BaseEndpointResolverError",
        "EndpointProviderError",
        "InvalidEndpointConfigurationError",
        "InvalidRetryConfigurationError",
        "InvalidProxiesConfigError",
        "InvalidDefaultsMode",
        "InvalidIMDSEndpointError",
        "InvalidIMDSEndpointModeError",
        "InvalidS3AddressingStyleError",
        "InvalidSTSRegionalEndpointsConfigError",
        "MissingDependencyException",
        "ServiceNotInRegionError",
    ]
)

_JOB_OPERATION = re.compile(r"(AutoMLJob|HyperParameterTuningJob|TrainingJob)s?")
_ACTION = re.compile(r"not authorized to perform:? `?([\w-]+:\w+)")
_RESOURCE = re.compile(r"on resource:? `?(arn:[^\s`]+)")
_NOT_FOUND = re.compile(r"resource not found|does not exist|could not (be )?f(i|ou)nd", re.IGNORECASE)
LOOPBACK = ("127.0.0.1", "localhost", "::1")

_SIGN_IN = (
    "sign in (aws sso login, aws configure), set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "or name a profile (--profile, profile=)"
)
_PROFILES = (
    "see `aws configure list-profiles`; it is chosen by --profile or profile=, by AWS_PROFILE, or by the session"
)
_START = "is the local SageMaker running? See `sm-tuning local status` and `sm-tuning local start`"
REGION_ADVICE = (
    "set AWS_REGION, name one (--region, region=), or give the profile a region (aws configure set region …)"
)


#: Parameters that say what a call is about, for its errors.
_SUBJECTS = ("AutoMLJobName", "HyperParameterTuningJobName", "TrainingJobName", "RoleName", "logGroupName")


class Call(NamedTuple):
    """The call that raised an error.

    Attributes:
        operation: the API operation, such as ``StopHyperParameterTuningJob``; empty before any call.
        subject: the name or URI that the call is about; empty if its parameters hold none.
    """

    operation: str = ""
    subject: str = ""

    def __str__(self) -> str:
        name = self.operation or "the connection to AWS"
        return f"{name} of {self.subject!r}" if self.subject else name


def subject_of(params: Mapping[str, Any]) -> str:
    """Return what a call is about: a job, a role, an S3 URI."""
    if "Bucket" in params:
        return f"s3://{params['Bucket']}/{params.get('Key', '')}".rstrip("/")
    return next((str(params[name]) for name in _SUBJECTS if name in params), "")


@contextmanager
def mapped(operation: str = "", subject: str = "", secrets: Collection[str] = ()) -> Iterator[None]:
    """Map exceptions of botocore and boto3 in a block to errors of sm_tuning, with the original as the cause.

    Args:
        operation: the API operation; see ``Call``.
        subject: the name or URI that the call is about.
        secrets: values that are masked in both exceptions, since botocore quotes the values that it refuses.

    Raises:
        SmTuningError: of the class that fits. Other exceptions pass unchanged.
    """
    from boto3.exceptions import Boto3Error  # noqa: PLC0415  (boto3 loads with the first call)
    from botocore.exceptions import BotoCoreError, ClientError, UndefinedModelAttributeError  # noqa: PLC0415

    try:
        yield
    except (ClientError, BotoCoreError, Boto3Error, UndefinedModelAttributeError) as error:
        if secrets:
            clear = Redactor(secrets)
            error.args = tuple(clear.each(error.args))
            detail = getattr(error, "response", {}).get("Error", {})
            if "Message" in detail:
                detail["Message"] = clear(str(detail["Message"]))
        # A transfer error of boto3 has the error of the service, or of the connection, as its cause.
        inner = (error.__cause__ or error.__context__) if isinstance(error, Boto3Error) else None
        judged = inner if isinstance(inner, ClientError | BotoCoreError) else error
        call = Call(operation, subject)
        is_response = isinstance(judged, ClientError)
        raise (_from_service(judged, call) if is_response else _from_client(judged, call)) from error
    except RuntimeError as error:
        # botocore has no class of its own for a source that gives credentials which have expired already.
        if not str(error).startswith("Credentials were refreshed"):
            raise
        message = f"no valid AWS credentials for {Call(operation, subject)}: {error} {_SIGN_IN}"
        raise CredentialsError(message, operation=operation) from error


def is_transient(error: ServiceError) -> bool:
    """Return whether the same call may succeed later: throttling, a lost connection, a fault of the service."""
    if isinstance(error, ThrottledError | EndpointError) or error.code in _TRANSIENT:
        return True
    return int(_metadata(error).get("HTTPStatusCode", 0)) >= 500


def is_expired(error: ServiceError) -> bool:
    """Return whether temporary credentials, or the sign-in behind them, have expired."""
    kinds = {kind.__name__ for kind in type(error.__cause__).__mro__}
    return error.code in _EXPIRED or bool(kinds & {"UnauthorizedSSOTokenError", "RuntimeError"})


def is_missing(error: ServiceError) -> bool:
    """Return whether the service reports that the resource does not exist."""
    return isinstance(error, JobNotFoundError) or error.code in _MISSING


def was_retried(error: ServiceError) -> bool:
    """Return whether botocore sent the call more than once, so that an earlier attempt may have succeeded unseen."""
    return bool(_metadata(error).get("RetryAttempts", 0))


def _metadata(error: ServiceError) -> dict[str, Any]:
    """Return botocore's metadata of the response behind an error; empty if there was no response."""
    response = getattr(error.__cause__, "response", None)
    return response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}


def _from_service(error: Any, call: Call) -> ServiceError:
    """Return the error for a response of a service."""
    detail = error.response.get("Error", {})
    code, text = str(detail.get("Code", "")), " ".join(str(detail.get("Message", "")).split())
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    call = Call(call.operation or error.operation_name, call.subject)
    reason = f"{code}: {text}" if text and text != code else code or "no reason given"
    kind = next((kind for kind, codes in _KINDS.items() if code in codes), None)
    if kind is None:
        kind = _KIND_BY_STATUS.get(status, InvalidRequestError) if 400 <= status < 500 else ServiceError
    creates = call.operation.startswith("Create")
    # DescribeTrainingJob reports a missing job with a ValidationException.
    missing = code in _MISSING or (code == "ValidationException" and _NOT_FOUND.search(text))
    if missing and kind is InvalidRequestError and _JOB_OPERATION.search(call.operation) and not creates:
        message = f"there is no job {call.subject!r} in this account and region ({call.operation}: {reason})"
        return JobNotFoundError(message, operation=call.operation, code=code)
    if kind is NameTakenError and not creates:
        kind = InvalidRequestError
    if kind is AccessDeniedError:
        action, resource = _ACTION.search(text), _RESOURCE.search(text)
        wanted = action.group(1) if action else f"the action behind {call.operation}"
        where = f" on {resource.group(1).rstrip('.,')}" if resource else ""
        # Responses to HEAD requests have no body, so that the text is "Forbidden" at most.
        source = f"; AWS says: {reason}" if len(text) > len("Forbidden") else ""
        advice = "ask for that permission or use another role"
        message = f"{call} was denied: the credentials need {wanted}{where}; {advice}{source}"
    else:
        # What the local SageMaker does not do, it will not do in a moment.
        advice = "" if status == HTTPStatus.NOT_IMPLEMENTED else _ADVICE.get(kind, "")
        message = f"{call} failed: {reason}" + (f" ({advice})" if advice else "")
    return kind(message, operation=call.operation, code=code)


def _from_client(error: BaseException, call: Call) -> SmTuningError:
    """Return the error for an exception that botocore raised before, or without, a response."""
    text = " ".join(str(error).split()).rstrip(".")
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "NoRegionError" in kinds:
        return SpecError(f"{call} needs an AWS region: {REGION_ADVICE}")
    if "ProfileNotFound" in kinds:
        return CredentialsError(f"{text}: {_PROFILES}", operation=call.operation)
    if kinds & _CREDENTIAL_ERRORS:
        return CredentialsError(f"no valid AWS credentials for {call}: {text}; {_SIGN_IN}", operation=call.operation)
    if kinds & {"ConnectionError", "HTTPClientError", "IncompleteReadError"}:
        url = str(getattr(error, "kwargs", {}).get("endpoint_url", ""))
        is_local = urlsplit(url).hostname in LOOPBACK
        advice = _START if is_local else "check the network, the proxy, the region and AWS_ENDPOINT_URL"
        return EndpointError(f"{call} got no answer: {text}; {advice}", operation=call.operation)
    if kinds & _CONFIGURATION_ERRORS:
        return SpecError(f"the AWS configuration cannot be used for {call}: {text}; see ~/.aws/config and AWS_*")
    if kinds & {"ParamValidationError", "ValidationError", "MissingParametersError"}:
        problems = "; ".join(line.strip() for line in str(error).splitlines()[1:] if line.strip())
        message = f"{call} is not a valid request: {problems or text}"
        return InvalidRequestError(message, operation=call.operation)
    return ServiceError(f"{call} failed before it was sent: {text}", operation=call.operation)
