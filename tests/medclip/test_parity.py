from __future__ import annotations

from benchmarks.parity import FOLDER, differences


def test_numbers_of_the_official_code() -> None:
    found = list(differences(FOLDER))
    assert len({name for name, _ in found}) >= 17
    assert [(name, difference) for name, difference in found if not difference < 1e-5] == []
