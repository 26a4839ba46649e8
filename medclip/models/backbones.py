"""Backbones, what is under the projection of a tower: of transformers, torchvision and timm, by one set of words."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from labelers.errors import UserError
from medclip.models.timm_backbone import TIMM, TimmBackbone
from medclip.models.torchvision_backbone import TORCHVISION, TorchvisionBackbone, TorchvisionViT, torchvision_backbone

#: Backbones that are not of transformers. Each has `described`, what builds it again; `stages`, its last and last but
#: one feature map (I, C, h, w) or tokens (I, 0 or 1 + P, C); and `original_names`, its own names of weights and those
#: of the library.
OtherBackbone = TorchvisionBackbone | TorchvisionViT | TimmBackbone


def build_backbone(config: dict[str, Any]) -> tuple[nn.Module, int]:
    """Returns an untrained backbone and the size of its features, from a config dict with its `model_type`.

    Raises:
        UserError: The model type or the architecture is unknown.
    """
    options = dict(config)
    model_type = options.pop("model_type", None)
    if model_type in (TORCHVISION, TIMM):
        build = torchvision_backbone if model_type == TORCHVISION else TimmBackbone
        backbone = build(options["architecture"], image_size=options.get("image_size"))
        return backbone, backbone.features
    try:
        full = AutoConfig.for_model(model_type, **options)
    except (KeyError, ValueError) as error:
        raise UserError(
            f"Backbone model_type {model_type!r} is unknown to this version of transformers. Name one of its model "
            f"types, or {TORCHVISION!r} or {TIMM!r} with an architecture."
        ) from error
    made = AutoModel.from_config(full)
    return made, feature_size(full, made)


def feature_size(config: Any, backbone: Any) -> int:
    """Returns the number of features that a Hugging Face backbone ends in."""
    if hasattr(backbone, "timm_model"):
        return int(backbone.timm_model.num_features)
    sizes = getattr(config, "hidden_sizes", None)
    return int(sizes[-1] if sizes else config.hidden_size)


def stages(backbone: Any, pixel_values: Tensor, *, previous: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Returns what a backbone ends in, its last but one stage where `previous` is set, and what it pools itself.

    Each is a feature map (I, C, h, w) or tokens (I, L, C).
    """
    if isinstance(backbone, OtherBackbone):
        return (*backbone.stages(pixel_values, previous=previous), None)
    output = backbone(pixel_values=pixel_values, **({"output_hidden_states": True} if previous else {}))
    pooler = getattr(output, "pooler_output", None)
    if not previous:
        return output.last_hidden_state, None, pooler
    hidden = output.hidden_states
    if hidden[-1].dim() != 3:
        hidden = getattr(output, "reshaped_hidden_states", None) or hidden
    # Swin repeats its last stage; the last but one is the last of another size, or else the last but one.
    sizes = [tuple(state.shape[1:]) for state in hidden]
    before = next((h for h, size in zip(hidden[::-1], sizes[::-1], strict=True) if size != sizes[-1]), hidden[-2])
    return output.last_hidden_state, before, pooler


def side_of(backbone: Any) -> int:
    """Returns the side of images that a backbone is made for, or one that all others take."""
    if isinstance(backbone, OtherBackbone):
        return backbone.image_size
    return int(getattr(backbone.config, "image_size", None) or 64)
