"""CloudWatch Logs of the training jobs' log group: the operations that read and write streams and events.

Rules: botocore's model of CloudWatch Logs and its documentation. Where the service's error texts are known, they are
used.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from json.encoder import encode_basestring_ascii
from typing import Any, Protocol

from sm_tuning._wire import TRAINING_JOBS
from sm_tuning.local._config import Identity
from sm_tuning.local.cloudwatch._events import FIRST, LAST, PAGE_EVENTS, Cursor, Event, LogStore, Position, Stream
from sm_tuning.local.service import Fault, JsonText

LOG_GROUP = TRAINING_JOBS

Doc = dict[str, Any]
Request = Mapping[str, Any]
_TOKEN = re.compile(r"([fb])/(-?\d{1,19})/(-?\d{1,19})")
_PAGE_STREAMS = 50


class Events(Protocol):
    """The events of a log group."""

    def stream(self, name: str) -> Any:
        """Return a stream by its name; None if it does not exist."""

    def read_group(
        self, streams: Sequence[str] | str, cursor: Cursor, limit: int, matches: Callable[[str], bool] | None = None
    ) -> tuple[list[Event], Position | None]:
        """Return a page of several streams, and the position of the next page if there may be one."""


class LogGroups(Protocol):
    """The log groups in moto."""

    def exists(self) -> bool:
        """Return whether the training jobs' group exists."""

    def remove(self) -> None:
        """Delete the training jobs' group."""

    def other(self, name: str) -> Events | None:
        """Return another group; None if it does not exist."""


class LogsService:
    """The operations on streams and events of the training jobs' log group, and FilterLogEvents; moto answers others.

    Args:
        store: the events.
        identity: account and region.
        groups: the groups in moto.
    """

    def __init__(self, store: LogStore, identity: Identity, groups: LogGroups) -> None:
        self._store = store
        self._identity = identity
        self._groups = groups
        self._operations: Mapping[str, Callable[[Request], Doc | JsonText]] = {
            "CreateLogStream": self._create_stream,
            "DeleteLogGroup": self._delete_group,
            "DeleteLogStream": self._delete_stream,
            "DescribeLogStreams": self._describe_streams,
            "FilterLogEvents": self._filter_events,
            "GetLogEvents": self._get_events,
            "PutLogEvents": self._put_events,
        }

    def handles(self, operation: str, params: Request) -> bool:
        """Return whether this service answers a request, and not moto."""
        if operation == "FilterLogEvents":
            return True
        return operation in self._operations and _group_of(params) in (LOG_GROUP, None)  # None is refused by ``call``

    def call(self, operation: str, params: Request) -> Doc | JsonText:
        """Return the response of an operation.

        Raises:
            Fault: the response is an error.
        """
        _check_members(operation, params)
        if _group_of(params) == LOG_GROUP and not self._groups.exists():
            raise Fault("ResourceNotFoundException", "The specified log group does not exist.")
        return self._operations[operation](params)

    # -- streams

    def _delete_group(self, _: Request) -> Doc:
        self._store.delete_streams("")
        self._groups.remove()
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
        events = [(event["timestamp"], event["message"]) for event in request["logEvents"]]
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
            token = _TOKEN.fullmatch(given)
            if token is None:
                raise invalid("The specified nextToken is invalid.")
            time, number = (max(-1, min(int(text), LAST[0])) for text in token.groups()[1:])
            backwards, position = token[1] == "b", (time, number)
        cursor = Cursor(request.get("startTime"), request.get("endTime"), position, backwards)
        page = self._store.read_stream(name, cursor, request.get("limit", PAGE_EVENTS))
        if backwards:
            page.reverse()
        if page:
            before, after = page[0].position, page[-1].position
        elif position is None:
            before = after = LAST if backwards else FIRST
        else:
            # At an end, the token in its direction equals the given one, by which clients recognise the end. The other
            # token leads back to the event at the position.
            time, number = position
            before, after = (position, (time, number - 1)) if backwards else ((time, number + 1), position)
        return {
            "events": [
                {"timestamp": event.time, "message": event.message, "ingestionTime": event.ingested} for event in page
            ],
            "nextBackwardToken": f"b/{before[0]}/{before[1]}",
            "nextForwardToken": f"f/{after[0]}/{after[1]}",
        }

    def _filter_events(self, request: Request) -> JsonText:
        group = str(_group_of(request))
        store: Events | None = self._store if group == LOG_GROUP else self._groups.other(group)
        if store is None:
            raise Fault("ResourceNotFoundException", "The specified log group does not exist.")
        names, prefix = request.get("logStreamNames"), request.get("logStreamNamePrefix")
        if names is not None and prefix is not None:
            raise invalid("The parameters logStreamNames and logStreamNamePrefix cannot be specified together.")
        for name in names or ():
            if store.stream(name) is None:
                raise _no_stream()
        try:
            matches = matcher(request.get("filterPattern", ""))
        except PatternError as e:
            raise invalid(f"Invalid filter pattern: {e}") from e
        parameters = [names, prefix, request.get("startTime"), request.get("endTime"), request.get("filterPattern")]
        backwards, position = not request.get("startFromHead", True), None
        token = _read_token(request.get("nextToken"), parameters)
        if token is not None:
            backwards, position = token[0], (token[1], token[2])
        end = request.get("endTime")  # inclusive, unlike that of GetLogEvents
        cursor = Cursor(request.get("startTime"), None if end is None else end + 1, position, backwards)
        limit = request.get("limit", PAGE_EVENTS)
        page, onward = store.read_group(prefix or "" if names is None else names, cursor, limit, matches)
        quoted = {name: encode_basestring_ascii(name) for name in {event.stream for event in page}}
        # As text: a dict for each of 10,000 events, and their JSON, take twice as long.
        events = ",".join(
            [
                f'{{"logStreamName":{quoted[stream]},"timestamp":{time},"message":{encode_basestring_ascii(message)},'
                f'"ingestionTime":{ingested},"eventId":"{number:056d}"}}'
                for number, stream, time, ingested, message in page
            ]
        )
        onwards = "" if onward is None else f',"nextToken":"{_token((backwards, *onward), parameters)}"'
        return JsonText(f'{{"events":[{events}],"searchedLogStreams":[]{onwards}}}')


def _group_of(params: Request) -> str | None:
    """Return the name of the group that a request names, perhaps by its ARN; None if it names none."""
    given = params.get("logGroupName", params.get("logGroupIdentifier"))
    if given is None:
        return None
    arn = re.fullmatch(r"arn:[^:]+:logs:[^:]*:[^:]*:log-group:([^:]+)(:\*)?", str(given))
    return str(given) if arn is None else arn[1]


def _token(place: tuple[Any, ...], parameters: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps([_fingerprint(parameters), *place]).encode()).decode()


def _read_token(token: str | None, parameters: list[Any]) -> Any:
    """Return the place in a token as a tuple; None without a token."""
    if token is None:
        return None
    try:
        fingerprint, *place = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError, binascii.Error) as e:
        raise invalid("The specified nextToken is invalid.") from e
    if fingerprint != _fingerprint(parameters):
        raise invalid("The specified nextToken is invalid: it was given for a request with other parameters.")
    return tuple(place)


def _fingerprint(parameters: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parameters).encode()).hexdigest()[:16]


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
    """A filter pattern is invalid."""


def matcher(pattern: str) -> Callable[[str], bool] | None:
    """Return the test of a filter pattern; None if all messages pass.

    A message must contain all terms (case matters) and none of the ``-`` terms. Of ``?`` terms it must contain one, but
    they have no effect beside other terms.

    Raises:
        PatternError: the pattern has another form.
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
        tests[found["sign"]].append(_term_test(found))
        at = found.end()
    required, excluded, optional = tests[""], tests["-"], tests["?"]
    if required or excluded:
        return lambda message: all(test(message) for test in required) and not any(test(message) for test in excluded)
    return (lambda message: any(test(message) for test in optional)) if optional else None


def _term_test(found: re.Match[str]) -> Callable[[str], bool]:
    regex = found["regex"]
    if regex is not None:
        if not _REGEX.fullmatch(regex):
            raise PatternError(f"Invalid character(s) in term '%{regex}%'")
        try:
            compiled = re.compile(regex)
        except re.error as e:
            raise PatternError(f"Invalid regular expression '%{regex}%': {e}") from e
        return lambda message: compiled.search(message) is not None
    term = found["word"] if found["phrase"] is None else re.sub(r"\\(.)", r"\1", found["phrase"])
    if found["word"] is not None and not _WORD.fullmatch(term):
        raise PatternError(f"Invalid character(s) in term '{term}'")
    return lambda message: term in message


_LARGEST_NUMBERS = {"integer": 2**31 - 1, "long": 2**53}
_TYPES: dict[str, Any] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "list": list,
    "map": dict,
    "structure": dict,
}
_NOT_BOTH = "logGroupIdentifier", "logGroupName"


def invalid(message: str) -> Fault:
    """Return an InvalidParameterException."""
    return Fault("InvalidParameterException", message)


def _check_members(operation: str, params: Mapping[str, Any]) -> None:
    """Check types, lengths, ranges, enums and patterns of a request.

    Raises:
        Fault: the request does not match the model.
    """
    shape = _model().operation_model(operation).input_shape
    problems = list(_problems(shape, params, ""))
    if problems:
        noun = "error" if len(problems) == 1 else "errors"
        raise invalid(f"{len(problems)} validation {noun} detected: {'; '.join(problems)}")
    if set(_NOT_BOTH) <= shape.members.keys() and len(params.keys() & set(_NOT_BOTH)) != 1:
        raise invalid("Either logGroupName or logGroupIdentifier must be specified, and not both.")


@functools.cache
def _model() -> Any:
    from botocore.loaders import Loader  # noqa: PLC0415  (kept off the import path)
    from botocore.model import ServiceModel  # noqa: PLC0415

    return ServiceModel(Loader().load_service_model("logs", "service-2"), "logs")


def _problems(shape: Any, value: Any, path: str) -> Iterator[str]:
    """Yield a sentence for each violation; unknown members are ignored, as on the service."""
    kind: Any = _TYPES.get(shape.type_name, object)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        yield _sentence(value, path, f"Member must be a {shape.type_name}")
    elif shape.type_name == "structure":
        for name in shape.required_members:
            if value.get(name) is None:
                yield _sentence("null", f"{path}{name}", "Member must not be null")
        for name in [name for name in value if name in shape.members]:
            if value[name] is not None or name not in shape.required_members:
                yield from _problems(shape.members[name], value[name], f"{path}{name}")
    else:
        rules = shape.metadata
        size = value if isinstance(value, int) else len(value)
        noun = "value" if isinstance(value, int) else "length"
        low, high = rules.get("min"), rules.get("max", _LARGEST_NUMBERS.get(shape.type_name))
        if low is not None and size < low:
            yield _sentence(value, path, f"Member must have {noun} greater than or equal to {low}")
        if high is not None and size > high:
            yield _sentence(value, path, f"Member must have {noun} less than or equal to {high}")
        if "enum" in rules and value not in rules["enum"]:
            yield _sentence(value, path, f"Member must satisfy enum value set: [{', '.join(rules['enum'])}]")
        if "pattern" in rules and not re.fullmatch(rules["pattern"], value):
            yield _sentence(value, path, f"Member must satisfy regular expression pattern: {rules['pattern']}")
        if shape.type_name == "list":
            for number, item in enumerate(value, start=1):
                yield from _problems(shape.member, item, f"{path}.{number}.member.")


def _sentence(value: Any, path: str, rule: str) -> str:
    text = str(value)
    shown = text if len(text) <= 200 else f"{text[:200]}..."
    return f"Value '{shown}' at '{path.rstrip('.')}' failed to satisfy constraint: {rule}"
