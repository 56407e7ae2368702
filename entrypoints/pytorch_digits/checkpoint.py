"""Checkpoints: one file for each combination of hyperparameters, replaced after each epoch.

Trials of a tuning job may share one checkpoint location. The file's name has a digest of the settings that determine
the training, so a trial resumes only from its own checkpoint, and `--epochs` may grow between runs.

A trial of a study may continue another one, its parent, with other hyperparameters. `SM_TUNING_PARENT` then names the
parent, and the folder has nothing but the parent's checkpoints.
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
    """A checkpoint exists but cannot be read."""


def path_for(folder: Path, settings: Mapping[str, Any]) -> Path:
    """Return the checkpoint file of these settings."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return folder / f"checkpoint-{digest[:12]}.pt"


def inherited(folder: Path, device: torch.device) -> dict[str, Any] | None:
    """Return the parent's state: of the checkpoints in the folder, that of the most epochs; None without one.

    Raises:
        CheckpointError: if a file exists but cannot be read.
    """
    states = [load(path, device) for path in sorted(folder.glob("checkpoint-*.pt"))]
    return max((state for state in states if state is not None), key=lambda s: len(s["history"]), default=None)


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Replace the file atomically: after a crash it has the old or the new state, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def load(path: Path, device: torch.device) -> dict[str, Any] | None:
    """Return the saved state, or None if there is no checkpoint yet.

    Raises:
        CheckpointError: if the file exists but cannot be read.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        return None
    except (RuntimeError, EOFError, pickle.UnpicklingError) as e:
        raise CheckpointError(f"{path} cannot be read; delete it to start from the first epoch") from e
    return state
