"""The batches of training: both sides drawn independently of each other, one batch for every step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from medclip.sides import ImageSide, TextSide
from medclip.streams import Stream
from medclip.transforms import Augmentation, apply, train_pipeline


@dataclass(frozen=True)
class Batch:
    """What a training step sees. I and T need not be equal.

    Attributes:
        pixel_values: (I, 1, H, W).
        input_ids: (T, L).
        attention_mask: (T, L).
        image_labels: (I, O) label vectors.
        text_labels: (T, O) label vectors.
        image_studies: (I,) study numbers, -1 where unknown.
        text_studies: (T,) study numbers.
    """

    pixel_values: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    image_labels: Tensor
    text_labels: Tensor
    image_studies: Tensor
    text_studies: Tensor

    def pin_memory(self) -> Batch:
        """Returns the batch in page-locked memory."""
        return replace(self, **{name: value.pin_memory() for name, value in vars(self).items()})


class Steps(Dataset[Batch]):
    """The batch of every step, as a map-style dataset: index it with a step.

    Args:
        images: the image side.
        texts: the text side.
        batch_images: I of the global batch.
        batch_texts: T of the global batch.
        image_size: side of the pixel values.
        augmentation: how images vary.
        seed: of both streams and of augmentation; the streams do not share their draws.
        rank: of this process.
        world: number of processes.
    """

    def __init__(
        self,
        images: ImageSide,
        texts: TextSide,
        *,
        batch_images: int,
        batch_texts: int,
        image_size: int,
        augmentation: Augmentation,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        for name, size in (("batch_images", batch_images), ("batch_texts", batch_texts)):
            if size % world:
                raise ValueError(
                    f"{name}={size} cannot be shared equally by {world} processes. Choose a multiple of it."
                )
        self._images, self._texts = images, texts
        self._image_stream = Stream(len(images.keys), batch_size=batch_images, seed=2 * seed, weights=images.weights)
        self._text_stream = Stream(len(texts.tokens), batch_size=batch_texts, seed=2 * seed + 1, weights=texts.weights)
        self._pipeline = train_pipeline(image_size, augmentation)
        self._seed, self._rank, self._world = seed, rank, world

    def __getitem__(self, step: int) -> Batch:
        rows = self._image_stream.rows(step, rank=self._rank, world=self._world)
        columns = self._text_stream.rows(step, rank=self._rank, world=self._world)
        images, texts = self._images, self._texts
        varied = int(np.random.default_rng([self._seed, 3, step, self._rank]).integers(2**31))
        pixels = apply(self._pipeline, images.cache.get(images.keys[rows].tolist()), seed=varied)
        input_ids, attention_mask = pad([texts.tokens[i] for i in columns], texts.pad_token_id)
        return Batch(
            pixel_values=torch.from_numpy(pixels),
            input_ids=input_ids,
            attention_mask=attention_mask,
            image_labels=torch.from_numpy(images.labels[rows]),
            text_labels=torch.from_numpy(texts.labels[columns]),
            image_studies=torch.from_numpy(images.studies[rows]),
            text_studies=torch.from_numpy(texts.studies[columns]),
        )


class _FromStep(Sampler[int]):
    """Steps `start` to `stop`; its length counts from 0, as the trainer counts."""

    def __init__(self, start: int, stop: int) -> None:
        self._start, self._stop = start, stop

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._start, self._stop))

    def __len__(self) -> int:
        return self._stop


def step_loader(steps: Steps, *, start: int, stop: int, workers: int, pin_memory: bool) -> DataLoader[Any]:
    """Returns a loader of the batches of steps `start` to `stop`."""
    return DataLoader(
        steps,
        batch_size=None,
        sampler=_FromStep(start, stop),
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
    )


def pad(tokens: list[np.ndarray], pad_token_id: int) -> tuple[Tensor, Tensor]:
    """Returns (input_ids, attention_mask), both (T, L), for T arrays of token ids."""
    longest = max(len(row) for row in tokens)
    input_ids = np.full((len(tokens), longest), pad_token_id, dtype=np.int64)
    attention_mask = np.zeros((len(tokens), longest), dtype=np.int64)
    for i, row in enumerate(tokens):
        input_ids[i, : len(row)] = row
        attention_mask[i, : len(row)] = 1
    return torch.from_numpy(input_ids), torch.from_numpy(attention_mask)
