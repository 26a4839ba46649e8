"""Which way up: by how many quarters an image was turned (Gidaris et al. 2018, arXiv 1803.07728).

The pretext task that others are measured against. On films it is learned quickly, from the outline of the body.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from medclip.training.methods._base import Method, Start, features_of


class Rotation(Method):
    """Cross entropy of the four turns. Each image is turned once in a step, not in all four ways as in the paper."""

    views: ClassVar[int] = 1

    def __init__(self, start: Start) -> None:
        super().__init__(start)
        self.head = nn.Linear(start.features, 4)

    def forward(self, views: Sequence[Tensor], *, progress: float) -> dict[str, Tensor]:
        """Returns the loss and the share of images whose turn is told; see `Method.forward`."""
        turns = torch.randint(4, (len(views[0]),), device=views[0].device)
        logits = self.head(features_of(self.tower, turned(views[0], turns)))  # (I, 4)
        accuracy = (logits.argmax(dim=1) == turns).float().mean()
        return {"loss": functional.cross_entropy(logits, turns), "accuracy": accuracy}


def turned(images: Tensor, turns: Tensor) -> Tensor:
    """Returns images (I, 1, S, S), image i turned to the left by `turns[i]` quarters."""
    ways = torch.stack([torch.rot90(images, quarters, dims=(2, 3)) for quarters in range(4)])
    return ways[turns, torch.arange(len(images), device=images.device)]
