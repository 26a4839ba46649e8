"""The augmentation of `transforms`, of whole batches and on the device of the model."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from medclip.data.preprocessing import MEAN, STD
from medclip.data.transforms import Augmentation


class DeviceAugmentation:
    """Cached squares to pixel values, randomly varied, in one resampling for rotation, shift, zoom, crop and flip.

    The same distributions as `transforms.train_pipeline` draws from, with other draws: they come from a generator on
    the CPU, so that they are the same on every device. One resampling instead of two, so a little sharper.

    Args:
        size: Side of the result.
        augmentation: Random changes of images.
    """

    def __init__(self, size: int, augmentation: Augmentation) -> None:
        self._size, self._augmentation = size, augmentation

    def __call__(self, squares: Tensor, *, seed: int) -> Tensor:
        """Returns normalised float32 (I, 1, H, W) of uint8 squares (I, 1, S, S)."""
        with torch.autocast(squares.device.type, enabled=False):  # a place in eight bits of precision is off by a pixel
            return self._vary(squares, seed)

    def _vary(self, squares: Tensor, seed: int) -> Tensor:
        count, a = len(squares), self._augmentation
        draws = torch.rand(count, 10, generator=torch.Generator().manual_seed(seed))
        if squares.device.type == "cuda":
            draws = draws.pin_memory()
        draws = draws.to(squares.device, non_blocking=True)
        grid = functional.affine_grid(matrices(draws, a), [count, 1, self._size, self._size], align_corners=False)
        varied = functional.grid_sample(squares.float(), grid, padding_mode="zeros", align_corners=False)
        contrast, brightness = (1 + (2 * draws[:, 8] - 1) * a.jitter, (2 * draws[:, 9] - 1) * a.jitter * 255)
        varied = (varied * contrast[:, None, None, None] + brightness[:, None, None, None]).clamp(0, 255)
        return (varied / 255 - MEAN) / STD


def matrices(draws: Tensor, augmentation: Augmentation) -> Tensor:
    """Returns (I, 2, 3): from places in the result to places in the square, both from -1 to 1.

    Args:
        draws: (I, 10) between 0 and 1: rotation, two shifts, two zooms, two of the crop, flip, contrast, brightness.
    """
    a = augmentation
    angle = (2 * draws[:, 0] - 1) * math.radians(a.rotate)
    shift = (2 * draws[:, 1:3] - 1) * 2 * a.shift  # shares of the side, which is 2 long here
    zoom = a.scale[0] + draws[:, 3:5] * (a.scale[1] - a.scale[0])
    crop = (2 * draws[:, 5:7] - 1) * (1 - a.crop)
    flip = torch.where(draws[:, 7] < a.flip, -1.0, 1.0)
    cosine, sine = angle.cos(), angle.sin()
    # The square is zoomed, then turned, then shifted; here is the way back.
    back = torch.stack([cosine, sine, -sine, cosine], dim=1).reshape(-1, 2, 2) / zoom[:, :, None]
    across = torch.stack([flip, torch.ones_like(flip)], dim=1) * a.crop
    return torch.cat([back * across[:, None, :], back @ (crop - shift)[:, :, None]], dim=2)
