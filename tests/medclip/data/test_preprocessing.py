from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medclip.data.images import fit_square, square_geometry
from medclip.data.preprocessing import Preprocessing
from medclip.data.transforms import apply, eval_pipeline


def test_squares_are_resized_as_the_pipeline_of_evaluation_does() -> None:
    squares = np.random.default_rng(0).integers(0, 256, (3, 64, 64), dtype=np.uint8)
    np.testing.assert_array_equal(Preprocessing(40, 64).squares(squares), apply(eval_pipeline(40), squares))


def test_images_are_fitted_to_the_cached_square_first() -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 50), dtype=np.uint8)
    way = Preprocessing(40, 64, mean=0.5, std=0.25)
    np.testing.assert_array_equal(way.images([image]), way.squares(fit_square(image, 64)[0][None]))
    with pytest.raises(ValueError, match="none of square, pad-bicubic"):
        Preprocessing(40, 64, resize="stretch")


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4000), st.integers(1, 4000), st.sampled_from([32, 256, 1024]), st.floats(0, 1), st.floats(0, 1))
def test_a_place_goes_into_the_square_and_back(width: int, height: int, size: int, across: float, down: float) -> None:
    x, y = across * width, down * height
    place = square_geometry(width, height, size)
    left, top = x * place.scale + place.left, y * place.scale + place.top
    assert -1 <= left <= size + 1
    assert -1 <= top <= size + 1
    assert ((left - place.left) / place.scale, (top - place.top) / place.scale) == pytest.approx((x, y), abs=1e-6)
