"""Launching the same thing twice: a pipeline that is tried again finds the job that it made.

A job that is launched under a name of the user's carries a digest of its request as a tag. The request holds the
whole spec, and scripts and data by their content, so that the same digest means the same job.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sm_tuning._errors import JobNotFoundError, SpecError
from sm_tuning._wire import JOB_NAME_KEY
from sm_tuning.aws import Aws

#: The tag that holds the digest.
SPEC_HASH_TAG = "sm-tuning:spec-hash"

#: Most tags of a job [botocore model, TagList].
_MAX_TAGS = 50


def spec_hash(request: Mapping[str, Any]) -> str:
    """Return the digest of a request whose own name is left out, here and where script mode repeats it."""
    rest = {key: value for key, value in request.items() if key not in ("HyperParameterTuningJobName", "Tags")}
    tags = sorted((tag["Key"], tag["Value"]) for tag in request.get("Tags", ()) if tag["Key"] != SPEC_HASH_TAG)
    text = json.dumps([_without_job_name(rest), tags], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def tagged(request: dict[str, Any]) -> dict[str, Any]:
    """The request with its digest as a tag; without it where 50 tags leave no room."""
    tags = [tag for tag in request.get("Tags", ()) if tag["Key"] != SPEC_HASH_TAG]
    if len(tags) >= _MAX_TAGS:
        return request
    return {**request, "Tags": [*tags, {"Key": SPEC_HASH_TAG, "Value": spec_hash(request)}]}


def find_same(aws: Aws, request: Mapping[str, Any]) -> str | None:
    """Return the name of the job that an earlier launch of this very request has made; None when there is none.

    Raises:
        SpecError: there is a job of that name which another spec made, or which does not say.
        ServiceError: the service refused.
    """
    name = request["HyperParameterTuningJobName"]
    try:
        job = aws.call("sagemaker", "describe_hyper_parameter_tuning_job", HyperParameterTuningJobName=name)
    except JobNotFoundError:
        return None
    tags = aws.tags(job["HyperParameterTuningJobArn"])
    found, wanted = tags.get(SPEC_HASH_TAG), spec_hash(request)
    if found is None:
        raise SpecError(
            f"there is a tuning job {name!r} already, and it has no tag {SPEC_HASH_TAG} to tell whether this spec made "
            "it: choose another name"
        )
    if found != wanted:
        raise SpecError(
            f"there is a tuning job {name!r} already, and another spec made it (its {SPEC_HASH_TAG} is {found}, this "
            f"one's is {wanted}): choose another name, or go back to the spec and scripts that it was launched with"
        )
    return str(job["HyperParameterTuningJobName"])


def _without_job_name(value: Any) -> Any:
    """The same plain data without ``sagemaker_job_name``, which says nothing about what is trained."""
    if isinstance(value, Mapping):
        return {key: _without_job_name(item) for key, item in value.items() if key != JOB_NAME_KEY}
    return [_without_job_name(item) for item in value] if isinstance(value, list) else value
