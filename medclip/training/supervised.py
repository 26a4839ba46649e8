"""Trains an image tower on states themselves: for the supervised ceiling, and for fine-tuning."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from medclip.data.cache import ImageCache
from medclip.data.samplers import Stream
from medclip.data.transforms import Augmentation, resize, train_pipeline
from medclip.models import MedCLIPProcessor
from medclip.models.towers import VisionTower
from medclip.utils.progress import Count

#: Returns how good scores (N, O) are for states (N, O); higher is better, NaN where it cannot be told.
Score = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class LabelledImages:
    """Cached images and what is known of them.

    Attributes:
        keys: N keys of the cache.
        states: (N, O).
    """

    keys: Sequence[str]
    states: np.ndarray


@dataclass(frozen=True)
class SupervisedSettings:
    """How a tower is trained: AdamW, one cycle of the learning rate.

    Attributes:
        steps: Number of steps in all.
        every: Steps between validations.
        seed: Seed of order and augmentation.
        batch_size: Images of a step.
        learning_rate: Learning rate at its peak.
        augmentation: Random changes of training images.
    """

    steps: int
    every: int
    seed: int
    batch_size: int = 64
    learning_rate: float = 1e-3
    augmentation: Augmentation = field(default_factory=Augmentation)


def train_tower(
    tower: VisionTower,
    train: LabelledImages,
    valid: LabelledImages,
    *,
    cache: ImageCache,
    processor: MedCLIPProcessor,
    settings: SupervisedSettings,
    score: Score,
    progress: Count | None = None,
) -> None:
    """Trains `tower`, whose projection gives a logit for each observation, and leaves it as it was at its best.

    Each observation is a binary question; states that are neither 1 nor 0 are masked. The best is by `score` on
    `valid`; without validation images, the last.

    Args:
        tower: Changed in place.
        train: What is learned from.
        valid: Images by which the best epoch is chosen; may be empty.
        cache: Pixels of both.
        processor: The size and the grey values that the tower sees.
        settings: Settings of the training.
        score: Chooses the best.
        progress: Called with (step, steps).
    """
    batches = _Batches(train, cache, processor, settings, next(tower.parameters()).device)
    optimizer = torch.optim.AdamW(tower.parameters(), lr=settings.learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=settings.steps + 1)
    best, kept = -np.inf, None
    tower.train()
    for step in range(settings.steps):
        pixels, states = batches(step)
        loss = masked_bce(_logits(tower, pixels), states)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if (step + 1) % settings.every and step + 1 < settings.steps:
            continue
        if len(valid.keys):
            found = score(valid.states, predict(tower, valid.keys, cache, processor))
            if found > best:
                best, kept = found, copy.deepcopy(tower.state_dict())
        if progress is not None:
            progress(step + 1, settings.steps)
    if kept is not None:
        tower.load_state_dict(kept)


class _Batches:
    """Pixel values and states of a step."""

    def __init__(
        self,
        images: LabelledImages,
        cache: ImageCache,
        processor: MedCLIPProcessor,
        settings: SupervisedSettings,
        device: torch.device,
    ) -> None:
        self._keys, self._states = np.asarray(images.keys, dtype=object), images.states
        self._cache, self._processor, self._seed, self._device = cache, processor, settings.seed, device
        size = min(settings.batch_size, max(2, len(self._keys)))
        self._stream = Stream(len(self._keys), batch_size=size, seed=settings.seed)
        self._pipeline = train_pipeline(processor.image_size, settings.augmentation)

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        chosen = self._stream.rows(step)
        self._pipeline.set_random_seed(self._seed * 1_000_003 + step)
        cleaned = self._processor.preprocessing.cleaning(self._cache.get(self._keys[chosen].tolist()))
        squares = resize(self._pipeline, cleaned)
        pixels = torch.from_numpy(self._processor.preprocessing.normalised(squares))
        return pixels.to(self._device), torch.from_numpy(self._states[chosen]).to(self._device)


def predict(
    tower: VisionTower, keys: Sequence[str], cache: ImageCache, processor: MedCLIPProcessor, *, batch_size: int = 128
) -> np.ndarray:
    """Returns logits (N, O) of cached images."""
    training, parts = tower.training, []
    tower.eval()
    device = next(tower.parameters()).device
    with torch.inference_mode():
        for batch in processor.batches(keys, cache=cache, batch_size=batch_size):
            pixels = batch.to(device)
            parts.append(_logits(tower, pixels).float().cpu().numpy())
    tower.train(training)
    return np.concatenate(parts)


def masked_bce(logits: Tensor, states: Tensor) -> Tensor:
    """Returns the mean binary cross entropy over states that are 1 or 0, for logits and states (N, O)."""
    known = (states == 1) | (states == 0)
    losses = functional.binary_cross_entropy_with_logits(logits, (states == 1).to(logits.dtype), reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)


def _logits(tower: VisionTower, pixels: Tensor) -> Tensor:
    """Returns (N, O): the tower's features through its projection, which serves as the classifier here."""
    pooled, _, _ = tower.pool(pixels.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last))
    return tower.projection(pooled)
