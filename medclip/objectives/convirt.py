"""ConVIRT: the paired baseline for radiographs, with a fixed temperature and unequal directions."""

from __future__ import annotations

from torch import Tensor

from labelers.errors import UserError
from medclip.encoded import Encoded
from medclip.objectives import Objective
from medclip.objectives._targets import check_pairs, contrast, cosines


class Convirt(Objective):
    """InfoNCE with a fixed temperature, image to text weighing more (Zhang et al. 2020, ConVIRT, arXiv 2010.00747,
    section 2.2).

    Needs pairs. The published system also has non-linear projections, maximum pooling over tokens and a text tower
    whose first half is frozen: `configs/convirt.yaml`.

    Args:
        temperature: Divides cosines; 0.1 in the paper.
        image_weight: Weight of the image-to-text direction; 0.75 in the paper.
    """

    needs_pairs = True
    learns_scale = False

    def __init__(self, *, temperature: float = 0.1, image_weight: float = 0.75) -> None:
        super().__init__()
        if not temperature > 0 or not 0 <= image_weight <= 1:
            raise UserError(
                f"convirt: temperature must be above 0 and image_weight in [0, 1]; found {temperature}, {image_weight}."
            )
        self.temperature, self.image_weight = temperature, image_weight
        self.initial_scale = 1 / temperature

    def forward(self, images: Encoded, texts: Encoded, scale: Tensor) -> dict[str, Tensor]:
        """Returns "loss" and its two directions; `scale` is not used.

        Raises:
            UserError: The batch is not paired.
        """
        check_pairs("convirt", images, texts)
        to_texts, to_images = cosines(images, texts)
        image_to_text, text_to_image = contrast(
            images, texts, to_texts / self.temperature, to_images / self.temperature
        )
        return {
            "loss": self.image_weight * image_to_text + (1 - self.image_weight) * text_to_image,
            "image_to_text": image_to_text.detach(),
            "text_to_image": text_to_image.detach(),
        }
