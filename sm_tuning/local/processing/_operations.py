"""The operations on processing jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from sm_tuning._statuses import TransformStatus
from sm_tuning.local.processing._work import Processing
from sm_tuning.local.records import PROCESSING, RecordsContext, job_name_taken
from sm_tuning.local.service import Doc, Request, invalid, not_found, unsupported

_ROOT = "/opt/ml/"


@dataclass(frozen=True)
class ProcessingContext:
    """The services that processing jobs use."""

    records: RecordsContext
    processing: Processing


def create_processing_job(context: ProcessingContext, request: Request) -> Doc:
    """CreateProcessingJob; the request is checked completely first."""
    _check(context, request)
    now = round(context.records.clock(), 3)
    members = {"ProcessingJobStatus": str(TransformStatus.IN_PROGRESS), "LastModifiedTime": now}
    with job_name_taken(context.records, PROCESSING, request):
        arn = PROCESSING.create(context.records, request, members)[PROCESSING.arn]
    context.processing.start(arn)
    return {PROCESSING.arn: arn}


def describe_processing_job(context: ProcessingContext, request: Request) -> Doc:
    """DescribeProcessingJob."""
    return PROCESSING.described(_found(context, request))


def stop_processing_job(context: ProcessingContext, request: Request) -> Doc:
    """StopProcessingJob; stopping a job in status Stopping is not an error."""
    doc = _found(context, request)
    status = TransformStatus(doc["ProcessingJobStatus"])
    if status.is_terminal:
        raise invalid(f"The request was rejected because the processing job is in status {status}.")
    stopping = {"ProcessingJobStatus": str(TransformStatus.STOPPING)}
    context.records.store.update_resource(doc[PROCESSING.arn], stopping)
    context.processing.stop(doc[PROCESSING.arn])
    return {}


def list_processing_jobs(context: ProcessingContext, request: Request) -> Doc:
    """ListProcessingJobs."""
    return PROCESSING.page(context.records, request)


def _found(context: ProcessingContext, request: Request) -> Doc:
    arn = context.records.identity.arn(PROCESSING.arn_kind, request[PROCESSING.name])
    doc = context.records.store.resource(arn)
    if doc is None:
        raise not_found(f"Could not find requested job with name: {request[PROCESSING.name]}")
    return doc


def _check(context: ProcessingContext, request: Request) -> None:
    if problem := context.processing.context.container_problem:
        raise invalid(
            "The local SageMaker does not support processing jobs on this machine, since it cannot give a process an "
            f"/opt/ml of its own: {problem}."
        )
    if not request["AppSpecification"].get("ContainerEntrypoint"):
        raise unsupported("AppSpecification without ContainerEntrypoint, since it runs no containers; give a script")
    if request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] > 1:
        raise unsupported("processing jobs on more than one instance; set InstanceCount to 1")
    if request.get("ExperimentConfig"):
        raise unsupported("SageMaker Experiments; leave ExperimentConfig out")
    places = [*_input_places(request), *_output_places(context, request)]
    for place in places:
        if not place.startswith(_ROOT) or ".." in place.split("/"):
            raise invalid(f"LocalPath must be under /opt/ml/processing, but it is {place!r}.")


def _input_places(request: Request) -> Iterator[str]:
    for given in request.get("ProcessingInputs", []):
        if "S3Input" not in given or given.get("AppManaged"):
            raise unsupported(f"the input {given['InputName']!r}, which is not an S3Input")
        source = given["S3Input"]
        if source.get("S3InputMode", "File") != "File" or source.get("S3CompressionType", "None") != "None":
            raise unsupported("S3InputMode Pipe and compressed inputs; use File and None")
        if source.get("S3DataType") != "S3Prefix" or not source["S3Uri"].startswith("s3://"):
            raise unsupported("this S3Input; give S3DataType S3Prefix and an S3Uri that begins with s3://")
        yield source.get("LocalPath", "")


def _output_places(context: ProcessingContext, request: Request) -> Iterator[str]:
    for given in request.get("ProcessingOutputConfig", {}).get("Outputs", []):
        if "S3Output" not in given or given.get("AppManaged"):
            raise unsupported(f"the output {given['OutputName']!r}, which is not an S3Output")
        target = given["S3Output"]
        if target["S3UploadMode"] != "EndOfJob":
            raise unsupported("S3UploadMode Continuous; use EndOfJob")
        bucket = target["S3Uri"].removeprefix("s3://").partition("/")[0]
        if not target["S3Uri"].startswith("s3://") or not context.records.objects.has_bucket(bucket):
            raise invalid(f'The S3 bucket "{bucket}" of the output "{target["S3Uri"]}" does not exist.')
        yield target.get("LocalPath", "")


def processing_operations(context: ProcessingContext) -> dict[str, Callable[[Request], Doc]]:
    """Return the operations on processing jobs."""
    return {
        "CreateProcessingJob": partial(create_processing_job, context),
        "DescribeProcessingJob": partial(describe_processing_job, context),
        "ListProcessingJobs": partial(list_processing_jobs, context),
        "StopProcessingJob": partial(stop_processing_job, context),
    }
