"""Locked towers: parts that keep their weights while the rest is trained.

LiT locks a whole image tower (Zhai et al. 2022, arXiv 2111.07991), ConVIRT the embeddings and the first six layers of
its text tower.
"""

from __future__ import annotations

from functools import partial
from itertools import takewhile

from torch import nn


def lock(backbone: nn.Module, what: str) -> None:
    """Locks nothing (""), "all", or everything up to and with the first N layers or stages ("6").

    A locked part stays in evaluation mode, so that batch normalisation and dropout do not change it either.

    Raises:
        ValueError: `what` is none of these, or there are not so many layers.
    """
    if not what:
        return
    if what == "all":
        backbone.requires_grad_(False)
        return
    before, layers = _layers(backbone)
    if not what.isdigit() or not 0 < int(what) <= len(layers):
        raise ValueError(f"Found {what!r} as what to lock; write all, or how many of the {len(layers)} layers.")
    for part in (*before, *layers[: int(what)]):
        part.requires_grad_(False)


def keep_locked(model: nn.Module) -> None:
    """Puts every part of `model` whose parameters are all locked in evaluation mode."""
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def _layers(backbone: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """Returns what comes before the layers, and the layers: a backbone's outermost list of modules."""
    for module in backbone.modules():
        children = list(module.children())
        if isinstance(module, nn.ModuleList) or (isinstance(module, nn.Sequential) and len(children) > 2):
            layers = [child for child in children if any(True for _ in child.parameters())]
            return list(takewhile(partial(_is_outside, module), backbone.children())), layers
    return [], list(backbone.children())


def _is_outside(inner: nn.Module, module: nn.Module) -> bool:
    return all(part is not inner for part in module.modules())
