"""GLoRIA: a global comparison, and a local one in which each word looks at the regions it speaks of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from labelers.errors import UserError
from medclip.encoded import Encoded
from medclip.objectives import Objective
from medclip.objectives._targets import check_pairs, info_nce, no_negatives, product

#: Numbers that one step of the attention holds: small enough for a CPU's cache, large enough to fill a GPU.
STEP = {"cpu": 2**20, "cuda": 2**27}


class Gloria(Objective):
    """InfoNCE over embeddings, and over the agreement of words with what they attend to (Huang et al. 2021, GLoRIA,
    ICCV, section 3.3).

    Needs pairs, and words: pieces of a word are summed. The published system reads regions from the last but one
    stage of its image tower: `configs/gloria.yaml`.

    Args:
        attention_temperature: Sharpens the attention over regions; 4 in the official code, as the next two.
        word_temperature: Sharpens the sum over words; 5.
        temperature: Multiplies both similarities before the cross entropy; 10.
        local_weight: Weight of the local loss.
        global_weight: Weight of the global loss.
        keep: Numbers of the forward pass kept for the backward one; beyond it they are computed again.
    """

    needs_pairs = True
    needs_local = True
    needs_words = True
    learns_scale = False

    def __init__(
        self,
        *,
        attention_temperature: float = 4.0,
        word_temperature: float = 5.0,
        temperature: float = 10.0,
        local_weight: float = 1.0,
        global_weight: float = 1.0,
        keep: int = 2**27,
    ) -> None:
        super().__init__()
        if not min(attention_temperature, word_temperature, temperature) > 0:
            raise UserError("gloria: temperatures must be above 0.")
        self.attention_temperature, self.word_temperature = attention_temperature, word_temperature
        self.temperature, self.initial_scale = temperature, temperature
        self.local_weight, self.global_weight, self.keep = local_weight, global_weight, keep

    def forward(self, images: Encoded, texts: Encoded, scale: Tensor) -> dict[str, Tensor]:
        """Returns "loss", its global and its local part; `scale` is not used.

        Raises:
            UserError: The batch is not paired, or a side has no local features.
        """
        check_pairs("gloria", images, texts)
        if images.local is None or texts.local is None or texts.mask is None:
            raise UserError("gloria needs local features of images and texts; one side has none.")
        local = local_similarity(
            images.local, texts.local, texts.mask, attention_temperature=self.attention_temperature,
            word_temperature=self.word_temperature, keep=self.keep,
        )  # fmt: skip
        also = no_negatives(images, texts)
        global_loss = _both_ways(self.temperature * product(images.embeds, texts.embeds), also)
        local_loss = _both_ways(self.temperature * local, also)
        return {
            "loss": self.global_weight * global_loss + self.local_weight * local_loss,
            "global": global_loss.detach(),
            "local": local_loss.detach(),
        }


def _both_ways(logits: Tensor, left_out: Tensor) -> Tensor:
    partner = torch.arange(len(logits), device=logits.device)
    return info_nce(logits, partner, left_out) + info_nce(logits.T, partner, left_out.T)


def word_attention(regions: Tensor, words: Tensor, mask: Tensor, *, attention_temperature: float = 4.0) -> Tensor:
    """Returns how much each word attends to each region, (N, W, P); rows of words sum to one.

    As in the official code: a softmax over the words of the text first, then a sharpened one over regions (the paper
    describes the second only).

    Args:
        regions: (N, P, D) of image n.
        words: (N, W, D) of text n.
        mask: (N, W), true for words that are not padding.
        attention_temperature: Multiplies before the second softmax.
    """
    scores = (words @ regions.transpose(1, 2)).masked_fill(~mask[..., None], -torch.inf)
    return (attention_temperature * scores.softmax(dim=1)).softmax(dim=2) * mask[..., None]


def local_similarity(
    regions: Tensor,
    words: Tensor,
    mask: Tensor,
    *,
    attention_temperature: float = 4.0,
    word_temperature: float = 5.0,
    keep: int = 2**27,
) -> Tensor:
    """Returns the local similarity (I, T): a soft maximum over words of their cosine with what they attend to.

    The words of all texts lie in one matrix without padding, so that each image meets them in one product. The
    attended context c = a R itself is never made: its cosine with a word needs only a (R w) and a (R R') a', and
    P regions are fewer than D features.

    Args:
        regions: (I, P, D).
        words: (T, W, D).
        mask: (T, W), true for words that are not padding; every text has one.
        attention_temperature: See `word_attention`.
        word_temperature: Temperature of the soft maximum over words.
        keep: Numbers kept from the forward for the backward pass; beyond it they are computed again.
    """
    counts = mask.sum(dim=1)
    return _LocalSimilarity.apply(regions, words[mask], counts, attention_temperature, word_temperature, keep)


class _LocalSimilarity(torch.autograd.Function):
    """`local_similarity` of packed words (N, D), a few images at a time, with its gradient written out."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.float32)  # type: ignore[misc, untyped-decorator]
    def forward(  # type: ignore[override]
        ctx: Any, regions: Tensor, words: Tensor, counts: Tensor, sharpness: float, soft: float, keep: int
    ) -> Tensor:
        texts = torch.repeat_interleave(torch.arange(len(counts), device=words.device), counts)
        groups = list(_groups(regions, words))
        kept = len(words) * regions.shape[0] * regions.shape[1] * 2 <= keep and any(ctx.needs_input_grad)
        cosines, stored = [], []
        for start, stop in groups:
            state = _Attention(regions[start:stop], words, counts, texts, sharpness)
            cosines.append(state.cosine)
            stored += state.kept() if kept else []
        cosine = torch.cat(cosines, dim=1)  # (N, I)
        sums = words.new_zeros(len(counts), len(regions)).index_add_(0, texts, (soft * cosine).exp())
        ctx.save_for_backward(regions, words, counts, texts, cosine, sums, *stored)
        ctx.groups, ctx.sharpness, ctx.soft, ctx.kept = groups, sharpness, soft, kept
        return sums.log().T

    @staticmethod
    @once_differentiable  # type: ignore[misc]
    @torch.amp.custom_bwd(device_type="cuda")  # type: ignore[misc, untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        regions, words, counts, texts, cosine, sums, *stored = ctx.saved_tensors
        # Of the soft maximum: (N, I).
        d_cosine = gradient.T[texts] * ctx.soft * (ctx.soft * cosine).exp() / sums[texts]
        d_regions, d_words = torch.empty_like(regions), torch.zeros_like(words)
        for k, (start, stop) in enumerate(ctx.groups):
            kept = stored[2 * k : 2 * k + 2] if ctx.kept else ()
            state = _Attention(regions[start:stop], words, counts, texts, ctx.sharpness, *kept)
            d_regions[start:stop] = state.backward(d_cosine[:, start:stop], d_words)
        return d_regions, d_words, None, None, None, None


def _groups(regions: Tensor, words: Tensor) -> list[tuple[int, int]]:
    step = STEP["cuda" if regions.is_cuda else "cpu"]
    size = max(1, step // (regions.shape[1] * len(words)))
    return [(i, min(i + size, len(regions))) for i in range(0, len(regions), size)]


class _Attention:
    """The words of all texts attending to the regions of a few images, forward and backward.

    Shapes: N words in all, g images of P regions. `scores`, `over_words`, `attention` and `spread` are (N, g, P).
    """

    def __init__(
        self,
        regions: Tensor,
        words: Tensor,
        counts: Tensor,
        texts: Tensor,
        sharpness: float,
        *kept: Tensor,
    ) -> None:
        self.regions, self.words, self.texts, self.sharpness = regions, words, texts, sharpness
        self.count, shape = len(counts), (len(words), *regions.shape[:2])
        self.scores = kept[0] if kept else (words @ regions.reshape(-1, regions.shape[2]).T).view(shape)
        self.over_words = self._softmax_over_words(counts).view(shape)
        self.attention = (sharpness * self.over_words).softmax(dim=2)
        self.spread = kept[1] if kept else self._times_gram()
        inner = (self.attention * self.scores).sum(dim=2)
        self.square = (self.attention * self.spread).sum(dim=2).clamp(min=1e-16)
        self.length = words.norm(dim=1, keepdim=True).clamp(min=1e-8)
        self.cosine = inner / (self.length * self.square.sqrt())  # (N, g)

    def kept(self) -> list[Tensor]:
        """Returns what need not be computed again for the backward pass."""
        return [self.scores, self.spread]

    def _softmax_over_words(self, counts: Tensor) -> Tensor:
        """Returns the softmax of the scores over the words of each text, (N, g * P)."""
        scores = self.scores.flatten(1)
        highest = torch.segment_reduce(scores, "max", lengths=counts, axis=0, unsafe=True)
        weights = (scores - highest[self.texts]).exp_()
        weights /= self._sum(weights)[self.texts]
        return weights

    def _times_gram(self) -> Tensor:
        """Returns attention times R R', image by image."""
        gram = self.regions @ self.regions.transpose(1, 2)  # (g, P, P)
        return (self.attention.transpose(0, 1) @ gram).transpose(0, 1)

    def _sum(self, values: Tensor) -> Tensor:
        """Returns the sums (T, M) of rows of `values` (N, M) over the words of each text."""
        return values.new_zeros(self.count, values.shape[1]).index_add_(0, self.texts, values)

    def backward(self, d_cosine: Tensor, d_words: Tensor) -> Tensor:
        """Adds to the gradient of words (N, D) and returns that of regions (g, P, D), for that of cosines (N, g)."""
        d_inner = (d_cosine / (self.length * self.square.sqrt()))[..., None]
        d_square = (-0.5 * d_cosine * self.cosine / self.square)[..., None]
        d_attention = d_inner * self.scores + 2 * d_square * self.spread
        weighted = self.attention * d_square
        d_gram = weighted.permute(1, 2, 0) @ self.attention.transpose(0, 1)  # (g, P, P)
        d_attention -= (self.attention * d_attention).sum(dim=2, keepdim=True)
        d_over = d_attention.mul_(self.attention).mul_(self.sharpness)
        total = self._sum((self.over_words * d_over).flatten(1))[self.texts].view_as(d_over)
        d_scores = (d_over - total).mul_(self.over_words).addcmul_(self.attention, d_inner.expand_as(self.attention))
        flat = d_scores.flatten(1)
        d_words.addmm_(flat, self.regions.reshape(-1, self.regions.shape[2]))
        d_words -= (d_cosine * self.cosine).sum(dim=1, keepdim=True) / self.length**2 * self.words
        d_regions = (flat.T @ self.words).view_as(self.regions)
        return d_regions.baddbmm_(d_gram, self.regions, alpha=2.0)
