"""Where in an image its similarity with a text comes from, by gradients: finer than the last patches, for any tower."""

from __future__ import annotations

import torch
from torch import Tensor

from medclip.models.towers import VisionTower, split_patches


def evidence(tower: VisionTower, pixel_values: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Returns embeddings (I, D), and what each place adds to their similarity with directions, (I, T, rows, columns).

    LayerCAM (Jiang et al. 2021, IEEE TIP 30, equations 4 and 5) at the last but one stage: activations times their
    positive gradients, summed over channels. Where that stage is not on the way to the embedding, as of some Swin
    towers, at the last one. Values are at least 0, and compare within one map only.

    Args:
        tower: In evaluation mode.
        pixel_values: (I, 1 or 3, H, W).
        directions: (T, D) directions in the space of embeddings, of any length.
    """
    with torch.enable_grad():
        embeds, *stages = tower.trace(pixel_values.detach().requires_grad_())
        similarity = embeds @ directions.T.to(embeds)
        maps = [_layer_cam(similarity[:, text].sum(), stages) for text in range(len(directions))]
    return embeds.detach(), torch.stack(maps, dim=1)


def _layer_cam(total: Tensor, stages: list[Tensor]) -> Tensor:
    """Returns (I, rows, columns) at the first of `stages` that `total` depends on."""
    gradients = torch.autograd.grad(total, stages, retain_graph=True, allow_unused=True)
    stage, gradient = next((s, g) for s, g in zip(stages, gradients, strict=True) if g is not None)
    patches, _, grid = split_patches(stage.detach() * gradient.clamp(min=0))  # (I, P, C)
    return patches.sum(dim=2).clamp(min=0).view(-1, *grid)
