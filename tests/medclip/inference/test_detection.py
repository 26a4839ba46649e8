from __future__ import annotations

import numpy as np
import pytest

from medclip.data.images import fit_square, square_geometry
from medclip.inference.detection import Boxes, propose, suppress
from medclip.inference.heatmap import to_square


def test_regions_of_a_map_become_boxes() -> None:
    heat = np.zeros((20, 20))
    heat[2:6, 3:9] = 1.0
    heat[12:16, 10:14] = 0.65
    boxes = propose(heat)
    assert boxes.corners[0] * 20 == pytest.approx([3, 2, 9, 6])
    assert boxes.corners[1] * 20 == pytest.approx([10, 12, 14, 16])
    assert boxes.scores == pytest.approx([1.0, 0.65])
    assert len(propose(np.zeros((4, 4)))) == 0


def test_of_a_hill_and_the_regions_around_it_one_box_stays() -> None:
    rows, columns = np.mgrid[:40, :40]
    heat = np.exp(-((rows - 20) ** 2 + (columns - 15) ** 2) / 60)
    heat += 0.6 * np.exp(-((rows - 5) ** 2 + (columns - 34) ** 2) / 10)  # a lower hill apart
    proposed, kept = propose(heat), suppress(propose(heat))
    assert len(proposed) > len(kept) == 2
    assert kept.scores[0] == proposed.scores.max()
    centres = (kept.corners[:, :2] + kept.corners[:, 2:]) * 20
    np.testing.assert_allclose(centres, [[15.5, 20.5], [34.5, 5.5]], atol=0.6)


def test_suppression_goes_by_the_smaller_box() -> None:
    wide, inside, beside = [0.0, 0.0, 1.0, 1.0], [0.1, 0.1, 0.4, 0.4], [0.9, 0.0, 1.5, 1.0]
    boxes = Boxes(np.array([inside, wide, beside]), np.array([0.9, 0.8, 0.7]))
    assert suppress(boxes, same=0.7).scores.tolist() == [0.9, 0.7]
    assert suppress(boxes, same=1.0).scores.tolist() == [0.9, 0.8, 0.7]
    assert len(suppress(boxes.take(slice(0)))) == 0


@pytest.mark.parametrize(("width", "height"), [(300, 200), (120, 240), (100, 100)])
def test_boxes_come_back_to_the_pixels_they_are_of(width: int, height: int) -> None:
    """A bright rectangle, fitted to a square as films are, found on the square and brought back."""
    film = np.zeros((height, width), np.uint8)
    film[60:90, 30:80] = 250
    size = 448
    square, geometry = fit_square(film, size)
    boxes = propose(to_square(square.astype(np.float32), size), thresholds=(0.5,)).on_original(geometry, size=size)
    assert boxes.corners[0] == pytest.approx([30, 60, 80, 90], abs=0.6)


def test_exactly_back_and_not_beyond_the_image() -> None:
    geometry = square_geometry(300, 200, 150)  # 25 rows of padding above and below
    there = np.array([[30.0, 60.0, 80.0, 90.0]])
    on_square = (there * geometry.scale + [geometry.left, geometry.top] * 2) / 150
    padding = np.array([[0.1, 0.0, 0.2, 0.1], [0.0, 0.0, 1.0, 1.0]])
    found = Boxes(np.concatenate([on_square, padding]), np.array([0.9, 0.8, 0.7])).on_original(geometry, size=150)
    np.testing.assert_allclose(found.corners, [[30, 60, 80, 90], [0, 0, 300, 200]], atol=1e-9)
    assert found.scores.tolist() == [0.9, 0.7]
