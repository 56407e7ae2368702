"""Start, latency, throughput and memory of a model process: ``python -m benchmarks.serving``.

A model of 200 trees of depth 6 on ten features is served by the local SageMaker. The first ping and one row are
measured at the model process, and one row, many rows and a batch transform through the API.
"""

from __future__ import annotations

import io
import statistics
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import psutil
import xgboost as xgb
from botocore.config import Config

from sm_tuning import local
from sm_tuning.executor import Files, Folder, Supervisors
from sm_tuning.executor.serving import Invocation, ModelHost, model_command, serving_image

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
STARTS, ROWS, MANY = 5, 300, 60_000


def main() -> None:
    """Print the table."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(MANY, 10)).round(3)
    labels = rows @ generator.normal(size=10)
    booster = xgb.train({"max_depth": 6}, xgb.DMatrix(rows[:5000], label=labels[:5000]), 200)
    model = bytes(booster.save_raw("ubj"))
    one = ",".join(map(str, rows[0])).encode()
    with tempfile.TemporaryDirectory() as scratch:
        results = {**at_the_process(Path(scratch), model, one), **through_the_api(Path(scratch), model, rows, one)}
    print("| what | measured |\n| --- | --- |")
    for name, value in results.items():
        print(f"| {name} | {value} |")


def at_the_process(scratch: Path, model: bytes, one: bytes) -> dict[str, str]:
    """Measure a model process through its socket."""
    image = serving_image(IMAGE, {})
    assert image is not None
    supervisors = Supervisors()
    starts, memory, latencies = [], 0.0, []
    for number in range(STARTS):
        place = scratch / f"host-{number}"
        folder = Folder(place / "ml")
        folder.make()
        (folder.model / "xgboost-model").write_bytes(model)
        files = Files(place / "host")

        def command(socket: Path, folder: Folder = folder) -> Any:
            return model_command(image, socket, folder=folder, program=None, environment={}, child_env={})

        host = ModelHost(command, files, supervisors, lambda _: None)
        began = time.perf_counter()
        assert host.start(60)
        starts.append(time.perf_counter() - began)
        request = Invocation(one, "text/csv")
        for _ in range(ROWS if number == STARTS - 1 else 1):
            began = time.perf_counter()
            assert host.invoke(request, 10).status == 200
            latencies.append(time.perf_counter() - began)
        memory = max(memory, psutil.Process(files.read_process()).memory_info().rss / 1e6)
        host.close()
    supervisors.close()
    return {
        "start to first ping, median": f"{statistics.median(starts):.2f} s",
        "one row over the socket, median": f"{1000 * statistics.median(latencies):.2f} ms",
        "memory of the process": f"{memory:.0f} MB",
    }


def archive_of(model: bytes) -> bytes:
    """Return a model.tar.gz."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        info = tarfile.TarInfo("xgboost-model")
        info.size = len(model)
        tar.addfile(info, io.BytesIO(model))
    return archive.getvalue()


def through_the_api(scratch: Path, model: bytes, rows: np.ndarray[Any, Any], one: bytes) -> dict[str, str]:
    """Measure an endpoint and a batch transform of a server."""
    state = scratch / "state"
    server = local.start(state_dir=state)
    try:
        session = boto3.Session(server.access_key_id, server.secret_access_key, region_name=server.region)
        config = Config(proxies={}, retries={"total_max_attempts": 1})
        clients = {
            name: session.client(name, endpoint_url=server.endpoint_url, config=config)
            for name in ("s3", "sagemaker", "sagemaker-runtime")
        }
        s3, sagemaker, runtime = clients.values()
        text = "\n".join(",".join(map(str, row)) for row in rows.tolist()).encode()
        s3.put_object(Bucket=server.bucket, Key="model.tar.gz", Body=archive_of(model))
        s3.put_object(Bucket=server.bucket, Key="rows.csv", Body=text)
        container = {"Image": IMAGE, "ModelDataUrl": f"s3://{server.bucket}/model.tar.gz"}
        sagemaker.create_model(ModelName="m", PrimaryContainer=container, ExecutionRoleArn=server.role_arn)
        variant = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
        began = time.perf_counter()
        sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
        while sagemaker.describe_endpoint(EndpointName="e")["EndpointStatus"] == "Creating":
            time.sleep(0.02)
        results = {"CreateEndpoint to InService": f"{time.perf_counter() - began:.2f} s"}

        def ask(body: bytes) -> float:
            began = time.perf_counter()
            runtime.invoke_endpoint(EndpointName="e", Body=body, ContentType="text/csv")["Body"].read()
            return time.perf_counter() - began

        results["one row through the API, median"] = f"{1000 * statistics.median(ask(one) for _ in range(ROWS)):.1f} ms"
        size = f"{MANY} rows, {len(text) / 1e6:.1f} MB"
        results[f"{size}, through the API"] = f"{min(ask(text) for _ in range(3)):.2f} s"
        began = time.perf_counter()
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{server.bucket}/rows.csv"}}
        sagemaker.create_transform_job(
            TransformJobName="t",
            ModelName="m",
            TransformInput={"DataSource": source, "ContentType": "text/csv", "SplitType": "Line"},
            TransformOutput={"S3OutputPath": f"s3://{server.bucket}/out", "AssembleWith": "Line"},
            TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        )
        while sagemaker.describe_transform_job(TransformJobName="t")["TransformJobStatus"] == "InProgress":
            time.sleep(0.02)
        results[f"{size}, batch transform from creation to end"] = f"{time.perf_counter() - began:.2f} s"
    finally:
        local.stop(state_dir=state)
    return results


if __name__ == "__main__":
    main()
