"""Container images: from a version and a region to a URI, and back.

The registry accounts and tags are those of the SageMaker SDK (``sagemaker.core.image_uris``), which is imported
only here, when an image must be looked up: it takes seconds.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Iterable
from typing import Any

from sm_tuning._errors import SpecError
from sm_tuning.request._members import instance_types
from sm_tuning.spec import AnyEstimator, ContainerEstimator, XGBoostEstimator

_ECR = re.compile(
    r"^\d{12}\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.[a-z0-9.]+/(?P<name>[^:@]+)(?::(?P<tag>[^@]+))?"
)
_PYTORCH_TAG = re.compile(r"^(?P<version>\d[\d.]*)-(?:cpu|gpu)-(?P<py>py\d+)$")
_XGBOOST_TAG = re.compile(r"^(?P<version>\d[\d.]*(?:-\d+)?)(?:-cpu-py3)?$")
_UPGRADE = re.compile(r" You may need to upgrade your SDK version \(pip install -U sagemaker\)[^.]*\.")


def image_uri(estimator: AnyEstimator, region: str) -> str:
    """The container image of an estimator in a region.

    Raises:
        SpecError: when the version or the region is unknown, listing the known ones; when the estimator names an
            algorithm in place of an image; when its instance types need different images.
    """
    if estimator.image_uri is not None:
        return estimator.image_uri
    if isinstance(estimator, ContainerEstimator):
        raise SpecError(f"algorithm_name {estimator.algorithm_name!r} is used in place of an image")
    if isinstance(estimator, XGBoostEstimator):
        return _one_image("xgboost", str(estimator.version), None, region, instance_types(estimator))
    version, py_version = str(estimator.framework_version), estimator.py_version
    return _one_image("pytorch", version, py_version, region, instance_types(estimator))


def _one_image(framework: str, version: str, py_version: str | None, region: str, types: Iterable[str]) -> str:
    """The image that all machine types share."""
    found = {kind: _retrieve(framework, version, py_version, region, kind) for kind in types}
    if not found:
        raise SpecError(f"the {framework} image depends on the instance type, but none is named: give image_uri")
    if len(set(found.values())) > 1:
        raise SpecError(f"the instance types need different images, so they cannot stand in one job: {found}")
    return next(iter(found.values()))


@functools.cache
def _retrieve(
    framework: str, version: str, py_version: str | None, region: str, instance_type: str, scope: str = "training"
) -> str:
    image_uris = _image_uris()
    try:
        uri = image_uris.retrieve(
            framework,
            region,
            version=version,
            py_version=py_version,
            instance_type=instance_type,
            image_scope=scope,
        )
    except (ValueError, KeyError) as error:
        words, serving = _UPGRADE.sub("", str(error)).rstrip("."), " that serves" if scope == "inference" else ""
        raise SpecError(
            f"no {framework} image for version {version!r}{serving} in {region!r}: {words}. A newer sagemaker-core may "
            "know more; or give image_uri"
        ) from error
    return str(uri)


def _image_uris() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK's own deprecations are not the user's
        from sagemaker.core import image_uris  # noqa: PLC0415
    return image_uris


def region_of(uri: str | None) -> str | None:
    """The region of an image in Amazon ECR."""
    match = _ECR.match(uri or "")
    return match["region"] if match else None


def recognise(uri: str, region: str | None, types: tuple[str, ...]) -> dict[str, str] | None:
    """The fields that give this image when they are looked up again; None when no version does exactly that."""
    match = _ECR.match(uri)
    if match is None or not types:
        return None
    framework, fields = _parse(match["name"], match["tag"] or "")
    if framework is None:
        return None
    version = fields.get("version") or fields["framework_version"]
    try:
        again = _one_image(framework, version, fields.get("py_version"), region or match["region"], types)
    except SpecError:
        return None
    return {"type": framework, **fields} if again == uri else None


def _parse(name: str, tag: str) -> tuple[str | None, dict[str, str]]:
    if name == "pytorch-training" and (match := _PYTORCH_TAG.match(tag)):
        return "pytorch", {"framework_version": match["version"], "py_version": match["py"]}
    if name in {"sagemaker-xgboost", "xgboost"} and (match := _XGBOOST_TAG.match(tag)):
        return "xgboost", {"version": match["version"]}
    return None, {}


def repository(uri: str) -> str:
    """The last part of an image's name, without registry, tag and digest."""
    return uri.partition("@")[0].rpartition("/")[2].partition(":")[0]
