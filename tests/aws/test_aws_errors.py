"""Whatever botocore and boto3 raise comes out as an error of ours, in one clear sentence."""

from __future__ import annotations

import inspect
import string
from typing import Any

import boto3.exceptions
import botocore.exceptions
import pytest
from botocore.exceptions import ClientError

from sm_tuning import (
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
from sm_tuning.aws import is_missing, is_transient, mapped, was_retried


def client_error(
    code: str, message: str = "", *, operation: str = "Op", status: int = 400, retries: int = 0
) -> ClientError:
    metadata = {"HTTPStatusCode": status, "RetryAttempts": retries}
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}, operation)


def raised(error: Exception, operation: str = "", subject: str = "") -> SmTuningError:
    with pytest.raises(SmTuningError) as caught, mapped(operation, subject):
        raise error
    assert caught.value.__cause__ is error
    return caught.value


def service_error(error: Exception, operation: str = "", subject: str = "") -> ServiceError:
    found = raised(error, operation, subject)
    assert isinstance(found, ServiceError)
    return found


def example(kind: type[Exception]) -> Exception:
    """An instance, made from the fields of the class's own message."""
    if issubclass(kind, ClientError):
        return kind({"Error": {"Code": "Strange", "Message": "strange"}, "ResponseMetadata": {}}, "DescribeThing")
    text = getattr(kind, "fmt", None)
    if text is None:
        return kind("something")
    fields: dict[str, Any] = {name: f"<{name}>" for _, name, _, _ in string.Formatter().parse(text) if name}
    if kind is botocore.exceptions.WaiterError:
        fields["last_response"] = {}
    return kind(**fields)


def exceptions_of(module: Any) -> list[type[Exception]]:
    found = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if issubclass(kind, Exception)]
    return [kind for kind in found if kind.__module__ == module.__name__ and not issubclass(kind, Warning)]


@pytest.mark.parametrize("kind", exceptions_of(botocore.exceptions), ids=lambda kind: kind.__name__)
def test_no_exception_of_botocore_escapes(kind: type[Exception]) -> None:
    error = raised(example(kind), "DescribeThing")

    assert "DescribeThing" in str(error) or "profile" in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    "error",
    [
        boto3.exceptions.S3UploadFailedError("something"),
        boto3.exceptions.S3TransferFailedError("something"),
        boto3.exceptions.RetriesExceededError(OSError("reset")),
        boto3.exceptions.NoVersionFound("something"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_exception_of_boto3_escapes(error: Exception) -> None:
    assert type(raised(error, "PutObject", "s3://b/k")) is ServiceError


def test_a_transfer_that_failed_is_judged_by_the_error_behind_it() -> None:
    def transfer() -> None:
        try:
            raise client_error("AccessDenied", "no", operation="PutObject", status=403)
        except ClientError as denied:
            raise boto3.exceptions.S3UploadFailedError("failed to upload") from denied

    with pytest.raises(AccessDeniedError, match="s3://b/k"), mapped("PutObject", "s3://b/k"):
        transfer()


def test_other_exceptions_pass_as_they_are() -> None:
    with pytest.raises(ZeroDivisionError), mapped("Op"):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("AccessDeniedException", 400, AccessDeniedError),
        ("403", 403, AccessDeniedError),
        ("ExpiredTokenException", 400, CredentialsError),
        ("UnrecognizedClientException", 400, CredentialsError),
        ("InvalidClientTokenId", 403, CredentialsError),
        ("SignatureDoesNotMatch", 403, CredentialsError),
        ("ThrottlingException", 400, ThrottledError),
        ("SlowDown", 503, ThrottledError),
        ("ResourceLimitExceeded", 400, QuotaError),
        ("ValidationException", 400, InvalidRequestError),
        ("NoSuchBucket", 404, InvalidRequestError),
        ("404", 404, InvalidRequestError),
        ("SomethingNew", 403, AccessDeniedError),
        ("SomethingNew", 429, ThrottledError),
        ("SomethingNew", 418, InvalidRequestError),
        ("SomethingNew", 599, ServiceError),
        ("InternalFailure", 500, ServiceError),
    ],
)
def test_a_services_code_says_the_kind(code: str, status: int, kind: type[ServiceError]) -> None:
    error = service_error(client_error(code, "text of AWS", status=status))

    assert type(error) is kind
    assert (error.operation, error.code) == ("Op", code)


def test_a_taken_name_is_told_from_other_conflicts() -> None:
    text = "A hyperparameter tuning job with the name, x, already exists."

    assert isinstance(
        raised(client_error("ResourceInUse", text, operation="CreateHyperParameterTuningJob")), NameTakenError
    )
    assert isinstance(raised(client_error("ResourceInUse", operation="DeleteModel")), InvalidRequestError)


@pytest.mark.parametrize(
    ("operation", "code", "text"),
    [
        ("DescribeHyperParameterTuningJob", "ResourceNotFound", "whatever"),
        ("ListTrainingJobsForHyperParameterTuningJob", "ResourceNotFound", ""),
        ("DescribeTrainingJob", "ValidationException", "Requested resource not found."),
    ],
)
def test_a_job_that_is_not_there_is_named(operation: str, code: str, text: str) -> None:
    error = raised(client_error(code, text, operation=operation), operation, "my-job")

    assert isinstance(error, JobNotFoundError)
    assert is_missing(error)
    assert "no job 'my-job'" in str(error)


def test_a_missing_log_group_is_no_missing_job() -> None:
    error = service_error(client_error("ResourceNotFoundException", operation="DescribeLogStreams"))

    assert type(error) is InvalidRequestError
    assert is_missing(error)


def test_a_denied_call_names_the_action_and_the_resource() -> None:
    text = (
        "User: arn:aws:sts::1:assumed-role/ci/x is not authorized to perform: iam:PassRole on resource: "
        "arn:aws:iam::1:role/train because no identity-based policy allows the iam:PassRole action"
    )
    message = str(raised(client_error("AccessDeniedException", text), "CreateHyperParameterTuningJob", "my-job"))

    assert message.startswith("CreateHyperParameterTuningJob of 'my-job' was denied")
    assert "the credentials need iam:PassRole on arn:aws:iam::1:role/train;" in message


def test_a_denied_head_request_has_no_text_but_says_what_it_was() -> None:
    message = str(raised(client_error("403", "Forbidden", status=403), "HeadBucket", "s3://b"))

    assert message.startswith("HeadBucket of 's3://b' was denied: the credentials need the action behind HeadBucket")
    assert "AWS says" not in message


def test_missing_credentials_say_how_to_sign_in() -> None:
    error = raised(botocore.exceptions.NoCredentialsError(), "DescribeTrainingJob")

    assert isinstance(error, CredentialsError)
    assert "aws sso login" in str(error)


def test_a_local_endpoint_that_is_down_points_at_the_local_server() -> None:
    error = raised(
        botocore.exceptions.EndpointConnectionError(endpoint_url="http://127.0.0.1:1/"), "DescribeTrainingJob"
    )

    assert isinstance(error, EndpointError)
    assert "sm-tuning local start" in str(error)


def test_a_distant_endpoint_that_is_down_points_at_the_network() -> None:
    error = raised(
        botocore.exceptions.ConnectTimeoutError(endpoint_url="https://api.sagemaker.eu-west-1.amazonaws.com/")
    )

    assert isinstance(error, EndpointError)
    assert "check the network" in str(error)


def test_invalid_parameters_are_listed_in_one_line() -> None:
    report = 'Missing required parameter in input: "A"\nUnknown parameter in input: "B", must be one of: A'
    error = raised(botocore.exceptions.ParamValidationError(report=report), "CreateHyperParameterTuningJob")

    assert isinstance(error, InvalidRequestError)
    assert '"A"; Unknown parameter' in str(error)


def test_a_missing_region_is_a_fault_of_the_settings() -> None:
    assert isinstance(raised(botocore.exceptions.NoRegionError()), SpecError)
    assert isinstance(raised(botocore.exceptions.InvalidRegionError(region_name="x y")), SpecError)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (client_error("ThrottlingException"), True),
        (client_error("InternalFailure", status=500), True),
        (client_error("Odd", status=502), True),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="https://x"), True),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="https://x"), True),
        (client_error("ValidationException"), False),
        (client_error("AccessDenied", status=403), False),
        (botocore.exceptions.NoCredentialsError(), False),
    ],
    ids=str,
)
def test_what_may_work_later_is_transient(error: Exception, expected: bool) -> None:
    assert is_transient(service_error(error)) is expected


def test_an_error_knows_whether_the_call_had_been_sent_before() -> None:
    assert was_retried(service_error(client_error("ResourceInUse", retries=2)))
    assert not was_retried(service_error(client_error("ResourceInUse")))
    assert not was_retried(service_error(botocore.exceptions.NoCredentialsError()))


def test_what_the_local_sagemaker_does_not_do_is_not_advised_to_be_tried_again() -> None:
    said = "The local SageMaker does not support sagemaker:DescribeAutoMLJobV2. AWS does."
    error = service_error(client_error("UnsupportedOperation", said, status=501), "DescribeAutoMLJobV2", "job")
    assert str(error) == f"DescribeAutoMLJobV2 of 'job' failed: UnsupportedOperation: {said}"
    assert "try again in a moment" in str(service_error(client_error("InternalFailure", "oh", status=500)))
