"""What a tower says about its inputs. Objectives and evaluators see this and nothing else of a model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Encoded:
    """N inputs of one modality, encoded; images and texts are the same type.

    Attributes:
        embeds: (N, D), unit length.
        local: (N, P, D) patches or (N, L, D) tokens, unit length, where the objective asked for them.
        mask: (N, P) or (N, L), true where `local` holds a patch or token and not padding.
        grid: rows and columns of the patches; their product is P.
        labels: (N, O) label vectors.
        study_ids: (N,) integers; equal ones belong to one study. -1 belongs to none.
        keys: (N, D) embeddings of a momentum tower.
    """

    embeds: Tensor
    local: Tensor | None = None
    mask: Tensor | None = None
    grid: tuple[int, int] | None = None
    labels: Tensor | None = None
    study_ids: Tensor | None = None
    keys: Tensor | None = None

    def __len__(self) -> int:
        return len(self.embeds)

    @staticmethod
    def cat(parts: list[Encoded]) -> Encoded:
        """Returns `parts` joined along N; padding is added where local features differ in length."""
        assert parts, "nothing to join"

        def joined(name: str) -> Tensor | None:
            tensors = [getattr(part, name) for part in parts]
            if any(tensor is None for tensor in tensors):
                return None
            longest = max(tensor.shape[1] for tensor in tensors) if name in ("local", "mask") else 0
            return torch.cat([_pad(tensor, longest) if longest else tensor for tensor in tensors])

        names = ("embeds", "local", "mask", "labels", "study_ids", "keys")
        return Encoded(grid=parts[0].grid, **{name: joined(name) for name in names})  # type: ignore[arg-type]


def _pad(tensor: Tensor, length: int) -> Tensor:
    if tensor.shape[1] == length:
        return tensor
    padding = tensor.new_zeros(tensor.shape[0], length - tensor.shape[1], *tensor.shape[2:])
    return torch.cat([tensor, padding], dim=1)
