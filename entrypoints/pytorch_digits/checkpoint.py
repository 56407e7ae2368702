"""Checkpoints: one file a setting of the hyperparameters, replaced whole after each epoch.

All trials of a tuning job share one checkpoint location. The file's name holds a digest of what shapes the
training, so that a trial resumes only from its own work, and `--epochs` may grow between runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


class CheckpointError(Exception):
    """A checkpoint is there and cannot be read."""


def path_for(folder: Path, settings: Mapping[str, Any]) -> Path:
    """The checkpoint file of these settings."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return folder / f"checkpoint-{digest[:12]}.pt"


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Replace the file at once: after a crash at any moment it is the old state or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def load(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The saved state, or None when there is none yet.

    Raises:
        CheckpointError: when the file is there and cannot be read.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        return None
    except (RuntimeError, EOFError, pickle.UnpicklingError) as e:
        raise CheckpointError(f"{path} cannot be read; delete it to start from the first epoch") from e
    return state
