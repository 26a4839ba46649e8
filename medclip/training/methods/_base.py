"""What all methods are."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from lightly.models.utils import deactivate_requires_grad
from torch import Tensor, nn

from medclip.models.towers import VisionTower

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Start:
    """What a method starts from.

    Attributes:
        tower: The tower to train.
        features: C, the size of its features.
        image_size: Side of the images, in pixels.
        images: Number of training images.
    """

    tower: VisionTower
    features: int
    image_size: int
    images: int


class Method(nn.Module):
    """Base of all methods. Keyword arguments of the constructor are keys of `--method-options`.

    Attributes:
        is_plugin: Marks the class that stands for its file.
        views: Number of views of each image.
    """

    is_plugin: ClassVar[bool] = True
    views: ClassVar[int] = 2

    def __init__(self, start: Start) -> None:
        super().__init__()
        self.tower = start.tower

    def forward(self, views: Sequence[Tensor], *, progress: float) -> dict[str, Tensor]:
        """Returns scalar terms by name; "loss" is the total to minimise.

        Args:
            views: Each (I, 1, H, W), view k of every image.
            progress: Share of the steps that are done, 0 to 1.
        """
        raise NotImplementedError

    def after_backward(self, *, progress: float) -> None:
        """Changes gradients before they are used."""


def features_of(tower: nn.Module, pixel_values: Tensor) -> Tensor:
    """Returns the pooled features (I, C) that an image tower has of pixel values (I, 1, H, W)."""
    assert isinstance(tower, VisionTower)
    return tower.pool(pixel_values)[0]


def slow_copy(module: M) -> M:
    """Returns a copy that no gradient changes, to follow with momentum."""
    copied = copy.deepcopy(module)
    deactivate_requires_grad(copied)
    return copied
