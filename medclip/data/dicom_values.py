"""The values of a DICOM image for viewers that lay windows over them; `dicom` makes the grey that models see."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medclip.data.dicom import modality_values, numbers, padding_mask, stored_values
from medclip.data.grey import ImageError


@dataclass(frozen=True)
class WindowedValues:
    """Values of an image, and the window to begin with.

    Attributes:
        levels: (height, width), uint16. A value, after the modality table, is `lowest + step * level`.
        lowest: The smallest value.
        step: What one level is worth.
        low: The value that the file's first window makes black, or the smallest that is no padding.
        high: The value that it makes white, or the largest.
        inverted: Whether the file shows its smallest value white (MONOCHROME1), so that air is bright before windows.
    """

    levels: np.ndarray
    lowest: float
    step: float
    low: float
    high: float
    inverted: bool


def read_values(path: Path) -> WindowedValues:
    """Returns the values of the one grey image in the DICOM file at `path`.

    Raises:
        ImageError: It cannot be read, is in colour, or has no two values.
    """
    data, stored = stored_values(path)
    if stored.ndim != 2:
        raise ImageError("the DICOM file is in colour; windows are for grey values")
    values = modality_values(stored.astype(np.float32), data)
    seen = ~padding_mask(stored, data)
    known = values[seen] if seen.any() else values
    lowest, highest = float(values.min()), float(values.max())
    if not np.isfinite([lowest, highest]).all() or lowest == highest:
        raise ImageError("every pixel has the same value, or some are not finite")
    step = (highest - lowest) / 65535
    levels = np.rint((values - lowest) / step).astype(np.uint16)
    low, high = float(known.min()), float(known.max())
    for center, width in zip(numbers(data, "WindowCenter"), numbers(data, "WindowWidth"), strict=False):
        if width > 0 and "VOILUTSequence" not in data:
            low, high = center - width / 2, center + width / 2
            break
    return WindowedValues(levels, lowest, step, low, high, data.PhotometricInterpretation == "MONOCHROME1")
