"""Small towers are smaller still: most tests ask what happens to a model, not how good it becomes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from medclip.models import config


@pytest.fixture(scope="session", autouse=True)
def tiny_towers() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 32]}.items():
            patch.setitem(config.SMALL_VISION, name, value)
        for name, value in {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2}.items():
            patch.setitem(config.SMALL_TEXT, name, value)
        yield
