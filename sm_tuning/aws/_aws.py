"""The connection: one session, its clients, and calls whose errors are ours."""

from __future__ import annotations

import copy
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from queue import Empty, SimpleQueue
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from sm_tuning._errors import CredentialsError, EndpointError, ServiceError, SpecError, WaitTimeoutError
from sm_tuning._masking import secrets_of_job
from sm_tuning._wire import to_tags
from sm_tuning.aws._answers import BrokenAnswerError, check_answer, check_subject
from sm_tuning.aws._errors import LOOPBACK, REGION_ADVICE, Call, mapped, subject_of
from sm_tuning.aws._poll import CLOCK, LOCAL, REMOTE, Clock, Policy, Retry
from sm_tuning.aws._renewal import may_be_renewed, renewed_keys

_log = logging.getLogger(__name__)

T = TypeVar("T")

#: Answers a call of a method with its parameters in place of the service; None leaves the call to the service.
Answer = Callable[[str, Mapping[str, Any]], dict[str, Any] | None]

#: More pages than any listing of one job has: 10,000 training jobs are 100 pages, a day of log lines some thousands.
MAX_PAGES = 5_000

#: Pages in a row that equal the page before, empty ones included. FilterLogEvents returns some empty pages while it
#: searches a large group, but no list repeats its entries.
MAX_EQUAL_PAGES = 200

#: Seconds of paging after which a message says so; the next one comes after twice the time.
_SLOW_SECONDS = 10.0

#: Methods that may be repeated: those without an effect, and uploads, which have the same effect again.
_REPEATABLE = ("batch_get_", "describe_", "filter_", "get_", "head_", "list_", "put_object", "search")


class Aws:
    """A connection to AWS, or to a server with its API, with one set of credentials in one region.

    ``connect`` returns it; creating it makes no API call. Each client is created on first use, under a lock, and may be
    shared by threads, as boto3's documentation allows for clients (not for sessions).
    """

    def __init__(
        self,
        session: Any,
        *,
        region: str | None,
        endpoint_url: str | None,
        environ: Mapping[str, str] = os.environ,
        policy: Policy | None = None,
        clock: Clock = CLOCK,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._session = session
        self._region = region
        self._endpoint_url = endpoint_url
        self._environ = environ
        self._clients: dict[str, Any] = {}
        self._has_answered = False
        self._lock = threading.Lock()
        self._keys: Any = None  # credentials that were renewed since the session was made
        self._limit = threading.local()
        self._answer: Answer | None = None

    def __repr__(self) -> str:
        where = f", endpoint_url={self._endpoint_url!r}" if self._endpoint_url else ""
        return f"Aws(region={self._region!r}{where})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def in_region(self, region: str) -> Aws:
        """The same credentials in another region, for services that answer in a few only; makes no call."""
        other = Aws(
            self._session,
            region=region,
            endpoint_url=self._endpoint_url,
            environ=self._environ,
            policy=self._policy,
            clock=self._clock,
        )
        other._keys, other._limit = self._keys, self._limit
        return other

    def answering(self, answer: Answer) -> Aws:
        """The same connection, with a function that answers some calls in place of the service; makes no call.

        Args:
            answer: returns the response to a method with its parameters, or None to leave the call to the service.
        """
        before, other = self._answer, copy.copy(self)  # clients, their lock and the time limit stay shared
        other._answer = lambda *call: answer(*call) or (before and before(*call))  # noqa: SLF001  (of a copy)
        return other

    @property
    def region(self) -> str:
        """The region.

        Raises:
            SpecError: if no region is set.
        """
        if not self._region:
            raise SpecError(f"there is no AWS region: {REGION_ADVICE}")
        return self._region

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment that settings such as ``SM_TUNING_ROLE`` are read from."""
        return self._environ

    @property
    def session(self) -> Any:
        """The boto3 session, for libraries that make clients of their own."""
        return self._session

    @property
    def sagemaker(self) -> Any:
        """The SageMaker client."""
        return self._client("sagemaker")

    @property
    def s3(self) -> Any:
        """The S3 client."""
        return self._client("s3")

    @property
    def logs(self) -> Any:
        """The CloudWatch Logs client."""
        return self._client("logs")

    @property
    def cloudwatch(self) -> Any:
        """The CloudWatch client."""
        return self._client("cloudwatch")

    @property
    def sts(self) -> Any:
        """The STS client."""
        return self._client("sts")

    @property
    def iam(self) -> Any:
        """The IAM client."""
        return self._client("iam")

    def call(self, service: str, method: str, /, **params: Any) -> dict[str, Any]:
        """Make one API call.

        Args:
            service: the client's name, such as ``sagemaker`` or ``logs``.
            method: the client's method, such as ``describe_training_job``.
            **params: the operation's parameters; one that is None is left out.

        Raises:
            EndpointError: the response is cut off or is not what the operation returns, also after repeated reads.
            WaitTimeoutError: the limit of ``time_limit`` is over.
            SmTuningError: the call failed; see ``sm_tuning.aws.mapped``.
        """
        given = {name: value for name, value in params.items() if value is not None}
        until: float = getattr(self._limit, "until", math.inf)
        if until == math.inf:
            return self._call(service, method, given)
        answers: SimpleQueue[dict[str, Any] | BaseException] = SimpleQueue()

        def run() -> None:
            try:
                answers.put(self._call(service, method, given))
            except BaseException as error:  # noqa: BLE001  (raised by the caller's thread)
                answers.put(error)

        # Neither a time-out of a socket nor the number of attempts bounds a call as a whole: an endpoint may send a
        # byte a minute. So the caller leaves the call behind, in a thread that does not keep the process alive.
        threading.Thread(target=run, name=method, daemon=True).start()
        try:
            answer = answers.get(timeout=max(0.0, until - time.monotonic()))
        except Empty:
            subject = subject_of(given)
            raise WaitTimeoutError(f"{method} of {subject!r} was not answered in time", job_name=subject) from None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    @property
    def is_time_limited(self) -> bool:
        """Whether this thread is in a block of ``time_limit``."""
        return getattr(self._limit, "until", math.inf) < math.inf

    @contextmanager
    def time_limit(self, seconds: float | None) -> Iterator[None]:
        """Bound the calls that this thread makes in a block, all of them together, whatever the endpoint does.

        Args:
            seconds: from now; None sets no limit.

        Raises:
            WaitTimeoutError: from the call that is not answered in time.
        """
        before: float = getattr(self._limit, "until", math.inf)
        self._limit.until = min(before, math.inf if seconds is None else time.monotonic() + seconds)
        try:
            yield
        finally:
            self._limit.until = before

    def _call(self, service: str, method: str, given: Mapping[str, Any]) -> dict[str, Any]:
        if answer := self._answer and self._answer(method, given):
            self._has_answered = True
            return answer
        failures, renewed = 0, False
        while True:
            keys = self._keys
            client = self._client(service)
            about = Call(client.meta.method_to_api_mapping[method], subject_of(given))
            try:
                with mapped(*about, secrets_of_job(given)):
                    response: dict[str, Any] = getattr(client, method)(**given)
                if method.startswith("describe_"):
                    check_subject(given, response)
            except CredentialsError:
                if renewed or not self._renew(keys):
                    raise
                renewed = True
            except BrokenAnswerError as e:
                failures += 1
                # A broken answer to a create or a stop leaves open whether it had its effect.
                is_repeatable = method.startswith(_REPEATABLE)
                advice = "try again" if is_repeatable else "it may have had its effect: look before you try again"
                error = EndpointError(f"{about} got a broken answer: {e}; {advice}", operation=about.operation)
                pause = self.policy.broken.pause(error, failures) if is_repeatable else None
                if pause is None:
                    raise error from e
                self._clock.sleep(pause)
            else:
                self._has_answered = True
                return response

    def pages(
        self,
        service: str,
        method: str,
        /,
        *,
        token: str | tuple[str, str] = "NextToken",  # noqa: S107  (the member's name)
        repeat_ends: bool = False,
        max_pages: int = MAX_PAGES,
        call: Callable[..., dict[str, Any]] | None = None,
        **params: Any,
    ) -> Iterator[dict[str, Any]]:
        """Make a call again and again, as long as its answer has a token for the next page.

        Args:
            service: as in ``call``.
            method: as in ``call``.
            token: the member that carries the token, or two names when request and response differ, such as
                ``("nextToken", "nextForwardToken")``.
            repeat_ends: a token that comes back unchanged means the end, as GetLogEvents has it.
            max_pages: the number of pages after which the list counts as endless.
            call: makes each call, for example with retries; the method ``call`` by default.
            **params: as in ``call``.

        Raises:
            ServiceError: if a token is repeated, 200 pages in a row are equal, or there are too many pages; no list is
                cut off silently.
        """
        asked, answered = (token, token) if isinstance(token, str) else token
        operation = self._client(service).meta.method_to_api_mapping[method]
        seen: set[str] = set()
        spent, due = 0.0, _SLOW_SECONDS
        equal, last = 0, None
        for number in range(1, max_pages + 1):
            begun = self._clock.monotonic()
            page = (call or self.call)(service, method, **params)
            spent += self._clock.monotonic() - begun  # without the time that the caller takes between two pages
            if spent >= due and page.get(answered):
                _log.warning("%s is still reading after %.0f s and %d pages", operation, spent, number)
                due = 2 * spent
            yield page
            content = {name: value for name, value in page.items() if name not in (answered, "ResponseMetadata")}
            equal, last = (equal + 1 if content == last else 0), content
            following = page.get(answered)
            if not following or (repeat_ends and following == params.get(asked)):
                return
            if following in seen:
                message = f"{operation} gave the page token {following!r} twice, so its list has no end"
                raise ServiceError(message, operation=operation)
            if equal >= MAX_EQUAL_PAGES:
                message = f"{operation} gave {equal + 1} equal pages with new page tokens, so its list has no end"
                raise ServiceError(f"{message}; try again", operation=operation)
            seen.add(following)
            params[asked] = following
        message = f"{operation} had not come to an end after {max_pages} pages: ask for less at once"
        raise ServiceError(message, operation=operation)

    def tags(self, arn: str) -> dict[str, str]:
        """Return the tags of a SageMaker resource by key.

        Raises:
            ServiceError: the call failed.
        """
        pages = self.pages("sagemaker", "list_tags", ResourceArn=arn)
        return {key: value for page in pages for key, value in to_tags(page.get("Tags", ())).items()}

    def poll(
        self,
        name: str,
        ask: Callable[[], T],
        until: Callable[[T], bool],
        *,
        interval: float | None = None,
        timeout: float | None = None,
        clock: Clock = CLOCK,
        retry: Retry | None = None,
    ) -> T:
        """Call a function until its result is final, and return that result.

        Args:
            name: the job or resource, for messages.
            ask: the function, such as one that describes a job.
            until: whether a result is final. It is called once with each result.
            interval: seconds between two calls; by default ``poll_interval``, and less at first for a server on this
                machine, whose jobs may end within a second.
            timeout: seconds after which to give up; None waits without a limit.
            clock: the clock.
            retry: how transient errors of ``ask`` are treated; as the policy says by default. Expired credentials
                that may be renewed in the meantime count as transient.

        Raises:
            SpecError: the interval or the timeout is invalid.
            WaitTimeoutError: the time is up.
            ServiceError: a call failed, and the error is not transient or lasted longer than ``retry`` allows.
        """
        shortest, interval = (self.policy.shortest, self.poll_interval) if interval is None else (math.inf, interval)
        retry = self.policy.waiting if retry is None else retry
        if interval <= 0 or (timeout is not None and timeout < 0):
            raise SpecError(f"poll must be above 0 seconds and timeout not below, but got poll={interval}, {timeout=}")
        answered = start = clock.monotonic()
        failures, late = 0, f"{name} gave no answer in {timeout} s: it is not known whether it goes on"
        while True:
            pause = min(interval, max(shortest, (clock.monotonic() - start) / 10))
            left = math.inf if timeout is None else start + timeout - clock.monotonic()
            try:
                # The last call gets some seconds, so that a time-out of 0 looks once.
                with self.time_limit(None if timeout is None else max(left, self.policy.last)):
                    try:
                        result = ask()
                    except ServiceError as error:
                        failures += 1
                        lasting = may_be_renewed(self._session, error)
                        backoff = retry.pause(error, failures, clock.monotonic() - answered, transient=lasting or None)
                        if backoff is None:
                            raise
                        level = logging.WARNING if lasting and failures == 1 else logging.INFO
                        _log.log(level, "still waiting for %s: %s", name, error)
                        pause = max(interval, backoff)
                    else:
                        answered, failures = clock.monotonic(), 0
                        late = f"{name} had not ended after {timeout} s; it goes on"
                        if until(result):
                            return result
            except WaitTimeoutError as error:
                raise WaitTimeoutError(late, job_name=name) from error
            left = pause if timeout is None else start + timeout - clock.monotonic()
            if left <= 0:
                raise WaitTimeoutError(late, job_name=name)
            clock.sleep(min(pause, left))

    def _renew(self, used: Any) -> bool:
        """Use the credentials that their source has now; return whether they are other than ``used``."""
        with self._lock:
            if self._keys is used:
                keys = renewed_keys(self._session, used)
                if keys is None:
                    return False
                self._keys = keys
            # Otherwise another thread has renewed them.
        self.close()
        return True

    def close(self) -> None:
        """Close the connections of all clients; the next call opens new ones."""
        with self._lock:
            clients = list(self._clients.values())
            self._clients.clear()
        for client in clients:
            client.close()

    def _client(self, service: str) -> Any:
        with self._lock:
            client = self._clients.get(service)
            if client is None:
                region = self.region
                names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
                renewed = dict(zip(names, self._keys or (), strict=False))  # without the account
                with mapped(f"the {service} client"):
                    client = self._session.client(
                        service,
                        region_name=region,
                        endpoint_url=self._endpoint_url,
                        config=self._config(service),
                        **renewed,
                    )
                client.meta.events.register("before-parse", check_answer)
                self._clients[service] = client
            return client

    @property
    def has_answered(self) -> bool:
        """Whether a call has succeeded; before, an endpoint that does not answer is probably a wrong address."""
        return self._has_answered

    @property
    def is_local(self) -> bool:
        """Whether the endpoint is on this machine, where a call is cheap and is answered at once or not at all."""
        url = self._endpoint_url or self._environ.get("AWS_ENDPOINT_URL", "")
        return urlsplit(url).hostname in LOOPBACK

    @property
    def poll_interval(self) -> float:
        """The seconds between two calls that wait for a change: few for a server on this machine, more for AWS."""
        return self.policy.interval

    @property
    def policy(self) -> Policy:
        """How patient the connection is: as given, or else much with AWS and little with a server on this machine."""
        return self._policy or (LOCAL if self.is_local else REMOTE)

    def _config(self, service: str) -> Any:
        from botocore.config import Config  # noqa: PLC0415

        policy = self.policy
        return Config(
            retries={"mode": policy.mode, "total_max_attempts": policy.attempts},
            connect_timeout=policy.connect_timeout,
            read_timeout=policy.read_timeout,
            max_pool_connections=32,
            user_agent_extra=f"sm_tuning/{metadata.version('sm-tuning')}",
            # Requests for metrics are ours alone, and the check of 500 queries takes longer than to read their answer.
            parameter_validation=service != "cloudwatch",
            # A server on this machine has no host names for buckets.
            s3={"addressing_style": "path"} if self.is_local else None,
        )


def connect(
    *,
    session: Any = None,
    profile: str | None = None,
    region: str | None = None,
    endpoint_url: str | None = None,
    environ: Mapping[str, str] = os.environ,
    policy: Policy | None = None,
) -> Aws:
    """Prepare to speak to AWS, or to a server that speaks its API; makes no call.

    Args:
        session: a ``boto3.Session`` to use instead of one of our own.
        profile: a profile of ``~/.aws/config``.
        region: wins over the session's, which wins over ``AWS_REGION``, ``AWS_DEFAULT_REGION`` and the profile's.
        endpoint_url: where all services are spoken to; when left out, ``AWS_ENDPOINT_URL`` and its like count, as
            botocore reads them.
        environ: where ``AWS_REGION`` and our own settings are read from; boto3 reads the real environment.
        policy: time-outs and retries; by default much patience with AWS, and little with a server on this machine.

    Raises:
        SpecError: both ``session`` and ``profile`` are given, or an endpoint is no URL.
        CredentialsError: there is no such profile.
    """
    for name, url in (("endpoint_url", endpoint_url), ("AWS_ENDPOINT_URL", environ.get("AWS_ENDPOINT_URL"))):
        if url and (urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname):
            raise SpecError(f"{name} must be a URL such as http://127.0.0.1:8000, but got {url!r}")
    if session is not None and profile is not None:
        raise SpecError(f"give session= or profile=, not both, but got session={session!r} and profile={profile!r}")
    if session is not None:
        region = region or session.region_name or environ.get("AWS_REGION")
    else:
        import boto3  # noqa: PLC0415  (importing sm_tuning stays cheap)

        with mapped():
            session = boto3.Session(profile_name=profile, region_name=region or environ.get("AWS_REGION") or None)
        region = session.region_name
    return Aws(session, region=region, endpoint_url=endpoint_url, environ=environ, policy=policy)
