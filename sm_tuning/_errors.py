"""The tree of errors that sm_tuning raises, with the exit code of the command line.

SmTuningError
├── SpecError               the spec, or an argument, breaks a rule                      exit code 2
│   └── MissingExtraError   a feature needs an extra that is not installed
├── JobError                the job did not succeed                                      exit code 1
│   ├── JobFailedError      the job failed
│   ├── JobStoppedError     the job was stopped before its end
│   └── WaitTimeoutError    the job is still running at the end of the time-out of a wait
└── ServiceError            AWS (or the local SageMaker) refused or cannot be reached    exit code 3
    ├── AccessDeniedError   the credentials lack a permission
    ├── CredentialsError    there are no credentials, or they are invalid or expired
    ├── EndpointError       no response from the endpoint, or a broken one
    ├── InvalidRequestError the service rejects the request
    ├── JobNotFoundError    there is no job of that name
    ├── NameTakenError      a job of that name exists already
    ├── QuotaError          a limit of the account is reached
    ├── ThrottledError      too many calls, also after retries
    └── LocalServerError    the local SageMaker cannot start, or its state is in use
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from sm_tuning._printable import printable


@dataclass(frozen=True, slots=True)
class Problem:
    """A rule that a spec or an argument breaks.

    Attributes:
        code: names the rule, such as ``grid-budget``; empty if the rule has no code of its own.
        where: the field, such as ``estimator.max_run``; empty for the spec as a whole.
        message: what is wrong, with the value.
        fix: what to do; empty if the message says it.
    """

    code: str
    where: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message

    def below(self, place: str) -> Problem:
        """Return the problem of the spec around this one, which holds it in the field ``place``."""
        return replace(self, where=".".join(filter(None, (place, self.where))))


class SmTuningError(Exception):
    """Base of all errors that sm_tuning raises on purpose."""

    exit_code = 1

    def __str__(self) -> str:
        """The message; control characters of the texts in it are escaped, since it is shown on terminals."""
        return printable(super().__str__(), keep="\n\t")

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows instead of a traceback: the message, after the lines of the user that led to it.

        The frames of this package and of boto3, hundreds of lines in a cell, do not help to correct a mistake.
        """
        lines = []
        for frame in traceback.extract_tb(self.__traceback__):
            path = Path(frame.filename)
            if path.is_relative_to(Path(__file__).parent):
                break
            if "IPython" not in path.parts:
                is_cell = frame.filename.startswith("<") or path.parent.name.startswith("ipykernel_")
                lines.append(f"{'' if is_cell else f'{path}, '}line {frame.lineno}: {frame.line}")
        return [*lines, "", f"{type(self).__name__}: {self}"]


class SpecError(SmTuningError, ValueError):
    """A spec or an argument breaks a rule.

    Its text has a line for each problem, with what to do unless the problem says so itself.

    Args:
        problems: the broken rules; a sentence is a problem without a code.
        source: put in front of each sentence, such as the name of the spec file.

    Attributes:
        details: the broken rules as values, each with the code of its rule.
        problems: the same as sentences, each with its place in the spec in front.
    """

    exit_code = 2

    def __init__(self, problems: str | Problem | Iterable[str | Problem], *, source: str = "") -> None:
        given = (problems,) if isinstance(problems, str | Problem) else tuple(problems)
        # A rule travels as a value, not as text: a sentence holds names and values that the user chose.
        self.details: tuple[Problem, ...] = tuple(
            item if isinstance(item, Problem) else Problem("", "", item) for item in given
        )
        prefix = f"{source}: " if source else ""
        self.problems: tuple[str, ...] = tuple(f"{prefix}{problem}" for problem in self.details)
        super().__init__("\n".join(map(_with_fix, self.problems, self.details)))


def _with_fix(sentence: str, problem: Problem) -> str:
    is_said = not problem.fix or problem.fix in sentence or "did you mean " in sentence
    return sentence if is_said else f"{sentence}; {problem.fix}"


class MissingExtraError(SpecError):
    """A feature needs an optional dependency that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs the extra {extra!r}: pip install 'sm-tuning[{extra}]'")


class JobError(SmTuningError):
    """A job did not succeed.

    Attributes:
        job_name: the name of the tuning job.
        status: its status in the API.
        reason: its FailureReason; empty without one.
    """

    def __init__(self, message: str, *, job_name: str, status: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.job_name = job_name
        self.status = status
        self.reason = reason


class JobFailedError(JobError):
    """The tuning job failed."""


class JobStoppedError(JobError):
    """The tuning job was stopped before its end."""


class WaitTimeoutError(JobError):
    """The time-out of a wait is over, and the job is still running."""


class ServiceError(SmTuningError):
    """AWS, or the local SageMaker, refused a call or could not be reached.

    Attributes:
        operation: the API operation, such as ``CreateHyperParameterTuningJob``; empty without one.
        code: the service's error code; empty without one.
    """

    exit_code = 3

    def __init__(self, message: str, *, operation: str = "", code: str = "") -> None:
        super().__init__(message)
        self.operation = operation
        self.code = code


class AccessDeniedError(ServiceError):
    """The credentials are valid but lack a permission."""


class CredentialsError(ServiceError):
    """There are no credentials, or they are invalid or expired."""


class EndpointError(ServiceError):
    """The endpoint sent no response, or a broken one."""


class InvalidRequestError(ServiceError):
    """The service rejects the request."""


class JobNotFoundError(ServiceError):
    """There is no job of that name in this account and region."""


class NameTakenError(ServiceError):
    """A job of that name exists already in this account and region."""


class QuotaError(ServiceError):
    """A limit of the account is reached."""


class ThrottledError(ServiceError):
    """The service throttles the calls, also after retries."""


class LocalServerError(ServiceError):
    """The local SageMaker cannot start, or its state cannot be used."""


class SdkLossWarning(UserWarning):
    """An object of the SageMaker SDK lacks a field of the spec; the message names the field."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that an unknown one was probably meant to be, or None if none is similar."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)), None)


def did_you_mean(name: str, known: Iterable[str], *, kind: str = "known names") -> str:
    """Return the advice about an unknown name: the most similar known name, or all of them."""
    names = sorted(known)
    near = nearest(name, names)
    return f"did you mean {near!r}?" if near else f"{kind} are {', '.join(names)}"
