"""Where in an image a text is: maps by gradients or by patches, brought back to the original pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from labelers.errors import UserError
from medclip.data.images import Geometry
from medclip.encoded import Encoded

if TYPE_CHECKING:
    from torch import Tensor

    from medclip.models import MedCLIPModel

#: Where maps come from: gradients of the whole image's similarity, or cosines of its patches.
MAPS = ("evidence", "patches")
#: Side of the maps of `evidence_maps`, and the deviation of their smoothing as a share of it.
SIDE, SMOOTHING = 56, 0.1


def evidence_maps(
    model: MedCLIPModel, pixels: Iterable[Tensor], texts: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields of each batch of pixel values (I, 1, H, W) its embeddings (I, D) and its maps of texts, (I, T, S, S).

    A map says how much each place adds to the similarity of its image with the text, see `medclip.models.evidence`;
    smoothed, since gradients are rough. It is at least 0, and of its own scale.

    Args:
        model: In evaluation mode.
        pixels: Batches of pixel values.
        texts: (T, D) directions; the positive less the negative one says what tells an observation from its absence.
    """
    import torch
    from scipy.ndimage import gaussian_filter

    from medclip.models.evidence import evidence

    for batch in pixels:
        embeds, maps = evidence(model.vision, batch.to(model.device), torch.from_numpy(texts).to(model.device))
        fine = torch.nn.functional.interpolate(maps.float(), size=(SIDE, SIDE), mode="bilinear").cpu().numpy()
        smooth = gaussian_filter(fine, (0, 0, SMOOTHING * SIDE, SMOOTHING * SIDE), mode="constant")
        yield embeds.float().cpu().numpy(), smooth


def text_maps(
    model: MedCLIPModel, pixels: Iterable[Tensor], positive: np.ndarray, negative: np.ndarray, *, kind: str = "evidence"
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields of each batch of pixel values (I, 1, H, W) its embeddings (I, D) and maps of texts, (I, T, rows, columns).

    Args:
        model: In evaluation mode.
        pixels: Batches of pixel values.
        positive: (T, D) directions of texts.
        negative: (T, D) directions of the contrary; zeros where there is none. `evidence` subtracts them.
        kind: One of `MAPS`.

    Raises:
        UserError: `kind` is unknown.
    """
    from medclip.inference.embed import encode_batches

    if kind not in MAPS:
        raise UserError(f"--maps {kind}: choose from {', '.join(MAPS)}.")
    if kind == "evidence":
        yield from evidence_maps(model, pixels, positive - negative)
        return
    for encoded in encode_batches(model, pixels, local=True):
        yield encoded.embeds.float().cpu().numpy(), heatmaps(encoded, positive)


def heatmaps(images: Encoded, texts: np.ndarray) -> np.ndarray:
    """Returns cosines of texts (T, D) with the patches of images, (I, T, rows, columns).

    For towers whose patches were compared with texts or words in training (`filip`, `gloria`). Those of others hold
    what the whole image needs, wherever it is: use `evidence_maps`.

    Raises:
        UserError: The images were encoded without their patches.
    """
    if images.local is None or images.grid is None:
        raise UserError("Encode the images with local=True to see where a text is.")
    patches = images.local.detach().float().cpu().numpy()
    patches = patches / np.maximum(np.linalg.norm(patches, axis=2, keepdims=True), 1e-12)
    return np.einsum("ipd,td->itp", patches, texts).reshape(len(patches), len(texts), *images.grid)


def to_original(heatmap: np.ndarray, geometry: Geometry, *, size: int) -> np.ndarray:
    """Returns a heatmap (rows, columns) of a square image as (height, width) of the original, float32.

    Args:
        heatmap: Over the whole square.
        geometry: Geometry by which the original became the square.
        size: Side of the square.
    """
    square = to_square(heatmap, size)
    left, top = geometry.left, geometry.top
    part = square[top : top + max(1, round(geometry.height * geometry.scale)),
                  left : left + max(1, round(geometry.width * geometry.scale))]  # fmt: skip
    return np.asarray(Image.fromarray(part).resize((geometry.width, geometry.height), Image.Resampling.BILINEAR))


def to_square(heatmap: np.ndarray, size: int) -> np.ndarray:
    """Returns a heatmap (rows, columns) as (size, size), float32, interpolated between the centres of patches."""
    return np.asarray(Image.fromarray(heatmap.astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR))


def overlay(image: np.ndarray, heatmap: np.ndarray, *, strength: float = 0.45) -> np.ndarray:
    """Returns the grey `image` (height, width) with a heatmap of its size over it, uint8 (height, width, 3).

    Colours run from the heatmap's lowest to its highest value; the lowest half is left clear.
    """
    from matplotlib import colormaps

    low, high = float(np.nanmin(heatmap)), float(np.nanmax(heatmap))
    share = (heatmap - low) / max(high - low, 1e-12)
    colours = colormaps["inferno"](share)[..., :3] * 255
    weight = (strength * np.clip(2 * share - 1, 0, 1))[..., None]
    return np.round((1 - weight) * image[..., None] + weight * colours).astype(np.uint8)
