"""The training images of AWS's built-in algorithms [Developer Guide, sagemaker-algo-docker-registry-paths].

``_images.json`` holds the registries and images of the SageMaker SDK as data (``make images``).
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

#: ECR repositories of the built-in XGBoost, in its newer and its older image.
XGBOOST_REPOSITORIES = frozenset({"sagemaker-xgboost", "xgboost"})

#: ECR repositories of all built-in algorithms.
BUILTIN_REPOSITORIES = XGBOOST_REPOSITORIES | {
    "blazingtext",
    "factorization-machines",
    "forecasting-deepar",
    "image-classification",
    "ipinsights",
    "kmeans",
    "knn",
    "lda",
    "linear-learner",
    "ntm",
    "object-detection",
    "object2vec",
    "pca",
    "randomcutforest",
    "semantic-segmentation",
    "seq2seq",
}

#: What AWS answers to MetricDefinitions for one of its own algorithm images, also in script mode
#: [aws/sagemaker-xgboost-container, issue 121].
METRICS_REFUSED = (
    "You can't override the metric definitions for Amazon SageMaker algorithms. Please retry the request without "
    "specifying metric definitions."
)

_URI = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.[a-z0-9.-]+/(?P<repository>[^:@]+)"
    r"(?::(?P<tag>[^@]+))?(?:@.*)?"
)


class Image(NamedTuple):
    """The parts of the URI of an image in Amazon ECR; an image without a tag is that of the tag ``latest``."""

    account: str
    region: str
    repository: str
    tag: str


def parse_image(uri: str) -> Image | None:
    """Return the parts of an image's URI; None for an image that is not in Amazon ECR."""
    match = _URI.fullmatch(uri)
    return match and Image(match["account"], match["region"], match["repository"], match["tag"] or "latest")


def is_builtin_image(uri: str) -> bool:
    """Return whether an image is one of AWS's own algorithm images.

    The service applies the metric definitions of such an image, in script mode too, and refuses others. A copy of the
    image in the registry of another account is a custom image for the service.
    """
    image = parse_image(uri)
    if image is None or image.repository not in BUILTIN_REPOSITORIES:
        return False
    # In a region that is newer than the table, the name has to suffice.
    accounts = image_table()["algorithms"].get(image.region)
    return accounts is None or image.account in accounts


@functools.cache
def image_table() -> Any:
    """Return the registries and images of the SageMaker SDK, as ``docs/make_images.py`` wrote them."""
    return json.loads(Path(__file__).with_name("_images.json").read_text(encoding="utf-8"))
