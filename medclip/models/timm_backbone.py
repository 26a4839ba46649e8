"""Networks of timm as backbones: vision transformers, MLP-Mixers, EfficientNets, ResNets, Swin and many more."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from labelers.errors import UserError
from medclip.utils.extras import install
from medclip.utils.text import first_line, suggest

TIMM = "timm"


class TimmBackbone(nn.Module):
    """A timm network without its head: pixel values (I, 3, H, W) to a feature map (I, C, h, w), or to tokens.

    Args:
        architecture: Its name in timm, such as mixer_b16_224; with a tag, such as efficientnet_lite0.ra_in1k, it is
            built as the one without.
        image_size: Side of the images, of which some architectures have to know; by default timm's.
        pretrained: Whether it has the weights of its tag, which timm fetches where they were not fetched before.

    Raises:
        ImportError: Timm is not installed; the message says how.
        UserError: There is no such network, or it makes no map of features.
        OSError: The weights cannot be fetched.
    """

    def __init__(self, architecture: str, *, image_size: int | None = None, pretrained: bool = False) -> None:
        super().__init__()
        try:
            import timm
        except ImportError as error:
            raise ImportError(f"--vision timm:{architecture} needs an extra package: {install('timm')}") from error
        name = architecture.partition(".")[0]
        if not timm.is_model(name):
            raise UserError(f"timm has no model {name!r}.{suggest(name, timm.list_models())}")
        made_for = timm.get_pretrained_cfg(architecture if pretrained else name)
        self.image_size = image_size or int(made_for.input_size[-1])
        sized = {"img_size": self.image_size} if made_for.fixed_input_size else {}
        try:
            self.model: Any = timm.create_model(
                architecture if pretrained else name, pretrained=pretrained, num_classes=0, **sized
            )
        except (OSError, RuntimeError) as error:
            raise OSError(
                f"timm's {architecture} cannot be made ({first_line(error)}). Where its weights cannot be fetched, "
                f"leave the tag away, timm:{name}, or name their file with --vision-weights."
            ) from error
        self.described = {"model_type": TIMM, "architecture": name, "image_size": self.image_size}
        self._prefix = int(getattr(self.model, "num_prefix_tokens", 0))
        self._has_class = getattr(self.model, "cls_token", None) is not None
        self.features = self._feature_size(name)

    @torch.no_grad()
    def _feature_size(self, name: str) -> int:
        """Returns C.

        Raises:
            UserError: An image does not become a square of features.
        """
        self.eval()
        try:
            last = self(torch.zeros(1, 3, self.image_size, self.image_size))
        except (RuntimeError, ValueError, AssertionError) as error:
            raise UserError(
                f"timm's {name!r} cannot take images of {self.image_size} pixels ({first_line(error)}). Choose another "
                "--image-size, such as that of its name or a multiple of 32."
            ) from error
        self.train()
        patches = last.shape[1] - self._has_class if last.dim() == 3 else 0
        if last.dim() not in (3, 4) or math.isqrt(patches) ** 2 != patches:
            raise UserError(
                f"timm's {name!r} gives features {tuple(last.shape)}, which are neither a map (1, C, h, w) nor "
                "a square of patches (1, P, C). Choose another architecture."
            )
        return int(last.shape[1 if last.dim() == 4 else 2])

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Returns the feature map (I, C, h, w), or the tokens (I, 0 or 1 + P, C), a class token first."""
        return self.stages(pixel_values, previous=False)[0]

    def stages(self, pixel_values: Tensor, *, previous: bool) -> tuple[Tensor, Tensor | None]:
        """Returns what `forward` does and, if asked for, the feature map (I, C, h, w) of the last but one stage.

        Raises:
            UserError: The last but one stage is asked for, and this network does not give it away.
        """
        if not previous:
            return self._arranged(self.model.forward_features(pixel_values)), None
        if not hasattr(self.model, "forward_intermediates"):
            raise UserError(
                f"timm's {self.described['architecture']!r} gives its last stage only. Use --vision-local last."
            )
        last, both = self.model.forward_intermediates(pixel_values, indices=2)
        return self._arranged(last), both[0]

    def _arranged(self, last: Tensor) -> Tensor:
        """Returns channels before places, and of the tokens that are no patches the class token only."""
        if last.dim() == 4:
            return last.permute(0, 3, 1, 2) if getattr(self.model, "output_fmt", "NCHW") == "NHWC" else last
        patches = last[:, self._prefix :]
        return torch.cat([last[:, :1], patches], dim=1) if self._has_class else patches

    def parameter_groups(self) -> list[list[nn.Parameter]]:
        """Returns the parameters in the order of the layers, or stages, that timm groups them by; the stem first."""
        from timm.models import group_parameters

        named = dict(self.model.named_parameters())
        groups = group_parameters(self.model, self.model.group_matcher(coarse=True))
        return [[named[name] for name in groups[number]] for number in sorted(groups)]

    def original_names(self) -> dict[str, str]:
        """Returns timm's name of each weight by the one here."""
        return {name: name.removeprefix("model.") for name in self.state_dict()}
