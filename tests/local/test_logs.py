"""CloudWatch Logs of the training jobs' group, over the wire and in the store."""

import itertools
import time

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from local_server import LocalServer
from servers import running_server, start_server

from sm_tuning import LocalServerError
from sm_tuning.local import start, stop
from sm_tuning.local._config import Identity, resolve_state_dir
from sm_tuning.local._moto import AwsLocal
from sm_tuning.local.cloudwatch import LOG_GROUP, Cursor, Database, LogStore, PatternError, matcher

T0 = 1_700_000_000_000
IDENTITY = Identity("us-east-1", "123456789012", "arn:aws:iam::123456789012:role/R", "bucket")


def lines(*numbers):
    return [(T0 + number, f"line {number}") for number in numbers]


@pytest.fixture
def log_store(tmp_path):
    database = Database(tmp_path / "cloudwatch.sqlite")
    yield LogStore(database, lambda: T0 / 1000)
    database.close()


@pytest.fixture(scope="module")
def local_server(processes, tmp_path_factory):
    """A server without the streams of other tests' jobs."""
    with running_server(tmp_path_factory.mktemp("logs")) as info:
        yield LocalServer(info)


@pytest.fixture(scope="module")
def logs(local_server):
    """The client, with streams a-1/… (0, 2, 4, 6, 8), a-2/… (1, 3, 5, 7, 9), b-1/… (five at one moment), empty."""
    client = local_server.logs
    client.create_log_group(logGroupName=LOG_GROUP)
    for name, events in (
        ("a-1/algo-1-1", lines(0, 2, 4, 6, 8)),
        ("a-2/algo-1-1", lines(1, 3, 5, 7, 9)),
        ("b-1/algo-1-1", [(T0 + 100, f"same {i}") for i in range(5)]),
        ("empty/algo-1-1", []),
    ):
        client.create_log_stream(logGroupName=LOG_GROUP, logStreamName=name)
        if events:
            client.put_log_events(
                logGroupName=LOG_GROUP,
                logStreamName=name,
                logEvents=[{"timestamp": when, "message": text} for when, text in events],
            )
    yield client
    client.delete_log_group(logGroupName=LOG_GROUP)


def refused(call, **params):
    with pytest.raises(ClientError) as error:
        call(logGroupName=LOG_GROUP, **params)
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


def filtered(logs, **params):
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=LOG_GROUP, **params)
    return [event["message"] for page in pages for event in page["events"]]


def numbers(logs, **params):
    return [int(message.split()[1]) for message in filtered(logs, **params) if message.startswith("line")]


def test_events_of_all_streams_are_interleaved_by_time(logs):
    assert filtered(logs) == [*(f"line {i}" for i in range(10)), *(f"same {i}" for i in range(5))]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 10_000])
def test_pages_of_any_size_hold_every_event_once(logs, limit):
    found = []
    token = {}
    while True:
        page = logs.filter_log_events(logGroupName=LOG_GROUP, limit=limit, **token)
        assert len(page["events"]) <= limit
        found += [event["message"] for event in page["events"]]
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert found == filtered(logs)


def test_streams_are_chosen_by_prefix_or_by_name(logs):
    assert numbers(logs, logStreamNamePrefix="a-") == list(range(10))
    assert numbers(logs, logStreamNamePrefix="a-1/") == [0, 2, 4, 6, 8]
    assert numbers(logs, logStreamNames=["a-2/algo-1-1"]) == [1, 3, 5, 7, 9]
    assert numbers(logs, logStreamNames=["a-2/algo-1-1", "empty/algo-1-1"]) == [1, 3, 5, 7, 9]
    assert filtered(logs, logStreamNamePrefix="nobody") == []


def test_start_and_end_are_both_included_by_the_filter(logs):
    assert numbers(logs, startTime=T0 + 3, endTime=T0 + 6) == [3, 4, 5, 6]
    assert numbers(logs, logStreamNamePrefix="a-1", startTime=T0 + 3, endTime=T0 + 6) == [4, 6]
    assert filtered(logs, startTime=T0 + 101) == []


def test_the_newest_come_first_when_asked(logs):
    assert numbers(logs, startFromHead=False, startTime=T0, limit=3) == list(range(9, -1, -1))


def test_an_event_says_its_stream_time_and_id(logs):
    [event] = logs.filter_log_events(logGroupName=LOG_GROUP, startTime=T0 + 3, endTime=T0 + 3)["events"]
    assert event["logStreamName"] == "a-2/algo-1-1"
    assert event["timestamp"] == T0 + 3
    assert abs(event["ingestionTime"] / 1000 - time.time()) < 60
    assert len(event["eventId"]) == 56


def test_prefix_and_names_together_are_refused(logs):
    code, _ = refused(logs.filter_log_events, logStreamNames=["a-1/algo-1-1"], logStreamNamePrefix="a")
    assert code == "InvalidParameterException"


def test_a_token_is_good_for_its_own_request_only(logs):
    token = logs.filter_log_events(logGroupName=LOG_GROUP, limit=1)["nextToken"]
    for params in ({"nextToken": "x"}, {"nextToken": token, "startTime": 1}, {"nextToken": token[:-4]}):
        code, message = refused(logs.filter_log_events, **params)
        assert code == "InvalidParameterException"
        assert message.startswith("The specified nextToken is invalid")


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"limit": 10_001}, "Value '10001' at 'limit' failed to satisfy constraint: Member must have value less than"),
        ({"logStreamNamePrefix": "a:b"}, "Member must satisfy regular expression pattern: [^:*]*"),
        ({"logStreamNames": ["a"] * 101}, "Member must have length less than or equal to 100"),
        ({"filterPattern": "x" * 1025}, "Member must have length less than or equal to 1024"),
        ({"filterPattern": "a.b"}, "Invalid filter pattern: Invalid character(s) in term 'a.b'"),
        ({"logGroupIdentifier": LOG_GROUP}, "Either logGroupName or logGroupIdentifier"),
    ],
)
def test_what_the_model_forbids_is_refused(logs, params, said):
    code, message = refused(logs.filter_log_events, **params)
    assert code == "InvalidParameterException"
    assert said in message


def test_reading_forward_ends_with_the_token_that_was_given(logs):
    seen, token = [], {}
    for _ in range(10):
        page = logs.get_log_events(
            logGroupName=LOG_GROUP, logStreamName="a-1/algo-1-1", startFromHead=True, limit=2, **token
        )
        seen.append([event["message"] for event in page["events"]])
        if page["nextForwardToken"] == token.get("nextToken"):
            break
        token = {"nextToken": page["nextForwardToken"]}
    assert seen == [["line 0", "line 2"], ["line 4", "line 6"], ["line 8"], []]


def test_reading_goes_back_from_the_end_and_forward_again(logs):
    def page(token=None):
        more = {} if token is None else {"nextToken": token}
        got = logs.get_log_events(logGroupName=LOG_GROUP, logStreamName="a-1/algo-1-1", limit=2, **more)
        return [event["message"] for event in got["events"]], got["nextBackwardToken"], got["nextForwardToken"]

    last, back, _ = page()
    middle, back, forth = page(back)
    first, front, _ = page(back)
    none, still, forth_again = page(front)
    assert (last, middle, first, none) == (["line 6", "line 8"], ["line 2", "line 4"], ["line 0"], [])
    assert still == front
    assert page(forth)[0] == ["line 6", "line 8"]
    assert page(forth_again)[0] == ["line 0", "line 2"]


def test_the_token_at_the_end_finds_what_is_written_later(local_server, logs):
    name = "later/algo-1-1"
    logs.create_log_stream(logGroupName=LOG_GROUP, logStreamName=name)
    page = logs.get_log_events(logGroupName=LOG_GROUP, logStreamName=name, startFromHead=True)
    assert page["events"] == []
    for number in range(3):
        logs.put_log_events(
            logGroupName=LOG_GROUP, logStreamName=name, logEvents=[{"timestamp": T0 + 500, "message": str(number)}]
        )
        page = logs.get_log_events(logGroupName=LOG_GROUP, logStreamName=name, nextToken=page["nextForwardToken"])
        assert [event["message"] for event in page["events"]] == [str(number)]
    back = logs.get_log_events(logGroupName=LOG_GROUP, logStreamName=name, nextToken=page["nextBackwardToken"])
    assert [event["message"] for event in back["events"]] == ["0", "1"]
    logs.delete_log_stream(logGroupName=LOG_GROUP, logStreamName=name)
    assert refused(logs.get_log_events, logStreamName=name)[0] == "ResourceNotFoundException"


def test_the_end_is_left_out_when_one_stream_is_read(logs):
    page = logs.get_log_events(
        logGroupName=LOG_GROUP, logStreamName="a-1/algo-1-1", startTime=T0 + 2, endTime=T0 + 6, startFromHead=True
    )
    assert [event["message"] for event in page["events"]] == ["line 2", "line 4"]


def test_what_is_not_there_is_said_in_the_words_of_the_service(logs):
    code, message = refused(logs.get_log_events, logStreamName="nobody")
    assert (code, message) == ("ResourceNotFoundException", "The specified log stream does not exist.")
    code, message = refused(logs.filter_log_events, logStreamNames=["nobody"])
    assert (code, message) == ("ResourceNotFoundException", "The specified log stream does not exist.")
    with pytest.raises(ClientError, match="The specified log group does not exist"):
        logs.filter_log_events(logGroupName="/aws/sagemaker/Other")


def test_streams_are_listed_by_name_and_by_their_last_event(logs):
    pages = logs.get_paginator("describe_log_streams")

    def names(**params):
        found = pages.paginate(logGroupName=LOG_GROUP, **params).build_full_result()
        return [stream["logStreamName"].partition("/")[0] for stream in found["logStreams"]]

    for size in (1, 2, 50):
        config = {"PaginationConfig": {"PageSize": size}}
        assert names(**config) == ["a-1", "a-2", "b-1", "empty"]
        assert names(descending=True, **config) == ["empty", "b-1", "a-2", "a-1"]
        assert names(orderBy="LastEventTime", **config) == ["empty", "a-1", "a-2", "b-1"]
        assert names(orderBy="LastEventTime", descending=True, **config) == ["b-1", "a-2", "a-1", "empty"]
        assert names(logStreamNamePrefix="a-", **config) == ["a-1", "a-2"]
    code, message = refused(logs.describe_log_streams, orderBy="LastEventTime", logStreamNamePrefix="a")
    assert (code, message) == (
        "InvalidParameterException",
        "Cannot order by LastEventTime with a logStreamNamePrefix.",
    )


def test_there_is_no_token_when_all_streams_fit(logs):
    page = logs.describe_log_streams(logGroupName=LOG_GROUP, logStreamNamePrefix="a-", limit=2)
    assert "nextToken" not in page
    assert page["logStreams"][0]["lastEventTimestamp"] == T0 + 8
    assert page["logStreams"][0]["arn"].endswith(f":log-group:{LOG_GROUP}:log-stream:a-1/algo-1-1")


def test_the_group_is_listed_and_known_by_its_arn(logs):
    found = logs.describe_log_groups(logGroupNamePrefix="/aws/sagemaker/")["logGroups"]
    assert [group["logGroupName"] for group in found] == [LOG_GROUP]
    events = logs.filter_log_events(logGroupIdentifier=found[0]["arn"].removesuffix(":*"), limit=1)["events"]
    assert [event["message"] for event in events] == ["line 0"]


def test_what_would_be_done_to_an_empty_copy_is_refused(logs):
    with pytest.raises(ClientError, match="does not support logs:StartQuery: use FilterLogEvents"):
        logs.start_query(logGroupName=LOG_GROUP, startTime=0, endTime=1, queryString="fields @message")
    with pytest.raises(ClientError, match="does not support logs:PutMetricFilter"):
        logs.put_metric_filter(
            logGroupName=LOG_GROUP,
            filterName="f",
            filterPattern="x",
            metricTransformations=[{"metricName": "m", "metricNamespace": "n", "metricValue": "1"}],
        )


def test_other_groups_are_as_they_were(logs):
    logs.create_log_group(logGroupName="mine")
    logs.create_log_stream(logGroupName="mine", logStreamName="s")
    logs.put_log_events(
        logGroupName="mine",
        logStreamName="s",
        logEvents=[{"timestamp": int(time.time() * 1000), "message": "hello"}],
    )
    assert [e["message"] for e in logs.filter_log_events(logGroupName="mine")["events"]] == ["hello"]
    logs.delete_log_group(logGroupName="mine")


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        ("", [0, 1, 2, 3, 4]),
        ("ERROR", [0, 1, 2]),
        ("error", []),
        ("ERROR ARGUMENTS", [1, 2]),
        ('"ERROR 41"', [1]),
        ('"say \\"hi\\""', [4]),
        ("?WARN ?MISSING", [1, 3]),
        ("ERROR -ARGUMENTS", [0]),
        ("-ERROR", [3, 4]),
        ("?MISSING ?WARN ERROR", [0, 1, 2]),
        ("%ERROR 4[12]%", [1, 2]),
        ("%^WARN|hi%", [3, 4]),
        ("ERROR -%42.%", [0, 1]),
        ("  ERROR   400  ", [0]),
    ],
)
def test_filter_patterns_keep_what_the_user_guide_says(pattern, kept):
    messages = [
        "[ERROR 400] BAD REQUEST",
        "[ERROR 419] MISSING ARGUMENTS",
        "[ERROR 420] INVALID ARGUMENTS",
        "WARN slow",
        'say "hi"',
    ]
    test = matcher(pattern)
    assert [i for i, message in enumerate(messages) if test is None or test(message)] == kept


@pytest.mark.parametrize(
    "pattern",
    ["a.b", '"open', "%open", "%a(b)%", "%caf\u00e9%", "%[%", "{ $.x = 1 }", "[a, b]", '""x', "- a", "%a% %b% %c%"],
)
def test_filter_patterns_that_cannot_be_read_are_refused(pattern):
    with pytest.raises(PatternError):
        matcher(pattern)


@given(st.text(max_size=40))
def test_any_text_is_a_pattern_or_is_refused(text):
    try:
        test = matcher(text)
    except PatternError:
        return
    assert test is None or test("a line of text") in (True, False)


@given(
    batches=st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.lists(st.integers(0, 20), max_size=5)), min_size=1, max_size=8
    ),
    limit=st.integers(1, 7),
    start=st.none() | st.integers(0, 20),
    end=st.none() | st.integers(0, 22),
    backwards=st.booleans(),
    chosen=st.sampled_from(["", "a", ("a",), ("b", "c"), ("a", "b", "c"), ("nobody",)]),
)
def test_whatever_is_put_is_read_once_in_order_page_by_page(
    tmp_path_factory, batches, limit, start, end, backwards, chosen
):
    database = Database(tmp_path_factory.mktemp("logs") / "x.sqlite")
    store = LogStore(database, lambda: 0.0)
    count = itertools.count()
    put = []
    for stream, times in batches:
        events = [(when, f"{next(count)}") for when in times]
        store.put(stream, events)
        put += [(when, int(text), stream) for when, text in events]
    found, position = [], None
    for _ in range(100):
        cursor = Cursor(start, end, position, backwards)
        page, position = store.read_group(chosen, cursor, limit)
        assert len(page) <= limit
        found += [(event.time, int(event.message), event.stream) for event in page]
        if position is None:
            break
    low, high = start if start is not None else -1, end if end is not None else 99
    wanted = [
        one
        for one in sorted(put, reverse=backwards)
        if low <= one[0] < high and (one[2].startswith(chosen) if isinstance(chosen, str) else one[2] in chosen)
    ]
    assert found == wanted
    database.close()


def test_a_page_ends_at_a_megabyte_but_never_before_its_first_event(log_store):
    log_store.put("s", [(i, "x" * 300_000) for i in range(5)] + [(9, "y" * 2_000_000)])
    sizes, position = [], None
    while True:
        page, position = log_store.read_group("s", Cursor(position=position))
        sizes.append(len(page))
        if position is None:
            break
    assert sizes == [3, 2, 1]
    assert len(log_store.read_stream("s", Cursor())) == 3


def test_a_search_that_finds_little_gives_short_pages_and_goes_on(log_store):
    log_store.put("a", [(i, "noise") for i in range(150_000)])
    log_store.put("b", [(150_000, "needle")])
    first, position = log_store.read_group("", Cursor(), matches=lambda text: text == "needle")
    assert (first, position is None) == ([], False)
    second, position = log_store.read_group("", Cursor(position=position), matches=lambda text: text == "needle")
    assert ([event.message for event in second], position) == (["needle"], None)


def test_half_characters_are_kept_as_question_marks(log_store):
    log_store.put("s", [(1, "a\ud800b")])
    assert [event.message for event in log_store.read_stream("s", Cursor())] == ["a?b"]


def test_forgetting_a_job_leaves_the_others_whose_names_begin_alike(tmp_path):
    aws = AwsLocal(IDENTITY, tmp_path / "s3")
    for job in ("job-1", "job-10"):
        aws.put_log_events(f"{job}/algo-1-1", [(1, job)])
        aws.put_metric_data({"TrainingJobName": job}, [("loss", 1.0, 0.5)])
        aws.put_metric_data({"Host": f"{job}/algo-1"}, [("CPUUtilization", 1.0, 50.0)])
    aws.forget_telemetry("job-1")
    assert [stream.name for stream in aws.log_store.streams()] == ["job-10/algo-1-1"]
    assert [metric.dimensions for metric in aws.metric_store.metrics()] == [
        {"Host": "job-10/algo-1"},
        {"TrainingJobName": "job-10"},
    ]
    aws.close()


def test_logs_and_the_group_are_there_after_a_restart(state_dir):
    aws = AwsLocal(IDENTITY, resolve_state_dir(state_dir).s3)
    aws.put_log_events("job/algo-1-1", lines(1, 2))
    aws.put_metric_data({"TrainingJobName": "job"}, [("loss", T0 / 1000, 0.5)])
    aws.close()
    for _ in range(2):
        server = LocalServer(start_server(state_dir))
        assert filtered(server.logs) == ["line 1", "line 2"]
        metrics = server.client("cloudwatch").list_metrics(Namespace="/aws/sagemaker/TrainingJobs")["Metrics"]
        assert [metric["MetricName"] for metric in metrics] == ["loss"]
        stop(state_dir)  # in good order, unlike stop_server


def test_logs_that_cannot_be_read_are_a_clear_error_that_names_the_file(state_dir):
    path = state_dir / "cloudwatch.sqlite"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database at all, but long enough" * 200)
    with pytest.raises(LocalServerError, match=r"cloudwatch\.sqlite cannot be read"):
        start(state_dir)
    path.unlink()
    assert start(state_dir)


@pytest.fixture(scope="module")
def other(local_server):
    """A group of the user's own, with ten lines in stream a/1 and three of JSON in stream b/1."""
    logs, now = local_server.logs, int(time.time() * 1000)
    logs.create_log_group(logGroupName="mine")
    for stream, messages in (
        ("a/1", [f"line {number} error={number % 3}" for number in range(10)]),
        ("b/1", [f'{{"level": "ERROR", "n": {number}}}' for number in range(3)]),
    ):
        logs.create_log_stream(logGroupName="mine", logStreamName=stream)
        events = [{"timestamp": now + number, "message": message} for number, message in enumerate(messages)]
        logs.put_log_events(logGroupName="mine", logStreamName=stream, logEvents=events)

    def numbers(**asked):
        pages = logs.get_paginator("filter_log_events").paginate(**{"logGroupName": "mine", **asked})
        return [int(event["message"].split()[1]) for page in pages for event in page["events"]]

    numbers.now, numbers.logs = now, logs
    return numbers


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("error", range(10)),
        ('"line 3"', [3]),
        ('line -"line 3"', [0, 1, 2, 4, 5, 6, 7, 8, 9]),
        ('?"line 3" ?"line 4"', [3, 4]),
        ("%line [34]%", [3, 4]),
        ("Line", []),
    ],
)
def test_patterns_hold_in_every_group(other, pattern, expected):
    assert other(filterPattern=pattern, PaginationConfig={"PageSize": 2}) == list(expected)


def test_other_groups_are_filtered_by_stream_and_time(other):
    assert other(logStreamNamePrefix="a") == other(logStreamNames=["a/1"]) == list(range(10))
    assert other(logStreamNames=["a/1"], startTime=other.now + 3, endTime=other.now + 5) == [3, 4, 5]
    arn = "arn:aws:logs:us-east-1:123456789012:log-group:mine"
    found = other.logs.filter_log_events(logGroupIdentifier=arn, logStreamNamePrefix="b")["events"]
    assert [event["logStreamName"] for event in found] == ["b/1"] * 3


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"filterPattern": '{ $.level = "ERROR" }'}, "not for JSON or columns"),
        ({"logStreamNames": ["none"]}, "log stream does not exist"),
        ({"logGroupName": "none"}, "log group does not exist"),
        ({"logStreamNames": ["a/1"], "logStreamNamePrefix": "a"}, "cannot be specified together"),
    ],
)
def test_what_cannot_be_filtered_is_refused_in_every_group(other, asked, problem):
    with pytest.raises(ClientError, match=problem):
        other(**asked)
