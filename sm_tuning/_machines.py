"""What an instance type has: virtual CPUs and GPUs, which CloudWatch's percentages are multiples of.

SageMaker's ``ml.<family>.<size>`` are EC2's ``<family>.<size>`` (Amazon EC2 instance types). Sizes say the number of
virtual CPUs: 2 for medium and large, 4 for xlarge, 4·n for n·xlarge; of the types that train, c4.8xlarge alone differs.
"""

from __future__ import annotations

import re

_TYPE = re.compile(r"ml\.(?P<family>[a-z][a-z0-9\-]*)\.(?P<size>medium|large|(?P<times>\d*)xlarge)")
_CPU_EXCEPTIONS = {"ml.c4.8xlarge": 36}

_ONE_TO_FOUR = {"": 1, "2": 1, "4": 1, "8": 1, "16": 1, "12": 4}
_ONE_TO_EIGHT = {**_ONE_TO_FOUR, "24": 4, "48": 8}
_SEVENTH = {"2": 1, "4": 1, "8": 1, "12": 2, "24": 4, "48": 8}

#: GPUs by family and size.
_GPUS: dict[str, dict[str, int]] = {
    "p2": {"": 1, "8": 8, "16": 16},
    "p3": {"2": 1, "8": 4, "16": 8},
    "p3dn": {"24": 8},
    "p4d": {"24": 8},
    "p4de": {"24": 8},
    "p5": {"4": 1, "48": 8},
    "p5e": {"48": 8},
    "p5en": {"48": 8},
    "p6-b200": {"48": 8},
    "p6-b300": {"48": 8},
    "p6e-gb200": {"36": 4},
    "g4dn": _ONE_TO_FOUR,
    "g5": _ONE_TO_EIGHT,
    "g6": _ONE_TO_EIGHT,
    "g6e": _ONE_TO_EIGHT,
    "g7": _SEVENTH,
    "g7e": _SEVENTH,
}


def cpus_of(instance_type: str) -> int | None:
    """Virtual CPUs; None when the type's name does not say."""
    match = _TYPE.fullmatch(instance_type)
    if match is None:
        return None
    if instance_type in _CPU_EXCEPTIONS:
        return _CPU_EXCEPTIONS[instance_type]
    return 2 if match["times"] is None else 4 * int(match["times"] or 1)


def gpus_of(instance_type: str) -> int | None:
    """GPUs; None when the type is unknown. Families of GPU machines are those that begin with g and p."""
    match = _TYPE.fullmatch(instance_type)
    if match is None:
        return None
    if match["family"][0] not in "gp":
        return 0
    return _GPUS.get(match["family"], {}).get(match["times"] or "") if match["times"] is not None else None
