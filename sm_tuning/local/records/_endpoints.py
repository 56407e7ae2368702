"""The operations on models, endpoint configurations and endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sm_tuning._statuses import EndpointStatus
from sm_tuning.local.records._kinds import CONFIG, ENDPOINT, MODEL, RecordsContext, find_package, served_model
from sm_tuning.local.service import Doc, Request, invalid, unsupported
from sm_tuning.local.store import HiddenMembers, hidden

#: Members of CreateEndpointConfig that this server refuses.
_REFUSED = {
    "AsyncInferenceConfig": "asynchronous inference",
    "ExplainerConfig": "explainers",
    "ShadowProductionVariants": "shadow variants",
}
#: What UpdateEndpoint retains of a variant, by VariantPropertyType.
_RETAINED = {"DesiredWeight": "InitialVariantWeight", "DesiredInstanceCount": "InitialInstanceCount"}
#: Members of containers and of variants that it refuses; without them other data would be served.
_UNUSED = (
    ("ContainerDefinition", "AdditionalModelDataSources"),
    ("ContainerDefinition", "InferenceSpecificationName"),
    ("S3DataSource", "ManifestS3Uri"),
    ("S3DataSource", "ETag"),
    ("S3DataSource", "ManifestEtag"),
)
_UNUSED_OF_VARIANTS = ("AcceleratorType", "CoreDumpConfig", "CapacityReservationConfig")


def create_model(context: RecordsContext, request: Request) -> Doc:
    """CreateModel."""
    containers = [request["PrimaryContainer"]] if "PrimaryContainer" in request else request.get("Containers", [])
    if not containers or ("PrimaryContainer" in request and request.get("Containers")):
        raise invalid("Give either PrimaryContainer or Containers, not both and not neither.")
    for container in containers:
        if not container.get("Image") and not container.get("ModelPackageName"):
            raise invalid("A container needs an Image or a ModelPackageName.")
        if "ModelPackageName" in container:
            find_package(context, container["ModelPackageName"])
        source = container.get("ModelDataSource", {}).get("S3DataSource", {})
        for holder, member in _UNUSED:
            if (source if holder == "S3DataSource" else container).get(member):
                raise unsupported(f"{member} of a {holder}; leave it out")
        uri = source.get("S3Uri") or container.get("ModelDataUrl")
        found = [] if uri is None else context.objects.list_objects(uri)
        if uri is not None and not (found if source.get("S3DataType") == "S3Prefix" else uri in found):
            raise invalid(f"Could not find model data at {uri}.")
    isolation = bool(request.get("EnableNetworkIsolation"))
    doc = MODEL.create(context, request, {"EnableNetworkIsolation": isolation})
    return {"ModelArn": doc["ModelArn"]}


def create_config(context: RecordsContext, request: Request) -> Doc:
    """CreateEndpointConfig."""
    for member, feature in _REFUSED.items():
        if request.get(member):
            raise unsupported(f"{feature}; leave {member} out")
    if request.get("DataCaptureConfig", {}).get("EnableCapture"):
        raise unsupported("data capture; leave DataCaptureConfig out")
    variants = request["ProductionVariants"]
    names = [variant["VariantName"] for variant in variants]
    if len(set(names)) < len(names):
        raise invalid(f"Variant names must be unique, but they are {names}.")
    for variant in variants:
        if "ModelName" not in variant:
            raise unsupported("inference components; give each variant a ModelName")
        if ("ServerlessConfig" in variant) == ("InstanceType" in variant or "InstancePools" in variant):
            raise invalid("A variant needs either InstanceType or ServerlessConfig, not both and not neither.")
        for member in _UNUSED_OF_VARIANTS:
            if variant.get(member):
                raise unsupported(f"{member} of a variant; leave it out")
        MODEL.find(context, variant["ModelName"])
    filled = [{"InitialVariantWeight": 1.0, **variant} for variant in variants]
    doc = CONFIG.create(context, request, {"ProductionVariants": filled})
    return {"EndpointConfigArn": doc["EndpointConfigArn"]}


def create_endpoint(context: RecordsContext, request: Request) -> Doc:
    """CreateEndpoint; the model processes start in the background."""
    variants = _variants(context, request["EndpointConfigName"])
    members = {
        "EndpointStatus": str(EndpointStatus.CREATING),
        "LastModifiedTime": round(context.clock(), 3),
        **HiddenMembers(_Variants=variants),
    }
    doc = ENDPOINT.create(context, request, members)
    context.serving.deploy(doc["EndpointArn"])
    return {"EndpointArn": doc["EndpointArn"]}


def update_endpoint(context: RecordsContext, request: Request) -> Doc:
    """UpdateEndpoint: the new processes start, then the endpoint changes, then the old processes end."""
    doc = _settled(context, request["EndpointName"])
    variants = _variants(context, request["EndpointConfigName"])
    if request["EndpointConfigName"] == doc["EndpointConfigName"]:
        raise invalid("Cannot update endpoint: the endpoint configuration is the one that it has already.")
    if request.get("RetainAllVariantProperties"):
        excluded = [one["VariantPropertyType"] for one in request.get("ExcludeRetainedVariantProperties", [])]
        retained = [member for kind, member in _RETAINED.items() if kind not in excluded]
        old = {variant["VariantName"]: variant for variant in hidden(doc)["_Variants"]}
        variants = [
            {
                **new,
                **{member: value for member, value in old.get(new["VariantName"], {}).items() if member in retained},
            }
            for new in variants
        ]
    pending = {"EndpointConfigName": request["EndpointConfigName"], "_Variants": variants}
    members: Doc = {"EndpointStatus": str(EndpointStatus.UPDATING), **HiddenMembers(_Pending=pending)}
    if "DeploymentConfig" in request:
        members["LastDeploymentConfig"] = request["DeploymentConfig"]
    context.store.update_resource(doc["EndpointArn"], members)
    context.serving.deploy(doc["EndpointArn"])
    return {"EndpointArn": doc["EndpointArn"]}


def update_weights(context: RecordsContext, request: Request) -> Doc:
    """UpdateEndpointWeightsAndCapacities; numbers of instances change nothing on this machine but are shown."""
    doc = _settled(context, request["EndpointName"])
    variants = {variant["VariantName"]: dict(variant) for variant in hidden(doc)["_Variants"]}
    for desired in request["DesiredWeightsAndCapacities"]:
        variant = variants.get(desired["VariantName"])
        if variant is None:
            raise invalid(f"Variant {desired['VariantName']} is not in the endpoint {doc['EndpointName']}.")
        if "DesiredWeight" in desired:
            variant["InitialVariantWeight"] = desired["DesiredWeight"]
        if "DesiredInstanceCount" in desired:
            variant["InitialInstanceCount"] = desired["DesiredInstanceCount"]
    context.store.update_resource(doc["EndpointArn"], HiddenMembers(_Variants=list(variants.values())))
    return {"EndpointArn": doc["EndpointArn"]}


def describe_endpoint(context: RecordsContext, request: Request) -> Doc:
    """DescribeEndpoint."""
    doc = ENDPOINT.find(context, request["EndpointName"])
    described = ENDPOINT.described(doc)
    if doc["EndpointStatus"] not in (EndpointStatus.CREATING, EndpointStatus.FAILED):
        described["ProductionVariants"] = [_variant_summary(doc, variant) for variant in hidden(doc)["_Variants"]]
    return described


def delete_endpoint(context: RecordsContext, request: Request) -> Doc:
    """DeleteEndpoint; the processes end in the background."""
    arn = ENDPOINT.find(context, request["EndpointName"])["EndpointArn"]
    context.store.delete_resource(arn)
    context.serving.remove(arn)
    return {}


def _settled(context: RecordsContext, name: str) -> Doc:
    doc = ENDPOINT.find(context, name)
    if not EndpointStatus(doc["EndpointStatus"]).is_terminal:
        raise invalid(f'Cannot update in-progress endpoint "{doc["EndpointArn"]}".')
    if doc["EndpointStatus"] == EndpointStatus.FAILED:
        raise invalid(f'Cannot update failed endpoint "{doc["EndpointArn"]}": delete it and create it anew.')
    return doc


def _variants(context: RecordsContext, config: str) -> list[Doc]:
    """Return the variants of a configuration with their models, so that a deleted record changes no endpoint."""
    doc = CONFIG.find(context, config)
    found = [{**variant, "Model": served_model(context, variant["ModelName"])} for variant in doc["ProductionVariants"]]
    if doc.get("EnableNetworkIsolation"):  # of all containers of the endpoint
        found = [{**one, "Model": {**one["Model"], "EnableNetworkIsolation": True}} for one in found]
    return found


def _variant_summary(doc: Mapping[str, Any], variant: Mapping[str, Any]) -> Doc:
    image, weight = variant["Model"]["Container"]["Image"], variant["InitialVariantWeight"]
    deployed = {"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": doc["CreationTime"]}
    summary = {
        "VariantName": variant["VariantName"],
        "DeployedImages": [deployed],
        "CurrentWeight": weight,
        "DesiredWeight": weight,
    }
    if "ServerlessConfig" in variant:
        return {**summary, "CurrentServerlessConfig": variant["ServerlessConfig"], "CurrentInstanceCount": 0}
    count = variant.get("InitialInstanceCount", 1)
    return {**summary, "CurrentInstanceCount": count, "DesiredInstanceCount": count}
