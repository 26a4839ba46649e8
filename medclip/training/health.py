"""What tells a healthy run from a sick one: how near partners are, how evenly embeddings spread, where losses go."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from labelers.errors import UserError
from medclip.encoded import Encoded


def alignment(images: Encoded, texts: Encoded) -> Tensor:
    """Returns the mean squared distance of images to texts that say the same; NaN where the batch has no such pair.

    0 is perfect, 2 is chance (Wang and Isola 2020, equation 2, with exponent 2). A text belongs to an image of its
    own study, and to one of which it is true: whatever it says is there is there, whatever it denies is not.
    """
    assert images.labels is not None and texts.labels is not None
    there, absent = images.labels > 0, images.labels < 0
    untrue = (~there).float() @ (texts.labels > 0).float().T + (~absent).float() @ (texts.labels < 0).float().T
    same = (untrue == 0) & (texts.labels != 0).any(dim=1)
    if images.study_ids is not None and texts.study_ids is not None:
        same |= (images.study_ids[:, None] == texts.study_ids[None]) & (images.study_ids >= 0)[:, None]
    with torch.autocast(images.embeds.device.type, enabled=False):
        distances = 2 - 2 * images.embeds.detach().float() @ texts.embeds.detach().float().T
    return (distances * same).sum() / same.sum()


def uniformity(embeds: Tensor) -> Tensor:
    """Returns log of the mean of exp(-2 d^2) over pairs of unit vectors (N, D): 0 if all are one, lower if they spread.

    Wang and Isola 2020, equation 3, with t = 2. On a sphere of many dimensions evenly spread vectors come to -4.
    """
    embeds = embeds.detach().float()
    with torch.autocast(embeds.device.type, enabled=False):
        near = (-2 * (2 - 2 * embeds @ embeds.T).clamp(min=0)).exp()
    count = len(embeds)
    return ((near.sum() - near.diagonal().sum()) / max(count * (count - 1), 1)).log()


class Diverged(UserError):
    """The loss is far above where it began; the message names the last good checkpoint."""


class LossWatch:
    """Remembers where losses began, and says when they are far above it for long.

    A contrastive loss begins near the logarithm of the batch size, which is what no knowledge costs; three times that
    is certain ignorance. Single peaks are smoothed away.
    """

    def __init__(self, *, first: int = 20, factor: float = 3.0) -> None:
        self._first, self._factor = first, factor
        self._seen, self._began, self._smooth = 0, 0.0, math.nan

    def state_dict(self) -> dict[str, float]:
        """Returns what it remembers."""
        return {"seen": self._seen, "began": self._began, "smooth": self._smooth}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Takes up what `state_dict` gave, or nothing."""
        self._seen = int(state.get("seen", 0))
        self._began, self._smooth = state.get("began", 0.0), state.get("smooth", math.nan)

    def has_diverged(self, loss: float) -> bool:
        """Takes one more loss."""
        self._seen += 1
        if self._seen <= self._first:
            self._began += loss / self._first
            self._smooth = self._began
            return False
        self._smooth += 0.05 * (loss - self._smooth)
        return self._began > 0 and self._smooth > self._factor * self._began
