"""From stored values to 8-bit grey: what every image reader shares. Knows no file format."""

from __future__ import annotations

import numpy as np

from labelers.errors import UserError

#: No radiograph is larger, narrower or smaller; a file that claims to be is refused before it is decoded.
MAX_PIXELS, MAX_RATIO, MIN_SIDE = 200_000_000, 8, 8
#: Values that use less than this share of their bits are stretched to the whole of grey.
_NARROW = 0.25


class ImageError(UserError):
    """A file or an array that cannot be read as a radiograph; the message says why."""


def check_size(width: int, height: int) -> None:
    """Checks that an image of `width` x `height` pixels can be a radiograph.

    Raises:
        ImageError: It has too many pixels, or too few, or is too narrow.
    """
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width}x{height} pixels are more than a radiograph has")
    if min(width, height) < MIN_SIDE or max(width, height) > MAX_RATIO * min(width, height):
        raise ImageError(f"{width}x{height} pixels are too small or too narrow for a radiograph")


def scale(values: np.ndarray, low: float | None = None, high: float | None = None) -> np.ndarray:
    """Returns `values` as uint8: `low` becomes 0 and `high` 255; without them, the smallest and the largest value.

    Raises:
        ImageError: There is nothing between them.
    """
    low = float(np.min(values)) if low is None else low
    high = float(np.max(values)) if high is None else high
    if high <= low:
        raise ImageError("every pixel has the same value")
    return (np.clip((values - low) / (high - low), 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def to_eight_bits(values: np.ndarray) -> np.ndarray:
    """Returns `values` as uint8, by what their type and their largest value say about their range.

    Booleans become 0 and 255, floats up to 1 are shares of 255, and other values count as of as many bits as their
    largest needs: 12 bits in a 16-bit file become the whole of grey. Values of more than 8 bits that use less than a
    quarter of their bits are stretched.

    Raises:
        ImageError: A value is negative or not finite, so that the range cannot be known.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind not in "iuf":
        raise ImageError(f"values of type {values.dtype} are no grey values; expected integers, floats or booleans")
    smallest, largest = float(np.min(values)), float(np.max(values))
    if not np.isfinite([smallest, largest]).all():
        raise ImageError("some values are not finite")
    if smallest < 0:
        raise ImageError(f"values reach from {smallest:g} to {largest:g}; expected 0 to 1, or 0 to 255, 4095 or 65535")
    if values.dtype.kind == "f" and largest <= 1:
        return scale(values, 0.0, 1.0)
    full = 2.0 ** max(8, int(np.ceil(np.log2(largest + 1)))) - 1
    if full > 255 and largest - smallest < _NARROW * full:
        return scale(values)
    return scale(values, 0.0, full)


def equalise(image: np.ndarray) -> np.ndarray:
    """Returns a grey uint8 image with an equalised histogram, its darkest value at 0."""
    counts = np.bincount(image.ravel(), minlength=256)
    first = int(np.flatnonzero(counts)[0])
    above = counts.cumsum() - counts[: first + 1].sum()
    return np.rint(np.clip(above, 0, None) * (255.0 / max(1, image.size - counts[first]))).astype(np.uint8)[image]


def luminance(rgb: np.ndarray) -> np.ndarray:
    """Returns the grey values (H, W), float, of colours (H, W, 3), by the weights of ITU-R BT.601."""
    return np.asarray(rgb[..., :3].astype(np.float64) @ np.array([0.299, 0.587, 0.114]))
