"""One JPEG, PNG or DICOM file to an 8-bit grey array. The only room that knows how pixels are stored.

Radiographs come with air dark and bone bright, whatever the file says: inverted greyscale is turned round, and
values outside eight bits are scaled by what the file declares, or by what it holds where it declares nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

#: No radiograph is larger, narrower or smaller; a file that claims to be is refused before it is decoded.
MAX_PIXELS, MAX_RATIO, MIN_SIDE = 200_000_000, 8, 8
#: How DICOM values become grey: by the file's own windows, or as MIMIC-CXR-JPG was made.
DICOM_RECIPES = ("voi", "mimic-cxr-jpg")
#: What decodes each family of compressed DICOM files.
_DECODERS = {
    "JPEG 2000": "pylibjpeg-openjpeg",
    "JPEG-LS": "pyjpegls",
    "JPEG": "pylibjpeg-libjpeg",
    "RLE": "pylibjpeg-rle",
}
_DICOM_MAGIC = b"DICM"


class ImageError(ValueError):
    """A file that cannot be read as a radiograph; the message says why."""


@dataclass(frozen=True)
class Geometry:
    """Where the pixels of a square image come from: `square = original * scale + offset`.

    Attributes:
        width: of the original, in pixels.
        height: of the original.
        scale: pixels of the square per pixel of the original.
        left: columns of padding on the left of the square.
        top: rows of padding above.
    """

    width: int
    height: int
    scale: float
    left: int
    top: int


def read_image(path: str | Path, *, at_least: int | None = None, dicom: str = "voi") -> np.ndarray:
    """Returns the image at `path`, uint8 (height, width), air dark.

    Args:
        path: a JPEG, PNG, TIFF, BMP or DICOM file, told apart by content and not by name.
        at_least: a JPEG may be decoded at a reduced size whose shorter side is no less than this.
        dicom: "voi", by the modality and VOI tables or windows of the file (PS3.3, C.11), or "mimic-cxr-jpg", between
            the smallest and the largest value and with an equalised histogram (Johnson et al. 2019, section 2.2).

    Raises:
        FileNotFoundError: there is no such file.
        ImageError: it cannot be read as one grey image.
    """
    if dicom not in DICOM_RECIPES:
        raise ValueError(f"dicom {dicom!r} is none of {', '.join(DICOM_RECIPES)}.")
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(132)
    if not head:
        raise ImageError("the file is empty")
    is_dicom = head[128:132] == _DICOM_MAGIC or path.suffix.lower() in (".dcm", ".dicom")
    image = _read_dicom(path, dicom) if is_dicom else _read_picture(path, at_least)
    if image.min() == image.max():
        raise ImageError("every pixel has the same value")
    return image


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width}x{height} pixels are more than a radiograph has")
    if min(width, height) < MIN_SIDE or max(width, height) > MAX_RATIO * min(width, height):
        raise ImageError(f"{width}x{height} pixels are too small or too narrow for a radiograph")


def square_geometry(width: int, height: int, size: int) -> Geometry:
    """Returns where `fit_square` puts an image of `width` x `height` pixels."""
    scale = size / max(height, width)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    return Geometry(width, height, scale, (size - new_width) // 2, (size - new_height) // 2)


def image_shape(path: str | Path) -> tuple[int, int]:
    """Returns width and height of the image at `path`, from its header alone.

    Raises:
        ImageError: it has none that can be read.
    """
    with Path(path).open("rb") as file:
        is_dicom = file.read(132)[128:132] == _DICOM_MAGIC
    if is_dicom:
        import pydicom

        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
        return int(header.Columns), int(header.Rows)
    try:
        with Image.open(path) as image:
            return image.size
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
        with Image.open(path) as opened:
            _check_size(opened.width, opened.height)
            if getattr(opened, "n_frames", 1) > 1:
                raise ImageError(f"the file has {opened.n_frames} frames; a radiograph has one")  # type: ignore[attr-defined]
            if at_least is not None:
                opened.draft("L", (at_least, at_least))
            opened.load()
            return _to_grey(opened)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError("its header claims more pixels than a radiograph has") from error
    except Exception as error:  # Pillow raises many kinds for broken files; all mean the same here
        raise ImageError(f"not readable as an image ({type(error).__name__}: {error})") from error


def _to_grey(image: Image.Image) -> np.ndarray:
    if image.mode in ("I", "I;16", "I;16B", "F"):
        values = np.asarray(image).astype(np.float32)
        return _scale(values, 0.0, 65535.0 if values.max(initial=0) > 255 and image.mode != "F" else None)
    if image.mode in ("RGBA", "LA", "PA"):
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image.convert("RGBA"))
    return np.asarray(image.convert("L"))


def _scale(values: np.ndarray, low: float | None = None, high: float | None = None) -> np.ndarray:
    """Returns `values` as uint8; without limits, or where they hold a tenth of them only, scaled by what is there."""
    smallest, largest = float(np.min(values)), float(np.max(values))
    if low is None or high is None or (largest - smallest) < 0.1 * (high - low):
        low, high = smallest, largest
    if high <= low:
        raise ImageError("every pixel has the same value")
    return (np.clip((values - low) / (high - low), 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def _read_dicom(path: Path, recipe: str) -> np.ndarray:
    import pydicom

    try:
        data = pydicom.dcmread(path)
    except Exception as error:
        raise ImageError(f"not readable as DICOM ({type(error).__name__}: {error})") from error
    photometric = _check_dicom(data)
    values = _decode(data)
    smallest, largest = values.min(), values.max()
    if values.dtype.kind in "iu" and int(largest) - int(smallest) < 2**16:
        # There are fewer levels than pixels, so what is done to values is done to levels, and looked up.
        levels = np.arange(int(smallest), int(largest) + 1, dtype=values.dtype)
        grey = _to_eight_bits(levels, data, recipe)[np.subtract(values, smallest, dtype=np.int32)]
    else:
        grey = _to_eight_bits(values, data, recipe)
    if photometric == "MONOCHROME1":
        grey = 255 - grey
    return equalise(grey) if recipe == "mimic-cxr-jpg" else grey


def _to_eight_bits(values: np.ndarray, data: Any, recipe: str) -> np.ndarray:
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    try:
        if recipe == "voi":
            values = apply_voi_lut(apply_modality_lut(values, data), data)
    except Exception as error:
        raise ImageError(f"its lookup tables cannot be applied ({type(error).__name__}: {error})") from error
    return _scale(np.asarray(values, dtype=np.float32))


def _check_dicom(data: Any) -> str:
    """Returns the photometric interpretation of one grey image, or says why it is none."""
    if "PixelData" not in data:
        raise ImageError("the DICOM file has no pixels, (7FE0,0010) PixelData")
    try:
        frames, samples = int(data.get("NumberOfFrames", 1) or 1), int(data.get("SamplesPerPixel", 1) or 1)
        _check_size(int(data.Columns), int(data.Rows))
    except (AttributeError, TypeError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"its header does not say what its pixels are ({error})") from error
    if frames > 1:
        raise ImageError(f"the DICOM file has {frames} frames; a radiograph has one")
    photometric = str(data.get("PhotometricInterpretation", "MONOCHROME2"))
    if samples != 1 or not photometric.startswith("MONOCHROME"):
        raise ImageError(f"the DICOM file is in colour, (0028,0004) PhotometricInterpretation is {photometric}")
    return photometric


def _decode(data: Any) -> np.ndarray:
    try:
        return data.pixel_array  # type: ignore[no-any-return]
    except Exception as error:
        syntax = data.file_meta.get("TransferSyntaxUID") if hasattr(data, "file_meta") else None
        name = getattr(syntax, "name", "")
        package = next((package for family, package in _DECODERS.items() if family in name), None)
        if package is not None and "missing" in str(error):
            raise ImageError(
                f"it is compressed as {name}, and {package} is not installed: pip install 'medclip[dicom]'"
            ) from error
        raise ImageError(f"its pixels cannot be decoded ({type(error).__name__}: {error})") from error


def equalise(image: np.ndarray) -> np.ndarray:
    """Returns a grey uint8 image with an equalised histogram, its darkest value at 0."""
    counts = np.bincount(image.ravel(), minlength=256)
    first = int(np.flatnonzero(counts)[0])
    above = counts.cumsum() - counts[: first + 1].sum()
    return np.rint(np.clip(above, 0, None) * (255.0 / max(1, image.size - counts[first]))).astype(np.uint8)[image]
