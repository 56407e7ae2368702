"""The refusals of the service: an AWS error code and the sentence that the caller reads."""

from __future__ import annotations


class Fault(Exception):  # noqa: N818  (the word of the AWS protocols; it is a response, raised)
    """A refusal that is sent to the caller.

    Args:
        code: the error code of the API, such as ValidationException.
        message: the sentence that the caller reads.
        status: of HTTP.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def invalid(message: str) -> Fault:
    """Return a ValidationException."""
    return Fault("ValidationException", message)


def not_found(message: str) -> Fault:
    """Return a ResourceNotFound, as the tuning operations give it."""
    return Fault("ResourceNotFound", message)
