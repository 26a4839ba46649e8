"""A whole table through a tower, once, to arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from medclip.data.cache import PixelCache
from medclip.models import MedCLIPModel, MedCLIPProcessor
from medclip.utils.progress import Count


def encode_images(
    model: MedCLIPModel,
    keys: Sequence[str],
    cache: PixelCache,
    processor: MedCLIPProcessor,
    *,
    batch_size: int = 128,
    progress: Count | None = None,
) -> np.ndarray:
    """Returns embeddings (N, D), float32, of cached images; each depends on its own pixels alone."""
    parts = []
    for start in range(0, len(keys), batch_size):
        pixels = processor.squares(cache.get(keys[start : start + batch_size]))
        with torch.inference_mode():
            parts.append(model.get_image_features(pixels.to(model.device)).float().cpu().numpy())
        if progress is not None:
            progress(min(start + batch_size, len(keys)), len(keys))
    return np.concatenate(parts) if parts else np.empty((0, model.config.projection_dim), dtype=np.float32)


def encode_features(
    model: MedCLIPModel,
    keys: Sequence[str],
    cache: PixelCache,
    processor: MedCLIPProcessor,
    *,
    batch_size: int = 128,
) -> np.ndarray:
    """Returns what the image tower's backbone says of cached images, before the projection: (N, C), float32."""
    parts = []
    for start in range(0, len(keys), batch_size):
        pixels = processor.squares(cache.get(keys[start : start + batch_size])).to(model.device)
        with torch.inference_mode():
            parts.append(model.vision.pool(pixels)[0].float().cpu().numpy())
    return np.concatenate(parts)


def encode_texts(
    model: MedCLIPModel,
    texts: Sequence[str],
    processor: MedCLIPProcessor,
    *,
    batch_size: int = 256,
    progress: Count | None = None,
) -> np.ndarray:
    """Returns embeddings (N, D), float32, of texts."""
    parts = []
    for start in range(0, len(texts), batch_size):
        tokens = processor.texts(texts[start : start + batch_size])
        with torch.inference_mode():
            features = model.get_text_features(**{name: value.to(model.device) for name, value in tokens.items()})
        parts.append(features.float().cpu().numpy())
        if progress is not None:
            progress(min(start + batch_size, len(texts)), len(texts))
    return np.concatenate(parts) if parts else np.empty((0, model.config.projection_dim), dtype=np.float32)
