"""One JPEG, PNG, TIFF, BMP or DICOM file to an 8-bit grey array, and arrays to squares. DICOM is read in `dicom`.

Radiographs come with air dark and bone bright, whatever the file says: inverted greyscale is turned round, and
values outside eight bits are scaled by what the file declares, or by what it holds where it declares nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from labelers.errors import UserError
from medclip.data.dicom import RECIPES, dicom_shape, read_dicom
from medclip.data.grey import ImageError, check_size, luminance, scale, to_eight_bits
from medclip.data.image_files import is_dicom

__all__ = [
    "DICOM_RECIPES", "Geometry", "ImageError", "fit_square", "grey_images", "image_shape", "pad_bicubic", "read_image",
    "resize_square", "square_geometry",
]  # fmt: skip
#: How DICOM values become grey: by the file's own windows, or as MIMIC-CXR-JPG was made.
DICOM_RECIPES = RECIPES
#: What turns a picture upright, by its EXIF orientation: how many times by 90 degrees, and whether it is then mirrored.
_TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}
_WIDTH, _HEIGHT, _PHOTOMETRIC, _ORIENTATION = 256, 257, 262, 274


@dataclass(frozen=True)
class Geometry:
    """Where the pixels of a square image come from: `square = original * scale + offset`.

    Attributes:
        width: Width of the original, in pixels.
        height: Height of the original, in pixels.
        scale: Pixels of the square per pixel of the original.
        left: Columns of padding on the left of the square.
        top: Rows of padding above.
    """

    width: int
    height: int
    scale: float
    left: int
    top: int


def read_image(path: str | Path, *, at_least: int | None = None, dicom: str = "voi") -> np.ndarray:
    """Returns the image at `path`, uint8 (height, width), air dark.

    Args:
        path: A JPEG, PNG, TIFF, BMP or DICOM file, told apart by content and not by name.
        at_least: A JPEG may be decoded at a reduced size whose shorter side is no less than this.
        dicom: "voi", by the modality and VOI tables or windows of the file (PS3.3, C.11), or "mimic-cxr-jpg", between
            the smallest and the largest value and with an equalised histogram (Johnson et al. 2019, section 2.2).

    Raises:
        FileNotFoundError: There is no such file.
        ImageError: It cannot be read as one grey image.
    """
    if dicom not in DICOM_RECIPES:
        raise UserError(f"dicom {dicom!r} is none of {', '.join(DICOM_RECIPES)}.")
    path = Path(path)
    if not path.stat().st_size:
        raise ImageError("the file is empty")
    image = read_dicom(path, dicom) if is_dicom(path) else _read_picture(path, at_least)
    if image.min() == image.max():
        raise ImageError("every pixel has the same value")
    return image


def grey_images(images: Any, *, at_least: int | None = None, dicom: str = "voi") -> list[np.ndarray]:
    """Returns one image or several as uint8 arrays (height, width).

    Args:
        images: A path, an array, a tensor or a PIL image, or a sequence of them. Arrays and tensors are (H, W), or
            hold one or three channels, first or last. Booleans, floats up to 1, and integers of 8 to 16 bits are
            scaled; air is dark in all of them.
        at_least: See `read_image`, for paths.
        dicom: See `read_image`.

    Raises:
        ImageError: A file cannot be read, or the values or the shape of an array are those of no grey image.
    """
    return [_grey_image(image, at_least, dicom) for image in listed_images(images)]


def listed_images(images: Any) -> list[Any]:
    """Returns one image or several, as `grey_images` takes them, as a list of single ones.

    Raises:
        ImageError: They are neither.
    """
    if isinstance(images, (str, Path, Image.Image)) or (hasattr(images, "ndim") and _is_one(images.shape)):
        return [images]
    try:
        return list(images)
    except TypeError as error:
        raise ImageError(
            f"images of type {type(images).__name__} are not understood; expected paths, arrays, tensors or PIL images"
        ) from error


def _is_one(shape: Sequence[int]) -> bool:
    """Tells whether an array of `shape` is one image: (H, W), or with channels, first or last, and not (N, H, W)."""
    return len(shape) == 2 or (len(shape) == 3 and (shape[0] in (1, 3) or shape[2] in (1, 3, 4)))


def _grey_image(image: Any, at_least: int | None, dicom: str) -> np.ndarray:
    if isinstance(image, (str, Path)):
        try:
            return read_image(image, at_least=at_least, dicom=dicom)
        except ImageError as error:
            raise ImageError(f"{image}: {error}") from error  # which of many it is
    if isinstance(image, Image.Image):
        return _upright(_to_grey(image), _orientation(image))
    if hasattr(image, "detach"):  # a tensor; this file does not import torch
        image = image.detach().cpu()
        image = (image.float() if image.is_floating_point() else image).numpy()
    if not isinstance(image, np.ndarray):
        raise ImageError(
            f"images of type {type(image).__name__} are not understood; expected paths, arrays, tensors or PIL images"
        )
    if image.size == 0 or not _is_one(image.shape):
        raise ImageError(
            f"an array of shape {image.shape} is no image; expected (height, width), or one or three channels, first "
            "or last"
        )
    if image.ndim == 3 and image.shape[2] not in (1, 3, 4):
        image = np.moveaxis(image, 0, 2)
    if image.ndim == 3:
        deep = image.dtype.kind == "f"
        colours = luminance(image) if image.shape[2] >= 3 else image[..., 0]
        image = colours if deep or image.dtype == bool else np.rint(colours).astype(image.dtype)
    return to_eight_bits(image)


def square_geometry(width: int, height: int, size: int) -> Geometry:
    """Returns where `fit_square` puts an image of `width` x `height` pixels."""
    scale = size / max(height, width)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    return Geometry(width, height, scale, (size - new_width) // 2, (size - new_height) // 2)


def image_shape(path: str | Path) -> tuple[int, int]:
    """Returns width and height of the upright image at `path`, from its header alone.

    Raises:
        ImageError: It has none that can be read.
    """
    if is_dicom(Path(path)):
        return dicom_shape(Path(path))
    try:
        with Image.open(path) as image:
            # The size of a TIFF is as stored or upright, depending on the version of Pillow; its tags are as stored.
            tags = getattr(image, "tag_v2", {})
            width, height = tags.get(_WIDTH, image.width), tags.get(_HEIGHT, image.height)
            return (height, width) if _orientation(image) >= 5 else (width, height)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"its size cannot be read ({error})") from error


def fit_square(image: np.ndarray, size: int) -> tuple[np.ndarray, Geometry]:
    """Returns `image` with its longer side resized to `size` and padded with black to a square, and its geometry."""
    height, width = image.shape
    geometry = square_geometry(width, height, size)
    scale, left, top = geometry.scale, geometry.left, geometry.top
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    if (new_width, new_height) == (width, height) == (size, size):
        return image, geometry
    resized = Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    square = np.zeros((size, size), dtype=np.uint8)
    square[top : top + new_height, left : left + new_width] = np.asarray(resized)
    return square, geometry


def resize_square(square: np.ndarray, size: int) -> np.ndarray:
    """Returns `square` resized to (size, size), bilinearly, as the evaluation pipeline of `transforms` does."""
    import cv2

    return square if square.shape == (size, size) else cv2.resize(square, (size, size), interpolation=cv2.INTER_LINEAR)


def pad_bicubic(image: np.ndarray, size: int) -> np.ndarray:
    """Returns `image` in a black square of at least `size`, resized to it with Pillow's bicubic filter."""
    height, width = image.shape
    side = max(size, height, width)
    square = np.zeros((side, side), dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = image
    return np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.BICUBIC))


def _read_picture(path: Path, at_least: int | None) -> np.ndarray:
    try:
        # A file and not its name: Pillow maps named TIFF files, and mixes up those that lie on their side.
        with path.open("rb") as file, Image.open(file) as opened:
            check_size(opened.width, opened.height)
            if getattr(opened, "n_frames", 1) > 1:
                raise ImageError(f"the file has {opened.n_frames} frames; a radiograph has one")  # type: ignore[attr-defined]
            if at_least is not None:
                opened.draft("L", (at_least, at_least))
            deep = _is_deep_colour(opened)
            opened.load()
            grey = to_eight_bits(_read_deep_colour(path)) if deep else _to_grey(opened)
            return _upright(grey, _orientation(opened))
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError("its header claims more pixels than a radiograph has") from error
    except UnidentifiedImageError as error:
        raise ImageError("not readable as an image: it begins like no JPEG, PNG, TIFF, BMP or DICOM file") from error
    except Exception as error:  # Pillow raises many kinds for broken files; all mean the same here
        raise ImageError(f"not readable as an image ({type(error).__name__}: {error})") from error


def _to_grey(image: Image.Image) -> np.ndarray:
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "F"):
        values = np.asarray(image)
        grey = scale(values.astype(np.float64)) if values.min() < 0 else to_eight_bits(values)
        tags = getattr(image, "tag_v2", {})
        return 255 - grey if tags.get(_PHOTOMETRIC) == 0 else grey  # Pillow turns white round up to 8 bits only
    if image.mode in ("RGBA", "LA", "PA"):
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image.convert("RGBA"))
    return np.asarray(image.convert("L"))


def _is_deep_colour(image: Image.Image) -> bool:
    """Tells whether a file has several channels of 16 bits, of which Pillow would keep 8."""
    return image.mode in ("RGB", "RGBA", "LA") and any(";16" in str(tile[3]) for tile in getattr(image, "tile", []))


def _read_deep_colour(path: Path) -> np.ndarray:
    """Returns the grey values, uint16, of a file with several channels of 16 bits; what is transparent is black."""
    import cv2

    values = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise ImageError("its channels of 16 bits cannot be decoded")
    channels = np.atleast_3d(values)
    grey = luminance(channels[..., 2::-1]) if channels.shape[2] >= 3 else channels[..., 0].astype(np.float64)
    if channels.shape[2] in (2, 4):
        grey = grey * (channels[..., -1] / np.iinfo(values.dtype).max)
    return np.rint(grey).astype(values.dtype)


def _orientation(image: Image.Image) -> int:
    """Returns which way up a picture is stored, 1 to 8, by its EXIF data; 1 where they say nothing that is known."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, struct.error):
        return 1  # broken EXIF data are no reason to lose the picture
    return found if found in _TURNS else 1


def _upright(grey: np.ndarray, orientation: int) -> np.ndarray:
    turns, mirrored = _TURNS.get(orientation, (0, False))
    turned = np.rot90(grey, turns)
    return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)
