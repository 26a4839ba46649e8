from __future__ import annotations

import numpy as np
import pytest

from medclip.inference.composing import composed, direction_of

KNOWN = {
    "There is effusion.": [1.0, 0.0, 0.0], "No effusion.": [0.0, 1.0, 0.0], "There is pacemaker.": [0.0, 0.0, 1.0],
    "No pacemaker.": [0.0, 1.0, 0.0], "large heart": [0.6, 0.8, 0.0],
}  # fmt: skip


def embed(texts):
    return np.array([KNOWN[text] for text in texts])


@pytest.mark.parametrize(
    ("text", "direction"),
    [("without the effusion", [-1, 1, 0]), ("- effusion", [-1, 1, 0]), ("Without effusion.", [-1, 1, 0]),
     ("+ pacemaker", [0, -1, 1]), ("with a pacemaker", [0, -1, 1]), ("large heart", [0.6, 0.8, 0])],
)  # fmt: skip
def test_words_move_a_query(text: str, direction: list[float]) -> None:
    wanted = np.array(direction) / np.linalg.norm(direction)
    np.testing.assert_allclose(direction_of(text, embed), wanted, atol=1e-12)


def test_films_and_words_become_one_query() -> None:
    film, away = np.array([[0.8, 0.0, 0.6]]), direction_of("without the effusion", embed)[None]
    both = composed(film, away)
    assert np.linalg.norm(both) == pytest.approx(1)
    assert both[0] < film[0, 0]
    assert both[2] > 0
    np.testing.assert_allclose(composed(film, away, weight=0.0), film[0])
    np.testing.assert_allclose(composed(np.empty((0, 3)), away), away[0])
    np.testing.assert_allclose(composed(film, np.empty((0, 3))), film[0])
