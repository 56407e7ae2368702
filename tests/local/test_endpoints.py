"""Endpoints of the local SageMaker, through boto3: what they predict, their life, and what survives a restart."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tarfile

import numpy as np
import psutil
import pytest
from _api import running_api
from botocore.config import Config
from botocore.exceptions import ClientError
from later import Later
from servers import kill_server, start_server, wait_for

xgb = Later("xgboost")
XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:{}"
PYTORCH = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6-cpu-py312"
SKLEARN = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
ROWS = np.random.default_rng(0).normal(size=(40, 3)).round(3)


def archive(files):
    """The bytes of a model.tar.gz."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            content = data if isinstance(data, bytes) else data.encode()
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def booster(objective="reg:squarederror", seed=0, **parameters):
    labels = ROWS @ [1.0, -2.0, 0.5] + seed
    if objective.startswith("multi:"):
        labels = np.digitize(labels, [-1, 1])
    elif objective.startswith("binary:"):
        labels = (labels > 0).astype(float)
    matrix = xgb.DMatrix(ROWS, label=labels)
    return xgb.train({"objective": objective, "max_depth": 2, "seed": seed, **parameters}, matrix, 5)


def csv_of(rows):
    return "\n".join(",".join(str(value) for value in row) for row in rows)


class Endpoints:
    """Models and endpoints of a server, in few words."""

    def __init__(self, api):
        self.api, self.client, self.info = api, api.client, api.info
        self.runtime = api.session.client(
            "sagemaker-runtime",
            endpoint_url=api.info.endpoint_url,
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )
        self.number = 0

    def name(self, text):
        self.number += 1
        return f"{text}-{self.number}"

    def model(self, files, image, environment=None, **members):
        name = self.name("model")
        uri = self.api.put(f"models/{name}/model.tar.gz", archive(files))
        container = {"Image": image, "ModelDataUrl": uri, "Environment": environment or {}}
        self.client.create_model(
            ModelName=name, PrimaryContainer=container, ExecutionRoleArn=self.info.role_arn, **members
        )
        return name

    def config(self, *models, **members):
        name = self.name("config")
        variants = [
            {
                "VariantName": f"variant-{number}",
                "ModelName": model,
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
                **members,
            }
            for number, model in enumerate(models)
        ]
        self.client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants)
        return name

    def create(self, *models, **members):
        name = self.name("endpoint")
        self.client.create_endpoint(EndpointName=name, EndpointConfigName=self.config(*models, **members))
        return name

    def settled(self, name):
        def described():
            found = self.client.describe_endpoint(EndpointName=name)
            return None if found["EndpointStatus"] in ("Creating", "Updating") else found

        return wait_for(described)

    def serve(self, files, image, environment=None):
        name = self.create(self.model(files, image, environment))
        described = self.settled(name)
        assert described["EndpointStatus"] == "InService", described
        return name

    def ask(self, name, body, content_type="text/csv", accept=None, **options):
        options |= {} if accept is None else {"Accept": accept}
        return self.runtime.invoke_endpoint(EndpointName=name, Body=body, ContentType=content_type, **options)

    def text(self, *arguments, **options):
        return self.ask(*arguments, **options)["Body"].read().decode()


@pytest.fixture(scope="module")
def endpoints(processes, tmp_path_factory):
    with running_api(tmp_path_factory.mktemp("endpoints")) as api:
        yield Endpoints(api)


def raw(model):
    return {"xgboost-model": bytes(model.save_raw("ubj"))}


@pytest.mark.parametrize("objective", ["reg:squarederror", "binary:logistic", "multi:softprob", "multi:softmax"])
def test_predictions_are_those_of_the_booster(endpoints, objective):
    model = booster(objective, **({"num_class": 3} if objective.startswith("multi:") else {}))
    name = endpoints.serve(raw(model), XGBOOST.format("1.7-1"))
    expected = model.predict(xgb.DMatrix(ROWS))
    text = endpoints.text(name, csv_of(ROWS))
    assert text.endswith("\n")
    found = np.array([line.split(",") for line in text.splitlines()], dtype=np.float32)
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)
    scores = json.loads(endpoints.text(name, csv_of(ROWS[:2]), accept="application/json"))["predictions"]
    np.testing.assert_array_equal(np.float32([entry["score"] for entry in scores]), expected[:2])


def test_an_old_image_answers_on_one_line(endpoints):
    model = booster()
    name = endpoints.serve(raw(model), XGBOOST.format("1.0-1-cpu-py3"))
    response = endpoints.ask(name, csv_of(ROWS))
    assert response["ContentType"] == "text/csv"
    assert response["InvokedProductionVariant"] == "variant-0"
    found = np.array(response["Body"].read().decode().split(","), dtype=np.float32)
    np.testing.assert_array_equal(found, model.predict(xgb.DMatrix(ROWS)))


def test_missing_values_libsvm_and_ensembles(endpoints):
    first, second = booster(), booster(seed=1)
    files = {"one": bytes(first.save_raw("ubj")), "two": bytes(second.save_raw("ubj"))}
    name = endpoints.serve(files, XGBOOST.format("1.5-1"))
    rows = np.array([[1.0, np.nan, 2.0], [np.nan, -1.0, 0.5]])
    expected = (first.predict(xgb.DMatrix(rows)) + second.predict(xgb.DMatrix(rows))) / 2
    for body, kind in (("1.0,,2.0\n,-1.0,0.5", "text/csv"), ("0 0:1.0 2:2.0\n0 1:-1.0 2:0.5\n", "text/libsvm")):
        found = np.array(endpoints.text(name, body, kind).split(), dtype=np.float32)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_selected_outputs(endpoints):
    model = booster("binary:logistic")
    selected = {"SAGEMAKER_INFERENCE_OUTPUT": "predicted_label,probability,predicted_score"}
    name = endpoints.serve(raw(model), XGBOOST.format("1.7-1"), selected)
    [line] = endpoints.text(name, csv_of(ROWS[:1]), accept="application/jsonlines").splitlines()
    probability = float(model.predict(xgb.DMatrix(ROWS[:1]))[0])
    found = json.loads(line)
    assert (found["predicted_label"], found["probability"]) == (int(probability > 0.5), probability)
    assert np.isnan(found["predicted_score"])


@pytest.mark.parametrize(
    ("body", "content_type", "accept", "status"),
    [
        (b"a,b,c", "text/csv", "text/csv", 415),
        (b"1,2,3", "image/png", "text/csv", 415),
        (b"1,2", "text/csv", "text/csv", 400),
        (b"1,2,3", "text/csv", "image/png", 406),
    ],
)
def test_errors_of_the_model_have_its_status(endpoints, body, content_type, accept, status):
    name = endpoints.__dict__.setdefault("errors", None) or endpoints.serve(raw(booster()), XGBOOST.format("1.7-1"))
    endpoints.errors = name
    with pytest.raises(ClientError) as caught:
        endpoints.ask(name, body, content_type, accept)
    response = caught.value.response
    assert response["Error"]["Code"] == "ModelError"
    assert response["OriginalStatusCode"] == status
    assert f"Received client error ({status}) from primary with message" in response["Error"]["Message"]
    assert response["OriginalMessage"]
    assert response["LogStreamArn"].endswith(f"/aws/sagemaker/Endpoints/{name}")


def test_an_unknown_endpoint_is_a_validation_error(endpoints):
    with pytest.raises(ClientError, match=r"ValidationError.*Endpoint nobody of account .* not found"):
        endpoints.ask("nobody", b"1,2,3")


def test_a_model_that_does_not_load_fails_its_endpoint(endpoints):
    name = endpoints.create(endpoints.model({"xgboost-model": b"nonsense"}, XGBOOST.format("1.7-1")))
    described = endpoints.settled(name)
    assert described["EndpointStatus"] == "Failed"
    assert described["FailureReason"] == (
        "The primary container for production variant variant-0 did not pass the ping health check. Please check "
        "CloudWatch logs for this endpoint."
    )
    group = f"/aws/sagemaker/Endpoints/{name}"
    events = wait_for(lambda: endpoints.api.logs.filter_log_events(logGroupName=group)["events"])
    assert any("xgboost-model" in event["message"] for event in events)


def test_other_images_and_features_are_refused(endpoints):
    other = endpoints.model({"m": b""}, "123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1")
    with pytest.raises(ClientError, match="does not support serving the image"):
        endpoints.create(other)
    model = endpoints.model(raw(booster()), XGBOOST.format("1.7-1"))
    variant = {"VariantName": "a", "ModelName": model, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    with pytest.raises(ClientError, match="asynchronous inference"):
        endpoints.client.create_endpoint_config(
            EndpointConfigName="async",
            ProductionVariants=[variant],
            AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": "s3://b/k"}},
        )
    core_dumps = {**variant, "CoreDumpConfig": {"DestinationS3Uri": "s3://b/k"}}
    with pytest.raises(ClientError, match="does not support CoreDumpConfig of a variant"):
        endpoints.client.create_endpoint_config(EndpointConfigName="core", ProductionVariants=[core_dumps])
    more = {
        "ChannelName": "more",
        "S3DataSource": {"S3Uri": "s3://b/k", "S3DataType": "S3Prefix", "CompressionType": "None"},
    }
    container = {"Image": XGBOOST.format("1.7-1"), "AdditionalModelDataSources": [more]}
    with pytest.raises(ClientError, match="does not support AdditionalModelDataSources of a ContainerDefinition"):
        endpoints.client.create_model(
            ModelName="more", PrimaryContainer=container, ExecutionRoleArn=endpoints.info.role_arn
        )


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("TargetModel", "model.tar.gz"),
        ("TargetContainerHostname", "other"),
        ("InferenceComponentName", "other"),
        ("EnableExplanations", "`true`"),
        ("SessionId", "NEW_SESSION"),
    ],
)
def test_members_that_would_choose_another_model_are_refused(endpoints, member, value):
    with pytest.raises(ClientError, match=f"does not support {member} of InvokeEndpoint"):
        endpoints.ask("any", b"1,2,3", **{member: value})


def test_only_the_object_that_is_named_is_the_model(endpoints):
    model = booster()
    uri = endpoints.api.put("plain/xgboost-model", raw(model)["xgboost-model"])
    endpoints.api.put("plain/xgboost-model-old", raw(booster(seed=5))["xgboost-model"])  # of two, the mean is answered
    source = {"S3Uri": uri, "S3DataType": "S3Object", "CompressionType": "None"}
    container = {"Image": XGBOOST.format("1.7-1"), "ModelDataSource": {"S3DataSource": source}}
    endpoints.client.create_model(
        ModelName="plain", PrimaryContainer=container, ExecutionRoleArn=endpoints.info.role_arn
    )
    name = endpoints.create("plain")
    assert endpoints.settled(name)["EndpointStatus"] == "InService"
    assert np.float32(endpoints.text(name, csv_of(ROWS[:1]))) == model.predict(xgb.DMatrix(ROWS[:1]))[0]
    # An update retains weights and counts, except those that it excludes.
    desired = {"VariantName": "variant-0", "DesiredWeight": 3.0, "DesiredInstanceCount": 2}
    endpoints.client.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=[desired])
    for excluded, expected in (([], (3.0, 2)), (["DesiredWeight"], (1.0, 2))):
        endpoints.client.update_endpoint(
            EndpointName=name,
            EndpointConfigName=endpoints.config("plain"),
            RetainAllVariantProperties=True,
            ExcludeRetainedVariantProperties=[{"VariantPropertyType": kind} for kind in excluded],
        )
        (variant,) = endpoints.settled(name)["ProductionVariants"]
        assert (variant["DesiredWeight"], variant["DesiredInstanceCount"]) == expected


def test_an_update_serves_the_new_model_and_a_failed_one_keeps_the_old(endpoints):
    first, second = booster(), booster(seed=5)
    name = endpoints.serve(raw(first), XGBOOST.format("1.7-1"))
    expected = [model.predict(xgb.DMatrix(ROWS[:1]))[0] for model in (first, second)]
    assert np.float32(endpoints.text(name, csv_of(ROWS[:1]))) == expected[0]
    config = endpoints.config(endpoints.model(raw(second), XGBOOST.format("1.7-1")))
    endpoints.client.update_endpoint(EndpointName=name, EndpointConfigName=config)
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        endpoints.client.update_endpoint(EndpointName=name, EndpointConfigName=config)
    assert endpoints.settled(name)["EndpointConfigName"] == config
    assert np.float32(endpoints.text(name, csv_of(ROWS[:1]))) == expected[1]
    broken = endpoints.config(endpoints.model({"xgboost-model": b"x"}, XGBOOST.format("1.7-1")))
    endpoints.client.update_endpoint(EndpointName=name, EndpointConfigName=broken)
    described = endpoints.settled(name)
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", config)
    assert "ping health check" in described["FailureReason"]
    assert np.float32(endpoints.text(name, csv_of(ROWS[:1]))) == expected[1]


def test_a_target_variant_wins_over_weights(endpoints):
    models = [booster(), booster(seed=5)]
    name = endpoints.create(*(endpoints.model(raw(model), XGBOOST.format("1.7-1")) for model in models))
    assert endpoints.settled(name)["EndpointStatus"] == "InService"
    for number, model in enumerate(models):
        response = endpoints.ask(name, csv_of(ROWS[:1]), TargetVariant=f"variant-{number}")
        assert response["InvokedProductionVariant"] == f"variant-{number}"
        assert np.float32(response["Body"].read()) == model.predict(xgb.DMatrix(ROWS[:1]))[0]
    weights = [{"VariantName": "variant-0", "DesiredWeight": 0.0}]
    endpoints.client.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=weights)
    assert {endpoints.ask(name, b"1,2,3")["InvokedProductionVariant"] for _ in range(5)} == {"variant-1"}


def test_names_are_unique_and_deleted_records_do_not_stop_an_endpoint(endpoints):
    model = endpoints.model(raw(booster()), XGBOOST.format("1.7-1"))
    container = {"Image": XGBOOST.format("1.7-1")}
    with pytest.raises(ClientError, match="Cannot create already existing model"):
        endpoints.client.create_model(
            ModelName=model.upper(), PrimaryContainer=container, ExecutionRoleArn=endpoints.info.role_arn
        )
    name = endpoints.create(model)
    config = endpoints.settled(name)["EndpointConfigName"]
    endpoints.client.delete_endpoint_config(EndpointConfigName=config)
    endpoints.client.delete_model(ModelName=model)
    assert endpoints.text(name, b"1,2,3")
    with pytest.raises(ClientError, match="Could not find model"):
        endpoints.client.describe_model(ModelName=model)
    endpoints.client.delete_endpoint(EndpointName=name)
    with pytest.raises(ClientError, match="Could not find endpoint"):
        endpoints.client.describe_endpoint(EndpointName=name)
    endpoints.client.get_waiter("endpoint_deleted").wait(EndpointName=name)


def test_lists_are_paged_filtered_and_tagged(endpoints):
    names = [endpoints.model(raw(booster()), XGBOOST.format("1.7-1")) for _ in range(3)]
    tags = [{"Key": "team", "Value": "a"}]
    described = endpoints.client.describe_model(ModelName=names[0])
    assert "VpcConfig" not in described
    endpoints.client.add_tags(ResourceArn=described["ModelArn"], Tags=tags)
    assert endpoints.client.list_tags(ResourceArn=described["ModelArn"])["Tags"] == tags
    pages = endpoints.client.get_paginator("list_models").paginate(PaginationConfig={"PageSize": 2})
    listed = [entry["ModelName"] for page in pages for entry in page["Models"]]
    assert listed[:3] == names[::-1]
    assert len(set(listed)) == len(listed)
    found = endpoints.client.list_models(NameContains=names[1])["Models"]
    assert [entry["ModelName"] for entry in found] == [names[1]]


TORCH = """
import json, torch
def model_fn(model_dir):
    return torch.nn.Linear(3, 2)
def output_fn(prediction, accept, context=None):
    assert context is not None
    return json.dumps({"rows": len(prediction), "accept": accept})
"""
SKLEARN_CODE = """
import pathlib
class Model:
    def predict(self, rows):
        return rows.sum(axis=1) + self.offset
def model_fn(model_dir):
    model = Model()
    model.offset = float(pathlib.Path(model_dir, "offset").read_text())
    return model
"""
TRANSFORM = """
def model_fn(model_dir):
    return 3
def transform_fn(model, data, content_type, accept):
    return f"{data} {content_type} {accept} {model}", "text/plain"
"""
IN_MODEL = {"SAGEMAKER_PROGRAM": "serve.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}


def test_a_pytorch_script_serves_with_its_functions_and_the_defaults(endpoints):
    name = endpoints.serve({"code/inference.py": TORCH}, PYTORCH)
    assert json.loads(endpoints.text(name, "[[1,2,3],[4,5,6]]", "application/json")) == {
        "rows": 2,
        "accept": "application/json",
    }


def test_a_scikit_learn_script_serves_from_the_model_and_from_s3(endpoints):
    name = endpoints.serve({"offset": "10", "code/serve.py": SKLEARN_CODE}, SKLEARN, IN_MODEL)
    assert endpoints.text(name, csv_of([[1, 2], [3, 4]]), accept="text/csv").split() == ["13.0", "17.0"]
    assert json.loads(endpoints.text(name, "[[1, 2]]", "application/json")) == [13.0]
    with pytest.raises(ClientError) as caught:
        endpoints.ask(name, b"x", "image/png")
    assert caught.value.response["OriginalStatusCode"] == 415
    code = endpoints.api.put("code/serving/sourcedir.tar.gz", archive({"other.py": SKLEARN_CODE}))
    elsewhere = {"SAGEMAKER_PROGRAM": "other.py", "SAGEMAKER_SUBMIT_DIRECTORY": code}
    name = endpoints.serve({"offset": "1"}, SKLEARN, elsewhere)
    assert json.loads(endpoints.text(name, "[[1, 2]]", "application/json")) == [4.0]


def test_an_xgboost_script_serves_and_transform_fn_replaces_the_steps(endpoints):
    name = endpoints.serve({"code/serve.py": TRANSFORM}, XGBOOST.format("1.7-1"), IN_MODEL)
    response = endpoints.ask(name, "1,2", accept="text/csv")
    assert (response["ContentType"], response["Body"].read()) == ("text/plain", b"1,2 text/csv text/csv 3")


@pytest.mark.parametrize(
    ("files", "environment", "reason"),
    [
        ({"offset": "1"}, {}, "needs SAGEMAKER_PROGRAM and SAGEMAKER_SUBMIT_DIRECTORY"),
        ({"code/a.py": ""}, IN_MODEL, "SAGEMAKER_PROGRAM 'serve.py' is not in the model's code, which contains a.py"),
        ({"code/serve.py": "x = 1"}, IN_MODEL, "did not pass the ping health check"),
    ],
    ids=["no program", "another program", "no model_fn"],
)
def test_a_script_that_cannot_serve_fails_its_endpoint_with_the_reason(endpoints, files, environment, reason):
    described = endpoints.settled(endpoints.create(endpoints.model(files, SKLEARN, environment)))
    assert described["EndpointStatus"] == "Failed"
    assert reason in described["FailureReason"]


def test_a_search_for_models_is_refused_and_not_empty(endpoints):
    with pytest.raises(ClientError, match="does not search Resource ModelPackage: use the List and Describe"):
        endpoints.client.search(Resource="ModelPackage")


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
def test_model_processes_are_forks_once_a_template_has_imported_their_library(endpoints):
    model = booster(seed=3)

    def forks():
        """Model processes with the command line of a template."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.cwd().startswith(f"{endpoints.info.state_dir}/models") and "_template.py" in str(
                    process.cmdline()
                ):
                    found.append(process)
        return found

    def served():
        before = {process.pid for process in forks()}
        name = endpoints.serve(raw(model), XGBOOST.format("1.7-1"))
        return name if {process.pid for process in forks()} - before else None

    name = wait_for(served)
    found = np.array(endpoints.text(name, csv_of(ROWS)).split(), dtype=np.float32)
    np.testing.assert_array_equal(found, model.predict(xgb.DMatrix(ROWS)))


def hosts_of(pid):
    """The model processes of a server."""
    found = []
    for process in psutil.process_iter():
        try:
            if "sm_tuning.executor.serving.server" in process.cmdline() and any(
                parent.pid == pid for parent in process.parents()
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_records_survive_a_killed_server_and_models_start_again(processes, tmp_path):
    model = booster()
    with running_api(tmp_path / "state") as api:
        before = Endpoints(api)
        name = before.serve(raw(model), XGBOOST.format("1.7-1"))
        described = before.client.describe_endpoint(EndpointName=name)
        hosts = hosts_of(api.info.pid)
        assert len(hosts) == 1
        kill_server(api.info)
        psutil.wait_procs(hosts, timeout=20)
        assert not [host for host in hosts if host.is_running()]
        start_server(tmp_path / "state")
        after = Endpoints(api)  # the next server has the same port and the same keys
        assert {**after.client.describe_endpoint(EndpointName=name), "ResponseMetadata": None} == {
            **described,
            "ResponseMetadata": None,
        }
        assert np.float32(after.text(name, csv_of(ROWS[:1]))) == model.predict(xgb.DMatrix(ROWS[:1]))[0]
