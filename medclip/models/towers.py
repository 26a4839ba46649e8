"""The towers: a backbone and a bias-free linear projection, one for each modality."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel

from medclip.encoded import Encoded

TORCHVISION = "torchvision"


def build_backbone(config: dict[str, Any]) -> tuple[nn.Module, int]:
    """Returns an untrained backbone and the size of its features, from a config dict with its `model_type`.

    Raises:
        ValueError: the model type or the architecture is unknown.
    """
    options = dict(config)
    model_type = options.pop("model_type", None)
    if model_type == TORCHVISION:
        backbone = TorchvisionBackbone(options["architecture"])
        return backbone, backbone.features
    try:
        full = AutoConfig.for_model(model_type, **options)
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"Backbone model_type {model_type!r} is unknown to this version of transformers. Name one of its model "
            f"types, or {TORCHVISION!r} with an architecture."
        ) from error
    return AutoModel.from_config(full), feature_size(full)


def feature_size(config: Any) -> int:
    """Returns the number of features that a Hugging Face backbone with this config ends in."""
    sizes = getattr(config, "hidden_sizes", None)
    return int(sizes[-1] if sizes else config.hidden_size)


class TorchvisionBackbone(nn.Module):
    """A torchvision classifier without its head: pixel values (I, 3, H, W) to a feature map (I, C, h, w)."""

    def __init__(self, architecture: str, *, weights: str | None = None) -> None:
        super().__init__()
        import torchvision

        if architecture not in torchvision.models.list_models(module=torchvision.models):
            raise ValueError(
                f"torchvision has no model {architecture!r}. Try resnet50, densenet121 or efficientnet_b0."
            )
        model = torchvision.models.get_model(architecture, weights=weights)
        if hasattr(model, "features"):  # densenet, efficientnet, convnext, vgg
            self.body = model.features
        elif hasattr(model, "layer4"):  # resnet and its relatives
            self.body = nn.Sequential(*list(model.children())[:-2])
        else:
            raise ValueError(
                f"torchvision's {architecture!r} is no convolutional network. Take a Hugging Face backbone instead."
            )
        with torch.no_grad():
            self.features = int(self.body.eval()(torch.zeros(1, 3, 64, 64)).shape[1])
        self.train()

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Returns the last feature map (I, C, h, w)."""
        return functional.relu(self.body(pixel_values))


class VisionTower(nn.Module):
    """Images to unit vectors: one for each image, and one for each patch."""

    def __init__(self, config: dict[str, Any], *, projection_dim: int, pooling: str = "mean") -> None:
        super().__init__()
        self.backbone, features = build_backbone(config)
        self.projection = nn.Linear(features, projection_dim, bias=False)
        self.pooling = pooling

    def pool(self, pixel_values: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Returns backbone features, before the projection: of images (I, C), of patches (I, P, C), and the grid."""
        if pixel_values.shape[1] == 1:
            pixel_values = pixel_values.expand(-1, 3, -1, -1)
        if isinstance(self.backbone, TorchvisionBackbone):
            hidden = self.backbone(pixel_values)
        else:
            hidden = self.backbone(pixel_values=pixel_values).last_hidden_state
        patches, first, grid = _split_patches(hidden)
        return first if self.pooling == "cls" and first is not None else patches.mean(dim=1), patches, grid

    def forward(self, pixel_values: Tensor, *, local: bool = False) -> Encoded:
        """Encodes pixel values (I, 1 or 3, H, W); one channel is repeated."""
        pooled, patches, grid = self.pool(pixel_values)
        embeds = functional.normalize(self.projection(pooled), dim=-1)
        if not local:
            return Encoded(embeds)
        mask = torch.ones(patches.shape[:2], dtype=torch.bool, device=patches.device)
        return Encoded(embeds, local=functional.normalize(self.projection(patches), dim=-1), mask=mask, grid=grid)


def _split_patches(hidden: Tensor) -> tuple[Tensor, Tensor | None, tuple[int, int]]:
    """Returns patches (I, P, C), the class token (I, C) if there is one, and the grid, of any backbone's output."""
    if hidden.dim() == 4:  # a feature map (I, C, h, w)
        return hidden.flatten(2).transpose(1, 2), None, (hidden.shape[2], hidden.shape[3])
    count = hidden.shape[1]
    side = math.isqrt(count)
    extra = count - side * side  # class and register tokens stand first
    first = hidden[:, 0] if extra else None
    return hidden[:, extra:], first, (side, side)


class TextTower(nn.Module):
    """Texts to unit vectors: one for each text, and one for each token. Padding never counts."""

    def __init__(self, config: dict[str, Any], *, projection_dim: int, pooling: str = "mean") -> None:
        super().__init__()
        self.backbone, features = build_backbone(config)
        self.projection = nn.Linear(features, projection_dim, bias=False)
        self.pooling = pooling

    def forward(self, input_ids: Tensor, attention_mask: Tensor, *, local: bool = False) -> Encoded:
        """Encodes token ids (T, L) with their mask (T, L), 1 for tokens and 0 for padding."""
        output = self.backbone(
            input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=self.pooling == "layers"
        )
        hidden = output.last_hidden_state
        if self.pooling == "layers":
            hidden = (output.hidden_states[1] + output.hidden_states[2] + output.hidden_states[-1]) / 3
        mask = attention_mask.to(hidden.dtype)[..., None]
        pooled = hidden[:, 0] if self.pooling == "cls" else (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        embeds = functional.normalize(self.projection(pooled), dim=-1)
        if not local:
            return Encoded(embeds)
        tokens = functional.normalize(self.projection(hidden), dim=-1)
        return Encoded(embeds, local=tokens, mask=attention_mask.bool())
