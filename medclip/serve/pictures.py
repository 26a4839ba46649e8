"""Arrays to what a browser shows: grey PNG files, levels for windows, and heatmaps as colours with transparency."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

#: Longer side of what is sent to a browser, in pixels.
LARGEST = 2048


def fitted(array: np.ndarray, side: int) -> np.ndarray:
    """Returns a grey image, uint8 or uint16, made smaller where its longer side is over `side`."""
    import cv2

    height, width = array.shape
    if max(height, width) <= side:
        return array
    share = side / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return np.asarray(cv2.resize(array, size, interpolation=cv2.INTER_AREA))


def png(array: np.ndarray) -> bytes:
    """Returns a PNG file of uint8 (height, width), or with four channels."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG", compress_level=1)
    return file.getvalue()


def colours(heatmap: np.ndarray) -> np.ndarray:
    """Returns a heatmap (height, width) as colours, uint8 (height, width, 4).

    Colours run from its lowest to its highest value; the lowest half is transparent, the highest value is not.
    """
    from matplotlib import colormaps

    low, high = float(heatmap.min()), float(heatmap.max())
    share = (heatmap - low) / max(high - low, 1e-12)
    drawn = np.asarray(colormaps["inferno"](share))
    drawn[..., 3] = np.clip(2 * share - 1, 0, 1)
    return np.round(drawn * 255).astype(np.uint8)


def with_map(image: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """Returns uint8 (height, width, 3): grey `image` with a heatmap of any size over it."""
    import cv2

    height, width = image.shape
    return over(image, colours(np.asarray(cv2.resize(heatmap, (width, height)))), strength=0.6)


def over(image: np.ndarray, coloured: np.ndarray, *, strength: float) -> np.ndarray:
    """Returns uint8 (height, width, 3): grey `image` with `coloured` of its size over it."""
    weight = coloured[..., 3:] / 255 * strength
    return np.round((1 - weight) * image[..., None] + weight * coloured[..., :3]).astype(np.uint8)
