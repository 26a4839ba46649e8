"""The towers: a backbone and a projection, one for each modality."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from labelers.errors import UserError
from medclip.encoded import Encoded
from medclip.models.backbones import build_backbone, side_of, stages


def build_projection(features: int, dim: int, kind: str) -> nn.Module:
    """Returns one of the projections of `MedCLIPConfig`.

    Raises:
        UserError: There is to be none, and the features are not of the size of embeddings.
    """
    if kind in ("linear", "biased"):
        return nn.Linear(features, dim, bias=kind == "biased")
    if kind == "none":
        if dim not in (0, features):
            raise UserError(f"projection 'none' needs projection_dim={features}, the features' size; found {dim}.")
        return nn.Identity()
    return nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, dim))


class VisionTower(nn.Module):
    """Images to unit vectors; with `local`, patches too.

    Args:
        config: Config of the backbone, with its `model_type`.
        projection_dim: D; 0 for the size of the features, with the projection "none".
        pooling: See `MedCLIPConfig.vision_pooling`.
        projection: See `MedCLIPConfig`.
        local: See `MedCLIPConfig.vision_local`.
        resize: See `MedCLIPConfig.vision_resize`.
    """

    def __init__(
        self,
        config: dict[str, Any],
        *,
        projection_dim: int,
        pooling: str = "mean",
        projection: str = "linear",
        local: str = "shared",
        resize: int = 0,
    ) -> None:
        super().__init__()
        self.backbone, features = build_backbone(config)
        self.features = features
        self.projection = build_projection(features, projection_dim, projection)
        self.pooling, self.local, self.resize = pooling, local, resize
        if local != "shared":
            if local == "previous":
                features = self._previous_features()
            self.local_projection = nn.Linear(features, projection_dim, bias=False)

    def pool(self, pixel_values: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Returns backbone features, before the projection: of images (I, C), of patches (I, P, C), and the grid.

        Features (I, C) that were computed before, instead of pixel values, are returned as they are.
        """
        if pixel_values.dim() == 2:
            return pixel_values, pixel_values[:, None], (1, 1)
        pixel_values = self._prepared(pixel_values)
        last, previous, pooler = stages(self.backbone, pixel_values, previous=self.local == "previous")
        pooled, patches, grid = self._pooled(last, pooler)
        if previous is not None:
            patches, _, grid = split_patches(previous)
        return pooled, patches, grid

    def trace(self, pixel_values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns embeddings (I, D) of unit length with what they come from: the last but one stage, and the last one.

        The stages are as the backbone gives them, so that gradients can be taken with respect to them.
        """
        last, previous, pooler = stages(self.backbone, self._prepared(pixel_values), previous=True)
        assert previous is not None
        pooled, _, _ = self._pooled(last, pooler)
        return functional.normalize(self.projection(pooled), dim=-1), previous, last

    def _prepared(self, pixel_values: Tensor) -> Tensor:
        """Returns pixel values (I, 3, H, W) as the backbone takes them; one channel is repeated."""
        if pixel_values.shape[1] == 1:
            pixel_values = pixel_values.expand(-1, 3, -1, -1)
        if self.resize:
            pixel_values = functional.interpolate(
                pixel_values, size=(self.resize, self.resize), mode="bilinear", align_corners=True
            )
        return pixel_values

    def _pooled(self, last: Tensor, pooler: Tensor | None) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Returns features of images (I, C), of patches (I, P, C), and the grid, of what the backbone ends in."""
        patches, first, grid = split_patches(last)
        if self.pooling == "pooler" and pooler is not None:
            return pooler.flatten(1), patches, grid
        return first if self.pooling == "cls" and first is not None else patches.mean(dim=1), patches, grid

    def forward(self, pixel_values: Tensor, *, local: bool = False) -> Encoded:
        """Encodes pixel values (I, 1 or 3, H, W); one channel is repeated."""
        pooled, patches, grid = self.pool(pixel_values)
        embeds = functional.normalize(self.projection(pooled), dim=-1)
        if not local:
            return Encoded(embeds)
        mask = torch.ones(patches.shape[:2], dtype=torch.bool, device=patches.device)
        projected = self.projection(patches) if self.local == "shared" else self.local_projection(patches)
        return Encoded(embeds, local=projected, mask=mask, grid=grid)

    @torch.no_grad()
    def _previous_features(self) -> int:
        side, training = side_of(self.backbone), self.backbone.training
        self.backbone.eval()
        previous = stages(self.backbone, torch.zeros(1, 3, side, side), previous=True)[1]
        self.backbone.train(training)
        assert previous is not None
        return int(split_patches(previous)[0].shape[2])


def split_patches(hidden: Tensor) -> tuple[Tensor, Tensor | None, tuple[int, int]]:
    """Returns patches (I, P, C), the class token (I, C) if there is one, and the grid, of any backbone's output."""
    if hidden.dim() == 4:  # a feature map (I, C, h, w)
        return hidden.flatten(2).transpose(1, 2), None, (hidden.shape[2], hidden.shape[3])
    count = hidden.shape[1]
    side = math.isqrt(count)
    extra = count - side * side  # class and register tokens stand first
    first = hidden[:, 0] if extra else None
    return hidden[:, extra:], first, (side, side)


class TextTower(nn.Module):
    """Texts to unit vectors; with `local`, tokens or words too. Padding never counts.

    Args:
        config: Config of the backbone, with its `model_type`.
        projection_dim: D.
        pooling: See `MedCLIPConfig.text_pooling`.
        projection: See `MedCLIPConfig`.
    """

    def __init__(
        self, config: dict[str, Any], *, projection_dim: int, pooling: str = "mean", projection: str = "linear"
    ) -> None:
        super().__init__()
        self.backbone, features = build_backbone(config)
        self.projection = build_projection(features, projection_dim, projection)
        self.pooling = pooling

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, *, local: bool = False, word_ids: Tensor | None = None
    ) -> Encoded:
        """Encodes token ids (T, L) with their mask (T, L), 1 for tokens and 0 for padding.

        With `word_ids` (T, L), the number of the word each token is a piece of and -1 for special tokens and padding,
        the local features are words, each the sum of its pieces (GLoRIA, section 3.2). Features (T, C) that were
        computed before may stand for token ids.
        """
        pooled, hidden = self.pool(input_ids, attention_mask)
        embeds = functional.normalize(self.projection(pooled), dim=-1)
        if not local:
            return Encoded(embeds)
        if word_ids is None:
            return Encoded(embeds, local=self.projection(hidden), mask=attention_mask.bool())
        words, present = sum_words(hidden, word_ids)
        return Encoded(embeds, local=self.projection(words), mask=present)

    def pool(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Returns backbone features, before the projection: of texts (T, C) and of tokens (T, L, C).

        Features (T, C) that were computed before, instead of token ids, are returned as they are.
        """
        if input_ids.is_floating_point():
            return input_ids, input_ids[:, None]
        hidden = self._hidden(input_ids, attention_mask)
        mask = attention_mask.to(hidden.dtype)[..., None]
        if self.pooling == "cls":
            pooled = hidden[:, 0]
        elif self.pooling == "eos":
            pooled = hidden[torch.arange(len(hidden), device=hidden.device), input_ids.argmax(dim=1)]
        elif self.pooling == "layers_unmasked":
            pooled = hidden.mean(dim=1)
        elif self.pooling == "max":
            pooled = hidden.masked_fill(mask == 0, -torch.inf).max(dim=1).values
        else:
            pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        return pooled, hidden

    def _hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        deep = self.pooling in ("layers", "layers_unmasked", "last4")
        output = self.backbone(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=deep)
        states = output.hidden_states
        if self.pooling in ("layers", "layers_unmasked"):
            return (states[1] + states[2] + states[-1]) / 3
        if self.pooling == "last4":
            return torch.stack(states[-4:]).sum(dim=0)
        return output.last_hidden_state


def sum_words(hidden: Tensor, word_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Returns words (T, W, C), each the sum of its pieces (T, L, C), and which of them there are, (T, W)."""
    texts, length, size = hidden.shape
    # One column more takes what belongs to no word. No text has more words than tokens, so no count is waited for.
    target = torch.where(word_ids < 0, length, word_ids)
    words = hidden.new_zeros(texts, length + 1, size).scatter_add(1, target[..., None].expand_as(hidden), hidden)
    present = torch.zeros(texts, length + 1, dtype=torch.bool, device=hidden.device).scatter(1, target, True)
    return words[:, :length], present[:, :length]
