"""The operations on transform jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sm_tuning._statuses import TransformStatus
from sm_tuning.local.records import TRANSFORM, RecordsContext, job_name_taken, served_model
from sm_tuning.local.service import Doc, Request, invalid, not_found, unsupported
from sm_tuning.local.store import HiddenMembers
from sm_tuning.local.transform._join import CSV, FILTERED
from sm_tuning.local.transform._paths import PathError
from sm_tuning.local.transform._work import Transforms, plain_type, processing_of

_MOST_PAYLOAD = 100  # MaxConcurrentTransforms times MaxPayloadInMB [API Reference, CreateTransformJob]


@dataclass(frozen=True)
class TransformContext:
    """The services that transform jobs use."""

    records: RecordsContext
    transforms: Transforms


def create_transform_job(context: TransformContext, request: Request) -> Doc:
    """CreateTransformJob; the request is checked completely first."""
    _check(context, request)
    model = served_model(context.records, request["ModelName"])
    now = round(context.records.clock(), 3)
    doc = {
        **request,
        "TransformInput": {"CompressionType": "None", "SplitType": "None", **request["TransformInput"]},
        "TransformOutput": {"AssembleWith": "None", **request["TransformOutput"]},
    }
    members = {
        "TransformJobStatus": str(TransformStatus.IN_PROGRESS),
        "LastModifiedTime": now,
        **HiddenMembers(_Model=model),
    }
    with job_name_taken(context.records, TRANSFORM, request):
        arn = TRANSFORM.create(context.records, doc, members)[TRANSFORM.arn]
    context.transforms.start(arn)
    return {TRANSFORM.arn: arn}


def describe_transform_job(context: TransformContext, request: Request) -> Doc:
    """DescribeTransformJob."""
    return TRANSFORM.described(_found(context, request))


def stop_transform_job(context: TransformContext, request: Request) -> Doc:
    """StopTransformJob; stopping a job in status Stopping is not an error."""
    doc = _found(context, request)
    status = TransformStatus(doc["TransformJobStatus"])
    if status.is_terminal:
        raise invalid(f"The request was rejected because the transform job is in status {status}.")
    context.records.store.update_resource(doc[TRANSFORM.arn], {"TransformJobStatus": str(TransformStatus.STOPPING)})
    context.transforms.stop(doc[TRANSFORM.arn])
    return {}


def list_transform_jobs(context: TransformContext, request: Request) -> Doc:
    """ListTransformJobs."""
    return TRANSFORM.page(context.records, request)


def _found(context: TransformContext, request: Request) -> Doc:
    doc = context.records.store.resource(context.records.identity.arn(TRANSFORM.arn_kind, request[TRANSFORM.name]))
    if doc is None:
        raise not_found(f"Could not find requested job with name: {request[TRANSFORM.name]}")
    return doc


def _check(context: TransformContext, request: Request) -> None:
    source, target = request["TransformInput"], request["TransformOutput"]
    if source.get("SplitType", "None") not in ("None", "Line"):
        raise unsupported(f"SplitType {source['SplitType']}; use Line or None")
    if request.get("ExperimentConfig"):
        raise unsupported("SageMaker Experiments; leave ExperimentConfig out")
    if request.get("DataCaptureConfig"):
        raise unsupported("data capture; leave DataCaptureConfig out")
    if "S3DataSource" not in source["DataSource"] or source["DataSource"]["S3DataSource"]["S3DataType"] not in (
        "S3Prefix",
        "ManifestFile",
    ):
        raise unsupported("this data source; give an S3DataSource with S3DataType S3Prefix or ManifestFile")
    for uri in (source["DataSource"]["S3DataSource"]["S3Uri"], target["S3OutputPath"]):
        if not uri.startswith("s3://"):
            raise invalid(f"{uri!r} does not begin with s3://.")
    bucket = target["S3OutputPath"].removeprefix("s3://").partition("/")[0]
    if not context.records.objects.has_bucket(bucket):
        raise invalid(f'The S3 bucket "{bucket}" of the output path "{target["S3OutputPath"]}" does not exist.')
    parallel, payload = request.get("MaxConcurrentTransforms"), request.get("MaxPayloadInMB")
    if parallel and payload and parallel * payload > _MOST_PAYLOAD:
        raise invalid(
            f"MaxConcurrentTransforms * MaxPayloadInMB must not exceed {_MOST_PAYLOAD} MB, but it is "
            f"{parallel} * {payload}."
        )
    if payload == 0 and source.get("SplitType", "None") != "None":
        raise invalid("MaxPayloadInMB 0 (no limit) needs SplitType None.")
    _check_processing(request)


def _check_processing(request: Request) -> None:
    try:
        processing = processing_of(request)
    except PathError as e:
        raise invalid(f"DataProcessing is invalid: {e}.") from e
    if processing is None:
        return
    given = {
        "ContentType": plain_type(request["TransformInput"].get("ContentType", "")),
        "Accept": processing.accept,
    }
    for member, kind in given.items():
        if kind not in FILTERED:
            raise invalid(f"DataProcessing needs a {member} of {', '.join(FILTERED)}, but it is {kind!r}.")
    if processing.join and (given["ContentType"] == CSV) != (given["Accept"] == CSV):
        raise invalid(f"JoinSource Input needs input and output in one format, but they are {given}.")
    kinds = {"InputFilter": given["ContentType"]}
    kinds["OutputFilter"] = given["ContentType"] if processing.join else given["Accept"]
    for member, path in (("InputFilter", processing.input_filter), ("OutputFilter", processing.output_filter)):
        if kinds[member] == CSV and not path.takes_indexes_only:
            raise invalid(f"{member} selects by name, but records of {CSV} have indexes only.")


def transform_operations(context: TransformContext) -> dict[str, Callable[[Request], Doc]]:
    """Return the operations on transform jobs."""
    return {
        "CreateTransformJob": partial(create_transform_job, context),
        "DescribeTransformJob": partial(describe_transform_job, context),
        "ListTransformJobs": partial(list_transform_jobs, context),
        "StopTransformJob": partial(stop_transform_job, context),
    }
