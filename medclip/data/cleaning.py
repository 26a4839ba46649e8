"""What shows on films and is no anatomy: borders and letters. Covered, nothing can be learned from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medclip.data.cache import ImageCache, Keys

#: How much brighter than what surrounds it a letter is, of 255, and the share of the side that it can be thick.
_BRIGHTER, _THICK = 60, 0.06
#: Letters stand in the outer share of the film, on each side.
_OUTER = 0.25


@dataclass(frozen=True)
class Cleaning:
    """What is covered on grey squares, in training and at inference alike.

    Attributes:
        border: Share of each side that is covered with the median of what is inside; 0 for none.
        corners: Share of the side of squares in the four corners that are covered likewise, where letters stand.
        markers: Whether small things in the outer quarter that are much brighter than what surrounds them, as letters
            burnt into films are, are covered with the median around them. Where one
            was can still be seen by a network, so that this takes away less than `corners`.
    """

    border: float = 0.0
    corners: float = 0.0
    markers: bool = False

    def __bool__(self) -> bool:
        return self.border > 0 or self.corners > 0 or self.markers

    def __call__(self, squares: np.ndarray) -> np.ndarray:
        """Returns squares (I, S, S), uint8, with the same covered; the argument is left as it is."""
        if not self:
            return squares
        return np.stack([self._one(square) for square in squares])

    def _one(self, square: np.ndarray) -> np.ndarray:
        made = square.copy()
        if self.markers:
            made = _without_markers(made)
        if self.border:
            width = max(1, round(self.border * len(made)))
            inside = made[width:-width, width:-width]
            covered = np.full_like(made, np.median(inside))
            covered[width:-width, width:-width] = inside
            made = covered
        if self.corners:
            side = max(1, round(self.corners * len(made)))
            middle = np.median(made[side:-side, side:-side])
            for rows in (slice(None, side), slice(-side, None)):
                made[rows, :side], made[rows, -side:] = middle, middle
        return made


def _without_markers(square: np.ndarray) -> np.ndarray:
    """Returns a square (S, S) with letters covered; the argument may be changed."""
    import cv2

    size = len(square)
    window = 2 * max(2, round(_THICK * size)) + 1
    around = cv2.medianBlur(np.ascontiguousarray(square), window)
    bright = square.astype(np.int16) - around > _BRIGHTER
    bright = cv2.dilate(bright.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    inner = round(_OUTER * size)
    bright[inner:-inner, inner:-inner] = False
    square[bright] = np.minimum(around, square)[bright]
    return square


@dataclass(frozen=True)
class CleanedPixels:
    """A cache whose squares are cleaned as they are read.

    Attributes:
        cache: Where the squares are.
        cleaning: What is covered.
    """

    cache: ImageCache
    cleaning: Cleaning

    def get(self, keys: Keys) -> np.ndarray:
        """Returns cleaned squares (I, S, S), uint8."""
        return self.cleaning(self.cache.get(keys))

    def shards(self, keys: Keys) -> np.ndarray:
        """See `medclip.data.cache.ImageCache.shards`."""
        return self.cache.shards(keys)
