"""Exact nearest neighbours by cosine, in bounded memory: an index that is built once, saved, and asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor

from labelers.errors import UserError
from medclip.utils.io import write_atomically


class Index:
    """Embeddings with their names.

    Args:
        embeds: (N, D), unit length.
        names: N of them: image ids, sentences, anything that says what an embedding is of.
        made_with: What says which model made the embeddings; those of different models do not compare.
        holds: What says where they come from.

    Raises:
        UserError: There are not as many names as embeddings.

    Examples:
        >>> import medclip
        >>> import numpy as np
        >>> index = medclip.Index(np.eye(3), ["No effusion.", "Large effusion.", "Pneumothorax."])
        >>> index.save("sentences.safetensors")
        >>> scores, rows = medclip.Index.load("sentences.safetensors").search(np.array([[0.6, 0.8, 0.0]]), k=2)
        >>> index.names[rows[0, 0]]
        'Large effusion.'
    """

    def __init__(self, embeds: np.ndarray, names: Sequence[str], *, made_with: str = "", holds: str = "") -> None:
        if len(embeds) != len(names):
            raise UserError(f"Found {len(embeds)} embeddings and {len(names)} names; each needs one.")
        self.embeds, self.names = np.ascontiguousarray(embeds, dtype=np.float32), list(names)
        self.made_with, self.holds = made_with, holds

    def search(
        self,
        queries: np.ndarray,
        *,
        k: int,
        chunk: int = 2**24,
        device: str = "cpu",
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns cosines and rows, both (M, k), of the k nearest to each of `queries` (M, D), the nearest first.

        At most about `chunk` similarities are held at once.

        Raises:
            UserError: K is larger than the index.
        """
        if not 0 < k <= len(self.names):
            raise UserError(f"k={k}: the index holds {len(self.names)}.")
        width = min(len(self.names), max(k, 8192))
        height = max(1, chunk // width)
        index = torch.from_numpy(self.embeds)
        scores = np.empty((len(queries), k), dtype=np.float32)
        rows = np.empty((len(queries), k), dtype=np.int64)
        for start in range(0, len(queries), height):
            part = torch.from_numpy(np.ascontiguousarray(queries[start : start + height], dtype=np.float32)).to(device)
            best = _best(part, index, k=k, width=width)
            scores[start : start + height], rows[start : start + height] = (found.cpu().numpy() for found in best)
            if progress is not None:
                progress(min(start + height, len(queries)), len(queries))
        return scores, rows

    def save(self, path: str | Path) -> None:
        """Writes the index as one safetensors file, whole or not at all."""
        # Names are a tensor of bytes and not metadata, of which safetensors takes 100 MB: a million paths are more.
        names = np.frombuffer(json.dumps(self.names).encode(), dtype=np.uint8)
        tensors: dict[str, np.ndarray] = {"embeds": self.embeds, "names": names}
        metadata = {"made_with": self.made_with, "holds": self.holds}
        write_atomically(Path(path), lambda part: save_file(tensors, part, metadata=metadata))

    @classmethod
    def load(cls, path: str | Path) -> Index:
        """Returns the index that `save` wrote.

        Raises:
            FileNotFoundError: There is no such file.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"There is no index {path}.")
        with safe_open(path, framework="numpy") as opened:
            metadata = opened.metadata()
            said = {name: metadata.get(name, "") for name in ("made_with", "holds")}
            return cls(opened.get_tensor("embeds"), json.loads(opened.get_tensor("names").tobytes()), **said)


def _best(queries: Tensor, index: Tensor, *, k: int, width: int) -> tuple[Tensor, Tensor]:
    """Returns the k best of all parts of the index, keeping k of each part that could still count."""
    scores = torch.full((len(queries), 0), -2.0, device=queries.device)
    rows = torch.zeros((len(queries), 0), dtype=torch.long, device=queries.device)
    for start in range(0, len(index), width):
        part = index[start : start + width].to(queries.device)
        found, where = (queries @ part.T).topk(min(k, len(part)), dim=1)
        scores, rows = torch.cat([scores, found], dim=1), torch.cat([rows, where + start], dim=1)
        order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
        scores, rows = scores.gather(1, order), rows.gather(1, order)
    return scores, rows
