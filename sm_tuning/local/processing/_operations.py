"""The operations on processing jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sm_tuning.local.processing._work import Processing
from sm_tuning.local.records import PROCESSING, JobContext, create_job, job_operations
from sm_tuning.local.service import Doc, Request, invalid, unsupported

_ROOT = "/opt/ml/"


def create_processing_job(context: JobContext[Processing], request: Request) -> Doc:
    """CreateProcessingJob; the request is checked completely first."""
    _check(context, request)
    return create_job(context, PROCESSING, request, {})


def _check(context: JobContext[Processing], request: Request) -> None:
    if problem := context.jobs.context.container_problem:
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


def _output_places(context: JobContext[Processing], request: Request) -> Iterator[str]:
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


def processing_operations(context: JobContext[Processing]) -> dict[str, Callable[[Request], Doc]]:
    """Return the operations on processing jobs."""
    return job_operations(context, PROCESSING, create_processing_job)
