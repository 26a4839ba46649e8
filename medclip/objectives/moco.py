"""MoCo: negatives from a queue of embeddings that slowly following towers have made."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from labelers.errors import UserError
from medclip.encoded import Encoded
from medclip.objectives import Objective
from medclip.objectives._targets import check_pairs, info_nce, mean_of, no_negatives, own_positions, product

logger = logging.getLogger(__name__)


class Moco(Objective):
    """InfoNCE against the keys of momentum towers: those of this batch and those queued from batches before.

    The queue is He et al. 2020 (MoCo, arXiv 1911.05722, algorithm 1), across modalities as in BriVL (Huo et al. 2021,
    arXiv 2103.06561), with the batch's own keys among the negatives as in ALBEF (Li et al. 2021, arXiv 2107.07651,
    equation 1).

    Needs pairs. Takes many negatives from small batches; each step costs two forward passes more. Keys of an image's
    own study are not its negatives. The queue must hold fewer keys than there are training images, or every image
    meets its own key.

    Args:
        queue: Number of keys kept of each side, below the number of training images.
        momentum: Share of the momentum towers that stays at each step.
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
    studies: Tensor
    filled: Tensor

    def begin(self, *, dim: int, prevalence: Tensor, images: int = 0) -> None:
        """Makes empty queues, shorter than the number of training images."""
        if images and self.queue >= images:
            logger.warning("moco: queue %d is shortened to %d, one less than there are images", self.queue, images - 1)
            self.queue = max(1, images - 1)
        for side in ("image_queue", "text_queue"):
            self.register_buffer(side, torch.zeros(self.queue, dim, device=prevalence.device))
        self.register_buffer("studies", torch.full((self.queue,), -1, device=prevalence.device))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long, device=prevalence.device))

    def forward(self, images: Encoded, texts: Encoded, scale: Tensor) -> dict[str, Tensor]:
        """Returns "loss" and its two directions; in training mode, queues the keys.

        Raises:
            UserError: The batch is not paired, or has no keys.
        """
        check_pairs("moco", images, texts)
        if images.keys is None or texts.keys is None:
            raise UserError("moco needs keys of momentum towers on both sides.")
        studies = _studies(images)
        also = no_negatives(images, texts)
        terms = mean_of(
            self._direction(images, texts.keys, self.text_queue, scale, studies, also),
            self._direction(texts, images.keys, self.image_queue, scale, studies, also.T),
        )
        if self.training:
            self._enqueue(image_queue=images.keys, text_queue=texts.keys, studies=studies)
        return terms

    def _direction(
        self, queries: Encoded, keys: Tensor, queue: Tensor, scale: Tensor, studies: Tensor, also: Tensor
    ) -> Tensor:
        rows, studies = queries.embeds[queries.rows], studies[queries.rows]
        empty = torch.arange(self.queue, device=queue.device) >= self.filled
        queued = empty | ((studies[:, None] == self.studies) & (studies[:, None] >= 0))
        logits = scale * torch.cat([product(rows, keys), product(rows, queue)], dim=1)
        return info_nce(logits, own_positions(queries), torch.cat([also[queries.rows], queued], dim=1))

    @torch.no_grad()
    def _enqueue(self, **new: Tensor) -> None:
        """Puts what is new in front of its queue; the oldest falls off the end."""
        for name, values in new.items():
            before = getattr(self, name)
            setattr(self, name, torch.cat([values.to(before.dtype), before])[: self.queue])
        self.filled = (self.filled + len(new["studies"])).clamp(max=self.queue)


def _studies(images: Encoded) -> Tensor:
    if images.study_ids is not None:
        return images.study_ids
    return torch.full((len(images),), -1, device=images.embeds.device)
