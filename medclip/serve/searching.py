"""Searching an index by text, film or both, and showing the films it was made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from labelers.errors import UserError
from medclip.data.grey import ImageError
from medclip.inference.index import Index
from medclip.inference.load import find_model
from medclip.runs.search import fingerprint
from medclip.runs.settings import ServeConfig
from medclip.sources.phantom.radiograph import film_called

#: Results of one request.
MOST = 100


class Searcher:
    """An index, and what it found.

    Args:
        config: The settings; `model` and `index` are set.

    Raises:
        FileNotFoundError: There is no such index.
        UserError: It was made with another model.
    """

    def __init__(self, config: ServeConfig) -> None:
        folder, _ = find_model(config.model)
        self._index = Index.load(config.index)
        if self._index.made_with != fingerprint(folder):
            raise UserError(
                f"{config.index} was made with another model. Build one with: medclip-search {config.model} --index ..."
            )
        first = self._index.names[0] if self._index.names else ""
        self.images = film_called(first) is not None or Path(first).is_file()

    def about(self) -> dict[str, Any]:
        """Returns the size of the index, what it holds, and whether that is images."""
        return {"size": len(self._index.names), "holds": self._index.holds.split("=")[0], "images": self.images}

    def search(self, query: np.ndarray, k: int) -> dict[str, Any]:
        """Returns the k rows of the index that are nearest to `query` (D,), with names that hold no folders.

        Raises:
            UserError: k is out of bounds.
        """
        if not 1 <= k <= MOST:
            raise UserError(f"k={k}: choose 1 to {MOST}.")
        norm = float(np.linalg.norm(query))
        unit = query / norm if norm else query
        scores, rows = self._index.search(unit[None], k=min(k, len(self._index.names)))
        found = [
            {"row": int(row), "name": self._name(int(row)), "cosine": round(float(score), 4)}
            for score, row in zip(scores[0], rows[0], strict=True)
        ]
        return {"images": self.images, "found": found}

    def content(self, row: int) -> bytes | np.ndarray:
        """Returns the file of a row, or the picture of a phantom.

        Raises:
            UserError: There is no such row, or it is a text.
            ImageError: The file is no longer there.
        """
        if not self.images or not 0 <= row < len(self._index.names):
            raise UserError(f"Row {row} of the index is no film.")
        name = self._index.names[row]
        if (drawn := film_called(name)) is not None:
            return drawn
        try:
            return Path(name).read_bytes()
        except OSError as error:
            raise ImageError(f"The file of row {row} cannot be read ({error.strerror}).") from error

    def _name(self, row: int) -> str:
        name = self._index.names[row]
        return Path(name).name if self.images else name
