"""The network, and its file, which training writes and inference reads."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

FILE = "model.pth"


class DigitsNet(nn.Module):
    """Two convolutions and two dense layers: 10 logits for each image of shape (1, 8, 8)."""

    def __init__(self, channels: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.architecture = {"channels": channels, "hidden": hidden, "dropout": dropout}
        self.layers = nn.Sequential(
            nn.Conv2d(1, channels, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(2 * channels * 4 * 4, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 10),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits of shape (n, 10)."""
        return self.layers(images)


def save(network: DigitsNet, folder: Path) -> None:
    """Write the weights, and the arguments that rebuild the network."""
    weights = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    torch.save({"architecture": network.architecture, "state_dict": weights}, folder / FILE)


def load(folder: Path) -> DigitsNet:
    """Return the network that `save` wrote, on the CPU and in evaluation mode."""
    saved = torch.load(folder / FILE, map_location="cpu", weights_only=True)
    network = DigitsNet(**saved["architecture"])
    network.load_state_dict(saved["state_dict"])
    return network.eval()
