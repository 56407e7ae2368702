"""The operations on transform jobs."""

from __future__ import annotations

from collections.abc import Callable

from sm_tuning.local.records import TRANSFORM, JobContext, create_job, job_operations, served_model
from sm_tuning.local.service import Doc, Request, invalid, unsupported
from sm_tuning.local.store import HiddenMembers
from sm_tuning.local.transform._join import CSV, FILTERED
from sm_tuning.local.transform._paths import PathError
from sm_tuning.local.transform._work import Transforms, plain_type, processing_of

_MOST_PAYLOAD = 100  # MaxConcurrentTransforms times MaxPayloadInMB [API Reference, CreateTransformJob]


def create_transform_job(context: JobContext[Transforms], request: Request) -> Doc:
    """CreateTransformJob; the request is checked completely first."""
    _check(context, request)
    model = served_model(context.records, request["ModelName"])
    doc = {
        **request,
        "TransformInput": {"CompressionType": "None", "SplitType": "None", **request["TransformInput"]},
        "TransformOutput": {"AssembleWith": "None", **request["TransformOutput"]},
    }
    return create_job(context, TRANSFORM, doc, HiddenMembers(_Model=model))


def _check(context: JobContext[Transforms], request: Request) -> None:
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


def transform_operations(context: JobContext[Transforms]) -> dict[str, Callable[[Request], Doc]]:
    """Return the operations on transform jobs."""
    return job_operations(context, TRANSFORM, create_transform_job)
