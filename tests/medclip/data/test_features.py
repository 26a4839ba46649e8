from __future__ import annotations

import numpy as np
import pytest

from medclip.data import features
from medclip.data.features import FeatureCache, stored_features


def test_rows_come_by_key_and_view() -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    cache = FeatureCache(array, ["a", "b", "c", "d"])
    np.testing.assert_array_equal(cache.get(["c", "a"]), array[[2, 0], 0])
    np.testing.assert_array_equal(cache.get(["c", "a"], views=np.array([1, 2])), [array[2, 1], array[0, 2]])
    drawn = cache.draw(["b"] * 200, np.random.default_rng(0))
    assert {tuple(row) for row in drawn} == {tuple(array[1, 1]), tuple(array[1, 2])}  # never the unchanged one
    alone = FeatureCache(array[:, :1], ["a", "b", "c", "d"])
    np.testing.assert_array_equal(alone.draw(["b"], np.random.default_rng(0)), array[[1], 0])
    with pytest.raises(KeyError):
        cache.get(["e"])


def test_interrupted_work_goes_on_and_is_not_done_twice(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(features, "BLOCK", 4)
    wanted = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    asked: list[int] = []

    def encode(start: int, stop: int) -> np.ndarray:
        asked.append(start)
        if start == 8 and asked.count(8) == 1:
            raise KeyboardInterrupt
        return wanted[start:stop]

    with pytest.raises(KeyboardInterrupt):
        stored_features(tmp_path / "f", encode, shape=wanted.shape)
    np.testing.assert_array_equal(stored_features(tmp_path / "f", encode, shape=wanted.shape), wanted)
    assert asked == [0, 4, 8, 8]
    np.testing.assert_array_equal(stored_features(tmp_path / "f", encode, shape=wanted.shape), wanted)
    assert len(asked) == 4
