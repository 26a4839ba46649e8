from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medclip.inference.index import Index


def unit(seed: int, count: int, dim: int = 8) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@given(count=st.integers(1, 60), k=st.integers(1, 60), chunk=st.integers(1, 500), seed=st.integers(0, 99))
def test_the_nearest_are_those_of_a_full_sort(count: int, k: int, chunk: int, seed: int) -> None:
    agrees_with_argsort(count, min(k, count), chunk, seed)


@pytest.mark.parametrize("chunk", [1000, 2**24])
def test_the_nearest_of_many_are_those_of_a_full_sort(chunk: int) -> None:
    agrees_with_argsort(20_000, 4, chunk, seed=0)


def agrees_with_argsort(count: int, k: int, chunk: int, seed: int) -> None:
    index, queries = unit(seed, count), unit(seed + 1, 5)
    scores, rows = Index(index, [str(i) for i in range(count)]).search(queries, k=k, chunk=chunk)
    cosines = queries @ index.T
    np.testing.assert_allclose(scores, np.sort(cosines, axis=1)[:, ::-1][:, :k], atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(cosines, rows, axis=1), scores, atol=1e-6)
    assert all(len(set(row)) == k for row in rows)


def test_saved_and_loaded_it_answers_the_same(tmp_path) -> None:
    index = Index(unit(0, 9), [f"sentence {i}" for i in range(9)])
    index.save(tmp_path / "index.safetensors")
    loaded = Index.load(tmp_path / "index.safetensors")
    assert loaded.names == index.names
    assert (loaded.search(unit(1, 3), k=2)[1] == index.search(unit(1, 3), k=2)[1]).all()
    with pytest.raises(FileNotFoundError, match="no index"):
        Index.load(tmp_path / "other")


def test_more_than_there_are_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="k=4: the index holds 3"):
        Index(unit(0, 3), list("abc")).search(unit(1, 1), k=4)
    with pytest.raises(ValueError, match="3 embeddings and 2 names"):
        Index(unit(0, 3), list("ab"))


def test_names_may_be_larger_than_a_header(tmp_path) -> None:
    """Metadata of safetensors end at 100 MB, which a million paths of 104 characters exceed."""
    names = ["x" * 10_000_000] * 11
    Index(np.eye(11, dtype=np.float32), names).save(tmp_path / "i.safetensors")
    assert Index.load(tmp_path / "i.safetensors").names == names
