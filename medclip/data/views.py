"""The batches of training by images alone: several views of each image, for every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from labelers.errors import UserError
from medclip.data.cache import ImageCache
from medclip.data.samplers import Stream
from medclip.data.transforms import ViewAugmentation, apply, view_pipeline


@dataclass(frozen=True)
class ViewBatch:
    """What a step sees.

    Attributes:
        views: (V, I, 1, H, W), view v of image i.
    """

    views: Tensor

    def pin_memory(self) -> ViewBatch:
        """Returns the batch in page-locked memory."""
        return self.each(lambda tensor: tensor.pin_memory())

    def each(self, change: Callable[[Tensor], Tensor]) -> ViewBatch:
        """Returns the batch with its tensor changed."""
        return ViewBatch(change(self.views))


class ViewSteps(Dataset[ViewBatch]):
    """The batch of every step, as a map-style dataset: index it with a step.

    Args:
        keys: (N,) cache keys of the images.
        cache: Holds their pixels.
        views: V, number of views of each image.
        batch_images: I of the global batch.
        image_size: Side of the views.
        augmentation: How views differ.
        seed: Seed of the stream and of augmentation.
        weights: (N,) how often images are wanted, None for laps.
        rank: Number of this process.
        world: Number of processes.

    Raises:
        UserError: The processes cannot share the batch equally.
    """

    def __init__(
        self,
        keys: np.ndarray,
        cache: ImageCache,
        *,
        views: int,
        batch_images: int,
        image_size: int,
        augmentation: ViewAugmentation,
        seed: int,
        weights: np.ndarray | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch_images % world:
            raise UserError(
                f"batch_images={batch_images} cannot be shared equally by {world} processes. Choose a multiple of it."
            )
        self._keys, self._cache, self._views = keys, cache, views
        self._stream = Stream(len(keys), batch_size=batch_images, seed=2 * seed, weights=weights)
        self._pipeline = view_pipeline(image_size, augmentation)
        self._seed, self._rank, self._world = seed, rank, world

    def __getitem__(self, step: int) -> ViewBatch:
        rows = self._stream.rows(step, rank=self._rank, world=self._world)
        squares = self._cache.get(self._keys[rows].tolist())
        seeds = np.random.default_rng([self._seed, 3, step, self._rank]).integers(2**31, size=self._views)
        views = [apply(self._pipeline, squares, seed=int(seed)) for seed in seeds]
        return ViewBatch(torch.from_numpy(np.stack(views)))
