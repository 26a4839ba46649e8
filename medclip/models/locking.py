"""Locked towers: parts that keep their weights while the rest is trained, for good or for the first steps.

LiT locks a whole image tower (Zhai et al. 2022, arXiv 2111.07991), ConVIRT the embeddings and the first six layers of
its text tower.
"""

from __future__ import annotations

from functools import partial
from itertools import takewhile

from torch import nn

from labelers.errors import UserError
from medclip.models.timm_backbone import TimmBackbone
from medclip.utils.extras import install


def lock(backbone: nn.Module, what: str) -> None:
    """Locks nothing (""), "all", or everything up to and with the first N layers or stages ("6").

    A locked part stays in evaluation mode, so that batch normalisation and dropout do not change it either.

    Raises:
        UserError: `what` is none of these, or there are not so many layers.
    """
    if not what:
        return
    if what == "all":
        backbone.requires_grad_(False)
        return
    groups = _groups(backbone)
    if not what.isdigit() or not 0 < int(what) < len(groups):
        raise UserError(f"Found {what!r} as what to lock; write all, or how many of the {len(groups) - 1} layers.")
    for group in groups[: int(what) + 1]:
        for parameter in group:
            parameter.requires_grad_(False)


def unlock(model: nn.Module) -> None:
    """Lets every part train from now on."""
    model.requires_grad_(True)


def add_lora(backbone: nn.Module, rank: int) -> None:
    """Locks a backbone and gives its linear layers (or convolutions) trainable additions of low rank (Hu et al. 2022).

    Raises:
        ImportError: Peft is not installed; the message says how.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError(f"LoRA needs an extra package: {install('lora')} ({error})") from error
    for kind in (nn.Linear, nn.Conv2d):
        names = [name for name, module in backbone.named_modules() if isinstance(module, kind)]
        if names:
            break
    backbone.requires_grad_(False)
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names), backbone)


def merge_lora(model: nn.Module) -> None:
    """Adds what `add_lora` has trained to the weights themselves, so that nothing of it is left."""
    for name, module in list(model.named_modules()):
        if hasattr(module, "merge") and hasattr(module, "base_layer"):
            module.merge()
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, module.base_layer)


def keep_locked(model: nn.Module) -> None:
    """Puts every part of `model` whose parameters are all locked in evaluation mode."""
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def _groups(backbone: nn.Module) -> list[list[nn.Parameter]]:
    """Returns the parameters of what comes before the layers, and of each layer."""
    if isinstance(backbone, TimmBackbone):
        return backbone.parameter_groups()
    holder, layers = layers_of(backbone)
    if holder is None:
        return [[], *(list(layer.parameters()) for layer in layers)]
    before = takewhile(partial(_is_outside, holder), backbone.children())
    # Class tokens and embeddings of positions are parameters of what the layers are in.
    around = [m for m in backbone.modules() if m is not holder and not _is_outside(holder, m)]
    loose = [parameter for module in around for parameter in module.parameters(recurse=False)]
    return [
        loose + [parameter for part in before for parameter in part.parameters()],
        *(list(layer.parameters()) for layer in layers),
    ]


def layers_of(backbone: nn.Module) -> tuple[nn.Module | None, list[nn.Module]]:
    """Returns a backbone's outermost list of modules, None if there is none, and the layers in it."""
    for module in backbone.modules():
        children = list(module.children())
        if isinstance(module, nn.ModuleList) or (isinstance(module, nn.Sequential) and len(children) > 2):
            return module, [child for child in children if any(True for _ in child.parameters())]
    return None, list(backbone.children())


def _is_outside(inner: nn.Module, module: nn.Module) -> bool:
    return all(part is not inner for part in module.modules())
