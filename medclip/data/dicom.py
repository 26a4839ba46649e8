"""One DICOM file to an 8-bit grey array: headers as they come, lookup tables, windows, padding (PS3.3, C.7.6.3, C.11).

An element of display that cannot be used, such as a window of width 0, is left aside; it does not cost the image.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from medclip.data.grey import ImageError, check_size, equalise, luminance, scale
from medclip.utils.extras import install

logger = logging.getLogger(__name__)

#: How values become grey: by the file's own tables and windows, or as MIMIC-CXR-JPG was made.
RECIPES = ("voi", "mimic-cxr-jpg")
#: Modalities of radiographs and of pictures of radiographs.
MODALITIES = ("CR", "DX", "DR", "RG", "RF", "PX", "XA", "IO", "MG", "OT", "SC", "XC")
#: What decodes each family of compressed files.
_DECODERS = {
    "JPEG 2000": "pylibjpeg-openjpeg",
    "JPEG-LS": "pyjpegls",
    "JPEG": "pylibjpeg-libjpeg",
    "RLE": "pylibjpeg-rle",
}
#: How far, of 255, the channels of a grey pixel may differ after lossy compression.
_COLOUR = 8
_GREY, _COLOURS = ("MONOCHROME1", "MONOCHROME2"), ("RGB", "YBR", "PALETTE COLOR")


def read_dicom(path: Path, recipe: str) -> np.ndarray:
    """Returns the one image in the DICOM file at `path`, uint8 (height, width), air dark.

    Args:
        path: The file.
        recipe: one of `RECIPES`.

    Raises:
        ImageError: It cannot be read as one grey image.
    """
    data, values = stored_values(path)
    photometric = data.PhotometricInterpretation
    colour = photometric not in _GREY
    grey = _grey_of_colour(values, data, photometric) if colour else _render(values, data, recipe)
    return equalise(grey) if recipe == "mimic-cxr-jpg" else grey


def stored_values(path: Path) -> tuple[Any, np.ndarray]:
    """Returns the data set at `path`, what its header lacks filled in, and its pixels as they are stored.

    Raises:
        ImageError: It does not hold one image that can be decoded.
    """
    data = _open(path)
    _check(data)
    return data, _decode(data)


def dicom_shape(path: Path) -> tuple[int, int]:
    """Returns width and height of the image in the DICOM file at `path`, from its header alone.

    Raises:
        ImageError: It has none.
    """
    import pydicom

    try:
        header = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
        return int(header.Columns), int(header.Rows)
    except Exception as error:
        raise ImageError(f"its size cannot be read ({type(error).__name__}: {error})") from error


def _open(path: Path) -> Any:
    """Returns the data set at `path`, with or without a preamble, with a header that can be decoded by."""
    import pydicom

    try:
        data = pydicom.dcmread(path, force=True)
        known = "SOPClassUID" in data or "Rows" in data or "PixelData" in data
    except Exception as error:
        raise ImageError(f"not readable as DICOM ({type(error).__name__}: {error})") from error
    if not known:
        raise ImageError("not readable as DICOM: no element of an image was found in it")
    return data


def _check(data: Any) -> None:
    """Fills in what the header lacks, or says why the data set is not one image."""
    if "PixelData" not in data:
        raise ImageError("the DICOM file has no pixels, (7FE0,0010) PixelData")
    try:
        frames = int(data.get("NumberOfFrames") or 1)
        check_size(int(data.Columns), int(data.Rows))
        photometric = _repair(data)
    except ImageError:
        raise
    except Exception as error:  # pydicom raises many kinds for elements that are not what they should be
        raise ImageError(f"its header does not say what its pixels are ({error})") from error
    if frames > 1:
        raise ImageError(f"the DICOM file has {frames} frames; a radiograph has one")
    if photometric not in _GREY and not photometric.startswith(_COLOURS):
        raise ImageError(f"(0028,0004) PhotometricInterpretation is {photometric}; expected grey, RGB or a palette")
    if (modality := str(data.get("Modality") or "").strip().upper()) and modality not in MODALITIES:
        _say_modality(modality)


@lru_cache(maxsize=64)
def _say_modality(modality: str) -> None:
    """Says once that files are of a modality that is no radiography."""
    logger.warning(
        "A DICOM file has (0008,0060) Modality %s and is read as a radiograph all the same; expected one of %s. Leave "
        "such files out if they are no radiographs. (Said once for each modality.)", modality, ", ".join(MODALITIES),
    )  # fmt: skip


def _repair(data: Any) -> str:
    """Fills in what viewers take for granted; returns the photometric interpretation as the standard spells it."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    usually = {
        "SamplesPerPixel": 1,
        "PixelRepresentation": 0,
        "PlanarConfiguration": 0,
        "BitsStored": data.BitsAllocated,
    }
    for keyword, usual in usually.items():
        if data.get(keyword) is None:
            setattr(data, keyword, usual)
    photometric = " ".join(str(data.get("PhotometricInterpretation") or "").upper().split())
    photometric = photometric or ("MONOCHROME2" if int(data.SamplesPerPixel) == 1 else "RGB")
    if photometric in _GREY and int(data.SamplesPerPixel) != 1:
        raise ImageError(f"the DICOM file is in colour, (0028,0002) SamplesPerPixel is {data.SamplesPerPixel}")
    data.PhotometricInterpretation = photometric
    if not getattr(data, "file_meta", None):
        from pydicom.dataset import FileMetaDataset

        data.file_meta = FileMetaDataset()
    if not data.file_meta.get("TransferSyntaxUID"):
        implicit, little = data.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
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
                f"it is compressed as {name}, and {package} is not installed: {install('dicom')}"
            ) from error
        colour = "" if data.PhotometricInterpretation in _GREY else "the DICOM file is in colour, and "
        raise ImageError(f"{colour}its pixels cannot be decoded ({type(error).__name__}: {error})") from error


def _grey_of_colour(values: np.ndarray, data: Any, photometric: str) -> np.ndarray:
    """Returns the grey image that a file in colours holds, or says that it is in colour."""
    from pydicom.pixels import apply_color_lut

    try:
        rgb = apply_color_lut(values, data) if photometric.startswith("PALETTE") else values
    except Exception as error:
        raise ImageError(f"its palette cannot be applied ({type(error).__name__}: {error})") from error
    if rgb.ndim != 3 or rgb.shape[2] < 3:
        raise ImageError(f"its pixels are of shape {rgb.shape}; expected three colours")
    bits = 8 * rgb.dtype.itemsize if photometric.startswith("PALETTE") else int(data.BitsStored)
    shares = rgb[..., :3].astype(np.float64) * (255.0 / (2**bits - 1))
    if np.ptp(shares, axis=2).max() > _COLOUR:
        raise ImageError(f"the DICOM file is in colour, (0028,0004) PhotometricInterpretation is {photometric}")
    return scale(luminance(shares), 0.0, 255.0)


def _render(values: np.ndarray, data: Any, recipe: str) -> np.ndarray:
    """Returns stored values (H, W) as grey, through modality and VOI, turned round and with padding black."""
    smallest, largest = values.min(), values.max()
    if values.dtype.kind in "iu" and int(largest) - int(smallest) < 2**16:
        # There are fewer levels than pixels, so what is done to values is done to levels, and looked up.
        places = np.subtract(values, smallest, dtype=np.int32)
        levels = np.arange(int(smallest), int(largest) + 1, dtype=values.dtype)
        there = np.zeros(len(levels), dtype=bool)
        there[places] = True
        return _render_levels(levels, there, data, recipe)[places]
    return _render_levels(values, np.ones(values.shape, dtype=bool), data, recipe)


def _render_levels(levels: np.ndarray, there: np.ndarray, data: Any, recipe: str) -> np.ndarray:
    """Returns the grey of each level; only those that are `there` set the range of grey."""
    padding = padding_mask(levels, data)
    seen = there & ~padding
    if not seen.any():
        seen, padding = there, np.zeros_like(padding)
    values = modality_values(levels.astype(np.float64), data) if recipe == "voi" else levels.astype(np.float64)
    for shown, limits in _shown(values, data, recipe):
        low, high = limits or (float(shown[seen].min()), float(shown[seen].max()))
        if shown[seen].min() < shown[seen].max():
            grey = scale(shown, low, high)
            break
    else:
        raise ImageError("every pixel has the same value")
    if data.PhotometricInterpretation == "MONOCHROME1":
        grey = 255 - grey
    grey[padding] = 0
    return grey


def padding_mask(levels: np.ndarray, data: Any) -> np.ndarray:
    """Tells which stored values stand for no pixel, by (0028,0120) and (0028,0121)."""
    ends = [*numbers(data, "PixelPaddingValue")[:1], *numbers(data, "PixelPaddingRangeLimit")[:1]]
    if not ends or not numbers(data, "PixelPaddingValue") or levels.dtype.kind not in "iu":
        return np.zeros(levels.shape, dtype=bool)
    # The element may be of the other sign than the pixels; its bits are the same.
    span, floor = 2 ** (8 * levels.dtype.itemsize), np.iinfo(levels.dtype).min
    low, *rest = (int(end - floor) % span + floor for end in ends)
    high = rest[0] if rest else low
    return (levels >= min(low, high)) & (levels <= max(low, high))


def modality_values(values: np.ndarray, data: Any) -> np.ndarray:
    """Returns stored values, float, through the modality table of the file, or its slope and intercept."""
    if (table := _lookup_table(data, "ModalityLUTSequence")) is not None:
        return _look_up(values, *table)
    slope, intercept = numbers(data, "RescaleSlope")[:1], numbers(data, "RescaleIntercept")[:1]
    return values * (slope[0] if slope and slope[0] else 1.0) + (intercept[0] if intercept else 0.0)


def _shown(values: np.ndarray, data: Any, recipe: str) -> Iterator[tuple[np.ndarray, tuple[float, float] | None]]:
    """Yields the ways to show `values`, best first, with the limits of grey where they are not those of the values.

    Values of 8 bits are grey already, as in a PNG; others are scaled by what there is.
    """
    eight = int(data.BitsStored) <= 8 and int(data.PixelRepresentation) == 0 and recipe == "voi"
    if recipe == "voi":
        if (table := _lookup_table(data, "VOILUTSequence")) is not None:
            yield _look_up(values, *table), None
        function = str(data.get("VOILUTFunction") or "").strip().upper()
        for center, width in zip(numbers(data, "WindowCenter"), numbers(data, "WindowWidth"), strict=False):
            if width > 0:
                yield _window(values, center, width, function), (0.0, 1.0) if eight else None
    yield values, (0.0, 2.0 ** int(data.BitsStored) - 1) if eight and not _rescaled(data) else None


def _rescaled(data: Any) -> bool:
    slope, intercept = numbers(data, "RescaleSlope")[:1], numbers(data, "RescaleIntercept")[:1]
    return "ModalityLUTSequence" in data or (slope or [1.0]) != [1.0] or (intercept or [0.0]) != [0.0]


def _window(values: np.ndarray, center: float, width: float, function: str) -> np.ndarray:
    """Returns `values` through a window, 0 to 1 (PS3.3, C.11.2.1.2 and C.11.2.1.3)."""
    if function == "SIGMOID":
        return np.asarray(1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700, 700))))
    if function != "LINEAR_EXACT" and width >= 1:
        center, width = center - 0.5, max(width - 1, 1e-6)
    return np.clip((values - center) / width + 0.5, 0.0, 1.0)


def _lookup_table(data: Any, keyword: str) -> tuple[np.ndarray, int] | None:
    """Returns entries and first mapped value of the first table of a sequence, or None where there is none to use.

    What the descriptor says of the entries is often wrong, so their number and depth are taken from the entries.
    """
    items = data.get(keyword) or []
    descriptor = numbers(items[0], "LUTDescriptor") if len(items) else []
    if len(descriptor) < 2 or items[0].get("LUTData") is None:
        return None
    count, first, raw = int(descriptor[0]) or 2**16, int(descriptor[1]), items[0].LUTData
    little = data.original_encoding[1] is not False
    word = "<u2" if little else ">u2"
    packed = raw if isinstance(raw, bytes) else (np.asarray(raw, dtype=np.int64) & 0xFFFF).astype(word).tobytes()
    wide = len(packed) not in (count, count + count % 2)
    entries = np.frombuffer(packed[: len(packed) // 2 * 2], word if wide else "u1")
    if int(data.PixelRepresentation) == 1 and first >= 2**15:
        first -= 2**16  # a negative first value, written without its sign
    return (entries[:count].astype(np.float64), first) if len(entries) > 1 else None


def _look_up(values: np.ndarray, entries: np.ndarray, first: int) -> np.ndarray:
    return entries[np.clip(np.rint(values).astype(np.int64) - first, 0, len(entries) - 1)]


def numbers(data: Any, keyword: str) -> list[float]:
    """Returns the finite numbers of an element; none where it is absent, blank or no number."""
    try:
        value = data.get(keyword)
        several = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]
        found = [float(number) for number in several if number is not None and str(number).strip()]
    except (TypeError, ValueError, OverflowError):
        return []
    return [number for number in found if np.isfinite(number)]
