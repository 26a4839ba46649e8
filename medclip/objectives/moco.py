"""MoCo: negatives from a queue of embeddings that slowly following towers have made."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from labelers.errors import UserError
from medclip.encoded import Encoded
from medclip.objectives import Objective
from medclip.objectives._targets import check_pairs, own_positions


class Moco(Objective):
    """InfoNCE against the keys of momentum towers: those of this batch and those queued from batches before.

    The queue is He et al. 2020 (MoCo, arXiv 1911.05722, algorithm 1), across modalities as in BriVL (Huo et al. 2021,
    arXiv 2103.06561), with the batch's own keys among the negatives as in ALBEF (Li et al. 2021, arXiv 2107.07651,
    equation 1).

    Needs pairs. Takes many negatives from small batches; each step costs two forward passes more.

    Args:
        queue: keys kept of each side.
        momentum: how much of the momentum towers stays at each step.
    """

    needs_pairs = True
    needs_keys = True

    def __init__(self, *, queue: int = 4096, momentum: float = 0.995) -> None:
        super().__init__()
        if queue < 1 or not 0 <= momentum < 1:
            raise UserError(f"moco: queue must be at least 1 and momentum in [0, 1); found {queue}, {momentum}.")
        self.queue, self.momentum = queue, momentum

    image_queue: Tensor
    text_queue: Tensor
    filled: Tensor

    def begin(self, *, dim: int, prevalence: Tensor) -> None:
        """Makes empty queues."""
        for side in ("image_queue", "text_queue"):
            self.register_buffer(side, torch.zeros(self.queue, dim, device=prevalence.device))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long, device=prevalence.device))

    def forward(self, images: Encoded, texts: Encoded, scale: Tensor) -> dict[str, Tensor]:
        """Returns "loss" and its two directions; in training mode, queues the keys.

        Raises:
            UserError: the batch is not paired, or has no keys.
        """
        check_pairs("moco", images, texts)
        if images.keys is None or texts.keys is None:
            raise UserError("moco needs keys of momentum towers on both sides.")
        image_to_text = self._direction(images, texts.keys, self.text_queue, scale)
        text_to_image = self._direction(texts, images.keys, self.image_queue, scale)
        if self.training:
            self._enqueue(images.keys, texts.keys)
        return {
            "loss": (image_to_text + text_to_image) / 2,
            "image_to_text": image_to_text.detach(),
            "text_to_image": text_to_image.detach(),
        }

    def _direction(self, queries: Encoded, keys: Tensor, queue: Tensor, scale: Tensor) -> Tensor:
        rows = queries.embeds[queries.rows]
        empty = torch.arange(self.queue, device=queue.device) >= self.filled
        queued = (scale * rows @ queue.T.to(rows.dtype)).masked_fill(empty, -torch.inf)
        return functional.cross_entropy(torch.cat([scale * rows @ keys.T, queued], dim=1), own_positions(queries))

    @torch.no_grad()
    def _enqueue(self, image_keys: Tensor, text_keys: Tensor) -> None:
        """Puts new keys in front; the oldest fall off the end."""
        for name, keys in (("image_queue", image_keys), ("text_queue", text_keys)):
            before = getattr(self, name)
            setattr(self, name, torch.cat([keys.to(before.dtype), before])[: self.queue])
        self.filled = (self.filled + len(image_keys)).clamp(max=self.queue)
