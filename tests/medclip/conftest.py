from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def small_means_tiny(tiny_towers: None) -> None:
    """Every test of medclip takes the tiny towers for small ones."""
