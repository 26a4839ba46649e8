"""Shared fixtures: tiny data, made on the fly."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.pop("MEDCLIP_DATA", None)

# Examples are the same in every run, and no example fails because the machine is slow.
hypothesis.settings.register_profile("tests", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("tests")


@pytest.fixture(scope="session")
def tiny_towers() -> Iterator[None]:
    """Makes the small towers smaller still: most tests ask what happens to a model, not how good it becomes."""
    from medclip.models import config

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 32]}.items():
            patch.setitem(config.SMALL_VISION, name, value)
        for name, value in {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2}.items():
            patch.setitem(config.SMALL_TEXT, name, value)
        yield
