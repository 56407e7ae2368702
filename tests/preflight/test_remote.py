"""What only AWS knows, asked of a local SageMaker and of its S3 and IAM."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import _preflight_specs as specs
import boto3
import pytest
from _preflight_specs import COLOURS, CONTINUOUS, INTEGER, builtin, changed, script
from botocore.stub import Stubber

import sm_tuning as smt
from sm_tuning import preflight
from sm_tuning.preflight._parents import compare
from sm_tuning.preflight._remote import instance_problems


def codes(path: Any, aws: smt.Aws, severity: str = "error", **options: Any) -> list[str]:
    return [one.code for one in smt.check(path, aws=aws, **options) if one.severity == severity]


def test_a_spec_that_is_well_has_no_error_and_only_the_quotas_stay_open(tmp_path, aws) -> None:
    found = smt.check(specs.write(tmp_path, script()), aws=aws)
    assert [(one.code, one.severity) for one in found] == [("instance-quota", "not-checked")]


def test_without_a_connection_each_question_is_listed(tmp_path) -> None:
    data = changed(script(), {"inputs/train": "s3://bucket/train", "warm_start": {"parents": ["p"]}})
    found = smt.check(specs.write(tmp_path, data), name="n")
    assert {one.code for one in found if one.severity == "not-checked"} == {
        "role-trust",
        "input-missing",
        "output-bucket",
        "instance-quota",
        "active-quota",
        "warm-start-parents",
        "name-taken",
    }


def test_data_that_is_not_there(tmp_path, aws, preflight_server) -> None:
    bucket = preflight_server.bucket
    aws.s3.put_object(Bucket=bucket, Key="there/train.csv", Body=b"1")
    for uri, expected in (
        (f"s3://{bucket}/there/", []),
        (f"s3://{bucket}/gone/", ["input-missing"]),
        ("s3://no-such-bucket-here/x", ["input-missing"]),
    ):
        path = specs.write(tmp_path, changed(script(), {"inputs/train": uri}))
        assert codes(path, aws) == expected


def test_a_role_that_sagemaker_may_not_take(tmp_path, aws) -> None:
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    arn = aws.iam.create_role(RoleName="NotForTuning", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    for role in (arn, "NotForTuning"):
        path = specs.write(tmp_path, changed(script(), {"estimator/role": role}))
        assert codes(path, aws) == ["role-trust"]
    assert "role" in codes(specs.write(tmp_path, changed(script(), {"estimator/role": "Nobody"})), aws)


def test_a_bucket_that_is_not_there(tmp_path, aws) -> None:
    path = specs.write(tmp_path, changed(script(), {"estimator/output_path": "s3://no-such-bucket-here/models"}))
    assert codes(path, aws) == ["output-bucket"]


def test_names_and_parents(tmp_path, aws) -> None:
    running = script() | {"max_jobs": 1, "base_tuning_job_name": "kin"}
    path = specs.write(tmp_path, running)
    parent = smt.launch(path, name="kin-parent", aws=aws)
    parent.wait(progress=False)
    assert codes(path, aws, name="kin-parent") == ["name-taken"]
    assert codes(path, aws, name="kin-other") == []
    assert "warm-start-available" in codes(path, aws, "advice")
    child = {**running, "warm_start": {"parents": ["kin-parent"], "warm_start_type": "TransferLearning"}}
    assert codes(specs.write(tmp_path, child), aws) == []
    other = changed(child, {"hyperparameter_ranges": {"rate": dict(CONTINUOUS)}})
    path = specs.write(tmp_path, other)
    assert codes(path, aws) == ["warm-start-names"]
    with pytest.raises(smt.InvalidRequestError, match="tunable plus static HyperParameter names is not the same"):
        smt.launch(path, aws=aws)
    gone = {**running, "warm_start": {"parents": ["nobody"]}}
    assert codes(specs.write(tmp_path, gone), aws) == ["warm-start-missing"]


class _Deny(BaseHTTPRequestHandler):
    """Denies everything, in the form of the service that is asked."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "X-Amz-Target" in self.headers:
            body, kind = b'{"__type": "AccessDeniedException", "Message": "not you"}', "application/x-amz-json-1.1"
        else:
            error = "<Error><Code>AccessDenied</Code><Message>not you</Message></Error>"
            wrapped = error if self.command == "GET" else f"<ErrorResponse>{error}</ErrorResponse>"
            body, kind = wrapped.encode(), "text/xml"
        self.send_response(403)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        self.do_POST()

    def do_HEAD(self) -> None:
        self.do_POST()

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@pytest.mark.usefixtures("processes")
def test_what_the_credentials_may_not_ask_is_listed_and_is_no_error(tmp_path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Deny)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        aws = smt.connect(
            session=boto3.Session("a", "b", region_name="us-east-1"),
            endpoint_url=f"http://127.0.0.1:{server.server_port}",
            environ={"SM_TUNING_ROLE": "arn:aws:iam::123456789012:role/Tuner"},
        )
        data = changed(script(), {"inputs/train": "s3://bucket/train"})
        found = smt.check(specs.write(tmp_path, data), aws=aws, name="n")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert {one.severity for one in found} == {"not-checked"}
    assert {one.code for one in found} == {
        "role-trust",
        "input-missing",
        "output-bucket",
        "instance-quota",
        "active-quota",
        "name-taken",
        "warm-start-available",
    }


PARENT = changed(
    script(),
    {
        "estimator/hyperparameters": {f"s{n}": n for n in range(8)},
        "hyperparameter_ranges": {"lr": dict(CONTINUOUS), "n": dict(INTEGER), "colour": COLOURS},
        "estimator/metric_definitions": {"score": "s=(.)", "loss": "l=(.)"},
        "inputs": {"train": "s3://bucket/train"},
    },
)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, None),
        ({"objective_metric_name": "loss"}, "warm-start-objective"),
        ({"objective_type": "Minimize"}, "warm-start-objective"),
        ({"hyperparameter_ranges/n": dict(CONTINUOUS)}, "warm-start-type"),
        ({"hyperparameter_ranges/lr": None}, "warm-start-names"),
        ({"estimator/hyperparameters": {f"s{n}": n + (n < 5) for n in range(8)}}, None),
        ({"estimator/hyperparameters": {f"s{n}": n + (n < 6) for n in range(8)}}, "warm-start-changes"),
        ({"estimator/environment": {"A": "1"}}, "warm-start-fixed"),
        ({"estimator/framework_version": "2.5", "estimator/py_version": "py311"}, "warm-start-image"),
        ({"inputs": {"train": "s3://bucket/other"}}, "warm-start-data"),
        ({"inputs": {"test": "s3://bucket/train"}}, "warm-start-data"),
    ],
)
def test_a_child_and_its_parent(changes, code) -> None:
    child = smt.Tuning.parse({**changed(PARENT, changes), "warm_start": {"parents": ["p"]}})
    found = [one.code for one in compare(child, smt.Tuning.parse(PARENT), "p")]
    assert found == ([] if code is None else [code])


EITHER = [{"instance_type": "ml.m5.large"}, {"instance_type": "ml.m5.xlarge"}]
RAW = {"InstanceCount": 1, "InstancePreferences": [{"InstanceType": item["instance_type"]} for item in EITHER]}


@pytest.mark.parametrize(
    ("machines", "limit", "expected"),
    [
        ({"instance_type": "ml.m5.large"}, 1.0, ["instance-quota"]),
        ({"instance_type": "ml.m5.large"}, 2.0, []),
        ({"instance_configs": EITHER}, 1.0, []),  # the tuning job runs on the other type
        # Each training job gets the first type with free capacity, so that any of them may be needed.
        ({"instance_preferences": EITHER}, 1.0, ["instance-quota"]),
        ({"resource_config": RAW}, 1.0, ["instance-quota"]),
        ({"instance_preferences": EITHER}, 2.0, []),
    ],
)
def test_the_quota_of_instances_is_compared_with_all_that_run_at_once(machines, limit, expected) -> None:
    client = boto3.client("service-quotas", "us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    quotas = [{"QuotaName": "ml.m5.large for training job usage", "Value": limit}]
    with Stubber(client) as stub:
        stub.add_response("list_service_quotas", {"Quotas": quotas})

        class Session:
            region_name = "us-east-1"

            def client(self, *_: Any, **__: Any) -> Any:
                return client

        aws = smt.connect(session=Session())
        changes = {"max_parallel_jobs": 2, "estimator/instance_type": None}
        changes |= {f"estimator/{name}": value for name, value in machines.items()}
        tuning = smt.Tuning.parse(changed(builtin(), changes))
        assert [one.code for one in instance_problems(aws, tuning)] == expected


def product(kind: str, dollars: str) -> str:
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": dollars}}
    terms = {"OnDemand": {"a": {"priceDimensions": {"b": dimension}}}}
    return json.dumps({"product": {"attributes": {"instanceName": kind}}, "terms": terms})


def test_without_given_prices_a_connection_to_aws_asks_the_price_list(tmp_path) -> None:
    session = boto3.Session("key", "secret", region_name="us-east-1")
    asked = []

    def answer(params: Any, **_: Any) -> tuple[Any, Any]:
        asked.append(params)
        return type("Answer", (), {"status_code": 200})(), {"PriceList": [product("ml.m5.large", "0.5")]}

    session.events.register("before-call.pricing.GetProducts", answer)
    with smt.connect(session=session, environ={"SM_TUNING_CACHE_DIR": str(tmp_path / "cache")}) as aws:
        assert preflight.prices_for(aws, None) == {"ml.m5.large": 0.5}
        assert preflight.prices_for(aws, None) == {"ml.m5.large": 0.5}
        assert preflight.prices_for(aws, {"ml.p5.48xlarge": 98.0}) == {"ml.p5.48xlarge": 98.0}
    assert len(asked) == 1  # what was told is kept
    assert preflight.prices_for(None, None) == {}


def test_a_server_on_this_machine_is_not_asked_for_prices(tmp_path, aws) -> None:
    path = specs.write(tmp_path, builtin())
    assert "price-unknown" in codes(path, aws, max_cost=10_000)
    assert "max-cost" in codes(path, aws, max_cost=0.01, prices={"ml.m5.large": 0.5})
