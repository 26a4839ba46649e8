from __future__ import annotations

import pytest

from labelers.sizes import find_sizes


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("A 9 mm nodule.", [((9.0,), None)]),
        ("A 9-mm nodule.", [((9.0,), None)]),
        ("2.3 cm mass", [((23.0,), None)]),
        ("8 x 6 mm", [((8.0, 6.0), None)]),
        ("8mm x 6mm", [((8.0, 6.0), None)]),
        ("8X6 MM", [((8.0, 6.0), None)]),
        ("1.2 cm by 8 mm", [((12.0, 8.0), None)]),
        ("2.1 × 1.8 × 3 cm", [((21.0, 18.0, 30.0), None)]),
        ("3-4 mm nodules", [((4.0,), 3.0)]),
        ("3 to 4 mm nodules", [((4.0,), 3.0)]),
        ("5–10 millimetres", [((10.0,), 5.0)]),
        ("约8×6mm", [((8.0, 6.0), None)]),
        ("直径约2.5厘米", [((25.0,), None)]),
        ("a 4 mm and a 7 mm nodule", [((4.0,), None), ((7.0,), None)]),
        ("grew from 5 mm to 9 mm", [((9.0,), None)]),
        ("now 9 mm, previously 5 mm", [((9.0,), None)]),
        ("tip 3 cm above the carina", []),
        ("2.5 cm from the apex", []),
        ("T12 and L1, 3 nodules, 4th rib", []),
        ("on 3/4/2010 at 10:15", []),
        ("0.5 mmol", []),
    ],
)
def test_sizes(sentence: str, expected: list[tuple[tuple[float, ...], float | None]]) -> None:
    assert [(size.mm, size.low_mm) for size in find_sizes(sentence)] == expected


def test_the_place_of_a_size() -> None:
    (size,) = find_sizes("A nodule of 8 x 6 mm is seen.")
    assert "A nodule of 8 x 6 mm is seen."[size.start : size.end] == "8 x 6 mm"
