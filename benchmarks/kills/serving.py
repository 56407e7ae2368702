"""kill -9 among endpoints and transforms: of servers, of supervisors and of model processes, at random moments.

Clients predict with an endpoint all the time, and a new transform job starts after each death. A prediction that
arrives must be that of ``Booster.predict``; the output of a transform job must be complete and there once, or, if the
job failed, not at all; and in the end no process, socket or file may be left.
"""

from __future__ import annotations

import contextlib
import io
import random
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import numpy as np
import psutil
import xgboost as xgb
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sm_tuning.executor import Files
from sm_tuning.local import ServerInfo, status

REGISTRY = "683313688378.dkr.ecr.us-east-1.amazonaws.com"
XGBOOST, SKLEARN = f"{REGISTRY}/sagemaker-xgboost:1.7-1", f"{REGISTRY}/sagemaker-scikit-learn:1.2-1-cpu-py3"
ROWS = np.random.default_rng(0).normal(size=(200, 3)).round(3)
LINES = b"".join(b"%d\n" % number for number in range(40))
DOUBLED = b"".join(b"%d\n" % (2 * number) for number in range(40))
SCRIPT = """
import time

def model_fn(model_dir):
    return None

def input_fn(body, content_type):
    return body if isinstance(body, str) else body.decode()

def predict_fn(text, model):
    time.sleep(0.03)
    return "".join(f"{2 * int(line)}\\n" for line in text.split())

def output_fn(answer, accept):
    return answer
"""
VICTIMS = ("server", "supervisor", "model process")
CALLERS = 2
_WAIT_SECONDS = 90.0


class Result(NamedTuple):
    """What happened in a campaign.

    Attributes:
        kills: deaths by kind.
        predictions: answers that arrived, all of them right.
        refusals: invocations that ended in an error, by its kind.
        transforms: transform jobs by status.
        wrong: a sentence for each thing that is wrong.
    """

    kills: Mapping[str, int]
    predictions: int
    refusals: Mapping[str, int]
    transforms: Mapping[str, int]
    wrong: list[str]


class Clients:
    """Clients of one state dir, whose server keeps its address and keys."""

    def __init__(self, info: ServerInfo) -> None:
        self.info = info
        session = boto3.Session(info.access_key_id, info.secret_access_key, region_name=info.region)
        config = Config(proxies={}, retries={"total_max_attempts": 1})
        self.s3, self.sagemaker, self.runtime = (
            session.client(name, endpoint_url=info.endpoint_url, config=config)
            for name in ("s3", "sagemaker", "sagemaker-runtime")
        )

    def model(self, name: str, image: str, files: Mapping[str, bytes], environment: Mapping[str, str]) -> None:
        """Upload and create a model."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            for path, data in files.items():
                member = tarfile.TarInfo(path)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        self.s3.put_object(Bucket=self.info.bucket, Key=f"{name}.tar.gz", Body=archive.getvalue())
        uri = f"s3://{self.info.bucket}/{name}.tar.gz"
        container = {"Image": image, "ModelDataUrl": uri, "Environment": dict(environment)}
        self.sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=self.info.role_arn)

    def serve(self, endpoint: str, model: str) -> None:
        """Create an endpoint."""
        variant = {"VariantName": "v", "ModelName": model, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        self.sagemaker.create_endpoint_config(EndpointConfigName=endpoint, ProductionVariants=[variant])
        self.sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=endpoint)

    def transform(self, name: str) -> None:
        """Create a transform job, which takes more than a second."""
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{self.info.bucket}/data/"}}
        self.sagemaker.create_transform_job(
            TransformJobName=name,
            ModelName="script",
            BatchStrategy="SingleRecord",
            TransformInput={"DataSource": source, "ContentType": "text/csv", "SplitType": "Line"},
            TransformOutput={"S3OutputPath": f"s3://{self.info.bucket}/{name}", "AssembleWith": "Line"},
            TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        )

    def outputs(self, name: str) -> dict[str, bytes]:
        """Return the objects that a transform job has written, by key."""
        found = self.s3.list_objects_v2(Bucket=self.info.bucket, Prefix=f"{name}/").get("Contents", [])
        return {
            item["Key"].removeprefix(f"{name}/"): self.s3.get_object(Bucket=self.info.bucket, Key=item["Key"])[
                "Body"
            ].read()
            for item in found
        }


class Callers:
    """Threads that predict all the time."""

    def __init__(self, clients: Clients, expected: np.ndarray[Any, Any]) -> None:
        self._clients, self._expected = clients, expected
        self._ending, self._lock = threading.Event(), threading.Lock()
        self.right, self.wrong, self.refusals = 0, 0, Counter[str]()
        self._threads = [threading.Thread(target=self._call, args=(seed,)) for seed in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    def predict(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the predictions of the endpoint."""
        body = "\n".join(",".join(map(str, row)) for row in rows.tolist())
        answer = self._clients.runtime.invoke_endpoint(EndpointName="endpoint", Body=body, ContentType="text/csv")
        return np.float32(answer["Body"].read().split())

    def _call(self, seed: int) -> None:
        moments = random.Random(seed)
        while not self._ending.is_set():
            first = moments.randrange(len(ROWS) - 20)
            chosen = slice(first, first + moments.randrange(1, 20))
            try:
                found = self.predict(ROWS[chosen])
            except (BotoCoreError, ClientError) as error:
                kind = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
                with self._lock:
                    self.refusals[kind] += 1
                self._ending.wait(0.05)
                continue
            is_right = np.array_equal(found, self._expected[chosen])
            with self._lock:
                self.right, self.wrong = self.right + is_right, self.wrong + (not is_right)

    def end(self) -> None:
        """Let the threads end."""
        self._ending.set()
        for thread in self._threads:
            thread.join()


def wait_for(what: str, condition: Callable[[], Any], seconds: float = _WAIT_SECONDS) -> Any:
    """Return the first value of a condition that is true; connections that fail are tried again."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(BotoCoreError):
            value = condition()
            if value:
                return value
        time.sleep(0.02)
    raise TimeoutError(what)


def models_of(folder: Path) -> list[psutil.Process]:
    """Return the model processes that live."""
    found = []
    for place in (folder / "models").glob("*/host"):
        pid = Files(place).read_process()
        with contextlib.suppress(psutil.Error):
            if pid is not None and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(psutil.Process(pid))
    return found


def kill_one(folder: Path, kind: str, moments: random.Random) -> bool:
    """Kill a model process or its supervisor; return False if there is none."""
    with contextlib.suppress(psutil.Error, IndexError):
        process = moments.choice(models_of(folder))
        victim = process if kind == "model process" else process.parent()
        info = status(folder)
        if victim is not None and info is not None and victim.pid not in (1, info.pid):
            victim.kill()
            return True
    return False


def left_over(folder: Path) -> Iterator[str]:
    """Yield what is left of a state dir whose server has ended."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE or process.pid == psutil.Process().pid:
                continue
            words = [*process.cmdline(), *process.environ().values(), process.cwd()]
            if any(str(folder) in word for word in words):
                yield f"the process {process.pid} is left: {' '.join(process.cmdline())[:200]}"
    for path in folder.rglob("*"):
        if path.is_socket():
            yield f"the socket {path} is left"
    yield from (f"the folder {path} is left" for path in (folder / "models").iterdir())
    for connection in psutil.net_connections("unix"):
        if str(folder) in str(connection.laddr):
            yield f"the socket {connection.laddr} is open"


def campaign(folder: Path, kills: int, seed: int, start: Callable[[Path], Callable[[], None]]) -> Result:
    """Kill again and again while clients predict and transform jobs run, and look at what comes of it.

    Args:
        folder: a new state dir.
        kills: number of deaths.
        seed: of the moments.
        start: starts a server on a state dir, and returns how to kill it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    moments, counted = random.Random(seed), Counter[str]()
    matrix = xgb.DMatrix(ROWS, label=ROWS @ [1.0, -2.0, 0.5])
    booster = xgb.train({"max_depth": 3}, matrix, 20)
    kill = start(folder)
    clients = Clients(wait_for("the server", lambda: status(folder)))
    clients.s3.put_object(Bucket=clients.info.bucket, Key="data/in.csv", Body=LINES)
    clients.model("xgboost", XGBOOST, {"xgboost-model": bytes(booster.save_raw("ubj"))}, {})
    in_model = {"SAGEMAKER_PROGRAM": "serve.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
    clients.model("script", SKLEARN, {"code/serve.py": SCRIPT.encode()}, in_model)
    clients.serve("endpoint", "xgboost")
    callers = Callers(clients, booster.predict(matrix))
    wrong: list[str] = []
    names = [f"transform-{number}" for number in range(kills)]
    try:
        for number, name in enumerate(names):
            wait_for("a server that answers", lambda name=name: clients.transform(name) or True)
            kind = VICTIMS[number % len(VICTIMS)]
            if kind != "server":  # a model that dies while its endpoint is created fails the endpoint, as on AWS
                wait_for("the endpoint", lambda: status_of(clients) != "Creating")
            time.sleep(moments.uniform(0.0, 2.0))
            if kind == "server":
                kill()
                kill = start(folder)
            else:
                wait_for(f"a {kind}", lambda kind=kind: kill_one(folder, kind, moments))
            counted[kind] += 1
        transforms = {name: settled(clients, name) for name in names}
        wait_for("the endpoint", lambda: is_right(callers, booster, matrix))
    except TimeoutError as error:
        wrong.append(f"{error} did not come in {_WAIT_SECONDS:g} seconds: the endpoint is {status_of(clients)}")
        transforms = {}
    finally:
        callers.end()
    wrong += [f"{callers.wrong} predictions were wrong"] if callers.wrong else []
    wrong += [text for name, described in transforms.items() for text in problems(clients, name, described)]
    clients.sagemaker.delete_endpoint(EndpointName="endpoint")
    with contextlib.suppress(TimeoutError):
        wait_for("the end of all models", lambda: not list((folder / "models").iterdir()))
    kill()
    with contextlib.suppress(TimeoutError):  # supervisors end after their server
        wait_for("the end of all processes", lambda: not list(left_over(folder)), 20)
    wrong += left_over(folder)
    statuses = Counter(described["TransformJobStatus"] for described in transforms.values())
    return Result(counted, callers.right, callers.refusals, statuses, wrong)


def status_of(clients: Clients) -> str:
    """Return the status of the endpoint."""
    return str(clients.sagemaker.describe_endpoint(EndpointName="endpoint")["EndpointStatus"])


def settled(clients: Clients, name: str) -> Mapping[str, Any]:
    """Return the description of a transform job that has ended."""

    def described() -> Any:
        found = clients.sagemaker.describe_transform_job(TransformJobName=name)
        return None if found["TransformJobStatus"] in ("InProgress", "Stopping") else found

    return dict(wait_for(f"the end of {name}", described))


def is_right(callers: Callers, booster: xgb.Booster, matrix: xgb.DMatrix) -> bool:
    """Return whether the endpoint predicts all rows rightly."""
    with contextlib.suppress(ClientError):
        return bool(np.array_equal(callers.predict(ROWS), booster.predict(matrix)))
    return False


def problems(clients: Clients, name: str, described: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a transform job that has ended."""
    found, result = clients.outputs(name), described["TransformJobStatus"]
    if result == "Completed" and found != {"in.csv.out": DOUBLED}:
        yield f"{name} is Completed and wrote {[(key, len(data)) for key, data in found.items()]}"
    if result == "Failed" and found:  # its only object was not transformed
        yield f"{name} is Failed and wrote {sorted(found)}"
    if result not in ("Completed", "Failed"):
        yield f"{name} is {result}"
    if result == "Failed" and "Error" not in described.get("FailureReason", ""):
        yield f"{name} failed without a reason"
