"""Error codes that AWS services send, sorted by what they mean to a user.

Sources: the error sections of the SageMaker, S3, IAM, STS, CloudWatch and CloudWatch Logs API references, the
"Common Errors" page that they share, and botocore's list of throttling codes (``botocore/retries/standard.py``).
"""

from __future__ import annotations

from sm_tuning._errors import (
    AccessDeniedError,
    CredentialsError,
    InvalidRequestError,
    NameTakenError,
    QuotaError,
    ServiceError,
    ThrottledError,
)

DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AccessDeniedFault",
        "AllAccessDisabled",
        "AccountProblem",
        "AuthorizationError",
        "Forbidden",
        "NotAuthorized",
        "UnauthorizedAccess",
        "UnauthorizedOperation",
        "UnauthorizedException",
        "KMS.AccessDeniedException",
        "403",
    }
)
CREDENTIALS = frozenset(
    {
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
    }
)
THROTTLED = frozenset(
    {
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
    }
)
QUOTA = frozenset(["LimitExceeded", "ResourceLimitExceeded", "ServiceQuotaExceededException", "TooManyBuckets"])
TAKEN = frozenset({"ResourceInUse"})
MISSING = frozenset(
    {
        "NoSuchBucket",
        "NoSuchEntity",
        "NoSuchEntityException",
        "NoSuchKey",
        "NotFound",
        "ResourceNotFound",
        "ResourceNotFoundException",
        "404",
    }
)
INVALID = frozenset(
    {
        "BadRequest",
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
        "SerializationException",
        "UnknownOperationException",
        "ValidationError",
        "ValidationException",
        "BucketAlreadyExists",
        "BucketAlreadyOwnedByYou",
        "IllegalLocationConstraintException",
        "PermanentRedirect",
        "301",
        "400",
    }
)
#: The service is to blame, and the same call may work a little later.
TRANSIENT = frozenset(
    {
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
    }
)

_KINDS: tuple[tuple[frozenset[str], type[ServiceError]], ...] = (
    (DENIED, AccessDeniedError),
    (CREDENTIALS, CredentialsError),
    (THROTTLED, ThrottledError),
    (QUOTA, QuotaError),
    (TAKEN, NameTakenError),
    (INVALID | MISSING, InvalidRequestError),
)

_ADVICE = {
    CredentialsError: "sign in again, or check the keys and this machine's clock",
    ThrottledError: "wait a little and try again",
    QuotaError: "ask for more in the Service Quotas console, or use fewer or other instances",
    InvalidRequestError: "",
    ServiceError: "the service is at fault: try again in a moment",
}


def kind_of(code: str, status: int) -> type[ServiceError]:
    """The class of error for a service's code; an unknown code is judged by its HTTP status."""
    for codes, kind in _KINDS:
        if code in codes:
            return kind
    if code in TRANSIENT or not 400 <= status < 500:
        return ServiceError
    return {401: CredentialsError, 403: AccessDeniedError, 429: ThrottledError}.get(status, InvalidRequestError)


def advice(kind: type[ServiceError]) -> str:
    """What to do about an error of that class; empty when the service's own words say it."""
    return _ADVICE.get(kind, "")
