"""Where in an image a text is: the similarity of the text to every patch, brought back to the original pixels."""

from __future__ import annotations

import numpy as np
from PIL import Image

from labelers.errors import UserError
from medclip.data.images import Geometry
from medclip.encoded import Encoded


def heatmaps(images: Encoded, texts: np.ndarray) -> np.ndarray:
    """Returns cosines of texts (T, D) with the patches of images, (I, T, rows, columns).

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
