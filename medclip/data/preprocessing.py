"""The one way from images to what the image tower takes, in numpy: for the processor, evaluation and exports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from labelers.errors import UserError
from medclip.data.cleaning import Cleaning
from medclip.data.images import fit_square, grey_images, pad_bicubic, resize_square

MEAN, STD = 0.5862785803043838, 0.27950088968644304
RESIZES = ("square", "pad-bicubic")


@dataclass(frozen=True)
class Preprocessing:
    """How images become pixel values.

    Attributes:
        image_size: Side of the images that the image tower takes, in pixels.
        cache_size: Side of the squares that images are first fitted to, as in training.
        mean: Mean of pixel values in [0, 1], removed.
        std: Their deviation, divided by.
        resize: "square", fitted and resized as in training; or "pad-bicubic", as the official MedCLIP prepares images
            (padded to a square of at least `image_size`, then resized with Pillow's bicubic filter).
        dicom: How DICOM values become grey, see `medclip.data.images.read_image`.
        border: Share of each side that is covered, see `medclip.data.cleaning`.
        corners: Share of the side of corners that are covered.
        markers: Whether letters are covered.

    Raises:
        UserError: `resize` is unknown.
    """

    image_size: int
    cache_size: int
    mean: float = MEAN
    std: float = STD
    resize: str = "square"
    dicom: str = "voi"
    border: float = 0.0
    corners: float = 0.0
    markers: bool = False

    def __post_init__(self) -> None:
        if self.resize not in RESIZES:
            raise UserError(f"resize {self.resize!r} is none of {', '.join(RESIZES)}.")
        for name in ("border", "corners"):
            if not 0 <= (share := getattr(self, name)) < 0.4:
                raise UserError(f"{name} {share}: the share of each side that is covered is at least 0, below 0.4.")

    def images(self, images: Any) -> np.ndarray:
        """Returns pixel values (I, 1, H, W), float32, of one image or several, see `medclip.data.images.grey_images`.

        Raises:
            ImageError: A file cannot be read, or an array is no grey image.
        """
        arrays = grey_images(images, at_least=self.cache_size, dicom=self.dicom)
        if self.resize == "pad-bicubic":
            padded = np.stack([pad_bicubic(array, self.image_size) for array in arrays])
            return self.normalised(self.cleaning(padded))
        return self.squares(np.stack([fit_square(array, self.cache_size)[0] for array in arrays]))

    def squares(self, squares: np.ndarray) -> np.ndarray:
        """Returns pixel values (I, 1, H, W) of cached squares (I, S, S), uint8."""
        squares = self.cleaning(squares)
        return self.normalised(np.stack([resize_square(square, self.image_size) for square in squares]))

    @property
    def cleaning(self) -> Cleaning:
        """What is covered on squares."""
        return Cleaning(self.border, self.corners, self.markers)

    def normalised(self, images: np.ndarray) -> np.ndarray:
        """Returns pixel values (I, 1, H, W) of images (I, H, W), uint8, that have their size."""
        return normalise(images, self.mean, self.std)


def normalise(images: np.ndarray, mean: float = MEAN, std: float = STD) -> np.ndarray:
    """Returns float32 (N, 1, H, W), mean removed and divided by the deviation, for uint8 (N, H, W)."""
    scaled = images.astype(np.float32) * np.float32(1 / (255 * std)) - np.float32(mean / std)
    return scaled[:, None]
