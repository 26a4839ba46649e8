"""Targets and the arithmetic that objectives share. Pure functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from labelers.errors import UserError
from medclip.encoded import Encoded

SIMILARITIES = ("cosine", "dot", "claims")


def label_similarity(image_labels: Tensor, text_labels: Tensor, *, kind: str = "cosine") -> Tensor:
    """Returns the similarity (I, T) of label vectors (I, O) and (T, O).

    "cosine" is the paper's (MedCLIP, section 3.3, the equation of the semantic similarity); a vector without any
    claim is unlike everything, similarity 0. "dot" is what the official code computes instead. "claims" is the share
    of what the text claims that holds for the image, less the share that it contradicts: an image with many
    observations is then as near to a sentence about one of them as an image with that one alone.

    Raises:
        UserError: `kind` is unknown.
    """
    if kind == "cosine":
        return functional.normalize(image_labels, dim=1) @ functional.normalize(text_labels, dim=1).T
    if kind == "dot":
        return image_labels @ text_labels.T
    if kind == "claims":
        return image_labels @ functional.normalize(text_labels, p=1, dim=1).T
    raise UserError(f"Label similarity {kind!r} is unknown. Choose one of: {', '.join(SIMILARITIES)}.")


def same_study(images: Encoded, texts: Encoded) -> Tensor:
    """Returns (I, T), true where image and text belong to one study."""
    assert images.study_ids is not None and texts.study_ids is not None
    return (images.study_ids[:, None] == texts.study_ids[None, :]) & (images.study_ids[:, None] >= 0)


def cosines(images: Encoded, texts: Encoded) -> tuple[Tensor, Tensor]:
    """Returns the cosines of images to texts (I, T) and of texts to images (T, I), for own rows."""
    if images.own is None and texts.own is None:
        forward = images.embeds @ texts.embeds.T
        return forward, forward.T
    return images.embeds[images.rows] @ texts.embeds.T, texts.embeds[texts.rows] @ images.embeds.T


def own_positions(encoded: Encoded) -> Tensor:
    """Returns which of all N rows the computed ones are: in paired batches, the column of each row's partner."""
    return torch.arange(len(encoded), device=encoded.embeds.device)[encoded.rows]


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Returns the mean cross entropy of rows of `logits` (N, M) against distributions `targets` (N, M)."""
    return -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()


def entropy(targets: Tensor) -> Tensor:
    """Returns the mean entropy of distributions (N, M): the floor that no model's cross entropy goes below."""
    return -torch.xlogy(targets, targets).sum(dim=1).mean()


def check_pairs(name: str, images: Encoded, texts: Encoded) -> None:
    """Checks that image k and text k can be partners.

    Raises:
        UserError: there are not as many images as texts.
    """
    if len(images) != len(texts):
        raise UserError(
            f"{name} compares image k with text k and needs as many texts as images; "
            f"found {len(images)} and {len(texts)}."
        )
