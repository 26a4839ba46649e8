"""Trains an image tower on states themselves: for the supervised ceiling, and for fine-tuning."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from medclip.data.cache import PixelCache
from medclip.data.samplers import Stream
from medclip.data.tables import label_matrix
from medclip.data.transforms import Augmentation, normalise, resize, train_pipeline
from medclip.evaluation.metrics import multilabel
from medclip.models import MedCLIPProcessor
from medclip.models.towers import VisionTower


def train_tower(
    tower: VisionTower,
    train: pd.DataFrame,
    valid: pd.DataFrame,
    names: Sequence[str],
    *,
    cache: PixelCache,
    processor: MedCLIPProcessor,
    steps: int,
    every: int,
    seed: int,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    augmentation: Augmentation | None = None,
    min_count: int = 5,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Trains `tower`, whose projection gives a logit for each observation, and leaves it as it was at its best.

    Each observation is a binary question; states that are neither 1 nor 0 are masked. AdamW, one cycle of the
    learning rate. The best is by mean AUROC on `valid`; without any, the last.

    Args:
        tower: changed in place.
        train: prepared image table.
        valid: the same, for choosing.
        names: the observations.
        cache: pixels of both.
        processor: the size and the grey values that the tower sees.
        steps: of `batch_size` images.
        every: steps between looks at `valid`.
        seed: of order and augmentation.
        learning_rate: at its peak.
        augmentation: how training images vary.
        min_count: positives and negatives an observation of `valid` needs to count.
        progress: called with (step, steps).
    """
    keys, states = train["_key"].to_numpy(), label_matrix(train, names)
    device = next(tower.parameters()).device
    stream = Stream(len(keys), batch_size=min(batch_size, max(2, len(keys))), seed=seed)
    pipeline = train_pipeline(processor.image_size, augmentation or Augmentation())
    optimizer = torch.optim.AdamW(tower.parameters(), lr=learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps + 1)
    best, kept = -np.inf, None
    tower.train()
    for step in range(steps):
        chosen = stream.rows(step)
        pipeline.set_random_seed(seed * 1_000_003 + step)
        squares = resize(pipeline, cache.get(keys[chosen].tolist()))
        pixels = torch.from_numpy(normalise(squares, processor.mean, processor.std)).to(device)
        loss = masked_bce(_logits(tower, pixels), torch.from_numpy(states[chosen]).to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if (step + 1) % every == 0 or step + 1 == steps:
            if len(valid):
                scores = predict(tower, valid["_key"].tolist(), cache, processor)
                found, _ = multilabel(label_matrix(valid, names), scores, names, weights=None, min_count=min_count)
                if found["auroc/mean"] > best:
                    best, kept = found["auroc/mean"], copy.deepcopy(tower.state_dict())
            if progress is not None:
                progress(step + 1, steps)
    if kept is not None:
        tower.load_state_dict(kept)


def predict(
    tower: VisionTower, keys: Sequence[str], cache: PixelCache, processor: MedCLIPProcessor, *, batch_size: int = 128
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
