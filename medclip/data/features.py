"""What a locked tower makes of every input, computed once and read from disk instead of computed again at each step."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock

from medclip.data.keys import KeyIndex, fixed_width
from medclip.utils.io import write_atomically
from medclip.utils.progress import Count

#: Rows computed at once; also what is lost at most when the work is interrupted.
BLOCK = 256


class FeatureCache:
    """Features of images before the projection, by key; where a `PixelCache` gives pixels, this gives these.

    Args:
        features: (N, V, C) V views of N images, the first of them unchanged.
        keys: N keys.
    """

    def __init__(self, features: np.ndarray, keys: Sequence[str] | np.ndarray) -> None:
        self._features = features
        self._index = KeyIndex([fixed_width(keys)])

    @property
    def views(self) -> int:
        """V."""
        return int(self._features.shape[1])

    def get(self, keys: Sequence[str] | np.ndarray, *, views: np.ndarray | int = 0) -> np.ndarray:
        """Returns one view of each of N images, float32 (N, C).

        Raises:
            KeyError: One of them is not there.
        """
        rows = self._index.numbers(keys)
        if (rows < 0).any():
            raise KeyError(keys[int(np.argmax(rows < 0))])
        return np.ascontiguousarray(self._features[rows, views])

    def draw(self, keys: Sequence[str] | np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns a random view of each of N images, float32 (N, C): a changed one where there are any."""
        views = rng.integers(1, self.views, len(keys)) if self.views > 1 else 0
        return self.get(keys, views=views)


def stored_features(
    folder: Path,
    encode: Callable[[int, int], np.ndarray],
    *,
    shape: tuple[int, ...],
    progress: Count | None = None,
) -> np.ndarray:
    """Returns an array float32 of `shape` from disk, computed first where it is not there.

    Rows are computed in blocks of `BLOCK` from the first on, so interrupted work goes on where it was. Several
    processes take turns, and the later ones find everything done.

    Args:
        folder: The array's own; its name says what it was made from.
        encode: Returns rows start to stop.
        shape: N rows, and the shape of a row.
        progress: Called with (done, total) after each block.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole, part, mark = folder / "features.npy", folder / "part.npy", folder / "done.json"
    with FileLock(folder / ".lock"):
        if not whole.is_file():
            done = int(json.loads(mark.read_text())) if mark.is_file() and part.is_file() else 0
            mode = "r+" if done else "w+"
            array = np.lib.format.open_memmap(part, mode=mode, dtype=np.float32, shape=None if done else shape)
            for start in range(done, shape[0], BLOCK):
                stop = min(start + BLOCK, shape[0])
                array[start:stop] = encode(start, stop)
                array.flush()
                _note(mark, stop)
                if progress is not None:
                    progress(stop, shape[0])
            del array
            os.replace(part, whole)
            mark.unlink(missing_ok=True)
    return np.load(whole, mmap_mode="r")  # type: ignore[no-any-return]


def _note(mark: Path, done: int) -> None:
    write_atomically(mark, lambda path: path.write_text(json.dumps(done)))
