"""The operations on model package groups and model packages."""

from __future__ import annotations

import copy
import hashlib
import json

from sm_tuning._statuses import PackageStatus
from sm_tuning.local.records._kinds import GROUP, PACKAGE, RecordsContext, conflict, find_package
from sm_tuning.local.service import Doc, Request, check_tags, invalid
from sm_tuning.local.store import HiddenMembers, NameTaken, hidden
from sm_tuning.request import service_model

_COMPLETED = str(PackageStatus.COMPLETED)


def create_group(context: RecordsContext, request: Request) -> Doc:
    """CreateModelPackageGroup."""
    members = {"ModelPackageGroupStatus": _COMPLETED, "CreatedBy": {}}
    return {GROUP.arn: GROUP.create(context, request, members)[GROUP.arn]}


def find_group(context: RecordsContext, name: str) -> Doc:
    """Return a group by name or ARN.

    Raises:
        Fault: ValidationException if it does not exist.
    """
    arn = name if name.startswith("arn:") else context.identity.arn(GROUP.arn_kind, name)
    doc = context.store.resource(arn)
    if doc is None:
        raise invalid(f"ModelPackageGroup {arn} does not exist.")
    return doc


def describe_group(context: RecordsContext, request: Request) -> Doc:
    """DescribeModelPackageGroup."""
    return {"CreatedBy": {}, **GROUP.described(find_group(context, request[GROUP.name]))}


def delete_group(context: RecordsContext, request: Request) -> Doc:
    """DeleteModelPackageGroup."""
    doc = find_group(context, request[GROUP.name])
    if _packages_of(context, doc):
        raise conflict("Model Package Group cannot be deleted because it still contains Model Packages.")
    context.store.delete_resource(doc[GROUP.arn])
    return {}


def create_package(context: RecordsContext, request: Request) -> Doc:
    """CreateModelPackage: a version of a group, or a package with a name; a repeated token changes nothing."""
    if (GROUP.name in request) == (PACKAGE.name in request):
        raise invalid("Give either ModelPackageGroupName or ModelPackageName, not both and not neither.")
    if "InferenceSpecification" not in request and "SourceAlgorithmSpecification" not in request:
        raise invalid("Give InferenceSpecification or SourceAlgorithmSpecification.")
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    token = request.get("ClientToken")
    known = _of_token(context, token, digest)
    if known is not None:
        return known
    check_tags(request.get("Tags", []))
    now = round(context.clock(), 3)
    doc = {
        **{name: copy.deepcopy(value) for name, value in request.items() if name not in ("Tags", "ClientToken")},
        "ModelPackageStatus": _COMPLETED,
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
        "CreationTime": now,
        "LastModifiedTime": now,
        "CertifyForMarketplace": bool(request.get("CertifyForMarketplace")),
        **(HiddenMembers(_Token=token, _Request=digest) if token is not None else {}),
    }
    if PACKAGE.name in request:
        return {PACKAGE.arn: PACKAGE.create(context, request, doc)[PACKAGE.arn]}
    group = find_group(context, request[GROUP.name])
    doc |= {
        GROUP.name: group[GROUP.name],
        "ModelApprovalStatus": request.get("ModelApprovalStatus", "PendingManualApproval"),
    }
    # Two requests at once get two versions: the second finds its number taken and takes the next. The token is looked
    # up after the number, so that of two requests with one token the second finds the package or the number taken.
    while True:
        version = 1 + max((version for version, _ in _packages_of(context, group)), default=0)
        known = _of_token(context, token, digest)
        if known is not None:
            return known
        arn = context.identity.arn(PACKAGE.arn_kind, f"{group[GROUP.name]}/{version}")
        try:
            doc |= {PACKAGE.arn: arn, "ModelPackageVersion": version}
            context.store.create_resource(arn, doc, request.get("Tags", []))
        except NameTaken:
            continue
        return {PACKAGE.arn: arn}


def _of_token(context: RecordsContext, token: str | None, digest: str) -> Doc | None:
    """Return the response to an earlier request with the token; None without one."""
    for doc in context.store.all_resources(PACKAGE.arn_kind) if token is not None else ():
        if hidden(doc).get("_Token") == token:
            if hidden(doc)["_Request"] != digest:
                raise conflict("The ClientToken was used with another request.")
            return {PACKAGE.arn: doc[PACKAGE.arn]}
    return None


def describe_package(context: RecordsContext, request: Request) -> Doc:
    """DescribeModelPackage."""
    doc = find_package(context, request[PACKAGE.name])
    details = {"ModelPackageStatusDetails": doc["ModelPackageStatusDetails"]}
    # A version has no ModelPackageName [Developer Guide, model-registry-details], although the model requires one: the
    # SageMaker SDK v3 would take it for the name by which it asks again.
    return {**PACKAGE.described(doc), **details}


def list_packages(context: RecordsContext, request: Request) -> Doc:
    """ListModelPackages: versions of a group, or packages with names of their own."""
    approval = request.get("ModelApprovalStatus")
    members = {name: value for name, value in request.items() if name != "ModelApprovalStatus"}
    if GROUP.name in request:
        group = find_group(context, request[GROUP.name])[GROUP.name]
        page = PACKAGE.page(context, members, within=f"{group.lower()}/")
    else:
        page = PACKAGE.page(context, members)
        kind = request.get("ModelPackageType", "Unversioned")
        wanted = {"Versioned": (True,), "Unversioned": (False,), "Both": (True, False)}[kind]
        page[PACKAGE.listed] = [item for item in page[PACKAGE.listed] if (GROUP.name in item) in wanted]
    if approval is not None:  # a page may have fewer entries than MaxResults
        page[PACKAGE.listed] = [item for item in page[PACKAGE.listed] if item.get("ModelApprovalStatus") == approval]
    return page


def update_package(context: RecordsContext, request: Request) -> Doc:
    """UpdateModelPackage."""
    doc = find_package(context, request[PACKAGE.arn])
    properties = {**doc.get("CustomerMetadataProperties", {}), **request.get("CustomerMetadataProperties", {})}
    for name in request.get("CustomerMetadataPropertiesToRemove", []):
        properties.pop(name, None)
    more = request.get("AdditionalInferenceSpecificationsToAdd", [])
    specifications = [*doc.get("AdditionalInferenceSpecifications", []), *more]
    plain = {
        name: value
        for name, value in request.items()
        if name not in (PACKAGE.arn, "ClientToken", "CustomerMetadataPropertiesToRemove")
        and name != "AdditionalInferenceSpecificationsToAdd"
    }
    members = {
        **plain,
        "CustomerMetadataProperties": properties or None,
        "AdditionalInferenceSpecifications": specifications or None,
    }
    context.store.update_resource(doc[PACKAGE.arn], members)
    return {PACKAGE.arn: doc[PACKAGE.arn]}


def delete_package(context: RecordsContext, request: Request) -> Doc:
    """DeleteModelPackage."""
    context.store.delete_resource(find_package(context, request[PACKAGE.name])[PACKAGE.arn])
    return {}


def batch_describe_packages(context: RecordsContext, request: Request) -> Doc:
    """BatchDescribeModelPackage."""
    found: Doc = {"ModelPackageSummaries": {}, "BatchDescribeModelPackageErrorMap": {}}
    for arn in request["ModelPackageArnList"]:
        doc = context.store.resource(arn)
        if doc is None:
            error = {"ErrorCode": "ValidationException", "ErrorResponse": f"ModelPackage {arn} does not exist."}
            found["BatchDescribeModelPackageErrorMap"][arn] = error
            continue
        names = service_model().shape_for("BatchDescribeModelPackageSummary").members
        found["ModelPackageSummaries"][arn] = {name: doc[name] for name in names if name in doc}
    return found


def _packages_of(context: RecordsContext, group: Doc) -> list[tuple[int, Doc]]:
    return [
        (doc["ModelPackageVersion"], doc)
        for doc in context.store.all_resources(PACKAGE.arn_kind)
        if doc.get(GROUP.name) == group[GROUP.name]
    ]
