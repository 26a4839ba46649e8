"""Many keys in flat arrays, where a dictionary would take an object each, and processes that share it a copy each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


class KeyIndex:
    """The number of each of N different keys, in arrays of fixed width.

    A dictionary of a million keys is a million objects whose reference counts are written to wherever they are looked
    up, which copies their pages into every process that loads data; arrays stay shared.

    Args:
        keys: N keys of ASCII characters; of equal ones the last counts.
    """

    def __init__(self, keys: Iterable[np.ndarray]) -> None:
        together = np.concatenate([np.empty(0, dtype="S1"), *keys])
        order = np.argsort(together, kind="stable")
        together = together[order]
        last = np.append(together[1:] != together[:-1], True)[: len(together)]
        self._keys, self._numbers = together[last], order[last]

    def __len__(self) -> int:
        return len(self._keys)

    def numbers(self, keys: Sequence[str] | np.ndarray) -> np.ndarray:
        """Returns the number (N,) of each of `keys`: its place among those given; -1 where it is not there."""
        wanted = fixed_width(keys)
        if not len(self._keys):
            return np.full(len(wanted), -1)
        places = np.searchsorted(self._keys, wanted).clip(max=len(self._keys) - 1)
        return np.where(self._keys[places] == wanted, self._numbers[places], -1)


def fixed_width(keys: Sequence[str] | np.ndarray) -> np.ndarray:
    """Returns keys (N,) as bytes of one width, 24 a key for those of `medclip.data.cache.file_key`.

    Raises:
        UnicodeEncodeError: One holds other characters than ASCII.
    """
    array = np.asarray(keys)
    return array if array.dtype.kind == "S" else array.astype("S") if len(array) else np.empty(0, dtype="S1")
