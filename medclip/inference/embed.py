"""The one loop that takes many images or texts through a tower."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from medclip.encoded import Encoded
from medclip.models import MedCLIPModel, MedCLIPProcessor
from medclip.utils.progress import Count

if TYPE_CHECKING:
    from medclip.data.cache import ImageCache
    from medclip.data.features import FeatureCache


def encode_batches(model: MedCLIPModel, pixels: Iterable[Tensor], *, local: bool = False) -> Iterator[Encoded]:
    """Yields each batch of pixel values (I, 1, H, W) encoded; with `local`, its patches too."""
    for batch in pixels:
        with torch.inference_mode():
            encoded = model.encode_images(batch.to(model.device), local=local)
        yield encoded  # outside of the mode, which would stay on in a caller that stops or fails before the last batch


def embed_images(
    model: MedCLIPModel,
    images: Sequence[Any],
    processor: MedCLIPProcessor,
    *,
    cache: ImageCache | FeatureCache | None = None,
    batch_size: int = 128,
    progress: Count | None = None,
) -> np.ndarray:
    """Returns embeddings (N, D), float32, unit length; each depends on its own pixels alone.

    Args:
        model: In evaluation mode.
        images: Files or grey uint8 arrays; with `cache`, its keys.
        processor: The model's.
        cache: Holds the images, or what the model's locked tower makes of them.
        batch_size: Images encoded at once.
        progress: Called with (done, total) after each batch.

    Raises:
        ImageError: A file cannot be read.
    """
    parts: list[np.ndarray] = []
    for encoded in encode_batches(model, processor.batches(images, cache=cache, batch_size=batch_size)):
        parts.append(encoded.embeds.float().cpu().numpy())
        _report(progress, len(parts) * batch_size, len(images))
    return np.concatenate(parts) if parts else np.empty((0, model.config.projection_dim), dtype=np.float32)


def embed_features(
    model: MedCLIPModel,
    images: Sequence[Any],
    processor: MedCLIPProcessor,
    *,
    cache: ImageCache | None = None,
    batch_size: int = 128,
) -> np.ndarray:
    """Returns the image tower's features before the projection, (N, C), float32; arguments as of `embed_images`."""
    parts = []
    for batch in processor.batches(images, cache=cache, batch_size=batch_size):
        with torch.inference_mode():
            parts.append(model.vision.pool(batch.to(model.device))[0].float().cpu().numpy())
    return np.concatenate(parts)


def embed_texts(
    model: MedCLIPModel,
    texts: Sequence[str],
    processor: MedCLIPProcessor,
    *,
    batch_size: int = 256,
    progress: Count | None = None,
) -> np.ndarray:
    """Returns embeddings (N, D) of texts, float32, unit length.

    Args:
        model: In evaluation mode.
        texts: N of them.
        processor: The model's.
        batch_size: Texts encoded at once.
        progress: Called with (done, total) after each batch.
    """
    parts: list[np.ndarray] = []
    for start in range(0, len(texts), batch_size):
        tokens = processor.texts(texts[start : start + batch_size])
        with torch.inference_mode():
            features = model.get_text_features(**{name: value.to(model.device) for name, value in tokens.items()})
        parts.append(features.float().cpu().numpy())
        _report(progress, start + batch_size, len(texts))
    return np.concatenate(parts) if parts else np.empty((0, model.config.projection_dim), dtype=np.float32)


def _report(progress: Count | None, done: int, total: int) -> None:
    if progress is not None:
        progress(min(done, total), total)
