"""Container images: from a version and a region to a URI, and back; from the image that trained to the one that serves.

Registry accounts and tags are those of the SageMaker SDK. ``sm_tuning/_images.json`` holds them as data; versions and
regions that are not there are looked up in the installed SDK if it is newer than the data.
"""

from __future__ import annotations

import functools
import logging
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any, NamedTuple

from sm_tuning._errors import SpecError
from sm_tuning._images import XGBOOST_REPOSITORIES, image_table, parse_image
from sm_tuning.request._resources import instance_types
from sm_tuning.spec import AnyEstimator, ContainerEstimator, XGBoostEstimator

_PYTORCH_TAG = re.compile(r"^(?P<version>\d[\d.]*)-(?:cpu|gpu)-(?P<py>py\d+)$")
_XGBOOST_TAG = re.compile(r"^(?P<version>\d[\d.]*(?:-\d+)?)(?:-cpu-py3)?$")
_FAMILY = re.compile(r"ml\.([a-z\d-]+)\.")
_UPGRADE = re.compile(r" You may need to upgrade your SDK version \(pip install -U sagemaker\)[^.]*\.")
_TRAINING = "-training"


def image_uri(estimator: AnyEstimator, region: str) -> str:
    """Return the container image of an estimator in a region.

    Raises:
        SpecError: the version or the region is unknown (the message lists the known ones), the estimator names an
            algorithm in place of an image, or its instance types need different images.
    """
    if estimator.image_uri is not None:
        return estimator.image_uri
    if isinstance(estimator, ContainerEstimator):
        raise SpecError(f"algorithm_name {estimator.algorithm_name!r} is used in place of an image")
    if isinstance(estimator, XGBoostEstimator):
        return _one_image("xgboost", str(estimator.version), None, region, instance_types(estimator))
    version, py_version = str(estimator.framework_version), estimator.py_version
    return _one_image("pytorch", version, py_version, region, instance_types(estimator))


def inference_image(uri: str, *, region: str, instance_type: str) -> str:
    """Return the image that serves the models of a training image.

    An image that trains and serves, as AWS's built-in algorithms and SageMaker's containers for XGBoost and
    scikit-learn are, and as an image of one's own is expected to be [Developer Guide, your-algorithms], serves its own
    models. A deep learning container for training has a counterpart for inference.

    Args:
        uri: the training image.
        region: the region of the endpoint, whose registry the image comes from.
        instance_type: the instance type of the endpoint; it decides between CPU and GPU.

    Raises:
        SpecError: the counterpart is not known.
    """
    image, name = parse_image(uri), repository(uri)
    if image is None or not name.endswith(_TRAINING):
        return uri
    tag = _PYTORCH_TAG.match(image.tag)
    if name != f"pytorch{_TRAINING}" or tag is None:
        raise SpecError(f"no image is known that serves what {uri!r} trained: give image_uri, the image for inference")
    return _retrieve(_Wanted("pytorch", tag["version"], tag["py"], region, instance_type, "inference"))


def recognise(uri: str, region: str | None, types: tuple[str, ...]) -> dict[str, str] | None:
    """Return the fields of an estimator that has exactly this image, or None if no version has it."""
    image = parse_image(uri)
    if image is None or not types:
        return None
    name, tag = image.repository, image.tag
    if name == "pytorch-training" and (found := _PYTORCH_TAG.match(tag)):
        framework, version, py_version = "pytorch", found["version"], found["py"]
        fields = {"type": framework, "framework_version": version, "py_version": py_version}
    elif name in XGBOOST_REPOSITORIES and (found := _XGBOOST_TAG.match(tag)):
        framework, version, py_version = "xgboost", found["version"], None
        fields = {"type": framework, "version": version}
    else:
        return None
    try:
        again = _one_image(framework, version, py_version, region or image.region, types)
    except SpecError:
        return None
    return fields if again == uri else None


def region_of(uri: str | None) -> str | None:
    """Return the region of an image in Amazon ECR, or None for other images."""
    image = parse_image(uri or "")
    return image.region if image else None


def repository(uri: str) -> str:
    """Return the last part of an image's name, without registry, tag and digest."""
    return uri.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _one_image(framework: str, version: str, py_version: str | None, region: str, types: Iterable[str]) -> str:
    """Return the image that all instance types share."""
    found = {kind: _retrieve(_Wanted(framework, version, py_version, region, kind)) for kind in types}
    if not found:
        raise SpecError(f"the {framework} image depends on the instance type, but none is named: give image_uri")
    if len(set(found.values())) > 1:
        raise SpecError(f"the instance types need different images, so they cannot be in one job: {found}")
    return next(iter(found.values()))


class _Wanted(NamedTuple):
    """An image to look up."""

    framework: str
    version: str
    py_version: str | None
    region: str
    instance_type: str
    scope: str = "training"

    def unknown(self, reason: str, source: str) -> SpecError:
        """Return the error for an image that a source does not have."""
        serving = " that serves" if self.scope == "inference" else ""
        return SpecError(
            f"no {self.framework} image for version {self.version!r}{serving} in {self.region!r}: {reason}. A newer "
            f"{source} may know more; or give image_uri"
        )


@functools.cache
def _retrieve(wanted: _Wanted) -> str:
    """Return the URI of an image.

    Raises:
        SpecError: neither the installed SDK nor the table has it.
    """
    try:
        return _from_table(wanted)
    except SpecError:
        # Importing the SDK takes seconds, and in a notebook it changes how errors and logs are shown.
        sdk = _sdk() if _is_newer_sdk() else None
        if sdk is None:
            raise
    return _from_sdk(sdk, wanted)


def _from_table(wanted: _Wanted) -> str:
    """Return the URI from the table.

    Raises:
        SpecError: the table does not have it.
    """
    table = image_table()
    versions = table["images"][wanted.framework][wanted.scope]
    if wanted.version not in versions:
        raise wanted.unknown(f"the known versions are {', '.join(versions)}", "sm-tuning")
    pythons = versions[wanted.version]
    # An entry under "" alone is an image without a Python version in its tag, whatever version is given.
    python = "" if list(pythons) == [""] else wanted.py_version or ""
    if python not in pythons:
        raise wanted.unknown(f"the known Python versions are {', '.join(filter(None, pythons))}", "sm-tuning")
    kinds = pythons[python] if isinstance(pythons[python], dict) else pythons[pythons[python]]
    kind: str | None = _kind_of(wanted.instance_type)
    while kind is not None and kind not in kinds:
        kind = table["kinds"][kind]
    if kind is None or kinds[kind] is None:
        raise wanted.unknown(f"there is no image for {wanted.instance_type}", "sm-tuning")
    number, image = kinds[kind]
    accounts = table["registries"][number]
    if wanted.region not in accounts:
        raise wanted.unknown(f"the known regions are {', '.join(accounts)}", "sm-tuning")
    suffix = table["suffixes"].get(wanted.region, "amazonaws.com")
    return f"{accounts[wanted.region]}.dkr.ecr.{wanted.region}.{suffix}/{image}"


def _kind_of(instance_type: str) -> str:
    """Return the kind of an instance type, as the table has it."""
    match = _FAMILY.match(instance_type)
    family = match[1] if match else ""
    if family in image_table()["graviton"]:
        return "graviton"
    if family in ("p2", "p4d"):
        return family
    accelerator = next((kind for kind in ("trn", "inf") if family.startswith(kind)), None)
    return accelerator or ("gpu" if family[:1] in ("g", "p") else "cpu")


def _is_newer_sdk() -> bool:
    """Return whether an SDK is installed that may have images which the table of an earlier one lacks."""
    try:
        releases = metadata.version("sagemaker-core"), image_table()["source"]
    except metadata.PackageNotFoundError:
        return False
    installed, known = ([int(number) for number in re.findall(r"\d+", release)] for release in releases)
    return installed > known


def _sdk() -> Any:
    """Return the module of the SageMaker SDK that finds images, or None if the SDK is not installed."""
    with _untouched_process(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK's own deprecations are not the user's
        try:
            from sagemaker.core import image_uris  # noqa: PLC0415  (it takes seconds)
        except ImportError:
            return None
    return image_uris


@contextmanager
def _untouched_process() -> Iterator[None]:
    """Keep the root logger, the exception hook and stdout: sagemaker-core 2.12 changes them when it is imported."""
    root, defaults = logging.getLogger(), logging.getLogger("sagemaker.config")
    handlers, level, hook, disabled = list(root.handlers), root.level, sys.excepthook, defaults.disabled
    defaults.disabled = (
        True  # its own handler prints the places without a file of defaults, beside the output of a command
    )
    try:
        yield
    finally:
        defaults.disabled = disabled
        root.handlers[:] = handlers
        root.setLevel(level)
        sys.excepthook = hook


def _from_sdk(sdk: Any, wanted: _Wanted) -> str:
    """Return the URI from the SDK.

    Raises:
        SpecError: the SDK does not have it.
    """
    try:
        return str(
            sdk.retrieve(
                wanted.framework,
                wanted.region,
                version=wanted.version,
                py_version=wanted.py_version,
                instance_type=wanted.instance_type,
                image_scope=wanted.scope,
            )
        )
    except (ValueError, KeyError) as error:
        raise wanted.unknown(_UPGRADE.sub("", str(error)).rstrip("."), "sagemaker-core") from error
