"""Output of an encoder tower. Objectives and evaluators see this and nothing else of a model."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Encoded:
    """N inputs of one modality, encoded; images and texts are the same type.

    Attributes:
        embeds: (N, D), unit length.
        local: (N, P, D) patches, or (N, L, D) tokens or words, where the objective asked for them. Not scaled to unit
            length: attention of some objectives reads their length.
        mask: (N, P) or (N, L), true where `local` holds something and not padding.
        grid: Rows and columns of the patches; their product is P.
        labels: (N, O) label vectors.
        study_ids: (N,) integers; equal ones belong to one study. -1 belongs to none.
        ids: (N,) integers; inputs with equal ones are the same, word for word.
        keys: (N, D) embeddings of a momentum tower, unit length.
        own: The rows to compute losses for, where other processes compute them for the rest; None for all.
    """

    embeds: Tensor
    local: Tensor | None = None
    mask: Tensor | None = None
    grid: tuple[int, int] | None = None
    labels: Tensor | None = None
    study_ids: Tensor | None = None
    ids: Tensor | None = None
    keys: Tensor | None = None
    own: slice | None = None

    def __len__(self) -> int:
        return len(self.embeds)

    def take(self, index: Tensor) -> Encoded:
        """Returns the inputs at `index` (M,), as often as it names them, with what a tower made of them."""

        def at(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[index]

        return Encoded(self.embeds[index], local=at(self.local), mask=at(self.mask), grid=self.grid)

    @property
    def rows(self) -> slice:
        """The rows to compute losses for."""
        return self.own or slice(0, len(self))
