"""Serving code, for the code/ folder of model.tar.gz, where SageMaker's PyTorch inference container looks for it."""

from __future__ import annotations

from pathlib import Path

import network
import torch


def model_fn(model_dir: str) -> network.DigitsNet:
    """Return the model of the unpacked model.tar.gz."""
    return network.load(Path(model_dir))


def predict_fn(data: torch.Tensor, model: network.DigitsNet) -> torch.Tensor:
    """Return probabilities of shape (n, 10) for rows of 64 pixels, or 8x8 images, with grey levels 0 to 16."""
    images = torch.as_tensor(data, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    with torch.inference_mode():
        return torch.softmax(model(images), dim=1)
