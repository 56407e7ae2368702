"""Requests that are nearly right: made from botocore's model, broken in a few places, signed properly."""

from __future__ import annotations

import copy
import functools
import http.client
import json
import random
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.loaders import Loader
from botocore.model import ServiceModel

TARGETS = {"sagemaker": "SageMaker", "logs": "Logs_20140328"}
GROUP = "/aws/sagemaker/TrainingJobs"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """One connection to the server, over which anything can be sent with a valid signature."""

    def __init__(self, info: Any) -> None:
        self._info = info
        self._credentials = Credentials(info.access_key_id, info.secret_access_key)
        self._connection = http.client.HTTPConnection(urlsplit(info.endpoint_url).netloc, timeout=30)

    def send(self, service: str, body: bytes, **headers: str) -> Answer:
        request = AWSRequest("POST", self._info.endpoint_url, data=body, headers=headers)
        SigV4Auth(self._credentials, service, self._info.region).add_auth(request)
        self._connection.request("POST", "/", body, dict(request.headers))
        response = self._connection.getresponse()
        named = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, named, response.read())

    def call(self, service: str, operation: str, params: Any) -> Answer:
        target = {"X-Amz-Target": f"{TARGETS[service]}.{operation}", "Content-Type": "application/x-amz-json-1.1"}
        return self.send(service, json.dumps(params).encode(), **target)

    def close(self) -> None:
        self._connection.close()


def plausible(shape: Any, choose: random.Random, depth: int = 0) -> Any:
    """Return a value of a shape; optional members are there now and then."""
    kind = shape.type_name
    if kind == "structure":
        wanted = [
            name for name in shape.members if name in shape.required_members or (depth < 4 and choose.random() < 0.25)
        ]
        return {name: plausible(shape.members[name], choose, depth + 1) for name in wanted}
    if kind == "list":
        return [plausible(shape.member, choose, depth + 1) for _ in range(max(1, shape.metadata.get("min", 0)))]
    if kind == "map":
        return {"key": plausible(shape.value, choose, depth + 1)}
    if kind in ("integer", "long"):
        return choose.choice([shape.metadata.get("min", 1), shape.metadata.get("max", 7), 3])
    if kind in ("float", "double", "timestamp"):
        return choose.choice([0.5, 1_700_000_000.0])
    if kind == "boolean":
        return choose.random() < 0.5
    return choose.choice(shape.enum) if shape.enum else choose.choice(["a", "job-1", "s3://bucket/key", "1"])


@functools.cache
def model(service: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


JUNK: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**31,
    2**63,
    -(2**70),
    1.5,
    1e308,
    float("nan"),
    float("inf"),
    "",
    " ",
    "nan",
    "1e999",
    "-1",
    "0x10",
    "x" * 10_000,
    "\x00",
    "\ud800",
    "\u202e\U0001f600 \u00fc",
    "../../etc/passwd",
    "%s%n{0}",
    "'; DROP TABLE training_jobs; --",
    "arn:aws:sagemaker:us-east-1:123456789012:training-job/",
    [],
    {},
    [[]],
    [None],
    [{}],
    {"": ""},
    {"a": [{"b": None}]},
    ["x"] * 300,
    {str(i): str(i) for i in range(300)},
]


def mutate(params: Any, choose: random.Random) -> Any:
    """Return the parameters with one place changed: dropped, replaced, doubled, renamed or nested too deep."""
    broken = copy.deepcopy(params)
    places = [(None, None), *_places(broken)]
    holder, key = choose.choice(places)
    junk = copy.deepcopy(choose.choice(JUNK))
    if holder is None:
        return broken if isinstance(junk, dict) else junk
    how = choose.randrange(6)
    if how == 0:
        del holder[key]
    elif how == 1 and isinstance(holder, dict):
        holder[f"{key}X"] = holder.pop(key)
    elif how == 2 and isinstance(holder[key], list):
        holder[key] = holder[key] * choose.choice([2, 50])
    elif how == 3:
        for _ in range(choose.choice([1, 5, 60])):
            holder[key] = {"a": holder[key]} if choose.random() < 0.5 else [holder[key]]
    else:
        holder[key] = junk
    return broken


def _places(value: Any) -> list[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, item in items:
        found += [(value, key), *_places(item)]
    return found
