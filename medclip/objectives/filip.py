"""FILIP: each token looks for its best patch, each patch for its best token."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from labelers.errors import UserError
from medclip.encoded import Encoded
from medclip.objectives import Objective
from medclip.objectives._targets import check_pairs, contrast, mean_of


class Filip(Objective):
    """InfoNCE over token-wise maximum similarity (Yao et al. 2022, FILIP, arXiv 2111.07783, equations 3 to 5).

    The similarity of an image to a text is the mean over its patches of their best token's cosine, and of a text to
    an image the mean over its tokens of their best patch's; padding takes no part. With a locked Swin tower and a
    Chinese text tower this is WuKong (Gu et al. 2022, arXiv 2202.06767).

    Needs pairs and local features.

    Args:
        chunk: Numbers held at once while patches meet tokens; texts are taken in parts that keep below it.
    """

    needs_pairs = True
    needs_local = True
    shares_projection = True

    def __init__(self, *, chunk: int = 2**25) -> None:
        super().__init__()
        self.chunk = chunk

    def forward(self, images: Encoded, texts: Encoded, scale: Tensor) -> dict[str, Tensor]:
        """Returns "loss" and its two directions.

        Raises:
            UserError: The batch is not paired, or a side has no local features.
        """
        check_pairs("filip", images, texts)
        if images.local is None or texts.local is None or texts.mask is None:
            raise UserError("filip needs local features of images and texts; one side has none.")
        to_texts, to_images = tokenwise_similarity(images.local, texts.local, texts.mask, chunk=self.chunk)
        images, texts = replace(images, own=None), replace(texts, own=None)
        return mean_of(*contrast(images, texts, scale * to_texts.float(), scale * to_images.T.float()))


def tokenwise_similarity(patches: Tensor, tokens: Tensor, mask: Tensor, *, chunk: int = 2**25) -> tuple[Tensor, Tensor]:
    """Returns the similarity of images to texts and of texts to images, both (I, T).

    Args:
        patches: (I, P, D), of any length.
        tokens: (T, L, D), of any length.
        mask: (T, L), true for tokens that are not padding.
        chunk: Numbers held at once.
    """
    patches, tokens = functional.normalize(patches, dim=-1), functional.normalize(tokens, dim=-1)
    rows, columns = patches.shape[:2]
    size = max(1, chunk // (rows * columns * tokens.shape[1]))  # texts in a part
    to_texts, to_images = [], []
    for part, valid in zip(torch.split(tokens, size), torch.split(mask, size), strict=True):
        cosine = (patches.reshape(rows * columns, -1) @ part.reshape(-1, part.shape[-1]).T).view(
            rows, columns, *part.shape[:2]
        )  # (I, P, t, L)
        best_token = (
            cosine.masked_fill(~valid, -torch.inf).max(dim=3).values
        )  # (I, P, t); max keeps indices, not the input
        best_patch = cosine.max(dim=1).values * valid  # (I, t, L)
        to_texts.append(best_token.mean(dim=1))
        to_images.append(best_patch.sum(dim=2) / valid.sum(dim=1))
    return torch.cat(to_texts, dim=1), torch.cat(to_images, dim=1)
