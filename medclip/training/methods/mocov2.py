"""MoCo v2: a view against a queue of earlier ones, encoded by a slow copy (Chen et al. 2020, arXiv 2003.04297)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightly.loss.ntx_ent_loss import NTXentLoss
from lightly.models.modules.heads import MoCoProjectionHead
from lightly.models.utils import update_momentum
from torch import Tensor, distributed, nn

from medclip.training.methods._base import Method, Start, features_of, slow_copy

_LARGEST = 65_536  # the queue of the paper


class MoCoV2(Method):
    """Equation 1 of He et al. 2020 (arXiv 1911.05722): one key is of the same image, the others are in the queue.

    Batches are not shuffled over processes: batch normalisation is in step over them here.

    Args:
        start: What it starts from.
        temperature: Divides cosines.
        momentum: Share of the slow copy that stays at each step.
        queue: Number of earlier views; 0 for half as many as there are images, so that few are of an image of the
            batch, and at most 65,536.
        output_dim: Size of the projections.
    """

    def __init__(
        self, start: Start, *, temperature: float = 0.2, momentum: float = 0.99, queue: int = 0, output_dim: int = 128
    ) -> None:
        super().__init__(start)
        self.head = MoCoProjectionHead(start.features, start.features, output_dim)
        self.slow = slow_copy(nn.ModuleList([self.tower, self.head]))
        size = queue or max(1, min(_LARGEST, start.images // 2))
        self.loss = NTXentLoss(temperature, (size, output_dim), gather_distributed=distributed.is_available())
        bank = self.loss.memory_bank
        for name in ("bank", "bank_ptr"):  # lightly would not save them, and a resumed run would start with noise
            bank.register_buffer(name, getattr(bank, name), persistent=True)
        self.momentum = momentum

    def forward(self, views: Sequence[Tensor], *, progress: float) -> dict[str, Tensor]:
        """Returns the loss; see `Method.forward`."""
        tower, head = self.slow
        update_momentum(self.tower, tower, self.momentum)
        update_momentum(self.head, head, self.momentum)
        queries = self.head(features_of(self.tower, views[0]))  # (I, D)
        with torch.no_grad():
            keys = head(features_of(tower, views[1]))  # (I, D)
        return {"loss": self.loss(queries, keys)}
