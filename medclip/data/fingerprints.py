"""Fingerprints of images by their content, to find the same image under another id, size, coding or grey scale.

A fingerprint holds the low frequencies of the image's cosine transform, as perceptual hashes do (Zauner 2010), after
uniform borders are cut off and grey values are replaced by their ranks, which resizing, coding, bit depth, windows and
gamma leave alone. It is taken of the image with two ways of cutting borders, each also cropped a little, since a copy
may be cropped; an inverted copy has the opposite sign. Two images that are alike by their fingerprints are compared
once more by their details, aligned to each other (enhanced correlation coefficient, Evangelidis and Psarakis 2008).
`benchmarks/fingerprints.py` measures what is found, and what is found wrongly, and chose the thresholds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from labelers.errors import UserError
from medclip.utils.io import write_atomically
from medclip.utils.progress import Count

#: Grey levels, of 255, that a row of the picture has at least; rows outside with less are border.
_BORDERS = (4, 25)
#: Shares cut off each side.
_CROPS = (0.0, 0.03, 0.06)
_SIDE, _CELLS, _KEPT = 48, 16, 8
#: Side to which larger images are reduced before borders are looked for, and side of the images whose details count.
_LARGEST, _DETAILS = 128, 64
#: Shape of a fingerprint.
FINGERPRINT = (len(_BORDERS) * len(_CROPS), _KEPT * _KEPT - 1)
#: Deviation of each coefficient over chest X-rays; what varies much says little.
_DEVIATION = np.array(
    [
        [0, 206, 222, 92, 169, 149, 122, 92],
        [243, 111, 155, 73, 100, 77, 67, 46],
        [167, 89, 152, 66, 115, 90, 75, 46],
        [120, 54, 77, 60, 84, 48, 47, 39],
        [97, 43, 63, 45, 57, 32, 38, 27],
        [71, 35, 51, 36, 41, 26, 29, 24],
        [65, 30, 38, 29, 35, 21, 23, 17],
        [52, 26, 33, 25, 28, 17, 20, 15],
    ],
    dtype=np.float32,
).ravel()[1:]
#: Cosine of two fingerprints from which on images are compared in detail, and from which on without it they are taken
#: for the same.
CANDIDATE, ALONE = 0.92, 0.955
#: Correlation of details from which on two images are the same; less will do where the fingerprints are that alike.
DETAILED, CONFIRMED = 0.94, 0.8
_BLOCK = 4096
_EDGE = 8


def _mixes() -> np.ndarray:
    """Returns (crops, cells, side): how the cells of a cropped image are mixed from the rows of the whole."""
    mixes = np.zeros((len(_CROPS), _CELLS, _SIDE), dtype=np.float32)
    for crop, mix in zip(_CROPS, mixes, strict=True):
        edges = np.linspace(crop * _SIDE, (1 - crop) * _SIDE, _CELLS + 1)
        for cell, (start, stop) in enumerate(pairwise(edges)):
            covered = np.minimum(stop, np.arange(1, _SIDE + 1)) - np.maximum(start, np.arange(_SIDE))
            mix[cell] = np.clip(covered, 0, None) / (stop - start)
    return mixes


def _cosines() -> np.ndarray:
    """Returns (kept, cells): the first rows of the orthonormal cosine transform (DCT-II)."""
    angles = np.pi * np.outer(np.arange(_KEPT), 2 * np.arange(_CELLS) + 1) / (2 * _CELLS)
    rows = np.cos(angles) * np.sqrt(2 / _CELLS)
    rows[0] /= np.sqrt(2)
    return rows.astype(np.float32)


_TRANSFORMS = np.einsum("kc,mcs->mks", _cosines(), _mixes())


def fingerprint(square: np.ndarray) -> np.ndarray:
    """Returns the fingerprint, int8 (6, 63), of a grey image, uint8 (H, W)."""
    small = _reduced(square)
    parts = [_coefficients(_ranked(_without_border(small, levels), _SIDE)) for levels in _BORDERS]
    rows = np.concatenate(parts) / _DEVIATION
    largest = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-6)
    return np.round(127 * rows / largest).astype(np.int8)


def _reduced(square: np.ndarray) -> np.ndarray:
    """Returns the image no larger than is needed, since quantiles of rows take most of the time."""
    import cv2

    side = max(square.shape)
    size = (round(square.shape[1] * _LARGEST / side), round(square.shape[0] * _LARGEST / side))
    return square if side <= _LARGEST else cv2.resize(square, size, interpolation=cv2.INTER_AREA)


def _without_border(square: np.ndarray, levels: int) -> np.ndarray:
    """Returns the image between the first and the last row and column that are not uniform."""
    image = square
    for _ in range(2):  # once rows are gone, a column may be uniform
        before = image.shape
        for axis in (1, 0):
            ordered, last = np.sort(image, axis=axis), image.shape[axis] - 1
            low, high = (ordered.take(round(share * last), axis=axis).astype(int) for share in (0.05, 0.95))
            kept = np.flatnonzero(high - low > levels)
            if len(kept) < _CELLS:
                return image
            image = image[kept[0] : kept[-1] + 1] if axis == 1 else image[:, kept[0] : kept[-1] + 1]
        if image.shape == before:
            break
    return image


def _ranked(image: np.ndarray, side: int) -> np.ndarray:
    """Returns the image as a square (side, side) of the ranks of its grey values, from -127.5 to 127.5."""
    import cv2

    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).ravel()
    ranks = np.empty(small.size, dtype=np.float32)
    ranks[np.argsort(small, kind="stable")] = np.arange(small.size, dtype=np.float32)
    return (255 * (ranks / small.size - 0.5)).reshape(side, side)


def _coefficients(image: np.ndarray) -> np.ndarray:
    """Returns (crops, 63): low frequencies of the image cropped in each way, without the mean."""
    return (_TRANSFORMS @ image @ _TRANSFORMS.transpose(0, 2, 1)).reshape(len(_CROPS), -1)[:, 1:]


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints of N images.

    Attributes:
        ids: N ids of images.
        patients: N ids of patients.
        vectors: Fingerprints, int8 (N, 6, 63).
    """

    ids: np.ndarray
    patients: np.ndarray
    vectors: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.patients) == len(self.vectors):
            raise UserError(
                f"Found {len(self.ids)} ids, {len(self.patients)} patients and {len(self.vectors)} fingerprints."
            )

    def save(self, path: Path) -> None:
        """Writes the fingerprints as one safetensors file, whole or not at all."""
        names = {name: _bytes_of(getattr(self, name)) for name in ("ids", "patients")}
        write_atomically(path, lambda part: save_file({"vectors": self.vectors, **names}, part))

    @classmethod
    def load(cls, path: Path) -> Fingerprints:
        """Returns the fingerprints that `save` wrote."""
        with safe_open(path, framework="numpy") as opened:
            names = {name: _texts_of(opened.get_tensor(name)) for name in ("ids", "patients")}
            return cls(vectors=opened.get_tensor("vectors"), **names)


def _bytes_of(texts: np.ndarray) -> np.ndarray:
    return np.frombuffer("\n".join(map(str, texts)).encode(), dtype=np.uint8)


def _texts_of(content: np.ndarray) -> np.ndarray:
    return np.array(content.tobytes().decode().split("\n") if len(content) else [], dtype=object)


@dataclass(frozen=True)
class Match:
    """Two images that are the same.

    Attributes:
        first: Row of the one.
        second: Row of the other.
        cosine: Of their fingerprints.
        correlation: Of their details, NaN where these were not compared.
    """

    first: int
    second: int
    cosine: float
    correlation: float


#: Returns the pixels of an image of each side, by row; for details.
Pixels = Callable[[int], np.ndarray]


def matches(
    first: Fingerprints, second: Fingerprints, *, pixels: tuple[Pixels, Pixels] | None = None,
    progress: Count | None = None,
) -> list[Match]:  # fmt: skip
    """Returns the pairs of an image of `first` and one of `second` that are the same.

    Args:
        first: Images, the larger number.
        second: Images.
        pixels: Where the images of both sides are; without them fingerprints alone decide.
        progress: Called with (images of `first` that are done, all of them).
    """
    found = []
    for i, j, cosine in candidates(first.vectors, second.vectors, progress=progress):
        correlation = float("nan") if pixels is None else detail_correlation(pixels[0](i), pixels[1](j))
        if is_same(cosine, correlation):
            found.append(Match(i, j, cosine, correlation))
    return found


def is_same(cosine: float, correlation: float) -> bool:
    """Tells whether two images are the same, by their fingerprints and by their details, NaN where not compared."""
    if np.isnan(correlation):
        return cosine >= ALONE
    return correlation >= (CONFIRMED if cosine >= ALONE else DETAILED)


def candidates(
    first: np.ndarray, second: np.ndarray, *, least: float = CANDIDATE, progress: Count | None = None
) -> Iterator[tuple[int, int, float]]:
    """Yields (row, row, cosine) of all pairs of fingerprints (N, 6, 63) and (M, 6, 63) that are alike.

    A cropped copy is looked for on either side. Memory does not grow with N times M.
    """
    columns = _unit(second)
    for start in range(0, len(first), _BLOCK):
        rows = _unit(first[start : start + _BLOCK])
        for begin in range(0, columns.shape[1], _BLOCK):
            best = _alike(rows, columns[:, begin : begin + _BLOCK])
            for i, j in zip(*np.nonzero(best >= least), strict=True):
                yield start + int(i), begin + int(j), float(best[i, j])
        if progress is not None:
            progress(min(start + _BLOCK, len(first)), len(first))


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Returns fingerprints (N, 6, 63) as unit vectors, float32 (6, N, 63)."""
    values = vectors.transpose(1, 0, 2).astype(np.float32)
    return values / np.maximum(np.linalg.norm(values, axis=2, keepdims=True), 1e-6)


def _alike(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Returns (N, M): the largest cosine of two fingerprints, one of the two as the image is and the other cropped."""
    best = np.zeros((rows.shape[1], columns.shape[1]), dtype=np.float32)
    for a in range(len(rows)):
        for b in range(len(columns)):
            if a % len(_CROPS) == 0 or b % len(_CROPS) == 0:
                np.maximum(best, np.abs(rows[a] @ columns[b].T), out=best)
    return best


def detail_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Returns how well the details of two images agree, each uint8 (H, W), once the one is aligned to the other.

    The alignment is affine; one that no copy needs gives -1.
    """
    found = -1.0
    for levels in _BORDERS:
        pictures = [_ranked(_without_border(_reduced(square), levels), _DETAILS) for square in (first, second)]
        found = max(found, _aligned(*pictures))
    return found


def _aligned(first: np.ndarray, second: np.ndarray) -> float:
    import cv2

    second = -second if (first * second).sum() < 0 else second  # an inverted copy
    smooth, fine = ([cv2.GaussianBlur(image, (0, 0), sigma) for image in (first, second)] for sigma in (2.0, 1.0))
    details = [a - cv2.GaussianBlur(image, (0, 0), 3.0) for a, image in zip(fine, (first, second), strict=True)]
    warp = np.eye(2, 3, dtype=np.float32)
    try:
        _, warp = _fitted(smooth, warp, 1e-3)
        correlation, warp = _fitted(details, warp, 1e-4)
    except cv2.error:  # no alignment was found
        return -1.0
    turned = max(abs(warp[0, 1]), abs(warp[1, 0]))
    return float(correlation) if turned < 0.06 and 0.8 < warp[0, 0] < 1.25 and 0.8 < warp[1, 1] < 1.25 else -1.0


def _fitted(images: Sequence[np.ndarray], warp: np.ndarray, precision: float) -> tuple[float, np.ndarray]:
    import cv2

    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, precision)
    inner = np.zeros(images[0].shape, dtype=np.uint8)
    inner[_EDGE:-_EDGE, _EDGE:-_EDGE] = 1  # edges of the exposed field are alike on the films of different patients
    return cv2.findTransformECC(images[0], images[1], warp, cv2.MOTION_AFFINE, stop, inner, 1)  # type: ignore[call-overload, no-any-return]
