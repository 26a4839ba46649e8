"""Targets and the arithmetic that objectives share. Pure functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SIMILARITIES = ("cosine", "dot")


def label_similarity(image_labels: Tensor, text_labels: Tensor, *, kind: str = "cosine") -> Tensor:
    """Returns the similarity (I, T) of label vectors (I, O) and (T, O).

    "cosine" is the paper's (MedCLIP, section 3.3, the equation of the semantic similarity); a vector without any
    claim is unlike everything, similarity 0. "dot" is what the official code computes instead.

    Raises:
        ValueError: `kind` is unknown.
    """
    if kind == "cosine":
        return functional.normalize(image_labels, dim=1) @ functional.normalize(text_labels, dim=1).T
    if kind == "dot":
        return image_labels @ text_labels.T
    raise ValueError(f"Label similarity {kind!r} is unknown. Choose one of: {', '.join(SIMILARITIES)}.")


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Returns the mean cross entropy of rows of `logits` (N, M) against distributions `targets` (N, M)."""
    return -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()


def entropy(targets: Tensor) -> Tensor:
    """Returns the mean entropy of distributions (N, M): the floor that no model's cross entropy goes below."""
    return -torch.xlogy(targets, targets).sum(dim=1).mean()
