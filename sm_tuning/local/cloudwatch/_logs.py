"""CloudWatch Logs of the training jobs' log group: the operations that read and write streams and events.

Rules: the botocore model of CloudWatch Logs and its documentation; the words of the errors are the service's
where they are known.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from sm_tuning._wire import TRAINING_JOBS
from sm_tuning.local._config import Identity
from sm_tuning.local.cloudwatch._events import FIRST, LAST, PAGE_EVENTS, Cursor, Event, LogStore, Position, Stream
from sm_tuning.local.cloudwatch._metrics import check_members, invalid
from sm_tuning.local.service._context import Fault

LOG_GROUP = TRAINING_JOBS

Doc = dict[str, Any]
Request = Mapping[str, Any]
_TOKEN = re.compile(r"([fb])/(-?\d{1,19})/(-?\d{1,19})")
_PAGE_STREAMS = 50
# What moto would do to its own, empty group of this name.
_NOT_DONE = (
    "CreateExportTask",
    "PutMetricFilter",
    "PutSubscriptionFilter",
    "StartLiveTail",
    "StartQuery",
)


class Group(Protocol):
    """The log group as moto lists it."""

    def exists(self) -> bool:
        """Whether it is there."""

    def remove(self) -> None:
        """Take it off the list."""


class LogsService:
    """The training jobs' log group; every other group, and what is not about events, is moto's.

    Args:
        store: the events.
        identity: for ARNs.
        group: the group itself.
    """

    def __init__(self, store: LogStore, identity: Identity, group: Group) -> None:
        self._store = store
        self._identity = identity
        self._group = group
        self._operations: Mapping[str, Callable[[Request], Doc]] = {
            "CreateLogStream": self._create_stream,
            "DeleteLogGroup": self._delete_group,
            "DeleteLogStream": self._delete_stream,
            "DescribeLogStreams": self._describe_streams,
            "FilterLogEvents": self._filter_events,
            "GetLogEvents": self._get_events,
            "PutLogEvents": self._put_events,
        }

    def handles(self, operation: str, params: Request) -> bool:
        """Whether a request is about the events of the training jobs' group."""
        if operation not in self._operations and operation not in _NOT_DONE:
            return False
        named = [params.get(member) for member in ("logGroupName", "logGroupIdentifier")]
        for member in ("logGroupNames", "logGroupIdentifiers"):
            several = params.get(member)
            named += several if isinstance(several, list) else []
        unowned = operation in self._operations and named[:2] == [None, None]
        return unowned or any(_is_ours(one) for one in named)

    def call(self, operation: str, params: Request) -> Doc:
        """Carry an operation out.

        Raises:
            Fault: the answer is an error.
        """
        if operation in _NOT_DONE:
            raise Fault("UnsupportedOperation", f"The local SageMaker does no {operation} on {LOG_GROUP}.", 501)
        check_members(operation, params)
        if not self._group.exists():
            raise Fault("ResourceNotFoundException", "The specified log group does not exist.")
        return self._operations[operation](params)

    # -- streams

    def _delete_group(self, _: Request) -> Doc:
        self._store.delete_streams("")
        self._group.remove()
        return {}

    def _create_stream(self, request: Request) -> Doc:
        if not self._store.create_stream(request["logStreamName"]):
            raise Fault("ResourceAlreadyExistsException", "The specified log stream already exists")
        return {}

    def _delete_stream(self, request: Request) -> Doc:
        if not self._store.delete_streams(request["logStreamName"], exactly=True):
            raise _no_stream()
        return {}

    def _describe_streams(self, request: Request) -> Doc:
        by_time = request.get("orderBy", "LogStreamName") == "LastEventTime"
        prefix = request.get("logStreamNamePrefix", "")
        if by_time and prefix:
            raise invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
        descending = request.get("descending", False)
        order = [by_time, descending, prefix]
        limit = request.get("limit", _PAGE_STREAMS)
        after = _read_token(request.get("nextToken"), order)
        found = self._store.streams(prefix, after=after, limit=limit + 1, by_time=by_time, descending=descending)
        page: Doc = {"logStreams": [self._described(stream) for stream in found[:limit]]}
        if len(found) > limit:
            last = found[limit - 1]
            page["nextToken"] = _token((last.last or 0, last.name), order)
        return page

    def _described(self, stream: Stream) -> Doc:
        region, account = self._identity.region, self._identity.account_id
        times = {
            "firstEventTimestamp": stream.first,
            "lastEventTimestamp": stream.last,
            "lastIngestionTime": stream.ingested,
        }
        return {
            "logStreamName": stream.name,
            "creationTime": stream.created,
            **{name: value for name, value in times.items() if value is not None},
            "uploadSequenceToken": "1",
            "arn": f"arn:aws:logs:{region}:{account}:log-group:{LOG_GROUP}:log-stream:{stream.name}",
            "storedBytes": 0,
        }

    # -- events

    def _put_events(self, request: Request) -> Doc:
        events = [(one["timestamp"], one["message"]) for one in request["logEvents"]]
        if self._store.stream(request["logStreamName"]) is None:
            raise _no_stream()
        if any(later[0] < earlier[0] for earlier, later in itertools.pairwise(events)):
            raise invalid("Log events in a single PutLogEvents request must be in chronological order.")
        self._store.put(request["logStreamName"], events)
        return {"nextSequenceToken": "1"}

    def _get_events(self, request: Request) -> Doc:
        name = request["logStreamName"]
        if self._store.stream(name) is None:
            raise _no_stream()
        given = request.get("nextToken")
        backwards, position = not request.get("startFromHead", False), None
        if given is not None:
            found = _TOKEN.fullmatch(given)
            if found is None:
                raise invalid("The specified nextToken is invalid.")
            backwards, position = (found[1] == "b", (_clipped(int(found[2])), _clipped(int(found[3]))))
        cursor = Cursor(request.get("startTime"), request.get("endTime"), position, backwards)
        page = self._store.read_stream(name, cursor, request.get("limit", PAGE_EVENTS))
        if backwards:
            page.reverse()
        before, after = _ends(page, position, backwards=backwards)
        return {
            "events": [{"timestamp": one.time, "message": one.message, "ingestionTime": one.ingested} for one in page],
            "nextBackwardToken": _place("b", before),
            "nextForwardToken": _place("f", after),
        }

    def _filter_events(self, request: Request) -> Doc:
        names, prefix = request.get("logStreamNames"), request.get("logStreamNamePrefix")
        if names is not None and prefix is not None:
            raise invalid("The parameters logStreamNames and logStreamNamePrefix cannot be specified together.")
        for name in names or ():
            if self._store.stream(name) is None:
                raise _no_stream()
        try:
            matches = matcher(request.get("filterPattern", ""))
        except PatternError as e:
            raise invalid(f"Invalid filter pattern: {e}") from e
        asked = [names, prefix, request.get("startTime"), request.get("endTime"), request.get("filterPattern")]
        backwards, position = not request.get("startFromHead", True), None
        token = _read_token(request.get("nextToken"), asked)
        if token is not None:
            backwards, position = token[0], (token[1], token[2])
        end = request.get("endTime")  # included, unlike that of GetLogEvents
        cursor = Cursor(request.get("startTime"), None if end is None else end + 1, position, backwards)
        limit = request.get("limit", PAGE_EVENTS)
        page, onward = self._store.read_group(prefix or "" if names is None else names, cursor, limit, matches)
        answer: Doc = {"events": [_filtered(one) for one in page], "searchedLogStreams": []}
        return answer if onward is None else {**answer, "nextToken": _token((backwards, *onward), asked)}


def _is_ours(group: object) -> bool:
    """Whether a name or ARN is that of the training jobs' group."""
    if not isinstance(group, str):
        return False
    arn = re.fullmatch(r"arn:[^:]+:logs:[^:]*:[^:]*:log-group:([^:]+)(:\*)?", group)
    return (group if arn is None else arn[1]) == LOG_GROUP


def _filtered(event: Event) -> Doc:
    return {
        "logStreamName": event.stream,
        "timestamp": event.time,
        "message": event.message,
        "ingestionTime": event.ingested,
        "eventId": f"{event.number:056d}",
    }


def _ends(page: list[Event], position: Position | None, *, backwards: bool) -> tuple[Position, Position]:
    """Return where reading goes on backwards and forwards from a page, which may be empty.

    At an end, the token in its direction is the one that was given: that is how a reader knows. The other one
    leads back to the event that the position stands on.
    """
    if page:
        return page[0].position, page[-1].position
    if position is None:
        return (LAST, LAST) if backwards else (FIRST, FIRST)
    time, number = position
    return (position, (time, number - 1)) if backwards else ((time, number + 1), position)


def _place(direction: str, position: Position) -> str:
    return f"{direction}/{position[0]}/{position[1]}"


def _clipped(number: int) -> int:
    return max(-1, min(number, LAST[0]))


def _token(place: tuple[Any, ...], asked: list[Any]) -> str:
    raw = json.dumps([_fingerprint(asked), *place]).encode()
    return base64.urlsafe_b64encode(raw).decode()


def _read_token(token: str | None, asked: list[Any]) -> Any:
    """Return what a token says, as a tuple; None when there is none."""
    if token is None:
        return None
    try:
        fingerprint, *place = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError, binascii.Error) as e:
        raise invalid("The specified nextToken is invalid.") from e
    if fingerprint != _fingerprint(asked):
        raise invalid("The specified nextToken is invalid: it was given for a request with other parameters.")
    return tuple(place)


def _fingerprint(asked: list[Any]) -> str:
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def _no_stream() -> Fault:
    return Fault("ResourceNotFoundException", "The specified log stream does not exist.")


_TERM = re.compile(
    r"""\s* (?P<sign>[?-]?) (?: "(?P<phrase>(?:[^"\\]|\\.)*)" | %(?P<regex>[^%]+)% | (?P<word>[^\s"%]+) ) (?=\s|$)""",
    re.VERBOSE,
)
_WORD = re.compile(r"\w+", re.ASCII)
_REGEX = re.compile(r"[\w:#=@/;,\-^$?\[\]{}|\\*+. ]+", re.ASCII)
_MOST_REGEXES = 2


class PatternError(ValueError):
    """A filter pattern that cannot be read."""


def matcher(pattern: str) -> Callable[[str], bool] | None:
    """Return the test that a filter pattern stands for; None lets every message through.

    All terms must be in the message (upper and lower case count), none of the ``-`` ones, and one of the ``?``
    ones if there are no others: beside other terms they have no effect.

    Raises:
        PatternError: it is none of the forms above.
    """
    tests: dict[str, list[Callable[[str], bool]]] = {"": [], "-": [], "?": []}
    text = pattern.strip()
    if text[:1] in ("{", "["):
        raise PatternError("The local SageMaker takes filter patterns for lines of text, not for JSON or columns.")
    if text.count("%") > 2 * _MOST_REGEXES:
        raise PatternError(f"A filter pattern takes no more than {_MOST_REGEXES} regular expressions.")
    at = 0
    while at < len(text):
        found = _TERM.match(text, at)
        if found is None:
            raise PatternError(f"Invalid character(s) in term '{text[at:].strip()}'")
        tests[found["sign"]].append(_test(found))
        at = found.end()
    wanted, unwanted, optional = tests[""], tests["-"], tests["?"]
    if wanted or unwanted:
        return lambda message: all(one(message) for one in wanted) and not any(one(message) for one in unwanted)
    return (lambda message: any(one(message) for one in optional)) if optional else None


def _test(found: re.Match[str]) -> Callable[[str], bool]:
    if found["regex"] is not None:
        return _regex(found["regex"])
    term = found["word"] if found["phrase"] is None else re.sub(r"\\(.)", r"\1", found["phrase"])
    if found["word"] is not None and not _WORD.fullmatch(term):
        raise PatternError(f"Invalid character(s) in term '{term}'")
    return lambda message: term in message


def _regex(text: str) -> Callable[[str], bool]:
    if not _REGEX.fullmatch(text):
        raise PatternError(f"Invalid character(s) in term '%{text}%'")
    try:
        compiled = re.compile(text)
    except re.error as e:
        raise PatternError(f"Invalid regular expression '%{text}%': {e}") from e
    return lambda message: compiled.search(message) is not None
