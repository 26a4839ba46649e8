"""MoCo v3: each view against the others of the batch, encoded by a slow copy (Chen et al. 2021, arXiv 2104.02057)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightly.models.modules.heads import MoCoProjectionHead
from lightly.models.utils import update_momentum
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor, nn
from torch.nn import functional

from medclip.encoded import Encoded
from medclip.training.distributed import gather, world
from medclip.training.methods._base import Method, Start, features_of, slow_copy

_STEPS = 1_000_000  # into which the schedule of the momentum is cut


class MoCoV3(Method):
    """Algorithm 1: both views are query and key, keys are of the batch. The patch projection is trained, too.

    Args:
        start: What it starts from.
        temperature: Divides cosines; the loss is multiplied by twice it, as in the paper.
        momentum: Share of the slow copy that stays at the first step; it rises to 1 by half a cosine.
        output_dim: Size of the projections.
    """

    def __init__(
        self, start: Start, *, temperature: float = 0.2, momentum: float = 0.99, output_dim: int = 256
    ) -> None:
        super().__init__(start)
        features = start.features
        self.head = MoCoProjectionHead(features, 2 * features, output_dim, num_layers=3, batch_norm=True)
        self.predictor = MoCoProjectionHead(output_dim, 2 * features, output_dim, num_layers=2, batch_norm=True)
        self.slow = slow_copy(nn.ModuleList([self.tower, self.head]))
        self.temperature, self.momentum = temperature, momentum

    def forward(self, views: Sequence[Tensor], *, progress: float) -> dict[str, Tensor]:
        """Returns the loss; see `Method.forward`."""
        tower, head = self.slow
        momentum = cosine_schedule(round(progress * _STEPS), _STEPS, self.momentum, 1.0)
        update_momentum(self.tower, tower, momentum)
        update_momentum(self.head, head, momentum)
        queries = [self.predictor(self.head(features_of(self.tower, view))) for view in views]  # each (I, D)
        with torch.no_grad():
            keys = [head(features_of(tower, view)) for view in views]
        both = zip(queries, reversed(keys), strict=True)
        return {"loss": sum((against_batch(query, key, self.temperature) for query, key in both), torch.zeros(()))}


def against_batch(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Returns the loss of queries (I, D), each with the key (I, D) of its row, among the keys of all processes."""
    keys = gather(Encoded(functional.normalize(keys, dim=1))).embeds
    logits = functional.normalize(queries, dim=1) @ keys.T / temperature
    own = torch.arange(len(queries), device=queries.device) + world()[0] * len(queries)
    return 2 * temperature * functional.cross_entropy(logits, own)
