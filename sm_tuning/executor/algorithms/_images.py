"""Which training images are AWS's own built-in algorithms."""

from __future__ import annotations

import re

_URI = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.[a-z0-9.]+/(?P<repository>[^:@]+)(?:[:@].*)?"
)


def repository_of(training_image: str) -> str | None:
    """The repository of an ECR image URI; ``None`` when it is no such URI."""
    match = _URI.fullmatch(training_image)
    return match["repository"] if match else None
