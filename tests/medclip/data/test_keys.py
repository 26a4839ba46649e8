from __future__ import annotations

import numpy as np
import pytest

from medclip.data.keys import KeyIndex, fixed_width


def test_numbers_are_places_among_the_keys_given() -> None:
    index = KeyIndex([np.array(["d", "bb"], dtype="S"), np.array(["ccc", "a"], dtype="S")])
    assert len(index) == 4
    assert index.numbers(["a", "bb", "ccc", "d", "e", ""]).tolist() == [3, 1, 2, 0, -1, -1]
    assert index.numbers(fixed_width(["ccc"])).tolist() == [2]
    assert index.numbers([]).tolist() == []


def test_an_index_of_nothing_knows_nothing() -> None:
    assert KeyIndex([]).numbers(["a"]).tolist() == [-1]


def test_of_equal_keys_the_last_counts() -> None:
    assert KeyIndex([fixed_width(["a", "b", "a"])]).numbers(["a"]).tolist() == [2]


def test_keys_are_ascii() -> None:
    with pytest.raises(UnicodeEncodeError):
        fixed_width(["\u00e4"])


def test_a_million_keys_are_arrays_and_not_objects() -> None:
    keys = np.char.add(np.arange(20_000).astype("S12"), b"key")
    index = KeyIndex([keys])
    assert (index.numbers(keys[::-1]) == np.arange(20_000)[::-1]).all()
    assert all(isinstance(value, np.ndarray) and value.dtype != object for value in vars(index).values())
