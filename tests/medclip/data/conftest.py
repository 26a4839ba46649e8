"""Twelve images and nine texts to draw from."""

from __future__ import annotations

import numpy as np
import pytest

from medclip.data.cache import PixelCache
from medclip.data.datasets import ImageSide, Pairs, TextSide
from medclip.data.tokens import Ragged


@pytest.fixture
def images(tmp_path) -> ImageSide:
    labels, cache = np.random.default_rng(0).random((12, 3), dtype=np.float32), PixelCache(tmp_path, 16)
    cache.fill(
        {f"k{i}": str(i) for i in range(12)}, draw=lambda path: np.full((16, 16), int(path) * 20, dtype=np.uint8)
    )
    return ImageSide(np.array([f"k{i}" for i in range(12)], dtype=object), labels, np.arange(12), cache)


@pytest.fixture
def texts() -> TextSide:
    pairs = Pairs(np.array([0, 2, 3, 3, *range(4, 13)]), np.array([8, 7, 6, *range(9)]))  # study 2 has no text
    return TextSide(
        Ragged.from_chunks(iter([[range(2 + i % 4) for i in range(9)]])),
        np.random.default_rng(1).random((9, 3), dtype=np.float32), pad_token_id=0, drawn=9, ids=np.arange(9),
        pairs=pairs,
    )  # fmt: skip
