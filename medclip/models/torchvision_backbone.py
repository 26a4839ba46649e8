"""Networks of torchvision as backbones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from labelers.errors import UserError
from medclip.utils.text import suggest

TORCHVISION = "torchvision"
_SIDE = 224  # of the images that torchvision's weights were trained on


def torchvision_backbone(
    architecture: str, *, image_size: int | None = None, weights: str | None = None
) -> TorchvisionBackbone | TorchvisionViT:
    """Returns a torchvision network without its classifier.

    Args:
        architecture: Its name in torchvision.
        image_size: Side of the images, of which a vision transformer has to know; by default 224.
        weights: Weights that torchvision fetches where they were not fetched before.

    Raises:
        UserError: There is no such network, no such weights, or it makes no map of features.
        OSError: The weights cannot be fetched.
    """
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if architecture not in known:
        near = suggest(architecture, known) or " Try resnet50, densenet121 or efficientnet_b0."
        raise UserError(f"torchvision has no model {architecture!r}.{near}")
    if architecture.startswith("vit_"):
        return TorchvisionViT(architecture, image_size=image_size, weights=weights)
    return TorchvisionBackbone(architecture, weights=weights)


class TorchvisionBackbone(nn.Module):
    """A torchvision classifier without its head: pixel values (I, 3, H, W) to a feature map (I, C, h, w)."""

    image_size = 64  # or any other

    def __init__(self, architecture: str, *, weights: str | None = None) -> None:
        super().__init__()
        model = _torchvision_model(architecture, weights)
        self._rectified = architecture.startswith("densenet")  # its own forward ends in a ReLU, the others' do not
        self._channels_last = hasattr(model, "permute")  # swin computes in (I, h, w, C)
        if hasattr(model, "features"):  # densenet, efficientnet, convnext, vgg, swin
            self.body = nn.Sequential(*model.features, model.norm) if self._channels_last else model.features
        elif hasattr(model, "layer4"):  # resnet and its relatives
            self.body = nn.Sequential(*list(model.children())[:-2])
        else:
            raise UserError(
                f"torchvision's {architecture!r} does not end in a feature map. Choose resnet50, densenet121, "
                "efficientnet_b0, convnext_tiny, swin_t, vit_b_16 or a Hugging Face backbone."
            )
        self.described = {"model_type": TORCHVISION, "architecture": architecture}
        self.features = self._feature_size(architecture)
        self._original = _names(self, model)

    @torch.no_grad()
    def _feature_size(self, architecture: str) -> int:
        """Returns C; a picture that is not square shows which dimensions are height and width."""
        shape = self.eval()(torch.zeros(1, 3, 128, 192)).shape
        self.train()
        if len(shape) != 4 or not 0.4 < shape[2] / shape[3] < 0.9:
            raise UserError(
                f"torchvision's {architecture!r} gives features {tuple(shape)} for an image of 128 x 192 pixels, which "
                "is no feature map (1, C, h, w). Choose another architecture or a Hugging Face backbone."
            )
        return int(shape[1])

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Returns the last feature map (I, C, h, w)."""
        return self.stages(pixel_values, previous=False)[0]

    def stages(self, pixel_values: Tensor, *, previous: bool) -> tuple[Tensor, Tensor | None]:
        """Returns the last feature map and, if asked for, the last one of twice its height."""
        last, before = pixel_values, pixel_values
        for layer in self.body:
            after = layer(last)
            if after.shape[2] < last.shape[2]:
                before = last
            last = after
        if self._channels_last:
            last, before = last.permute(0, 3, 1, 2), before.permute(0, 3, 1, 2)
        return functional.relu(last) if self._rectified else last, before if previous else None

    def original_names(self) -> dict[str, str]:
        """Returns torchvision's name of each weight by the one here."""
        return self._original


class TorchvisionViT(nn.Module):
    """A vision transformer of torchvision without its head: pixel values (I, 3, H, W) to tokens (I, 1 + P, C)."""

    def __init__(self, architecture: str, *, image_size: int | None = None, weights: str | None = None) -> None:
        super().__init__()
        self.image_size = image_size or _SIDE
        model = _torchvision_model(architecture, weights, **({} if weights else {"image_size": self.image_size}))
        if model.image_size != self.image_size:
            raise UserError(
                f"The weights {weights} of torchvision's {architecture} are for images of {model.image_size} pixels; "
                f"found --image-size {self.image_size}. Use the same size."
            )
        self.conv_proj, self.class_token, self.encoder = model.conv_proj, model.class_token, model.encoder
        self.described = {"model_type": TORCHVISION, "architecture": architecture, "image_size": self.image_size}
        self.features = int(model.hidden_dim)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Returns the tokens (I, 1 + P, C), the class token first."""
        return self.stages(pixel_values, previous=False)[0]

    def stages(self, pixel_values: Tensor, *, previous: bool) -> tuple[Tensor, Tensor | None]:
        """Returns the tokens and, if asked for, those of the last but one layer."""
        patches = self.conv_proj(pixel_values).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(patches), -1, -1), patches], dim=1)
        before = hidden = self.encoder.dropout(tokens + self.encoder.pos_embedding)
        for layer in self.encoder.layers:
            before, hidden = hidden, layer(hidden)
        return self.encoder.ln(hidden), before if previous else None

    def original_names(self) -> dict[str, str]:
        """Returns torchvision's name of each weight by the one here."""
        return {name: name for name in self.state_dict()}


def _names(backbone: nn.Module, model: nn.Module) -> dict[str, str]:
    """Returns the name in `model` of each weight of `backbone`, which is made of its parts."""
    original = {id(tensor): name for name, tensor in model.state_dict(keep_vars=True).items()}
    return {name: original[id(tensor)] for name, tensor in backbone.state_dict(keep_vars=True).items()}


def _torchvision_model(architecture: str, weights: str | None, **options: Any) -> Any:
    """Returns a torchvision model, with `weights` that torchvision fetches where they were not fetched before.

    Raises:
        UserError: There are no such weights.
        OSError: They cannot be fetched.
    """
    import torchvision

    known = [weight.name for weight in torchvision.models.get_model_weights(architecture)]
    if weights is not None and weights not in (*known, "DEFAULT"):
        raise UserError(f"torchvision has no weights {weights!r} of {architecture}; choose from {', '.join(known)}.")
    try:
        return torchvision.models.get_model(architecture, weights=weights, **options)
    except OSError as error:
        address = torchvision.models.get_model_weights(architecture)[str(weights)].url
        raise OSError(
            f"The weights {weights} of torchvision's {architecture} were not fetched before, and cannot be fetched now "
            f"({error}). Fetch {address} where there is a network and put the file into "
            f"{Path(torch.hub.get_dir()) / 'checkpoints'}; or leave the weights away: torchvision:{architecture}; or "
            f"name the file with --vision-weights."
        ) from error
