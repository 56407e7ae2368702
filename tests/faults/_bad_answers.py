"""The kinds of bad answers: what a network, a proxy or a service in trouble sends in place of the right answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from _aws_answers import JSON, XML, Answer, refusal
from _fake_aws import Exchange, Fault

_PAUSE = 0.01  # seconds between two bytes of a slow answer


class Kind(NamedTuple):
    """A kind of bad answers.

    Attributes:
        send: sends one.
        outcome: ``broken`` if a repeated call may be answered well, ``refused`` if that is in vain, ``right`` if the
            answer counts, ``changed`` if it counts and says something else.
    """

    send: Fault
    outcome: str = "broken"


def changed(change: Callable[[Any], Any]) -> Fault:
    """Send a right JSON answer with a change; others as they are."""

    def send(exchange: Exchange) -> None:
        answer = exchange.right()
        if answer.kind == JSON and answer.status == 200:
            answer = answer._replace(body=json.dumps(change(json.loads(answer.body))).encode())
        exchange.send(answer)

    return send


def replaced(body: bytes, kind: str = JSON) -> Fault:
    """Send a body in place of the right one, after the call's effect; a response without a body stays as it is."""

    def send(exchange: Exchange) -> None:
        answer = exchange.right()
        exchange.send(answer._replace(body=body, kind=kind) if answer.body and answer.status == 200 else answer)

    return send


def status(code: int, body: bytes = b"", kind: str = XML) -> Fault:
    """Send an error of a proxy or a load balancer."""
    return lambda exchange: exchange.send(Answer(code, body, kind))


def refused(code: str, message: str = "refused", status: int = 400) -> Fault:
    """Send an error of the service; the call has no effect."""

    def send(exchange: Exchange) -> None:
        # S3 has statuses of its own, and botocore knows its errors by them: those to HEAD have no body.
        in_s3 = {"ThrottlingException": 503}.get(code, 403) if exchange.call.method != "POST" else status
        exchange.send(refusal(exchange.call, code, message, max(status, in_s3)))

    return send


def cut(exchange: Exchange) -> None:
    answer = exchange.right()
    if answer.status != 200 or not answer.body:
        exchange.send(answer)
        return
    exchange.send(answer._replace(body=answer.body[: len(answer.body) // 2]), length=len(answer.body))


def chunked_and_cut(exchange: Exchange) -> None:
    answer = exchange.right()
    if exchange.command == "HEAD":
        exchange.send(answer)
        return
    half = answer.body[: len(answer.body) // 2] or b"x"
    exchange.count()
    exchange.start(answer, length=None)
    exchange.wfile.write(b"%x\r\n%s\r\n" % (len(half), half))
    exchange.close_connection = True


def gzip_garbage(exchange: Exchange) -> None:
    answer = exchange.right()
    if exchange.command == "HEAD" or not answer.body:
        exchange.send(answer)
        return
    exchange.send(answer._replace(body=b"no gzip at all"), headers=(("Content-Encoding", "gzip"),))


def bad_text(exchange: Exchange) -> None:
    answer = exchange.right()
    middle = len(answer.body) // 2
    exchange.send(answer._replace(body=answer.body[:middle] + b"\xff" + answer.body[middle:]) if middle else answer)


def another_type(exchange: Exchange) -> None:
    exchange.send(exchange.right()._replace(kind="text/plain"))


def dropped_after_headers(exchange: Exchange) -> None:
    answer = exchange.right()
    if not answer.body:
        exchange.send(answer)
        return
    exchange.start(answer, length=len(answer.body) + 1)
    exchange.drop()


def slow(exchange: Exchange) -> None:
    answer = exchange.right()
    exchange.start(answer, length=len(answer.body))
    pieces = max(1, len(answer.body) // 4)
    for first in range(0, len(answer.body) if exchange.command != "HEAD" else 0, pieces):
        exchange.wfile.write(answer.body[first : first + pieces])
        exchange.server.calm.wait(_PAUSE)


def hang(exchange: Exchange) -> None:
    exchange.server.calm.wait(300)
    exchange.drop()


def paged(token: Callable[[int], str]) -> Fault:
    """Give another token with each page, for ever."""

    def send(exchange: Exchange) -> None:
        member = _TOKENS.get(exchange.call.operation)
        exchange.call.params.pop(member, None)  # the next page is the first one again
        answer = exchange.right()
        if member:
            found = json.loads(answer.body) | {member: token(exchange.server.calls[exchange.call.operation])}
            answer = answer._replace(body=json.dumps(found).encode())
        exchange.send(answer)

    return send


_TOKENS = {
    "ListTrainingJobsForHyperParameterTuningJob": "NextToken",
    "Search": "NextToken",
    "ListTags": "NextToken",
    "GetProducts": "NextToken",
    "GetMetricData": "NextToken",
    "FilterLogEvents": "nextToken",
}


def wrong_types(answer: Any) -> Any:
    """Put a value of another type in place of each member."""
    return {name: 17 if isinstance(value, str) else "text" for name, value in answer.items()}


def new_words(value: Any, name: str = "") -> Any:
    """Put a word that this version does not know in place of each enum value."""
    if isinstance(value, dict):
        return {key: new_words(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [new_words(item, name) for item in value]
    return "Hibernated" if name in _ENUMS and value in _ENUMS[name] else value


_ENUMS = {
    "HyperParameterTuningJobStatus": {"Completed", "InProgress"},
    "TrainingJobStatus": {"Completed", "Failed"},
    "SecondaryStatus": {"Completed", "Failed"},
    "ObjectiveStatus": {"Succeeded", "Failed"},
    "Strategy": {"Random"},
    "StatusCode": {"Complete"},
    "TrainingInputMode": {"File"},
}


def bad_times(value: Any) -> Any:
    """Put a time that is none in place of each time of an answer."""
    if isinstance(value, dict):
        return {key: "yesterday" if key.endswith("Time") else bad_times(item) for key, item in value.items()}
    return [bad_times(item) for item in value] if isinstance(value, list) else value


_HTML = b"<!DOCTYPE html><html><body><br>Sign in to the hotel's network</body></html>"
_EXPIRED = "The security token included in the request is expired"
_SKEWED = "Signature expired: 20260101T000000Z is now earlier than 20260101T001500Z"

KINDS: Mapping[str, Kind] = {
    "cut off": Kind(cut),
    "chunked and cut off": Kind(chunked_and_cut),
    "empty": Kind(replaced(b"")),
    "HTML": Kind(replaced(_HTML, "text/html")),
    "null": Kind(replaced(b"null")),
    "a list": Kind(replaced(b"[]")),
    "members of other types": Kind(changed(wrong_types)),
    "no members": Kind(changed(lambda _: {})),
    "unknown enum values": Kind(changed(new_words), "changed"),
    "bad times": Kind(changed(bad_times)),
    "another content type": Kind(another_type, "right"),
    "garbage in place of gzip": Kind(gzip_garbage),
    "half a character": Kind(bad_text),
    "500 with a body": Kind(lambda e: e.send(refusal(e.call, "InternalServerException", "at fault", 500))),
    "502 of a proxy": Kind(status(502, _HTML, "text/html")),
    "503 without a body": Kind(status(503)),
    "504 without a body": Kind(status(504)),
    "ThrottlingException": Kind(refused("ThrottlingException", "Rate exceeded")),
    "RequestLimitExceeded": Kind(refused("RequestLimitExceeded", "Request limit exceeded.", 503)),
    "SlowDown": Kind(refused("SlowDown", "Please reduce your request rate.", 503)),
    "dropped before the headers": Kind(lambda exchange: exchange.drop()),
    "dropped after the headers": Kind(dropped_after_headers),
    "403 of a proxy": Kind(status(403, _HTML, "text/html"), "refused"),
    "slow": Kind(slow, "right"),
    "a hang": Kind(hang),
    "endless pages": Kind(paged(lambda number: f"token-{number}"), "refused"),
    "repeated token": Kind(paged(lambda _: "again"), "refused"),
    "expired credentials": Kind(refused("ExpiredTokenException", _EXPIRED), "refused"),
    "access denied": Kind(refused("AccessDeniedException", "User is not authorized to perform: x:Y"), "refused"),
    "a skewed clock": Kind(refused("InvalidSignatureException", _SKEWED, 403), "refused"),
}
