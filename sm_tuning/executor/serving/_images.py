"""The images whose models this machine can serve."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sm_tuning._images import XGBOOST_REPOSITORIES
from sm_tuning._wire import SERVING_PROGRAM

_URI = re.compile(r"\d{12}\.dkr\.ecr(?:-fips)?\.[a-z0-9-]+\.[a-z0-9.]+/(?P<repository>[^:@]+)(?::(?P<tag>[^@]+))?.*")
_FRAMEWORKS = {
    **dict.fromkeys(XGBOOST_REPOSITORIES, "xgboost"),
    "pytorch-inference": "pytorch",
    "sagemaker-scikit-learn": "sklearn",
}


@dataclass(frozen=True)
class ServingImage:
    """An image that this machine can serve.

    Attributes:
        framework: ``xgboost``, ``pytorch`` or ``sklearn``.
        version: major, minor and build; missing numbers are 0.
        is_script: whether functions of the user serve the model.
    """

    framework: str
    version: tuple[int, int, int]
    is_script: bool


def serving_image(uri: str, environment: Mapping[str, str]) -> ServingImage | None:
    """Return how to serve the models of an image; None if this machine cannot.

    Args:
        uri: the image.
        environment: variables of the container. The XGBoost image is both: SAGEMAKER_PROGRAM makes it run a script.
    """
    match = _URI.fullmatch(uri)
    framework = _FRAMEWORKS.get(match["repository"]) if match else None
    if match is None or framework is None:
        return None
    numbers = re.match(r"(\d+)(?:\.(\d+))?(?:-(\d+))?", match["tag"] or "")
    major, minor, build = (int(text or 0) for text in numbers.groups()) if numbers else (0, 0, 0)
    return ServingImage(framework, (major, minor, build), framework != "xgboost" or SERVING_PROGRAM in environment)
