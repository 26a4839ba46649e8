"""Semantic matching: soft targets from labels, so that images and texts need no pairs (MedCLIP's objective)."""

from __future__ import annotations

from torch import Tensor

from medclip.encoded import Encoded
from medclip.objectives import Objective
from medclip.targets import SIMILARITIES, entropy, label_similarity, soft_cross_entropy


class SemanticMatching(Objective):
    """Pulls images and texts together as far as their labels agree.

    Each image's distribution over the texts of the batch is pulled towards the softmax of their label similarity,
    and each text's over the images likewise (Wang et al. 2022, MedCLIP, arXiv 2210.10163, section 3.3). Two
    patients with the same disease are no negatives of each other, and any image can be compared with any text.

    Needs label vectors on both sides; I and T may differ. With pairs and no labels take `clip`.

    Args:
        similarity: "cosine" as in the paper, or "dot", the official code's unbounded product.
        target_temperature: divides the similarity before its softmax. 1.0 is the paper; with unit similarities
            that leaves targets close to uniform over a large batch, and smaller values sharpen them.

    Example:
        >>> objective = SemanticMatching(target_temperature=0.2)
        >>> terms = objective(images, texts, model.logit_scale.exp())
        >>> terms["loss"].backward()
    """

    needs_labels = True

    def __init__(self, *, similarity: str = "cosine", target_temperature: float = 1.0) -> None:
        super().__init__()
        if similarity not in SIMILARITIES:
            raise ValueError(f"semantic_matching: similarity {similarity!r} is none of {', '.join(SIMILARITIES)}.")
        if not target_temperature > 0:
            raise ValueError(f"semantic_matching: target_temperature must be above 0, found {target_temperature}.")
        self.similarity = similarity
        self.target_temperature = target_temperature

    def forward(self, images: Encoded, texts: Encoded, scale: Tensor) -> dict[str, Tensor]:
        """Returns "loss", its two directions, and "excess": the loss above what any model must pay.

        Raises:
            ValueError: a side has no label vectors.
        """
        if images.labels is None or texts.labels is None:
            raise ValueError("semantic_matching needs label vectors of images and texts; one side has none.")
        logits = scale * images.embeds @ texts.embeds.T  # (I, T)
        similarity = label_similarity(images.labels, texts.labels, kind=self.similarity) / self.target_temperature
        over_texts = similarity.softmax(dim=1)  # (I, T)
        over_images = similarity.T.softmax(dim=1)  # (T, I)
        image_to_text = soft_cross_entropy(logits, over_texts)
        text_to_image = soft_cross_entropy(logits.T, over_images)
        loss = (image_to_text + text_to_image) / 2
        floor = (entropy(over_texts) + entropy(over_images)) / 2
        return {
            "loss": loss,
            "image_to_text": image_to_text.detach(),
            "text_to_image": text_to_image.detach(),
            "excess": (loss - floor).detach(),
        }
