"""SimCLR: two views of an image against the other views in the batch (Chen et al. 2020, arXiv 2002.05709)."""

from __future__ import annotations

from collections.abc import Sequence

from lightly.loss.ntx_ent_loss import NTXentLoss
from lightly.models.modules.heads import SimCLRProjectionHead
from torch import Tensor, distributed

from medclip.training.methods._base import Method, Start, features_of


class SimCLR(Method):
    """Equation 1 over a batch of two views of each image; all other 2 I - 2 views are negatives.

    Args:
        start: What it starts from.
        temperature: Divides cosines; lower ones look at the nearest negatives only.
        output_dim: Size of the projections.
    """

    def __init__(self, start: Start, *, temperature: float = 0.1, output_dim: int = 128) -> None:
        super().__init__(start)
        self.head = SimCLRProjectionHead(start.features, start.features, output_dim)
        self.loss = NTXentLoss(temperature, gather_distributed=distributed.is_available())

    def forward(self, views: Sequence[Tensor], *, progress: float) -> dict[str, Tensor]:
        """Returns the loss; see `Method.forward`."""
        first, second = (self.head(features_of(self.tower, view)) for view in views)
        return {"loss": self.loss(first, second)}
