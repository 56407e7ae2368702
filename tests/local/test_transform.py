"""Batch transform: the pure parts, and jobs on a running server."""

from __future__ import annotations

import gzip
import itertools
import json

import numpy as np
import pytest
from _api import running_api
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from later import Later
from servers import kill_server, start_server, wait_for
from test_endpoints import IN_MODEL, ROWS, SKLEARN, XGBOOST, Endpoints, booster, csv_of, raw

from sm_tuning.executor import count_cpus
from sm_tuning.local.transform._join import CSV, JSONLINES, JoinError, Processing
from sm_tuning.local.transform._paths import Path, PathError
from sm_tuning.local.transform._split import TooLargeError, assemble, batches, body_of, records_of

xgb = Later("xgboost")
LINES = st.lists(st.binary(min_size=1, max_size=12).filter(lambda line: not set(line) & set(b"\r\n")), max_size=20)


@given(LINES, st.integers(12, 60), st.booleans(), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
def test_batches_hold_the_records_in_order_and_within_the_limit(lines, limit, several, end, last):
    data = end.join(lines) + (end if last else b"")
    assert records_of(data, by_line=True) == lines
    found = list(batches(lines, several=several, limit=limit))
    assert [line for batch in found for line in batch] == lines
    assert all(len(body_of(batch)) <= limit for batch in found)
    assert several or all(len(batch) == 1 for batch in found)
    for first, second in itertools.pairwise(found):
        assert not several or len(body_of([*first, second[0]])) > limit  # no request is smaller than it must be


@given(LINES, st.integers(12, 60), st.integers(12, 60))
def test_output_does_not_depend_on_the_size_of_batches(lines, one, other):
    def transformed(limit):
        answers = [
            b"".join(b"%d\n" % len(line) for line in body_of(batch).split(b"\n"))
            for batch in batches(lines, several=True, limit=limit)
        ]
        return assemble(answers, by_line=True)

    assert transformed(one) == transformed(other)
    assert transformed(one).count(b"\n") == len(lines)


def test_a_record_larger_than_a_request_is_an_error():
    with pytest.raises(TooLargeError, match="a record of 5 bytes exceeds"):
        list(batches([b"12345"], several=True, limit=4))
    assert list(batches([b"12345"], several=True, limit=None)) == [[b"12345"]]


@pytest.mark.parametrize(
    ("parts", "by_line", "expected"),
    [([b"1\n2", b"3\n\n"], True, b"1\n2\n3\n"), ([b"1", b"2"], False, b"12"), ([], True, b"")],
)
def test_answers_are_assembled(parts, by_line, expected):
    assert assemble(parts, by_line=by_line) == expected


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("$", {"a": 1}, {"a": 1}),
        ("$.a", {"a": 1}, 1),
        ("$.a.b", {"a": {"b": 2}}, 2),
        ("$['a','c']", {"a": 1, "b": 2, "c": 3}, {"a": 1, "c": 3}),
        ("$[1:]", [1, 2, 3], [2, 3]),
        ("$[-1]", [1, 2, 3], 3),
        ("$[0,2]", [1, 2, 3], [1, 3]),
        ("$.rows[*]", {"rows": [1, 2]}, [1, 2]),
    ],
)
def test_paths_select(path, value, expected):
    assert Path.parse(path).of(value) == expected


@pytest.mark.parametrize("path", ["a", "$[1:4]", "$..a", "$[?(@.a)]", "$["])
def test_paths_that_are_ambiguous_or_invalid_are_refused(path):
    with pytest.raises(PathError):
        Path.parse(path)


def processing(kind, before="$", after="$", *, join=True):
    return Processing(kind, kind, Path.parse(before), Path.parse(after), join)


def test_inputs_and_predictions_are_joined():
    joined = processing(CSV, "$[1:]", "$[0,-1]")
    assert joined.filtered([b"7,1,2", b'8,"a,b",4']) == [b"1,2", b'"a,b",4']
    assert joined.outputs([b"7,1,2", b"8,3,4"], b"0.5\n0.25\n") == b"7,0.5\n8,0.25\n"
    rows = processing(JSONLINES, "$.x", "$['id','SageMakerOutput']")
    assert rows.filtered([b'{"id": 1, "x": [2]}']) == [b"[2]"]
    [line] = rows.outputs([b'{"id": 1, "x": [2]}'], b'{"score": 3}\n').splitlines()
    assert json.loads(line) == {"id": 1, "SageMakerOutput": {"score": 3}}
    [line] = processing(JSONLINES).outputs([b"[1]"], b"2\n").splitlines()
    assert json.loads(line) == {"SageMakerInput": [1], "SageMakerOutput": 2}
    with pytest.raises(JoinError, match="2 records got a response of 1"):
        joined.outputs([b"1", b"2"], b"3\n")


ECHO = """
def model_fn(model_dir):
    return None
def transform_fn(model, data, content_type, accept):
    if "bad" in data:
        raise ValueError("bad data")
    return "".join(line + ";\\n" for line in data.split("\\n")), accept
"""


class Transforms(Endpoints):
    def transform(self, model, key="data/in.csv", prefix=None, split="Line", accept="text/csv", **members):
        """Run a job to its end and return its description."""
        name = self.name("transform")
        source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{self.info.bucket}/{prefix or key}"}
        given = {
            "DataSource": {"S3DataSource": source},
            "ContentType": "text/csv",
            "SplitType": split,
            **members.pop("input", {}),
        }
        output = {
            "S3OutputPath": f"s3://{self.info.bucket}/out/{name}",
            "AssembleWith": "Line" if split == "Line" else "None",
        }
        if accept:
            output["Accept"] = accept
        self.client.create_transform_job(
            TransformJobName=name,
            ModelName=model,
            TransformInput=given,
            TransformOutput={**output, **members.pop("output", {})},
            TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
            **members,
        )
        return self.transformed(name)

    def transformed(self, name):
        def described():
            found = self.client.describe_transform_job(TransformJobName=name)
            return None if found["TransformJobStatus"] in ("InProgress", "Stopping") else found

        return wait_for(described)

    def outputs(self, described):
        prefix = described["TransformOutput"]["S3OutputPath"].partition(self.info.bucket)[2].lstrip("/")
        listed = self.api.s3.list_objects_v2(Bucket=self.info.bucket, Prefix=prefix + "/").get("Contents", [])
        return {
            item["Key"].removeprefix(prefix + "/"): self.api.s3.get_object(Bucket=self.info.bucket, Key=item["Key"])[
                "Body"
            ].read()
            for item in listed
        }


@pytest.fixture(scope="module")
def transforms(processes, tmp_path_factory):
    with running_api(tmp_path_factory.mktemp("transforms")) as api:
        yield Transforms(api)


@pytest.fixture(scope="module")
def model(transforms):
    return transforms.model(raw(booster()), XGBOOST.format("1.7-1"))


@pytest.mark.parametrize(
    "members", [{}, {"BatchStrategy": "SingleRecord", "MaxConcurrentTransforms": 3}], ids=["large", "single"]
)
def test_predictions_are_those_of_the_booster_whatever_the_batches(transforms, model, members):
    transforms.api.put("data/in.csv", csv_of(ROWS).encode())
    described = transforms.transform(model, **members)
    assert described["TransformJobStatus"] == "Completed", described
    assert {"TransformStartTime", "TransformEndTime"} <= described.keys()
    found = transforms.outputs(described)
    assert list(found) == ["in.csv.out"]
    predictions = np.array(found["in.csv.out"].split(), dtype=np.float32)
    np.testing.assert_array_equal(predictions, booster().predict(xgb.DMatrix(ROWS)))


def test_rows_are_filtered_joined_and_selected(transforms, model):
    rows = np.column_stack([np.arange(len(ROWS)), ROWS])
    transforms.api.put("data/ids.csv", csv_of(rows).encode())
    processing = {"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"}
    described = transforms.transform(model, "data/ids.csv", DataProcessing=processing)
    found = [line.split(",") for line in transforms.outputs(described)["ids.csv.out"].decode().splitlines()]
    assert [float(number) for number, _ in found] == list(range(len(ROWS)))
    predictions = np.array([value for _, value in found], dtype=np.float32)
    np.testing.assert_array_equal(predictions, booster().predict(xgb.DMatrix(ROWS)))


def test_a_failed_object_uploads_nothing_and_the_others_go_on(transforms):
    script = transforms.model({"code/serve.py": ECHO}, SKLEARN, IN_MODEL)
    transforms.api.put("many/a.csv", b"1\n2\n")
    transforms.api.put("many/b.csv", b"1\n" * 100 + b"bad\n")
    transforms.api.put("many/deep/c.csv.gz", gzip.compress(b"3"))
    described = transforms.transform(script, prefix="many/a", MaxPayloadInMB=1)
    assert transforms.outputs(described) == {"a.csv.out": b"1;\n2;\n"}
    described = transforms.transform(script, prefix="many/", BatchStrategy="SingleRecord")
    assert described["TransformJobStatus"] == "Failed"
    assert described["FailureReason"] == "ClientError: See job logs for more information"
    assert "a.csv.out" in transforms.outputs(described)
    assert "b.csv.out" not in transforms.outputs(described)
    zipped = transforms.transform(script, prefix="many/deep/", input={"CompressionType": "Gzip"})
    assert transforms.outputs(zipped) == {"c.csv.gz.out": b"3;\n"}
    logs = transforms.api.logs.filter_log_events(logGroupName="/aws/sagemaker/TransformJobs")["events"]
    assert any("many/b.csv: Bad HTTP status received from algorithm: 500: bad data" in log["message"] for log in logs)


def test_a_model_that_does_not_start_fails_the_job(transforms):
    broken = transforms.model({"xgboost-model": b"x"}, XGBOOST.format("1.7-1"))
    transforms.api.put("data/in.csv", csv_of(ROWS).encode())
    described = transforms.transform(broken)
    assert described["FailureReason"].startswith("AlgorithmError: Model container failed to respond to ping")
    assert transforms.outputs(described) == {}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"DataProcessing": {"InputFilter": "$[1:3]"}}, "a slice with an end"),
        ({"DataProcessing": {"InputFilter": "$.a"}}, "selects by name"),
        ({"DataProcessing": {"JoinSource": "Input"}, "accept": "application/x-npy"}, "DataProcessing needs a Accept"),
        ({"MaxConcurrentTransforms": 20, "MaxPayloadInMB": 6}, "must not exceed 100 MB"),
        ({"split": "RecordIO"}, "SplitType RecordIO"),
    ],
)
def test_what_cannot_be_done_is_refused_at_creation(transforms, model, members, message):
    with pytest.raises(ClientError, match=message):
        transforms.transform(model, **members)


def test_a_job_of_a_killed_server_starts_over_and_nothing_doubles(processes, tmp_path):
    slow = ECHO.replace("    if ", "    import time; time.sleep(0.05)\n    if ")
    with running_api(tmp_path / "state") as api:
        jobs = Transforms(api)
        script = jobs.model({"code/serve.py": slow}, SKLEARN, IN_MODEL)
        api.put("data/in.csv", b"".join(b"%d\n" % number for number in range(40)))
        jobs.transformed = lambda name: name
        name = jobs.transform(script, BatchStrategy="SingleRecord")
        del jobs.transformed
        wait_for(lambda: "TransformStartTime" in jobs.client.describe_transform_job(TransformJobName=name))
        kill_server(api.info)
        start_server(tmp_path / "state")
        described = jobs.transformed(name)
        assert described["TransformJobStatus"] == "Completed", described
        assert jobs.outputs(described)["in.csv.out"] == b"".join(b"%d;\n" % number for number in range(40))


def test_a_stopped_job_ends_without_output(transforms):
    slow = ECHO.replace("    if ", "    import time; time.sleep(0.2)\n    if ")
    script = transforms.model({"code/serve.py": slow}, SKLEARN, IN_MODEL)
    transforms.api.put("data/slow.csv", b"1\n" * 1000)
    transforms.transformed = lambda name: name
    name = transforms.transform(script, "data/slow.csv", BatchStrategy="SingleRecord")
    del transforms.transformed
    transforms.client.stop_transform_job(TransformJobName=name)
    described = transforms.transformed(name)
    assert described["TransformJobStatus"] == "Stopped"
    assert transforms.outputs(described) == {}


def test_jobs_beyond_the_bound_wait_and_a_waiting_one_can_be_stopped(transforms):
    slow = ECHO.replace("    if ", "    import time; time.sleep(0.2)\n    if ")
    script = transforms.model({"code/serve.py": slow}, SKLEARN, IN_MODEL)
    transforms.api.put("data/in.csv", b"1\n2\n3\n")
    transforms.transformed = lambda name: name
    bound = max(2, count_cpus())
    names = [transforms.transform(script, BatchStrategy="SingleRecord") for _ in range(bound + 2)]
    last = transforms.transform(script, BatchStrategy="SingleRecord")
    del transforms.transformed
    transforms.client.stop_transform_job(TransformJobName=last)
    stopped = transforms.transformed(last)
    assert stopped["TransformJobStatus"] == "Stopped"
    ended = [transforms.transformed(name) for name in names]
    assert [one["TransformJobStatus"] for one in ended] == ["Completed"] * (bound + 2)
    for job in ended:
        begin = job["TransformStartTime"]
        assert sum(one["TransformStartTime"] <= begin < one["TransformEndTime"] for one in ended) <= bound
