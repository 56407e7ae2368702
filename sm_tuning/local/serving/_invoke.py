"""InvokeEndpoint of the runtime API."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from sm_tuning._statuses import EndpointStatus
from sm_tuning.executor.serving import Answer, HostGoneError, Invocation, ServingError
from sm_tuning.local._config import Identity
from sm_tuning.local.service import Fault, refused_operation
from sm_tuning.local.serving._endpoints import LOG_GROUP, EndpointServing
from sm_tuning.local.store import Store, hidden

_MOST_BYTES = 6_291_456  # botocore model of the runtime, BodyBlob
_MOST_BYTES_SERVERLESS = 4 * 1024 * 1024  # Developer Guide, serverless-endpoints
_MODEL_SECONDS = 60.0  # Developer Guide, your-algorithms-inference-code
_LONGEST_MESSAGE = 4096
_PATH = re.compile(r"/endpoints/(?P<name>[^/]+)/(?P<what>[^/]+)")
#: Members of the request that choose or change what answers, and why they cannot here.
_REFUSED = {
    "x-amzn-sagemaker-target-model": ("TargetModel", "it serves one model for each variant"),
    "x-amzn-sagemaker-target-container-hostname": (
        "TargetContainerHostname",
        "it serves one container for each variant",
    ),
    "x-amzn-sagemaker-inference-component": ("InferenceComponentName", "it serves one model for each variant"),
    "x-amzn-sagemaker-enable-explanations": ("EnableExplanations", "it has no explainers"),
    "x-amzn-sagemaker-session-id": ("SessionId", "it keeps no sessions"),
}
_PASSED_ON = ("x-amzn-sagemaker-custom-attributes", "x-amzn-sagemaker-inference-id")


@dataclass(frozen=True)
class Predictions:
    """The response to an invocation; ``headers`` are those of the API."""

    body: bytes
    content_type: str
    headers: Mapping[str, str]


class Invoker:
    """Answers invocations.

    Args:
        store: holds the endpoints.
        serving: their processes.
        identity: account and region.
    """

    def __init__(self, store: Store, serving: EndpointServing, identity: Identity) -> None:
        self._store = store
        self._serving = serving
        self._identity = identity

    def invoke(self, path: str, headers: Mapping[str, str], body: bytes) -> Predictions:
        """Return the predictions of an endpoint.

        Args:
            path: of the request.
            headers: with names in lower case.
            body: the input of the model.

        Raises:
            Fault: the endpoint does not exist or does not serve, the request is too large, or the model failed.
        """
        match = _PATH.fullmatch(path)
        if match is None or match["what"] != "invocations":
            what = match["what"] if match else path
            raise refused_operation(f"{what!r} of SageMaker Runtime", "it answers InvokeEndpoint")
        for header, (member, why) in _REFUSED.items():
            if header in headers:
                raise refused_operation(f"{member} of InvokeEndpoint", why)
        name = unquote(match["name"])
        doc = self._store.resource(self._identity.arn("endpoint", name))
        if doc is None:
            raise _refused(f"Endpoint {name} of account {self._identity.account_id} not found.")
        if doc["EndpointStatus"] not in (EndpointStatus.IN_SERVICE, EndpointStatus.UPDATING):
            raise _refused(f"Endpoint {name} of account {self._identity.account_id} is {doc['EndpointStatus']}.")
        variant = self._variant(doc, headers.get("x-amzn-sagemaker-target-variant"))
        most = _MOST_BYTES_SERVERLESS if "ServerlessConfig" in variant else _MOST_BYTES
        if len(body) > most:
            raise Fault("ValidationError", f"Body has {len(body)} bytes, more than the {most} that are accepted.", 413)
        passed = {key: headers[key] for key in _PASSED_ON if key in headers}
        request = Invocation(body, headers.get("content-type"), headers.get("accept"), passed)
        answer = self._ask(doc, variant, request)
        if answer.status >= 400:
            raise self._model_fault(doc, answer)
        return Predictions(
            answer.body,
            answer.content_type or "application/octet-stream",
            {"x-Amzn-Invoked-Production-Variant": variant["VariantName"]},
        )

    def _variant(self, doc: Mapping[str, Any], target: str | None) -> Mapping[str, Any]:
        variants = hidden(doc)["_Variants"]
        if target is not None:
            found = [variant for variant in variants if variant["VariantName"] == target]
            if not found:
                raise _refused(f"Variant {target} not found for endpoint {doc['EndpointName']}.")
            return found[0]
        weights = [float(variant.get("InitialVariantWeight", 1.0)) for variant in variants]
        return random.choices(variants, weights if sum(weights) > 0 else None)[0]  # noqa: S311 - no secret

    def _ask(self, doc: Mapping[str, Any], variant: Mapping[str, Any], request: Invocation) -> Answer:
        try:
            key = (doc["EndpointArn"], doc["EndpointConfigName"], variant["VariantName"])
            with self._serving.use(key, variant) as started:
                return started.host.invoke(request, _MODEL_SECONDS)
        except TimeoutError as e:
            message = f"Your model did not answer within {_MODEL_SECONDS:g} seconds."
            raise self._model_fault(doc, Answer(504, message.encode())) from e
        except HostGoneError as e:
            raise self._model_fault(doc, Answer(500, str(e).encode())) from e
        except ServingError as e:
            raise self._model_fault(doc, Answer(503, str(e).encode())) from e

    def _model_fault(self, doc: Mapping[str, Any], answer: Answer) -> Fault:
        side = "client" if answer.status < 500 else "server"
        original = answer.body.decode("utf-8", "replace")[:_LONGEST_MESSAGE]
        group = LOG_GROUP + doc["EndpointName"]
        region, account = self._identity.region, self._identity.account_id
        url = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#logEventViewer:group={group}"
        return Fault(
            "ModelError",
            f'Received {side} error ({answer.status}) from primary with message "{original}". See {url} in account '
            f"{account} for more information.",
            424,
            {
                "OriginalStatusCode": answer.status,
                "OriginalMessage": original,
                "LogStreamArn": f"arn:aws:logs:{region}:{account}:log-group:{group}",
            },
        )


def _refused(message: str) -> Fault:
    return Fault("ValidationError", message)
