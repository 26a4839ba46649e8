"""Masked autoencoder: the pixels of patches that were left out (He et al. 2022, arXiv 2111.06377)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from lightly.models.modules import MaskedVisionTransformerDecoderTIMM
from lightly.models.utils import (
    get_at_index,
    normalize_mean_var,
    patchify,
    random_token_mask,
    repeat_token,
    set_at_index,
)
from torch import Tensor, nn

from labelers.errors import UserError
from medclip.models.backbones import stages
from medclip.models.locking import layers_of
from medclip.training.methods._base import Method, Start
from medclip.utils.text import first_line


class MAE(Method):
    """Section 3: the tower sees the patches that are kept; a small decoder says the pixels of the others.

    Any vision transformer of any library serves: patches are taken away before its first layer.

    Args:
        start: What it starts from.
        mask: Share of the patches that are left out.
        normalised: Whether the pixels of each patch are normalised before they are to be said, as in the paper.
        decoder_dim: Width of the decoder.
        decoder_depth: Number of its layers.

    Raises:
        UserError: The tower is no vision transformer.
    """

    views: ClassVar[int] = 1

    def __init__(
        self,
        start: Start,
        *,
        mask: float = 0.75,
        normalised: bool = True,
        decoder_dim: int = 128,
        decoder_depth: int = 2,
    ) -> None:
        super().__init__(start)
        if not 0 < mask < 1:
            raise UserError(f"mask {mask}: expected a share of the patches, above 0 and below 1.")
        self.mask, self.normalised = mask, normalised
        self.patches, self.before, self.after = _look_at(self.tower, start.image_size, mask)
        self.patch = start.image_size // math.isqrt(self.patches)
        self.embed = nn.Linear(start.features, decoder_dim)
        self.decoder = MaskedVisionTransformerDecoderTIMM(
            num_patches=self.patches, embed_dim=decoder_dim, depth=decoder_depth, num_heads=max(1, decoder_dim // 32),
            num_prefix_tokens=self.after,
        )  # fmt: skip
        self.predict = nn.Linear(decoder_dim, self.patch**2)

    def forward(self, views: Sequence[Tensor], *, progress: float) -> dict[str, Tensor]:
        """Returns the loss; see `Method.forward`."""
        images = views[0]
        keep, masked = random_token_mask((len(images), self.patches), self.mask, True, images.device)
        seen = self.embed(encode(self.tower, images, keep, self.before))  # (I, 0 or 1 + kept, C)
        tokens = repeat_token(self.decoder.mask_token, (len(images), self.decoder.sequence_length))
        first = torch.arange(self.after, device=keep.device).expand(len(images), -1)
        tokens = set_at_index(tokens.to(seen.dtype), torch.cat([first, keep + self.after], dim=1), seen)
        said = self.predict(get_at_index(self.decoder(tokens), masked + self.after))  # (I, masked, pixels)
        return {"loss": reconstruction(said, images, masked, patch=self.patch, normalised=self.normalised)}


def reconstruction(said: Tensor, images: Tensor, masked: Tensor, *, patch: int, normalised: bool) -> Tensor:
    """Returns the mean squared error of the pixels `said` (I, M, pixels) of the patches `masked` (I, M) of images."""
    wanted = get_at_index(patchify(images, patch), masked)
    return nn.functional.mse_loss(said, normalize_mean_var(wanted) if normalised else wanted)


def encode(tower: Any, images: Tensor, keep: Tensor, before: int) -> Tensor:
    """Returns the tokens that the tower ends in, (I, 0 or 1 + kept, C), where it sees patches `keep` (I, kept) only."""
    with _without_patches(tower.backbone, keep, before):
        last = stages(tower.backbone, images.expand(-1, 3, -1, -1), previous=False)[0]
    extra = last.shape[1] - keep.shape[1]
    return last if extra <= 1 else torch.cat([last[:, :1], last[:, extra:]], dim=1)


@contextmanager
def _without_patches(backbone: nn.Module, keep: Tensor, before: int) -> Iterator[None]:
    """Takes patches away before the first layer, behind the `before` tokens that are no patches."""

    def take(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden, *rest = args
        return (torch.cat([hidden[:, :before], get_at_index(hidden[:, before:], keep)], dim=1), *rest)

    hook = layers_of(backbone)[1][0].register_forward_pre_hook(take)
    try:
        yield
    finally:
        hook.remove()


@torch.no_grad()
def _look_at(tower: Any, image_size: int, mask: float) -> tuple[int, int, int]:
    """Returns how many patches an image is, and how many other tokens go into the first layer and come out at the end.

    Raises:
        UserError: The tower does not work on some of its patches.
    """
    seen: list[Tensor] = []
    first = layers_of(tower.backbone)[1][0]
    hook = first.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    images, training = torch.zeros(2, 1, image_size, image_size), tower.training
    tower.eval()
    try:
        stages(tower.backbone, images.expand(-1, 3, -1, -1), previous=False)
        hook.remove()
        count = seen[0].shape[1] if seen and seen[0].dim() == 3 else 0
        patches = math.isqrt(count) ** 2
        keep = random_token_mask((2, patches), mask, True)[0]
        after = encode(tower, images, keep, count - patches).shape[1] - keep.shape[1] if patches else -1
        reason = "" if after in (0, 1) and keep.shape[1] else "its layers do not take patches one by one"
    except (RuntimeError, ValueError, IndexError, AssertionError) as error:
        reason = first_line(error)
    finally:
        hook.remove()
        tower.train(training)
    if reason:
        raise UserError(
            f"--method mae needs a vision transformer, which can work on some of the patches; this tower cannot "
            f"({reason}). Name one, such as --vision small-vit or --vision timm:vit_small_patch16_224, or another "
            "method."
        )
    return patches, count - patches, after
