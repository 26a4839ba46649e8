from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from medclip.data.cache import PixelCache
from medclip.data.fingerprints import Fingerprints, candidates, detail_correlation, fingerprint, is_same, matches
from medclip.data.images import fit_square


def film(seed: int, size: int = 256) -> np.ndarray:
    """Returns a picture with the slow changes and the details of a film."""
    rng = np.random.default_rng(seed)
    layers = [cv2.resize(rng.random((n, n), dtype=np.float32), (size, size), interpolation=cv2.INTER_CUBIC) * weight
              for n, weight in ((4, 1.0), (12, 0.5), (40, 0.3))]  # fmt: skip
    image = sum(layers)
    return ((image - image.min()) / np.ptp(image) * 255).astype(np.uint8)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    packed = io.BytesIO()
    Image.fromarray(image).save(packed, "JPEG", quality=quality)
    return np.asarray(Image.open(packed))


COPIES = {
    "smaller": lambda image: cv2.resize(image, (90, 90), interpolation=cv2.INTER_AREA),
    "re-encoded": lambda image: jpeg(image, 30),
    "darker": lambda image: (255 * (image / 255) ** 1.4).astype(np.uint8),
    "inverted": lambda image: 255 - image,
    "in a frame": lambda image: np.pad(image, ((0, 0), (30, 30))),
    "cropped": lambda image: image[7:, :-7],
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_the_same_image(name: str) -> None:
    originals = [film(seed) for seed in range(6)]
    copy = fit_square(COPIES[name](originals[3]), 256)[0]
    first = np.stack([fingerprint(image) for image in originals])
    found = [
        row for row, _, cosine in candidates(first, fingerprint(copy)[None])
        if is_same(cosine, detail_correlation(originals[row], copy))
    ]  # fmt: skip
    assert found == [3]


def test_blocks_find_what_a_loop_finds() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.integers(-127, 128, (n, 6, 63), dtype=np.int8) for n in (5, 7))
    found = {(i, j): cosine for i, j, cosine in candidates(first, second, least=0.0)}
    for i, a in enumerate(first.astype(float)):
        for j, b in enumerate(second.astype(float)):
            cosines = [
                abs(a[x] @ b[y]) / np.linalg.norm(a[x]) / np.linalg.norm(b[y])
                for x in range(6) for y in range(6) if x % 3 == 0 or y % 3 == 0
            ]  # fmt: skip
            assert found[i, j] == pytest.approx(max(cosines), abs=1e-5)


def test_without_pixels_fingerprints_alone_decide() -> None:
    vectors = np.stack([fingerprint(film(seed)) for seed in range(4)])
    sides = [Fingerprints(np.array(list(ids)), np.array(list(ids)), vectors[rows])
             for ids, rows in (("abcd", [0, 1, 2, 3]), ("xy", [2, 0]))]  # fmt: skip
    assert {(m.first, m.second) for m in matches(*sides)} == {(2, 0), (0, 1)}


def test_fingerprints_are_saved_whole(tmp_path: Path) -> None:
    made = Fingerprints(np.array(["a", "b é"]), np.array(["p", "q"]), np.ones((2, 6, 63), dtype=np.int8))
    made.save(tmp_path / "f.safetensors")
    read = Fingerprints.load(tmp_path / "f.safetensors")
    assert read.ids.tolist() == ["a", "b é"]
    assert read.patients.tolist() == ["p", "q"]
    assert (read.vectors == made.vectors).all()
    with pytest.raises(ValueError, match="2 ids, 2 patients and 1 fingerprints"):
        Fingerprints(made.ids, made.patients, made.vectors[:1])


def test_the_cache_keeps_fingerprints_beside_its_pixels(tmp_path: Path) -> None:
    cache = PixelCache(tmp_path, 64)
    cache.fill({name: name for name in "abc"}, draw=lambda path: film(ord(path), 64))
    found = cache.fingerprints(["c", "a"])
    assert (found[0] == fingerprint(cache.get(["c"])[0])).all()
    (kept,) = cache.folder.glob("*.fingerprints")
    kept.write_bytes(kept.read_bytes()[:-1])  # cut off: taken again
    assert (PixelCache(tmp_path, 64).fingerprints(["c", "a"]) == found).all()


def test_a_uniform_image_has_a_fingerprint_that_is_like_no_other() -> None:
    flat = fingerprint(np.full((64, 64), 7, dtype=np.uint8))
    assert list(candidates(np.stack([fingerprint(film(1)), fingerprint(film(2))]), flat[None])) == []
