from __future__ import annotations

import pytest

from benchmarks.parity import FOLDER, differences

FOUND = list(differences(FOLDER))


def test_every_fixture_is_compared() -> None:
    assert len({name for name, _ in FOUND}) >= 17


@pytest.mark.parametrize(("name", "difference"), FOUND, ids=[f"{i}: {name}" for i, (name, _) in enumerate(FOUND)])
def test_numbers_of_the_official_code(name: str, difference: float) -> None:
    assert difference < 1e-5, name
