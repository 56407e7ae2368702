"""The work folder of one host of a training job: ``/opt/ml`` under another root.

Developer Guide, your-algorithms-training-algo-running-container. The service mounts the tree at ``/opt/ml``;
here each host of a job has a tree of its own, and ``SAGEMAKER_BASE_DIR`` names it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sm_tuning.executor._errors import client_error
from sm_tuning.executor._hosts import Cluster, Host

_CONTAINER_ROOT = PurePosixPath("/opt/ml")


@dataclass(frozen=True)
class Folder:
    """Paths of the tree under ``root``."""

    root: Path

    @property
    def config(self) -> Path:
        """hyperparameters.json and its two companions."""
        return self.root / "input" / "config"

    @property
    def data(self) -> Path:
        """One folder a channel."""
        return self.root / "input" / "data"

    @property
    def model(self) -> Path:
        """What becomes model.tar.gz."""
        return self.root / "model"

    @property
    def output(self) -> Path:
        """Parent of ``data`` (becomes output.tar.gz) and ``failure``."""
        return self.root / "output"

    @property
    def output_data(self) -> Path:
        """What becomes output.tar.gz."""
        return self.output / "data"

    @property
    def failure(self) -> Path:
        """Where training code says why it failed."""
        return self.output / "failure"

    @property
    def code(self) -> Path:
        """The script and its neighbours; the working folder in script mode."""
        return self.root / "code"

    @property
    def environment(self) -> Path:
        """The virtual environment of an entrypoint, beside the tree."""
        return self.root.with_name(f"{self.root.name}-env")

    def make(self) -> None:
        """Make the tree anew, empty."""
        shutil.rmtree(self.root, ignore_errors=True)
        for path in (
            self.config,
            self.data,
            self.model,
            self.output_data,
            self.output / "intermediate",
            self.code,
        ):
            path.mkdir(parents=True, exist_ok=True)

    def inside(self, path: str) -> Path:
        """Return where a path under ``/opt/ml`` lies on this machine.

        Raises:
            TrainingFailedError: the path is not under ``/opt/ml``, so there is no place for it here.
        """
        pure = PurePosixPath(path)
        if not pure.is_relative_to(_CONTAINER_ROOT) or ".." in pure.parts:
            raise client_error(f"the path {path!r} is not under {_CONTAINER_ROOT}; use one that is.")
        return self.root / pure.relative_to(_CONTAINER_ROOT)

    def write_config(self, job: Mapping[str, Any], cluster: Cluster, host: Host) -> None:
        """Write hyperparameters.json, inputdataconfig.json and resourceconfig.json of a training job's host."""
        for name, value in (
            ("hyperparameters", dict(job.get("HyperParameters") or {})),
            ("inputdataconfig", input_data_config(job)),
            ("resourceconfig", cluster.resource_config(host)),
        ):
            (self.config / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")

    def read_failure(self) -> str | None:
        """Return the first 1024 characters of the failure file; None when there is none."""
        try:
            return self.failure.read_text(encoding="utf-8", errors="replace")[:1024]
        except (FileNotFoundError, IsADirectoryError):
            return None


def input_data_config(job: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return inputdataconfig.json: one entry a channel, in the words of the container contract."""
    mode = job["AlgorithmSpecification"].get("TrainingInputMode", "File")
    return {
        channel["ChannelName"]: {
            **({"ContentType": channel["ContentType"]} if channel.get("ContentType") else {}),
            "TrainingInputMode": channel.get("InputMode") or mode,
            "S3DistributionType": channel["DataSource"]
            .get("S3DataSource", {})
            .get("S3DataDistributionType", "FullyReplicated"),
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
        }
        for channel in job.get("InputDataConfig") or ()
    }
