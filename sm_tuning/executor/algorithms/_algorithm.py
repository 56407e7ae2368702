"""The value that describes a built-in algorithm."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Algorithm:
    """A built-in algorithm that this machine can train.

    Attributes:
        name: as users write it.
        metric_definitions: ``Name`` and ``Regex`` of each metric, over log lines whose TAB is written ``#011``.
        module: ``python -m <module>`` runs one training job, finding everything below ``SAGEMAKER_BASE_DIR``.
    """

    name: str
    metric_definitions: tuple[dict[str, str], ...]
    module: str
