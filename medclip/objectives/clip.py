"""CLIP: every other text of the batch is a negative."""

from __future__ import annotations

from torch import Tensor

from labelers.errors import UserError
from medclip.encoded import Encoded
from medclip.objectives import Objective
from medclip.objectives._targets import check_pairs, contrast, cosines, mean_of


class Clip(Objective):
    """Finds each image's own text among the texts of the batch, and each text's own image.

    InfoNCE in both directions with a learned scale (Radford et al. 2021, CLIP, arXiv 2103.00020, figure 3). With
    noisy pairs and an EfficientNet tower this is ALIGN (Jia et al. 2021, arXiv 2102.05918).

    Needs pairs. Two patients with the same disease are each other's negatives, which costs more the larger the batch
    and the smaller the variety of texts; images of one study and texts that are the same word for word are not.

    Args:
        smoothing: Label smoothing; ALIGN trains with 0.1.
    """

    needs_pairs = True

    def __init__(self, *, smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= smoothing < 1:
            raise UserError(f"clip: smoothing must be in [0, 1), found {smoothing}.")
        self.smoothing = smoothing

    def forward(self, images: Encoded, texts: Encoded, scale: Tensor) -> dict[str, Tensor]:
        """Returns "loss" and its two directions.

        Raises:
            UserError: The batch is not paired.
        """
        check_pairs("clip", images, texts)
        to_texts, to_images = cosines(images, texts)
        return mean_of(*contrast(images, texts, scale * to_texts, scale * to_images, smoothing=self.smoothing))
