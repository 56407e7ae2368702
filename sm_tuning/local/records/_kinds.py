"""What the records have in common: their services, their names and errors, descriptions and lists."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sm_tuning.local._config import Identity
from sm_tuning.local.service import Doc, Fault, Objects, Request, check_tags, invalid, list_query, unsupported
from sm_tuning.local.serving import is_served
from sm_tuning.local.store import NameTaken, Store
from sm_tuning.request import service_model


class Serving(Protocol):
    """The endpoints at work."""

    def deploy(self, arn: str) -> None:
        """Start the processes of an endpoint that is Creating or Updating."""

    def remove(self, arn: str) -> None:
        """End the processes of a deleted endpoint."""


@dataclass(frozen=True)
class RecordsContext:
    """The services that the records use; ``clock`` returns epoch seconds."""

    store: Store
    objects: Objects
    identity: Identity
    clock: Callable[[], float]
    serving: Serving


@dataclass(frozen=True)
class Kind:
    """A kind of resource.

    Attributes:
        arn_kind: the part of the ARN before the name, such as ``endpoint-config``.
        prefix: with which the API's names of its members begin, such as ``EndpointConfig``.
        words: as error messages name it.
        listed: member of the list operation's response.
        descending: whether the newest come first by default.
        taken: message of the service for a name that is taken.
    """

    arn_kind: str
    prefix: str
    words: str
    listed: str
    descending: bool = True
    taken: str = 'Cannot create already existing {words} "{arn}".'

    @property
    def name(self) -> str:
        """The member with the name."""
        return f"{self.prefix}Name"

    @property
    def arn(self) -> str:
        """The member with the ARN."""
        return f"{self.prefix}Arn"

    def find(self, context: RecordsContext, name: str) -> Doc:
        """Return a document by name.

        Raises:
            Fault: ValidationException if it does not exist.
        """
        arn = context.identity.arn(self.arn_kind, name)
        doc = context.store.resource(arn)
        if doc is None:
            raise invalid(f'Could not find {self.words} "{arn}".')
        return doc

    def create(self, context: RecordsContext, request: Request, members: Mapping[str, Any]) -> Doc:
        """Add a document with the members of a request, and return it.

        Raises:
            Fault: ValidationException if the name is taken, or the tags are invalid.
        """
        tags = request.get("Tags", [])
        check_tags(tags)
        now = round(context.clock(), 3)
        arn = context.identity.arn(self.arn_kind, request[self.name])
        given = {name: copy.deepcopy(value) for name, value in request.items() if name not in ("Tags", "ClientToken")}
        doc: Doc = {**given, self.arn: arn, "CreationTime": now, **members}
        try:
            context.store.create_resource(arn, doc, tags)
        except NameTaken as e:
            raise invalid(self.taken.format(words=self.words, arn=arn)) from e
        return doc

    def described(self, doc: Mapping[str, Any]) -> Doc:
        """Return the response of the Describe operation: the members that were given, and no empty ones."""
        return _members_of(service_model().operation_model(f"Describe{self.prefix}").output_shape, doc)

    def page(self, context: RecordsContext, request: Request, *, within: str | None = None) -> Doc:
        """Return the response of the List operation.

        Args:
            context: the services.
            request: the request.
            within: only names that begin with this text.
        """
        order = "Descending" if self.descending else "Ascending"
        query = list_query({"SortOrder": order, **request}, sort_by="CreationTime")
        query = replace(query, kind=self.arn_kind, prefix=within)
        docs, token = context.store.page_resources(query)
        shape = service_model().shape_for(f"{self.prefix}Summary")
        page: Doc = {self.listed: [_members_of(shape, doc) for doc in docs]}
        return page if token is None else {**page, "NextToken": token}


def _members_of(shape: Any, doc: Mapping[str, Any]) -> Doc:
    return {name: doc[name] for name in shape.members if doc.get(name) not in (None, {}, [])}


MODEL = Kind("model", "Model", "model", "Models")
CONFIG = Kind("endpoint-config", "EndpointConfig", "endpoint configuration", "EndpointConfigs")
ENDPOINT = Kind("endpoint", "Endpoint", "endpoint", "Endpoints")
GROUP = Kind(
    "model-package-group",
    "ModelPackageGroup",
    "model package group",
    "ModelPackageGroupSummaryList",
    descending=False,
    taken="Model Package Group already exists: {arn}",
)
PACKAGE = Kind("model-package", "ModelPackage", "model package", "ModelPackageSummaryList", descending=False)

PROCESSING = Kind("processing-job", "ProcessingJob", "processing job", "ProcessingJobSummaries")
TRANSFORM = Kind("transform-job", "TransformJob", "transform job", "TransformJobSummaries")


def served_model(context: RecordsContext, name: str) -> Doc:
    """Return what a model process needs of a model: its container definition and its network isolation.

    Raises:
        Fault: the model does not exist, or this machine cannot serve it.
    """
    model = MODEL.find(context, name)
    containers = [model["PrimaryContainer"]] if "PrimaryContainer" in model else model.get("Containers", [])
    if len(containers) != 1:
        raise unsupported(f"models with {len(containers)} containers (inference pipelines); give one container")
    container: Doc = dict(containers[0])
    if container.get("Mode", "SingleModel") != "SingleModel":
        raise unsupported("multi-model endpoints; give each model an endpoint")
    if "ModelPackageName" in container:
        package = find_package(context, container["ModelPackageName"])
        inner = package.get("InferenceSpecification", {}).get("Containers", [])
        if len(inner) != 1:
            raise unsupported(f"model packages with {len(inner)} containers; give one container")
        environment = {**inner[0].get("Environment", {}), **container.get("Environment", {})}
        container = {**inner[0], "Environment": environment}
    if not is_served(container.get("Image", "")):
        raise unsupported(
            f"serving the image {container.get('Image')!r}: it serves the built-in XGBoost, and scripts of the images "
            "for XGBoost, PyTorch and scikit-learn"
        )
    return {"Container": container, "EnableNetworkIsolation": bool(model.get("EnableNetworkIsolation"))}


def find_package(context: RecordsContext, name: str) -> Doc:
    """Return a model package by name or ARN.

    Raises:
        Fault: ValidationException if it does not exist.
    """
    arn = name if name.startswith("arn:") else context.identity.arn(PACKAGE.arn_kind, name)
    doc = context.store.resource(arn)
    if doc is None:
        raise invalid(f"ModelPackage {arn} does not exist.")
    return doc


def conflict(message: str) -> Fault:
    """Return a ConflictException."""
    return Fault("ConflictException", message)
