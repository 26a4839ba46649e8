"""SigLIP: every image-text combination is a yes-or-no question of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from medclip.encoded import Encoded
from medclip.objectives import Objective
from medclip.objectives._targets import check_pairs, no_negatives, own_positions, product


class Siglip(Objective):
    """Pairwise logistic loss with a learned scale and bias (Zhai et al. 2023, SigLIP, arXiv 2303.15343, algorithm 1).

    Needs pairs. Without a softmax the loss does not depend on the batch being large.

    Args:
        bias: Where the learned bias starts; negative, since most combinations are no pairs.
    """

    needs_pairs = True
    initial_scale = 10.0

    def __init__(self, *, bias: float = -10.0) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    def forward(self, images: Encoded, texts: Encoded, scale: Tensor) -> dict[str, Tensor]:
        """Returns "loss", summed over texts and averaged over images, as in the paper.

        Raises:
            UserError: The batch is not paired.
        """
        check_pairs("siglip", images, texts)
        to_texts = product(images.embeds[images.rows], texts.embeds)
        partner = own_positions(images)[:, None] == torch.arange(len(texts), device=to_texts.device)
        signs = partner.to(to_texts.dtype) * 2 - 1
        each = -functional.logsigmoid(signs * (scale * to_texts + self.bias))
        loss = each.masked_fill(no_negatives(images, texts)[images.rows], 0.0).sum(dim=1).mean()
        return {"loss": loss, "bias": self.bias.detach()}
